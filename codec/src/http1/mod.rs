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

/// Whether a field's name or value, or a part of it, is `text` in any case; `text` has small letters, digits and hyphens.
#[inline(always)]
pub(crate) fn eq_any_case<const N: usize>(bytes: &[u8], text: &[u8; N]) -> bool {
    const BIT: u64 = u64::MAX / 0xff * 0x20;
    fn differ<const W: usize>(bytes: &[u8], text: &[u8], at: usize) -> u64 {
        let word = |bytes: &[u8]| {
            let mut word = [0; 8];
            word[..W].copy_from_slice(&bytes[at..at + W]);
            u64::from_le_bytes(word)
        };
        // The bit turns a letter into its small one, and of the other bytes only control characters into a digit or a hyphen.
        (word(bytes) | BIT) ^ (word(text) | BIT)
    }
    if bytes.len() != N {
        return false;
    }
    // As words, of which the last may overlap the one before.
    if N < 8 {
        differ::<4>(bytes, text, 0) | differ::<4>(bytes, text, N - 4) == 0
    } else {
        (0..N / 8).fold(differ::<8>(bytes, text, N - 8), |all, word| all | differ::<8>(bytes, text, 8 * word)) == 0
    }
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
    fn any_case_of_a_text_and_no_other() {
        fn each_byte<const N: usize>(text: &[u8; N]) {
            let upper = text.to_ascii_uppercase();
            assert!(eq_any_case(text, text) && eq_any_case(&upper, text) && !eq_any_case(&text[1..], text) && !eq_any_case(&[0; 40], text));
            for (at, byte) in (0..N).flat_map(|at| (b' '..=255).map(move |byte| (at, byte))) {
                let mut other = upper.clone();
                other[at] = byte;
                assert_eq!(eq_any_case(&other, text), other.eq_ignore_ascii_case(text), "{byte:#x} at {at}");
            }
        }
        each_byte(b"host");
        each_byte(b"upgrade");
        each_byte(b"websocket");
        each_byte(b"sec-websocket-key");
        each_byte(b"100-continue-for-24-bytes");
    }

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
