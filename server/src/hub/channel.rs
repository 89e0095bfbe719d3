//! One channel: the order of its publications, what it remembers of them, and which workers have subscribers.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use crate::{
    config::ChannelOptions,
    hub::{
        ClientInfo, Epoch, HubError, Mail, Mailbox, Message, Position, Publication, memory::Memory, namespace::Namespace, order::Order,
        patterns::Patterns,
    },
};

/// A channel, shared by the hub and by every worker that has subscribers of it.
#[derive(Debug)]
pub struct Channel {
    name: Box<str>,
    id: u64,
    namespace: Arc<Namespace>,
    order: Mutex<Order>,
}

/// Channels whose newest publication a pattern remembers.
const FORWARDED_MAX: usize = 100_000;

/// What a subscriber asks to begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// What the channel gives to everyone: its last value, or each key's.
    Fresh,
    /// What follows this position, in an epoch if it is known.
    After(u64, Option<Epoch>),
}

/// What a subscriber begins with; later publications follow it.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Publications, the oldest first.
    pub publications: Vec<Arc<Publication>>,
    /// Where the channel stands.
    pub position: Position,
    /// What was asked for is here, without a gap.
    pub recovered: bool,
}

/// A worker has joined a channel.
#[derive(Clone, Debug)]
pub struct Joined {
    /// The worker's own number for the channel, given when it first joined.
    pub local: u32,
    /// What the subscriber begins with.
    pub snapshot: Snapshot,
}

impl Channel {
    pub(super) fn new(name: &str, id: u64, namespace: &Arc<Namespace>) -> Channel {
        Channel { name: name.into(), id, namespace: Arc::clone(namespace), order: Mutex::default() }
    }

    /// The channel's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A number that no other channel of this hub has or had.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// What the configuration says of it.
    pub fn options(&self) -> &ChannelOptions {
        &self.namespace.options
    }

    pub(super) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    fn epoch(&self) -> Epoch {
        self.namespace.epoch(self.id)
    }

    /// Where it stands.
    pub fn position(&self) -> Position {
        self.position_of(&self.order())
    }

    /// Where it stands, if nothing was published for the time of a heartbeat.
    pub fn quiet_position(&self, now: Instant) -> Option<Position> {
        let order = self.order();
        let is_quiet = |newest: &Arc<Publication>| now.saturating_duration_since(newest.published()) >= self.options().heartbeat;
        order.memory.newest().is_none_or(is_quiet).then(|| self.position_of(&order))
    }

    /// At most so many kept publications, from the oldest after `since` or, in `reverse`, from the newest before it; and where the channel stands.
    ///
    /// # Errors
    /// [`HubError::Position`] where not all after `since` are kept.
    pub fn history(&self, since: Option<(u64, Option<Epoch>)>, limit: usize, reverse: bool, now: Instant) -> Result<Snapshot, HubError> {
        let mut order = self.order();
        self.forget_old(&mut order, now);
        let kept = order.memory.history();
        let publications = match since {
            None if reverse => some(kept.iter().rev(), limit),
            None => some(kept.iter(), limit),
            Some((_, epoch)) if reverse && !self.is_of(epoch) => return Err(HubError::Position),
            Some((offset, _)) if reverse => some(kept.iter().rev().filter(|kept| kept.offset() < offset), limit),
            Some((offset, epoch)) => {
                let after = order.kept_after(offset).filter(|_| self.is_of(epoch)).ok_or(HubError::Position)?;
                some(after, limit)
            }
        };
        Ok(Snapshot { publications, position: self.position_of(&order), recovered: true })
    }

    /// What is newest and comes after an offset.
    pub fn newest(&self, after: u64) -> Snapshot {
        let order = self.order();
        Snapshot { publications: order.memory.after(after).cloned().collect(), position: self.position_of(&order), recovered: false }
    }

    /// Who is present.
    pub fn present(&self) -> Vec<Arc<ClientInfo>> {
        self.order().memory.more().map_or_else(Vec::new, |more| more.present.values().cloned().collect())
    }

    /// Whether anybody subscribes.
    pub fn has_subscribers(&self) -> bool {
        self.order().has_workers()
    }

    /// Forgets what is kept; where the channel stands, and its last value, stay.
    pub fn remove_history(&self) {
        if let Memory::More(more) = &mut self.order().memory {
            more.history.clear();
        }
    }

