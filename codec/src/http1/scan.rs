//! From bytes to the positions of a head's start line and fields. One pass over the head in blocks of 64 bytes: a kernel turns each block into
//! bitmaps (where a name cannot go on, where a value cannot go on), and the scan walks from bit to bit. A name must end at a colon, a value at
//! CR LF; every other stop is an error at that byte. The scan resumes where it stopped, so any split of the bytes costs linear time (RFC 9112
//! §2.2, §5).

use crate::{
    error::PeerError,
    http1::trim,
    limits::{HttpLimits, REQUEST_LINE_ROOM},
    simd::{self, BLOCK_BYTES, Bitmaps},
};

/// The fields that the opening handshake and the message framing need; found by name while scanning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the field of its name")]
pub enum Name {
    Host,
    Connection,
    Upgrade,
    Origin,
    Expect,
    ContentLength,
    TransferEncoding,
    SecWebSocketKey,
    SecWebSocketAccept,
    SecWebSocketVersion,
    SecWebSocketProtocol,
    SecWebSocketExtensions,
    /// Any other field; its name is in the bytes.
    Other,
}

impl Name {
    fn of(name: &[u8]) -> Name {
        let (known, text): (Name, &[u8]) = match name.len() {
            4 => (Name::Host, b"host"),
            6 if name[0] | 0x20 == b'o' => (Name::Origin, b"origin"),
            6 => (Name::Expect, b"expect"),
            7 => (Name::Upgrade, b"upgrade"),
            10 => (Name::Connection, b"connection"),
            14 => (Name::ContentLength, b"content-length"),
            17 if name[0] | 0x20 == b's' => (Name::SecWebSocketKey, b"sec-websocket-key"),
            17 => (Name::TransferEncoding, b"transfer-encoding"),
            20 => (Name::SecWebSocketAccept, b"sec-websocket-accept"),
            21 => (Name::SecWebSocketVersion, b"sec-websocket-version"),
            22 => (Name::SecWebSocketProtocol, b"sec-websocket-protocol"),
            24 => (Name::SecWebSocketExtensions, b"sec-websocket-extensions"),
            _ => return Name::Other,
        };
        if name.eq_ignore_ascii_case(text) { known } else { Name::Other }
    }
}

/// A part of the head: bytes `start..end` from its beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    start: u16,
    end: u16,
}

impl Span {
    fn new(start: usize, end: usize) -> Span {
        // The head is at most HEAD_BYTES_CEILING long, which fits.
        Span { start: start as u16, end: end as u16 }
    }

    /// The part of `head` that this span names.
    pub fn of(self, head: &[u8]) -> &[u8] {
        &head[usize::from(self.start)..usize::from(self.end)]
    }
}

/// One field line; `value` is without white space at its ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Which field, if it is one we look for.
    pub known: Name,
    /// Where its name stands.
    pub name: Span,
    /// Where its value stands.
    pub value: Span,
}

/// What [`HeadScan::advance`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The head goes on beyond the bytes.
    Incomplete,
    /// The head is the first so many bytes; what follows is body, next request, or frames.
    Complete(usize),
}

/// The resumable scan of one head: a request's by default, or a [response's](HeadScan::for_response). Call [`advance`](HeadScan::advance) with
/// all bytes from the head's first, each time more arrived; after [`Progress::Complete`] the positions are valid for those bytes.
/// [`reset`](HeadScan::reset) makes it ready for the next head.
#[derive(Clone, Debug, Default)]
pub struct HeadScan {
    /// The part with which a head of this kind begins.
    first: Part,
    /// The part that is being read.
    part: Part,
    /// Where that part began.
    start: usize,
    /// Everything before it has been looked at.
    at: usize,
    pub(super) method: Span,
    pub(super) target: Span,
    /// Of a response; method and target are a request's.
    pub(super) status: u16,
    pub(super) minor_version: u8,
    pub(super) fields: Vec<Field>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    /// The one empty line that may precede a request, RFC 9112 §2.2.
    #[default]
    Blank,
    RequestLine,
    StatusLine,
    FieldName,
    /// After the name that ended at this byte.
    FieldValue(Span),
}

