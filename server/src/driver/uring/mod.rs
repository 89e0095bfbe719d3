//! The io_uring driver. Sockets are accepted and received from by multishot operations on a [`Ring`] of ours, whose buffers the kernel picks;
//! a monoio runtime, in [`Sleeper`], is where the thread waits. All sends of a turn go out by a few calls, in [`Sends`].
//!
//! ```text
//! wait:      submit, complete ─► nothing? announce by eventfd, complete ─► nothing? sleep, complete
//! dispatch:  completion ─► its slot ─► the worker's connection: bytes lent, then provided to the kernel again
//! ```
//!
//! A [`Slot`] outlives its connection until the kernel has ended every operation on its socket, so that what completes late is never taken for another
//! connection's. Sockets of connections that are gone are closed after the next submission, so that no submitted descriptor is another file by then.
//!
//! `NOTES.md` beside this file says which other ways were measured.

mod buffers;
mod ring;
mod sends;
mod sleeper;
mod support;

use std::{
    collections::{HashMap, VecDeque},
    io,
    net::{TcpListener, TcpStream},
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::io::Errno;
use slab::Slab;

use self::{
    buffers::{COUNT as BUFFERS, Filled},
    ring::{Completion, Operation, Ring},
    sends::Sends,
    sleeper::Sleeper,
};
use super::{ACCEPT_RETRY, Driver, Outgoing};
use crate::{
    hub::Mailbox,
    metrics::Metrics,
    worker::{Input, Worker},
};

pub use support::check;

/// How long to wait with what the kernel would not take, for want of memory.
const SUBMIT_RETRY: Duration = Duration::from_millis(1);
/// Bytes received in a turn before what they ask for is written, and connections are paused that do not read it.
const RECEIVED_BYTES_ENOUGH: usize = 512 << 10;
/// No connection: it is gone, or there has been none with this key.
const NONE: u32 = u32::MAX;

/// See the module.
pub struct Uring {
    ring: Ring,
    sends: Sends,
    sleeper: Sleeper,
    listener: Option<TcpListener>,
    accepting: Accepting,
    /// As many as the kernel may accept before we can stop it.
    accepts_unasked: usize,
    /// The last attempt to accept failed, which is logged once.
    failing: bool,
    /// Sockets that were accepted before the operation could be stopped, when there was no room for them.
    accepted: VecDeque<OwnedFd>,
    slots: Slab<Slot>,
    /// The slot of each connection, by its key.
    slot_of: Vec<u32>,
    /// What was received for connections that are paused, by slot.
    held: HashMap<u32, Held>,
    /// Slots of connections that receive again.
    resumed: Vec<u32>,
    /// Slots that are to receive: as many a turn as there are buffers, since most receive at once.
    starting: VecDeque<u32>,
    /// To be closed after the next submission.
    closing: Vec<OwnedFd>,
    /// In this turn.
    received_bytes: usize,
    metrics: Arc<Metrics>,
}

/// The operations on one socket.
struct Slot {
    /// The connection, until it is gone.
    key: u32,
    receiving: Receiving,
    /// An operation waits until the socket can be written to.
    watching: bool,
}

/// Whether there is an operation that receives.
#[derive(Clone, Copy, PartialEq)]
enum Receiving {
    No,
    Yes,
    /// There is one, which was told to end.
    Cancelled,
}

/// Whether there is an operation that accepts.
#[derive(Clone, Copy, PartialEq)]
enum Accepting {
    /// For as many connections as come.
    Many,
    /// For one.
    One,
    /// There is one, which was told to end.
    Cancelled,
    /// Not before this.
    After(Instant),
    Never,
}

/// What came for a connection after it was paused: at most what the kernel had received before the operation could be stopped, so at most all
/// buffers' bytes.
#[derive(Default)]
struct Held {
    bytes: VecDeque<Vec<u8>>,
    /// The peer's stream ends after these bytes.
    ended: bool,
}

impl Uring {
    /// A driver for the calling thread that accepts from this listener and is woken by this mailbox. All workers' listeners together have so
    /// large a backlog.
    ///
    /// # Errors
    /// What the kernel lacks or refuses.
    pub fn new(listener: TcpListener, backlog: usize, mailbox: &Arc<Mailbox>, metrics: Arc<Metrics>) -> io::Result<Uring> {
        let sleeper = Sleeper::new()?;
        let mut ring = Ring::new(sleeper.eventfd())?;
        ring.announce(false);
        mailbox.set_waker(sleeper.waker());
        Ok(Uring {
            ring,
            sends: Sends::new()?,
            sleeper,
            listener: Some(listener),
            accepting: Accepting::After(Instant::now()),
            accepts_unasked: backlog,
            failing: false,
            accepted: VecDeque::new(),
            slots: Slab::new(),
            slot_of: Vec::new(),
            held: HashMap::new(),
            resumed: Vec::new(),
            starting: VecDeque::new(),
            closing: Vec::new(),
            received_bytes: 0,
            metrics,
        })
    }

    fn enter(&mut self) -> io::Result<()> {
        self.ring.enter()?;
        if self.ring.is_submitted() {
            self.closing.clear();
        }
        Ok(())
    }

    /// How long nothing is to be done by this driver itself.
    fn timeout(&mut self) -> Option<Duration> {
        match self.accepting {
            _ if !self.resumed.is_empty() || !self.starting.is_empty() => Some(Duration::ZERO),
            _ if !self.ring.is_submitted() => Some(SUBMIT_RETRY),
            Accepting::After(at) => Some(at.saturating_duration_since(Instant::now())),
            _ => None,
        }
    }

    fn accepted(&mut self, result: Result<OwnedFd, Errno>, more: bool, worker: &mut Worker) {
        let pause = match result {
            // It came after we had stopped.
            Ok(_) if self.accepting == Accepting::Never => Duration::ZERO,
            Ok(socket) => {
                self.failing = false;
                self.accepted.push_back(socket);
                self.open_accepted(worker);
                Duration::ZERO
            }
            // The peer gave up before we came, accept(2).
            Err(Errno::CONNABORTED | Errno::INTR) => Duration::ZERO,
            // We stopped it.
            Err(Errno::CANCELED) => Duration::ZERO,
            Err(error) => {
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(%error, "cannot accept; trying again every {} ms", ACCEPT_RETRY.as_millis());
                }
                ACCEPT_RETRY
            }
        };
        if !more && self.accepting != Accepting::Never {
            self.accepting = Accepting::After(Instant::now() + pause);
        }
    }

    fn accept_again(&mut self, worker: &mut Worker) {
        self.open_accepted(worker);
        match &self.listener {
            Some(listener) if self.accepted.is_empty() && worker.has_room(1) => {
                // The kernel asks nobody between two connections, and the last descriptors are not for clients.
                let multishot = worker.has_room(self.accepts_unasked);
                self.ring.accept(listener.as_fd(), multishot);
                self.accepting = if multishot { Accepting::Many } else { Accepting::One };
            }
            // A connection that goes may be another worker's, of which this one hears nothing.
            _ => self.accepting = Accepting::After(Instant::now() + ACCEPT_RETRY),
        }
    }

    /// Makes connections of the sockets that wait, as far as there is room, and lets the kernel accept no more than that.
    fn open_accepted(&mut self, worker: &mut Worker) {
        while worker.has_room(1)
            && let Some(socket) = self.accepted.pop_front()
        {
            self.open(socket.into(), worker);
        }
        let enough = !self.accepted.is_empty() || !worker.has_room(self.accepts_unasked);
        if enough && self.accepting == Accepting::Many {
            self.ring.cancel(Operation::Accept);
            self.accepting = Accepting::Cancelled;
        }
    }

    fn open(&mut self, socket: TcpStream, worker: &mut Worker) {
        let key = worker.accepted(socket);
        let slot = self.slots.insert(Slot { key: key as u32, receiving: Receiving::No, watching: false }) as u32;
        if self.slot_of.len() <= key {
            self.slot_of.resize(key + 1, NONE);
        }
        self.slot_of[key] = slot;
        self.starting.push_back(slot);
    }

    fn received(&mut self, slot: u32, result: Result<Option<Filled>, Errno>, more: bool, worker: &mut Worker) {
        let entry = &mut self.slots[slot as usize];
        let (key, cancelled) = (entry.key, entry.receiving == Receiving::Cancelled);
        if !more {
            entry.receiving = Receiving::No;
            self.metrics.receives_ended.add(1);
        }
        if key == NONE {
            if let Ok(Some(filled)) = result {
                drop(self.ring.lend(filled));
            }
            return self.release(slot);
        }
        let key = key as usize;
        let input = worker.input(key);
        let holds = input == Input::Later || self.held.contains_key(&slot);
        match result {
            Ok(Some(filled)) => {
                let mut bytes = self.ring.lend(filled);
                self.received_bytes += bytes.len();
                match holds {
                    true => self.held.entry(slot).or_default().bytes.push_back(bytes.to_vec()),
                    false if input == Input::Never => {}
                    false => worker.received(key, &mut bytes),
                }
            }
            Ok(None) if holds => self.held.entry(slot).or_default().ended = true,
            Ok(None) if input == Input::Never => {}
            Ok(None) => worker.ended(key),
            Err(Errno::CANCELED) => {}
            Err(Errno::NOBUFS) => {
                self.metrics.receive_buffers_exhausted.add(1);
            }
            Err(_) => return worker.failed(key),
        }
        match more {
            true if input != Input::Now && !cancelled => self.stop_receiving(slot),
            true => {}
            // What is held comes first: then it is up to the worker to resume.
            false if holds => {}
            false => self.starting.push_back(slot),
        }
    }

    fn start_receiving(&mut self, worker: &Worker) {
        for slot in self.starting.drain(..self.starting.len().min(usize::from(BUFFERS))) {
            // It may be another connection's by now, or have begun.
            let Some(entry) = self.slots.get_mut(slot as usize) else { continue };
            let key = entry.key as usize;
            if entry.receiving == Receiving::No
                && worker.input(key) == Input::Now
                && let Some(socket) = worker.socket(key)
            {
                entry.receiving = Receiving::Yes;
                self.ring.receive(slot, socket.as_fd());
                self.metrics.receives_begun.add(1);
            }
        }
    }

    fn stop_receiving(&mut self, slot: u32) {
        self.slots[slot as usize].receiving = Receiving::Cancelled;
        self.ring.cancel(Operation::Receive(slot));
    }

    /// Gives the worker what was held for this slot, then receives on.
    fn receive_again(&mut self, slot: u32, worker: &mut Worker) {
        let Some(key) = self.slots.get(slot as usize).map(|entry| entry.key as usize) else { return };
        while let Some(held) = self.held.get_mut(&slot) {
            if worker.input(key) != Input::Now {
                return;
            }
            if self.received_bytes >= RECEIVED_BYTES_ENOUGH || worker.turn_is_full() {
                return self.resumed.push(slot);
            }
            match held.bytes.pop_front() {
                Some(mut bytes) => {
                    self.received_bytes += bytes.len();
                    worker.received(key, &mut bytes);
                }
                None => {
                    if held.ended {
                        worker.ended(key);
                    }
                    self.held.remove(&slot);
                }
            }
        }
        self.starting.push_back(slot);
    }

    fn writable(&mut self, slot: u32, worker: &mut Worker) {
        let entry = &mut self.slots[slot as usize];
        entry.watching = false;
        match entry.key {
            NONE => self.release(slot),
            key => worker.writable(key as usize),
        }
    }

    /// Frees the slot of a connection that is gone, once nothing is left in the kernel for it.
    fn release(&mut self, slot: u32) {
        let entry = &self.slots[slot as usize];
        if entry.receiving == Receiving::No && !entry.watching {
            self.slots.remove(slot as usize);
        }
    }
}

