//! The order of a channel's publications, and which workers are to have them.

use std::{collections::vec_deque, sync::Arc};

use crate::hub::{Channel, Mailbox, Publication, memory::Memory};

/// What the lock of a [`Channel`] guards.
#[derive(Debug, Default)]
pub struct Order {
    /// Of the newest publication; 0: there was none.
    pub offset: u64,
    /// What is remembered of them.
    pub memory: Memory,
    worker: FirstWorker,
    /// For which generation of patterns those that it remembers are.
    pub patterns_known: u32,
    /// A backend published to it, so its last value is kept when nobody subscribes.
    pub kept: bool,
    /// The hub has forgotten this channel.
    pub retired: bool,
}

/// A worker with subscribers, and its own number for the channel; others are [`More::workers`](super::memory::More::workers). Eight bytes, which
/// an `Option` of the two would not be.
#[derive(Clone, Copy, Debug, Default)]
enum FirstWorker {
    /// Nobody subscribes.
    #[default]
    None,
    Some(u16, u32),
}

impl Order {
    /// The patterns that the channel belongs to.
    pub fn patterns(&self) -> &[Arc<Channel>] {
        self.memory.more().map_or(&[], |more| &more.patterns)
    }

    /// Whether anybody subscribes.
    pub fn has_workers(&self) -> bool {
        matches!(self.worker, FirstWorker::Some(..))
    }

    /// Workers with subscribers, and their own numbers for the channel.
    pub fn workers(&self) -> impl Iterator<Item = (u16, u32)> {
        let first = match self.worker {
            FirstWorker::None => None,
            FirstWorker::Some(worker, local) => Some((worker, local)),
        };
        first.into_iter().chain(self.memory.more().into_iter().flat_map(|more| more.workers.iter().copied()))
    }

    /// Adds a worker with this number of its own for the channel, unless it is there; returns the number that it has.
    pub fn join(&mut self, worker: u16, local: u32) -> u32 {
        let known = self.workers().find(|&(joined, _)| joined == worker);
        match (known, self.worker) {
            (Some((_, known)), _) => return known,
            (None, FirstWorker::None) => self.worker = FirstWorker::Some(worker, local),
            (None, FirstWorker::Some(..)) => self.memory.more_mut().workers.push((worker, local)),
        }
        local
    }

    /// Takes a worker out.
    pub fn leave(&mut self, worker: u16) {
        let more = if let Memory::More(more) = &mut self.memory { Some(&mut more.workers) } else { None };
        match (self.worker, more) {
            (FirstWorker::Some(first, _), more) if first == worker => {
                let next = more.and_then(Vec::pop);
                self.worker = next.map_or(FirstWorker::None, |(worker, local)| FirstWorker::Some(worker, local));
            }
            (_, Some(more)) => more.retain(|&(joined, _)| joined != worker),
            _ => {}
        }
    }

    /// Whether a worker that would get a publication cannot take it.
    pub fn is_full(&self, mailboxes: &[Arc<Mailbox>]) -> bool {
        self.workers().any(|(worker, _)| mailboxes[usize::from(worker)].is_full())
    }

    /// All publications after this offset, if all of them are kept.
    pub fn kept_after(&self, offset: u64) -> Option<vec_deque::Iter<'_, Arc<Publication>>> {
        let missed = self.offset.checked_sub(offset)?;
        Some(self.memory.history_after(offset)).filter(|after| after.len() as u64 == missed)
    }
}
