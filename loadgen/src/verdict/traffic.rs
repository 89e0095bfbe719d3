//! The rules about what was sent and measured: enough, steadily, as asked. Imports the verdict's terms and `units`.

use std::time::Duration;

use super::{Finding, Kind, Observed, OpenLoop, Slope, invalid, per_cent, warning};
use crate::{metrics::Scenario, units::rounded_bytes};

/// A delay of sends that can explain a rate that was not kept; below it, the timers' own.
const LAG_EXPLAINS: Duration = Duration::from_millis(1);
/// A run below either has figures that another run would not give again.
const MEASURED_MIN: Duration = Duration::from_secs(3);
const SAMPLES_MIN: u64 = 1000;
/// How far the medians of the first and second half may be apart.
const HALVES_APART: f64 = 0.10;
/// A second below this part of the median is a gap.
const GAP: f64 = 0.5;
/// Below these, a series has too few seconds, or too few messages in each, to tell a change from chance.
const SERIES_SECONDS_MIN: usize = 4;
const SERIES_MEDIAN_MIN: u64 = 100;
/// How far the steps of `idle` may be off their line, as a part of what all connections added.
const SCATTER_PART_OF_GROWTH: f64 = 0.10;
/// Connections that added less were served from what the server had free: an allocator takes memory from the kernel in pieces of about this size.
const GROWTH_MIN_BYTES: f64 = 64.0 * 1024.0;

pub(super) fn send_rate_short(seen: &Observed) -> Option<Finding> {
    let open_loop = seen.open_loop.filter(|open_loop| open_loop.is_short())?;
    let OpenLoop { intended, sent, lag_own_p99: own, lag_server_p99: server, .. } = open_loop;
    let what = format!("{} of the rate was kept, {sent} of {intended}", per_cent(sent as f64 / intended as f64));
    let (find, why): (fn(Kind, String) -> Finding, _) = if own.max(server) < LAG_EXPLAINS {
        (warning, "and not for delays: connections that failed or ended sent nothing, so see the errors".to_owned())
    } else if own >= server {
        (invalid, format!("because the generator was late, p99 {own:.1?}: give more threads with -t, or lower -R"))
    } else {
        (warning, format!("because the server did not read for p99 {server:.1?}: it was the limit, so lower -R to what it can do"))
    };
    Some(find(Kind::SendRateShort, format!("{what}, {why}")))
}

pub(super) fn not_steady(seen: &Observed) -> Option<Finding> {
    if let Some(slope) = seen.slope {
        return uneven_growth(slope);
    }
    let whole = median(&seen.series);
    if seen.scenario == Scenario::Idle || seen.series.len() < SERIES_SECONDS_MIN || whole < SERIES_MEDIAN_MIN {
        return None;
    }
    if let Some(gap) = seen.series.iter().position(|&count| (count as f64) < GAP * whole as f64) {
        let (second, count) = (gap + 1, seen.series[gap]);
        let mend = "look for what stopped the server then, and repeat";
        return Some(warning(Kind::NotSteady, format!("second {second} had {count} messages where the median second had {whole}: {mend}")));
    }
    let (first, second) = seen.series.split_at(seen.series.len() / 2);
    let (first, second) = (median(first), median(second));
    let text = || {
        let mend = "raise --warmup or -d until they agree";
        format!("the median second had {first} messages in the first half and {second} in the second: {mend}")
    };
    (first.abs_diff(second) as f64 > HALVES_APART * first.max(second) as f64).then(|| warning(Kind::NotSteady, text()))
}

fn uneven_growth(Slope { per_connection_bytes, scatter_bytes, connections }: Slope) -> Option<Finding> {
    let growth = per_connection_bytes * connections as f64;
    let text = if growth < GROWTH_MIN_BYTES {
        let [growth, min] = [growth, GROWTH_MIN_BYTES].map(rounded_bytes);
        format!(
            "the server's memory grew by {growth} over {connections} connections, below {min}: they were served from what it had free \
             already, so measure a freshly started server, or raise -c"
        )
    } else if scatter_bytes > SCATTER_PART_OF_GROWTH * growth {
        let [growth, scatter] = [growth, scatter_bytes].map(rounded_bytes);
        format!(
            "the server's memory did not grow with the connections: the steps are {scatter} off a line that rises by {growth}, so measure \
             a freshly started server, or raise -c, --steps or --settle"
        )
    } else {
        return None;
    };
    Some(warning(Kind::NotSteady, text))
}

pub(super) fn short_sample(seen: &Observed) -> Option<Finding> {
    let samples = seen.samples;
    if !seen.unjudged.is_empty() {
        let thresholds = seen.unjudged.join(", ");
        return Some(invalid(Kind::ShortSample, format!("{samples} samples are too few to judge {thresholds}: raise -d, -n or the rate")));
    }
    if samples == 0 && seen.scenario != Scenario::Idle {
        return Some(invalid(Kind::ShortSample, "nothing was measured: see the errors, or raise -d".to_owned()));
    }
    if seen.scenario == Scenario::Idle || (seen.measured >= MEASURED_MIN && samples >= SAMPLES_MIN) {
        return None;
    }
    let mend = match seen.scenario {
        Scenario::Connect => "use --close with -d 10s, or raise -c",
        _ => "measure longer with -d or -n",
    };
    Some(warning(Kind::ShortSample, format!("{samples} samples in {:.1?} are too few to be found again: {mend}", seen.measured)))
}

