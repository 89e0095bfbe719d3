//! What a run measured, by the names that `metrics` lists. Imports `stats`.

use std::collections::BTreeMap;

use crate::stats::Latency;

/// One figure of a run, in its metric's unit.
#[derive(Clone, Debug)]
pub enum Value {
    /// A distribution of times.
    Latency(Latency),
    /// Per second, bytes, microseconds of CPU time, or a ratio.
    Number(f64),
    /// A whole number.
    Count(u64),
}

/// By name from `metrics::CATALOGUE`; what was not measured is absent.
pub type Values = BTreeMap<&'static str, Value>;
