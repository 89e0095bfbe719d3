//! One connection's sending half and its way to being open. Imports `net`.
//!
//! ```text
//! Connecting ──► [Securing ──►] Upgrading ──► Open ──► Closing
//! ```

use std::io::{self, ErrorKind};

use fantail_codec::{accept::Key, http1::HeadScan};

use crate::net::Stream;

/// A connection, from `connect()` on.
pub struct Link {
    pub(super) stream: Stream,
    pub(super) state: State,
    /// What the kernel has not taken.
    unsent: Vec<u8>,
    /// Something waits for the kernel: `unsent`, or a record that TLS keeps.
    blocked: bool,
    /// The connection's number over all threads.
    pub(super) number: usize,
    pub(super) times: Times,
}

/// How far a connection is.
pub(super) enum State {
    /// The request is not yet on its way: the socket connects, or TLS shakes hands.
    Connecting,
    /// The request is out; the response has not wholly come.
    Upgrading(Box<Upgrading>),
    /// Messages go both ways.
    Open,
    /// Our close frame is out.
    Closing,
}

/// What the judgement of the response needs.
pub(super) struct Upgrading {
    pub(super) key: Key,
    pub(super) scan: HeadScan,
    /// The head as far as it came in earlier reads.
    pub(super) head: Vec<u8>,
}

/// When the parts of opening began and ended, in nanoseconds of the run's clock.
#[derive(Clone, Copy, Default)]
pub(super) struct Times {
    pub(super) intended: u64,
    pub(super) began: u64,
    pub(super) connected: u64,
    pub(super) secured: u64,
}

impl Link {
    pub(super) fn new(stream: Stream, number: usize, times: Times) -> Link {
        Link { stream, state: State::Connecting, unsent: Vec::new(), blocked: false, number, times }
    }

    /// Whether messages may be sent.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
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
