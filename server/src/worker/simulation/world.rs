//! What happens: publishers, clients that come and go, time that passes; and what must hold of the server's memory.

use std::collections::BTreeMap;

use super::{
    client::{Client, Kind},
    model::{Channel, Entry},
    random::Random,
    settings::config,
};
use crate::{
    auth::Verifier,
    hub::{Hub, HubError, Message},
    metrics::Metrics,
    outbox::Queued,
    worker::{watching::Watching, *},
};

/// Bytes that may wait for a connection.
pub const LIMIT: usize = 4096;
const MAILBOX_BYTES_MAX: usize = 48 << 10;
pub const WORKERS: usize = 2;
const CLIENTS: usize = 6;
const KEYS: usize = 4;
pub const CHANNELS: [&str; 8] = ["plain", "plain:2", "keyed:a", "keyed:b", "late:c", "chat:c", "feed:c", "old:c"];
/// More than any one publication is in any form, with the piece of a burst that has begun to be sent.
const ONE_TURN: usize = 40 << 10;

/// See the module.
pub struct World {
    pub random: Random,
    hub: Arc<Hub>,
    pub workers: Vec<(Worker, Watching)>,
    room: Arc<Room>,
    pub began: Instant,
    pub now_ms: u64,
    pub channels: Vec<Channel>,
    /// The channel and the offset of each publication, by its serial number.
    pub serials: Vec<(usize, u64)>,
    pub clients: [Option<Client>; CLIENTS],
    /// Where each client last stood in a channel.
    pub remembered: BTreeMap<(usize, usize), (u64, String)>,
}

impl World {
    pub fn new(seed: u64) -> World {
        let config = config();
        let mailboxes: Vec<_> = (0..WORKERS).map(|_| Arc::new(Mailbox::new(MAILBOX_BYTES_MAX))).collect();
        let hub = Arc::new(Hub::new(config.hub.clone(), mailboxes.clone()));
        let verifier = Arc::new(Verifier::new(&config.auth).unwrap());
        let room = Arc::new(Room::new(100));
        let worker = |(number, mailbox)| {
            let context = Context::new(config, number, &hub, &verifier, Arc::<Metrics>::default(), &[]);
            (Worker::new(config, context, mailbox, Arc::clone(&room)), Watching::default())
        };
        let workers = mailboxes.into_iter().enumerate().map(worker).collect();
        let channels = CHANNELS.map(|name| Channel { name: name.into(), options: Arc::clone(hub.options(name)), lives: Vec::new() }).into();
        let mut random = Random::new(seed);
        // Some episodes pass the end of the milliseconds that have 32 bits.
        let now_ms = if random.below(4) == 0 { u64::from(u32::MAX) - random.below(5000) as u64 } else { random.below(1000) as u64 };
        World {
            random,
            hub,
            workers,
            room,
            began: Instant::now(),
            now_ms,
            channels,
            serials: Vec::new(),
            clients: [const { None }; CLIENTS],
            remembered: BTreeMap::new(),
        }
    }

    /// Runs an episode to its end; returns how many steps that was.
    pub fn run(mut self) -> u64 {
        let steps = 200 + self.random.below(2000);
        (0..WORKERS).for_each(|worker| self.turn(worker));
        for _ in 0..steps {
            self.step();
        }
        self.settle();
        self.end();
        steps as u64
    }

    pub fn one_in(&mut self, chances: usize) -> bool {
        self.random.below(chances) == 0
    }

    pub fn now(&self) -> Instant {
        self.began + Duration::from_millis(self.now_ms)
    }

    fn step(&mut self) {
        let slot = self.random.below(CLIENTS);
        match self.random.below(100) {
            0..35 => self.burst(),
            35..65 => {
                self.now_ms += [0, 0, 1, 3, 7, 15][self.random.below(6)];
                let worker = self.random.below(WORKERS);
                self.turn(worker);
            }
            65..80 => {
                let bytes = [10, 300, 3000, 30_000, usize::MAX][self.random.below(5)];
                self.read(slot, bytes);
            }
            80..91 if self.clients[slot].is_none() => self.connect(slot),
            80..87 => self.subscribe(slot),
            87..89 => self.unsubscribe(slot),
            89..91 => self.change_rate(slot),
            91..93 => self.cut(slot),
            93..95 => self.now_ms += self.random.below(400) as u64,
            // Long enough to forget, or only just not.
            95 if self.one_in(2) => self.pass_a_ttl(),
            95 => self.hub.sweep(self.now()),
            _ => {
                if let Some(client) = &mut self.clients[slot] {
                    client.is_fast = !client.is_fast;
                    client.was_prompt = false;
                }
            }
        }
    }

