//! One worker: a thread that owns its connections and does everything for them, one turn at a time.
//!
//! ```text
//! wait ─► dispatch: accepted, received, writable, gone ─► mail ─► deadlines ─► deliveries
//!      ─► end of turn: all accept values hashed together, then every connection with something queued is written to once
//! ```
//!
//! Nothing in here blocks but the wait, and everything is decided by the time of the turn, which [`run`] reads from the clock.

use std::{
    io,
    net::TcpStream,
    os::fd::AsFd,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use slab::Slab;

use crate::{
    config::{Config, SlowPolicy},
    connection::{Connection, Ending},
    context::Context,
    deadlines::{Deadline, Deadlines},
    driver::{Driver, Outgoing},
    hub::{Channel, ClientInfo, ClientOrder, Form, Mail, Mailbox, PRESENCE_BYTES},
    outbox::{self, Queued, Shared},
    session::{Disconnect, Session},
};

/// How often connections are closed while the server goes away.
const SHUTDOWN_TICK: Duration = Duration::from_millis(10);

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
            connections: Slab::new(),
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

    /// Tells the subscribers of a channel that want to know who comes or goes.
    fn tell_presence(&mut self, channel: &Arc<Channel>, local: u32, info: &ClientInfo, comes: bool) {
        let Context { subscribers, queue, encoder, .. } = &mut self.context;
        let mut frames: Vec<(Form, Rc<Shared>)> = Vec::new();
        let mut touched = Vec::new();
        subscribers.each(channel, local, |subscriber| {
            let connection = &mut self.connections[subscriber.connection as usize];
            if !subscriber.join_leave || subscriber.is_behind() || !connection.is_open() {
                return;
            }
            let frame = shared_frame(&mut frames, subscriber.form, || subscriber.form.presence(channel, info, comes, encoder));
            queue.shared(&mut connection.queued, frame, subscriber.subscription);
            touched.push(subscriber.connection as usize);
        });
        touched.into_iter().for_each(|key| self.touch(key));
    }

    /// Tells the subscribers of quiet channels that nothing was lost.
    fn tell_positions(&mut self) {
        let Context { subscribers, queue, encoder, now, now_ms, .. } = &mut self.context;
        let mut frames: (u64, Vec<(Form, Rc<Shared>)>) = Default::default();
        subscribers.heartbeats(*now, *now_ms, |channel, position, subscriber| {
            let connection = &mut self.connections[subscriber.connection as usize];
            if subscriber.is_behind() || !connection.is_open() {
                return;
            }
            // They come channel by channel.
            if frames.0 != channel.id() {
                frames = (channel.id(), Vec::new());
            }
            let frame = shared_frame(&mut frames.1, subscriber.form, || subscriber.form.position(channel, position, encoder));
            queue.shared(&mut connection.queued, frame, subscriber.subscription);
            if !std::mem::replace(&mut connection.touched, true) {
                self.touched.push(subscriber.connection as usize);
            }
        });
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

    /// Queues every delivery that is due for its subscribers. Returns when each publication was published.
    fn deliver(&mut self) -> Vec<Instant> {
        let mut delivered = Vec::new();
        let Context { subscribers, queue, encoder, metrics, now_ms, .. } = &mut self.context;
        while let Some(mut delivery) = subscribers.next_delivery(*now_ms) {
            let (mut deliveries, mut conflated) = (0, 0);
            for subscriber in subscribers.subscribers(&delivery) {
                let key = subscriber.connection as usize;
                let connection = &mut self.connections[key];
                if subscriber.is_behind() {
                    conflated += delivery.publications.len();
                } else if connection.is_open() {
                    let (queued, subscription) = (&mut connection.queued, subscriber.subscription);
                    deliveries += delivery.to(subscriber, encoder, |shared| queue.shared(queued, shared, subscription));
                    if !std::mem::replace(&mut connection.touched, true) {
                        self.touched.push(key);
                    }
                }
            }
            metrics.deliveries.add(deliveries as u64);
            metrics.conflated.add(conflated as u64);
            subscribers.delivered(&delivery);
            delivered.extend(delivery.publications.iter().map(|publication| publication.published()));
        }
        delivered
    }

    /// Writes what is queued for all of these, each once, and draws the consequences.
    fn write_all<D: Driver>(&mut self, keys: &[usize], driver: &mut D) -> io::Result<()> {
        for keys in keys.chunks(D::SENDS_AT_ONCE) {
            if let [key] = *keys {
                self.write(key, None, driver);
            } else {
                let results = self.send(keys, driver)?;
                keys.iter().zip(results).for_each(|(&key, sent)| self.write(key, sent, driver));
            }
        }
        Ok(())
    }

    /// Sends what is queued for these connections, where nothing older waits, by one call.
    fn send(&self, keys: &[usize], driver: &mut impl Driver) -> io::Result<Vec<Option<io::Result<usize>>>> {
        let mut slices = Vec::with_capacity(keys.len());
        let mut slice_ranges = Vec::with_capacity(keys.len());
        for &key in keys {
            let (connection, start) = (&self.connections[key], slices.len());
            if connection.backlog.is_none() {
                self.context.queue.gather(connection.queued, &mut slices);
            }
            slice_ranges.push(start..slices.len());
        }
        let outgoing = |(&key, range)| Outgoing { socket: self.connections[key].socket.as_fd(), slices: &slices[range], result: None };
        let mut sends: Vec<_> = keys.iter().zip(slice_ranges).map(outgoing).collect();
        driver.send(&mut sends)?;
        Ok(sends.into_iter().map(|send| send.result).collect())
    }

    /// Writes what is queued for a connection and draws the consequences, until nothing more comes of it. The first call may have been made: it
    /// `sent` so many bytes.
    fn write(&mut self, key: usize, mut sent: Option<io::Result<usize>>, driver: &mut impl Driver) {
        while self.write_once(key, sent.take(), driver) {}
    }

    /// As [`write`](Worker::write); whether there is more to be written.
    fn write_once(&mut self, key: usize, sent: Option<io::Result<usize>>, driver: &mut impl Driver) -> bool {
        let connection = &mut self.connections[key];
        connection.touched = false;
        let queued = std::mem::replace(&mut connection.queued, Queued::NOTHING);
        let had_backlog = connection.backlog.is_some();
        let mut progress = false;
        if connection.blocked {
            if let Some(backlog) = &mut connection.backlog {
                outbox::hold(backlog, &self.context.queue, queued);
            }
        } else {
            match outbox::write(&mut &connection.socket, &mut connection.backlog, &self.context.queue, queued, sent) {
                Ok(written) => {
                    self.context.metrics.bytes_out.add(written.bytes as u64);
                    self.context.metrics.sends.add(written.sends as u64);
                    progress = written.bytes > 0;
                    if written.blocked {
                        connection.blocked = true;
                        if driver.watch_writable(key, &connection.socket).is_err() {
                            self.gone.push(key);
                            return false;
                        }
                    }
                }
                Err(_) => {
                    self.gone.push(key);
                    return false;
                }
            }
        }
        let more = match &connection.backlog {
            Some(backlog) if backlog.bytes() > self.outbox_bytes_max.min(connection.slow_bytes_max as usize) => {
                self.relieve(key, driver);
                false
            }
            Some(_) => false,
            None => self.caught_up(key, driver),
        };
        // A slow reader has not seen a ping that waits behind its backlog; that it takes bytes shows that it lives.
        if had_backlog && progress && self.connections[key].link.is(Deadline::Pong) {
            self.deadlines.set(&mut self.connections, key, Deadline::Pong, self.context.now_ms);
        }
        more
    }

    /// More waits for the connection than may: its subscriptions are relieved, each by its channel's policy, and where that does not help nothing
    /// more is received.
    fn relieve(&mut self, key: usize, driver: &mut impl Driver) {
        let connection = &mut self.connections[key];
        let Some(backlog) = &mut connection.backlog else { return };
        let bytes_max = self.outbox_bytes_max.min(connection.slow_bytes_max as usize);
        let subscribers = &mut self.context.subscribers;
        let behind = connection.behind.get_or_insert_default();
        let (mut conflated, mut is_slow) = (0, false);
        backlog.drop_shared(|subscription, shared, _| {
            let Some((subscriber, policy)) = subscribers.slow(subscription, key) else { return true };
            if policy != SlowPolicy::Conflate {
                return false;
            }
            if subscriber.fall_behind() {
                behind.push_back(subscription);
            }
            subscriber.after = subscriber.after.min(shared.first().saturating_sub(1));
            conflated += shared.publications();
            true
        });
        // Nothing is lost to the other subscriptions where it was only the conflating ones that took the room, or what the client itself asked for.
        let own_bytes = backlog.own_bytes();
        if backlog.bytes() > bytes_max + own_bytes {
            backlog.drop_shared(|subscription, shared, bytes| {
                match subscribers.slow(subscription, key) {
                    Some((_, SlowPolicy::Disconnect)) => is_slow = true,
                    // Half of the room is made, so that not every turn ends here.
                    Some((_, SlowPolicy::DropOldest)) if bytes > bytes_max / 2 + own_bytes => {}
                    _ => return false,
                }
                conflated += shared.publications();
                true
            });
        }
        self.context.metrics.conflated.add(conflated as u64);
        let paused = backlog.bytes() > self.outbox_bytes_max;
        match (std::mem::replace(&mut connection.paused, paused), paused) {
            (false, true) => driver.pause(key),
            (true, false) => driver.resume(key),
            _ => {}
        }
        if is_slow {
            connection.close(&Session::slow(), &mut self.context);
            let queued = std::mem::replace(&mut connection.queued, Queued::NOTHING);
            if let Some(backlog) = &mut connection.backlog {
                outbox::hold(backlog, &self.context.queue, queued);
            }
            self.deadlines.set(&mut self.connections, key, Deadline::Close, self.context.now_ms);
        }
    }

    /// Everything that was queued for the connection is written. Whether more is queued now.
    fn caught_up(&mut self, key: usize, driver: &mut impl Driver) -> bool {
        let stays = match self.connections[key].ending {
            Ending::No => true,
            Ending::Linger => {
                self.connections[key].end_session(&mut self.context);
                self.connections[key].linger()
            }
            Ending::Close => false,
        };
        if !stays {
            self.gone.push(key);
            return false;
        }
        let connection = &mut self.connections[key];
        if std::mem::take(&mut connection.paused) {
            driver.resume(key);
        }
        // Nothing may follow a close frame.
        let is_open = connection.is_open();
        let Some(behind) = connection.behind.as_mut().filter(|behind| is_open && !behind.is_empty()) else { return false };
        let Context { subscribers, queue, encoder, metrics, .. } = &mut self.context;
        let bytes_enough = self.outbox_bytes_max.min(connection.slow_bytes_max as usize) / 2;
        let mut bytes = 0;
        while bytes < bytes_enough
            && let Some(subscription) = behind.pop_front()
        {
            bytes += subscribers.catch_up(subscription, key, encoder, |shared| {
                queue.shared(&mut connection.queued, shared, subscription);
                metrics.deliveries.add(1);
            });
        }
        if behind.is_empty() {
            connection.behind = None;
        }
        connection.queued != Queued::NOTHING
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

/// The frame in a form, of which there are few, made where it is not there.
fn shared_frame(frames: &mut Vec<(Form, Rc<Shared>)>, form: Form, make: impl FnOnce() -> Arc<[u8]>) -> &Rc<Shared> {
    let known = frames.iter().position(|(known, _)| *known == form).unwrap_or_else(|| {
        frames.push((form, Rc::new(Shared::new(make(), u64::MAX, 0))));
        frames.len() - 1
    });
    &frames[known].1
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod watching;
