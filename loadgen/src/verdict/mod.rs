//! Whether a run measured the server, or the generator and the machine instead. Owns the findings and what they are judged by; the rules stand
//! in the rooms below, one function a kind. Imports the metrics' scenarios.

use std::{collections::BTreeSet, fmt, time::Duration};

use crate::metrics::Scenario;

mod cpu;
mod peer;
mod resources;
mod traffic;

pub(crate) use cpu::{STEAL_ALLOWED, STEAL_TOLD};
pub(crate) use resources::TIME_WAIT_PART;

/// What may be wrong with a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The generator had no time left while the server had, or it sent late: its own limit was measured.
    GeneratorSaturated,
    /// In a closed loop neither side was busy: the figures are those of the waiting, not of what the server can do.
    ServerNotSaturated,
    /// Less was sent than `-R` asked for.
    SendRateShort,
    /// There are fewer local ports than connections to one destination.
    PortsLow,
    /// The limit on open files is below the connections.
    NofileLow,
    /// Many ports are held by connections in TIME_WAIT.
    TimeWait,
    /// A server's queue on this machine was full and turned connections away: they come again after a second.
    ListenOverflow,
    /// The hypervisor gave this machine's CPU time to others.
    CpuSteal,
    /// The generator was ready to run and had no CPU: a quota, or other processes.
    Throttled,
    /// Generator and server filled the same CPUs and took time from each other.
    SharedCpu,
    /// The rate was not the same over the run, or the memory of `idle` did not grow with the connections.
    NotSteady,
    /// Too short, or too few samples.
    ShortSample,
    /// Compression was asked for and not agreed on every connection.
    DeflateMismatch,
    /// The server's process ended or was replaced.
    ServerRestarted,
    /// The server broke the protocol.
    BadPeer,
}

impl Kind {
    /// All of them, in the order in which they are judged.
    pub const ALL: [Self; 15] = [
        Self::GeneratorSaturated,
        Self::ServerNotSaturated,
        Self::SendRateShort,
        Self::PortsLow,
        Self::NofileLow,
        Self::TimeWait,
        Self::ListenOverflow,
        Self::CpuSteal,
        Self::Throttled,
        Self::SharedCpu,
        Self::NotSteady,
        Self::ShortSample,
        Self::DeflateMismatch,
        Self::ServerRestarted,
        Self::BadPeer,
    ];

    /// Its name in table and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::GeneratorSaturated => "generator-saturated",
            Self::ServerNotSaturated => "server-not-saturated",
            Self::SendRateShort => "send-rate-short",
            Self::PortsLow => "ports-low",
            Self::NofileLow => "nofile-low",
            Self::TimeWait => "time-wait",
            Self::ListenOverflow => "listen-overflow",
            Self::CpuSteal => "cpu-steal",
            Self::Throttled => "throttled",
            Self::SharedCpu => "shared-cpu",
            Self::NotSteady => "not-steady",
            Self::ShortSample => "short-sample",
            Self::DeflateMismatch => "deflate-mismatch",
            Self::ServerRestarted => "server-restarted",
            Self::BadPeer => "bad-peer",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What a finding means for the figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// They hold, with this in mind.
    Warning,
    /// They do not tell of the server.
    Invalid,
}

/// One thing that may be wrong with a measurement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub kind: Kind,
    /// What it means.
    pub severity: Severity,
    /// One sentence: what was seen, and what to do. Of a bad peer, a hexdump follows on lines of its own.
    pub text: String,
}

