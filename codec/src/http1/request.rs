//! What a scanned request means: its line, where it is directed to and how its body ends. Imports `head` and `scan`.

use std::ops::Deref;

use crate::{
    error::PeerError,
    http1::{
        head::{Framing, Head},
        scan::{HeadScan, Name},
    },
};

/// A request whose head is complete. What it has in common with a response is its [`Head`].
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    head: Head<'a>,
}

impl<'a> Deref for Request<'a> {
    type Target = Head<'a>;

    fn deref(&self) -> &Head<'a> {
        &self.head
    }
}

impl<'a> Request<'a> {
    /// The request in `head`, over which `scan` has come to [`Progress::Complete`](super::Progress::Complete).
    pub fn new(head: &'a [u8], scan: &'a HeadScan) -> Request<'a> {
        Request { head: Head { bytes: head, scan } }
    }

    /// The method, case-sensitive.
    pub fn method(&self) -> &'a [u8] {
        self.head.scan.method.of(self.head.bytes)
    }

    /// The target as it stands in the request line.
    pub fn target(&self) -> &'a [u8] {
        self.head.scan.target.of(self.head.bytes)
    }

    /// The host and optional port that the request is for: from an absolute target, else from Host; empty in an HTTP/1.0 request without both.
    ///
    /// # Errors
    /// [`PeerError::Host`] for a missing, repeated or malformed one, [`PeerError::Target`] for a malformed target.
    pub fn authority(&self) -> Result<&'a [u8], PeerError> {
        let host = self.single(Name::Host).map_err(|()| PeerError::Host)?;
        match host {
            Some(host) if !is_authority(host) => return Err(PeerError::Host),
            None if self.is_http11() => return Err(PeerError::Host),
            _ => {}
        }
        let (authority, _) = self.split_target()?;
        Ok(authority.or(host).unwrap_or_default())
    }

    /// The path of the target, without the query.
    ///
    /// # Errors
    /// [`PeerError::Target`] where the target is neither a path nor an absolute http URI, holds a byte outside visible ASCII or a `%` that escapes
    /// nothing, or has a fragment.
    pub fn path(&self) -> Result<&'a [u8], PeerError> {
        let (_, path) = self.split_target()?;
        Ok(path.split(|&byte| byte == b'?').next().unwrap_or_default())
    }

    /// The query of the target, without its `?`; empty where there is none.
    ///
    /// # Errors
    /// As of [`path`](Request::path).
    pub fn query(&self) -> Result<&'a [u8], PeerError> {
        let (_, path) = self.split_target()?;
        Ok(memchr::memchr(b'?', path).map_or(&[], |at| &path[at + 1..]))
    }

    /// The authority of an absolute target, and the path with the query, RFC 9112 §3.2.
    fn split_target(&self) -> Result<(Option<&'a [u8]>, &'a [u8]), PeerError> {
        let target = self.target();
        let escapes = |at| matches!(target[at + 1..], [high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit());
        if !target.iter().all(|&byte| byte.is_ascii_graphic() && byte != b'#') || !memchr::memchr_iter(b'%', target).all(escapes) {
            return Err(PeerError::Target);
        }
        if target[0] == b'/' {
            return Ok((None, target));
        }
        let scheme_end = target.windows(3).position(|window| window == b"://").ok_or(PeerError::Target)?;
        let scheme = &target[..scheme_end];
        if ![&b"http"[..], b"https", b"ws", b"wss"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
            return Err(PeerError::Target);
        }
        let rest = &target[scheme_end + 3..];
        let (authority, path) = rest.split_at(rest.iter().position(|&byte| byte == b'/' || byte == b'?').unwrap_or(rest.len()));
        if !is_authority(authority) {
            return Err(PeerError::Target);
        }
        // RFC 9110 §4.2.3: an empty path is the path "/".
        Ok((Some(authority), if path.starts_with(b"/") { path } else { b"/" }))
    }

    /// How the body ends; without a word about it there is none.
    ///
    /// # Errors
    /// As of [`Head::declared_framing`].
    pub fn framing(&self) -> Result<Framing, PeerError> {
        Ok(self.declared_framing()?.unwrap_or(Framing::Length(0)))
    }
}

