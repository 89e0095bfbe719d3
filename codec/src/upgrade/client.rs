//! The client's side: an offer becomes a request, and the response is judged by it (RFC 6455 §4.1). Imports `http1`, `accept` and `deflate`.

use std::fmt;

use crate::{
    accept::{self, ACCEPT_BYTES, Accept, Key},
    deflate::{self, Agreement, MalformedExtension},
    http1::{Name, ResponseHead, is_field_name, is_field_value, list, response::reason},
};

/// What a client asks for.
///
/// [`write`](Offer::write) copies the texts as they are, so it is the caller who sees to it that none of them ends its line: `host` and `target`
/// are of visible ASCII, `fields` pass [`is_field_name`] and [`is_field_value`], and `subprotocols` are tokens.
#[derive(Clone, Copy, Debug)]
pub struct Offer<'a> {
    /// The server's host, with the port if it is not the scheme's.
    pub host: &'a str,
    /// Path and query.
    pub target: &'a str,
    /// This connection's key, of random bytes.
    pub key: Key,
    /// Further fields, name and value. One that the request has anyway replaces it, Host too; but none may be one that [`is_own`] names.
    pub fields: &'a [(String, String)],
    /// The subprotocols, the best first.
    pub subprotocols: &'a [String],
    /// Whether permessage-deflate is offered, as [`deflate::write_offer`] does.
    pub deflate: bool,
}

/// Whether a field, its name in any case, is made of the [`Offer`]'s other members, by which the response is judged.
pub fn is_own(name: &str) -> bool {
    ["Sec-WebSocket-Key", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions"].iter().any(|own| name.eq_ignore_ascii_case(own))
}

impl Offer<'_> {
    /// Appends the request to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        debug_assert!([self.host, self.target].iter().all(|text| text.bytes().all(|byte| byte.is_ascii_graphic())), "{self:?}");
        debug_assert!(self.subprotocols.iter().all(|name| is_field_name(name.as_bytes())), "{self:?}");
        let is_sound =
            |(name, value): &(String, String)| is_field_name(name.as_bytes()) && is_field_value(value.as_bytes()) && !is_own(name);
        debug_assert!(self.fields.iter().all(is_sound), "{self:?}");

        // "The method of the request MUST be GET, and the HTTP version MUST be at least 1.1."
        append(out, &["GET ", self.target, " HTTP/1.1\r\n"]);
        let ours = [("Host", self.host), ("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", "13")];
        for (name, value) in ours {
            if !self.fields.iter().any(|(given, _)| given.eq_ignore_ascii_case(name)) {
                append(out, &[name, ": ", value, "\r\n"]);
            }
        }
        append(out, &["Sec-WebSocket-Key: ", self.key.as_str(), "\r\n"]);
        if let [first, rest @ ..] = self.subprotocols {
            append(out, &["Sec-WebSocket-Protocol: ", first]);
            for name in rest {
                append(out, &[", ", name]);
            }
            append(out, &["\r\n"]);
        }
        if self.deflate {
            append(out, &["Sec-WebSocket-Extensions: "]);
            deflate::write_offer(out);
            append(out, &["\r\n"]);
        }
        for (name, value) in self.fields {
            append(out, &[name, ": ", value, "\r\n"]);
        }
        append(out, &["\r\n"]);
    }
}

fn append(out: &mut Vec<u8>, texts: &[&str]) {
    for text in texts {
        out.extend_from_slice(text.as_bytes());
    }
}

/// What client and server have agreed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The subprotocol, by its place in [`Offer::subprotocols`].
    pub subprotocol: Option<usize>,
    /// What was agreed about compression.
    pub deflate: Option<Agreement>,
}

/// Why a response opens no WebSocket. What the server gave is quoted in visible ASCII, shortened, its field lines joined; `None` where the
/// field is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The status is not 101.
    Status {
        /// The status instead.
        status: u16,
        /// Where a redirection leads; it is not followed.
        location: Option<String>,
    },
    /// Upgrade is not `websocket` alone.
    Upgrade(Option<String>),
    /// Connection does not name `upgrade`.
    Connection(Option<String>),
    /// Sec-WebSocket-Accept is not the one that answers the key, or is repeated.
    Accept {
        /// What answers the key.
        expected: Accept,
        /// What was there instead.
        given: Option<String>,
    },
    /// Sec-WebSocket-Protocol is none of those that were offered, or more than one.
    Subprotocol(String),
    /// Sec-WebSocket-Extensions is malformed, or no answer to the offer.
    Extensions {
        /// What is wrong.
        error: MalformedExtension,
        /// The field.
        given: String,
    },
}

