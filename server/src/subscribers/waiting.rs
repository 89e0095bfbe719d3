//! What has arrived for a feed and is not delivered. Few feeds have any at a time.

use std::sync::Arc;

use crate::hub::{Publication, Values};

/// What a feed waits to deliver.
#[derive(Debug)]
pub struct Waiting {
    /// What has arrived since the last delivery.
    pub pending: Pending,
    /// The last that was delivered, where anybody may take deltas.
    pub base: Option<Arc<Publication>>,
}

impl Waiting {
    /// Nothing, for a feed of this rate.
    pub fn nothing(rate: u16) -> Waiting {
        Waiting { pending: if rate == 0 { Pending::All(Vec::new()) } else { Pending::Newest(Values::Nothing) }, base: None }
    }
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
