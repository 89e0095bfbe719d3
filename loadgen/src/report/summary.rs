//! The figures over the runs of `--repeat`. Owns which parts of a latency are printed. Imports `metrics`, `stats` and `values`.

use super::Run;
use crate::{
    metrics::{CATALOGUE, Metric},
    stats::{Latency, Quantile},
    values::Value,
};

/// What is printed of a latency.
pub const PARTS: [&str; 5] = ["p50", "p90", "p99", "p99.9", "max"];

/// The values of [`PARTS`].
pub fn parts(latency: &Latency) -> [Quantile; PARTS.len()] {
    [latency.quantile(0.5), latency.quantile(0.9), latency.quantile(0.99), latency.quantile(0.999), latency.max()]
}

/// The figures over all runs, in the catalogue's order.
#[derive(Debug)]
pub struct Summary(pub Vec<(&'static Metric, Figure)>);

/// One metric over the runs that measured it.
#[derive(Debug)]
pub enum Figure {
    /// A latency.
    Latency {
        /// As [`PARTS`] names them.
        parts: Vec<Spread<Quantile>>,
        /// Samples, answered and censored.
        count: Spread<f64>,
    },
    /// Anything else.
    Number(Spread<f64>),
}

/// The least, the middle and the greatest of what the runs gave. Each is a value of one run; of two in the middle the lower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spread<T> {
    /// The middle.
    pub median: T,
    /// The least.
    pub min: T,
    /// The greatest.
    pub max: T,
}

impl Summary {
    /// Of these runs; a metric that no run measured is absent.
    pub fn of(runs: &[Run]) -> Summary {
        let figure = |metric: &'static Metric| {
            let values: Vec<&Value> = runs.iter().filter_map(|run| run.values.get(metric.name)).collect();
            Some((metric, Figure::of(&values)?))
        };
        Summary(CATALOGUE.iter().filter_map(figure).collect())
    }
}

impl Figure {
    fn of(values: &[&Value]) -> Option<Figure> {
        let of_latency = |value: &&Value| if let Value::Latency(latency) = value { Some(parts(latency)) } else { None };
        let runs: Vec<_> = values.iter().filter_map(of_latency).collect();
        let mut numbers: Vec<f64> = values
            .iter()
            .map(|value| match value {
                Value::Latency(latency) => latency.count() as f64,
                Value::Number(number) => *number,
                Value::Count(count) => *count as f64,
            })
            .collect();
        numbers.sort_by(f64::total_cmp);
        let numbers = Spread::of(&numbers)?;
        if runs.is_empty() {
            return Some(Figure::Number(numbers));
        }
        let parts = (0..PARTS.len()).map(|part| Spread::of_quantiles(runs.iter().map(|parts| parts[part])));
        Some(Figure::Latency { parts: parts.collect(), count: numbers })
    }
}

impl<T: Copy> Spread<T> {
    /// Of values in ascending order; `None` if there are none.
    fn of(sorted: &[T]) -> Option<Spread<T>> {
        Some(Spread { median: *sorted.get(sorted.len().saturating_sub(1) / 2)?, min: *sorted.first()?, max: *sorted.last()? })
    }
}

impl Spread<Quantile> {
    /// By the rule of a single run: what is known only as a lower bound lies anywhere from there upwards. Runs with too few samples are
    /// left out; `TooFew` if all had.
    fn of_quantiles(quantiles: impl Iterator<Item = Quantile>) -> Spread<Quantile> {
        let bounds = quantiles.filter_map(|quantile| match quantile {
            Quantile::Exact(ns) => Some((ns, ns)),
            Quantile::Above(ns) => Some((ns, u64::MAX)),
            Quantile::TooFew => None,
        });
        let (mut lower, mut upper): (Vec<u64>, Vec<u64>) = bounds.unzip();
        lower.sort_unstable();
        upper.sort_unstable();
        let between = |(lower, upper)| if upper == u64::MAX { Quantile::Above(lower) } else { Quantile::Exact(upper) };
        let sorted: Vec<Quantile> = lower.into_iter().zip(upper).map(between).collect();
        let none = Spread { median: Quantile::TooFew, min: Quantile::TooFew, max: Quantile::TooFew };
        Spread::of(&sorted).unwrap_or(none)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::sample, *};

    #[test]
    fn a_summary_is_in_the_catalogues_order_and_of_values_that_were_seen() {
        let Summary(figures) = Summary::of(&sample(4).runs);
        let names: Vec<&str> = figures.iter().map(|(metric, _)| metric.name).collect();
        assert_eq!(names[..4], ["connected", "failed", "response", "rate"]);
        let Figure::Number(sent) = figures[4].1 else { panic!("{figures:?}") };
        assert_eq!(sent, Spread { median: 1_000_002.0, min: 1_000_001.0, max: 1_000_004.0 });
        assert!(matches!(figures[2].1, Figure::Latency { count: Spread { median: 1010.0, .. }, .. }));
    }

    #[test]
    fn quantiles_over_runs_keep_what_is_only_a_lower_bound() {
        use Quantile::{Above, Exact, TooFew};
        for (seen, median, min, max) in [
            (&[Exact(5), Exact(3), Exact(4)][..], Exact(4), Exact(3), Exact(5)),
            // The unanswered one may be the least or the greatest: the others bound the least from above.
            (&[Above(1), Exact(3), Exact(4)], Exact(4), Exact(3), Above(4)),
            (&[Above(9), Above(2), Exact(4)], Above(4), Exact(4), Above(9)),
            (&[Above(9), TooFew], Above(9), Above(9), Above(9)),
            (&[TooFew, TooFew], TooFew, TooFew, TooFew),
        ] {
            assert_eq!(Spread::of_quantiles(seen.iter().copied()), Spread { median, min, max }, "{seen:?}");
        }
    }
}
