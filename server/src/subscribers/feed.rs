//! The subscribers of a channel on this worker that get the same at the same time.

use std::sync::Arc;

use crate::hub::{Form, Publication, Values};

/// Subscribers of one channel and one rate: they share bytes and timer.
#[derive(Debug)]
pub struct Feed {
    /// The worker's number for the channel.
    pub channel: u32,
    /// The next feed of the channel.
    pub next: u32,
    /// Updates a second; 0: every publication.
    pub rate: u32,
    /// Who they are.
    pub subscribers: Vec<Subscriber>,
    /// What has arrived since the last delivery.
    pub pending: Pending,
    /// The last that was delivered, where anybody may take deltas.
    pub base: Option<Arc<Publication>>,
}

/// A subscriber as its feed sees it.
#[derive(Clone, Copy, Debug)]
pub struct Subscriber {
    /// The connection's key.
    pub connection: u32,
    /// The worker's number for it.
    pub subscription: u64,
    /// How it takes publications.
    pub form: Form,
    /// It is behind: instead of what it missed it gets what is newest when it can be written to again.
    pub behind: bool,
    /// It has the publication at `after`, so that a delta to that one is of use.
    pub has_base: bool,
    /// It wants to be told who comes and goes.
    pub join_leave: bool,
    /// It wants to be told where the channel stands.
    pub positioned: bool,
    /// It has seen, or is past, everything up to this offset.
    pub after: u64,
}

/// Publications that wait for their delivery.
#[derive(Debug)]
pub enum Pending {
    /// All of them, in order.
    All(Vec<Arc<Publication>>),
    /// The newest, or the newest of each key.
    Newest(Values),
}

impl Pending {
    /// Nothing, in a feed of this rate.
    pub fn nothing(rate: u32) -> Pending {
        if rate == 0 { Pending::All(Vec::new()) } else { Pending::Newest(Values::Nothing) }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        match self {
            Pending::All(all) => all.is_empty(),
            Pending::Newest(newest) => newest.is_empty(),
        }
    }

    /// Adds one, which may take the place of another.
    pub fn push(&mut self, publication: Arc<Publication>) {
        match self {
            Pending::All(all) => all.push(publication),
            Pending::Newest(newest) => drop(newest.insert(publication)),
        }
    }

    /// Takes all of them, in order.
    pub fn take(&mut self) -> Vec<Arc<Publication>> {
        match self {
            Pending::All(all) => std::mem::take(all),
            Pending::Newest(newest) => std::mem::take(newest).after(0).cloned().collect(),
        }
    }
}
