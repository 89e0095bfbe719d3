//! One channel: the order of its publications, its last value, and which workers have subscribers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fantail_codec::Kind;

use crate::hub::{Epoch, HubError, Mail, Mailbox, Position, Publication};

/// A channel, shared by the hub and by every worker that has subscribers of it.
#[derive(Debug)]
pub struct Channel {
    name: Box<str>,
    id: u64,
    epoch: Epoch,
    order: Mutex<Order>,
}

/// What a subscriber starts from: the last value, and the offset after which publications follow.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The last value, if there was a publication.
    pub latest: Option<Arc<Publication>>,
    /// Its offset, or 0.
    pub offset: u64,
}

/// What the lock guards.
#[derive(Debug, Default)]
struct Order {
    offset: u64,
    latest: Option<Arc<Publication>>,
    /// Workers with subscribers.
    workers: Vec<usize>,
    /// A backend published to it, so its last value is kept when nobody subscribes. What only clients published goes with the last of them.
    kept: bool,
    /// The hub has forgotten this channel.
    retired: bool,
}

impl Channel {
    pub(super) fn new(name: &str, id: u64, epoch: Epoch) -> Channel {
        Channel { name: name.into(), id, epoch, order: Mutex::default() }
    }

    /// The channel's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A number that no other channel of this hub has or had.
    pub fn id(&self) -> u64 {
        self.id
    }

    fn order(&self) -> MutexGuard<'_, Order> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None` where the channel is retired.
    pub(super) fn publish(
        self: &Arc<Self>,
        kind: Kind,
        payload: &[u8],
        keep: bool,
        mailboxes: &[Arc<Mailbox>],
    ) -> Result<Option<Position>, HubError> {
        // Framed before the lock is taken: the offset is all that needs it.
        let mut publication = Publication::new(kind, payload);
        let mut order = self.order();
        if order.retired {
            return Ok(None);
        }
        if order.workers.iter().any(|&worker| mailboxes[worker].is_full()) {
            return Err(HubError::Overloaded);
        }
        order.kept |= keep;
        order.offset += 1;
        publication.offset = order.offset;
        let publication = Arc::new(publication);
        order.latest = Some(Arc::clone(&publication));
        for &worker in &order.workers {
            mailboxes[worker].post(Mail::Publication(Arc::clone(self), Arc::clone(&publication)));
        }
        Ok(Some(Position { offset: order.offset, epoch: self.epoch }))
    }

    /// The worker gets every publication after the snapshot's offset, and perhaps some before it, which it skips. `None` where the channel is
    /// retired, which it is not while a worker has joined.
    pub fn join(&self, worker: usize) -> Option<Snapshot> {
        let mut order = self.order();
        if order.retired {
            return None;
        }
        if !order.workers.contains(&worker) {
            order.workers.push(worker);
        }
        Some(Snapshot { latest: order.latest.clone(), offset: order.offset })
    }

    /// The worker wants no more publications. Whether the channel is now of no use to anyone.
    pub(super) fn leave(&self, worker: usize) -> bool {
        let mut order = self.order();
        order.workers.retain(|&joined| joined != worker);
        order.is_useless()
    }

    /// Retires the channel if it is still of no use. Whether it was this call that did: another channel may have its name by now.
    pub(super) fn retire(&self) -> bool {
        let mut order = self.order();
        let retires = !order.retired && order.is_useless();
        order.retired |= retires;
        retires
    }
}

impl Order {
    fn is_useless(&self) -> bool {
        self.workers.is_empty() && !self.kept
    }
}
