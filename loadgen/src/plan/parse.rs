//! Values of flags: text in, checked value out. Each function is a clap value parser; its error says what was expected, clap says of which flag.
//! Owns the bounds of everything that a command line can ask for. Imports `units`, `url` and the codec's offer.

use std::{
    fmt::Display,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use fantail_codec::upgrade::client::is_own;

use super::flags::LocalAddresses;
use crate::{units, url::Url};

const CONNECTIONS_MAX: u64 = 1_000_000;
const THREADS_MAX: u64 = 1024;
/// The highest number that the kernel's CPU sets hold.
const CPU_MAX: u64 = 1023;
/// Below a marker's 2^36 by far.
const COUNT_MAX: u64 = 10_000_000_000;
const PAYLOAD_BYTES_MAX: u64 = 1 << 30;
const REPEAT_MAX: u64 = 100;
const STEPS: (u64, u64) = (5, 1000);
const LOCAL_ADDRESSES_MAX: usize = 65_536;

const MILLISECOND: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

/// Fields that make the request an upgrade without a body, beside those that the codec's offer makes itself. Host is not among them: it chooses
/// a virtual host.
const UPGRADE_FIELDS: &[&str] = &["connection", "upgrade", "sec-websocket-version", "content-length", "transfer-encoding"];

/// Fields that a publication over HTTP has of its own.
const PUBLISH_FIELDS: &[&str] = &["host", "connection", "content-length", "transfer-encoding"];

pub(super) fn connections(text: &str) -> Result<usize, String> {
    number(text, 1, CONNECTIONS_MAX)
}

pub(super) fn threads(text: &str) -> Result<usize, String> {
    let is_time = text.ends_with(|last: char| last.is_ascii_alphabetic()) && units::parse_duration(text).is_ok();
    number(text, 1, THREADS_MAX)
        .map_err(|error| if is_time { format!("-t is a number of threads, did you mean -d {text}?") } else { error })
}

pub(super) fn cpu(text: &str) -> Result<usize, String> {
    number(text, 0, CPU_MAX)
}

pub(super) fn steps(text: &str) -> Result<usize, String> {
    number(text, STEPS.0, STEPS.1)
}

pub(super) fn repeat(text: &str) -> Result<usize, String> {
    number(text, 1, REPEAT_MAX)
}

pub(super) fn count(text: &str) -> Result<u64, String> {
    within(units::parse_count(text)?, 1, COUNT_MAX, u64::to_string)
}

pub(super) fn payload_bytes(text: &str) -> Result<usize, String> {
    within(units::parse_bytes(text)?, 0, PAYLOAD_BYTES_MAX, |bytes| units::exact_bytes(*bytes)).map(|bytes| bytes as usize)
}

/// What is measured.
pub(super) fn measured(text: &str) -> Result<Duration, String> {
    duration(text, MILLISECOND, WEEK)
}

/// What comes before it and may be left out.
pub(super) fn pause(text: &str) -> Result<Duration, String> {
    duration(text, Duration::ZERO, HOUR)
}

pub(super) fn ramp(text: &str) -> Result<Duration, String> {
    duration(text, MILLISECOND, HOUR)
}

/// Not beyond the longest latency that is told apart.
pub(super) fn timeout(text: &str) -> Result<Duration, String> {
    duration(text, MILLISECOND, HOUR)
}

fn duration(text: &str, min: Duration, max: Duration) -> Result<Duration, String> {
    within(units::parse_duration(text)?, min, max, |bound| units::exact_duration(*bound))
}

fn number(text: &str, min: u64, max: u64) -> Result<usize, String> {
    within(units::parse_count(text)?, min, max, u64::to_string).map(|number| number as usize)
}

fn within<T: PartialOrd, S: Display>(value: T, min: T, max: T, show: impl Fn(&T) -> S) -> Result<T, String> {
    if (&min..=&max).contains(&&value) { Ok(value) } else { Err(format!("expected {} to {}", show(&min), show(&max))) }
}

pub(super) fn websocket_url(text: &str) -> Result<Url, String> {
    url(text, &["ws", "wss"], "expected ws://HOST:PORT/PATH or wss://HOST:PORT/PATH")
}

pub(super) fn http_url(text: &str) -> Result<Url, String> {
    url(text, &["http"], "expected http://HOST:PORT/PATH")
}

/// A URL of one of these schemes, in lower case.
fn url(text: &str, schemes: &[&str], expected: &str) -> Result<Url, String> {
    let is_taken = |(scheme, _): (&str, &str)| schemes.iter().any(|taken| scheme.eq_ignore_ascii_case(taken));
    if text.split_once("://").is_some_and(is_taken) { Url::parse(text) } else { Err(expected.to_owned()) }
}

pub(super) fn upgrade_field(text: &str) -> Result<(String, String), String> {
    field(text, |name| is_own(name) || is_among(UPGRADE_FIELDS, name))
}

pub(super) fn publish_field(text: &str) -> Result<(String, String), String> {
    field(text, |name| is_among(PUBLISH_FIELDS, name))
}

fn is_among(names: &[&str], name: &str) -> bool {
    names.iter().any(|other| name.eq_ignore_ascii_case(other))
}

/// RFC 9110 §5: a token, a colon, and a value without control characters.
fn field(text: &str, is_taken: impl Fn(&str) -> bool) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("expected 'Name: value'")?;
    let name = token(name).map_err(|_| "expected 'Name: value', the name of letters, digits and !#$%&'*+-.^_`|~")?;
    if is_taken(&name) {
        return Err(format!("the request has its own {name}"));
    }
    let value = value.trim();
    if value.chars().any(|char| char.is_control() && char != '\t') {
        return Err("a value without control characters was expected".into());
    }
    Ok((name, value.to_owned()))
}

