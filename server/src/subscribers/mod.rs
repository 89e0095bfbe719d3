//! One worker's view of the channels that its connections subscribe to: who they are, and what has arrived for them and is not delivered.
//!
//! A channel's subscribers are in feeds, one for each rate that somebody asked for. What arrives for a channel waits in each of its feeds
//! until that is due; then [`next_delivery`](Subscribers::next_delivery) gives it out for all subscribers of the feed.

mod delivery;
mod feed;
#[cfg(test)]
mod tests;
mod timers;

use std::{rc::Rc, sync::Arc, time::Instant};

use slab::Slab;

pub use delivery::Delivery;
pub use feed::Subscriber;

use crate::{
    config::{ChannelOptions, SlowPolicy},
    encode::Encoder,
    hub::{Channel, Form, Hub, HubError, Position, Publication, Snapshot, Start},
    outbox::Shared,
};
use feed::{Feed, Pending};
use timers::{Timers, earlier};

/// All channels with subscribers on this worker.
pub struct Subscribers {
    hub: Arc<Hub>,
    worker: u32,
    channels: Slab<LocalChannel>,
    feeds: Slab<Feed>,
    subscriptions: Slab<Subscription>,
    /// Subscriptions so far: their places are others' in time, these are not.
    serial: u32,
    /// Feeds to be delivered.
    timers: Timers,
    /// Those of them that are being delivered.
    due: Vec<u32>,
    /// Channels of whose position subscribers are to be told.
    heartbeats: Timers,
}

/// A channel with subscribers on this worker.
#[derive(Debug)]
struct LocalChannel {
    channel: Arc<Channel>,
    /// Its feeds, linked.
    feeds: u32,
    /// It waits for its next heartbeat.
    beats: bool,
}

/// Where a subscriber is.
#[derive(Clone, Copy, Debug)]
struct Subscription {
    feed: u32,
    position: u32,
}

const NONE: u32 = u32::MAX;

/// What a subscriber wants.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    /// How it takes publications.
    pub form: Form,
    /// Updates a second; 0: every publication.
    pub rate: u32,
    /// What it begins with.
    pub start: Start,
    /// It is to be told who comes and goes.
    pub join_leave: bool,
    /// It is to be told where the channel stands.
    pub positioned: bool,
}

impl Subscribers {
    /// Nobody subscribes to anything.
    pub fn new(hub: Arc<Hub>, worker: usize) -> Subscribers {
        let worker = worker as u32;
        Subscribers {
            hub,
            worker,
            channels: Slab::new(),
            feeds: Slab::new(),
            subscriptions: Slab::new(),
            serial: 0,
            timers: Timers::default(),
            due: Vec::new(),
            heartbeats: Timers::default(),
        }
    }

    /// Subscribes a connection. Returns the subscription and what it begins with, after which it gets every later publication.
    ///
    /// # Errors
    /// [`HubError`]
    pub fn join(&mut self, name: &str, connection: usize, wish: Wish, now: Instant, now_ms: u32) -> Result<(u64, Snapshot), HubError> {
        let vacant = self.channels.vacant_key() as u32;
        let (channel, joined) = self.hub.subscribe(name, self.worker, vacant, wish.start, now)?;
        if joined.local == vacant {
            self.channels.insert(LocalChannel { channel, feeds: NONE, beats: false });
        }
        let snapshot = joined.snapshot;
        // Its place is another's once it has left, but its frames may wait for longer.
        self.serial = self.serial.wrapping_add(1);
        let subscription = key(self.subscriptions.vacant_key() as u32, self.serial);
        let subscriber = Subscriber {
            connection: connection as u32,
            subscription,
            form: wish.form,
            behind: false,
            // The snapshot's last is sent in full.
            has_base: snapshot.publications.last().is_some_and(|last| last.offset() == snapshot.position.offset),
            join_leave: wish.join_leave,
            positioned: wish.positioned,
            after: snapshot.position.offset,
        };
        if wish.positioned {
            self.beat(joined.local, now_ms);
        }
        let (feed, position) = self.enter(joined.local, wish.rate, subscriber);
        self.subscriptions.insert(Subscription { feed, position });
        Ok((subscription, snapshot))
    }

