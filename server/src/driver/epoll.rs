//! The epoll driver, on mio: edge-triggered, one receive buffer for all connections of the worker. A new socket is received from at once,
//! before epoll knows it, because the request is usually there.

use std::{
    io::{self, ErrorKind, Read},
    net::{TcpListener, TcpStream},
    os::fd::AsRawFd,
    sync::Arc,
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, Waker, unix::SourceFd};

use super::{ACCEPT_RETRY, Driver};
use crate::{
    hub::Mailbox,
    worker::{Input, Worker},
};

const LISTENER: Token = Token(usize::MAX);
const WAKER: Token = Token(usize::MAX - 1);

/// Bytes received by one call at most.
const RECEIVE_BYTES: usize = 64 << 10;
/// Calls on one connection before the others have their turn.
const RECEIVES_MAX: usize = 4;
/// Connections accepted before those that are there have their turn.
const ACCEPTS_MAX: usize = 256;
/// Events taken from the kernel at once.
const EVENTS_MAX: usize = 1024;

/// See the module.
pub struct Epoll {
    poll: Poll,
    events: Events,
    listener: Option<mio::net::TcpListener>,
    buffer: Box<[u8]>,
    /// Connections to receive from without an event, those first that had nothing of this turn.
    again: Vec<usize>,
    /// Connections that have more but had their share of this turn.
    served: Vec<usize>,
    accepting: Accepting,
    /// The last attempt to accept failed, which is logged once.
    failing: bool,
}

/// Edges are reported once, so what is left to accept must be remembered.
#[derive(Clone, Copy, PartialEq)]
enum Accepting {
    /// Nothing is left until the next event.
    Idle,
    /// There may be more.
    Ready,
    /// There may be more, but not before this.
    After(Instant),
}

impl Epoll {
    /// A driver that accepts from this listener and is woken by this mailbox.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new(listener: TcpListener, mailbox: &Arc<Mailbox>) -> io::Result<Epoll> {
        listener.set_nonblocking(true)?;
        let poll = Poll::new()?;
        let mut listener = mio::net::TcpListener::from_std(listener);
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        mailbox.set_waker(move || {
            // It cannot fail: mio resets the counter before it overflows.
            let _ = waker.wake();
        });
        Ok(Epoll {
            poll,
            events: Events::with_capacity(EVENTS_MAX),
            listener: Some(listener),
            buffer: vec![0; RECEIVE_BYTES].into(),
            again: Vec::new(),
            served: Vec::new(),
            accepting: Accepting::Idle,
            failing: false,
        })
    }

    fn accept(&mut self, worker: &mut Worker) {
        self.accepting = Accepting::Ready;
        for _ in 0..ACCEPTS_MAX {
            let Some(listener) = &self.listener else { return };
            if !worker.has_room(1) {
                // A connection that goes may be another worker's, of which this one hears nothing.
                self.accepting = Accepting::After(Instant::now() + ACCEPT_RETRY);
                return;
            }
            match listener.accept() {
                Ok((socket, _)) => {
                    self.failing = false;
                    let key = worker.accepted(socket.into());
                    self.receive(key, false, worker);
                    self.register(key, worker);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.accepting = Accepting::Idle;
                    return;
                }
                // The peer gave up before we came, accept(2).
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => {}
                Err(error) => {
                    if !std::mem::replace(&mut self.failing, true) {
                        tracing::warn!(%error, "cannot accept; trying again every {} ms", ACCEPT_RETRY.as_millis());
                    }
                    self.accepting = Accepting::After(Instant::now() + ACCEPT_RETRY);
                    return;
                }
            }
        }
    }

    fn register(&self, key: usize, worker: &mut Worker) {
        let Some(socket) = worker.socket(key) else { return };
        // An edge-triggered registration reports at once what has arrived since we received.
        if let Err(error) = self.poll.registry().register(&mut SourceFd(&socket.as_raw_fd()), Token(key), Interest::READABLE) {
            tracing::warn!(%error, "cannot watch a connection; closing it");
            worker.failed(key);
        }
    }

    /// Receives until there is no more; a short read shows that without a further call, unless the peer may have closed.
    fn receive(&mut self, key: usize, peer_closed: bool, worker: &mut Worker) {
        for _ in 0..RECEIVES_MAX {
            if worker.input(key) != Input::Now {
                return;
            }
            if worker.turn_is_full() {
                return self.again.push(key);
            }
            let Some(mut socket) = worker.socket(key) else { return };
            match socket.read(&mut self.buffer) {
                Ok(0) => {
                    return worker.ended(key);
                }
                Ok(length) => {
                    worker.received(key, &mut self.buffer[..length]);
                    if length < self.buffer.len() && !peer_closed {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return worker.failed(key),
            }
        }
        self.served.push(key);
    }
}

impl Driver for Epoll {
    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let own = match self.accepting {
            _ if !self.again.is_empty() => Some(Duration::ZERO),
            Accepting::Ready => Some(Duration::ZERO),
            Accepting::After(at) => Some(at.saturating_duration_since(Instant::now())),
            Accepting::Idle => None,
        };
        let timeout = timeout.into_iter().chain(own).min();
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {
                self.events.clear();
                Ok(())
            }
            result => result,
        }
    }

    fn dispatch(&mut self, worker: &mut Worker) {
        for key in std::mem::take(&mut self.again) {
            // The event that said whether the peer has closed is gone.
            self.receive(key, true, worker);
        }
        // Moved out for the loop, as each event needs the rest of the driver; an empty list allocates nothing.
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        for event in &events {
            match event.token() {
                LISTENER if self.accepting == Accepting::Idle => self.accepting = Accepting::Ready,
                // What waits is remembered already.
                LISTENER => {}
                WAKER => {}
                Token(key) => {
                    if event.is_writable() {
                        worker.writable(key);
                    }
                    if event.is_readable() || event.is_read_closed() || event.is_error() {
                        self.receive(key, event.is_read_closed() || event.is_error(), worker);
                    }
                }
            }
        }
        self.events = events;
        let ready = match self.accepting {
            Accepting::Idle => false,
            Accepting::Ready => true,
            Accepting::After(at) => at <= Instant::now(),
        };
        if ready {
            self.accept(worker);
        }
        self.again.append(&mut self.served);
    }

    fn watch_writable(&mut self, key: usize, socket: &TcpStream) -> io::Result<()> {
        // A modified registration reports at once where the socket has become writable since.
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().reregister(&mut SourceFd(&socket.as_raw_fd()), Token(key), interest)
    }

    fn pause(&mut self, _: usize) {
        // The worker is asked before each receive.
    }

    fn resume(&mut self, key: usize) {
        self.again.push(key);
    }

    fn forget(&mut self, _: usize, socket: TcpStream) {
        // The kernel forgets it with its last descriptor.
        drop(socket);
    }

    fn stop_accepting(&mut self) {
        self.listener = None;
        self.accepting = Accepting::Idle;
    }
}
