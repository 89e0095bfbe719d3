//! HTTP/1.1, RFC 9112, as a server reads requests and writes responses, and as a client reads responses: [`scan`] finds the fields of a head in
//! bytes that arrive in any pieces, [`head`], [`request`] and [`response`] give them their meaning without copying, [`body`] passes over a body.

pub mod body;
pub mod head;
pub mod request;
pub mod response;
pub mod scan;

pub use body::BodyReader;
pub use head::{Framing, Head};
pub use request::Request;
pub use response::{Response, ResponseHead};
pub use scan::{HeadScan, Name, Progress};

use crate::simd;

/// The elements of a comma-separated list field over all its lines, without empty ones, RFC 9110 §5.6.1.
pub fn list<'a>(lines: impl Iterator<Item = &'a [u8]>) -> impl Iterator<Item = &'a [u8]> {
    lines.flat_map(|line| line.split(|&byte| byte == b',')).map(trim).filter(|element| !element.is_empty())
}

/// Without optional white space (SP and HTAB) at both ends.
#[inline]
pub fn trim(bytes: &[u8]) -> &[u8] {
    match bytes {
        // Nearly every value stands behind one space.
        [b' ', value @ ..] if !matches!(value, [b' ' | b'\t', ..] | [.., b' ' | b'\t']) => value,
        _ => trim_any(bytes),
    }
}

fn trim_any(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// Whether a name or token may hold this byte: `tchar`, RFC 9110 §5.6.2.
pub fn is_tchar(byte: u8) -> bool {
    simd::is_token(byte)
}

/// Whether these bytes are a field's name: a token, RFC 9110 §5.1.
pub fn is_field_name(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().copied().all(is_tchar)
}

/// Whether these bytes may stand as a field's value: no control character but HTAB, so that neither the line nor the head ends in it,
/// RFC 9110 §5.5.
pub fn is_field_value(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_written_as_a_field() {
        assert!(is_field_name(b"X-Custom_1") && is_field_value("caf\u{e9} \t\"x\"".as_bytes()) && is_field_value(b""));
        for name in ["", "a b", "a:", "a\r\n", "\u{e9}"] {
            assert!(!is_field_name(name.as_bytes()), "{name:?}");
        }
        for value in ["a\r\nX: y", "a\n", "\r", "\0", "\x7f"] {
            assert!(!is_field_value(value.as_bytes()), "{value:?}");
        }
    }
}
