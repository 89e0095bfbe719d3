//! One worker's view of the channels that its connections subscribe to: who they are, and what has arrived for them and is not delivered.
//!
//! A channel's subscribers are in feeds, one for each rate that somebody asked for. What arrives for a channel waits in each of its feeds
//! until that is due; then [`next_delivery`](Subscribers::next_delivery) gives it out for all subscribers of the feed.

mod delivery;
mod feed;
mod names;
mod places;
#[cfg(test)]
mod tests;
mod timers;
mod waiting;

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    rc::Rc,
    sync::Arc,
    time::Instant,
};

use slab::Slab;

pub use delivery::Delivery;
pub use feed::Subscriber;
pub use names::Names;

use crate::{
    config::{ChannelOptions, SlowPolicy},
    encode::Encoder,
    hub::{Channel, Form, Hub, HubError, Joined, Position, Publication, Snapshot, Start},
    outbox::Shared,
};
use feed::{Feed, Members, Next};
use places::{Place, Places};
use timers::{Timers, earlier};
use waiting::Waiting;

/// All channels with subscribers on this worker. The worker's number for a channel is that of its first feed, which has no rate and is there as
/// long as any.
pub struct Subscribers {
    hub: Arc<Hub>,
    worker: u16,
    feeds: Slab<Feed>,
    /// Of the feeds that wait for anything.
    waiting: HashMap<u32, Waiting>,
    places: Places,
    hasher: RandomState,
    /// Feeds to be delivered.
    timers: Timers,
    /// Those of them that are being delivered.
    due: Vec<u32>,
    /// Channels of whose position subscribers are to be told.
    heartbeats: Timers,
}

/// Feeds and subscriptions for which there is address space from the start, so that up to there nothing is copied as they become more. Memory it
/// takes only page by page, where they are.
const RESERVED: usize = 1 << 17;

