//! What is queued for a connection is written, and who cannot take it all is relieved of some.

use std::{io, os::fd::AsFd, time::Duration};

use super::Worker;
use crate::{
    config::SlowPolicy,
    connection::Ending,
    context::Context,
    deadlines::Deadline,
    driver::{Driver, Outgoing},
    outbox::{self, Queued},
    session::Session,
};

impl Worker {
    /// Writes what is queued for all of these, each once, and draws the consequences. To write to all subscribers of a large channel takes long;
    /// so that nobody waits for that, what comes meanwhile is answered in between.
    pub(super) fn write_all<D: Driver>(&mut self, keys: &[usize], driver: &mut D) -> io::Result<()> {
        let mut parts = keys.chunks(D::WRITES_A_LOOK).peekable();
        let mut answered = 0;
        while let Some(part) = parts.next() {
            self.write_some(part, driver)?;
            // Those who come do not keep the others waiting for more than as long again.
            if parts.peek().is_some() && answered < keys.len() {
                driver.wait(Some(Duration::ZERO))?;
                driver.dispatch(self);
                self.context.accept_all();
                let came = std::mem::take(&mut self.touched);
                self.write_some(&came, driver)?;
                answered += came.len();
            }
        }
        Ok(())
    }

    fn write_some<D: Driver>(&mut self, keys: &[usize], driver: &mut D) -> io::Result<()> {
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
}