/// RFC 9110 §5.6.2.
pub(super) fn token(text: &str) -> Result<String, String> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_token) {
        Ok(text.to_owned())
    } else {
        Err("expected letters, digits and !#$%&'*+-.^_`|~".into())
    }
}

/// A name that stands in a path and between quotes of JSON as it is.
pub(super) fn channel(text: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) {
        Ok(text.to_owned())
    } else {
        Err("expected letters, digits and -._~!$&'()*+,;=:@/".into())
    }
}

pub(super) fn text(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("expected a text".into()) } else { Ok(text.to_owned()) }
}

pub(super) fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".into()),
    }
}

pub(super) fn answer(text: &str) -> Result<(Vec<u8>, Vec<u8>), String> {
    label(text).map(|(ping, pong)| (ping.into_bytes(), pong.into_bytes())).map_err(|_| "expected PING=PONG".into())
}

pub(super) fn local_addresses(text: &str) -> Result<LocalAddresses, String> {
    let mut addresses = Vec::new();
    for part in text.split(',') {
        match part.split_once('-') {
            None => {
                let address = part.parse().map_err(|_| format!("{part:?}: expected an address, or a range as in 127.0.0.2-127.0.0.9"))?;
                addresses.push(address);
            }
            Some((first, last)) => {
                let range = v4_range(first, last).ok_or_else(|| format!("{part:?}: expected two IPv4 addresses, the lower one first"))?;
                addresses.extend(range.take(LOCAL_ADDRESSES_MAX + 1));
            }
        }
        if addresses.len() > LOCAL_ADDRESSES_MAX {
            return Err(format!("expected at most {LOCAL_ADDRESSES_MAX} addresses"));
        }
    }
    Ok(LocalAddresses(addresses))
}