/// The upper one of an even number; 0 of none.
fn median(counts: &[u64]) -> u64 {
    let mut sorted = counts.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            Severity,
            tests::{at_a_rate, calm, severity, text},
        },
        *,
    };

    #[test]
    fn a_rate_that_was_not_kept_has_someone_to_blame() {
        let short = |sent, own_ms, server_ms| {
            let mut seen = at_a_rate();
            let open_loop = seen.open_loop.as_mut().expect("a rate");
            open_loop.sent = sent;
            (open_loop.lag_own_p99, open_loop.lag_server_p99) = (Duration::from_millis(own_ms), Duration::from_millis(server_ms));
            seen
        };
        assert_eq!(severity(&short(990_000, 50, 0), Kind::SendRateShort), None);
        assert_eq!(severity(&short(989_999, 50, 0), Kind::SendRateShort), Some(Severity::Invalid));
        assert_eq!(severity(&short(500_000, 5, 800), Kind::SendRateShort), Some(Severity::Warning));
        assert!(text(&short(500_000, 5, 800), Kind::SendRateShort).contains("the server did not read"));
        assert_eq!(severity(&short(500_000, 0, 0), Kind::SendRateShort), Some(Severity::Warning));
        assert!(text(&short(500_000, 0, 0), Kind::SendRateShort).starts_with("50 % of the rate was kept, 500000 of 1000000"));
    }

    #[test]
    fn gaps_and_drifts_are_not_steady() {
        let series = |series: &[u64]| Observed { series: series.to_vec(), ..calm() };
        let verdict = |counts: &[u64]| severity(&series(counts), Kind::NotSteady);
        assert_eq!(verdict(&[1000, 1010, 990, 1005, 1000, 950]), None);
        assert_eq!(verdict(&[1000, 1000, 400, 1000, 1000, 1000]), Some(Severity::Warning));
        assert!(text(&series(&[1000, 1000, 400, 1000]), Kind::NotSteady).starts_with("second 3 had 400"));
        assert_eq!(verdict(&[1000, 1000, 1000, 890, 890, 890]), Some(Severity::Warning));
        assert_eq!(verdict(&[1000, 1000, 10]), None, "too short");
        assert_eq!(verdict(&[10, 10, 1, 10]), None, "too few");
        assert_eq!(severity(&Observed { scenario: Scenario::Idle, ..series(&[1000, 0, 1000, 1000]) }, Kind::NotSteady), None);
    }

    #[test]
    fn memory_that_does_not_grow_with_the_connections_is_not_steady() {
        let idle = |per_connection_bytes, scatter_bytes| {
            let slope = Slope { per_connection_bytes, scatter_bytes, connections: 1000 };
            Observed { scenario: Scenario::Idle, series: Vec::new(), samples: 1000, slope: Some(slope), ..calm() }
        };
        let verdict = |each, scatter| severity(&idle(each, scatter), Kind::NotSteady);
        assert_eq!([verdict(1000.0, 100_000.0), verdict(66.0, 0.0)], [None, None]);
        assert_eq!([verdict(1000.0, 100_001.0), verdict(65.0, 0.0), verdict(-9000.0, 0.0)], [Some(Severity::Warning); 3]);
        assert!(text(&idle(0.0, 0.0), Kind::NotSteady).starts_with("the server's memory grew by 0B over 1000 connections, below 64.0KiB"));
        assert!(text(&idle(4096.0, 1_048_576.0), Kind::NotSteady).contains("the steps are 1.00MiB off a line that rises by 3.91MiB"));
    }

    #[test]
    fn short_samples() {
        let sample = |ms, samples| severity(&Observed { measured: Duration::from_millis(ms), samples, ..calm() }, Kind::ShortSample);
        assert_eq!(sample(3_000, 1000), None);
        assert_eq!(sample(2_999, 1_000_000), Some(Severity::Warning));
        assert_eq!(sample(10_000, 999), Some(Severity::Warning));
        let idle = Observed { scenario: Scenario::Idle, samples: 0, ..calm() };
        assert_eq!(severity(&idle, Kind::ShortSample), None);
        let unjudged = Observed { unjudged: vec!["response.p99.99<5ms".to_owned()], ..calm() };
        assert_eq!(severity(&unjudged, Kind::ShortSample), Some(Severity::Invalid));
        assert!(text(&unjudged, Kind::ShortSample).contains("response.p99.99<5ms"));
    }

    #[test]
    fn medians() {
        assert_eq!([median(&[]), median(&[7]), median(&[9, 1, 5]), median(&[4, 1, 3, 2])], [0, 7, 5, 3]);
    }
}
