//! Patterns: `ticker:*` stands for every channel whose name begins with `ticker:`. A pattern is a channel of its own that gets a copy of each of their
//! publications and remembers the newest of each channel. A channel knows its patterns and looks for them anew only when there are others,
//! so a publication costs nothing for those that do not match.

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
};

use crate::hub::Channel;

/// All patterns with subscribers, by what is before the asterisk.
#[derive(Debug, Default)]
pub struct Patterns {
    by_prefix: RwLock<HashMap<Box<str>, Arc<Channel>>>,
    generation: AtomicU32,
}

/// What is before the asterisk of a pattern: a namespace with its colon, at least, so that no pattern reaches into another's rights.
pub fn prefix(name: &str) -> Option<&str> {
    name.strip_suffix('*').filter(|prefix| prefix.contains(':') && !prefix.contains('*'))
}

/// Whether a name is neither a channel's nor a pattern's.
pub fn is_malformed(name: &str) -> bool {
    name.contains('*') && prefix(name).is_none()
}

impl Patterns {
    pub fn add(&self, prefix: &str, pattern: &Arc<Channel>) {
        self.by_prefix.write().unwrap_or_else(PoisonError::into_inner).insert(prefix.into(), Arc::clone(pattern));
        self.generation.fetch_add(1, SeqCst);
    }

    pub fn remove(&self, prefix: &str) {
        self.by_prefix.write().unwrap_or_else(PoisonError::into_inner).remove(prefix);
        self.generation.fetch_add(1, SeqCst);
    }

    /// The patterns that a channel belongs to, if there may be others than at the generation that it knows, which is brought up to date.
    pub fn matching(&self, name: &str, generation: &mut u32) -> Option<Box<[Arc<Channel>]>> {
        let before = std::mem::replace(generation, self.generation.load(SeqCst));
        if before == *generation {
            return None;
        }
        let by_prefix = self.by_prefix.read().unwrap_or_else(PoisonError::into_inner);
        let prefixes = name.char_indices().map(|(at, _)| &name[..at]).chain([name]);
        Some(prefixes.filter_map(|prefix| by_prefix.get(prefix).cloned()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_asterisk_at_the_end_behind_a_namespace() {
        assert_eq!((prefix("ticker:*"), prefix("ticker:A*")), (Some("ticker:"), Some("ticker:A")));
        for name in ["*", "tick*", "ticker:*A", "tick*:*", "ticker:**"] {
            assert!(is_malformed(name), "{name}");
        }
        assert!(!is_malformed("ticker:A") && !is_malformed("ticker:*"));
    }
}
