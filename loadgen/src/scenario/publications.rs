//! The publications that are on their way, seen by all threads: when each was intended and handed over, and when its first, median and last
//! delivery came. Owns a ring of them, so that a run of any length takes the same memory. Imports `stats`.

use std::sync::{
    OnceLock,
    atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
};

use crate::stats::Latency;

/// All publications of a run.
pub struct Publications {
    publishers: Vec<Publisher>,
    /// Subscribers acknowledged before the load began, by channel.
    subscribers: Vec<AtomicU32>,
    slots: Box<[Slot]>,
}

/// One publisher's account, of which the subscribers' threads need to know.
struct Publisher {
    /// The next sequence number.
    next: AtomicU64,
    /// The first sequence number that is measured; `u64::MAX` before.
    first_measured: AtomicU64,
    /// How many of those measured were withdrawn.
    withdrawn: AtomicU64,
    /// Called when a publication has reached all subscribers.
    completed: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

/// One publication. The publisher writes all before the message goes; then each delivery counts itself.
#[derive(Default)]
#[repr(align(64))]
struct Slot {
    /// One above the sequence number in the high half, 0 while there is none; deliveries in the low half.
    state: AtomicU64,
    subscribers: AtomicU32,
    intended_ns: AtomicU64,
    handed_ns: AtomicU64,
    first_ns: AtomicU64,
    median_ns: AtomicU64,
    last_ns: AtomicU64,
}

/// What the publications' completions came to.
pub struct Completion {
    /// First delivery less intended publication.
    pub first: Latency,
    /// Median delivery less intended publication.
    pub median: Latency,
    /// Last delivery less intended publication.
    pub last: Latency,
    /// Last delivery less first.
    pub spread: Latency,
}

/// Publications that can be on their way, over all publishers. A delivery that comes later than that still counts, but no longer for its
/// publication's first, median and last.
const SLOTS: usize = 1 << 15;

impl Publications {
    /// For so many publishers, and channels.
    pub fn new(publishers: usize, channels: usize) -> Publications {
        let publisher = || Publisher {
            next: AtomicU64::new(0),
            first_measured: AtomicU64::new(u64::MAX),
            withdrawn: AtomicU64::new(0),
            completed: OnceLock::new(),
        };
        let each = (SLOTS / publishers).max(16).next_power_of_two();
        Publications {
            publishers: (0..publishers).map(|_| publisher()).collect(),
            subscribers: (0..channels).map(|_| AtomicU32::new(0)).collect(),
            slots: (0..each * publishers).map(|_| Slot::default()).collect(),
        }
    }

    /// A subscriber of this channel was acknowledged.
    pub fn subscribed(&self, channel: usize) {
        self.subscribers[channel].fetch_add(1, Relaxed);
    }

    /// The first channel that nobody has subscribed to.
    pub fn channel_without_subscribers(&self) -> Option<usize> {
        self.subscribers.iter().position(|subscribers| subscribers.load(Relaxed) == 0)
    }

    /// Whether there is a publisher of this number.
    pub fn has(&self, publisher: usize) -> bool {
        publisher < self.publishers.len()
    }

    /// The channel that a publisher, or the subscriber of that index, belongs to.
    pub fn channel_of(&self, index: usize) -> usize {
        index % self.subscribers.len()
    }

    /// How many channels there are.
    pub fn channels(&self) -> usize {
        self.subscribers.len()
    }

    /// The publishers of a channel.
    pub fn publishers_of(&self, channel: usize) -> impl Iterator<Item = usize> + use<> {
        (channel..self.publishers.len()).step_by(self.subscribers.len())
    }

    /// How many subscribers a publication of this publisher is to reach.
    pub fn subscribers_of(&self, publisher: usize) -> u32 {
        self.subscribers[self.channel_of(publisher)].load(Relaxed)
    }

    /// What to call when a publication of this publisher is complete, from whatever thread.
    pub fn on_complete(&self, publisher: usize, call: impl Fn() + Send + Sync + 'static) {
        let _ = self.publishers[publisher].completed.set(Box::new(call));
    }

    /// The sequence number of a publisher's next publication.
    pub fn next(&self, publisher: usize) -> u64 {
        self.publishers[publisher].next.load(Relaxed)
    }

    /// The first sequence number of a publisher that is measured, once there is one.
    pub fn first_measured(&self, publisher: usize) -> Option<u64> {
        Some(self.publishers[publisher].first_measured.load(Relaxed)).filter(|&seq| seq != u64::MAX)
    }

