//! Where a connection goes: `ws://`, `wss://` and, for publications, `http://` URLs. Imports nothing of this crate.

use std::{fmt, net::Ipv6Addr};

/// What is spoken at a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `ws://`: a WebSocket over plain TCP, port 80 unless told otherwise.
    Ws,
    /// `wss://`: a WebSocket over TLS, port 443.
    Wss,
    /// `http://`: HTTP over plain TCP, port 80.
    Http,
}

impl Scheme {
    const ALL: [Scheme; 3] = [Scheme::Ws, Scheme::Wss, Scheme::Http];

    /// With what a URL begins.
    fn prefix(self) -> &'static str {
        match self {
            Scheme::Ws => "ws://",
            Scheme::Wss => "wss://",
            Scheme::Http => "http://",
        }
    }

    fn default_port(self) -> u16 {
        match self {
            Scheme::Ws | Scheme::Http => 80,
            Scheme::Wss => 443,
        }
    }
}

/// A URL in its parts. `Display` puts them together again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// What is spoken there.
    pub scheme: Scheme,
    /// A name or an address, IPv6 without its brackets.
    pub host: String,
    /// Never 0.
    pub port: u16,
    /// Path and query as the request line has them, `/` at least. May hold templates, such as `${channel}`.
    pub target: String,
}

impl Url {
    /// The parts of `SCHEME://HOST[:PORT][/PATH][?QUERY]`. An error says what is wrong, where and what was
    /// expected; it does not repeat the text.
    pub fn parse(text: &str) -> Result<Url, String> {
        let starts = |scheme: &Scheme| text.get(..scheme.prefix().len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme.prefix()));
        let Some(scheme) = Scheme::ALL.into_iter().find(starts) else {
            return Err("expected ws://HOST:PORT/PATH, wss://... or http://...".into());
        };
        if let Some((at, found)) = text.char_indices().find(|(_, char)| !char.is_ascii_graphic()) {
            return Err(format!("{found:?} at byte {at}: expected visible ASCII, other bytes percent-encoded"));
        }
        if let Some(at) = text.find('#') {
            return Err(format!("a fragment at byte {at}: it never reaches a server; expected the URL without it"));
        }
        let after = &text[scheme.prefix().len()..];
        let (authority, target) = after.split_at(after.find(['/', '?']).unwrap_or(after.len()));
        if authority.contains('@') {
            return Err("a user name: expected HOST:PORT; credentials go into -H 'Authorization: ...'".into());
        }
        let (host, port) = split_authority(authority)?;
        let slash = if target.starts_with('/') { "" } else { "/" };
        Ok(Url { scheme, host, port: port.unwrap_or(scheme.default_port()), target: format!("{slash}{target}") })
    }

    /// For the Host field: IPv6 in brackets, the port unless it is the scheme's own.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == self.scheme.default_port() { host } else { format!("{host}:{}", self.port) }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.scheme.prefix(), self.authority(), self.target)
    }
}

/// Host without brackets, and the port if there is one.
fn split_authority(authority: &str) -> Result<(String, Option<u16>), String> {
    let (host, port) = if let Some(after) = authority.strip_prefix('[') {
        let (address, port) = after.split_once(']').ok_or("'[' without ']': expected an IPv6 address as in [::1]:8000")?;
        if address.parse::<Ipv6Addr>().is_err() {
            return Err(format!("host [{address}]: expected an IPv6 address as in [::1]"));
        }
        (address, port)
    } else {
        let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
        let named = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if host.is_empty() || !host.bytes().all(named) {
            return Err(format!("host {host:?}: expected a name or an address, IPv6 in brackets"));
        }
        (host, port)
    };
    let port = match port.strip_prefix(':') {
        Some(digits) => Some(port_number(digits)?),
        None if port.is_empty() => None,
        None => return Err(format!("{port:?} after the host: expected :PORT, /PATH or nothing")),
    };
    Ok((host.to_owned(), port))
}

fn port_number(digits: &str) -> Result<u16, String> {
    // `parse` alone would take a sign.
    let number = if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().unwrap_or(0) } else { 0 };
    if number == 0 { Err(format!("port {digits:?}: expected 1 to 65535")) } else { Ok(number) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts() {
        for (text, scheme, host, port, target, authority) in [
            ("ws://127.0.0.1:8000/echo", Scheme::Ws, "127.0.0.1", 8000, "/echo", "127.0.0.1:8000"),
            ("ws://a", Scheme::Ws, "a", 80, "/", "a"),
            ("WSS://a.example/x?y=1", Scheme::Wss, "a.example", 443, "/x?y=1", "a.example"),
            ("ws://a:443?x=/", Scheme::Ws, "a", 443, "/?x=/", "a:443"),
            ("ws://[::1]:9/", Scheme::Ws, "::1", 9, "/", "[::1]:9"),
            ("http://[fe80::1]", Scheme::Http, "fe80::1", 80, "/", "[fe80::1]"),
            ("ws://a/raw/${channel}?c=${conn}", Scheme::Ws, "a", 80, "/raw/${channel}?c=${conn}", "a"),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!(url, Url { scheme, host: host.into(), port, target: target.into() });
            assert_eq!(url.authority(), authority);
            assert_eq!(Url::parse(&url.to_string()), Ok(url));
        }
    }

    #[test]
    fn refusals_say_what_is_expected() {
        for (text, error) in [
            ("127.0.0.1:8000", "expected ws://HOST:PORT/PATH, wss://... or http://..."),
            ("", "expected ws://HOST:PORT/PATH, wss://... or http://..."),
            ("wsé://a", "expected ws://HOST:PORT/PATH, wss://... or http://..."),
            ("ws:///x", "host \"\": expected a name or an address, IPv6 in brackets"),
            ("ws://::1/", "host \"\": expected a name or an address, IPv6 in brackets"),
            ("ws://${conn}/", "host \"${conn}\": expected a name or an address, IPv6 in brackets"),
            ("ws://a b/", "' ' at byte 6: expected visible ASCII, other bytes percent-encoded"),
            ("ws://a/é", "'é' at byte 7: expected visible ASCII, other bytes percent-encoded"),
            ("ws://a/#x", "a fragment at byte 7: it never reaches a server; expected the URL without it"),
            ("ws://u:p@a/", "a user name: expected HOST:PORT; credentials go into -H 'Authorization: ...'"),
            ("ws://[::1", "'[' without ']': expected an IPv6 address as in [::1]:8000"),
            ("ws://[::g]/", "host [::g]: expected an IPv6 address as in [::1]"),
            ("ws://[::1]8000/", "\"8000\" after the host: expected :PORT, /PATH or nothing"),
            ("ws://a:/", "port \"\": expected 1 to 65535"),
            ("ws://a:0/", "port \"0\": expected 1 to 65535"),
            ("ws://a:+80/", "port \"+80\": expected 1 to 65535"),
            ("ws://a:65536/", "port \"65536\": expected 1 to 65535"),
        ] {
            assert_eq!(Url::parse(text), Err(error.to_owned()), "{text}");
        }
    }
}
