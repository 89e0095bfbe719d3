//! What waits to be written to connections. Within a turn, everything queued for anyone lies in one [`TurnQueue`]; at its end each connection
//! is written to once, gathered. Only what the kernel would not take moves into a [`Backlog`] of the connection's own, bounded in bytes.
//! Knows sockets only as [`Write`].

use std::{
    collections::VecDeque,
    io::{self, ErrorKind, IoSlice, Write},
    ops::Range,
    rc::Rc,
    sync::Arc,
};

use crate::{encode::Encoding, hub::Publication};

/// Bytes that many connections of this worker are to get.
#[derive(Debug)]
pub enum Shared {
    /// One publication in one encoding.
    Publication(Arc<Publication>, Encoding),
    /// So many small ones behind each other.
    Joined(usize, Box<[u8]>),
}

impl Shared {
    /// The frames.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Shared::Publication(publication, encoding) => publication.frame(*encoding),
            Shared::Joined(_, bytes) => bytes,
        }
    }

    /// How many publications they are.
    fn publications(&self) -> usize {
        match self {
            Shared::Publication(..) => 1,
            Shared::Joined(publications, _) => *publications,
        }
    }
}

/// A connection's place in the queue of this turn: its first and last segment. At rest it holds nothing.
#[derive(Clone, Copy, Debug)]
pub struct Queued {
    first: u32,
    last: u32,
}

impl Queued {
    /// Nothing is queued.
    pub const NOTHING: Queued = Queued { first: NONE, last: NONE };
}

const NONE: u32 = u32::MAX;

/// What is to be written at the end of this turn, to all connections of a worker.
#[derive(Debug, Default)]
pub struct TurnQueue {
    segments: Vec<Node>,
    /// The bytes of [`Segment::Own`].
    own: Vec<u8>,
}

#[derive(Debug)]
struct Node {
    segment: Segment,
    next: u32,
}

#[derive(Debug)]
enum Segment {
    /// A part of [`TurnQueue::own`]. Positions of 32 bits: a turn that is full receives no more.
    Own(Range<u32>),
    Shared(Rc<Shared>),
}

impl TurnQueue {
    /// Queues bytes of the connection's own, which `write` appends to the buffer it is given.
    pub fn own<T>(&mut self, queued: &mut Queued, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let start = self.own.len() as u32;
        let result = write(&mut self.own);
        let end = self.own.len() as u32;
        // What a connection writes back to back is one segment.
        if let Some(Node { segment: Segment::Own(last), .. }) = self.segments.get_mut(queued.last as usize)
            && last.end == start
        {
            last.end = end;
        } else if end > start {
            self.push(queued, Segment::Own(start..end));
        }
        result
    }

    /// Queues bytes that others get too.
    pub fn shared(&mut self, queued: &mut Queued, shared: &Rc<Shared>) {
        self.push(queued, Segment::Shared(Rc::clone(shared)));
    }

    /// Bytes queued by [`own`](TurnQueue::own), to be changed before they are written; positions are those of the buffer it gave.
    pub fn own_mut(&mut self, range: Range<usize>) -> &mut [u8] {
        &mut self.own[range]
    }

    /// Bytes of answers queued in this turn, for all connections.
    pub fn own_bytes(&self) -> usize {
        self.own.len()
    }

    /// Whether the turn should end before more is received: what it answers takes memory until it is written.
    pub fn is_full(&self) -> bool {
        self.own.len() >= OWN_BYTES_ENOUGH
    }

    /// Makes ready for the next turn.
    pub fn clear(&mut self) {
        self.segments.clear();
        self.own.clear();
        self.own.shrink_to(OWN_BYTES_KEPT);
    }

    /// Adds what the first call of [`write`] sends.
    pub fn gather<'a>(&'a self, queued: Queued, slices: &mut Vec<IoSlice<'a>>) {
        slices.extend(self.iter(queued).take(SLICES_MAX).map(|segment| IoSlice::new(self.bytes(segment))));
    }

    fn push(&mut self, queued: &mut Queued, segment: Segment) {
        let at = self.segments.len() as u32;
        self.segments.push(Node { segment, next: NONE });
        match self.segments.get_mut(queued.last as usize) {
            Some(last) => last.next = at,
            None => queued.first = at,
        }
        queued.last = at;
    }

    fn bytes<'a>(&'a self, segment: &'a Segment) -> &'a [u8] {
        match segment {
            Segment::Own(range) => &self.own[range.start as usize..range.end as usize],
            Segment::Shared(shared) => shared.bytes(),
        }
    }

    fn iter(&self, queued: Queued) -> impl Iterator<Item = &Segment> {
        let mut at = queued.first;
        std::iter::from_fn(move || {
            let node = self.segments.get(at as usize)?;
            at = node.next;
            Some(&node.segment)
        })
    }
}

/// Bytes of answers that are enough for one turn.
const OWN_BYTES_ENOUGH: usize = 16 << 20;
/// A turn's buffer larger than this is given back.
const OWN_BYTES_KEPT: usize = 1 << 20;

/// What the kernel would not take yet.
#[derive(Debug, Default)]
pub struct Backlog {
    segments: VecDeque<Waiting>,
    /// Bytes of the first segment that are sent.
    sent: usize,
    bytes: usize,
}

#[derive(Debug)]
enum Waiting {
    Own(Vec<u8>),
    Shared(Rc<Shared>),
}

impl Waiting {
    fn bytes(&self) -> &[u8] {
        match self {
            Waiting::Own(bytes) => bytes,
            Waiting::Shared(shared) => shared.bytes(),
        }
    }
}