/// Judges the response to an offer.
///
/// # Errors
/// Why the client must fail the connection, RFC 6455 §4.1; the first reason in the order that is given there.
pub fn judge(head: &ResponseHead<'_>, offer: &Offer<'_>) -> Result<Accepted, Refusal> {
    let given = |name: Name| quoted(head.values(name));
    // 1. "If the status code received from the server is not 101, the client handles the response per HTTP procedures."
    if head.status() != 101 {
        return Err(Refusal::Status { status: head.status(), location: quoted(head.values_of("Location")) });
    }
    // 2. "If the response lacks an |Upgrade| header field or the |Upgrade| header field contains a value that is not an ASCII
    // case-insensitive match for the value "websocket", the client MUST _Fail the WebSocket Connection_."
    let mut protocols = list(head.values(Name::Upgrade));
    if !protocols.next().is_some_and(|name| name.eq_ignore_ascii_case(b"websocket")) || protocols.next().is_some() {
        return Err(Refusal::Upgrade(given(Name::Upgrade)));
    }
    // 3. "... or the |Connection| header field doesn't contain a token that is an ASCII case-insensitive match for the value "Upgrade""
    if !head.lists(Name::Connection, b"upgrade") {
        return Err(Refusal::Connection(given(Name::Connection)));
    }
    // 4. "... or the |Sec-WebSocket-Accept| contains a value other than the base64-encoded SHA-1 of the concatenation of the
    // |Sec-WebSocket-Key| [...] with the string "258EAFA5-E914-47DA-95CA-C5AB0DC85B11""
    let mut expected = [0; ACCEPT_BYTES];
    accept::hash(&[offer.key], |_, accept| expected = *accept);
    if head.single(Name::SecWebSocketAccept) != Ok(Some(&expected)) {
        return Err(Refusal::Accept { expected, given: given(Name::SecWebSocketAccept) });
    }
    // 5. "... and this header field indicates the use of an extension that was not present in the client's handshake"
    let deflate = deflate::accept_response(head.values(Name::SecWebSocketExtensions))
        .and_then(|agreed| if agreed.is_some() && !offer.deflate { Err(MalformedExtension::NotOffered) } else { Ok(agreed) })
        .map_err(|error| Refusal::Extensions { error, given: given(Name::SecWebSocketExtensions).unwrap_or_default() })?;
    // 6. "... and this header field indicates the use of a subprotocol that was not present in the client's handshake"; it may stand once,
    // §11.3.4.
    let not_offered = || Refusal::Subprotocol(given(Name::SecWebSocketProtocol).unwrap_or_default());
    let subprotocol = match head.single(Name::SecWebSocketProtocol) {
        Ok(None) => None,
        Ok(Some(name)) => Some(offer.subprotocols.iter().position(|offered| offered.as_bytes() == name).ok_or_else(not_offered)?),
        Err(()) => return Err(not_offered()),
    };
    Ok(Accepted { subprotocol, deflate })
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_none = |given: &Option<String>| given.as_ref().map_or("none".to_owned(), |given| format!("`{given}`"));
        match self {
            Self::Status { status, location } => {
                let phrase = reason(*status);
                let space = if phrase.is_empty() { "" } else { " " };
                write!(f, "expected status 101, got {status}{space}{phrase}")?;
                location.as_ref().map_or(Ok(()), |location| write!(f, ", which leads to `{location}`"))
            }
            Self::Upgrade(given) => write!(f, "expected `Upgrade: websocket`, got {}", or_none(given)),
            Self::Connection(given) => write!(f, "expected `Connection: Upgrade`, got {}", or_none(given)),
            Self::Accept { expected, given } => {
                write!(f, "expected one `Sec-WebSocket-Accept: {}`, got {}", expected.escape_ascii(), or_none(given))
            }
            Self::Subprotocol(given) => write!(f, "expected at most one subprotocol, of those that were offered, got `{given}`"),
            Self::Extensions { error, given } => write!(f, "{error}, got `{given}`"),
        }
    }
}