/// What was seen of a run: between the readings before and after what was measured, without warm-up, unless a field says otherwise.
#[derive(Clone, Debug)]
pub struct Observed {
    /// What kind of load.
    pub scenario: Scenario,
    /// How long was measured.
    pub measured: Duration,
    /// Answers, deliveries or upgrades measured.
    pub samples: u64,
    /// The same for each whole second; the rest of a second at the end is left out.
    pub series: Vec<u64>,
    /// Thresholds that could not be judged for lack of samples.
    pub unjudged: Vec<String>,
    /// Of a run with a rate; `None`: a closed loop.
    pub open_loop: Option<OpenLoop>,
    /// The generator's threads that send and receive.
    pub threads: Vec<ThreadUse>,
    /// The CPUs on which those may run.
    pub generator_cpus: BTreeSet<usize>,
    /// The server's process, where it is known.
    pub server: Option<ServerUse>,
    /// `idle` with a server that is known: its memory over the connections.
    pub slope: Option<Slope>,
    /// The machine's CPUs.
    pub cpus: CpuUse,
    /// Open files, those of the connections and others.
    pub files: Supply,
    /// Ports to one destination from all local addresses in use; `None` where the kernel does not tell how many there are.
    pub ports: Option<Supply>,
    /// Sockets in TIME_WAIT at the end.
    pub time_wait: Option<u64>,
    /// Connections that a full queue turned away; `None` where the server is not on this machine.
    pub listen_overflows: Option<u64>,
    /// Where `--deflate` was given; of the whole run.
    pub deflate: Option<Deflate>,
    /// Where the server broke the protocol, at any time of the run.
    pub bad_peer: Option<BadPeer>,
}

/// How well a rate was kept.
#[derive(Clone, Copy, Debug)]
pub struct OpenLoop {
    /// Sends, or starts of connections, that were due.
    pub intended: u64,
    /// Those that took place.
    pub sent: u64,
    /// p99 of our own delay after the intended time.
    pub lag_own_p99: Duration,
    /// p99 of the wait for a server that did not read.
    pub lag_server_p99: Duration,
    /// p99 of what is measured from the intended time, if anything was answered.
    pub response_p99: Option<Duration>,
}

/// A rate of which less than this part was sent was not kept: the last moments of a run may miss, no more.
const RATE_KEPT: f64 = 0.99;

impl OpenLoop {
    fn is_short(self) -> bool {
        (self.sent as f64) < RATE_KEPT * self.intended as f64
    }
}

/// What a thread of the generator had of the CPUs.
#[derive(Clone, Copy, Debug)]
pub struct ThreadUse {
    /// On a CPU.
    pub ran: Duration,
    /// Ready, without a CPU.
    pub waited: Duration,
}

/// What the server's process and its children used.
#[derive(Clone, Debug)]
pub struct ServerUse {
    /// CPU time of all threads.
    pub cpu: Duration,
    /// CPU time of the thread that used most.
    pub busiest_thread: Duration,
    /// The CPUs on which it may run.
    pub cpus: BTreeSet<usize>,
    /// Whether it is the process that it was at the beginning, and runs.
    pub is_same: bool,
}

/// The line through the server's memory on the steps of `idle`.
#[derive(Clone, Copy, Debug)]
pub struct Slope {
    /// What each connection added.
    pub per_connection_bytes: f64,
    /// The median distance of the steps from the line.
    pub scatter_bytes: f64,
    /// Those of the last step.
    pub connections: u64,
}

/// The machine's CPUs; `None` for what the kernel does not tell.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuUse {
    /// How many are on line.
    pub online: Option<usize>,
    /// Part of their time in which they were not idle.
    pub busy: Option<f64>,
    /// Part of their time that a hypervisor took.
    pub steal: Option<f64>,
    /// CPU time of all processes of the machine.
    pub processes: Option<Duration>,
    /// For how long a quota stopped the generator.
    pub throttled: Option<Duration>,
}

/// Something that there is only so much of.
#[derive(Clone, Copy, Debug)]
pub struct Supply {
    /// What the run needs.
    pub needed: u64,
    /// What there is.
    pub available: u64,
    /// How often the kernel refused it in the whole run.
    pub refused: u64,
}

/// How far compression was agreed.
#[derive(Clone, Copy, Debug)]
pub struct Deflate {
    /// Connections that opened.
    pub opened: u64,
    /// Those on which the server agreed.
    pub agreed: u64,
}

/// A server that broke the protocol.
#[derive(Clone, Debug)]
pub struct BadPeer {
    /// On how many connections.
    pub connections: u64,
    /// What was wrong, the first time.
    pub error: String,
    /// What it had sent there.
    pub bytes: Vec<u8>,
}

