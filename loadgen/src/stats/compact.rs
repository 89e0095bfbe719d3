//! A distribution small enough for one per subscriber. Imports nothing but its room's rule.

use super::rank;

/// Buckets to each power of two, as a power of two.
const STEP_BITS: u32 = 2;

/// Times below 2^10 ns, about a microsecond, fall into the first bucket.
const LOW_BITS: u32 = 10;

/// Times of 2^42 ns, over an hour, and more fall into the last.
const HIGH_BITS: u32 = 42;

const BUCKETS: usize = ((HIGH_BITS - LOW_BITS) << STEP_BITS) as usize;

/// Times in nanoseconds in 512 bytes: four buckets to each power of two from a microsecond to an hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compact {
    counts: [u32; BUCKETS],
}

const _: () = assert!(size_of::<Compact>() <= 512);

impl Compact {
    /// No times yet.
    pub fn new() -> Compact {
        Compact { counts: [0; BUCKETS] }
    }

    /// Counts one of `ns` nanoseconds.
    #[inline]
    pub fn record(&mut self, ns: u64) {
        let count = &mut self.counts[bucket(ns)];
        *count = count.saturating_add(1);
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().map(|&count| u64::from(count)).sum()
    }

    /// The quantile `q`, between 0 and 1, in nanoseconds: the end of its bucket, so at most a quarter above the exact one where that is a microsecond or
    /// more. `None` below 10/(1−q) samples.
    pub fn quantile(&self, q: f64) -> Option<u64> {
        let rank = rank(self.count(), q)?;
        let mut before = 0;
        let bucket = self.counts.iter().position(|&count| {
            before += u64::from(count);
            before >= rank
        });
        bucket.map(end)
    }
}

impl Default for Compact {
    fn default() -> Compact {
        Compact::new()
    }
}

/// Where `ns` falls: its power of two, and in that the two bits below its highest.
#[inline]
fn bucket(ns: u64) -> usize {
    let ns = ns.clamp(1 << LOW_BITS, (1 << HIGH_BITS) - 1);
    let power = ns.ilog2();
    let step = (ns >> (power - STEP_BITS)) as usize & ((1 << STEP_BITS) - 1);
    ((power - LOW_BITS) << STEP_BITS) as usize + step
}

/// The longest time of a bucket.
fn end(bucket: usize) -> u64 {
    let (power, step) = ((bucket >> STEP_BITS) as u32 + LOW_BITS, bucket as u64 & ((1 << STEP_BITS) - 1));
    (((1 << STEP_BITS) + step + 1) << (power - STEP_BITS)) - 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn buckets_end_where_the_next_begins() {
        for index in 0..BUCKETS {
            assert_eq!(bucket(end(index)), index);
            assert_eq!(bucket(end(index) + 1), (index + 1).min(BUCKETS - 1));
        }
        assert_eq!((bucket(0), bucket(u64::MAX)), (0, BUCKETS - 1));
    }

    #[test]
    fn too_few_for_a_quantile() {
        let mut compact = Compact::new();
        (0..99).for_each(|_| compact.record(5_000));
        assert_eq!((compact.count(), compact.quantile(0.9)), (99, None));
        compact.record(5_000);
        assert_eq!((compact.count(), compact.quantile(0.9)), (100, Some(5_119)));
    }

    proptest! {
        #[test]
        fn quantiles_are_at_most_a_quarter_above(mut samples in prop::collection::vec(1_024..1u64 << 42, 100..300), q in 0.0..0.9f64) {
            let mut compact = Compact::new();
            samples.iter().for_each(|&ns| compact.record(ns));
            samples.sort_unstable();
            let exact = samples[((samples.len() as f64 * q).ceil() as usize).saturating_sub(1)];
            let quantile = compact.quantile(q);
            prop_assert!(quantile.is_some_and(|ns| ns >= exact && ns <= exact + exact / 4), "{quantile:?} for {exact}");
        }
    }
}