    /// Begins a publisher's next publication, and gives its sequence number and how many deliveries it is to have. What the slot held is
    /// closed into `completion`.
    pub fn begin(&self, publisher: usize, intended_ns: u64, now_ns: u64, measured: bool, completion: &mut Completion) -> (u64, u32) {
        let account = &self.publishers[publisher];
        let seq = account.next.load(Relaxed);
        let slot = self.slot(publisher, seq);
        self.close(slot, publisher, now_ns, completion);
        let subscribers = self.subscribers_of(publisher);
        slot.subscribers.store(subscribers, Relaxed);
        slot.intended_ns.store(intended_ns, Relaxed);
        slot.handed_ns.store(now_ns, Relaxed);
        slot.first_ns.store(u64::MAX, Relaxed);
        slot.median_ns.store(0, Relaxed);
        slot.last_ns.store(0, Relaxed);
        // The message itself, through the kernel, orders these stores before any delivery's loads.
        slot.state.store((seq + 1) << 32, Relaxed);
        if measured {
            account.first_measured.fetch_min(seq, Relaxed);
        }
        account.next.store(seq + 1, Relaxed);
        (seq, subscribers)
    }

    /// The kernel has all of a publication.
    pub fn handed(&self, publisher: usize, seq: u64, at_ns: u64) {
        self.slot(publisher, seq).handed_ns.store(at_ns, Relaxed);
    }

    /// Takes back a publication that the server did not accept, so that no subscriber misses it and a closed loop goes on. `false` where a
    /// subscriber has it all the same: then it stands.
    pub fn withdraw(&self, publisher: usize, seq: u64, now_ns: u64) -> bool {
        let slot = self.slot(publisher, seq);
        if slot.state.compare_exchange((seq + 1) << 32, 0, Relaxed, Relaxed).is_err() {
            return false;
        }
        slot.subscribers.store(0, Relaxed);
        slot.last_ns.store(now_ns, Relaxed);
        if self.first_measured(publisher).is_some_and(|first| seq >= first) {
            self.publishers[publisher].withdrawn.fetch_add(1, Relaxed);
        }
        true
    }

    /// How many of a publisher's measured publications were withdrawn: their sequence numbers are missing for all subscribers.
    pub fn withdrawn(&self, publisher: usize) -> u64 {
        self.publishers[publisher].withdrawn.load(Relaxed)
    }

    /// Counts a delivery; gives when the publication was handed to the kernel, unless it is too long ago.
    #[inline]
    pub fn delivered(&self, publisher: usize, seq: u64, now_ns: u64) -> Option<u64> {
        let slot = self.slot(publisher, seq);
        let before = slot.state.load(Relaxed);
        if before >> 32 != (seq + 1) & 0xffff_ffff {
            return None;
        }
        if now_ns < slot.first_ns.load(Relaxed) {
            slot.first_ns.fetch_min(now_ns, Relaxed);
        }
        slot.last_ns.fetch_max(now_ns, Relaxed);
        let count = slot.state.fetch_add(1, Relaxed) as u32 + 1;
        let subscribers = slot.subscribers.load(Relaxed);
        if count == subscribers.div_ceil(2) {
            slot.median_ns.store(now_ns, Relaxed);
        }
        if count == subscribers
            && let Some(completed) = self.publishers[publisher].completed.get()
        {
            completed();
        }
        Some(slot.handed_ns.load(Relaxed))
    }

    /// Whether a publisher's latest publication has reached all subscribers, and when.
    pub fn completed_ns(&self, publisher: usize) -> Option<u64> {
        let seq = self.next(publisher).checked_sub(1)?;
        let slot = self.slot(publisher, seq);
        let all = slot.state.load(Relaxed) as u32 >= slot.subscribers.load(Relaxed);
        all.then(|| slot.last_ns.load(Relaxed))
    }

    /// When a publication was intended, if that is not too long ago.
    pub fn intended_ns(&self, publisher: usize, seq: u64) -> Option<u64> {
        let slot = self.slot(publisher, seq);
        (slot.state.load(Relaxed) >> 32 == (seq + 1) & 0xffff_ffff).then(|| slot.intended_ns.load(Relaxed))
    }

    /// Closes what is left of a publisher's publications.
    pub fn finish(&self, publisher: usize, now_ns: u64, completion: &mut Completion) {
        self.ring(publisher).iter().for_each(|slot| self.close(slot, publisher, now_ns, completion));
    }

    fn ring(&self, publisher: usize) -> &[Slot] {
        let each = self.slots.len() / self.publishers.len();
        &self.slots[publisher * each..][..each]
    }

    fn slot(&self, publisher: usize, seq: u64) -> &Slot {
        let ring = self.ring(publisher);
        &ring[seq as usize & (ring.len() - 1)]
    }

