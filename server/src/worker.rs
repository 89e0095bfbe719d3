//! One worker: a thread that owns its connections and does everything for them, one turn at a time.
//!
//! ```text
//! wait ─► dispatch: accepted, received, writable, gone ─► mail ─► deadlines ─► deliveries
//!      ─► end of turn: all accept values hashed together, then every connection with something queued is written to once;
//!         where these are many, what comes meanwhile is dispatched and answered in between
//! ```
//!
//! Nothing in here blocks but the wait, and everything is decided by the time of the turn, which [`run`] reads from the clock.

mod delivering;
mod writing;

use std::{
    io,
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use slab::Slab;

use crate::{
    config::Config,
    connection::{Connection, Ending},
    context::Context,
    deadlines::{Deadline, Deadlines},
    driver::Driver,
    hub::{ClientOrder, Mail, Mailbox, PRESENCE_BYTES},
    session::{Disconnect, Session},
};

/// How often connections are closed while the server goes away.
const SHUTDOWN_TICK: Duration = Duration::from_millis(10);

/// Connections for which a worker has address space from the start, so that up to there none is copied as they become more. Memory it takes only
/// page by page, where they are.
const CONNECTIONS_RESERVED: usize = 1 << 17;

/// Connections of the whole process, against its limit, which workers that accept at the same moment may pass by one each.
pub struct Room {
    connections: AtomicUsize,
    connections_max: usize,
}

impl Room {
    /// Room for so many connections.
    pub fn new(connections_max: usize) -> Room {
        Room { connections: AtomicUsize::new(0), connections_max }
    }
}

/// When a connection is to be received from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// At once.
    Now,
    /// When it is resumed.
    Later,
    /// It is gone, or only written to until it is.
    Never,
}

/// See the module. A driver calls [`accepted`](Worker::accepted), [`received`](Worker::received), [`writable`](Worker::writable),
/// [`ended`](Worker::ended) and [`failed`](Worker::failed); keys stay valid until the turn's end, even of connections that are gone.
pub struct Worker {
    connections: Slab<Connection>,
    context: Context,
    deadlines: Deadlines,
    mailbox: Arc<Mailbox>,
    room: Arc<Room>,
    /// Connections to be looked at when the turn ends.
    touched: Vec<usize>,
    /// Connections to be dropped when the turn ends.
    gone: Vec<usize>,
    /// The mail of this turn.
    mail: Vec<Mail>,
    outbox_bytes_max: usize,
    shutdown_window: Duration,
    shutdown: Option<Shutdown>,
}

/// The closing of all connections, spread over a time so that their clients do not come back all at once.
struct Shutdown {
    began_ms: u32,
    keys: Vec<usize>,
    total: usize,
}

/// Runs the worker until it is told to end and its last connection is gone.
///
/// # Errors
/// The driver's.
pub fn run(mut worker: Worker, driver: &mut impl Driver) -> io::Result<()> {
    let began = Instant::now();
    while !worker.is_done() {
        let now_ms = began.elapsed().as_millis() as u32;
        let timeout = if worker.mailbox.may_sleep() { worker.timeout(now_ms) } else { Some(Duration::ZERO) };
        driver.wait(timeout)?;
        worker.mailbox.awake();
        worker.set_time(Instant::now(), began);
        driver.dispatch(&mut worker);
        worker.end_turn(driver)?;
    }
    Ok(())
}

impl Worker {
    /// A worker without connections.
    pub fn new(config: &Config, context: Context, mailbox: Arc<Mailbox>, room: Arc<Room>) -> Worker {
        let timeouts = &config.timeouts;
        Worker {
            connections: Slab::with_capacity(room.connections_max.min(CONNECTIONS_RESERVED)),
            context,
            deadlines: Deadlines::new([timeouts.handshake, timeouts.ping_interval, timeouts.pong, timeouts.message, timeouts.close]),
            mailbox,
            room,
            touched: Vec::new(),
            gone: Vec::new(),
            mail: Vec::new(),
            outbox_bytes_max: config.limits.outbox_bytes_max,
            shutdown_window: timeouts.shutdown_window,
            shutdown: None,
        }
    }