    /// Lets pass as much time as is long enough to forget what has just been published, or only just not.
    fn pass_a_ttl(&mut self) {
        let at = self.random.below(CHANNELS.len());
        self.publish(at);
        self.now_ms += [1000, 1001, 2000, 2001, 3000, 3001][self.random.below(6)];
        for _ in 0..3 {
            (0..CLIENTS).for_each(|slot| self.subscribe(slot));
        }
    }

    fn burst(&mut self) {
        let channel = self.random.below(CHANNELS.len());
        let count = if self.one_in(6) { 2 + self.random.below(8) } else { 1 };
        (0..count).for_each(|_| self.publish(channel));
    }

    fn publish(&mut self, at: usize) {
        let options = Arc::clone(&self.channels[at].options);
        let key = if options.keys_max > 0 && !self.one_in(8) { format!("k{}", self.random.below(KEYS)) } else { String::new() };
        let padding = if self.one_in(12) { 1000 + self.random.below(5000) } else { self.random.below(120) };
        let payload = format!("{{\"n\":{},\"k\":\"{key}\",\"x\":\"{}\"}}", self.serials.len(), "abcdefgh".repeat(1 + padding / 8));
        let message = Message { key: key.as_str().into(), ..Message::new(fantail_codec::Kind::Text, payload.as_bytes()) };
        let (by_backend, in_history) = (!self.one_in(4), !self.one_in(20));
        let (name, now) = (CHANNELS[at], self.now());
        let result = match by_backend {
            true => self.hub.publish(name, message, !in_history, now),
            false => self.hub.publish_as_client(name, message, now),
        };
        let is_full = (0..WORKERS).any(|worker| self.hub.mailbox(worker as u16).bytes() >= MAILBOX_BYTES_MAX);
        let has_subscribers = self.has_subscribers(at);
        let channel = &mut self.channels[at];
        let position = match result {
            Ok(position) => position,
            Err(HubError::Overloaded) => return assert!(is_full, "refused without need"),
            Err(error) => {
                assert_eq!(error, HubError::Keys);
                let newest = channel.life().1.newest();
                assert_eq!(newest.len(), options.keys_max);
                return assert!(newest.iter().all(|&offset| channel.life().1.entry(offset).key != key));
            }
        };
        channel.stands_at(position, 1, has_subscribers, self.now_ms);
        let bytes = 2 * payload.len() + 500;
        let life = channel.lives.last_mut().unwrap();
        life.by_backend |= by_backend;
        life.log.push(Entry { payload, key, in_history: in_history || !by_backend, at_ms: self.now_ms });
        assert!(options.keys_max == 0 || life.newest().len() <= options.keys_max + 1);
        self.serials.push((at, position.offset));
        self.clients.iter_mut().flatten().filter(|client| client.subscribed.contains(&at)).for_each(|client| client.expect_bytes(bytes));
    }

    pub fn has_subscribers(&self, channel: usize) -> bool {
        self.clients.iter().flatten().any(|client| client.key.is_some() && client.subscribed.contains(&channel))
    }

    pub fn bytes_of(&self, channel: usize, offsets: &[u64]) -> usize {
        let life = self.channels[channel].life().1;
        offsets.iter().map(|&offset| 2 * life.entry(offset).payload.len() + 500).sum()
    }

    /// Somebody has just subscribed: where does the channel stand?
    pub fn joined(&mut self, channel: usize) {
        let position = self.hub.find(CHANNELS[channel]).expect("a channel with a subscriber").position();
        let (has_subscribers, now_ms) = (self.has_subscribers(channel), self.now_ms);
        self.channels[channel].stands_at(position, 0, has_subscribers, now_ms);
    }

