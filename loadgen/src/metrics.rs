//! What is measured, by name: the one list that thresholds, table, JSON and documentation go by. Imports nothing.

/// The four kinds of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// Mass upgrades.
    Connect,
    /// Every message comes back to its sender.
    Echo,
    /// Publishers to subscribers.
    Fanout,
    /// Connections that are held and silent.
    Idle,
}

impl Scenario {
    /// Its name as a command, in JSON and in messages.
    pub fn name(self) -> &'static str {
        match self {
            Connect => "connect",
            Echo => "echo",
            Fanout => "fanout",
            Idle => "idle",
        }
    }
}

/// How a figure is counted, and so how a threshold on it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A distribution of times in nanoseconds; thresholds name a part of it, as in `response.p99`.
    Latency,
    /// A whole number.
    Count,
    /// Per second.
    Rate,
    /// Bytes.
    Bytes,
    /// Microseconds of CPU time.
    CpuMicros,
    /// A part of one, or cores in use.
    Ratio,
}

/// One figure that a run can give.
#[derive(Debug)]
pub struct Metric {
    /// Its name in thresholds, table and JSON.
    pub name: &'static str,
    /// How it is counted.
    pub unit: Unit,
    /// Which scenarios give it.
    pub scenarios: &'static [Scenario],
    /// What it says, for `--help`.
    pub meaning: &'static str,
}

use Scenario::{Connect, Echo, Fanout, Idle};
use Unit::{Bytes, Count, CpuMicros, Latency, Rate, Ratio};

const ALL: &[Scenario] = &[Connect, Echo, Fanout, Idle];
const MESSAGES: &[Scenario] = &[Echo, Fanout];

const fn metric(name: &'static str, unit: Unit, scenarios: &'static [Scenario], meaning: &'static str) -> Metric {
    Metric { name, unit, scenarios, meaning }
}

/// All metrics, in the order in which they are printed.
pub const CATALOGUE: &[Metric] = &[
    metric("connect.tcp", Latency, ALL, "from connect() to a connected socket"),
    metric("connect.tls", Latency, ALL, "the TLS handshake, where there is one"),
    metric("connect.upgrade", Latency, ALL, "from the request to the whole 101 response, its accept value verified"),
    metric("connect.total", Latency, ALL, "from connect() to the verified 101"),
    metric("connect.response", Latency, &[Connect], "from the intended start of the connection to the verified 101"),
    metric("connected", Count, ALL, "connections opened"),
    metric("failed", Count, ALL, "connections that could not be opened or ended before they should"),
    metric("response", Latency, &[Echo], "whole answer less intended send"),
    metric("service", Latency, &[Echo], "whole answer less handed to the kernel"),
    metric("delivery", Latency, &[Fanout], "every delivery to every subscriber, less the intended publication"),
    metric("delivery.service", Latency, &[Fanout], "the same less handed to the kernel"),
    metric("delivery.first", Latency, &[Fanout], "per publication: its first delivery"),
    metric("delivery.median", Latency, &[Fanout], "per publication: its median delivery"),
    metric("delivery.last", Latency, &[Fanout], "per publication: its last delivery, its completion"),
    metric("delivery.spread", Latency, &[Fanout], "per publication: last less first"),
    metric("fairness", Latency, &[Fanout], "over the subscribers: the p99 of each one's deliveries"),
    metric("publish.answer", Latency, &[Fanout], "over HTTP: whole answer to a publication less handed to the kernel"),
    metric("lag.own", Latency, MESSAGES, "of a send: our own delay after its intended time"),
    metric("lag.server", Latency, MESSAGES, "of a send: the wait for a server that did not read, back-pressure"),
    metric("rate", Rate, &[Connect, Echo, Fanout], "upgrades, answers or deliveries per second"),
    metric("sent", Count, MESSAGES, "messages or publications handed to the kernel"),
    metric("received", Count, MESSAGES, "answers or unique deliveries"),
    metric("unanswered", Count, MESSAGES, "sent and not yet answered at the end: censored at their age"),
    metric("reach", Ratio, &[Fanout], "unique deliveries per publication and subscriber acknowledged before it"),
    metric("loss", Count, MESSAGES, "messages that a later one overtook for good, or that no longer came when all was quiet"),
    metric("duplicates", Count, MESSAGES, "messages that came again"),
    metric("reordered", Count, MESSAGES, "messages that came after a later one"),
    metric("corrupted", Count, MESSAGES, "messages that are not what was sent"),
    metric("negative", Count, MESSAGES, "latencies below zero: the measurement itself is wrong"),
    metric("server.cpu", Ratio, ALL, "cores that the server used"),
    metric("server.cpu_us_per_msg", CpuMicros, &[Connect, Echo, Fanout], "the server's CPU time per upgrade, answer or delivery"),
    metric("server.rss", Bytes, ALL, "the server's resident memory at the end"),
    metric("server.rss_per_conn", Bytes, &[Idle], "slope of the server's resident memory over the connections"),
    metric(
        "kernel.mem_per_conn",
        Bytes,
        &[Idle],
        "slope of the kernel's memory for slabs and sockets, both ends where the server is local",
    ),
    metric("generator.cpu", Ratio, ALL, "cores that the generator used"),
    metric("generator.cpu_us_per_msg", CpuMicros, &[Connect, Echo, Fanout], "the generator's CPU time per upgrade, answer or delivery"),
    metric("generator.rss", Bytes, ALL, "the generator's resident memory at the end"),
];

impl Metric {
    /// The metric of this name.
    pub fn named(name: &str) -> Option<&'static Metric> {
        CATALOGUE.iter().find(|metric| metric.name == name)
    }
}