    /// The time of the turn.
    pub fn set_time(&mut self, now: Instant, began: Instant) {
        (self.context.now, self.context.now_ms) = (now, now.duration_since(began).as_millis() as u32);
    }

    /// Whether so many more connections may be accepted.
    pub fn has_room(&self, connections: usize) -> bool {
        self.room.connections.load(Relaxed).saturating_add(connections) <= self.room.connections_max
    }

    /// A connection was accepted; its socket does not block. Returns its key.
    pub fn accepted(&mut self, socket: TcpStream) -> usize {
        self.room.connections.fetch_add(1, Relaxed);
        self.context.metrics.accepted.add(1);
        let key = self.connections.insert(Connection::new(socket));
        self.deadlines.set(&mut self.connections, key, Deadline::Request, self.context.now_ms);
        key
    }

    /// The socket of a connection that is not gone.
    pub fn socket(&self, key: usize) -> Option<&TcpStream> {
        self.connections.get(key).map(|connection| &connection.socket)
    }

    /// Whether anything is to be received from this connection.
    pub fn input(&self, key: usize) -> Input {
        match self.connections.get(key) {
            None | Some(Connection { ending: Ending::Close, .. }) => Input::Never,
            Some(connection) if connection.paused => Input::Later,
            Some(_) => Input::Now,
        }
    }

    /// Whether enough has been received in this turn. What is left is to be received in the next.
    pub fn turn_is_full(&self) -> bool {
        self.context.queue.is_full()
    }

