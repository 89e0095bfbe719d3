//! Lets a backend publish again, not knowing whether its first attempt arrived, without anyone getting the message twice. Imports only the hub's types.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, RandomState},
    time::{Duration, Instant},
};

use crate::hub::{HubError, Position};

/// As long as Centrifugo.
const REMEMBERED: Duration = Duration::from_secs(300);
/// The oldest results above this are forgotten early. Each takes about 80 bytes, however long its key.
const RESULTS_MAX: usize = 1 << 19;

/// What was published under which key, for a while.
#[derive(Default)]
pub struct Idempotency {
    results: HashMap<u128, Position>,
    /// In the order in which they are forgotten.
    order: VecDeque<(Instant, u128)>,
    /// Secret, so that nobody chooses two keys that are the same to us.
    halves: [RandomState; 2],
}

impl Idempotency {
    /// Where the message was published to this channel under this key, which `publish` does if it was not.
    ///
    /// # Errors
    /// What `publish` refuses, which is not remembered.
    pub fn once(
        &mut self,
        channel: &str,
        key: &str,
        now: Instant,
        publish: impl FnOnce() -> Result<Position, HubError>,
    ) -> Result<Position, HubError> {
        self.forget_old(now);
        let [high, low] = self.halves.each_ref().map(|half| half.hash_one((channel, key)));
        let id = u128::from(high) << 64 | u128::from(low);
        if let Some(position) = self.results.get(&id) {
            return Ok(*position);
        }
        let position = publish()?;
        if self.order.len() == RESULTS_MAX {
            self.forget_oldest();
        }
        self.results.insert(id, position);
        self.order.push_back((now, id));
        Ok(position)
    }

    /// Forgets what is too old. Called from time to time, so that memory is given back when no more keys come.
    pub fn forget_old(&mut self, now: Instant) {
        while self.order.front().is_some_and(|&(then, _)| now.saturating_duration_since(then) > REMEMBERED) {
            self.forget_oldest();
        }
        if self.order.is_empty() {
            (self.results, self.order) = Default::default();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, id)) = self.order.pop_front() {
            self.results.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::Epoch;

    fn at(offset: u64) -> Result<Position, HubError> {
        Ok(Position { offset, epoch: Epoch::UNKNOWN })
    }

    #[test]
    fn a_key_is_published_once_in_each_channel() {
        let (mut idempotency, now) = (Idempotency::default(), Instant::now());
        assert_eq!(idempotency.once("a", "k", now, || at(1)), at(1));
        assert_eq!(idempotency.once("a", "k", now + REMEMBERED, || at(2)), at(1));
        assert_eq!(idempotency.once("b", "k", now, || at(3)), at(3));
        assert_eq!(idempotency.once("a", "l", now, || at(4)), at(4));
    }

    #[test]
    fn a_key_is_forgotten_with_time() {
        let (mut idempotency, now) = (Idempotency::default(), Instant::now());
        assert_eq!(idempotency.once("a", "k", now, || at(1)), at(1));
        let later = now + REMEMBERED + Duration::from_millis(1);
        assert_eq!(idempotency.once("a", "k", later, || at(2)), at(2));
        idempotency.forget_old(later + REMEMBERED * 2);
        assert!(idempotency.results.is_empty() && idempotency.order.is_empty());
    }

    #[test]
    fn what_is_refused_may_be_tried_again() {
        let (mut idempotency, now) = (Idempotency::default(), Instant::now());
        assert_eq!(idempotency.once("a", "k", now, || Err(HubError::Overloaded)), Err(HubError::Overloaded));
        assert_eq!(idempotency.once("a", "k", now, || at(1)), at(1));
    }

    #[test]
    fn the_oldest_makes_room() {
        let (mut idempotency, now) = (Idempotency::default(), Instant::now());
        for offset in 0..=RESULTS_MAX as u64 {
            assert_eq!(idempotency.once("a", &offset.to_string(), now, || at(offset)), at(offset));
        }
        assert_eq!((idempotency.results.len(), idempotency.order.len()), (RESULTS_MAX, RESULTS_MAX));
        assert_eq!(idempotency.once("a", "1", now, || at(0)), at(1));
        assert_eq!(idempotency.once("a", "0", now, || at(9)), at(9));
    }
}
