//! What a channel remembers: of most channels no more than the last publication, so that these are small.

use std::{
    collections::{HashMap, VecDeque, vec_deque},
    sync::Arc,
};

use crate::hub::{Channel, ClientInfo, Publication, Values};

/// See the module.
#[derive(Debug, Default)]
pub enum Memory {
    /// Nothing was published.
    #[default]
    Nothing,
    /// The last publication, without a key, is all.
    Last(Arc<Publication>),
    /// Anything else.
    More(Box<More>),
}

/// See [`Memory`].
#[derive(Debug, Default)]
pub struct More {
    /// The newest, or the newest of each key.
    pub values: Values,
    /// The publications that are kept for recovery, without a gap, up to the newest.
    pub history: VecDeque<Arc<Publication>>,
    /// Who subscribes, by client, where that is to be known.
    pub present: HashMap<Box<str>, Arc<ClientInfo>>,
    /// The patterns that the channel belongs to.
    pub patterns: Box<[Arc<Channel>]>,
    /// Workers with subscribers besides the first, and their own numbers for the channel.
    pub workers: Vec<(u16, u32)>,
}

impl Memory {
    /// All of it, to be changed.
    pub fn more_mut(&mut self) -> &mut More {
        if !matches!(self, Memory::More(_)) {
            let values = match std::mem::take(self) {
                Memory::Last(last) => Values::One(last),
                _ => Values::Nothing,
            };
            *self = Memory::More(Box::new(More { values, ..More::default() }));
        }
        match self {
            Memory::More(more) => more,
            _ => unreachable!("it has just been made"),
        }
    }

    /// What there is besides the last publication.
    pub fn more(&self) -> Option<&More> {
        match self {
            Memory::More(more) => Some(more),
            _ => None,
        }
    }

    /// As [`Values::insert`].
    pub fn insert(&mut self, publication: Arc<Publication>) -> Option<Arc<Publication>> {
        match self {
            Memory::Nothing if publication.key().is_empty() => {
                *self = Memory::Last(publication);
                None
            }
            Memory::Last(last) if publication.key().is_empty() => Some(std::mem::replace(last, publication)),
            _ => self.more_mut().values.insert(publication),
        }
    }

    /// As [`Values::after`].
    pub fn after(&self, offset: u64) -> impl Iterator<Item = &Arc<Publication>> {
        let (last, values) = match self {
            Memory::Nothing => (None, None),
            Memory::Last(last) => (Some(last).filter(|last| last.offset() > offset), None),
            Memory::More(more) => (None, Some(more.values.after(offset))),
        };
        last.into_iter().chain(values.into_iter().flatten())
    }

    /// The newest publication.
    pub fn newest(&self) -> Option<&Arc<Publication>> {
        match self {
            Memory::Nothing => None,
            Memory::Last(last) => Some(last),
            Memory::More(more) => more.values.newest(),
        }
    }

    /// As [`Values::get`].
    pub fn value(&self, key: &str) -> Option<&Arc<Publication>> {
        match self {
            Memory::Nothing => None,
            Memory::Last(last) => Some(last).filter(|_| key.is_empty()),
            Memory::More(more) => more.values.get(key),
        }
    }

    /// How many keys have a value; publications without a key have one together.
    pub fn keys(&self) -> usize {
        match self {
            Memory::Nothing => 0,
            Memory::Last(_) => 1,
            Memory::More(more) => more.values.len(),
        }
    }

    /// The history.
    pub fn history(&self) -> &VecDeque<Arc<Publication>> {
        static NONE: VecDeque<Arc<Publication>> = VecDeque::new();
        self.more().map_or(&NONE, |more| &more.history)
    }

    /// The publications of the history after this offset.
    pub fn history_after(&self, offset: u64) -> vec_deque::Iter<'_, Arc<Publication>> {
        let history = self.history();
        history.range(history.partition_point(|kept| kept.offset() <= offset)..)
    }
}