impl std::error::Error for Refusal {}

/// How much of a field is quoted.
const QUOTED_BYTES_MAX: usize = 120;

fn quoted<'a>(values: impl Iterator<Item = &'a [u8]>) -> Option<String> {
    let lines: Vec<&[u8]> = values.collect();
    let text = lines.join(&b", "[..]);
    let shown = text[..text.len().min(QUOTED_BYTES_MAX)].escape_ascii();
    let rest = if text.len() > QUOTED_BYTES_MAX { "..." } else { "" };
    (!lines.is_empty()).then(|| format!("{shown}{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        http1::{HeadScan, Progress, Request},
        limits::HttpLimits,
        upgrade::{Origins, Policy, Protocol, decide},
    };

    fn offer() -> Offer<'static> {
        let key = Key::from_nonce(*b"the sample nonce");
        Offer { host: "server.example.com", target: "/chat", key, fields: &[], subprotocols: &[], deflate: false }
    }

    fn written(offer: &Offer<'_>) -> String {
        let mut out = Vec::new();
        offer.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn judged(head: &str, offer: &Offer<'_>) -> Result<Accepted, String> {
        let mut scan = HeadScan::for_response();
        assert_eq!(scan.advance(head.as_bytes(), &HttpLimits::DEFAULT), Ok(Progress::Complete(head.len())));
        judge(&ResponseHead::new(head.as_bytes(), &scan), offer).map_err(|refusal| refusal.to_string())
    }

    fn switching(fields: &str) -> String {
        format!("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{fields}\r\n")
    }

    const ACCEPT: &str = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";

    /// RFC 6455 §1.2, with the key of §1.3.
    #[test]
    fn the_rfc_s_example() {
        let (fields, subprotocols) = ([("Origin".to_owned(), "http://example.com".to_owned())], names(&["chat", "superchat"]));
        let offer = Offer { fields: &fields, subprotocols: &subprotocols, ..offer() };
        assert_eq!(
            written(&offer),
            "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: chat, superchat\r\nOrigin: http://example.com\r\n\r\n"
        );
        let head = switching(&format!("{ACCEPT}Sec-WebSocket-Protocol: chat\r\n"));
        assert_eq!(judged(&head, &offer), Ok(Accepted { subprotocol: Some(0), deflate: None }));
    }

    #[test]
    fn a_field_replaces_ours_of_its_name() {
        let fields = [("host", "other:81"), ("X-A", "1"), ("CONNECTION", "keep-alive, Upgrade"), ("x-a", "2")];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let request = written(&Offer { fields: &fields, ..offer() });
        assert_eq!(request.to_lowercase().matches("\r\nhost: ").count(), 1);
        assert_eq!(request.to_lowercase().matches("\r\nconnection: ").count(), 1);
        assert!(request.ends_with("\r\nhost: other:81\r\nX-A: 1\r\nCONNECTION: keep-alive, Upgrade\r\nx-a: 2\r\n\r\n"), "{request}");
        assert!(is_own("sec-websocket-KEY") && !is_own("Host"));
    }

    #[test]
    fn our_server_takes_our_offer_and_our_client_its_answer() {
        let subprotocols = names(&["a", "b"]);
        let offer = Offer { subprotocols: &subprotocols, deflate: true, ..offer() };
        let policy = Policy {
            protocols: vec![Protocol::WebSocket],
            subprotocols: names(&["b"]),
            origins: Origins::SameHost,
            deflate: Some(deflate::Policy { client_context_takeover: true }),
        };
        let request = written(&offer);
        let mut scan = HeadScan::default();
        scan.advance(request.as_bytes(), &HttpLimits::DEFAULT).unwrap();
        let Ok(Some(switch)) = decide(&Request::new(request.as_bytes(), &scan), &policy) else { panic!("{request}") };
        assert_eq!(switch.key, offer.key);
        let mut response = Vec::new();
        let place = switch.write(&mut response);
        accept::hash(&[switch.key], |_, accept| response[place..place + ACCEPT_BYTES].copy_from_slice(accept));
        let accepted = judged(std::str::from_utf8(&response).unwrap(), &offer).unwrap();
        assert_eq!(accepted, Accepted { subprotocol: Some(1), deflate: switch.deflate });
        assert!(accepted.deflate.is_some());
    }

    #[test]
    fn what_a_server_may_vary() {
        for head in [
            switching(ACCEPT),
            switching(ACCEPT).replace("websocket", "WebSocket").replace("Connection: Upgrade", "connection: keep-alive,UPGRADE"),
            switching(&format!("{ACCEPT}Server: x\r\nContent-Length: 0\r\n")).replace(" Switching Protocols", ""),
        ] {
            assert_eq!(judged(&head, &offer()), Ok(Accepted { subprotocol: None, deflate: None }), "{head}");
        }
    }

    #[test]
    fn refusals() {
        let plain = offer();
        let subprotocols = names(&["chat"]);
        let full = Offer { subprotocols: &subprotocols, deflate: true, ..plain };
        let with = |fields: &str| switching(&format!("{ACCEPT}{fields}\r\n"));
        let not_offered = "Sec-WebSocket-Extensions: expected at most one permessage-deflate, with parameters that answer the offer, got";
        for (head, offer, text) in [
            (switching(ACCEPT).replace("101 Switching Protocols", "404 Gone fishing"), &plain, "expected status 101, got 404 Not Found"),
            (switching(ACCEPT).replace("101", "799"), &plain, "expected status 101, got 799"),
            (
                "HTTP/1.1 301 Moved\r\nLocation: wss://b/\r\n\r\n".into(),
                &plain,
                "expected status 101, got 301 Moved Permanently, which leads to `wss://b/`",
            ),
            (switching(ACCEPT).replace("Upgrade: websocket", "X: y"), &plain, "expected `Upgrade: websocket`, got none"),
            (switching(ACCEPT).replace("websocket", "websocket, h2c"), &plain, "expected `Upgrade: websocket`, got `websocket, h2c`"),
            (switching(ACCEPT).replace("websocket", "web\u{e9}"), &plain, "expected `Upgrade: websocket`, got `web\\xc3\\xa9`"),
            (switching(ACCEPT).replace("Connection: Upgrade", "Connection: close"), &plain, "expected `Connection: Upgrade`, got `close`"),
            (switching(""), &plain, "expected one `Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=`, got none"),
            (
                switching(&ACCEPT.to_lowercase()),
                &plain,
                "expected one `Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=`, got `s3pplmbitxaq9kygzzhzrbk+xoo=`",
            ),
            (
                with(ACCEPT.trim_end()),
                &plain,
                "expected one `Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=`, \
                 got `s3pPLMBiTxaQ9kYGzzhZRbK+xOo=, s3pPLMBiTxaQ9kYGzzhZRbK+xOo=`",
            ),
            (with("Sec-WebSocket-Protocol: chat"), &plain, "expected at most one subprotocol, of those that were offered, got `chat`"),
            (with("Sec-WebSocket-Protocol: Chat"), &full, "expected at most one subprotocol, of those that were offered, got `Chat`"),
            (
                with("Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: chat"),
                &full,
                "expected at most one subprotocol, of those that were offered, got `chat, chat`",
            ),
            (with("Sec-WebSocket-Extensions: permessage-deflate"), &plain, &format!("{not_offered} `permessage-deflate`")),
            (with("Sec-WebSocket-Extensions: foo"), &full, &format!("{not_offered} `foo`")),
            (
                with("Sec-WebSocket-Extensions: permessage-deflate;"),
                &full,
                "Sec-WebSocket-Extensions, byte 19: expected a token, got `permessage-deflate;`",
            ),
        ] {
            assert_eq!(judged(&head, offer), Err(text.to_owned()), "{head}");
        }
    }

    #[test]
    fn a_long_field_is_quoted_in_part() {
        let text = judged(&switching(ACCEPT).replace("websocket", &"x".repeat(5000)), &offer()).unwrap_err();
        assert_eq!(text, format!("expected `Upgrade: websocket`, got `{}...`", "x".repeat(QUOTED_BYTES_MAX)));
    }
}