/// What a subscriber wants.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    /// How it takes publications.
    pub form: Form,
    /// Updates a second; 0: every publication.
    pub rate: u16,
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
        Subscribers {
            hub,
            worker: worker as u16,
            feeds: Slab::with_capacity(RESERVED),
            waiting: HashMap::new(),
            places: Places::with_capacity(RESERVED),
            hasher: RandomState::new(),
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
        let vacant = self.feeds.vacant_key() as u32;
        let (channel, Joined { local, snapshot }) = self.hub.subscribe(name, self.worker, vacant, wish.start, now)?;
        if local == vacant {
            self.feeds.insert(Feed { channel, members: Members::Nobody, next: local, rate: 0, beats: false });
        }
        let subscription = self.places.add();
        // The snapshot's last is sent in full.
        let has_last = snapshot.publications.last().is_some_and(|last| last.offset() == snapshot.position.offset);
        let subscriber = Subscriber {
            after: snapshot.position.offset,
            subscription,
            connection: connection as u32,
            form: wish.form,
            next: if has_last { Next::Delta } else { Next::Full },
            join_leave: wish.join_leave,
            positioned: wish.positioned,
        };
        if wish.positioned {
            self.beat(local, now_ms);
        }
        self.enter(local, wish.rate, subscriber);
        Ok((subscription, snapshot))
    }

    /// Ends a subscription.
    pub fn leave(&mut self, subscription: u64, now: Instant) {
        let Some(place) = self.places.remove(subscription) else { return };
        let first = self.first(place.feed);
        self.exit(place);
        let Feed { members, next, .. } = &self.feeds[first as usize];
        if *next == first && members.all().is_empty() {
            let Feed { channel, beats, .. } = self.feeds.remove(first as usize);
            if beats {
                self.heartbeats.remove(first, heartbeat_ms(channel.options()));
            }
            self.hub.unsubscribe(&channel, self.worker, now);
        }
    }

    /// Moves a subscriber to another rate. Whether it is to [`catch_up`](Subscribers::catch_up) now: what waits in the feed that it leaves does not
    /// follow it.
    pub fn change_rate(&mut self, subscription: u64, rate: u16) -> bool {
        let Some(before) = self.places.get(subscription).filter(|place| self.feed(*place).rate != rate) else { return false };
        let mut subscriber = self.feed(before).members.all()[before.position as usize];
        let catches_up = subscriber.fall_behind();
        self.enter(self.first(before.feed), rate, subscriber);
        self.exit(before);
        catches_up
    }

    /// The channel of a subscription that has not ended.
    pub fn channel(&self, subscription: u64) -> &Arc<Channel> {
        let place = self.places.get(subscription).expect("who asks holds the subscription");
        &self.feed(place).channel
    }

    /// The subscriber of a subscription; `None` where that has ended.
    pub fn subscriber(&mut self, subscription: u64, connection: usize) -> Option<&mut Subscriber> {
        let place = self.places.get(subscription)?;
        Some(&mut self.feeds[place.feed as usize].members.all_mut()[place.position as usize])
            .filter(|found| (found.subscription, found.connection as usize) == (subscription, connection))
    }

    /// The subscriber of a subscription, and what is to become of it where it is slow.
    pub fn slow(&mut self, subscription: u64, connection: usize) -> Option<(&mut Subscriber, SlowPolicy)> {
        let policy = self.feed(self.places.get(subscription)?).channel.options().slow;
        let subscriber = self.subscriber(subscription, connection)?;
        // A delta is of no use without what it is based on.
        let takes_deltas = subscriber.form.takes_deltas();
        Some((subscriber, if policy == SlowPolicy::DropOldest && takes_deltas { SlowPolicy::Conflate } else { policy }))
    }

    /// Takes a subscriber back to an offset, from which on it is to catch up.
    pub fn rewind(&mut self, subscription: u64, connection: usize, after: u64) {
        if let Some(subscriber) = self.subscriber(subscription, connection) {
            (subscriber.next, subscriber.after) = (Next::Newest, after);
        }
    }

    /// Queues what is newest for a subscriber that was behind; returns how many bytes that is.
    pub fn catch_up(&mut self, subscription: u64, connection: usize, encoder: &mut Encoder, mut queue: impl FnMut(&Rc<Shared>)) -> usize {
        // It may have left since, and its number may be another's.
        let Some(subscriber) = self.subscriber(subscription, connection).filter(|subscriber| subscriber.is_behind()) else { return 0 };
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
            let offset = newest.position.offset;
            subscriber.has_seen(offset, newest.publications.last().is_some_and(|last| last.offset() == offset));
        }
        bytes
    }

    /// Takes a publication in. It is delivered at the end of this turn, or at the next multiple of the feed's interval.
    pub fn arrived(&mut self, channel: &Arc<Channel>, local: u32, publication: &Arc<Publication>, now_ms: u32) {
        let mailbox = self.hub.mailbox(self.worker);
        // In the mail it counted once. From here on it counts in each feed that is to have every publication; the newest the channel holds anyway.
        let mut counted = 0;
        let mut next = self.first_of(channel, local);
        while let Some(at) = next {
            let feed = &self.feeds[at as usize];
            if !feed.members.all().is_empty() {
                let pending = &mut self.waiting.entry(at).or_insert_with(|| Waiting::nothing(feed.rate)).pending;
                if pending.is_empty() {
                    self.timers.add(at, interval_ms(channel.options(), feed.rate), now_ms);
                }
                pending.push(Arc::clone(publication));
                counted += usize::from(feed.rate == 0);
            }
            next = Some(feed.next).filter(|&next| next != local);
        }
        match counted {
            0 => mailbox.release(publication.bytes()),
            _ => mailbox.hold((counted - 1) * publication.bytes()),
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
        let Feed { channel, rate, .. } = &self.feeds[at as usize];
        let Waiting { mut pending, base } = self.waiting.remove(&at).expect("what is due waits for something");
        let publications = pending.take();
        if channel.options().delta {
            self.waiting.insert(at, Waiting { pending, base: publications.last().cloned() });
        }
        Some(Delivery::new(at, Arc::clone(channel), publications, base, *rate == 0))
    }

    /// The subscribers that a delivery goes to.
    pub fn subscribers(&mut self, delivery: &Delivery) -> &mut [Subscriber] {
        self.feeds[delivery.feed as usize].members.all_mut()
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
            let first = &mut self.feeds[local as usize];
            first.beats = false;
            let channel = Arc::clone(&first.channel);
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
        let first = &mut self.feeds[local as usize];
        let interval_ms = heartbeat_ms(first.channel.options());
        if interval_ms > 0 && !std::mem::replace(&mut first.beats, true) {
            self.heartbeats.add(local, interval_ms, now_ms);
        }
    }

    /// Calls `take` for every subscriber of a channel, whatever its feed.
    pub fn each(&mut self, channel: &Arc<Channel>, local: u32, mut take: impl FnMut(&Subscriber)) {
        let mut next = self.first_of(channel, local);
        while let Some(at) = next {
            let feed = &self.feeds[at as usize];
            feed.members.all().iter().for_each(&mut take);
            next = Some(feed.next).filter(|&next| next != local);
        }
    }

    /// How many feeds there are, how many of them wait for something, and how many subscriptions.
    #[cfg(test)]
    pub(crate) fn sizes(&self) -> [usize; 3] {
        [self.feeds.len(), self.waiting.len(), self.places.len()]
    }

    fn feed(&self, place: Place) -> &Feed {
        &self.feeds[place.feed as usize]
    }

    /// The first feed of a channel, if the worker has not left it while something for this number was in the mail.
    fn first_of(&self, channel: &Arc<Channel>, local: u32) -> Option<u32> {
        self.feeds.get(local as usize).filter(|feed| feed.rate == 0 && Arc::ptr_eq(&feed.channel, channel)).map(|_| local)
    }

    /// The first feed of the channel that this one is of.
    fn first(&self, mut at: u32) -> u32 {
        while self.feeds[at as usize].rate != 0 {
            at = self.feeds[at as usize].next;
        }
        at
    }

    /// Adds a subscriber to the feed of this rate.
    fn enter(&mut self, first: u32, rate: u16, subscriber: Subscriber) {
        let mut at = first;
        while self.feeds[at as usize].rate != rate {
            at = self.feeds[at as usize].next;
            if at == first {
                let Feed { channel, next, .. } = &self.feeds[first as usize];
                let feed = Feed { channel: Arc::clone(channel), members: Members::Nobody, next: *next, rate, beats: false };
                at = self.feeds.insert(feed) as u32;
                self.feeds[first as usize].next = at;
            }
        }
        let position = self.feeds[at as usize].members.push(subscriber);
        self.places.set(subscriber.subscription, Place { feed: at, position });
    }

    /// Takes a subscriber out of its feed. An empty feed waits for nothing, and is taken out of its channel unless it is the first.
    fn exit(&mut self, place: Place) {
        let feed = &mut self.feeds[place.feed as usize];
        if let Some(moved) = feed.members.swap_remove(place.position) {
            self.places.set(moved.subscription, place);
        }
        if !feed.members.all().is_empty() {
            return;
        }
        let (rate, next) = (feed.rate, feed.next);
        if let Some(mut waiting) = self.waiting.remove(&place.feed) {
            self.timers.remove(place.feed, interval_ms(feed.channel.options(), rate));
            if rate == 0 {
                self.hub.mailbox(self.worker).release(bytes(&waiting.pending.take()));
            }
        }
        if rate != 0 {
            let mut before = next;
            while self.feeds[before as usize].next != place.feed {
                before = self.feeds[before as usize].next;
            }
            self.feeds[before as usize].next = next;
            self.feeds.remove(place.feed as usize);
        }
    }

    /// For [`Names`]: the name of the channel to which the subscription at this place is.
    fn name(&self, at: u32) -> &str {
        self.channel(u64::from(at)).name()
    }

    /// For [`Names`]: the number of the subscription at this place.
    fn number(&self, at: u32) -> u64 {
        let place = self.places.get(u64::from(at)).expect("who asks holds the subscription");
        self.feed(place).members.all()[place.position as usize].subscription
    }

    /// For [`Names`].
    fn hash(&self, name: &str) -> u64 {
        self.hasher.hash_one(name)
    }
}

fn bytes(publications: &[Arc<Publication>]) -> usize {
    publications.iter().map(|publication| publication.bytes()).sum()
}

/// How long a channel is quiet before its subscribers are told where it stands; 0: they are not.
fn heartbeat_ms(options: &ChannelOptions) -> u32 {
    options.heartbeat.as_millis() as u32
}

/// How long a feed collects.
fn interval_ms(options: &ChannelOptions, rate: u16) -> u32 {
    let flush_ms = options.flush.as_millis() as u32;
    1000u32.checked_div(rate.into()).map_or(flush_ms, |interval_ms| interval_ms.max(flush_ms))
}