    /// `None` where the channel is retired; else the message is taken.
    pub(super) fn publish(
        self: &Arc<Self>,
        message: &mut Message,
        keep: Keep,
        patterns: &Patterns,
        mailboxes: &[Arc<Mailbox>],
        now: Instant,
    ) -> Result<Option<Position>, HubError> {
        let mut order = self.order();
        if order.retired {
            return Ok(None);
        }
        if let Some(patterns) = patterns.matching(&self.name, &mut order.patterns_known)
            && (!order.patterns().is_empty() || !patterns.is_empty())
        {
            order.memory.more_mut().patterns = patterns;
        }
        // A pattern's lock is taken under a channel's, never the other way.
        if order.is_full(mailboxes) || order.patterns().iter().any(|pattern| pattern.order().is_full(mailboxes)) {
            return Err(HubError::Overloaded);
        }
        let key = &message.key;
        if !key.is_empty() && order.memory.value(key).is_none() && order.memory.keys() >= self.options().keys_max {
            return Err(if self.options().keys_max == 0 { HubError::NotKeyed } else { HubError::Keys });
        }
        if !self.make_room(&mut order, message) {
            return Err(HubError::Full);
        }
        order.kept |= keep.by_backend;
        order.offset += 1;
        let mut publication = Publication::new(order.offset, std::mem::take(message), now, &self.namespace);
        publication.skip_history = keep.skip_history;
        let publication = Arc::new(publication);
        if let Some(replaced) = order.memory.insert(Arc::clone(&publication)) {
            replaced.forget_frames();
        }
        if self.options().history_size > 0 {
            // What is to be skipped is there all the same, so that no offset seems to be lost.
            order.memory.more_mut().history.push_back(Arc::clone(&publication));
            self.forget_old(&mut order, now);
        }
        self.post(&order, &publication, mailboxes);
        order.patterns().iter().for_each(|pattern| pattern.forward(&self.name, &publication, mailboxes));
        Ok(Some(self.position_of(&order)))
    }

    fn post(self: &Arc<Self>, order: &Order, publication: &Arc<Publication>, mailboxes: &[Arc<Mailbox>]) {
        for (worker, local) in order.workers() {
            mailboxes[usize::from(worker)].post(Mail::Publication(Arc::clone(self), local, Arc::clone(publication)));
        }
    }

    /// Whether there is room for a message: where the value was that it replaces, or if need be where the channel's own history was.
    fn make_room(&self, order: &mut Order, message: &Message) -> bool {
        let bytes = Publication::bytes_of(message);
        while !self.namespace.publications.has_room(bytes) {
            let kept_from = order.memory.history().front().map_or(u64::MAX, |first| first.offset());
            let replaced = order.memory.value(&message.key).filter(|replaced| replaced.offset() < kept_from);
            if replaced.is_some_and(|replaced| self.namespace.publications.has_room(bytes.saturating_sub(replaced.bytes()))) {
                return true;
            }
            let Memory::More(more) = &mut order.memory else { return false };
            if more.history.pop_front().is_none() {
                return false;
            }
        }
        true
    }

    /// Takes a copy of what was published to a channel of this pattern.
    fn forward(self: &Arc<Self>, channel: &str, publication: &Publication, mailboxes: &[Arc<Mailbox>]) {
        let mut order = self.order();
        order.offset += 1;
        let publication = Arc::new(publication.forwarded(order.offset, channel, &self.namespace));
        if let Some(replaced) = order.memory.insert(Arc::clone(&publication)) {
            replaced.forget_frames();
        }
        // Channels come and go; those that have been quiet the longest are forgotten.
        if let Memory::More(more) = &mut order.memory
            && more.values.len() > FORWARDED_MAX
        {
            more.values.forget_oldest();
        }
        self.post(&order, &publication, mailboxes);
    }

    /// Lets a new pattern have what is newest here, unless that has come by itself.
    pub(super) fn tell_pattern(&self, pattern: &Arc<Channel>, mailboxes: &[Arc<Mailbox>]) {
        let order = self.order();
        for publication in order.memory.after(0) {
            if pattern.order().memory.value(&publication.key_in_pattern(&self.name)).is_none() {
                pattern.forward(&self.name, publication, mailboxes);
            }
        }
    }

    /// The worker gets every publication after the snapshot's, and perhaps some before it, which it skips; where it has not joined yet, by this
    /// number. `None` where the channel is retired, which it is not while a worker has joined.
    pub(super) fn join(&self, worker: u16, local: u32, start: Start, now: Instant) -> Option<Joined> {
        let mut order = self.order();
        if order.retired {
            return None;
        }
        let local = order.join(worker, local);
        Some(Joined { local, snapshot: self.snapshot(&mut order, start, now) })
    }

    fn snapshot(&self, order: &mut Order, start: Start, now: Instant) -> Snapshot {
        let position = self.position_of(order);
        let everything = |order: &Order| match self.options().last_value {
            true => order.memory.after(0).cloned().collect(),
            false => Vec::new(),
        };
        let (publications, recovered) = match start {
            Start::Fresh => (everything(order), false),
            Start::After(offset, epoch) if self.is_of(epoch) && offset == order.offset => (Vec::new(), true),
            Start::After(offset, epoch) if self.options().history_size > 0 => {
                self.forget_old(order, now);
                let after = order.kept_after(offset).filter(|_| self.is_of(epoch));
                match after.map(|after| (after.clone().filter(|kept| !kept.skip_history).count(), some(after, usize::MAX))) {
                    // Never in part.
                    Some((count, publications)) if publications.len() == count => (publications, true),
                    _ => (everything(order), false),
                }
            }
            // Without a history what is newest is all there is to recover, as far as the client does not have it.
            Start::After(offset, epoch) if self.options().last_value && self.is_of(epoch) && offset < order.offset => {
                (order.memory.after(offset).cloned().collect(), true)
            }
            Start::After(..) => {
                let publications = everything(order);
                let recovered = !publications.is_empty();
                (publications, recovered)
            }
        };
        Snapshot { publications, position, recovered }
    }

