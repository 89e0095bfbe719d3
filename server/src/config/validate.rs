//! From settings as they were written to a valid [`Config`]: ranges, formats, and what settings demand of each other.
//!
//! Owns, with `channels`, every range; `default-config.toml` tells them to people, and a test holds the two together. Reads the files
//! that settings name. Imports only its parent, its neighbours and the bounds that the codec's representation sets.

use std::fs;
use std::net::SocketAddr;
use std::thread::available_parallelism;

use fantail_codec::limits::{HEAD_BYTES_CEILING, REQUEST_LINE_ROOM};

use super::raw::Raw;
use super::read::{COUNT_MAX, GIB, HOUR_MS, boolean, choice, integer, millis, refuse, text, texts};
use super::{Api, Auth, Config, ConfigError, Deflate, DriverChoice, Limits, Origins, Timeouts, Upgrade, channels, profiles};

pub(super) fn validate(mut raw: Raw) -> Result<Config, ConfigError> {
    profiles::apply(&mut raw)?;
    let raw = &raw;
    let limits = limits(raw)?;
    let config = Config {
        listen: address(raw, "listen")?,
        internal: address(raw, "internal")?,
        workers: match integer(raw, "workers", 0..=1024)? {
            0 => available_parallelism().map_or(1, usize::from),
            workers => workers,
        },
        driver: choice(raw, "driver", &[("auto", DriverChoice::Auto), ("uring", DriverChoice::Uring), ("epoll", DriverChoice::Epoll)])?,
        timeouts: timeouts(raw)?,
        upgrade: Upgrade { subprotocols: subprotocols(raw)?, origins: origins(raw)? },
        deflate: Deflate {
            enabled: boolean(raw, "deflate.enabled"),
            level: integer(raw, "deflate.level", 1..=9)?,
            bytes_min: integer(raw, "deflate.bytes_min", 0..=GIB)?,
            client_context_takeover: boolean(raw, "deflate.client_context_takeover"),
        },
        api: Api { key: api_key(raw)? },
        auth: auth(raw)?,
        hub: channels::hub(raw, &limits)?,
        limits,
    };
    if config.api.key.is_none() && !config.internal.ip().is_loopback() {
        let internal = config.internal;
        return Err(refuse(raw, "internal", internal, "a loopback address, or a secret in `api.key`"));
    }
    Ok(config)
}

fn limits(raw: &Raw) -> Result<Limits, ConfigError> {
    let limits = Limits {
        connections_max: integer(raw, "limits.connections_max", 0..=COUNT_MAX)?,
        head_bytes_max: integer(raw, "limits.head_bytes_max", 1024..=HEAD_BYTES_CEILING)?,
        fields_max: integer(raw, "limits.fields_max", 5..=1000)?,
        target_bytes_max: integer(raw, "limits.target_bytes_max", 64..=HEAD_BYTES_CEILING)?,
        body_bytes_max: integer(raw, "limits.body_bytes_max", 0..=GIB)?,
        message_bytes_max: integer(raw, "limits.message_bytes_max", 1..=GIB)?,
        fragments_max: integer(raw, "limits.fragments_max", 1..=COUNT_MAX)?,
        outbox_bytes_max: integer(raw, "limits.outbox_bytes_max", 4096..=GIB)?,
        mailbox_bytes_max: integer(raw, "limits.mailbox_bytes_max", 4096..=GIB)?,
        subscriptions_max: integer(raw, "limits.subscriptions_max", 1..=COUNT_MAX)?,
    };
    let head_min = limits.target_bytes_max + REQUEST_LINE_ROOM;
    if limits.head_bytes_max < head_min {
        let expected = format!("at least {head_min}, to hold `limits.target_bytes_max`");
        return Err(refuse(raw, "limits.head_bytes_max", limits.head_bytes_max, &expected));
    }
    if limits.mailbox_bytes_max < limits.message_bytes_max {
        let expected = format!("at least {}, to hold `limits.message_bytes_max`", limits.message_bytes_max);
        return Err(refuse(raw, "limits.mailbox_bytes_max", limits.mailbox_bytes_max, &expected));
    }
    Ok(limits)
}

