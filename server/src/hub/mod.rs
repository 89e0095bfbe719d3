//! Channels, and the way of a publication from anyone to the workers that have subscribers of its channel.
//!
//! A channel has one lock for its order. Publishing takes it, numbers the message and posts it to those workers; subscribing takes it to read the
//! last value and its offset. So whoever subscribes sees the last value, then every later publication, in order and without a gap.
//! Owns channels and mailboxes; knows nothing of connections.

mod channel;
mod form;
pub mod mailbox;
mod memory;
mod namespace;
mod order;
mod patterns;
mod publication;
mod values;

use std::{
    collections::BTreeMap,
    fmt,
    hash::{BuildHasher, RandomState},
    str::FromStr,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use hashbrown::HashTable;

pub use channel::{Channel, Joined, Snapshot, Start};
pub use form::{Form, Shape, kind, lend};
pub use mailbox::{ClientOrder, Mail, Mailbox, PRESENCE_BYTES};
pub use publication::{ClientInfo, Message, Publication, count};
pub use values::Values;

use crate::config::{self, Access, ChannelOptions, HubConfig};
use channel::Keep;
use namespace::Namespace;
use patterns::Patterns;

/// Bytes of a channel's name.
pub const CHANNEL_BYTES_MAX: usize = 255;

/// Channels for which there is room from the start. To make more, all that are there are hashed anew, while everybody waits.
const CHANNELS_RESERVED: usize = 100_000;

/// Tells one life of a channel from another: offsets of different epochs do not compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch(Option<u32>);

impl Epoch {
    /// One that no channel has.
    pub const UNKNOWN: Epoch = Epoch(None);
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |epoch| write!(f, "{epoch:08x}"))
    }
}

impl FromStr for Epoch {
    type Err = ();

    /// What [`Display`](fmt::Display) writes.
    fn from_str(text: &str) -> Result<Epoch, ()> {
        u32::from_str_radix(text, 16).ok().map(|epoch| Epoch(Some(epoch))).filter(|epoch| epoch.to_string() == text).ok_or(())
    }
}

/// Where a publication stands in its channel; the first has offset 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Publications before and including this one.
    pub offset: u64,
    /// The channel's life.
    pub epoch: Epoch,
}

/// Why a channel cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HubError {
    /// The name is empty or longer than [`CHANNEL_BYTES_MAX`].
    Name,
    /// There are as many channels as the limit allows.
    Channels,
    /// A worker cannot take more publications now.
    Overloaded,
    /// The publication has a key, and the channel's have none.
    NotKeyed,
    /// The channel has as many keys as it may.
    Keys,
    /// The namespace's channels keep as many bytes as they may.
    Full,
    /// Not everything after the position is kept.
    Position,
}

impl fmt::Display for HubError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HubError::Name => write!(f, "expected a channel name of 1 to {CHANNEL_BYTES_MAX} bytes, without an asterisk"),
            HubError::Channels => f.write_str("there are as many channels as hub.channels_max allows"),
            HubError::Overloaded => f.write_str("the workers are behind by limits.mailbox_bytes_max; publish again later"),
            HubError::NotKeyed => f.write_str("expected no key, as hub.keys_max is 0 for this channel"),
            HubError::Keys => f.write_str("the channel has as many keys as hub.keys_max allows"),
            HubError::Full => f.write_str("the namespace's channels keep as many bytes as hub.kept_bytes_max allows"),
            HubError::Position => f.write_str("expected a position after which everything is kept"),
        }
    }
}

impl std::error::Error for HubError {}

/// All channels of one server; shared by every thread.
pub struct Hub {
    channels_max: usize,
    /// For channels whose namespace is not in `namespaces`.
    others: Arc<Namespace>,
    namespaces: BTreeMap<String, Arc<Namespace>>,
    mailboxes: Vec<Arc<Mailbox>>,
    /// By name, which is in the channel.
    channels: RwLock<HashTable<Arc<Channel>>>,
    hasher: RandomState,
    patterns: Patterns,
    created: AtomicU64,
    published: AtomicU64,
}

impl Hub {
    /// A hub without channels that posts to these workers.
    pub fn new(config: HubConfig, mailboxes: Vec<Arc<Mailbox>>) -> Hub {
        let hasher = RandomState::new();
        let epoch_base = hasher.hash_one(0) as u32;
        let namespace = |options| Arc::new(Namespace::new(options, epoch_base));
        Hub {
            channels_max: config.channels_max,
            others: namespace(config.defaults),
            namespaces: config.namespaces.into_iter().map(|(name, options)| (name, namespace(options))).collect(),
            mailboxes,
            channels: RwLock::new(HashTable::with_capacity(config.channels_max.min(CHANNELS_RESERVED))),
            hasher,
            patterns: Patterns::default(),
            // SDKs take the number 0 for none.
            created: AtomicU64::new(1),
            published: AtomicU64::new(0),
        }
    }

    /// Who may subscribe to a channel, or to a pattern of channels.
    pub fn access(&self, channel: &str) -> Access {
        let options = self.options(channel);
        if channel.contains('*') { options.wildcard } else { options.subscribe }
    }

    /// What the configuration says of this channel.
    pub fn options(&self, channel: &str) -> &Arc<ChannelOptions> {
        &self.namespace(channel).options
    }

    fn namespace(&self, channel: &str) -> &Arc<Namespace> {
        config::namespace(channel).and_then(|namespace| self.namespaces.get(namespace)).unwrap_or(&self.others)
    }

    /// The mailbox of a worker.
    pub fn mailbox(&self, worker: u16) -> &Arc<Mailbox> {
        &self.mailboxes[usize::from(worker)]
    }

