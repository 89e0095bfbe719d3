//! One connection's sending half and its way to being open. Imports `net`.
//!
//! ```text
//! Opening: the socket connects, TLS shakes hands, the request is answered ──► Open ──► Closing
//! ```

use std::io::{self, ErrorKind};

use fantail_codec::{accept::Key, http1::HeadScan};

use crate::net::Stream;

/// A connection, from `connect()` on. Small, as a thread goes round thousands of them.
pub struct Link {
    pub(super) stream: Stream,
    pub(super) state: State,
    /// What the kernel has not taken.
    unsent: Vec<u8>,
    /// Something waits for the kernel: `unsent`, or a record that TLS keeps.
    blocked: bool,
    /// Whether it is known that it can be used, or not.
    pub(super) settled: bool,
    /// The connection's number over all threads.
    pub(super) number: usize,
}

/// How far a connection is.
pub(super) enum State {
    /// The response to the upgrade has not wholly come.
    Opening(Box<Opening>),
    /// Messages go both ways.
    Open,
    /// Our close frame is out.
    Closing,
}

/// When the parts of opening began and ended, in nanoseconds of the run's clock, and what the judgement of the response needs.
#[derive(Default)]
pub(super) struct Opening {
    pub(super) intended_ns: u64,
    pub(super) began_ns: u64,
    pub(super) connected_ns: Option<u64>,
    pub(super) asked: Option<Asked>,
}

/// A request that is out.
pub(super) struct Asked {
    pub(super) at_ns: u64,
    pub(super) key: Key,
    pub(super) scan: HeadScan,
    /// The head as far as it came in earlier reads.
    pub(super) head: Vec<u8>,
}

impl Link {
    pub(super) fn new(stream: Stream, number: usize, opening: Opening) -> Link {
        Link { stream, state: State::Opening(Box::new(opening)), unsent: Vec::new(), blocked: false, settled: false, number }
    }

    /// Whether messages may be sent.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    /// Whether it is not open yet.
    pub(super) fn is_opening(&self) -> bool {
        matches!(self.state, State::Opening(_))
    }

    /// Whether the request can go as soon as the socket takes it.
    pub(super) fn is_to_ask(&self) -> bool {
        matches!(&self.state, State::Opening(opening) if opening.asked.is_none())
    }

    /// Whether the kernel still has to take something.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// Sends, and keeps what the kernel does not take; tells whether it took all.
    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<bool> {
        if self.is_blocked() {
            self.unsent.extend_from_slice(bytes);
            return Ok(false);
        }
        let taken = write_some(&mut self.stream, bytes)?;
        self.unsent.extend_from_slice(&bytes[taken..]);
        self.settle()
    }

    /// Sends what was kept; tells whether all is gone now.
    pub(super) fn flush(&mut self) -> io::Result<bool> {
        let taken = write_some(&mut self.stream, &self.unsent)?;
        self.unsent.drain(..taken);
        if self.unsent.is_empty() {
            self.unsent = Vec::new();
        }
        self.settle()
    }

    fn settle(&mut self) -> io::Result<bool> {
        self.blocked = !self.stream.flush()? || !self.unsent.is_empty();
        Ok(!self.blocked)
    }
}

/// Writes as much as goes, which may be nothing.
fn write_some(stream: &mut Stream, bytes: &[u8]) -> io::Result<usize> {
    let mut taken = 0;
    while taken < bytes.len() {
        match stream.write(&bytes[taken..]) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => taken += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(taken)
}
