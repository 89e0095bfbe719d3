//! From bytes to the positions of a head's start line and fields. One pass over the head in blocks of 64 bytes: a kernel marks the bytes at which
//! names and lines end, or may not go on, and the scan judges mark by mark. A name must end at a colon, a line in CR LF; every other mark is an
//! error at that byte. What is left is a list of positions, and the place of each field that we look for. The scan resumes at the block where it
//! stopped, so any split of the bytes costs linear time (RFC 9112 §2.2, §5).

use crate::{
    error::PeerError,
    http1::{eq_any_case, is_field_name, is_tchar, trim},
    limits::{HttpLimits, REQUEST_LINE_ROOM},
    simd::{self, BLOCK_BYTES, HeadCarry},
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
    /// `name` is a token. By its length there are at most two candidates, which are compared whole.
    #[inline(always)]
    fn of(name: &[u8]) -> Name {
        let candidate = |known, matches| if matches { known } else { Name::Other };
        match name.len() {
            4 => candidate(Name::Host, eq_any_case(name, b"host")),
            6 if eq_any_case(name, b"expect") => Name::Expect,
            6 => candidate(Name::Origin, eq_any_case(name, b"origin")),
            7 => candidate(Name::Upgrade, eq_any_case(name, b"upgrade")),
            10 => candidate(Name::Connection, eq_any_case(name, b"connection")),
            14 => candidate(Name::ContentLength, eq_any_case(name, b"content-length")),
            17 if eq_any_case(name, b"transfer-encoding") => Name::TransferEncoding,
            17 => candidate(Name::SecWebSocketKey, eq_any_case(name, b"sec-websocket-key")),
            20 => candidate(Name::SecWebSocketAccept, eq_any_case(name, b"sec-websocket-accept")),
            21 => candidate(Name::SecWebSocketVersion, eq_any_case(name, b"sec-websocket-version")),
            22 => candidate(Name::SecWebSocketProtocol, eq_any_case(name, b"sec-websocket-protocol")),
            24 => candidate(Name::SecWebSocketExtensions, eq_any_case(name, b"sec-websocket-extensions")),
            _ => Name::Other,
        }
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
/// [`reset`](HeadScan::reset) makes it ready for the next head, and must come before another call once a head is complete or wrong.
#[derive(Clone, Debug, Default)]
pub struct HeadScan {
    /// The part with which a head of this kind begins.
    first: Part,
    /// The part that is being read.
    part: Part,
    /// Where the head begins, behind the empty line that may precede a request.
    start: usize,
    /// The marks, of which `marked` count: the LF of the start line, then the colon and the LF of each field.
    marks: Vec<u16>,
    marked: usize,
    /// The fields that have been judged: the marks of a field follow that of the start line and two of each field before it.
    fields: usize,
    /// All before it is indexed.
    indexed: usize,
    /// Where the block begins that holds `indexed`, and what is known of the one before it.
    block: usize,
    carry: HeadCarry,
    pub(super) method: Span,
    pub(super) target: Span,
    /// Of a response; method and target are a request's.
    pub(super) status: u16,
    pub(super) minor_version: u8,
    /// Of each known name the first and the last of its lines, counted from 1; 0 without one.
    first_line: [u16; Name::Other as usize],
    last_line: [u16; Name::Other as usize],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    /// The one empty line that may precede a request, RFC 9112 §2.2.
    #[default]
    Blank,
    RequestLine,
    StatusLine,
    Fields,
}

/// Room for the marks of one call of the kernel: those of nearly every real head, and of a block of nothing else.
const WINDOW_MARKS: usize = 2 * BLOCK_BYTES;

impl HeadScan {
    /// The scan of a response's head, which begins with a status line.
    pub fn for_response() -> HeadScan {
        HeadScan { first: Part::StatusLine, part: Part::StatusLine, ..HeadScan::default() }
    }

    /// The field lines: name, and value without white space at its ends.
    pub(super) fn fields<'a>(&self, head: &'a [u8]) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        (0..self.fields).map(|i| self.field(head, i))
    }

    /// The values of the lines of a known name.
    pub(super) fn values<'a>(&self, head: &'a [u8], name: Name) -> impl Iterator<Item = &'a [u8]> {
        let [first, last] = [&self.first_line, &self.last_line].map(|lines| usize::from(lines[name as usize]));
        (first..last + usize::from(last > 0)).filter_map(move |i| {
            let (line, value) = self.field(head, i - 1);
            (i == first || i == last || Name::of(line) == name).then_some(value)
        })
    }

    /// Whether a known name has a line.
    #[inline]
    pub(super) fn has(&self, name: Name) -> bool {
        self.first_line[name as usize] > 0
    }

    /// The value of a known name's only line, which need not be there; an error where there are more.
    #[inline(always)]
    pub(super) fn single<'a>(&self, head: &'a [u8], name: Name) -> Result<Option<&'a [u8]>, ()> {
        match (self.first_line[name as usize], self.last_line[name as usize]) {
            (0, _) => Ok(None),
            (first, last) if first == last => Ok(Some(self.field(head, usize::from(first) - 1).1)),
            _ => Err(()),
        }
    }

    #[inline(always)]
    fn field<'a>(&self, head: &'a [u8], i: usize) -> (&'a [u8], &'a [u8]) {
        let [before, colon, feed] = self.marks[2 * i..][..3] else { return (&[], &[]) };
        let [before, colon, feed] = [before, colon, feed].map(usize::from);
        (&head[before + 1..colon], trim(&head[colon + 1..feed - 1]))
    }

    /// Ready for another head of the same kind; the memory for positions is kept.
    pub fn reset(&mut self) {
        (self.part, self.start) = (self.first, 0);
        (self.marked, self.fields) = (0, 0);
        (self.indexed, self.block, self.carry) = (0, 0, HeadCarry::default());
        (self.first_line, self.last_line) = Default::default();
    }

    /// Reads on in `bytes`, which begin at the head's first byte and begin with what was given before.
    ///
    /// # Errors
    /// What in the head is malformed, with its position, or beyond `limits`.
    pub fn advance(&mut self, bytes: &[u8], limits: &HttpLimits) -> Result<Progress, PeerError> {
        let within = &bytes[..bytes.len().min(limits.head_bytes_max)];
        match self.walk(within, limits)? {
            Progress::Incomplete
                if self.part != Part::Fields && self.first == Part::Blank && within.len() > limits.target_bytes_max + REQUEST_LINE_ROOM =>
            {
                Err(PeerError::TargetTooLong)
            }
            Progress::Incomplete if within.len() == limits.head_bytes_max => Err(PeerError::HeadTooLarge),
            progress => Ok(progress),
        }
    }

    fn walk(&mut self, bytes: &[u8], limits: &HttpLimits) -> Result<Progress, PeerError> {
        if self.part == Part::Blank {
            self.start = match bytes {
                [] | [b'\r'] => return Ok(Progress::Incomplete),
                [b'\r', b'\n', ..] => 2,
                _ => 0,
            };
            (self.part, self.indexed, self.block) = (Part::RequestLine, self.start, self.start);
        }
        while self.indexed < bytes.len() {
            self.index(bytes);
            if let Some(head_bytes) = self.judge(bytes, limits)? {
                return Ok(Progress::Complete(head_bytes));
            }
        }
        Ok(Progress::Incomplete)
    }

    /// Adds the marks of the blocks that follow, as many as a window may have.
    fn index(&mut self, bytes: &[u8]) {
        // The last block was not whole; its marks are found again.
        while self.marked > 0 && usize::from(self.marks[self.marked - 1]) >= self.block {
            self.marked -= 1;
        }
        if self.marks.len() < self.marked + WINDOW_MARKS {
            self.marks.resize(self.marked + WINDOW_MARKS, 0);
        }
        let marks = &mut self.marks[self.marked..][..WINDOW_MARKS];
        let indexed = (simd::kernels().index)(&bytes[self.block..], &mut self.carry, marks);
        if self.block > 0 {
            // The head is at most HEAD_BYTES_CEILING long, which fits.
            marks[..indexed.marks].iter_mut().for_each(|mark| *mark += self.block as u16);
        }
        self.marked += indexed.marks;
        self.indexed = self.block + indexed.bytes;
        self.block += indexed.bytes - indexed.bytes % BLOCK_BYTES;
    }

    /// Judges the marks that have not been. Returns the head's length once it is complete.
    fn judge(&mut self, bytes: &[u8], limits: &HttpLimits) -> Result<Option<usize>, PeerError> {
        if self.part != Part::Fields {
            if self.marked == 0 {
                return Ok(None);
            }
            self.start_line(bytes, usize::from(self.marks[0]), limits)?;
            self.part = Part::Fields;
        }
        let mut fields = self.fields;
        let (before, marks) = self.marks[..self.marked].split_at(2 * fields + 1);
        let mut line = usize::from(before[2 * fields]) + 1;
        let (pairs, rest) = marks.as_chunks();
        for &[name_end, line_end] in pairs {
            let (colon, feed) = (usize::from(name_end), usize::from(line_end));
            let (text, name_bytes) = (&bytes[line..=feed], colon - line);
            if name_bytes == 0 || text[name_bytes] != b':' || !text.ends_with(b"\r\n") {
                self.fields = fields;
                return no_field(bytes, line, colon, feed).map(Some);
            }
            if fields == limits.fields_max {
                return Err(PeerError::TooManyFields);
            }
            let name = Name::of(&text[..name_bytes]);
            if name != Name::Other {
                let line = fields as u16 + 1;
                self.last_line[name as usize] = line;
                let first = &mut self.first_line[name as usize];
                *first = if *first == 0 { line } else { *first };
            }
            fields += 1;
            line = feed + 1;
        }
        self.fields = fields;
        // A name is judged before its value is there.
        rest.iter().try_for_each(|&name_end| is_last_line(bytes, line, usize::from(name_end)).map(|_| ()))?;
        Ok(None)
    }

    fn start_line(&mut self, bytes: &[u8], feed: usize, limits: &HttpLimits) -> Result<(), PeerError> {
        if self.first == Part::StatusLine {
            check_line_end(bytes, feed).map_err(|at| PeerError::StatusLine { at })?;
            self.status_line(&bytes[..feed - 1])
        } else {
            check_line_end(bytes, feed).map_err(|at| PeerError::RequestLine { at })?;
            self.request_line(bytes, feed - 1, limits)
        }
    }

    /// `method SP target SP HTTP/1.x`, with nothing between but these single spaces, RFC 9112 §3.
    fn request_line(&mut self, bytes: &[u8], end: usize, limits: &HttpLimits) -> Result<(), PeerError> {
        // As nearly all are.
        if let Some(target) = bytes[self.start..end].strip_prefix(b"GET ").and_then(|rest| rest.strip_suffix(b" HTTP/1.1"))
            && !target.is_empty()
            && target.len() <= limits.target_bytes_max
            && !has_space(target)
        {
            self.minor_version = 1;
            self.method = Span::new(self.start, self.start + 3);
            self.target = Span::new(self.start + 4, self.start + 4 + target.len());
            return Ok(());
        }
        let space =
            |from: usize| memchr::memchr(b' ', &bytes[from..end]).map(|offset| from + offset).ok_or(PeerError::RequestLine { at: end });
        let method_end = space(self.start)?;
        let target_end = space(method_end + 1)?;
        let method = &bytes[self.start..method_end];
        if !is_field_name(method) {
            let wrong = method.iter().position(|&byte| !is_tchar(byte)).unwrap_or_default();
            return Err(PeerError::RequestLine { at: self.start + wrong });
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

/// For targets, which are short: without a call.
#[inline(always)]
fn has_space(target: &[u8]) -> bool {
    const ONES: u64 = u64::MAX / 0xff;
    let (words, rest) = target.as_chunks();
    let has_zero = |word: u64| word.wrapping_sub(ONES) & !word & (ONES << 7) != 0;
    words.iter().any(|word| has_zero(u64::from_ne_bytes(*word) ^ (ONES * u64::from(b' ')))) || rest.contains(&b' ')
}

/// What a line is that is no field line: the empty one that ends the head, whose length is returned, or malformed.
#[inline(never)]
fn no_field(bytes: &[u8], line: usize, colon: usize, feed: usize) -> Result<usize, PeerError> {
    if is_last_line(bytes, line, colon)? {
        return if bytes[feed] == b'\n' { Ok(feed + 1) } else { Err(PeerError::FieldName { at: colon }) };
    }
    let at = check_line_end(bytes, feed).err().unwrap_or(feed);
    Err(PeerError::FieldValue { at })
}

/// Whether the mark at `at`, where the name ends that began at `line`, is the CR of the empty line; else it is a colon.
#[inline]
fn is_last_line(bytes: &[u8], line: usize, at: usize) -> Result<bool, PeerError> {
    match bytes[at] {
        b':' if at > line => Ok(false),
        b'\r' if at == line => Ok(true),
        _ => Err(PeerError::FieldName { at }),
    }
}

/// Whether the mark at `at` is an LF behind a CR; else the error is the position of the byte that may not stand in a line.
#[inline]
fn check_line_end(bytes: &[u8], at: usize) -> Result<(), usize> {
    match bytes[..=at] {
        [.., b'\r', b'\n'] => Ok(()),
        [.., b'\r', _] => Err(at - 1),
        _ => Err(at),
    }
}

#[cfg(test)]
mod tests;
