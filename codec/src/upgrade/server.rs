//! The server's side: a request and a policy go in, a decision comes out (RFC 6455 §4.2, RFC 9110 §7.8). Imports `http1`, `accept` and
//! `deflate`.

use crate::{
    accept::{ACCEPT_BYTES, Key},
    deflate,
    error::PeerError,
    http1::{Framing, Name, Request, eq_any_case, is_tchar, list},
};

/// A protocol that a connection can be switched to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// RFC 6455.
    WebSocket,
}

impl Protocol {
    /// Whether this is its name in Upgrade.
    fn is(self, name: &[u8]) -> bool {
        match self {
            Protocol::WebSocket => eq_any_case(name, b"websocket"),
        }
    }
}

/// Which pages may open a connection, RFC 6455 §10.2. A request without Origin comes from no browser and is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// Pages of the host that the request is for.
    SameHost,
    /// Any page.
    Any,
    /// Pages of these origins, such as `https://example.com`.
    List(Vec<String>),
}

/// What the server is willing to agree to.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The protocols it can switch to.
    pub protocols: Vec<Protocol>,
    /// The subprotocols that its sessions speak.
    pub subprotocols: Vec<String>,
    /// Which pages may connect.
    pub origins: Origins,
    /// permessage-deflate, if it is spoken.
    pub deflate: Option<deflate::Policy>,
}

/// A granted WebSocket handshake.
#[derive(Debug)]
pub struct Switch<'p> {
    /// The client's key, to be hashed by [`accept::hash`](crate::accept::hash).
    pub key: Key,
    /// The subprotocol, of the policy's list.
    pub subprotocol: Option<&'p str>,
    /// What was agreed about compression.
    pub deflate: Option<deflate::Agreement>,
}

/// Decides whether the connection is switched, which it is once [`Switch::write`] is on the wire; `None` for an ordinary request, which asks for no
/// upgrade that this server knows.
///
/// # Errors
/// Why the handshake fails; [`refusal_fields`] go with the error's status.
#[inline]
pub fn decide<'p>(request: &Request<'_>, policy: &'p Policy) -> Result<Option<Switch<'p>>, PeerError> {
    match protocol(request, policy) {
        None => Ok(None),
        Some(Protocol::WebSocket) => websocket(request, policy),
    }
}

/// The first protocol in the client's order that the server speaks. Upgrade is ignored in HTTP/1.0 and where Connection does not name it,
/// RFC 9110 §7.8.
fn protocol(request: &Request<'_>, policy: &Policy) -> Option<Protocol> {
    if !request.has(Name::Upgrade) || !request.is_http11() || !request.lists(Name::Connection, b"upgrade") {
        return None;
    }
    let known = |name: &[u8]| policy.protocols.iter().copied().find(|protocol| protocol.is(name));
    // Nearly always it is the only one.
    let only = request.single(Name::Upgrade).ok().flatten().and_then(known);
    only.or_else(|| list(request.values(Name::Upgrade)).find_map(known))
}

#[inline(always)]
fn websocket<'p>(request: &Request<'_>, policy: &'p Policy) -> Result<Option<Switch<'p>>, PeerError> {
    if request.method() != b"GET" {
        return Err(PeerError::Method);
    }
    // Checklist 16: a body would be read as frames by one side and not by the other.
    if request.framing()? != Framing::Length(0) {
        return Err(PeerError::UpgradeBody);
    }
    if request.single(Name::SecWebSocketVersion) != Ok(Some(b"13")) {
        return Err(PeerError::WebSocketVersion);
    }
    let key = request.single(Name::SecWebSocketKey).ok().flatten().ok_or(PeerError::Key)?;
    let key = Key::parse(key)?;
    check_origin(request, &policy.origins)?;
    let subprotocol = if request.has(Name::SecWebSocketProtocol) { subprotocol(request, policy)? } else { None };
    let offers = request.values(Name::SecWebSocketExtensions);
    let deflate = deflate::negotiate(offers, policy.deflate.as_ref()).map_err(|_| PeerError::Negotiation)?;
    Ok(Some(Switch { key, subprotocol, deflate }))
}

