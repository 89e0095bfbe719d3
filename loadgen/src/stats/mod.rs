//! Figures from samples: distributions of times, what a stream of messages lost, a line through noisy points. Owns the rule of when a percentile may be
//! given. Imports units, to print times.

mod compact;
mod latency;
mod line;
mod sequence;

pub use self::{
    compact::Compact,
    latency::{Latency, Quantile},
    line::Line,
    sequence::{Arrival, Sequence},
};

/// A quantile stands on at least this many samples beyond it.
const SAMPLES_BEYOND: f64 = 10.0;

/// The place in order, from 1, of the quantile `q` (between 0 and 1) of `count` samples: the smallest with at least `q` of them at or below it. `None`
/// where fewer than 10/(1−q) samples are too few to tell.
fn rank(count: u64, q: f64) -> Option<u64> {
    // Decimal fractions are not exact in binary: 10/(1−0.9999) is a little more than 100,000, and 0.07·100 a little more than 7.
    let needed = (SAMPLES_BEYOND / (1.0 - q) * (1.0 - 1e-9)).ceil();
    (count as f64 >= needed).then(|| ((count as f64 * q * (1.0 - 1e-12)).ceil() as u64).max(1))
}

#[cfg(test)]
mod tests {
    use super::rank;

    #[test]
    fn a_quantile_needs_ten_samples_beyond_it() {
        for (q, needed) in [(0.5, 20), (0.7, 34), (0.9, 100), (0.99, 1000), (0.999, 10_000), (0.9999, 100_000), (0.99999, 1_000_000)] {
            assert_eq!(rank(needed - 1, q), None, "{q}");
            assert_eq!(rank(needed, q), Some((needed as f64 * q).round() as u64), "{q}");
        }
        assert_eq!(rank(u64::MAX, 1.0), None);
    }

    #[test]
    fn ranks_are_rounded_up_from_the_exact_product() {
        assert_eq!(rank(100, 0.07), Some(7));
        assert_eq!(rank(101, 0.07), Some(8));
        assert_eq!(rank(100, 0.0), Some(1));
    }
}