impl Driver for Uring {
    const SENDS_AT_ONCE: usize = sends::AT_ONCE;

    fn send(&mut self, sends: &mut [Outgoing<'_>]) -> io::Result<()> {
        self.sends.send(sends)
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        if self.ring.has_work() || !self.closing.is_empty() {
            self.enter()?;
        }
        if self.ring.has_completions() {
            return Ok(());
        }
        let timeout = timeout.into_iter().chain(self.timeout()).min();
        if timeout == Some(Duration::ZERO) {
            return Ok(());
        }
        self.ring.announce(true);
        self.enter()?;
        if !self.ring.has_completions() {
            self.sleeper.sleep(timeout)?;
        }
        self.ring.announce(false);
        self.enter()
    }

    fn dispatch(&mut self, worker: &mut Worker) {
        self.received_bytes = 0;
        for slot in std::mem::take(&mut self.resumed) {
            self.receive_again(slot, worker);
        }
        if matches!(self.accepting, Accepting::After(at) if at <= Instant::now()) {
            self.accept_again(worker);
        }
        // Completions that are left are the next turn's.
        while self.received_bytes < RECEIVED_BYTES_ENOUGH
            && !worker.turn_is_full()
            && let Some((completion, more)) = self.ring.next()
        {
            match completion {
                Completion::Accepted(result) => self.accepted(result, more, worker),
                Completion::Received(slot, result) => self.received(slot, result, more, worker),
                Completion::Writable(slot) => self.writable(slot, worker),
                Completion::Cancelled => {}
            }
        }
        // Every buffer that was lent is the kernel's again.
        self.start_receiving(worker);
    }

    fn watch_writable(&mut self, key: usize, socket: &TcpStream) -> io::Result<()> {
        let slot = self.slot_of[key];
        self.slots[slot as usize].watching = true;
        self.ring.watch_writable(slot, socket.as_fd());
        Ok(())
    }

    fn pause(&mut self, key: usize) {
        let slot = self.slot_of[key];
        if self.slots[slot as usize].receiving == Receiving::Yes {
            self.stop_receiving(slot);
        }
    }

    fn resume(&mut self, key: usize) {
        self.resumed.push(self.slot_of[key]);
    }

    fn forget(&mut self, key: usize, socket: TcpStream) {
        let slot = std::mem::replace(&mut self.slot_of[key], NONE);
        self.held.remove(&slot);
        let Slot { receiving, watching, .. } = self.slots[slot as usize];
        self.slots[slot as usize].key = NONE;
        if receiving == Receiving::No && !watching {
            self.release(slot);
            // Here the socket is closed.
            return;
        }
        if receiving == Receiving::Yes {
            self.stop_receiving(slot);
        }
        if watching {
            self.ring.cancel(Operation::Writable(slot));
        }
        self.closing.push(socket.into());
    }

    fn stop_accepting(&mut self) {
        self.accepted.clear();
        if matches!(self.accepting, Accepting::Many | Accepting::One) {
            self.ring.cancel(Operation::Accept);
        }
        self.accepting = Accepting::Never;
        self.closing.extend(self.listener.take().map(OwnedFd::from));
    }
}

#[cfg(test)]
mod tests;