/// All that is wrong with a run, in the order of [`Kind::ALL`].
pub fn judge(seen: &Observed) -> Vec<Finding> {
    let rules = [
        cpu::generator_saturated,
        cpu::server_not_saturated,
        traffic::send_rate_short,
        resources::ports_low,
        resources::nofile_low,
        resources::time_wait,
        resources::listen_overflow,
        cpu::cpu_steal,
        cpu::throttled,
        cpu::shared_cpu,
        traffic::not_steady,
        traffic::short_sample,
        peer::deflate_mismatch,
        peer::server_restarted,
        peer::bad_peer,
    ];
    rules.iter().filter_map(|rule| rule(seen)).collect()
}

fn warning(kind: Kind, text: String) -> Finding {
    Finding { kind, severity: Severity::Warning, text }
}

fn invalid(kind: Kind, text: String) -> Finding {
    Finding { kind, severity: Severity::Invalid, text }
}

/// A part of one, as in `12 %`; two digits are enough to tell how bad it is.
fn per_cent(part: f64) -> String {
    format!("{:.0} %", part * 100.0)
}

fn part_of(time: Duration, whole: Duration) -> f64 {
    if whole.is_zero() { 0.0 } else { time.as_secs_f64() / whole.as_secs_f64() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A closed loop of 10 s against a local server that is full, on CPUs of its own, with nothing wrong.
    pub(super) fn calm() -> Observed {
        Observed {
            scenario: Scenario::Echo,
            measured: Duration::from_secs(10),
            samples: 1_000_000,
            series: vec![100_000; 10],
            unjudged: Vec::new(),
            open_loop: None,
            threads: vec![ThreadUse { ran: Duration::from_secs(6), waited: Duration::from_millis(100) }],
            generator_cpus: BTreeSet::from([1]),
            server: Some(ServerUse {
                cpu: Duration::from_millis(9_800),
                busiest_thread: Duration::from_millis(9_800),
                cpus: BTreeSet::from([0]),
                is_same: true,
            }),
            slope: None,
            cpus: CpuUse {
                online: Some(4),
                busy: Some(0.5),
                steal: Some(0.001),
                processes: Some(Duration::from_secs(16)),
                throttled: Some(Duration::ZERO),
            },
            files: Supply { needed: 114, available: 1024, refused: 0 },
            ports: Some(Supply { needed: 50, available: 28_232, refused: 0 }),
            time_wait: Some(10),
            listen_overflows: Some(0),
            deflate: None,
            bad_peer: None,
        }
    }

    /// A run at a rate that was kept.
    pub(super) fn at_a_rate() -> Observed {
        let open_loop = OpenLoop {
            intended: 1_000_000,
            sent: 999_990,
            lag_own_p99: Duration::from_micros(300),
            lag_server_p99: Duration::ZERO,
            response_p99: Some(Duration::from_micros(200)),
        };
        Observed { open_loop: Some(open_loop), ..calm() }
    }

    /// The severity of the one finding of this kind, if there is one.
    pub(super) fn severity(seen: &Observed, kind: Kind) -> Option<Severity> {
        judge(seen).into_iter().find(|finding| finding.kind == kind).map(|finding| finding.severity)
    }

    pub(super) fn text(seen: &Observed, kind: Kind) -> String {
        judge(seen).into_iter().find(|finding| finding.kind == kind).map(|finding| finding.text).unwrap_or_default()
    }

    #[test]
    fn nothing_is_wrong_with_a_calm_run() {
        assert_eq!(judge(&calm()), []);
        assert_eq!(judge(&at_a_rate()), []);
    }

    #[test]
    fn nothing_is_made_of_what_is_not_known() {
        let unknown = Observed { server: None, cpus: CpuUse::default(), ports: None, time_wait: None, listen_overflows: None, ..calm() };
        assert_eq!(judge(&unknown), []);
    }

    #[test]
    fn all_kinds_are_listed_once_and_in_order() {
        assert!(Kind::ALL.is_sorted_by(|a, b| a < b));
        assert_eq!(Kind::ALL.map(Kind::name).into_iter().collect::<BTreeSet<_>>().len(), Kind::ALL.len());
        assert_eq!(format!("{:<10}|", Kind::BadPeer), "bad-peer  |");
    }
}
