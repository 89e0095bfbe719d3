//! What several rounds of one measurement came to. Imports nothing of this crate.

use std::fmt;
use std::time::Duration;

/// The median of some figures, and the least and greatest of them.
pub struct Spread {
    /// The figure in the middle.
    pub median: f64,
    /// The smallest.
    pub least: f64,
    /// The largest.
    pub greatest: f64,
}

impl Spread {
    /// Of at least one figure; of an even number, the median is the mean of the middle two.
    pub fn of(figures: impl Iterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = figures.collect();
        sorted.sort_by(f64::total_cmp);
        let (low, high) = ((sorted.len() - 1) / 2, sorted.len() / 2);
        Self { median: f64::midpoint(sorted[low], sorted[high]), least: sorted[0], greatest: sorted[sorted.len() - 1] }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { median, least, greatest } = self;
        let decimals = if *median < 100.0 { 2 } else { 0 };
        write!(f, "{median:.decimals$} ({least:.decimals$}-{greatest:.decimals$})")
    }
}

/// The longest of at least one time, in ms, without the hundredth that is longer.
pub fn p99_ms(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() * 99 / 100].as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_the_middle_two() {
        assert_eq!(Spread::of([3.0, 1.0, 10.0].into_iter()).median, 3.0);
        let even = Spread::of([4.0, 1.0, 10.0, 2.0].into_iter());
        assert_eq!((even.median, even.least, even.greatest), (3.0, 1.0, 10.0));
    }
}
