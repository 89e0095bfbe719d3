//! A connection's subscriptions, found by the names of their channels, which are not kept here a second time.

use hashbrown::HashTable;

use super::Subscribers;

/// See the module. Holds places of subscriptions, of one worker.
#[derive(Debug, Default)]
pub struct Names(HashTable<u32>);

impl Names {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The subscription to this channel.
    pub fn find(&self, channel: &str, subscribers: &Subscribers) -> Option<u64> {
        let is_it = |&at: &u32| subscribers.name(at) == channel;
        self.0.find(subscribers.hash(channel), is_it).map(|&at| subscribers.number(at))
    }

    /// Adds a subscription, to a channel of which there is none.
    pub fn insert(&mut self, subscription: u64, subscribers: &Subscribers) {
        let hash = |&at: &u32| subscribers.hash(subscribers.name(at));
        let at = subscription as u32;
        self.0.insert_unique(hash(&at), at, hash);
    }

    /// Takes the subscription to this channel out.
    pub fn remove(&mut self, channel: &str, subscribers: &Subscribers) -> Option<u64> {
        let is_it = |&at: &u32| subscribers.name(at) == channel;
        let found = self.0.find_entry(subscribers.hash(channel), is_it).ok()?;
        Some(subscribers.number(found.remove().0))
    }

    /// Takes all of them out.
    pub fn take(&mut self, subscribers: &Subscribers) -> Vec<u64> {
        std::mem::take(&mut self.0).into_iter().map(|at| subscribers.number(at)).collect()
    }
}
