//! What a worker counts. Each worker writes its own counters and nobody else's, so counting costs a plain store; readers sum over the workers.
//! Imports nothing.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// A number that one thread changes and any thread reads.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to the number. Only the owning worker may call this.
    #[inline]
    pub fn add(&self, amount: u64) {
        // One writer, so a load and a store do what a locked instruction would, without its cost.
        self.0.store(self.0.load(Relaxed).wrapping_add(amount), Relaxed);
    }

    /// The number now.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A histogram of durations in buckets that double: the first ends at 16 µs, the last but one at about 8 s, the last never.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [Counter; Histogram::BUCKETS],
    sum_us: Counter,
}

impl Histogram {
    /// The number of buckets.
    pub const BUCKETS: usize = 21;
    const FIRST_BOUND_US: u64 = 16;

    /// The upper bound of a bucket in seconds; `None` for the last.
    pub fn bound_seconds(bucket: usize) -> Option<f64> {
        (bucket + 1 < Self::BUCKETS).then(|| (Self::FIRST_BOUND_US << bucket) as f64 / 1e6)
    }

    /// Counts one duration.
    pub fn observe(&self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let doublings = us.div_ceil(Self::FIRST_BOUND_US).max(1).next_power_of_two().trailing_zeros() as usize;
        self.buckets[doublings.min(Self::BUCKETS - 1)].add(1);
        self.sum_us.add(us);
    }

    /// How many durations each bucket has.
    pub fn buckets(&self) -> [u64; Self::BUCKETS] {
        std::array::from_fn(|bucket| self.buckets[bucket].get())
    }

    /// The sum of all durations, in microseconds.
    pub fn sum_us(&self) -> u64 {
        self.sum_us.get()
    }
}

/// What one worker counts.
#[derive(Debug, Default)]
// No two workers' counters share a cache line.
#[repr(align(128))]
pub struct Metrics {
    /// Sockets accepted.
    pub accepted: Counter,
    /// Sockets closed, by either side.
    pub closed: Counter,
    /// Handshakes that ended in a 101.
    pub upgrades: Counter,
    /// Requests answered with anything but a 101.
    pub plain_answers: Counter,
    /// Messages received.
    pub messages_in: Counter,
    /// Bytes received.
    pub bytes_in: Counter,
    /// Bytes handed to the kernel.
    pub bytes_out: Counter,
    /// Calls that handed bytes to the kernel.
    pub sends: Counter,
    /// Publications queued for a subscriber.
    pub deliveries: Counter,
    /// Publications that a subscriber behind never got, because a later one replaced them.
    pub conflated: Counter,
    /// Connections closed for what the peer did wrong.
    pub peer_errors: Counter,
    /// Receive operations given to the kernel; only a driver whose receives are operations counts them, here and below.
    pub receives_begun: Counter,
    /// Receive operations that have ended.
    pub receives_ended: Counter,
    /// Receive operations that ended for want of a buffer.
    pub receive_buffers_exhausted: Counter,
    /// From a publication to the end of the turn that sent it to this worker's subscribers.
    pub delivery: Histogram,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_fall_into_their_buckets() {
        let histogram = Histogram::default();
        for us in [0, 16, 17, 32, 1000, 60_000_000] {
            histogram.observe(Duration::from_micros(us));
        }
        let buckets = histogram.buckets();
        assert_eq!((buckets[0], buckets[1], buckets[6], buckets[Histogram::BUCKETS - 1]), (2, 2, 1, 1));
        assert_eq!(buckets.iter().sum::<u64>(), 6);
        assert_eq!(Histogram::bound_seconds(6), Some(0.001024));
        assert_eq!(histogram.sum_us(), 60_001_065);
    }
}