    /// Ends a subscription.
    pub fn leave(&mut self, subscription: u64, now: Instant) {
        let Subscription { feed, position } = self.subscriptions.remove(place(subscription));
        let channel = self.feeds[feed as usize].channel;
        self.exit(feed, position);
        if self.channels[channel as usize].feeds == NONE {
            let local = channel;
            let LocalChannel { channel, beats, .. } = self.channels.remove(local as usize);
            if beats {
                self.heartbeats.remove(local, heartbeat_ms(channel.options()));
            }
            self.hub.unsubscribe(&channel, self.worker, now);
        }
    }

    /// Moves a subscriber to another rate. Whether it is to [`catch_up`](Subscribers::catch_up) now: what waits in the feed that it leaves does not
    /// follow it.
    pub fn change_rate(&mut self, subscription: u64, rate: u32) -> bool {
        let Subscription { feed, position } = self.subscriptions[place(subscription)];
        let Feed { channel, rate: before, subscribers, .. } = &self.feeds[feed as usize];
        if *before == rate {
            return false;
        }
        let (channel, mut subscriber) = (*channel, subscribers[position as usize]);
        let catches_up = !std::mem::replace(&mut subscriber.behind, true);
        let (feed, position) = self.enter(channel, rate, subscriber);
        let before = std::mem::replace(&mut self.subscriptions[place(subscription)], Subscription { feed, position });
        self.exit(before.feed, before.position);
        catches_up
    }

    /// The channel of a subscription.
    pub fn channel(&self, subscription: u64) -> &Arc<Channel> {
        let feed = self.subscriptions[place(subscription)].feed;
        &self.channels[self.feeds[feed as usize].channel as usize].channel
    }

    /// The subscriber of a subscription; `None` where that has ended.
    pub fn subscriber(&mut self, subscription: u64, connection: usize) -> Option<&mut Subscriber> {
        let Subscription { feed, position } = *self.subscriptions.get(place(subscription))?;
        Some(&mut self.feeds[feed as usize].subscribers[position as usize])
            .filter(|found| (found.subscription, found.connection as usize) == (subscription, connection))
    }

    /// The subscriber of a subscription, and what is to become of it where it is slow.
    pub fn slow(&mut self, subscription: u64, connection: usize) -> Option<(&mut Subscriber, SlowPolicy)> {
        let options = self.subscriptions.get(place(subscription)).map(|found| {
            let channel = self.feeds[found.feed as usize].channel;
            self.channels[channel as usize].channel.options()
        });
        let policy = options?.slow;
        let subscriber = self.subscriber(subscription, connection)?;
        // A delta is of no use without what it is based on.
        let takes_deltas = subscriber.form.takes_deltas();
        Some((subscriber, if policy == SlowPolicy::DropOldest && takes_deltas { SlowPolicy::Conflate } else { policy }))
    }

    /// Takes a subscriber back to an offset, from which on it is to catch up.
    pub fn rewind(&mut self, subscription: u64, connection: usize, after: u64) {
        if let Some(subscriber) = self.subscriber(subscription, connection) {
            (subscriber.behind, subscriber.after, subscriber.has_base) = (true, after, false);
        }
    }

    /// Queues what is newest for a subscriber that was behind; returns how many bytes that is.
    pub fn catch_up(&mut self, subscription: u64, connection: usize, encoder: &mut Encoder, mut queue: impl FnMut(&Rc<Shared>)) -> usize {
        // It may have left since, and its number may be another's.
        let Some(subscriber) = self.subscriber(subscription, connection).filter(|subscriber| subscriber.behind) else { return 0 };
        let (after, form) = (subscriber.after, subscriber.form);
        let channel = Arc::clone(self.channel(subscription));
        let newest = channel.newest(after);
        let mut bytes = 0;
        for publication in &newest.publications {
            let frame = publication.frame(&channel, form, None, encoder);
            bytes += frame.len();
            queue(&Rc::new(Shared::new(frame, publication.offset(), 1)));
        }
        if let Some(subscriber) = self.subscriber(subscription, connection) {
            subscriber.behind = false;
            subscriber.after = newest.position.offset;
            subscriber.has_base = newest.publications.last().is_some_and(|last| last.offset() == newest.position.offset);
        }
        bytes
    }