    fn close(&self, slot: &Slot, publisher: usize, now_ns: u64, completion: &mut Completion) {
        let state = slot.state.load(Relaxed);
        let (seq, count) = ((state >> 32).wrapping_sub(1), state as u32);
        // A delivery may have counted itself just after the slot was emptied.
        if state >> 32 == 0 || self.first_measured(publisher).is_none_or(|first| seq < (first & 0xffff_ffff)) {
            return;
        }
        let intended_ns = slot.intended_ns.load(Relaxed);
        let subscribers = slot.subscribers.load(Relaxed);
        let since = |at_ns: u64| at_ns.saturating_sub(intended_ns);
        let (first_ns, median_ns, last_ns) = (slot.first_ns.load(Relaxed), slot.median_ns.load(Relaxed), slot.last_ns.load(Relaxed));
        let age_ns = since(now_ns);
        if count > 0 {
            completion.first.record(since(first_ns));
        } else {
            completion.first.censor(age_ns);
        }
        if count >= subscribers.div_ceil(2) {
            completion.median.record(since(median_ns));
        } else {
            completion.median.censor(age_ns);
        }
        if count >= subscribers {
            completion.last.record(since(last_ns));
            completion.spread.record(last_ns.saturating_sub(first_ns));
        } else {
            completion.last.censor(age_ns);
            completion.spread.censor(now_ns.saturating_sub(first_ns.min(now_ns)));
        }
    }
}

impl Default for Completion {
    fn default() -> Completion {
        let [first, median, last, spread] = std::array::from_fn(|_| Latency::new());
        Completion { first, median, last, spread }
    }
}

impl Completion {
    /// Counts a publication that reached nobody, at its age.
    pub fn censor(&mut self, age_ns: u64) {
        self.first.censor(age_ns);
        self.median.censor(age_ns);
        self.last.censor(age_ns);
    }

    /// Takes in another publisher's.
    pub fn merge(&mut self, other: &Completion) {
        self.first.merge(&other.first);
        self.median.merge(&other.median);
        self.last.merge(&other.last);
        self.spread.merge(&other.spread);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Quantile::Exact;

    #[test]
    fn first_median_last_and_spread() {
        let (publications, mut completion) = (Publications::new(2, 1), Completion::default());
        (0..3).for_each(|_| publications.subscribed(0));
        assert_eq!(publications.begin(1, 1_000, 1_010, true, &mut completion), (0, 3));
        publications.handed(1, 0, 1_020);
        assert_eq!(publications.completed_ns(1), None);
        for now_ns in [1_100, 1_200, 1_400] {
            assert_eq!(publications.delivered(1, 0, now_ns), Some(1_020));
        }
        assert_eq!(publications.completed_ns(1), Some(1_400));
        publications.finish(1, 9_000, &mut completion);
        assert_eq!(
            [&completion.first, &completion.median, &completion.last, &completion.spread].map(Latency::max),
            [Exact(100), Exact(200), Exact(400), Exact(300)]
        );
    }

    #[test]
    fn what_is_incomplete_is_censored_and_warm_up_is_not_counted() {
        let (publications, mut completion) = (Publications::new(1, 1), Completion::default());
        (0..2).for_each(|_| publications.subscribed(0));
        publications.begin(0, 1_000, 1_000, false, &mut completion);
        publications.begin(0, 2_000, 2_000, true, &mut completion);
        publications.delivered(0, 1, 2_500);
        publications.finish(0, 3_000, &mut completion);
        assert_eq!((completion.first.count(), completion.first.censored()), (1, 0));
        assert_eq!((completion.last.count(), completion.last.censored()), (1, 1));
    }

    #[test]
    fn what_is_withdrawn_is_missed_by_nobody() {
        let (publications, mut completion) = (Publications::new(1, 1), Completion::default());
        publications.subscribed(0);
        publications.begin(0, 1_000, 1_000, true, &mut completion);
        assert!(publications.withdraw(0, 0, 1_500));
        assert_eq!((publications.withdrawn(0), publications.completed_ns(0)), (1, Some(1_500)));
        assert_eq!((publications.delivered(0, 0, 1_600), publications.intended_ns(0, 0)), (None, None));
        publications.begin(0, 2_000, 2_000, true, &mut completion);
        publications.delivered(0, 1, 2_500);
        assert!(!publications.withdraw(0, 1, 2_600), "a subscriber has it");
        publications.finish(0, 3_000, &mut completion);
        assert_eq!((publications.withdrawn(0), completion.last.count(), completion.last.censored()), (1, 1, 0));
    }

    #[test]
    fn a_delivery_later_than_the_ring_is_long_is_told_apart() {
        let (publications, mut completion) = (Publications::new(1, 1), Completion::default());
        publications.subscribed(0);
        for seq in 0..=SLOTS as u64 {
            assert_eq!(publications.begin(0, 1, 1, true, &mut completion).0, seq);
        }
        assert_eq!(publications.delivered(0, 0, 5), None);
        assert_eq!(publications.delivered(0, 1, 5), Some(1));
        assert_eq!((publications.intended_ns(0, 0), publications.intended_ns(0, 1)), (None, Some(1)));
    }
}