fn timeouts(raw: &Raw) -> Result<Timeouts, ConfigError> {
    Ok(Timeouts {
        handshake: millis(raw, "timeouts.handshake_ms", 1..=HOUR_MS)?,
        ping_interval: millis(raw, "timeouts.ping_interval_ms", 1..=HOUR_MS)?,
        pong: millis(raw, "timeouts.pong_ms", 1..=HOUR_MS)?,
        message: millis(raw, "timeouts.message_ms", 1..=HOUR_MS)?,
        token_grace: millis(raw, "timeouts.token_grace_ms", 1..=HOUR_MS)?,
        close: millis(raw, "timeouts.close_ms", 1..=HOUR_MS)?,
        shutdown_window: millis(raw, "timeouts.shutdown_window_ms", 0..=HOUR_MS)?,
    })
}

/// Tokens, for a header field lists them, and a client's offer is looked up among them.
fn subprotocols(raw: &Raw) -> Result<Vec<String>, ConfigError> {
    const KEY: &str = "upgrade.subprotocols";
    let names = texts(raw, KEY);
    for (index, name) in names.iter().enumerate() {
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || !name.bytes().all(token) {
            return Err(refuse(raw, KEY, format_args!("a list with {name:?}"), "tokens (letters, digits and !#$%&'*+-.^_`|~)"));
        }
        if names[..index].contains(name) {
            return Err(refuse(raw, KEY, format_args!("a list with {name:?} twice"), "each once"));
        }
    }
    Ok(names.to_vec())
}

fn origins(raw: &Raw) -> Result<Origins, ConfigError> {
    const KEY: &str = "upgrade.origins";
    let origins = texts(raw, KEY);
    match origins {
        [] => return Ok(Origins::SameHost),
        [any] if any == "*" => return Ok(Origins::Any),
        _ => {}
    }
    match origins.iter().find(|origin| !is_origin(origin)) {
        None => Ok(Origins::List(origins.to_vec())),
        Some(origin) => {
            let expected = "\"*\" alone, or origins such as \"https://example.org\", without a path";
            Err(refuse(raw, KEY, format_args!("a list with {origin:?}"), expected))
        }
    }
}

/// Whether `text` is an origin as browsers serialize it (RFC 6454 section 6.2): scheme, host and perhaps a port.
fn is_origin(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, host)| {
        let scheme_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        let host_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
        !scheme.is_empty() && scheme.bytes().all(scheme_byte) && !host.is_empty() && host.bytes().all(host_byte)
    })
}

/// The key is compared with a header field's value, so it is made of what such a value can hold; no error repeats it.
fn api_key(raw: &Raw) -> Result<Option<String>, ConfigError> {
    match text(raw, "api.key") {
        "" => Ok(None),
        key if key.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(Some(key.to_owned())),
        _ => Err(refuse(raw, "api.key", "not all visible ASCII", "letters, digits and ASCII punctuation")),
    }
}

fn auth(raw: &Raw) -> Result<Auth, ConfigError> {
    let optional = |key| Some(text(raw, key)).filter(|text| !text.is_empty()).map(ToOwned::to_owned);
    let auth = Auth {
        hmac_secret: optional("auth.hmac_secret"),
        rsa_public_key: public_key(raw, "auth.rsa_public_key")?,
        ecdsa_public_key: public_key(raw, "auth.ecdsa_public_key")?,
        audience: optional("auth.audience"),
        issuer: optional("auth.issuer"),
        anonymous: boolean(raw, "auth.anonymous"),
    };
    let keys = [&auth.hmac_secret, &auth.rsa_public_key, &auth.ecdsa_public_key];
    if !auth.anonymous && keys.iter().all(|key| key.is_none()) {
        return Err(refuse(raw, "auth.anonymous", false, "true, or a key in `auth`, without which nobody could connect"));
    }
    Ok(auth)
}

/// A public key in PEM: the setting's text or, if that is none, the file it names. No error repeats it, for it may be a
/// private key that was taken for the public one.
fn public_key(raw: &Raw, key: &str) -> Result<Option<String>, ConfigError> {
    const EXPECTED: &str = "a public key in PEM, or the path of a file with one";
    let pem = match text(raw, key) {
        "" => return Ok(None),
        pem if pem.contains("-----BEGIN ") => pem.to_owned(),
        path => fs::read_to_string(path)
            .map_err(|error| refuse(raw, key, format_args!("neither PEM nor a file that can be read ({error})"), EXPECTED))?,
    };
    if pem.contains("PUBLIC KEY-----") { Ok(Some(pem)) } else { Err(refuse(raw, key, "no public key", EXPECTED)) }
}

fn address(raw: &Raw, key: &str) -> Result<SocketAddr, ConfigError> {
    let text = text(raw, key);
    text.parse().map_err(|_| refuse(raw, key, format_args!("{text:?}"), "an address and a port, such as 127.0.0.1:8000 or [::1]:8000"))
}
