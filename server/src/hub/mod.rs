//! Channels, and the way of a publication from anyone to the workers that have subscribers of its channel.
//!
//! A channel has one lock for its order. Publishing takes it, numbers the message and posts it to those workers; subscribing takes it to read the
//! last value and its offset. So whoever subscribes sees the last value, then every later publication, in order and without a gap.
//! Owns channels and mailboxes; knows nothing of connections.

mod channel;
pub mod mailbox;
mod publication;

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use fantail_codec::Kind;

pub use channel::{Channel, Snapshot};
pub use mailbox::{Mail, Mailbox};
pub use publication::Publication;

use crate::config::{ChannelOptions, HubConfig};

/// Bytes of a channel's name.
pub const CHANNEL_BYTES_MAX: usize = 255;

/// Tells one life of a channel from another: offsets of different epochs do not compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch(u32);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
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
}

impl fmt::Display for HubError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HubError::Name => write!(f, "expected a channel name of 1 to {CHANNEL_BYTES_MAX} bytes"),
            HubError::Channels => f.write_str("there are as many channels as hub.channels_max allows"),
            HubError::Overloaded => f.write_str("the workers are behind by limits.mailbox_bytes_max; publish again later"),
        }
    }
}

impl std::error::Error for HubError {}

/// All channels of one server; shared by every thread.
pub struct Hub {
    config: HubConfig,
    mailboxes: Vec<Arc<Mailbox>>,
    channels: RwLock<HashMap<Arc<str>, Arc<Channel>>>,
    /// Random, so that a restarted server's epochs differ.
    epoch_base: u32,
    created: AtomicU64,
    published: AtomicU64,
}

impl Hub {
    /// A hub without channels that posts to these workers.
    pub fn new(config: HubConfig, mailboxes: Vec<Arc<Mailbox>>) -> Hub {
        let epoch_base = RandomState::new().hash_one(0) as u32;
        Hub { config, mailboxes, channels: RwLock::default(), epoch_base, created: AtomicU64::new(0), published: AtomicU64::new(0) }
    }

    /// What the configuration says of this channel.
    pub fn options(&self, channel: &str) -> ChannelOptions {
        self.config.options(channel)
    }

    /// The mailbox of a worker.
    pub fn mailbox(&self, worker: usize) -> &Arc<Mailbox> {
        &self.mailboxes[worker]
    }

    /// Channels that exist now.
    pub fn channel_count(&self) -> usize {
        self.channels.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Publications so far, over all channels.
    pub fn published(&self) -> u64 {
        self.published.load(Relaxed)
    }

    /// Numbers a message and posts it to every worker that has subscribers.
    ///
    /// # Errors
    /// [`HubError`]; then nobody gets it and no offset is used.
    pub fn publish(&self, channel: &str, kind: Kind, payload: &[u8]) -> Result<Position, HubError> {
        loop {
            // A channel may be dropped between finding and locking it; then there is a new one to be found.
            if let Some(position) = self.find_or_create(channel)?.publish(kind, payload, true, &self.mailboxes)? {
                self.published.fetch_add(1, Relaxed);
                return Ok(position);
            }
        }
    }

    /// Publishes for a subscriber of the channel, whose worker has joined it.
    ///
    /// # Errors
    /// [`HubError::Overloaded`]
    pub fn publish_as_client(&self, channel: &Arc<Channel>, kind: Kind, payload: &[u8]) -> Result<(), HubError> {
        let position = channel.publish(kind, payload, false, &self.mailboxes)?;
        // A channel is not retired while a worker has joined it.
        self.published.fetch_add(u64::from(position.is_some()), Relaxed);
        Ok(())
    }

    /// Lets a worker have this channel's publications from now on. See [`Channel::join`], which a worker that has the channel already calls itself.
    ///
    /// # Errors
    /// [`HubError`]
    pub fn subscribe(&self, channel: &str, worker: usize) -> Result<(Arc<Channel>, Snapshot), HubError> {
        loop {
            let found = self.find_or_create(channel)?;
            if let Some(snapshot) = found.join(worker) {
                return Ok((found, snapshot));
            }
        }
    }

    /// A worker has no subscriber of this channel any more. A channel that nobody subscribes to and that no backend published to is forgotten.
    pub fn unsubscribe(&self, channel: &Channel, worker: usize) {
        if channel.leave(worker) {
            let mut channels = self.channels.write().unwrap_or_else(PoisonError::into_inner);
            if channel.retire() {
                channels.remove(channel.name());
            }
        }
    }

    fn find_or_create(&self, name: &str) -> Result<Arc<Channel>, HubError> {
        if let Some(channel) = self.channels.read().unwrap_or_else(PoisonError::into_inner).get(name) {
            return Ok(Arc::clone(channel));
        }
        if name.is_empty() || name.len() > CHANNEL_BYTES_MAX {
            return Err(HubError::Name);
        }
        let mut channels = self.channels.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.get(name) {
            return Ok(Arc::clone(channel));
        }
        if channels.len() >= self.config.channels_max {
            return Err(HubError::Channels);
        }
        let id = self.created.fetch_add(1, Relaxed);
        let channel = Arc::new(Channel::new(name, id, Epoch(self.epoch_base.wrapping_add(id as u32))));
        channels.insert(name.into(), Arc::clone(&channel));
        Ok(channel)
    }
}

#[cfg(test)]
mod tests;
