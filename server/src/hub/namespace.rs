//! What the channels of a namespace have in common: options, and memory that they share.

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
    /// For all publications that are remembered or on their way.
    pub publications: Arc<Budget>,
    /// For the frames that are kept of them, as much again.
    pub frames: Arc<Budget>,
}

impl Namespace {
    /// One without publications.
    pub fn new(options: Arc<ChannelOptions>, epoch_base: u32) -> Namespace {
        let budget = || Arc::new(Budget { bytes: AtomicUsize::new(0), bytes_max: options.kept_bytes_max });
        Namespace { epoch_base, publications: budget(), frames: budget(), options }
    }

    /// The epoch of a channel.
    pub fn epoch(&self, id: u64) -> Epoch {
        Epoch(Some(self.epoch_base.wrapping_add(id as u32)))
    }
}

/// Bytes that are taken, of those that may be.
#[derive(Debug)]
pub struct Budget {
    bytes: AtomicUsize,
    bytes_max: usize,
}

impl Budget {
    /// Whether there is room for so many bytes more. Threads that take some at the same moment may pass the limit by as much.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.bytes.load(Relaxed).saturating_add(bytes) <= self.bytes_max
    }
}

/// Bytes that count for as long as this is there.
#[derive(Debug)]
pub struct Counted {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Counted {
    /// So many bytes of a budget.
    pub fn new(budget: &Arc<Budget>, bytes: usize) -> Counted {
        budget.bytes.fetch_add(bytes, Relaxed);
        Counted { budget: Arc::clone(budget), bytes }
    }

    /// How many they are.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.budget.bytes.fetch_sub(self.bytes, Relaxed);
    }
}
