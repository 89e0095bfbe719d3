//! The newest publication of a channel, or of each of its keys: what a subscriber needs that has missed others.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use crate::hub::Publication;

/// Newest publications in the order of their offsets. Publications without a key share one place.
#[derive(Debug, Default)]
pub enum Values {
    /// There was none.
    #[default]
    Nothing,
    /// None has a key.
    One(Arc<Publication>),
    /// By key.
    Keyed(Box<Keyed>),
}

/// See [`Values::Keyed`].
#[derive(Debug, Default)]
pub struct Keyed {
    by_offset: BTreeMap<u64, Arc<Publication>>,
    offsets: HashMap<Box<str>, u64>,
}

impl Values {
    /// Takes a publication, which is newer than all that are here, and returns the one whose place it takes.
    pub fn insert(&mut self, publication: Arc<Publication>) -> Option<Arc<Publication>> {
        match self {
            Values::Nothing if publication.key().is_empty() => {
                *self = Values::One(publication);
                None
            }
            Values::One(place) if publication.key().is_empty() => Some(std::mem::replace(place, publication)),
            Values::Keyed(keyed) => keyed.insert(publication),
            _ => {
                let mut keyed = Box::<Keyed>::default();
                let unkeyed = std::mem::take(self);
                let replaced = unkeyed.after(0).find_map(|first| keyed.insert(Arc::clone(first))).or_else(|| keyed.insert(publication));
                *self = Values::Keyed(keyed);
                replaced
            }
        }
    }

    /// The newest with this key.
    pub fn get(&self, key: &str) -> Option<&Arc<Publication>> {
        match self {
            Values::Nothing => None,
            Values::One(one) => Some(one).filter(|_| key.is_empty()),
            Values::Keyed(keyed) => keyed.offsets.get(key).and_then(|offset| keyed.by_offset.get(offset)),
        }
    }

    /// How many places are taken.
    pub fn len(&self) -> usize {
        match self {
            Values::Nothing => 0,
            Values::One(_) => 1,
            Values::Keyed(keyed) => keyed.by_offset.len(),
        }
    }

    /// Whether there was no publication.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The newest of all.
    pub fn newest(&self) -> Option<&Arc<Publication>> {
        match self {
            Values::Nothing => None,
            Values::One(one) => Some(one),
            Values::Keyed(keyed) => keyed.by_offset.last_key_value().map(|(_, newest)| newest),
        }
    }

    /// Forgets the oldest of the keyed.
    pub fn forget_oldest(&mut self) {
        if let Values::Keyed(keyed) = self
            && let Some((_, oldest)) = keyed.by_offset.pop_first()
        {
            keyed.offsets.remove(oldest.key());
        }
    }

    /// Those with a greater offset, the oldest first.
    pub fn after(&self, offset: u64) -> impl Iterator<Item = &Arc<Publication>> {
        let (one, keyed) = match self {
            Values::Nothing => (None, None),
            Values::One(one) => (Some(one).filter(|one| one.offset() > offset), None),
            Values::Keyed(keyed) => (None, Some(keyed.by_offset.range(offset + 1..).map(|(_, publication)| publication))),
        };
        one.into_iter().chain(keyed.into_iter().flatten())
    }
}

impl Keyed {
    fn insert(&mut self, publication: Arc<Publication>) -> Option<Arc<Publication>> {
        let offset = publication.offset();
        let before = match self.offsets.get_mut(publication.key()) {
            Some(place) => Some(std::mem::replace(place, offset)),
            None => self.offsets.insert(publication.key().into(), offset),
        };
        self.by_offset.insert(offset, publication);
        before.and_then(|before| self.by_offset.remove(&before))
    }
}