#[inline]
fn check_origin(request: &Request<'_>, origins: &Origins) -> Result<(), PeerError> {
    let origin = match request.single(Name::Origin) {
        Ok(None) => return Ok(()),
        Ok(Some(origin)) => origin,
        Err(()) => return Err(PeerError::Origin),
    };
    let allowed = match origins {
        Origins::Any => true,
        Origins::List(allowed) => allowed.iter().any(|allowed| origin.eq_ignore_ascii_case(allowed.as_bytes())),
        Origins::SameHost => {
            let host = origin.windows(3).position(|window| window == b"://").map(|at| &origin[at + 3..]);
            host.is_some_and(|host| request.authority().is_ok_and(|authority| host.eq_ignore_ascii_case(authority)))
        }
    };
    if allowed { Ok(()) } else { Err(PeerError::Origin) }
}

/// The first of the client's subprotocols that the server speaks, RFC 6455 §4.2.2; none is no error. Case matters.
fn subprotocol<'p>(request: &Request<'_>, policy: &'p Policy) -> Result<Option<&'p str>, PeerError> {
    let mut selected = None;
    for offered in list(request.values(Name::SecWebSocketProtocol)) {
        if !offered.iter().copied().all(is_tchar) {
            return Err(PeerError::Negotiation);
        }
        if selected.is_none() {
            selected = policy.subprotocols.iter().find(|known| known.as_bytes() == offered).map(String::as_str);
        }
    }
    Ok(selected)
}

impl Switch<'_> {
    /// Appends the complete 101 response to `out`, with the place for the accept value not yet filled; returns where that place begins. Filling it
    /// later lets all the keys of a turn be hashed together.
    pub fn write(&self, out: &mut Vec<u8>) -> usize {
        const HEAD: &[u8; 97 + ACCEPT_BYTES] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Accept: ____________________________";
        let accept = out.len() + HEAD.len() - ACCEPT_BYTES;
        out.extend_from_slice(HEAD);
        if let Some(subprotocol) = self.subprotocol {
            out.extend_from_slice(b"\r\nSec-WebSocket-Protocol: ");
            out.extend_from_slice(subprotocol.as_bytes());
        }
        if let Some(deflate) = &self.deflate {
            out.extend_from_slice(b"\r\nSec-WebSocket-Extensions: ");
            deflate.write_response(out);
        }
        out.extend_from_slice(b"\r\n\r\n");
        accept
    }
}