impl Backlog {
    /// Bytes that are not sent.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Drops what others get too and has not begun to be sent: a later value replaces it. Returns how many publications that were.
    pub fn drop_shared(&mut self) -> usize {
        let mut begun = self.sent > 0;
        let mut dropped = 0;
        self.segments.retain(|segment| match segment {
            _ if std::mem::take(&mut begun) => true,
            Waiting::Own(_) => true,
            Waiting::Shared(shared) => {
                dropped += shared.publications();
                false
            }
        });
        self.bytes = self.segments.iter().map(|segment| segment.bytes().len()).sum::<usize>() - self.sent;
        dropped
    }

    fn push(&mut self, segment: Waiting) {
        self.bytes += segment.bytes().len();
        self.segments.push_back(segment);
    }

    /// Many small answers in a row take no more memory than their bytes.
    fn push_own(&mut self, bytes: &[u8]) {
        match self.segments.back_mut() {
            Some(Waiting::Own(last)) => {
                last.extend_from_slice(bytes);
                self.bytes += bytes.len();
            }
            _ => self.push(Waiting::Own(bytes.into())),
        }
    }

    fn advance(&mut self, mut sent: usize) {
        self.bytes -= sent;
        sent += self.sent;
        while let Some(first) = self.segments.front()
            && first.bytes().len() <= sent
        {
            sent -= first.bytes().len();
            self.segments.pop_front();
        }
        self.sent = sent;
    }
}

/// What a write came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Bytes that the kernel took.
    pub bytes: usize,
    /// Calls that took.
    pub sends: usize,
    /// The kernel takes no more for now; the rest is in the backlog.
    pub blocked: bool,
}

/// Slices given to one call; a connection with more of them gets a second call.
const SLICES_MAX: usize = 64;

/// Writes a connection's backlog and then what is queued for it, with as few calls as the kernel allows. What it does not take is left in `backlog`.
/// Where there is no backlog, the first call, with what [`TurnQueue::gather`] gives, may have been made: it `sent` so many bytes.
///
/// # Errors
/// The socket's; the connection is of no further use.
pub fn write(
    socket: &mut impl Write,
    backlog: &mut Option<Box<Backlog>>,
    queue: &TurnQueue,
    queued: Queued,
    mut sent_first: Option<io::Result<usize>>,
) -> io::Result<Written> {
    let mut written = Written::default();
    if let Some(waiting) = backlog {
        append(waiting, queue, queued, 0);
        while waiting.bytes > 0 {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let mut count = 0;
            for (slice, segment) in slices.iter_mut().zip(&waiting.segments) {
                *slice = IoSlice::new(&segment.bytes()[if count == 0 { waiting.sent } else { 0 }..]);
                count += 1;
            }
            match send(socket, &slices[..count], &mut written)? {
                None => return Ok(written),
                Some(sent) => waiting.advance(sent),
            }
        }
        *backlog = None;
        return Ok(written);
    }
    let mut segments = queue.iter(queued).peekable();
    let mut sent_before = 0;
    while segments.peek().is_some() {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let (mut count, mut offered) = (0, 0);
        for (slice, segment) in slices.iter_mut().zip(&mut segments) {
            *slice = IoSlice::new(queue.bytes(segment));
            offered += slice.len();
            count += 1;
        }
        let sent = match sent_first.take() {
            Some(result) => taken(result, &mut written)?,
            None => send(socket, &slices[..count], &mut written)?,
        };
        if sent != Some(offered) {
            let mut waiting = Box::<Backlog>::default();
            append(&mut waiting, queue, queued, sent_before + sent.unwrap_or(0));
            *backlog = Some(waiting);
            // A short write is no promise that the next would block: only a refusal brings a wake-up later.
            return if written.blocked { Ok(written) } else { resume(socket, backlog, queue, written) };
        }
        sent_before += offered;
    }
    Ok(written)
}

/// Moves what is queued behind the backlog of a connection that cannot be written to.
pub fn hold(backlog: &mut Backlog, queue: &TurnQueue, queued: Queued) {
    append(backlog, queue, queued, 0);
}

fn resume(socket: &mut impl Write, backlog: &mut Option<Box<Backlog>>, queue: &TurnQueue, before: Written) -> io::Result<Written> {
    let after = write(socket, backlog, queue, Queued::NOTHING, None)?;
    Ok(Written { bytes: before.bytes + after.bytes, sends: before.sends + after.sends, blocked: after.blocked })
}

fn append(backlog: &mut Backlog, queue: &TurnQueue, queued: Queued, mut sent: usize) {
    for segment in queue.iter(queued) {
        let bytes = queue.bytes(segment);
        if sent >= bytes.len() {
            sent -= bytes.len();
            continue;
        }
        let skipped = std::mem::take(&mut sent);
        match segment {
            Segment::Own(_) => backlog.push_own(&bytes[skipped..]),
            Segment::Shared(shared) => {
                backlog.push(Waiting::Shared(Rc::clone(shared)));
                if skipped > 0 {
                    backlog.sent = skipped;
                    backlog.bytes -= skipped;
                }
            }
        }
    }
}

/// One call; `None` where the kernel takes nothing.
fn send(socket: &mut impl Write, slices: &[IoSlice<'_>], written: &mut Written) -> io::Result<Option<usize>> {
    loop {
        // A plain send is cheaper than a gathered one of a single slice.
        let result = if let [only] = slices { socket.write(only) } else { socket.write_vectored(slices) };
        match result {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return taken(result, written),
        }
    }
}

/// What a call came to; `None` where the kernel takes nothing.
fn taken(result: io::Result<usize>, written: &mut Written) -> io::Result<Option<usize>> {
    match result {
        Ok(sent) => {
            written.bytes += sent;
            written.sends += 1;
            Ok(Some(sent))
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            written.blocked = true;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