    /// Takes a publication in. It is delivered at the end of this turn, or at the next multiple of the feed's interval.
    pub fn arrived(&mut self, channel: &Arc<Channel>, local: u32, publication: &Arc<Publication>, now_ms: u32) {
        let mailbox = self.hub.mailbox(self.worker);
        // The worker may have left the channel while this was in the mail.
        let found = self.channels.get(local as usize).filter(|found| Arc::ptr_eq(&found.channel, channel));
        let mut next = found.map_or(NONE, |found| found.feeds);
        // In the mail it counted once. From here on it counts in each feed that is to have every publication; the newest the channel holds anyway.
        let mut feeds = 0;
        while next != NONE {
            let feed = &mut self.feeds[next as usize];
            if feed.pending.is_empty() {
                self.timers.add(next, interval_ms(channel.options(), feed.rate), now_ms);
            }
            feed.pending.push(Arc::clone(publication));
            feeds += usize::from(feed.rate == 0);
            next = feed.next;
        }
        match feeds {
            0 => mailbox.release(publication.bytes()),
            _ => mailbox.hold((feeds - 1) * publication.bytes()),
        }
    }

    /// When the next delivery is due, in milliseconds since the worker began, modulo 2³².
    pub fn next_due_ms(&self) -> Option<u32> {
        [self.timers.next_due_ms(), self.heartbeats.next_due_ms()].into_iter().flatten().reduce(earlier)
    }

    /// A delivery that is due now; `None` when all are done. Until then nobody leaves.
    pub fn next_delivery(&mut self, now_ms: u32) -> Option<Delivery> {
        if self.due.is_empty() {
            self.timers.take_due(now_ms, &mut self.due);
        }
        let at = self.due.pop()?;
        let feed = &mut self.feeds[at as usize];
        let publications = feed.pending.take();
        let channel = Arc::clone(&self.channels[feed.channel as usize].channel);
        let last = publications.last().filter(|_| channel.options().delta).cloned();
        let base = std::mem::replace(&mut feed.base, last);
        let counts = feed.rate == 0;
        Some(Delivery::new(at, channel, publications, base, counts))
    }

    /// The subscribers that a delivery goes to.
    pub fn subscribers(&mut self, delivery: &Delivery) -> &mut [Subscriber] {
        &mut self.feeds[delivery.feed as usize].subscribers
    }

    /// The delivery is done; its publications no longer count against the mailbox.
    pub fn delivered(&self, delivery: &Delivery) {
        if delivery.counts {
            self.hub.mailbox(self.worker).release(bytes(&delivery.publications));
        }
    }

    /// Tells of each channel that has been quiet where it stands, and to whom: to subscribers that want to know and to whom nothing is on its way.
    pub fn heartbeats(&mut self, now: Instant, now_ms: u32, mut tell: impl FnMut(&Channel, Position, &Subscriber)) {
        let mut due = Vec::new();
        self.heartbeats.take_due(now_ms, &mut due);
        for local in due {
            let found = &mut self.channels[local as usize];
            found.beats = false;
            let channel = Arc::clone(&found.channel);
            let quiet = channel.quiet_position(now);
            let mut wanted = false;
            self.each(&channel, local, |subscriber| {
                wanted |= subscriber.positioned;
                if let Some(position) = quiet.filter(|position| subscriber.positioned && subscriber.after == position.offset) {
                    tell(&channel, position, subscriber);
                }
            });
            if wanted {
                self.beat(local, now_ms);
            }
        }
    }

