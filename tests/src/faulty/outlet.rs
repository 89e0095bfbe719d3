//! What goes to a client: each message through the behaviour's fault, counted once it is done. Imports [`crate::frame`] and
//! [`crate::deflate`].

use std::io::{self, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Instant;

use super::wire::QUIET;
use super::{Fault, Shared};
use crate::{Deflater, Frame};

/// A connection's sending half.
pub(super) struct Outlet {
    stream: Arc<TcpStream>,
    /// Whether messages are to be compressed.
    deflate: bool,
    /// Whether its client has published, and is spared.
    spared: bool,
    /// Messages that were to be sent.
    count: u64,
    /// A message that waits for its successor, since when.
    held: Option<(Frame, Instant)>,
}

impl Outlet {
    /// Sends over this socket.
    pub(super) fn new(stream: Arc<TcpStream>, deflate: bool) -> Self {
        Self { stream, deflate, spared: false, count: 0, held: None }
    }

    /// From now on every message is sent as it is.
    pub(super) fn spare(&mut self) {
        self.spared = true;
    }

    /// Sends a message, or does to it what the server's fault is.
    pub(super) fn deliver(&mut self, message: &Frame, shared: &Shared) -> io::Result<()> {
        let mut message = message.clone();
        if shared.behaviour.json {
            message.payload = [b"{\"data\":\"", message.payload.as_slice(), b"\"}"].concat();
        }
        if self.spared {
            return self.send(&message);
        }
        if let Some((held, _)) = self.held.take() {
            self.count += 1;
            self.send(&message)?;
            self.send(&held)?;
            shared.done().swapped += 1;
            return Ok(());
        }
        self.count += 1;
        let turn = |every: u64| self.count.is_multiple_of(every);
        match shared.behaviour.fault {
            Fault::Drop(every) if turn(every) => shared.done().dropped += 1,
            Fault::Duplicate(every) if turn(every) => {
                self.send(&message)?;
                self.send(&message)?;
                shared.done().duplicated += 1;
            }
            Fault::Swap(every) if turn(every) => self.held = Some((message, Instant::now())),
            Fault::Corrupt(every) if turn(every) => {
                let last = message.payload.len() - 1;
                let at = if (self.count / every).is_multiple_of(2) { last / 2 } else { last };
                message.payload[at] ^= 1;
                self.send(&message)?;
                shared.done().corrupted += 1;
            }
            _ => self.send(&message)?,
        }
        Ok(())
    }

    /// Sends what was held back, if its successor does not come.
    pub(super) fn release(&mut self) -> io::Result<()> {
        match self.held.take_if(|(_, since)| since.elapsed() >= QUIET) {
            Some((message, _)) => self.send(&message),
            None => Ok(()),
        }
    }

    /// Sends a frame: a message compressed if that was agreed on.
    pub(super) fn send(&mut self, frame: &Frame) -> io::Result<()> {
        if self.deflate && frame.opcode < Frame::CLOSE {
            let payload = Deflater::default().message(&frame.payload);
            return self.write(&Frame::new(frame.opcode, payload).rsv(Frame::RSV1).unmasked_bytes());
        }
        self.write(&frame.unmasked_bytes())
    }

    /// Sends bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.as_ref().write_all(bytes)
    }
}