    fn is_of(&self, epoch: Option<Epoch>) -> bool {
        epoch.is_none_or(|epoch| epoch == self.epoch())
    }

    fn position_of(&self, order: &Order) -> Position {
        Position { offset: order.offset, epoch: self.epoch() }
    }

    /// Drops what the history has no room or no time for.
    fn forget_old(&self, order: &mut Order, now: Instant) {
        let Memory::More(more) = &mut order.memory else { return };
        let is_old = |kept: &Arc<Publication>| now.saturating_duration_since(kept.published()) > self.options().history_ttl;
        while more.history.len() > self.options().history_size || more.history.front().is_some_and(is_old) {
            more.history.pop_front();
        }
    }

    /// Somebody comes, and subscribers are told if they are to be.
    pub(super) fn enter(self: &Arc<Self>, info: &Arc<ClientInfo>, tell: bool, mailboxes: &[Arc<Mailbox>]) {
        let mut order = self.order();
        order.memory.more_mut().present.insert(info.client.clone(), Arc::clone(info));
        if tell {
            self.tell(&order, info, true, mailboxes);
        }
    }

    /// Somebody goes, and subscribers are told if they are to be.
    pub(super) fn exit(self: &Arc<Self>, client: &str, tell: bool, mailboxes: &[Arc<Mailbox>]) {
        let mut order = self.order();
        let Memory::More(more) = &mut order.memory else { return };
        let Some(info) = more.present.remove(client) else { return };
        if tell {
            self.tell(&order, &info, false, mailboxes);
        }
    }

    fn tell(self: &Arc<Self>, order: &Order, info: &Arc<ClientInfo>, comes: bool, mailboxes: &[Arc<Mailbox>]) {
        for (worker, local) in order.workers() {
            // Who cannot follow the publications is not told of these either.
            let mailbox = &mailboxes[usize::from(worker)];
            if !mailbox.is_full() {
                mailbox.post(Mail::Presence { channel: Arc::clone(self), local, info: Arc::clone(info), comes });
            }
        }
    }

    /// The worker wants no more publications. Whether the channel may now be of no use to anyone.
    pub(super) fn leave(&self, worker: u16, now: Instant) -> bool {
        let mut order = self.order();
        order.leave(worker);
        self.is_useless_now(&mut order, now)
    }

    pub(super) fn is_useless(&self, now: Instant) -> bool {
        self.is_useless_now(&mut self.order(), now)
    }

    /// Retires the channel if it is of no use. Whether it was this call that did: another channel may have its name by now.
    pub(super) fn retire(&self, now: Instant) -> bool {
        let mut order = self.order();
        let retires = !order.retired && self.is_useless_now(&mut order, now);
        if retires {
            // Others may hold it for a while, but it is nobody's.
            *order = Order::default();
            order.retired = true;
        }
        retires
    }

    /// Nobody subscribes to it, and nothing that it remembers is worth it: what only clients published goes with the last of them, unless the channel
    /// has a history.
    fn is_useless_now(&self, order: &mut Order, now: Instant) -> bool {
        self.forget_old(order, now);
        if order.has_workers() {
            return false;
        }
        let ttl = self.options().value_ttl;
        let forgets = |newest: &Arc<Publication>| !ttl.is_zero() && now.saturating_duration_since(newest.published()) > ttl;
        order.memory.history().is_empty() && (!order.kept || order.memory.newest().is_none_or(forgets))
    }

    fn order(&self) -> MutexGuard<'_, Order> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a publication is remembered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keep {
    /// A backend published it, so the channel outlives its subscribers.
    pub by_backend: bool,
    /// It is not kept for recovery.
    pub skip_history: bool,
}

/// So many of these, and no more than one reply may hold.
fn some<'a>(publications: impl Iterator<Item = &'a Arc<Publication>>, limit: usize) -> Vec<Arc<Publication>> {
    let mut bytes = 0;
    let fits = |publication: &&Arc<Publication>| {
        bytes += publication.bytes();
        bytes <= REPLY_BYTES_MAX
    };
    publications.filter(|publication| !publication.skip_history).take(limit).take_while(fits).cloned().collect()
}

/// Bytes of publications that one reply may hold.
const REPLY_BYTES_MAX: usize = 8 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_channels_are_small() {
        assert_eq!(size_of::<Channel>(), 80);
    }
}