/// The fields that a refusal needs beside its status: RFC 6455 §4.4 and RFC 9110 §15.5.22 for 426, §15.5.6 for 405.
pub fn refusal_fields(status: u16) -> &'static [(&'static str, &'static str)] {
    match status {
        405 => &[("Allow", "GET, HEAD")],
        426 => &[("Sec-WebSocket-Version", "13"), ("Upgrade", "websocket"), ("Connection", "Upgrade")],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{accept, http1::HeadScan, limits::HttpLimits};

    const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

    fn policy() -> Policy {
        Policy {
            protocols: vec![Protocol::WebSocket],
            subprotocols: vec!["chat".into(), "superchat".into()],
            origins: Origins::SameHost,
            deflate: Some(deflate::Policy { client_context_takeover: false }),
        }
    }

    /// The 101 as text, or the status of a refusal, or nothing for a plain request.
    fn decided(head: &str, policy: &Policy) -> Result<String, Option<PeerError>> {
        let mut scan = HeadScan::default();
        scan.advance(head.as_bytes(), &HttpLimits::DEFAULT).unwrap();
        match decide(&Request::new(head.as_bytes(), &scan), policy) {
            Ok(None) => Err(None),
            Err(error) => Err(Some(error)),
            Ok(Some(switch)) => {
                let mut out = Vec::new();
                let at = switch.write(&mut out);
                accept::hash(&[switch.key], |_, accept| out[at..at + ACCEPT_BYTES].copy_from_slice(accept));
                Ok(String::from_utf8(out).unwrap())
            }
        }
    }

    fn upgrade(fields: &str) -> String {
        format!("GET /chat HTTP/1.1\r\nHost: a.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{fields}\r\n")
    }

    fn complete(fields: &str) -> String {
        upgrade(&format!("{KEY}Sec-WebSocket-Version: 13\r\n{fields}"))
    }

    const ANSWER: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

    #[test]
    fn the_rfc_s_example() {
        let head = complete("Origin: http://A.example\r\nSec-WebSocket-Protocol: x, superchat, chat\r\n");
        assert_eq!(decided(&head, &policy()), Ok(format!("{ANSWER}\r\nSec-WebSocket-Protocol: superchat\r\n\r\n")));
    }

    #[test]
    fn names_in_any_case_and_lists_over_lines() {
        for (upgrade, connection) in [
            ("WebSocket", "keep-alive, Upgrade"),
            ("foo/1, websocket", "upgrade"),
            (",, websocket", "a,\t,UPGRADE,"),
            ("h2c\r\nUpgrade: websocket", "x\r\nConnection: upgrade"),
        ] {
            let head = format!(
                "GET / HTTP/1.1\r\nHost: a\r\nupgrade: {upgrade}\r\nCONNECTION: {connection}\r\n{KEY}Sec-WebSocket-Version: 13\r\n\r\n"
            );
            assert_eq!(decided(&head, &policy()), Ok(format!("{ANSWER}\r\n\r\n")), "{upgrade} {connection}");
        }
    }

    #[test]
    fn what_is_no_upgrade_is_a_plain_request() {
        for (version, upgrade, connection) in [
            ("1.1", "websocketx", "upgrade"),
            ("1.1", "websocket", "notupgrade"),
            ("1.1", "websocket", "keep-alive"),
            ("1.1", "h2c", "upgrade"),
            ("1.1", "", "upgrade"),
            ("1.0", "websocket", "upgrade"),
        ] {
            let head = format!(
                "GET / HTTP/{version}\r\nHost: a\r\nUpgrade: {upgrade}\r\nConnection: {connection}\r\n{KEY}Sec-WebSocket-Version: 13\r\n\r\n"
            );
            assert_eq!(decided(&head, &policy()), Err(None), "{version} {upgrade} {connection}");
        }
    }

    #[test]
    fn refusals() {
        let version = "Sec-WebSocket-Version: 13\r\n";
        for (head, error) in [
            (complete("").replace("GET", "POST"), PeerError::Method),
            (complete("Content-Length: 5\r\n"), PeerError::UpgradeBody),
            (complete("Transfer-Encoding: chunked\r\n"), PeerError::UpgradeBody),
            (upgrade(KEY), PeerError::WebSocketVersion),
            (upgrade(&format!("{KEY}Sec-WebSocket-Version: 013\r\n")), PeerError::WebSocketVersion),
            (upgrade(&format!("{KEY}Sec-WebSocket-Version: 8\r\n")), PeerError::WebSocketVersion),
            (upgrade(version), PeerError::Key),
            (complete(KEY), PeerError::Key),
            (upgrade(&format!("{version}Sec-WebSocket-Key: AAAA\r\n")), PeerError::Key),
            (complete("Origin: http://evil.example\r\n"), PeerError::Origin),
            (complete("Origin: null\r\n"), PeerError::Origin),
            (complete("Sec-WebSocket-Extensions: a b\r\n"), PeerError::Negotiation),
            (complete("Sec-WebSocket-Protocol: a b\r\n"), PeerError::Negotiation),
        ] {
            assert_eq!(decided(&head, &policy()), Err(Some(error)), "{head}");
        }
        assert!(decided(&complete("Content-Length: 0\r\n"), &policy()).is_ok());
    }

    #[test]
    fn origins() {
        let head = complete("Origin: https://b.example\r\n");
        for (origins, allowed) in [
            (Origins::SameHost, false),
            (Origins::Any, true),
            (Origins::List(vec!["https://b.example".into()]), true),
            (Origins::List(vec!["http://b.example".into()]), false),
        ] {
            assert_eq!(decided(&head, &Policy { origins, ..policy() }).is_ok(), allowed);
        }
    }

    #[test]
    fn compression_only_where_both_want_it() {
        let head = complete("Sec-WebSocket-Extensions: constructor, permessage-deflate\r\n");
        assert!(decided(&head, &policy()).unwrap().contains("Extensions: permessage-deflate; server_no_context_takeover"));
        assert!(!decided(&head, &Policy { deflate: None, ..policy() }).unwrap().contains("Extensions"));
    }
}
