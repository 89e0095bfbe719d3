//! HTTP/1.1 requests as a server reads them and responses as it writes them, RFC 9112: [`scan`] finds the fields of a head in bytes that arrive
//! in any pieces, [`request`] gives them their meaning without copying, [`body`] passes over a body, [`response`] writes an answer.

pub mod body;
pub mod request;
pub mod response;
pub mod scan;

pub use body::BodyReader;
pub use request::{Framing, Request};
pub use response::Response;
pub use scan::{HeadScan, Name, Progress};

/// The elements of a comma-separated list field over all its lines, without empty ones, RFC 9110 §5.6.1.
pub fn list<'a>(lines: impl Iterator<Item = &'a [u8]>) -> impl Iterator<Item = &'a [u8]> {
    lines.flat_map(|line| line.split(|&byte| byte == b',')).map(trim).filter(|element| !element.is_empty())
}

/// Without optional white space (SP and HTAB) at both ends.
pub fn trim(mut bytes: &[u8]) -> &[u8] {
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
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
