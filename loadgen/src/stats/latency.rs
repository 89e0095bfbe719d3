//! A distribution of times of which some had not ended when the run did. Owns what may be said of it then. Imports units,
//! to print times, and its room's rule.

use std::fmt;

use hdrhistogram::Histogram;

use super::rank;
use crate::units::rounded_duration;

/// An hour in nanoseconds: longer times count as this.
const NS_MAX: u64 = 3_600_000_000_000;

/// Times in nanoseconds, from 1 ns to an hour, three digits exact: those answered ([`Latency::record`]) and those still unanswered at the end, at the age
/// they had reached ([`Latency::censor`]). A merge ([`Latency::merge`]) is as if all had been recorded in one.
///
/// A censored time is known only to be longer than its age, so that [`Latency::quantile`] and its like have two bounds: the lower with each censored time
/// at its age, the upper with each at infinity. Where the upper is infinite, the answer is that it is above the lower.
#[derive(Clone)]
pub struct Latency {
    answered: Histogram<u64>,
    /// Most distributions never have one.
    censored: Option<Histogram<u64>>,
}

/// What can be said of a quantile, in nanoseconds. `Display` gives `1.23ms`, `>1.23ms` or `n/a`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantile {
    /// It is this; where unanswered times might make it less, this at most.
    Exact(u64),
    /// It falls among the unanswered and is longer than this.
    Above(u64),
    /// There are too few samples to tell.
    TooFew,
}

impl Latency {
    /// No times yet.
    pub fn new() -> Latency {
        Latency { answered: histogram(), censored: None }
    }

    /// Counts one that was answered after `ns` nanoseconds.
    #[inline]
    pub fn record(&mut self, ns: u64) {
        self.answered.saturating_record(ns.min(NS_MAX));
    }

    /// Counts one that is unanswered at the age of `age_ns` nanoseconds.
    pub fn censor(&mut self, age_ns: u64) {
        self.censor_all(age_ns, 1);
    }

    /// Counts so many that are unanswered at the same age.
    pub fn censor_all(&mut self, age_ns: u64, count: u64) {
        self.censored.get_or_insert_with(histogram).saturating_record_n(age_ns.min(NS_MAX), count);
    }

    /// Adds all that `other` holds.
    pub fn merge(&mut self, other: &Latency) {
        self.answered += &other.answered;
        if let Some(censored) = &other.censored {
            *self.censored.get_or_insert_with(histogram) += censored;
        }
    }

    /// How many there are, answered and censored.
    pub fn count(&self) -> u64 {
        self.answered.len() + self.censored()
    }

    /// How many are censored.
    pub fn censored(&self) -> u64 {
        self.censored.as_ref().map_or(0, Histogram::len)
    }

    /// The quantile `q`, between 0 and 1: [`Quantile::TooFew`] below 10/(1−q) samples.
    pub fn quantile(&self, q: f64) -> Quantile {
        rank(self.count(), q).map_or(Quantile::TooFew, |rank| self.at_rank(rank))
    }

    /// The shortest; [`Quantile::TooFew`] where there is none.
    pub fn min(&self) -> Quantile {
        self.at_rank(1)
    }

    /// The longest; [`Quantile::TooFew`] where there is none.
    pub fn max(&self) -> Quantile {
        self.at_rank(self.count())
    }

    /// The mean, above that of answers and ages where any is censored; [`Quantile::TooFew`] where there is none.
    pub fn mean(&self) -> Quantile {
        match self.count() {
            0 => Quantile::TooFew,
            _ if self.censored() == 0 => Quantile::Exact(self.answered.mean().round() as u64),
            _ => Quantile::Above(self.with_ages().mean().round() as u64),
        }
    }

    /// The answered ones: the longest time of each bucket that is not empty, in nanoseconds, and how many fell into it; in order.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        buckets(&self.answered)
    }

    /// The same of the censored ones and their ages.
    pub fn censored_buckets(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.censored.iter().flat_map(buckets)
    }

    /// The time at this place in order, from 1. The bounds are a bucket's own: the upper its longest time, the lower its shortest.
    fn at_rank(&self, rank: u64) -> Quantile {
        if let Some(upper) = bucket_at(&self.answered, rank) {
            return Quantile::Exact(upper);
        }
        let both = self.with_ages();
        bucket_at(&both, rank).map_or(Quantile::TooFew, |lower| Quantile::Above(both.lowest_equivalent(lower)))
    }

    fn with_ages(&self) -> Histogram<u64> {
        let mut both = self.answered.clone();
        if let Some(censored) = &self.censored {
            both += censored;
        }
        both
    }
}

impl Default for Latency {
    fn default() -> Latency {
        Latency::new()
    }
}

impl fmt::Debug for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Latency").field("count", &self.count()).field("censored", &self.censored()).finish_non_exhaustive()
    }
}

