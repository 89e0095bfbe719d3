//! One run of the real `fantail-load`: arguments in, exit code, output and report out. Imports [`crate::build`].
//!
//! [`Report`] is the one place that knows how the report is laid out.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio, id};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{env, fs};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::build::build;
use crate::server::collect;

/// How long a run may take, whatever its server does to it, before it is said to hang.
const RUN_PATIENCE: Duration = Duration::from_secs(30);

/// What a run may find about the machine it is on, or about a generator that was built for tests: no fault of the server, nor of what
/// is tested.
const EXCUSED_FINDINGS: [&str; 4] = ["cpu-steal", "throttled", "shared-cpu", "generator-saturated"];

/// Held by each run, so that tests that run side by side do not measure each other.
static MACHINE: Mutex<()> = Mutex::new(());

/// A command line.
pub struct Load(Command);

impl Load {
    /// `fantail-load` with these arguments, divided by white space.
    pub fn new(arguments: &str) -> Self {
        let mut command = Command::new(load_binary());
        command.args(arguments.split_whitespace());
        Self(command)
    }

    /// The same, started by a command such as `nice -n 19`.
    pub fn under(starter: &str, arguments: &str) -> Self {
        let mut words = starter.split_whitespace();
        let mut command = Command::new(words.next().expect("a command"));
        command.args(words).arg(load_binary()).args(arguments.split_whitespace());
        Self(command)
    }

    /// One more argument, white space and all.
    pub fn arg(mut self, argument: &str) -> Self {
        self.0.arg(argument);
        self
    }

    /// Runs it to its end, with a report.
    pub fn run(self) -> Ended {
        self.start().wait()
    }

    /// Starts it, with a report.
    pub fn start(mut self) -> Loading {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let report = env::temp_dir().join(format!("fantail-load-{}-{}.json", id(), COUNT.fetch_add(1, Ordering::Relaxed)));
        self.0.arg("--json").arg(&report);
        self.spawn(Some(report))
    }

    /// Runs it to its end as it is, without a report.
    pub fn run_as_is(self) -> Ended {
        self.spawn(None).wait()
    }

    fn spawn(mut self, report: Option<PathBuf>) -> Loading {
        // A test that failed meanwhile has ended its run.
        let alone = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut child = self.0.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the command starts");
        let stdout = collect(child.stdout.take().expect("a pipe"));
        let stderr = collect(child.stderr.take().expect("a pipe"));
        Loading { child, stdout, stderr, report, _alone: alone }
    }
}

/// A run under way, the only one of its process.
pub struct Loading {
    child: Child,
    stdout: JoinHandle<String>,
    stderr: JoinHandle<String>,
    report: Option<PathBuf>,
    _alone: MutexGuard<'static, ()>,
}

impl Loading {
    /// Asks it to end.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the run is under way");
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If it hangs.
    pub fn wait(mut self) -> Ended {
        let deadline = Instant::now() + RUN_PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child of ours") {
                break Some(status);
            }
            if Instant::now() >= deadline {
                // It may have ended just now.
                let _ = self.child.kill();
                let _ = self.child.wait();
                break None;
            }
            thread::sleep(Duration::from_millis(5));
        };
        let [stdout, stderr] = [self.stdout, self.stderr].map(|reader| reader.join().expect("UTF-8"));
        let code = status.unwrap_or_else(|| panic!("it hangs; so far it said:\n{stdout}{stderr}")).code();
        let code = code.unwrap_or_else(|| panic!("it was ended by a signal:\n{stdout}{stderr}"));
        let report = self.report.and_then(|path| {
            let text = fs::read_to_string(&path).ok()?;
            fs::remove_file(&path).expect("a file of ours");
            Some(Report::parse(&text))
        });
        Ended { code, stdout, stderr, report }
    }
}

/// A run that has ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit code.
    pub code: i32,
    /// The table, or the report.
    pub stdout: String,
    /// What went wrong.
    pub stderr: String,
    /// What it measured, if it came to that.
    pub report: Option<Report>,
}

impl Ended {
    /// It measured, and judged so: 0 or 99, or 3 for no other reason than those of [`EXCUSED_FINDINGS`].
    pub fn judged(self, code: i32) -> Report {
        let excused = |report: &Report| report.invalid().iter().all(|kind| EXCUSED_FINDINGS.contains(&kind.as_str()));
        match &self.report {
            Some(report) if self.code == code || self.code == 3 && excused(report) => {}
            _ => panic!("expected {code}, got {self:?}"),
        }
        self.report.expect("just seen")
    }

    /// It ended with exactly this code, and measured.
    pub fn coded(self, code: i32) -> Report {
        assert!(self.code == code && self.report.is_some(), "expected {code} and a report, got {self:?}");
        self.report.expect("just seen")
    }