    fn turn(&mut self, at: usize) {
        let now = self.now();
        let (worker, driver) = &mut self.workers[at];
        worker.set_time(now, self.began);
        for client in self.clients.iter_mut().flatten().filter(|client| client.worker == at && client.has_read) {
            if let Some(watched) = driver.watched.iter().position(|&watched| Some(watched) == client.key) {
                client.has_read = false;
                worker.writable(driver.watched.swap_remove(watched));
            }
        }
        worker.end_turn(driver).unwrap();
        for key in driver.forgotten.drain(..) {
            let gone = self.clients.iter_mut().flatten().filter(|client| client.worker == at && client.key == Some(key));
            gone.for_each(|client| client.key = None);
        }
        for (key, connection) in &worker.connections {
            let waiting = connection.backlog.as_ref().map_or(0, |backlog| backlog.bytes());
            assert!(waiting <= LIMIT + ONE_TURN, "{waiting} bytes wait for connection {key}");
            assert_eq!(connection.queued, Queued::NOTHING);
        }
        let bytes = self.hub.mailbox(at as u16).bytes();
        assert!(bytes <= 4 * MAILBOX_BYTES_MAX, "{bytes} bytes in a mailbox");
        // Who went at the end of the turn is told of in the next.
        if worker.context.subscribers.next_due_ms().is_none() && worker.mailbox.may_sleep() {
            assert_eq!(bytes, 0, "everything is delivered");
        }
        for slot in 0..CLIENTS {
            let Some(client) = self.clients[slot].as_mut().filter(|client| client.worker == at && client.is_fast) else { continue };
            let is_prompt = client.key.is_some_and(|key| self.workers[at].0.connections[key].backlog.is_none());
            let was_prompt = std::mem::replace(&mut client.was_prompt, is_prompt);
            client.now_ms = (is_prompt && was_prompt).then_some(self.now_ms as u32);
            self.read(slot, usize::MAX);
            if let Some(client) = &mut self.clients[slot] {
                client.now_ms = None;
            }
        }
    }

    /// Nothing more is published, and everybody reads.
    fn settle(&mut self) {
        // Who has ended, and cannot be written to, is gone by then.
        self.now_ms += 6000;
        for pass in 0..400 {
            self.now_ms += if pass % 8 == 0 { 1000 } else { 10 };
            for worker in 0..WORKERS {
                self.turn(worker);
            }
            (0..CLIENTS).for_each(|slot| self.read(slot, usize::MAX));
            if pass > 16 && self.clients.iter().flatten().all(|client| client.has_everything(&self.channels)) {
                break;
            }
        }
        for client in self.clients.iter().flatten() {
            client.check_end(&self.channels);
        }
        for (channel, name) in self.channels.iter().zip(CHANNELS).filter(|(channel, _)| channel.options.presence) {
            let at = CHANNELS.iter().position(|known| *known == name).unwrap();
            let here = |client: &&Client| client.session == Kind::Client && client.subscribed.contains(&at);
            let expected = self.clients.iter().flatten().filter(here).count();
            assert_eq!(self.hub.find(name).map_or(0, |found| found.present().len()), expected, "present in {}", channel.name);
        }
    }

    /// Everybody goes, and everything with them.
    fn end(mut self) {
        (0..CLIENTS).for_each(|slot| self.cut(slot));
        for _ in 0..3 {
            self.now_ms += 10_000;
            (0..WORKERS).for_each(|worker| self.turn(worker));
        }
        for (at, (worker, _)) in self.workers.iter().enumerate() {
            assert_eq!((worker.connections.len(), worker.context.subscribers.sizes()), (0, [0; 3]));
            assert_eq!((self.hub.mailbox(at as u16).bytes(), worker.timeout(worker.context.now_ms)), (0, None));
        }
        assert_eq!(self.room.connections.load(Relaxed), 0);
        self.hub.sweep(self.now() + Duration::from_secs(3600));
        let stays = |channel: &&Channel| channel.options.value_ttl.is_zero() && channel.lives.last().is_some_and(|life| life.by_backend);
        assert_eq!(self.hub.channel_count(), self.channels.iter().filter(stays).count(), "channels that remember anything");
    }
}
