//! Writes a response that is no 101: status line, fields, body (RFC 9112 §4, RFC 9110 §8.6). The 101 is written by `upgrade`.

use std::io::Write;

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

/// The phrase for a status code, RFC 9110 §15.
pub fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        304 => "Not Modified",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        414 => "URI Too Long",
        426 => "Upgrade Required",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
