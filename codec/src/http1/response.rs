//! Responses, RFC 9112 §4. [`Response`] writes one that is no 101, with its body (RFC 9110 §8.6); the 101 is written by `upgrade`.
//! [`ResponseHead`] is one that was received. Imports `head` and `scan`.

use std::{io::Write, ops::Deref};

use crate::{
    error::PeerError,
    http1::{
        head::{Framing, Head},
        scan::HeadScan,
    },
};

/// A response to be written at once.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    /// The status code.
    pub status: u16,
    /// Fields beside Date, Content-Length and Connection, which are written for every response.
    pub fields: &'a [(&'a str, &'a str)],
    /// The value of Date, RFC 9110 §6.6.1.
    pub date: &'a str,
    /// The body; Content-Length speaks of it even where it is left out.
    pub body: &'a [u8],
    /// The request was HEAD: the body is left out.
    pub head_only: bool,
    /// Nothing more will be read on this connection.
    pub close: bool,
}

impl Response<'_> {
    /// Appends the response to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        // Writing to a Vec cannot fail.
        let _ = write!(
            out,
            "HTTP/1.1 {} {}\r\nDate: {}\r\nContent-Length: {}\r\n",
            self.status,
            reason(self.status),
            self.date,
            self.body.len()
        );
        for (name, value) in self.fields {
            let _ = write!(out, "{name}: {value}\r\n");
        }
        if self.close {
            out.extend_from_slice(b"Connection: close\r\n");
        }
        out.extend_from_slice(b"\r\n");
        if !self.head_only {
            out.extend_from_slice(self.body);
        }
    }
}

/// A received response whose head is complete. What it has in common with a request is its [`Head`].
#[derive(Clone, Copy, Debug)]
pub struct ResponseHead<'a> {
    head: Head<'a>,
}

impl<'a> ResponseHead<'a> {
    /// The response in `head`, over which `scan`, made by [`HeadScan::for_response`], has come to
    /// [`Progress::Complete`](super::Progress::Complete).
    pub fn new(head: &'a [u8], scan: &'a HeadScan) -> ResponseHead<'a> {
        ResponseHead { head: Head { bytes: head, scan } }
    }

    /// The status code, from 100 to 999.
    pub fn status(&self) -> u16 {
        self.scan.status
    }

    /// How the body ends, RFC 9112 §6.3, if this answers a request whose method is neither HEAD nor CONNECT.
    ///
    /// # Errors
    /// As of [`Head::declared_framing`]. A client that names no transfer coding in TE gets none but chunked, RFC 9112 §7.4.
    pub fn framing(&self) -> Result<Framing, PeerError> {
        match self.status() {
            100..=199 | 204 | 304 => Ok(Framing::Length(0)),
            _ => Ok(self.declared_framing()?.unwrap_or(Framing::UntilClose)),
        }
    }
}

impl<'a> Deref for ResponseHead<'a> {
    type Target = Head<'a>;

    fn deref(&self) -> &Head<'a> {
        &self.head
    }
}

/// The phrase for a status code that we write, or that a client of ours may well meet, RFC 9110 §15; empty for another.
pub fn reason(status: u16) -> &'static str {
    match status {
        101 => "Switching Protocols",
        200 => "OK",
        301 => "Moved Permanently",
        302 => "Found",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        414 => "URI Too Long",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        http1::{Name, Progress},
        limits::HttpLimits,
    };

    #[test]
    fn with_and_without_its_body() {
        let mut response =
            Response { status: 404, fields: &[("Content-Type", "text/plain")], date: "D", body: b"no", head_only: false, close: true };
        let mut out = Vec::new();
        response.write(&mut out);
        let head = "HTTP/1.1 404 Not Found\r\nDate: D\r\nContent-Length: 2\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), format!("{head}no"));
        response.head_only = true;
        let mut out = Vec::new();
        response.write(&mut out);
        assert_eq!(String::from_utf8(out).unwrap(), head);
    }
    fn with_response<T>(head: &str, test: impl FnOnce(&ResponseHead<'_>) -> T) -> T {
        let mut scan = HeadScan::for_response();
        let progress = scan.advance(head.as_bytes(), &HttpLimits::DEFAULT).unwrap();
        assert_eq!(progress, Progress::Complete(head.len()));
        test(&ResponseHead::new(head.as_bytes(), &scan))
    }

    #[test]
    fn what_we_write_we_read() {
        let response = Response { status: 426, fields: &[("Upgrade", "websocket")], date: "D", body: b"no", head_only: true, close: true };
        let mut out = Vec::new();
        response.write(&mut out);
        with_response(std::str::from_utf8(&out).unwrap(), |head| {
            assert_eq!((head.status(), head.framing(), head.keeps_alive()), (426, Ok(Framing::Length(2)), false));
            assert_eq!(head.single(Name::Upgrade), Ok(Some(&b"websocket"[..])));
            assert_eq!(head.values_of("date").collect::<Vec<_>>(), [b"D"]);
        });
    }

    #[test]
    fn body_framing() {
        use Framing::{Chunked, Length, UntilClose};
        for (status_and_fields, expected) in [
            ("1.1 200 OK\r\n", Ok(UntilClose)),
            ("1.1 200 OK\r\nContent-Length: 5\r\n", Ok(Length(5))),
            ("1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", Ok(Chunked)),
            ("1.1 101 \r\nContent-Length: 5\r\n", Ok(Length(0))),
            ("1.1 100 Continue\r\n", Ok(Length(0))),
            ("1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n", Ok(Length(0))),
            ("1.1 304 Not Modified\r\nContent-Length: 5\r\n", Ok(Length(0))),
            ("1.0 200 OK\r\nTransfer-Encoding: chunked\r\n", Err(PeerError::TransferEncoding)),
            ("1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n", Err(PeerError::TransferEncoding)),
            ("1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n", Err(PeerError::TransferCoding)),
            ("1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n", Err(PeerError::ContentLength)),
        ] {
            with_response(&format!("HTTP/{status_and_fields}\r\n"), |head| assert_eq!(head.framing(), expected, "{status_and_fields}"));
        }
    }
}
