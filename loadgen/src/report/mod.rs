//! What the runs gave, and the exit code that follows from it. The rooms below print it: [`table`] for a person, [`json`] for a program,
//! and [`progress`] while it goes on. Imports `metrics`, `stats`, `threshold`, `units`, `values` and `verdict`.

pub mod json;
pub mod progress;
mod summary;
pub mod table;

use std::time::Duration;

use crate::{
    metrics::Scenario,
    threshold::Judgement,
    values::{Value, Values},
    verdict::{Finding, Severity},
};

/// All that is said of one call of `fantail-load`.
#[derive(Debug)]
pub struct Report {
    /// When the first run began, in milliseconds since 1970.
    pub started_unix_ms: u64,
    /// The command line, with the program's name.
    pub argv: Vec<String>,
    /// The plan in one line, as it was resolved.
    pub plan_line: String,
    /// What kind of load.
    pub scenario: Scenario,
    /// Of everything random.
    pub seed: u64,
    /// `--label`; of one that is named twice the last counts.
    pub labels: Vec<(String, String)>,
    /// The machine, its kernel and its limits: integers with their unit in the name, texts, booleans.
    pub machine: serde_json::Map<String, serde_json::Value>,
    /// The server, where its process is known.
    pub server: Option<ServerFacts>,
    /// One for each `--repeat` that began; empty where nothing could be measured.
    pub runs: Vec<Run>,
    /// Each `--threshold` as it was written, and what became of it.
    pub thresholds: Vec<(String, Judgement)>,
    /// What a reader of the figures should know, a sentence each.
    pub notes: Vec<String>,
    /// A signal ended it early: the last run is partial.
    pub interrupted: bool,
    /// A run after the first could not be, and was the last that was tried; a note says why.
    pub broken_off: bool,
}

/// Which server was measured.
#[derive(Clone, Debug)]
pub struct ServerFacts {
    /// Its process, at the first run.
    pub pid: u32,
    /// Its command line.
    pub command: Vec<String>,
    /// Of its binary, in lower-case hexadecimal; `None` where the binary cannot be read.
    pub sha256: Option<String>,
}

/// What one run gave.
#[derive(Debug, Default)]
pub struct Run {
    /// Its figures; all numbers are finite.
    pub values: Values,
    /// What spoils or may spoil the measurement.
    pub findings: Vec<Finding>,
    /// How long was measured, without warm-up.
    pub measured: Duration,
    /// What `rate` counts, per second of that time.
    pub series: Vec<u64>,
    /// What failed, a line each, and how often.
    pub errors: Vec<(String, u64)>,
}

/// How it ended. The order is that of precedence: the first that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A signal ended it.
    Interrupted,
    /// There is no run; or, if nothing else holds, not every run could be.
    CouldNotRun,
    /// Messages were lost, duplicated or corrupted: that stands, whatever else the machine did.
    Loss,
    /// The generator or the machine was the limit, not the server.
    Invalid,
    /// Connections could not be opened, or ended before they should.
    ConnectionsFailed,
    /// A threshold failed.
    ThresholdFailed,
    /// A threshold could not be judged, and none failed.
    ThresholdUnknown,
    /// None of these.
    Pass,
}

impl Report {
    /// What makes the measurement invalid, each as its name and a sentence; empty: valid.
    pub fn invalid(&self) -> Vec<(String, String)> {
        if self.runs.is_empty() {
            return vec![("no-run".into(), "nothing was measured".into())];
        }
        self.runs.iter().flat_map(Run::invalid).collect()
    }
}

impl Run {
    /// What makes this run invalid, each as its name and a sentence; empty: valid.
    pub fn invalid(&self) -> Vec<(String, String)> {
        let invalid = self.findings.iter().filter(|finding| finding.severity == Severity::Invalid);
        let mut reasons: Vec<_> = invalid.map(|finding| (finding.kind.to_string(), finding.text.clone())).collect();
        let negative = self.count("negative");
        if negative > 0 {
            let text = format!("latencies below zero: {negative}; the clock, or a time that the server sent back, is wrong");
            reasons.push(("negative".into(), text));
        }
        reasons
    }

    /// The count of this name; 0 where it was not measured.
    fn count(&self, name: &str) -> u64 {
        match self.values.get(name) {
            Some(Value::Count(count)) => *count,
            _ => 0,
        }
    }
}

impl Outcome {
    /// What the report comes down to.
    pub fn of(report: &Report) -> Outcome {
        let any = |name| report.runs.iter().any(|run| run.count(name) > 0);
        let judged = |is: fn(&Judgement) -> bool| report.thresholds.iter().any(|(_, judgement)| is(judgement));
        if report.interrupted {
            Outcome::Interrupted
        } else if report.runs.is_empty() {
            Outcome::CouldNotRun
        } else if ["loss", "duplicates", "corrupted"].into_iter().any(any) {
            Outcome::Loss
        } else if !report.invalid().is_empty() {
            Outcome::Invalid
        } else if any("failed") {
            Outcome::ConnectionsFailed
        } else if judged(|judgement| matches!(judgement, Judgement::Fail { .. })) {
            Outcome::ThresholdFailed
        } else if judged(|judgement| matches!(judgement, Judgement::Unknown { .. })) {
            Outcome::ThresholdUnknown
        } else if report.broken_off {
            Outcome::CouldNotRun
        } else {
            Outcome::Pass
        }
    }

