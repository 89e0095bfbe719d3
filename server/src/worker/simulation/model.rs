//! What a channel remembers, as a list of all that was ever published. Slow and plain on purpose.

use std::{collections::HashMap, sync::Arc};

use crate::{config::ChannelOptions, hub::Position};

/// One channel, with all its lives.
pub struct Channel {
    pub name: String,
    pub options: Arc<ChannelOptions>,
    pub lives: Vec<Life>,
}

/// From when the hub makes the channel until it forgets it.
pub struct Life {
    pub epoch: String,
    /// The publication with offset 1 first.
    pub log: Vec<Entry>,
    pub by_backend: bool,
}

pub struct Entry {
    pub payload: String,
    pub key: String,
    pub in_history: bool,
    pub at_ms: u64,
}

impl Life {
    pub fn top(&self) -> u64 {
        self.log.len() as u64
    }

    pub fn entry(&self, offset: u64) -> &Entry {
        &self.log[offset as usize - 1]
    }

    /// Whether a later publication has taken its place.
    pub fn is_replaced(&self, offset: u64) -> bool {
        let key = &self.entry(offset).key;
        self.log[offset as usize..].iter().any(|later| later.key == *key)
    }

    /// The newest of each key.
    pub fn newest(&self) -> Vec<u64> {
        let newest: HashMap<&str, u64> = self.log.iter().zip(1..).map(|(entry, offset)| (&*entry.key, offset)).collect();
        let mut offsets: Vec<u64> = newest.into_values().collect();
        offsets.sort_unstable();
        offsets
    }

    fn history(&self, options: &ChannelOptions, now_ms: u64) -> Vec<u64> {
        let is_young = |offset: &u64| now_ms - self.entry(*offset).at_ms <= options.history_ttl.as_millis() as u64;
        let mut offsets: Vec<u64> = (1..=self.top()).rev().take(options.history_size).take_while(is_young).collect();
        offsets.reverse();
        offsets
    }
}

impl Channel {
    /// The number of the present life, and that life.
    pub fn life(&self) -> (usize, &Life) {
        (self.lives.len() - 1, &self.lives[self.lives.len() - 1])
    }

    /// The hub says where the channel stands. If it is another life, the one before must have been of no use to anyone.
    pub fn stands_at(&mut self, position: Position, top: u64, has_subscribers: bool, now_ms: u64) {
        let epoch = position.epoch.to_string();
        if let Some(life) = self.lives.last()
            && life.epoch == epoch
        {
            assert_eq!(position.offset, life.top() + top, "offsets of {} rise by one", self.name);
            return;
        }
        if let Some(life) = self.lives.last() {
            let ttl_ms = self.options.value_ttl.as_millis() as u64;
            let is_forgotten = life.log.last().is_none_or(|last| ttl_ms > 0 && now_ms - last.at_ms > ttl_ms);
            let is_useless = life.history(&self.options, now_ms).is_empty() && (!life.by_backend || is_forgotten);
            assert!(is_useless && !has_subscribers, "{} was forgotten too early", self.name);
        }
        assert_eq!(position.offset, top, "a new life of {} begins with 1", self.name);
        self.lives.push(Life { epoch, log: Vec::new(), by_backend: false });
    }

    /// What a new subscriber is to get: offsets, and whether it recovered.
    pub fn snapshot(&self, start: Option<(u64, &str)>, now_ms: u64) -> (Vec<u64>, bool) {
        let (_, life) = self.life();
        let all = if self.options.last_value { life.newest() } else { Vec::new() };
        let Some((offset, epoch)) = start else { return (all, false) };
        let is_same = epoch.is_empty() || epoch == life.epoch;
        if is_same && offset == life.top() {
            return (Vec::new(), true);
        }
        if self.options.history_size == 0 {
            let newer: Vec<u64> = all.iter().copied().filter(|&newest| newest > offset).collect();
            let recovers = !all.is_empty();
            return (if is_same && offset < life.top() { newer } else { all }, recovers);
        }
        let history = life.history(&self.options, now_ms);
        let missed: Vec<u64> = (offset + 1..=life.top()).collect();
        let recovers = is_same && offset <= life.top() && missed.iter().all(|missed| history.contains(missed));
        if recovers { (missed.into_iter().filter(|&missed| life.entry(missed).in_history).collect(), true) } else { (all, false) }
    }
}