impl HeadScan {
    /// The scan of a response's head, which begins with a status line.
    pub fn for_response() -> HeadScan {
        HeadScan { first: Part::StatusLine, part: Part::StatusLine, ..HeadScan::default() }
    }

    /// Ready for another head of the same kind; the memory for fields is kept.
    pub fn reset(&mut self) {
        let mut fields = std::mem::take(&mut self.fields);
        fields.clear();
        *self = HeadScan { first: self.first, part: self.first, fields, ..HeadScan::default() };
    }

    /// Reads on in `bytes`, which begin at the head's first byte and begin with what was given before.
    ///
    /// # Errors
    /// What in the head is malformed, with its position, or beyond `limits`.
    pub fn advance(&mut self, bytes: &[u8], limits: &HttpLimits) -> Result<Progress, PeerError> {
        let within = &bytes[..bytes.len().min(limits.head_bytes_max)];
        match self.walk(within, limits)? {
            Progress::Incomplete
                if matches!(self.part, Part::Blank | Part::RequestLine) && within.len() > limits.target_bytes_max + REQUEST_LINE_ROOM =>
            {
                Err(PeerError::TargetTooLong)
            }
            Progress::Incomplete if within.len() == limits.head_bytes_max => Err(PeerError::HeadTooLarge),
            progress => Ok(progress),
        }
    }

    fn walk(&mut self, bytes: &[u8], limits: &HttpLimits) -> Result<Progress, PeerError> {
        let mut map = Map::new(bytes, self.at);
        loop {
            match self.part {
                Part::Blank => match bytes {
                    [] | [b'\r'] => return Ok(Progress::Incomplete),
                    [b'\r', b'\n', ..] => self.begin(Part::RequestLine, 2),
                    _ => self.begin(Part::RequestLine, 0),
                },
                Part::RequestLine => {
                    let Some(end) = map.line_end(&mut self.at).map_err(|at| PeerError::RequestLine { at })? else {
                        return Ok(Progress::Incomplete);
                    };
                    self.request_line(bytes, end, limits)?;
                    self.begin(Part::FieldName, end + 2);
                }
                Part::StatusLine => {
                    let Some(end) = map.line_end(&mut self.at).map_err(|at| PeerError::StatusLine { at })? else {
                        return Ok(Progress::Incomplete);
                    };
                    self.status_line(&bytes[..end])?;
                    self.begin(Part::FieldName, end + 2);
                }
                Part::FieldName => {
                    let end = map.next(self.at, |bitmaps| bitmaps.not_token);
                    self.at = end;
                    match bytes.get(end) {
                        None => return Ok(Progress::Incomplete),
                        Some(b':') if end > self.start => self.begin(Part::FieldValue(Span::new(self.start, end)), end + 1),
                        Some(b'\r') if end == self.start => {
                            return match bytes.get(end + 1) {
                                None => Ok(Progress::Incomplete),
                                Some(b'\n') => Ok(Progress::Complete(end + 2)),
                                Some(_) => Err(PeerError::FieldName { at: end }),
                            };
                        }
                        Some(_) => return Err(PeerError::FieldName { at: end }),
                    }
                }
                Part::FieldValue(name) => {
                    let Some(end) = map.line_end(&mut self.at).map_err(|at| PeerError::FieldValue { at })? else {
                        return Ok(Progress::Incomplete);
                    };
                    if self.fields.len() == limits.fields_max {
                        return Err(PeerError::TooManyFields);
                    }
                    let line = &bytes[self.start..end];
                    let value = trim(line);
                    let start = self.start + (value.as_ptr().addr() - line.as_ptr().addr());
                    self.fields.push(Field { known: Name::of(name.of(bytes)), name, value: Span::new(start, start + value.len()) });
                    self.begin(Part::FieldName, end + 2);
                }
            }
        }
    }

    fn begin(&mut self, part: Part, at: usize) {
        (self.part, self.start, self.at) = (part, at, at);
    }

