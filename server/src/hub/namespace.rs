//! What the channels of a namespace have in common: options, and room for their publications.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use crate::{config::ChannelOptions, hub::Epoch};

/// See the module.
#[derive(Debug)]
pub struct Namespace {
    /// What the configuration says.
    pub options: Arc<ChannelOptions>,
    /// Random, so that a restarted server's epochs differ.
    epoch_base: u32,
    /// Of all publications that are remembered or on their way.
    bytes: AtomicUsize,
}

impl Namespace {
    /// One without publications.
    pub fn new(options: Arc<ChannelOptions>, epoch_base: u32) -> Namespace {
        Namespace { options, epoch_base, bytes: AtomicUsize::new(0) }
    }

    /// The epoch of a channel.
    pub fn epoch(&self, id: u64) -> Epoch {
        Epoch(Some(self.epoch_base.wrapping_add(id as u32)))
    }

    /// Whether there is room for so many bytes more. Threads that publish at the same moment may pass the limit by one publication each.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.bytes.load(Relaxed).saturating_add(bytes) <= self.options.kept_bytes_max
    }
}

/// Bytes that count in a namespace for as long as this is there.
#[derive(Debug)]
pub struct Counted {
    namespace: Arc<Namespace>,
    bytes: usize,
}

impl Counted {
    /// So many bytes.
    pub fn new(namespace: &Arc<Namespace>, bytes: usize) -> Counted {
        namespace.bytes.fetch_add(bytes, Relaxed);
        Counted { namespace: Arc::clone(namespace), bytes }
    }

    /// How many they are.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.namespace.bytes.fetch_sub(self.bytes, Relaxed);
    }
}
