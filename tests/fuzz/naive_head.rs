//! The head of a message read by the book, RFC 9112 §2 to §5: byte by byte, from the first one each time. Imports nothing.

use fantail_codec::PeerError;
use fantail_codec::limits::{HttpLimits, REQUEST_LINE_ROOM};

/// What a head holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NaiveHead {
    /// Method and target of a request.
    pub request: Option<(Vec<u8>, Vec<u8>)>,
    /// The status of a response.
    pub status: Option<u16>,
    /// The `x` of `HTTP/1.x`.
    pub minor_version: u8,
    /// Names and values.
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The head at the start of `bytes` and its length, or `None` while it is incomplete.
pub fn read(bytes: &[u8], is_response: bool, limits: &HttpLimits) -> Result<Option<(NaiveHead, usize)>, PeerError> {
    let within = &bytes[..bytes.len().min(limits.head_bytes_max)];
    let mut head = NaiveHead::default();
    if let Some(length) = read_lines(within, is_response, limits, &mut head)? {
        return Ok(Some((head, length)));
    }
    if !is_response && head.request.is_none() && within.len() > limits.target_bytes_max + REQUEST_LINE_ROOM {
        return Err(PeerError::TargetTooLong);
    }
    if within.len() == limits.head_bytes_max { Err(PeerError::HeadTooLarge) } else { Ok(None) }
}

fn read_lines(bytes: &[u8], is_response: bool, limits: &HttpLimits, head: &mut NaiveHead) -> Result<Option<usize>, PeerError> {
    let mut start = 0;
    if !is_response {
        match bytes {
            [] | [b'\r'] => return Ok(None),
            [b'\r', b'\n', ..] => start = 2,
            _ => {}
        }
    }
    let wrong = |at| if is_response { PeerError::StatusLine { at } } else { PeerError::RequestLine { at } };
    let Some(end) = line_end(bytes, start).map_err(wrong)? else { return Ok(None) };
    if is_response {
        status_line(bytes, end, head)?;
    } else {
        request_line(bytes, start, end, limits, head)?;
    }
    loop {
        start = end_of_line_at(bytes, start);
        match &bytes[start..] {
            [] | [b'\r'] => return Ok(None),
            [b'\r', b'\n', ..] => return Ok(Some(start + 2)),
            _ => {}
        }
        let colon = (start..bytes.len()).find(|&at| !is_tchar(bytes[at]));
        let Some(colon) = colon else { return Ok(None) };
        if bytes[colon] != b':' || colon == start {
            return Err(PeerError::FieldName { at: colon });
        }
        let Some(end) = line_end(bytes, colon + 1).map_err(|at| PeerError::FieldValue { at })? else { return Ok(None) };
        if head.fields.len() == limits.fields_max {
            return Err(PeerError::TooManyFields);
        }
        head.fields.push((bytes[start..colon].to_vec(), trimmed(&bytes[colon + 1..end]).to_vec()));
    }
}

fn request_line(bytes: &[u8], start: usize, end: usize, limits: &HttpLimits, head: &mut NaiveHead) -> Result<(), PeerError> {
    let parts: Vec<&[u8]> = bytes[start..end].splitn(3, |&byte| byte == b' ').collect();
    let &[method, target, version] = parts.as_slice() else { return Err(PeerError::RequestLine { at: end }) };
    let target_start = start + method.len() + 1;
    let version_start = target_start + target.len() + 1;
    if method.is_empty() || !method.iter().copied().all(is_tchar) {
        let at = method.iter().position(|&byte| !is_tchar(byte)).unwrap_or(0);
        return Err(PeerError::RequestLine { at: start + at });
    }
    if target.is_empty() {
        return Err(PeerError::RequestLine { at: target_start });
    }
    if target.len() > limits.target_bytes_max {
        return Err(PeerError::TargetTooLong);
    }
    head.minor_version = minor_version(version).map_err(|error| error.unwrap_or(PeerError::RequestLine { at: version_start }))?;
    head.request = Some((method.to_vec(), target.to_vec()));
    Ok(())
}

fn status_line(bytes: &[u8], end: usize, head: &mut NaiveHead) -> Result<(), PeerError> {
    let version = &bytes[..end.min(8)];
    head.minor_version = minor_version(version).map_err(|error| error.unwrap_or(PeerError::StatusLine { at: 0 }))?;
    match bytes[8..end] {
        [b' ', a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', ref rest @ ..] if rest.is_empty() || rest[0] == b' ' => {
            head.status = Some(u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0'));
            Ok(())
        }
        _ => Err(PeerError::StatusLine { at: 8 }),
    }
}

/// `None` where this is no version at all.
fn minor_version(version: &[u8]) -> Result<u8, Option<PeerError>> {
    let text = String::from_utf8_lossy(version);
    match text.strip_prefix("HTTP/").map(str::as_bytes) {
        Some(b"1.1") => Ok(1),
        Some(b"1.0") => Ok(0),
        Some([major, b'.', minor]) if major.is_ascii_digit() && minor.is_ascii_digit() => Err(Some(PeerError::HttpVersion)),
        _ => Err(None),
    }
}

/// Where the line that `from` is in ends, once its LF is there; an error is the position of what may not stand in a line.
fn line_end(bytes: &[u8], from: usize) -> Result<Option<usize>, usize> {
    let Some(at) = (from..bytes.len()).find(|&at| bytes[at] != b'\t' && bytes[at].is_ascii_control()) else { return Ok(None) };
    match bytes[at..] {
        [b'\r'] => Ok(None),
        [b'\r', b'\n', ..] => Ok(Some(at)),
        _ => Err(at),
    }
}

/// Behind the CR LF of a line that is known to end.
fn end_of_line_at(bytes: &[u8], start: usize) -> usize {
    bytes[start..].windows(2).position(|pair| pair == b"\r\n").map_or(bytes.len(), |at| start + at + 2)
}

/// RFC 9110 §5.6.2.
pub fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(&byte)
}

/// Without SP and HTAB around it.
pub fn trimmed(bytes: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = bytes.iter().position(|byte| !blank(byte)).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(|byte| !blank(byte)).map_or(start, |at| at + 1);
    &bytes[start..end]
}
