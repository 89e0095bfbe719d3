//! What `--help` says beyond the flags: the metrics that thresholds may name, and exit codes. Imports `metrics` and
//! the verdicts' names.

use crate::{
    metrics::{CATALOGUE, Scenario, Unit},
    verdict::Kind,
};

const EXIT_CODES: &str =
    "Exit codes: 0 pass; 1 could not run; 2 usage; 3 invalid: the generator or the machine was the limit, not the server, or too few
  samples for a threshold; 99 a threshold or a connection failed, or messages were lost, duplicated or corrupted; 130 interrupted.";

const VALUES: &str =
    "Values: k and m are 10^3 and 10^6 for counts and rates, KiB, MiB and GiB are 1024 for sizes; times are 10s, 500ms, 50us, 1m, 1h.
Templates: ${marker}, ${payload} (a marker and filler, -s bytes), ${conn}, ${seq}, ${rand:N}, ${channel}; $${ is a literal ${.";

/// For `-h`.
pub(super) fn short(scenario: Scenario) -> String {
    format!("{EXIT_CODES}\n\n`fantail-load {} --help` lists the metrics for --threshold.", scenario.name())
}

/// For `--help`.
pub(super) fn long(scenario: Scenario) -> String {
    let mut help =
        format!("{VALUES}\n\n{EXIT_CODES}\n\nMetrics for --threshold; of a distribution .min, .mean, .p50 to .p99.99 or .max:\n");
    for metric in CATALOGUE.iter().filter(|metric| metric.scenarios.contains(&scenario)) {
        let kind = match metric.unit {
            Unit::Latency => "distribution of times",
            Unit::Count => "count",
            Unit::Rate => "per second",
            Unit::Bytes => "bytes",
            Unit::CpuMicros => "microseconds",
            Unit::Ratio => "ratio",
        };
        help += &format!("  {:25}{} ({kind})\n", metric.name, metric.meaning);
    }
    let verdicts = Kind::ALL.map(Kind::name);
    help += &format!(
        "\nWhat may be found wrong with a measurement, each with a sentence that says what to do:\n  {}\n  {}",
        verdicts[..8].join(", "),
        verdicts[8..].join(", ")
    );
    help
}