    /// The command line was refused: 2, nothing on stdout, and a first line on stderr that contains each of `words`.
    pub fn refused(&self, words: &[&str]) {
        assert_eq!(self.code, 2, "{self:?}");
        assert_eq!(self.stdout, "", "{self:?}");
        says(self.stderr.lines().next().unwrap_or_default(), words);
    }

    /// The run could not be: 1, and one line on stderr that contains each of `words`.
    pub fn could_not_run(&self, words: &[&str]) {
        assert_eq!(self.code, 1, "{self:?}");
        assert_eq!(self.stderr.lines().count(), 1, "{}", self.stderr);
        says(&self.stderr, words);
    }

    /// The table's line that begins with this.
    pub fn line(&self, start: &str) -> &str {
        let line = self.stdout.lines().find(|line| line.split_whitespace().next() == Some(start));
        line.unwrap_or_else(|| panic!("no line {start:?} in {self:?}"))
    }
}

/// What a run measured: the first one, where `--repeat` asks for several.
#[derive(Debug)]
pub struct Report(Value);

impl Report {
    /// Reads a report.
    ///
    /// # Panics
    /// If it is not JSON.
    pub fn parse(text: &str) -> Self {
        Self(serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in the report:\n{text}")))
    }

    /// The value of a metric that is a whole number.
    pub fn count(&self, name: &str) -> u64 {
        self.metric(name)["count"].as_u64().unwrap_or_else(|| panic!("{name} is {}", self.metric(name)))
    }

    /// The value of a metric that is one number, in bytes, microseconds, per second, or as a part of one.
    pub fn number(&self, name: &str) -> f64 {
        let metric = self.metric(name).as_object().expect("seen by metric()");
        let scaled = metric.iter().find_map(|(unit, value)| {
            let scale = match unit.as_str() {
                "bytes" => 1.0,
                "ns" | "milli_per_s" => 1e-3,
                "ppm" => 1e-6,
                _ => return None,
            };
            Some(value.as_f64()? * scale)
        });
        scaled.unwrap_or_else(|| panic!("{name} is {metric:?}"))
    }

    /// A part of a distribution of times, such as `p99.9` or `max`, or its lower bound where what is unanswered leaves no other; `None`
    /// if there were too few samples.
    pub fn ns(&self, name: &str, part: &str) -> Option<u64> {
        let quantile = self.metric(name).get(part).unwrap_or_else(|| panic!("{name} has no {part}"));
        quantile["ns"].as_u64()
    }

    /// The kinds of what was found about the run's validity.
    pub fn findings(&self) -> Vec<String> {
        self.findings_that(|_| true)
    }

    /// Those of the findings that make it invalid.
    pub fn invalid(&self) -> Vec<String> {
        self.findings_that(|finding| finding["severity"] == "invalid")
    }

    fn findings_that(&self, holds: impl Fn(&Value) -> bool) -> Vec<String> {
        let findings = self.0["runs"][0]["findings"].as_array().expect("findings");
        findings.iter().filter(|finding| holds(finding)).map(|finding| finding["kind"].as_str().expect("a kind").to_owned()).collect()
    }

    fn metric(&self, name: &str) -> &Value {
        let metric = &self.0["runs"][0]["metrics"][name];
        assert!(metric.is_object(), "{name} was not measured: {}", self.0);
        metric
    }
}

fn says(line: &str, words: &[&str]) {
    for word in words {
        assert!(line.contains(word), "{word:?} is not in {line:?}");
    }
}

/// The `fantail-load` binary, built once a process.
fn load_binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| build("fantail-load"))
}

#[cfg(test)]
mod tests {
    use super::Report;

    #[test]
    fn figures_are_read_in_their_units() {
        let report = Report::parse(
            r#"{"runs": [{"metrics": {
                "loss": {"count": 3}, "rate": {"milli_per_s": 1500}, "reach": {"ppm": 250000}, "server.rss": {"bytes": 4096},
                "response": {"p50": {"ns": 7, "bound": "exact"}, "p99": {"ns": 9, "bound": "above"}, "p99.9": null}
            }, "findings": [{"kind": "short-sample", "severity": "warning"}, {"kind": "throttled", "severity": "invalid"}]}]}"#,
        );
        assert_eq!(report.count("loss"), 3);
        assert_eq!(["rate", "reach", "server.rss"].map(|name| report.number(name)), [1.5, 0.25, 4096.0]);
        assert_eq!(["p50", "p99", "p99.9"].map(|part| report.ns("response", part)), [Some(7), Some(9), None]);
        assert_eq!(report.findings(), ["short-sample", "throttled"]);
        assert_eq!(report.invalid(), ["throttled"]);
    }
}