    /// A channel's next heartbeat is due after its time.
    fn beat(&mut self, local: u32, now_ms: u32) {
        let found = &mut self.channels[local as usize];
        let interval_ms = heartbeat_ms(found.channel.options());
        if interval_ms > 0 && !std::mem::replace(&mut found.beats, true) {
            self.heartbeats.add(local, interval_ms, now_ms);
        }
    }

    /// Calls `take` for every subscriber of a channel, whatever its feed.
    pub fn each(&mut self, channel: &Arc<Channel>, local: u32, mut take: impl FnMut(&Subscriber)) {
        let found = self.channels.get(local as usize).filter(|found| Arc::ptr_eq(&found.channel, channel));
        let mut next = found.map_or(NONE, |found| found.feeds);
        while next != NONE {
            let feed = &self.feeds[next as usize];
            feed.subscribers.iter().for_each(&mut take);
            next = feed.next;
        }
    }

    /// How many channels, feeds and subscriptions there are.
    #[cfg(test)]
    pub(crate) fn sizes(&self) -> [usize; 3] {
        [self.channels.len(), self.feeds.len(), self.subscriptions.len()]
    }

    /// Adds a subscriber to the feed of this rate; returns the feed and the place in it.
    fn enter(&mut self, channel: u32, rate: u32, subscriber: Subscriber) -> (u32, u32) {
        let first = self.channels[channel as usize].feeds;
        let mut at = first;
        while at != NONE && self.feeds[at as usize].rate != rate {
            at = self.feeds[at as usize].next;
        }
        if at == NONE {
            let feed = Feed { channel, next: first, rate, subscribers: Vec::new(), pending: Pending::nothing(rate), base: None };
            at = self.feeds.insert(feed) as u32;
            self.channels[channel as usize].feeds = at;
        }
        let subscribers = &mut self.feeds[at as usize].subscribers;
        if subscribers.is_empty() {
            // Many channels have one.
            subscribers.reserve_exact(1);
        }
        subscribers.push(subscriber);
        (at, subscribers.len() as u32 - 1)
    }

    /// Takes a subscriber out of its feed, and an empty feed out of its channel.
    fn exit(&mut self, at: u32, position: u32) {
        let feed = &mut self.feeds[at as usize];
        feed.subscribers.swap_remove(position as usize);
        if let Some(moved) = feed.subscribers.get(position as usize) {
            self.subscriptions[place(moved.subscription)].position = position;
        }
        if !feed.subscribers.is_empty() {
            return;
        }
        let mut feed = self.feeds.remove(at as usize);
        if !feed.pending.is_empty() {
            let channel = &self.channels[feed.channel as usize].channel;
            self.timers.remove(at, interval_ms(channel.options(), feed.rate));
        }
        if feed.rate == 0 {
            self.hub.mailbox(self.worker).release(bytes(&feed.pending.take()));
        }
        let first = &mut self.channels[feed.channel as usize].feeds;
        if *first == at {
            *first = feed.next;
            return;
        }
        let mut before = *first;
        while self.feeds[before as usize].next != at {
            before = self.feeds[before as usize].next;
        }
        self.feeds[before as usize].next = feed.next;
    }
}

/// A number that no other has for long.
fn key(place: u32, serial: u32) -> u64 {
    u64::from(serial) << 32 | u64::from(place)
}

/// The place of what has this number.
fn place(key: u64) -> usize {
    key as u32 as usize
}

fn bytes(publications: &[Arc<Publication>]) -> usize {
    publications.iter().map(|publication| publication.bytes()).sum()
}

/// How long a channel is quiet before its subscribers are told where it stands; 0: they are not.
fn heartbeat_ms(options: &ChannelOptions) -> u32 {
    options.heartbeat.as_millis() as u32
}

/// How long a feed collects.
fn interval_ms(options: &ChannelOptions, rate: u32) -> u32 {
    let flush_ms = options.flush.as_millis() as u32;
    1000u32.checked_div(rate).map_or(flush_ms, |interval_ms| interval_ms.max(flush_ms))
}
