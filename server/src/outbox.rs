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

/// Frames that many connections of this worker are to get.
#[derive(Debug)]
pub struct Shared {
    bytes: Arc<[u8]>,
    first: u64,
    publications: u32,
}

impl Shared {
    /// Frames of so many publications of a channel, the first of which has this offset.
    pub fn new(bytes: Arc<[u8]>, first: u64, publications: u32) -> Shared {
        Shared { bytes, first, publications }
    }

    /// The frames.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The offset of the first publication.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// How many publications they are.
    pub fn publications(&self) -> usize {
        self.publications as usize
    }
}

/// A connection's place in the queue of this turn: its first and last segment. At rest it holds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// Bytes of all segments.
    bytes: usize,
}

#[derive(Debug)]
struct Node {
    segment: Segment,
    next: u32,
    /// Of what is shared.
    subscription: u64,
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
        self.bytes += (end - start) as usize;
        // What a connection writes back to back is one segment.
        if let Some(Node { segment: Segment::Own(last), .. }) = self.segments.get_mut(queued.last as usize)
            && last.end == start
        {
            last.end = end;
        } else if end > start {
            self.push(queued, Segment::Own(start..end), 0);
        }
        result
    }

    /// Queues frames that others get too, for a subscription of this connection.
    pub fn shared(&mut self, queued: &mut Queued, shared: &Rc<Shared>, subscription: u64) {
        self.bytes += shared.bytes().len() + size_of::<Node>();
        self.push(queued, Segment::Shared(Rc::clone(shared)), subscription);
    }

    /// Puts behind what is queued for a connection what was queued apart.
    pub fn append(&mut self, queued: &mut Queued, behind: Queued) {
        match self.segments.get_mut(queued.last as usize) {
            Some(last) if behind.first != NONE => last.next = behind.first,
            Some(_) => return,
            None => queued.first = behind.first,
        }
        queued.last = behind.last;
    }

    /// Bytes queued by [`own`](TurnQueue::own), to be changed before they are written; positions are those of the buffer it gave.
    pub fn own_mut(&mut self, range: Range<usize>) -> &mut [u8] {
        &mut self.own[range]
    }

    /// Bytes queued in this turn, for all connections.
    pub fn queued_bytes(&self) -> usize {
        self.bytes
    }

    /// Whether the turn should end before more is received: what it answers takes memory until it is written.
    pub fn is_full(&self) -> bool {
        self.bytes >= BYTES_ENOUGH
    }

    /// Makes ready for the next turn.
    pub fn clear(&mut self) {
        self.segments.clear();
        self.bytes = 0;
        self.own.clear();
        self.own.shrink_to(OWN_BYTES_KEPT);
    }

    /// Adds what the first call of [`write`] sends.
    pub fn gather<'a>(&'a self, queued: Queued, slices: &mut Vec<IoSlice<'a>>) {
        slices.extend(self.iter(queued).take(SLICES_MAX).map(|node| IoSlice::new(self.bytes(node))));
    }

    fn push(&mut self, queued: &mut Queued, segment: Segment, subscription: u64) {
        let at = self.segments.len() as u32;
        self.segments.push(Node { segment, next: NONE, subscription });
        match self.segments.get_mut(queued.last as usize) {
            Some(last) => last.next = at,
            None => queued.first = at,
        }
        queued.last = at;
    }

    fn bytes<'a>(&'a self, node: &'a Node) -> &'a [u8] {
        match &node.segment {
            Segment::Own(range) => &self.own[range.start as usize..range.end as usize],
            Segment::Shared(shared) => shared.bytes(),
        }
    }

    fn iter(&self, queued: Queued) -> impl Iterator<Item = &Node> {
        let mut at = queued.first;
        std::iter::from_fn(move || {
            let node = self.segments.get(at as usize)?;
            at = node.next;
            Some(node)
        })
    }
}

/// Bytes of answers that are enough for one turn.
const BYTES_ENOUGH: usize = 16 << 20;
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
    /// With its subscription.
    Shared(Rc<Shared>, u64),
}

impl Waiting {
    fn bytes(&self) -> &[u8] {
        match self {
            Waiting::Own(bytes) => bytes,
            Waiting::Shared(shared, _) => shared.bytes(),
        }
    }
}

impl Backlog {
    /// Bytes that are not sent.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of them that are not shared.
    pub fn own_bytes(&self) -> usize {
        self.segments.iter().map(|segment| if let Waiting::Own(bytes) = segment { bytes.len() } else { 0 }).sum()
    }

    /// Drops shared frames that have not begun to be sent, the oldest first, where `drops` says so of the subscription and the bytes that wait by then.
    pub fn drop_shared(&mut self, mut drops: impl FnMut(u64, &Shared, usize) -> bool) {
        let mut begun = self.sent > 0;
        let bytes = &mut self.bytes;
        self.segments.retain(|segment| match segment {
            _ if std::mem::take(&mut begun) => true,
            Waiting::Own(_) => true,
            Waiting::Shared(shared, subscription) => {
                let dropped = drops(*subscription, shared, *bytes);
                *bytes -= if dropped { shared.bytes().len() } else { 0 };
                !dropped
            }
        });
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
    while let Some(first) = segments.next() {
        let first = IoSlice::new(queue.bytes(first));
        let (one, mut many);
        // Mostly there is one; an array for many takes longer to fill than all the rest.
        let slices = if segments.peek().is_none() {
            one = [first];
            &one[..]
        } else {
            many = [first; SLICES_MAX];
            let mut count = 1;
            for (slice, node) in many[1..].iter_mut().zip(&mut segments) {
                *slice = IoSlice::new(queue.bytes(node));
                count += 1;
            }
            &many[..count]
        };
        let offered = slices.iter().map(|slice| slice.len()).sum();
        let sent = match sent_first.take() {
            Some(result) => taken(result, &mut written)?,
            None => send(socket, slices, &mut written)?,
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
    for node in queue.iter(queued) {
        let bytes = queue.bytes(node);
        if sent >= bytes.len() {
            sent -= bytes.len();
            continue;
        }
        let skipped = std::mem::take(&mut sent);
        match &node.segment {
            Segment::Own(_) => backlog.push_own(&bytes[skipped..]),
            Segment::Shared(shared) => {
                backlog.push(Waiting::Shared(Rc::clone(shared), node.subscription));
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