    /// `method SP target SP HTTP/1.x`, with nothing between but these single spaces, RFC 9112 §3.
    fn request_line(&mut self, bytes: &[u8], end: usize, limits: &HttpLimits) -> Result<(), PeerError> {
        let space =
            |from: usize| memchr::memchr(b' ', &bytes[from..end]).map(|offset| from + offset).ok_or(PeerError::RequestLine { at: end });
        let method_end = space(self.start)?;
        let target_end = space(method_end + 1)?;
        let mut map = Map::new(&bytes[..end], self.start);
        let method_stop = map.next(self.start, |bitmaps| bitmaps.not_token);
        if method_stop != method_end || method_end == self.start {
            return Err(PeerError::RequestLine { at: method_stop });
        }
        if target_end == method_end + 1 {
            return Err(PeerError::RequestLine { at: target_end });
        }
        if target_end - method_end - 1 > limits.target_bytes_max {
            return Err(PeerError::TargetTooLong);
        }
        self.minor_version = minor_version(&bytes[target_end + 1..end], PeerError::RequestLine { at: target_end + 1 })?;
        self.method = Span::new(self.start, method_end);
        self.target = Span::new(method_end + 1, target_end);
        Ok(())
    }

    /// `HTTP/1.x SP 3DIGIT [SP reason]`, RFC 9112 §4: the reason may be empty, and many a server leaves out the space before it then. A status
    /// begins at 100, RFC 9110 §15.
    fn status_line(&mut self, line: &[u8]) -> Result<(), PeerError> {
        let (version, rest) = line.split_at(line.len().min(b"HTTP/1.1".len()));
        self.minor_version = minor_version(version, PeerError::StatusLine { at: 0 })?;
        let code = rest.strip_prefix(b" ").and_then(|rest| rest.split(|&byte| byte == b' ').next());
        self.status = match code {
            Some([hundreds @ b'1'..=b'9', tens @ b'0'..=b'9', ones @ b'0'..=b'9']) => {
                [hundreds, tens, ones].iter().fold(0, |status, &digit| status * 10 + u16::from(digit - b'0'))
            }
            _ => return Err(PeerError::StatusLine { at: version.len() }),
        };
        Ok(())
    }
}

/// The `x` of `HTTP/1.x`, RFC 9112 §2.3; `malformed` where that is no version at all.
fn minor_version(version: &[u8], malformed: PeerError) -> Result<u8, PeerError> {
    match version {
        b"HTTP/1.1" => Ok(1),
        b"HTTP/1.0" => Ok(0),
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => Err(PeerError::HttpVersion),
        _ => Err(malformed),
    }
}

/// Bitmaps of a window over the bytes, made as the walk gets there.
struct Map<'a> {
    bytes: &'a [u8],
    start: usize,
    end: usize,
    window: [Bitmaps; WINDOW_BLOCKS],
}

/// A window holds nearly every real request, so that most heads cost one call of the kernel.
const WINDOW_BLOCKS: usize = 12;

impl<'a> Map<'a> {
    fn new(bytes: &'a [u8], at: usize) -> Map<'a> {
        Map { bytes, start: at, end: at, window: [Bitmaps::default(); WINDOW_BLOCKS] }
    }

    /// The first byte at or after `from` whose bit is set, or the end of the bytes. `from` never goes back.
    #[inline]
    fn next(&mut self, mut from: usize, select: impl Fn(&Bitmaps) -> u64) -> usize {
        loop {
            while from < self.end {
                let offset = from - self.start;
                let bits = select(&self.window[offset / BLOCK_BYTES]) >> (offset % BLOCK_BYTES);
                if bits != 0 {
                    return from + bits.trailing_zeros() as usize;
                }
                from = self.start + (offset / BLOCK_BYTES + 1) * BLOCK_BYTES;
            }
            if self.end == self.bytes.len() {
                return self.end;
            }
            self.start = from.min(self.bytes.len());
            self.end = self.start + (simd::kernels().classify)(&self.bytes[self.start..], &mut self.window);
        }
    }

    /// Where the line that `at` is in ends: the position of its CR, once its LF is there too. `at` is moved on. An error is the position of
    /// a byte that may not stand in a line.
    #[inline]
    fn line_end(&mut self, at: &mut usize) -> Result<Option<usize>, usize> {
        *at = self.next(*at, |bitmaps| bitmaps.not_value);
        match self.bytes[*at..] {
            [] | [b'\r'] => Ok(None),
            [b'\r', b'\n', ..] => Ok(Some(*at)),
            _ => Err(*at),
        }
    }
}

#[cfg(test)]
mod tests;