    /// Channels that exist now.
    pub fn channel_count(&self) -> usize {
        self.channels.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Publications so far, over all channels.
    pub fn published(&self) -> u64 {
        self.published.load(Relaxed)
    }

    /// Numbers a backend's message and posts it to every worker that has subscribers.
    ///
    /// # Errors
    /// [`HubError`]; then nobody gets it and no offset is used.
    pub fn publish(&self, channel: &str, message: Message, skip_history: bool, now: Instant) -> Result<Position, HubError> {
        self.publish_to(channel, message, Keep { by_backend: true, skip_history }, now)
    }

    /// Publishes for a client.
    ///
    /// # Errors
    /// As of [`publish`](Hub::publish).
    pub fn publish_as_client(&self, channel: &str, message: Message, now: Instant) -> Result<Position, HubError> {
        self.publish_to(channel, message, Keep { by_backend: false, skip_history: false }, now)
    }

    fn publish_to(&self, channel: &str, mut message: Message, keep: Keep, now: Instant) -> Result<Position, HubError> {
        if channel.contains('*') {
            return Err(HubError::Name);
        }
        loop {
            // A channel may be dropped between finding and locking it; then there is a new one to be found.
            let found = self.find_or_create(channel, keep.by_backend)?;
            if let Some(position) = found.publish(&mut message, keep, &self.patterns, &self.mailboxes, now)? {
                self.published.fetch_add(1, Relaxed);
                if !keep.by_backend {
                    self.forget(&found, now);
                }
                return Ok(position);
            }
        }
    }

    /// The channel, if anybody uses it or it remembers anything.
    pub fn find(&self, channel: &str) -> Option<Arc<Channel>> {
        let hash = self.hasher.hash_one(channel);
        self.channels.read().unwrap_or_else(PoisonError::into_inner).find(hash, |known| known.name() == channel).cloned()
    }

    /// All channels.
    pub fn channels(&self) -> Vec<Arc<Channel>> {
        self.channels.read().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Lets a worker have this channel's publications from now on. The worker brings a number of its own for the channel, which its mail will carry;
    /// where it has joined already, it gets the earlier one back.
    ///
    /// # Errors
    /// [`HubError`]
    pub fn subscribe(
        &self,
        channel: &str,
        worker: u16,
        local: u32,
        start: Start,
        now: Instant,
    ) -> Result<(Arc<Channel>, Joined), HubError> {
        loop {
            let found = self.find_or_create(channel, false)?;
            if let Some(joined) = found.join(worker, local, start, now) {
                return Ok((found, joined));
            }
        }
    }

    /// A worker has no subscriber of this channel any more. A channel that nobody subscribes to and that remembers nothing is forgotten.
    pub fn unsubscribe(&self, channel: &Channel, worker: u16, now: Instant) {
        if channel.leave(worker, now) {
            self.forget(channel, now);
        }
    }

    /// A client is present in a channel from now on.
    pub fn enter(&self, channel: &Arc<Channel>, info: &Arc<ClientInfo>, tell: bool) {
        channel.enter(info, tell, &self.mailboxes);
    }

    /// A client is no longer present.
    pub fn exit(&self, channel: &Arc<Channel>, client: &str, tell: bool) {
        channel.exit(client, tell, &self.mailboxes);
    }

    /// Asks all workers to do this with their clients.
    pub fn tell_clients(&self, order: ClientOrder) {
        let order = Arc::new(order);
        self.mailboxes.iter().for_each(|mailbox| mailbox.post(Mail::Clients(Arc::clone(&order))));
    }

    /// Forgets every channel that has become useless with time.
    pub fn sweep(&self, now: Instant) {
        self.channels().iter().for_each(|channel| self.forget(channel, now));
    }

    fn forget(&self, channel: &Channel, now: Instant) {
        if channel.is_useless(now) {
            let mut channels = self.channels.write().unwrap_or_else(PoisonError::into_inner);
            if channel.retire(now) {
                let hash = self.hasher.hash_one(channel.name());
                if let Ok(found) = channels.find_entry(hash, |known| known.name() == channel.name()) {
                    found.remove();
                }
                if let Some(prefix) = patterns::prefix(channel.name()) {
                    self.patterns.remove(prefix);
                }
            }
        }
    }

    fn find_or_create(&self, name: &str, by_backend: bool) -> Result<Arc<Channel>, HubError> {
        if let Some(channel) = self.find(name) {
            return Ok(channel);
        }
        if name.is_empty() || name.len() > CHANNEL_BYTES_MAX || patterns::is_malformed(name) {
            return Err(HubError::Name);
        }
        let mut channels = self.channels.write().unwrap_or_else(PoisonError::into_inner);
        let hash = self.hasher.hash_one(name);
        if let Some(channel) = channels.find(hash, |known| known.name() == name) {
            return Ok(Arc::clone(channel));
        }
        // Clients leave room for what backends publish.
        let reserved = if by_backend { 0 } else { self.channels_max / 10 };
        if channels.len() + reserved >= self.channels_max {
            return Err(HubError::Channels);
        }
        let id = self.created.fetch_add(1, Relaxed);
        let channel = Arc::new(Channel::new(name, id, self.namespace(name)));
        channels.insert_unique(hash, Arc::clone(&channel), |known| self.hasher.hash_one(known.name()));
        if let Some(prefix) = patterns::prefix(name) {
            self.patterns.add(prefix, &channel);
            // From here on nothing is missed; what is there already comes now.
            let belongs = |known: &&Arc<Channel>| known.name().starts_with(prefix) && !known.name().contains('*');
            let known: Vec<_> = channels.iter().filter(belongs).cloned().collect();
            drop(channels);
            known.iter().for_each(|known| known.tell_pattern(&channel, &self.mailboxes));
        }
        Ok(channel)
    }
}

#[cfg(test)]
mod tests;