    /// The exit code.
    pub fn code(self) -> u8 {
        match self {
            Outcome::Pass => 0,
            Outcome::CouldNotRun => 1,
            Outcome::Invalid | Outcome::ThresholdUnknown => 3,
            Outcome::Loss | Outcome::ConnectionsFailed | Outcome::ThresholdFailed => 99,
            Outcome::Interrupted => 130,
        }
    }

    /// Its name in table and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Interrupted => "interrupted",
            Outcome::CouldNotRun => "could-not-run",
            Outcome::Loss => "loss",
            Outcome::Invalid => "invalid",
            Outcome::ConnectionsFailed => "connections-failed",
            Outcome::ThresholdFailed => "threshold-failed",
            Outcome::ThresholdUnknown => "threshold-unknown",
            Outcome::Pass => "pass",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{stats::Latency, verdict::Kind};

    /// A report with everything in it; run `i` is slower than run `i - 1`.
    pub(super) fn sample(runs: u64) -> Report {
        Report {
            started_unix_ms: 1_790_000_000_000,
            argv: ["fantail-load", "echo", "ws://127.0.0.1:9001/"].map(String::from).into(),
            plan_line: "echo ws://127.0.0.1:9001/ -c 50 -t 2 -d 10s".into(),
            scenario: Scenario::Echo,
            seed: 7,
            labels: vec![("commit".into(), "abc".into())],
            machine: serde_json::from_str(r#"{"kernel": "6.1", "cpus": 2, "somaxconn": 4096, "governor": null}"#).unwrap(),
            server: Some(ServerFacts {
                pid: 4711,
                command: ["server", "--port", "9001"].map(String::from).into(),
                sha256: Some("ab".repeat(32)),
            }),
            runs: (1..=runs).map(run).collect(),
            thresholds: vec![
                ("response.p99<5ms".into(), Judgement::Fail { seen: ">12.0ms".into() }),
                ("rate>=10".into(), Judgement::Pass { seen: "100/s".into() }),
                ("service.p99.9<5ms".into(), Judgement::Unknown { reason: "too few samples: 1000 of 10000".into() }),
            ],
            notes: vec!["a closed loop hides stalls from the response; -R shows them".into()],
            interrupted: false,
            broken_off: false,
        }
    }

    fn run(index: u64) -> Run {
        let mut response = Latency::new();
        (1..=990).for_each(|i| response.record(i * index * 1000));
        (1..=20).for_each(|_| response.censor(12_000_000));
        let values = [
            ("response", Value::Latency(response)),
            ("connected", Value::Count(50)),
            ("failed", Value::Count(0)),
            ("rate", Value::Number(1000.0 / index as f64)),
            ("sent", Value::Count(1_000_000 + index)),
            ("loss", Value::Count(0)),
            ("reach", Value::Number(0.99995)),
            ("server.cpu", Value::Number(0.9812)),
            ("generator.cpu", Value::Number(0.25)),
            ("server.cpu_us_per_msg", Value::Number(4.215)),
            ("generator.rss", Value::Number(8_388_608.0)),
        ];
        Run {
            values: values.into(),
            findings: vec![Finding { kind: Kind::TimeWait, severity: Severity::Warning, text: "many; wait a minute".into() }],
            measured: Duration::from_secs(10),
            series: vec![99, 101],
            errors: vec![("connection reset".into(), 2)],
        }
    }

    #[test]
    fn exit_codes_in_their_order_of_precedence() {
        let fail = ("loss==0".to_owned(), Judgement::Fail { seen: "1".into() });
        let unknown = ("response.p99<5ms".to_owned(), Judgement::Unknown { reason: "too few samples".into() });
        let invalid = Finding { kind: Kind::GeneratorSaturated, severity: Severity::Invalid, text: "busy".into() };
        let mut report = Report { thresholds: Vec::new(), ..sample(2) };
        // A warning alone changes nothing.
        assert_eq!((Outcome::of(&report), Outcome::of(&report).code()), (Outcome::Pass, 0));
        report.broken_off = true;
        assert_eq!((Outcome::of(&report), Outcome::of(&report).code()), (Outcome::CouldNotRun, 1));
        // From here on each makes it worse.
        let mut expect = |change: &mut dyn FnMut(&mut Report), outcome: Outcome, code: u8| {
            change(&mut report);
            assert_eq!((Outcome::of(&report), outcome.code()), (outcome, code));
        };
        expect(&mut |report| report.thresholds.push(unknown.clone()), Outcome::ThresholdUnknown, 3);
        expect(&mut |report| report.thresholds.push(fail.clone()), Outcome::ThresholdFailed, 99);
        expect(&mut |report| count(report, "failed", 1), Outcome::ConnectionsFailed, 99);
        expect(&mut |report| report.runs[1].findings.push(invalid.clone()), Outcome::Invalid, 3);
        for name in ["loss", "duplicates", "corrupted"] {
            expect(&mut |report| count(report, name, 1), Outcome::Loss, 99);
            expect(&mut |report| count(report, name, 0), Outcome::Invalid, 3);
        }
        expect(&mut |report| report.runs.clear(), Outcome::CouldNotRun, 1);
        expect(&mut |report| report.interrupted = true, Outcome::Interrupted, 130);
    }

    #[test]
    fn a_latency_below_zero_is_invalid() {
        let mut report = Report { thresholds: Vec::new(), ..sample(2) };
        count(&mut report, "negative", 1);
        assert_eq!(Outcome::of(&report), Outcome::Invalid);
    }

    fn count(report: &mut Report, name: &'static str, count: u64) {
        report.runs[1].values.insert(name, Value::Count(count));
    }
}
