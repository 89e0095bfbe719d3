//! From settings as they were written to a valid [`Config`]: ranges, formats, and what settings demand of each other.
//!
//! Owns every range; `default-config.toml` tells them to people, and a test holds the two together. Imports only its parent and the
//! bounds that the codec's representation sets.

use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::thread::available_parallelism;
use std::time::Duration;

use fantail_codec::limits::{HEAD_BYTES_CEILING, REQUEST_LINE_ROOM};

use super::raw::{Raw, Value};
use super::{Api, ChannelOptions, Config, ConfigError, Deflate, DriverChoice, HubConfig, Limits, Origins, Timeouts, Upgrade};

const HOUR_MS: u64 = 3_600_000;
/// The most bytes of anything.
const GIB: usize = 1 << 30;
/// The most of anything that is counted: more than one machine serves.
const COUNT_MAX: usize = 1 << 24;

pub(super) fn validate(raw: &Raw) -> Result<Config, ConfigError> {
    let config = Config {
        listen: address(raw, "listen")?,
        internal: address(raw, "internal")?,
        workers: match integer(raw, "workers", 0..=1024)? {
            0 => available_parallelism().map_or(1, usize::from),
            workers => workers,
        },
        driver: match text(raw, "driver") {
            "auto" => DriverChoice::Auto,
            "epoll" => DriverChoice::Epoll,
            "uring" => DriverChoice::Uring,
            driver => return Err(refuse(raw, "driver", format_args!("{driver:?}"), "\"auto\", \"uring\" or \"epoll\"")),
        },
        limits: limits(raw)?,
        timeouts: timeouts(raw)?,
        upgrade: Upgrade { subprotocols: subprotocols(raw)?, origins: origins(raw)? },
        deflate: Deflate {
            enabled: boolean(raw, "deflate.enabled"),
            level: integer(raw, "deflate.level", 1..=9)?,
            bytes_min: integer(raw, "deflate.bytes_min", 0..=GIB)?,
            client_context_takeover: boolean(raw, "deflate.client_context_takeover"),
        },
        api: Api { key: api_key(raw)? },
        hub: hub(raw)?,
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
        close: millis(raw, "timeouts.close_ms", 1..=HOUR_MS)?,
        shutdown_window: millis(raw, "timeouts.shutdown_window_ms", 0..=HOUR_MS)?,
    })
}

/// Tokens, for a header field lists them, and a client's offer is looked up among them.
fn subprotocols(raw: &Raw) -> Result<Vec<String>, ConfigError> {
    const KEY: &str = "upgrade.subprotocols";
    let names = list(raw, KEY);
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
    let origins = list(raw, KEY);
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

fn hub(raw: &Raw) -> Result<HubConfig, ConfigError> {
    let options = |client_publish: &str, flush_ms: &str| {
        Ok(ChannelOptions { flush: millis(raw, flush_ms, 0..=60_000)?, client_publish: boolean(raw, client_publish) })
    };
    let of_namespace = |name: &str| {
        let options = options(&raw.key_in_namespace(name, "client_publish"), &raw.key_in_namespace(name, "flush_ms"))?;
        Ok((name.to_owned(), options))
    };
    Ok(HubConfig {
        channels_max: integer(raw, "hub.channels_max", 1..=COUNT_MAX)?,
        defaults: options("hub.client_publish", "hub.flush_ms")?,
        namespaces: raw.namespaces().into_iter().map(of_namespace).collect::<Result<_, _>>()?,
    })
}

fn address(raw: &Raw, key: &str) -> Result<SocketAddr, ConfigError> {
    let text = text(raw, key);
    text.parse().map_err(|_| refuse(raw, key, format_args!("{text:?}"), "an address and a port, such as 127.0.0.1:8000 or [::1]:8000"))
}

fn millis(raw: &Raw, key: &str, range: RangeInclusive<u64>) -> Result<Duration, ConfigError> {
    integer(raw, key, range).map(Duration::from_millis)
}

fn integer<T: TryFrom<i64> + PartialOrd + Display>(raw: &Raw, key: &str, range: RangeInclusive<T>) -> Result<T, ConfigError> {
    let Value::Integer(integer) = raw.get(key).value else { panic!("`{key}` is an integer by default") };
    let valid = T::try_from(integer).ok().filter(|value| range.contains(value));
    valid.ok_or_else(|| refuse(raw, key, integer, &format!("{} to {}", range.start(), range.end())))
}

fn boolean(raw: &Raw, key: &str) -> bool {
    let Value::Boolean(boolean) = raw.get(key).value else { panic!("`{key}` is a boolean by default") };
    boolean
}

fn text<'a>(raw: &'a Raw, key: &str) -> &'a str {
    let Value::Text(text) = &raw.get(key).value else { panic!("`{key}` is a string by default") };
    text
}

fn list<'a>(raw: &'a Raw, key: &str) -> &'a [String] {
    let Value::List(list) = &raw.get(key).value else { panic!("`{key}` is a list by default") };
    list
}

fn refuse(raw: &Raw, key: &str, found: impl Display, expected: &str) -> ConfigError {
    ConfigError::expected(key, &raw.get(key).place, found, expected)
}
