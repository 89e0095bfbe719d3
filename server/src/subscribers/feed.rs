//! The subscribers of a channel on this worker that get the same at the same time. Of most feeds there is one, so both are small.

use std::sync::Arc;

use crate::hub::{Channel, Form};

/// Subscribers of one channel and one rate: they share bytes and timer.
#[derive(Debug)]
pub struct Feed {
    /// The channel.
    pub channel: Arc<Channel>,
    /// Who they are.
    pub members: Members,
    /// The next feed of the channel: they are linked in a ring.
    pub next: u32,
    /// Updates a second; 0: every publication.
    pub rate: u16,
    /// The channel waits for its next heartbeat; its first feed says so.
    pub beats: bool,
}

/// A feed's subscribers.
#[derive(Debug)]
pub enum Members {
    /// None, yet: a channel's first feed is there for its others.
    Nobody,
    /// One.
    One(Subscriber),
    /// More.
    #[expect(clippy::box_collection, reason = "most feeds have one, and these are to be small")]
    Many(Box<Vec<Subscriber>>),
}

impl Members {
    /// All of them.
    pub fn all(&self) -> &[Subscriber] {
        match self {
            Members::Nobody => &[],
            Members::One(one) => std::slice::from_ref(one),
            Members::Many(many) => many,
        }
    }

    /// All of them, to be changed.
    pub fn all_mut(&mut self) -> &mut [Subscriber] {
        match self {
            Members::Nobody => &mut [],
            Members::One(one) => std::slice::from_mut(one),
            Members::Many(many) => many,
        }
    }

    /// Adds one; returns its position.
    pub fn push(&mut self, subscriber: Subscriber) -> u32 {
        match self {
            Members::Nobody => *self = Members::One(subscriber),
            Members::One(one) => *self = Members::Many(Box::new(vec![*one, subscriber])),
            Members::Many(many) => many.push(subscriber),
        }
        self.all().len() as u32 - 1
    }

    /// Takes the one at this position out. The last is there then: returned, if it is another.
    pub fn swap_remove(&mut self, position: u32) -> Option<Subscriber> {
        let position = position as usize;
        match self {
            Members::Many(many) if many.len() > 1 => {
                many.swap_remove(position);
                many.get(position).copied()
            }
            _ => {
                *self = Members::Nobody;
                None
            }
        }
    }
}

/// A subscriber as its feed sees it.
#[derive(Clone, Copy, Debug)]
pub struct Subscriber {
    /// It has seen, or is past, everything up to this offset.
    pub after: u64,
    /// The worker's number for it.
    pub subscription: u64,
    /// The connection's key.
    pub connection: u32,
    /// How it takes publications.
    pub form: Form,
    /// What it is to get.
    pub next: Next,
    /// It wants to be told who comes and goes.
    pub join_leave: bool,
    /// It wants to be told where the channel stands.
    pub positioned: bool,
}

/// What a subscriber is to get next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// What follows, in full.
    Full,
    /// What follows; it has the publication at `after`, so that a delta to that one is of use.
    Delta,
    /// It is behind: instead of what it missed, what is newest when it can be written to again.
    Newest,
}

impl Subscriber {
    /// Whether it gets nothing until it catches up.
    pub fn is_behind(&self) -> bool {
        self.next == Next::Newest
    }

    /// From now on it is behind. Whether it was not.
    pub fn fall_behind(&mut self) -> bool {
        std::mem::replace(&mut self.next, Next::Newest) != Next::Newest
    }

    /// It has seen everything up to this offset; with the publication there, if it `has` that.
    pub fn has_seen(&mut self, offset: u64, has: bool) {
        (self.after, self.next) = (offset, if has { Next::Delta } else { Next::Full });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_of_these_for_most_subscriptions() {
        assert_eq!((size_of::<Feed>(), size_of::<Subscriber>(), size_of::<Members>()), (40, 24, 24));
    }
}