fn v4_range(first: &str, last: &str) -> Option<impl Iterator<Item = IpAddr>> {
    let (first, last): (Ipv4Addr, Ipv4Addr) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then(|| (first.to_bits()..=last.to_bits()).map(|bits| Ipv4Addr::from_bits(bits).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_inclusive_and_named() {
        assert_eq!((connections("1"), connections("1m")), (Ok(1), Ok(1_000_000)));
        assert_eq!((connections("0"), connections("1.1m")), (Err("expected 1 to 1000000".into()), Err("expected 1 to 1000000".into())));
        assert_eq!((steps("4"), steps("5")), (Err("expected 5 to 1000".into()), Ok(5)));
        assert_eq!(repeat("101"), Err("expected 1 to 100".into()));
        assert_eq!((cpu("0"), cpu("1024")), (Ok(0), Err("expected 0 to 1023".into())));
        assert_eq!((count("10000m"), count("10001m")), (Ok(10_000_000_000), Err("expected 1 to 10000000000".into())));
        assert_eq!((payload_bytes("1GiB"), payload_bytes("1025MiB")), (Ok(1 << 30), Err("expected 0B to 1GiB".into())));
        assert_eq!((measured("0s"), measured("168h")), (Err("expected 1ms to 604800s".into()), Ok(WEEK)));
        assert_eq!((pause("0"), pause("2h")), (Ok(Duration::ZERO), Err("expected 0ns to 3600s".into())));
    }

    #[test]
    fn threads_that_look_like_a_time() {
        assert_eq!((threads("1"), threads("1024")), (Ok(1), Ok(1024)));
        for text in ["30s", "1m", "500ms"] {
            assert_eq!(threads(text), Err(format!("-t is a number of threads, did you mean -d {text}?")));
        }
        assert_eq!(threads("0"), Err("expected 1 to 1024".into()));
        assert_eq!(threads("x"), Err("expected a whole number, as in 500, 20k or 1.5m".into()));
    }

    #[test]
    fn fields() {
        assert_eq!(upgrade_field("Authorization:  Bearer a:b "), Ok(("Authorization".into(), "Bearer a:b".into())));
        assert_eq!(upgrade_field("X-Empty:"), Ok(("X-Empty".into(), String::new())));
        assert_eq!(upgrade_field("Origin"), Err("expected 'Name: value'".into()));
        assert_eq!(upgrade_field("Sec-WebSocket-Key: x"), Err("the request has its own Sec-WebSocket-Key".into()));
        assert_eq!(upgrade_field("upgrade: x"), Err("the request has its own upgrade".into()));
        assert_eq!(upgrade_field("Host: x:1"), Ok(("Host".into(), "x:1".into())));
        assert_eq!(publish_field("HOST: x"), Err("the request has its own HOST".into()));
        assert_eq!(upgrade_field("a: b\r\nc: d"), Err("a value without control characters was expected".into()));
        for text in [": x", "a b: x", "é: x"] {
            assert!(upgrade_field(text).is_err_and(|error| error.starts_with("expected 'Name: value', the name of")), "{text}");
        }
    }

    #[test]
    fn addresses_and_their_ranges() {
        let parsed = |text| local_addresses(text).map(|list| list.0.iter().map(IpAddr::to_string).collect::<Vec<_>>());
        assert_eq!(parsed("127.0.0.1,::1").unwrap(), ["127.0.0.1", "::1"]);
        assert_eq!(
            parsed("127.0.0.254-127.0.1.1,127.0.0.9").unwrap(),
            ["127.0.0.254", "127.0.0.255", "127.0.1.0", "127.0.1.1", "127.0.0.9"]
        );
        assert_eq!(parsed("255.255.255.255-255.255.255.255").unwrap(), ["255.255.255.255"]);
        for text in ["127.0.0.9-127.0.0.2", "::1-::2", "127.0.0.2-9"] {
            assert_eq!(parsed(text), Err(format!("{text:?}: expected two IPv4 addresses, the lower one first")));
        }
        assert_eq!(parsed("127.0.0.1,"), Err("\"\": expected an address, or a range as in 127.0.0.2-127.0.0.9".into()));
        assert_eq!(parsed("0.0.0.0-255.255.255.255"), Err("expected at most 65536 addresses".into()));
    }

    #[test]
    fn pairs_and_names() {
        assert_eq!(label("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert_eq!(label("=b"), Err("expected KEY=VALUE".into()));
        assert_eq!(answer("{}={}"), Ok((b"{}".to_vec(), b"{}".to_vec())));
        assert_eq!(answer("{}"), Err("expected PING=PONG".into()));
        assert_eq!(channel("ticker:AAPL"), Ok("ticker:AAPL".into()));
        for text in ["", "a b", "a\"b", "a#b", "${x}"] {
            assert_eq!(channel(text), Err("expected letters, digits and -._~!$&'()*+,;=:@/".into()), "{text}");
        }
        assert_eq!(token("chat.v1"), Ok("chat.v1".into()));
        assert!(token("a,b").is_err() && text("").is_err());
        for text in ["http://a/", "a:1", "wsé://a", ""] {
            assert_eq!(websocket_url(text), Err("expected ws://HOST:PORT/PATH or wss://HOST:PORT/PATH".into()), "{text}");
        }
        for text in ["ws://a/", "https://a/", "a:1"] {
            assert_eq!(http_url(text), Err("expected http://HOST:PORT/PATH".into()), "{text}");
        }
        assert!(websocket_url("WSS://a").is_ok() && http_url("HTTP://a").is_ok());
        assert_eq!(http_url("http://a:0"), Err("port \"0\": expected 1 to 65535".into()));
    }
}