impl fmt::Display for Quantile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Quantile::Exact(ns) => f.pad(&rounded_duration(ns)),
            Quantile::Above(ns) => f.pad(&format!(">{}", rounded_duration(ns))),
            Quantile::TooFew => f.pad("n/a"),
        }
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, NS_MAX, 3).expect("the bounds are in order")
}

fn buckets(histogram: &Histogram<u64>) -> impl Iterator<Item = (u64, u64)> + '_ {
    histogram.iter_recorded().map(|bucket| (bucket.value_iterated_to(), bucket.count_at_value()))
}

/// The longest time of the bucket that holds this place in order; `None` where there are not so many, or for place 0.
fn bucket_at(histogram: &Histogram<u64>, rank: u64) -> Option<u64> {
    let mut before = 0;
    buckets(histogram).find_map(|(value, count)| {
        before += count;
        (before >= rank && rank > 0).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn latency(answered: &[u64], ages: &[u64]) -> Latency {
        let mut latency = Latency::new();
        answered.iter().for_each(|&ns| latency.record(ns));
        ages.iter().for_each(|&ns| latency.censor(ns));
        latency
    }

    #[test]
    fn nothing_is_said_of_nothing() {
        let empty = Latency::new();
        assert_eq!([empty.quantile(0.5), empty.min(), empty.max(), empty.mean()], [Quantile::TooFew; 4]);
        assert_eq!((empty.count(), empty.buckets().count(), empty.censored_buckets().count()), (0, 0, 0));
    }

    #[test]
    fn a_percentile_among_the_unanswered_is_above_their_ages() {
        let mut latency = latency(&[1_000; 985], &[2_000; 5]);
        (0..10).for_each(|_| latency.censor(500));
        // At their ages 995 of 1000 are at 1000 ns or below; at infinity only 985 are.
        assert_eq!(latency.quantile(0.98), Quantile::Exact(1_000));
        assert_eq!(latency.quantile(0.99), Quantile::Above(1_000));
        assert_eq!(latency.max(), Quantile::Above(2_000));
        assert_eq!(latency.min(), Quantile::Exact(1_000));
        assert_eq!(latency.mean(), Quantile::Above(1_000));
        assert_eq!((latency.count(), latency.censored()), (1000, 15));
        assert_eq!(latency.buckets().collect::<Vec<_>>(), [(1_000, 985)]);
        assert_eq!(latency.censored_buckets().collect::<Vec<_>>(), [(500, 10), (2_000, 5)]);
    }

    #[test]
    fn nothing_answered_is_above_the_ages() {
        let latency = latency(&[], &[1_000, 1_500]);
        assert_eq!(
            [latency.min(), latency.mean(), latency.max()],
            [Quantile::Above(1_000), Quantile::Above(1_250), Quantile::Above(1_500)]
        );
    }

    #[test]
    fn longer_than_an_hour_is_an_hour() {
        let latency = latency(&[NS_MAX + NS_MAX / 10, u64::MAX], &[u64::MAX]);
        let hour = latency.buckets().collect::<Vec<_>>();
        assert!(matches!(hour[..], [(NS_MAX.., 2)]), "{hour:?}");
        assert!(matches!(latency.max(), Quantile::Above(ns) if ns <= NS_MAX && ns > NS_MAX - NS_MAX / 1000));
    }

    #[test]
    fn printed() {
        let printed = [Quantile::Exact(1_234_000), Quantile::Above(1_234_000), Quantile::TooFew, Quantile::Exact(17)]
            .map(|quantile| format!("{quantile:>8}"));
        assert_eq!(printed, ["  1.23ms", " >1.23ms", "     n/a", "    17ns"]);
    }

    proptest! {
        #[test]
        fn quantiles_are_those_of_the_sorted_samples(
            answered in prop::collection::vec(0..20_000_000_000u64, 0..400), ages in prop::collection::vec(0..20_000_000_000u64, 0..40), q in 0.0..1.0f64, split in 0..400usize,
        ) {
            // In two parts, to see the merge too.
            let (first, second) = answered.split_at(split.min(answered.len()));
            let mut latency = latency(first, &[]);
            latency.merge(&self::latency(second, &ages));
            let (mut lower, mut upper) = ([&answered[..], &ages].concat(), answered);
            lower.sort_unstable();
            upper.sort_unstable();
            upper.resize(lower.len(), u64::MAX);
            let about = |ns: u64, exact: u64| ns.abs_diff(exact) <= exact / 1000;
            let enough = lower.len() as f64 * (1.0 - q) >= 10.0;
            let index = ((lower.len() as f64 * q).ceil() as usize).saturating_sub(1);
            match latency.quantile(q) {
                Quantile::TooFew => prop_assert!(!enough),
                Quantile::Exact(ns) => prop_assert!(enough && ns >= upper[index] && about(ns, upper[index])),
                Quantile::Above(ns) => prop_assert!(enough && upper[index] == u64::MAX && ns <= lower[index] && about(ns, lower[index])),
            }
            prop_assert_eq!(latency.buckets().map(|(_, count)| count).sum::<u64>() + latency.censored(), lower.len() as u64);
        }
    }
}