    /// Bytes were received; they may be changed.
    pub fn received(&mut self, key: usize, bytes: &mut [u8]) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let deadline = connection.received(key, bytes, &mut self.context);
        // A connection that is to close gets no more time, whatever the peer still sends.
        let closing = connection.link.is(Deadline::Close);
        if let Some(deadline) = deadline.filter(|_| !closing) {
            self.deadlines.set(&mut self.connections, key, deadline, self.context.now_ms);
        }
        self.touch(key);
    }

    /// The kernel takes bytes again.
    pub fn writable(&mut self, key: usize) {
        if let Some(connection) = self.connections.get_mut(key)
            && std::mem::take(&mut connection.blocked)
        {
            self.touch(key);
        }
    }

    /// The peer closed its side.
    pub fn ended(&mut self, key: usize) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.ended();
        self.deadlines.set(&mut self.connections, key, Deadline::Close, self.context.now_ms);
        self.touch(key);
    }

    /// The socket failed.
    pub fn failed(&mut self, key: usize) {
        self.gone.push(key);
    }

    fn is_done(&self) -> bool {
        self.shutdown.as_ref().is_some_and(|shutdown| shutdown.keys.is_empty()) && self.connections.is_empty()
    }

    /// How long nothing is to be done.
    fn timeout(&self, now_ms: u32) -> Option<Duration> {
        let delivery = self.context.subscribers.next_due_ms().map(|due_ms| (due_ms.wrapping_sub(now_ms) as i32).max(0) as u64);
        let shutdown = self.shutdown.as_ref().filter(|shutdown| !shutdown.keys.is_empty()).map(|_| SHUTDOWN_TICK);
        let deadline = self.deadlines.next(&self.connections, now_ms);
        [delivery.map(Duration::from_millis), shutdown, deadline].into_iter().flatten().min()
    }

    fn touch(&mut self, key: usize) {
        let connection = &mut self.connections[key];
        if !std::mem::replace(&mut connection.touched, true) {
            self.touched.push(key);
        }
    }

    fn end_turn(&mut self, driver: &mut impl Driver) -> io::Result<()> {
        self.take_mail(driver);
        while let Some((key, kind)) = self.deadlines.pop_due(&mut self.connections, self.context.now_ms) {
            match self.connections[key].expired(key, kind, &mut self.context) {
                Some(next) => {
                    self.deadlines.set(&mut self.connections, key, next, self.context.now_ms);
                    self.touch(key);
                }
                None => self.gone.push(key),
            }
        }
        self.close_some();
        let delivered = self.deliver();
        self.tell_positions();
        self.context.accept_all();
        // The lists are put back empty, so that a turn needs no memory of its own.
        let mut touched = std::mem::take(&mut self.touched);
        let result = self.write_all(&touched, driver);
        touched.clear();
        self.touched = touched;
        self.context.trim();
        let mut gone = std::mem::take(&mut self.gone);
        gone.drain(..).for_each(|key| self.remove(key, driver));
        self.gone = gone;
        if !delivered.is_empty() {
            let now = Instant::now();
            delivered.iter().for_each(|published| self.context.metrics.delivery.observe(now.saturating_duration_since(*published)));
        }
        result
    }

    fn take_mail(&mut self, driver: &mut impl Driver) {
        let mut mail = std::mem::take(&mut self.mail);
        self.mailbox.take(&mut mail);
        for mail in mail.drain(..) {
            match mail {
                Mail::Publication(channel, local, publication) => {
                    self.context.subscribers.arrived(&channel, local, &publication, self.context.now_ms);
                }
                Mail::Presence { channel, local, info, comes } => {
                    self.tell_presence(&channel, local, &info, comes);
                    self.mailbox.release(PRESENCE_BYTES);
                }
                Mail::Clients(order) => self.obey(&order),
                Mail::Shutdown => {
                    driver.stop_accepting();
                    self.context.shutting_down = true;
                    let keys: Vec<usize> = self.connections.iter().map(|(key, _)| key).collect();
                    self.shutdown = Some(Shutdown { began_ms: self.context.now_ms, total: keys.len(), keys });
                }
            }
        }
        self.mail = mail;
    }

    /// Closes as many connections as are due while the server goes away.
    fn close_some(&mut self) {
        let Some(shutdown) = &mut self.shutdown else { return };
        let elapsed = self.context.now_ms.wrapping_sub(shutdown.began_ms) as usize;
        let window = self.shutdown_window.as_millis() as usize;
        let left = if elapsed >= window { 0 } else { shutdown.total * (window - elapsed) / window };
        for key in shutdown.keys.split_off(left.min(shutdown.keys.len())) {
            if let Some(connection) = self.connections.get_mut(key) {
                let closing = connection.link.is(Deadline::Close);
                let deadline = connection.go_away(&mut self.context);
                if !closing {
                    self.deadlines.set(&mut self.connections, key, deadline, self.context.now_ms);
                }
                self.touch(key);
            }
        }
    }

    /// Does with the clients of a user what a backend wants.
    fn obey(&mut self, order: &ClientOrder) {
        let keys: Vec<usize> = self.connections.iter().map(|(key, _)| key).collect();
        for key in keys {
            let connection = &mut self.connections[key];
            let Some((session, mut wire)) = connection.session(key, &mut self.context) else { continue };
            if session.user() != Some(&*order.user) {
                continue;
            }
            match (session, &order.unsubscribe) {
                // Without the client protocol a connection has no number of its own.
                (Session::Client(client), _) if !order.client.is_empty() && *client.info().client != *order.client => continue,
                (Session::Client(client), Some(channel)) => client.unsubscribe_by_server(channel, &mut wire),
                (_, Some(_)) => continue,
                (Session::Client(_), None) => self.disconnect(key, order.reconnect),
                (_, None) if order.client.is_empty() => self.disconnect(key, order.reconnect),
                (_, None) => continue,
            }
            self.touch(key);
        }
    }

    fn disconnect(&mut self, key: usize, reconnect: bool) {
        let disconnect = if reconnect { Disconnect::ForceReconnect } else { Disconnect::ForceNoReconnect };
        self.connections[key].close(&disconnect.close(), &mut self.context);
        // A connection that is open waits for nothing else.
        self.deadlines.set(&mut self.connections, key, Deadline::Close, self.context.now_ms);
    }

    fn remove(&mut self, key: usize, driver: &mut impl Driver) {
        if !self.connections.contains(key) {
            return;
        }
        self.connections[key].end_session(&mut self.context);
        self.deadlines.clear(&mut self.connections, key);
        driver.forget(key, self.connections.remove(key).socket);
        self.room.connections.fetch_sub(1, Relaxed);
        self.context.metrics.closed.add(1);
    }
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod watching;