/// `uri-host [ ":" port ]`, RFC 3986 §3.2.2, with a host that is not empty.
fn is_authority(bytes: &[u8]) -> bool {
    let (host, port) = match bytes {
        [b'[', rest @ ..] => {
            let Some(end) = memchr::memchr(b']', rest) else { return false };
            if !rest[..end].iter().all(|byte| byte.is_ascii_hexdigit() || b":.".contains(byte)) {
                return false;
            }
            (&rest[..end], &rest[end + 1..])
        }
        _ => {
            let (host, port) = bytes.split_at(memchr::memchr(b':', bytes).unwrap_or(bytes.len()));
            if !host.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(byte)) {
                return false;
            }
            (host, port)
        }
    };
    let port_is_valid = match port {
        [] => true,
        [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    !host.is_empty() && port_is_valid
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{http1::Progress, limits::HttpLimits};

    fn with_request<T>(head: &str, test: impl FnOnce(&Request<'_>) -> T) -> T {
        let mut scan = HeadScan::default();
        let progress = scan.advance(head.as_bytes(), &HttpLimits::DEFAULT).unwrap();
        assert_eq!(progress, Progress::Complete(head.len()));
        test(&Request::new(head.as_bytes(), &scan))
    }

    #[test]
    fn hosts() {
        for (host, valid) in [
            ("a", true),
            ("a.example:8080", true),
            ("[::1]:80", true),
            ("127.0.0.1", true),
            ("a:", true),
            ("", false),
            ("a b", false),
            ("a/b", false),
            ("u@a", false),
            ("[::1", false),
            ("a:x", false),
            ("[::1]x", false),
            ("é", false),
        ] {
            let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
            let expected = if valid { Ok(host.as_bytes().to_vec()) } else { Err(PeerError::Host) };
            assert_eq!(with_request(&head, |request| request.authority().map(<[u8]>::to_vec)), expected, "{host}");
        }
        for (head, expected) in [
            ("GET / HTTP/1.1\r\n\r\n", Err(PeerError::Host)),
            ("GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", Err(PeerError::Host)),
            ("GET / HTTP/1.0\r\n\r\n", Ok(&b""[..])),
            ("GET http://b/x HTTP/1.1\r\nHost: a\r\n\r\n", Ok(b"b")),
        ] {
            with_request(head, |request| assert_eq!(request.authority(), expected, "{head}"));
        }
    }

    #[test]
    fn paths() {
        for (target, path) in [
            ("/", Ok("/")),
            ("/a/b?c=/d", Ok("/a/b")),
            ("http://a", Ok("/")),
            ("WS://a:80/x?y", Ok("/x")),
            ("http://a?q", Ok("/")),
            ("*", Err(PeerError::Target)),
            ("a", Err(PeerError::Target)),
            ("/a#b", Err(PeerError::Target)),
            ("/%7", Err(PeerError::Target)),
            ("/%zz", Err(PeerError::Target)),
            ("/%7e", Ok("/%7e")),
            ("ftp://a/", Err(PeerError::Target)),
            ("http:///x", Err(PeerError::Target)),
            ("/\u{e9}", Err(PeerError::Target)),
        ] {
            let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!(
                with_request(&head, |request| request.path().map(<[u8]>::to_vec)),
                path.map(|path| path.as_bytes().to_vec()),
                "{target}"
            );
        }
    }

    #[test]
    fn body_framing() {
        use Framing::{Chunked, Length};
        for (fields, expected) in [
            ("", Ok(Length(0))),
            ("Content-Length: 5\r\n", Ok(Length(5))),
            ("Content-Length: +5\r\n", Err(PeerError::ContentLength)),
            ("Content-Length:\r\n", Err(PeerError::ContentLength)),
            ("Content-Length: 5, 5\r\n", Err(PeerError::ContentLength)),
            ("Content-Length: 99999999999999999999\r\n", Err(PeerError::ContentLength)),
            ("Content-Length: 5\r\nContent-Length: 6\r\n", Err(PeerError::ContentLength)),
            ("Transfer-Encoding: Chunked\r\n", Ok(Chunked)),
            ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", Err(PeerError::TransferEncoding)),
            ("Transfer-Encoding: chunked, gzip\r\n", Err(PeerError::TransferEncoding)),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Err(PeerError::TransferEncoding)),
            ("Transfer-Encoding:\r\n", Err(PeerError::TransferEncoding)),
            ("Transfer-Encoding: gzip, chunked\r\n", Err(PeerError::TransferCoding)),
            ("Transfer-Encoding: xchunked\r\n", Err(PeerError::TransferCoding)),
        ] {
            let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
            with_request(&head, |request| assert_eq!(request.framing(), expected, "{fields}"));
        }
        with_request("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", |request| {
            assert_eq!(request.framing(), Err(PeerError::TransferEncoding));
        });
    }

    #[test]
    fn persistence() {
        for (head, expected) in [
            ("GET / HTTP/1.1\r\n\r\n", true),
            ("GET / HTTP/1.1\r\nConnection: Close\r\n\r\n", false),
            ("GET / HTTP/1.0\r\n\r\n", false),
            ("GET / HTTP/1.1\r\nConnection: foo,\tkeep-alive\r\n\r\n", true),
        ] {
            with_request(head, |request| assert_eq!(request.keeps_alive(), expected, "{head}"));
        }
    }
}
