//! What a run does, validated: the command line after presets, defaults and checks. Imports the rooms of its parts.

mod build;
pub mod cli;
mod display;
mod flags;
mod help;
mod parse;
pub mod presets;
mod roles;

use std::{net::IpAddr, path::PathBuf, time::Duration};

use fantail_codec::Kind;

use crate::{metrics::Scenario, payload::Template, threshold::Threshold, url::Url};

/// A whole run. `Display` gives the resolved values in one line, the output's first.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What kind of load.
    pub scenario: Scenario,
    /// Where the connections go, in turn. Path and query may hold templates for `${conn}` and `${channel}`.
    pub urls: Vec<Url>,
    /// `-c`: connections; in a fan-out, subscribers; with `--close`, those that stand at once.
    pub connections: usize,
    /// `-t`: threads; at most as many as there are connections.
    pub threads: usize,
    /// `--pin`: the CPU of each thread, in turn; empty: the kernel chooses.
    pub pin: Vec<usize>,
    /// How they are opened.
    pub opening: Opening,
    /// What is sent on them.
    pub traffic: Traffic,
    /// Fan-out alone.
    pub fanout: Fanout,
    /// `idle` alone.
    pub steps: Steps,
    /// `-d`: how long is measured; `None`: until `-n` is reached or, without it, until all connections are opened or all steps done.
    pub duration: Option<Duration>,
    /// `-n`: messages, publications or, with `--close`, upgrades to measure.
    pub count: Option<u64>,
    /// `--warmup`: load before what is measured.
    pub warmup: Duration,
    /// `--timeout`: how long connecting, upgrading, closing or a subscription may take, and how long it may be silent, over all connections, before
    /// answers that are still due are given up.
    pub timeout: Duration,
    /// `--pid`; `None`: the process that listens at the URL's address, where that is local.
    pub pid: Option<u32>,
    /// `--seed`: of everything random.
    pub seed: u64,
    /// `--label k=v`.
    pub labels: Vec<(String, String)>,
    /// `--repeat`: runs.
    pub repeat: usize,
    /// `--threshold`.
    pub thresholds: Vec<Threshold>,
    /// `--json`.
    pub json: Option<Json>,
}

/// How connections are opened.
#[derive(Clone, Debug)]
pub struct Opening {
    /// `--connect-rate`, or the connections divided by `--ramp`: per second; `None`: as fast as `inflight` allows.
    pub rate: Option<f64>,
    /// `--connect-inflight`: handshakes under way at once, over all threads.
    pub inflight: usize,
    /// `--close`: each is closed once open, and the next opened (`connect` alone).
    pub close: bool,
    /// `--local-addr`: source addresses in turn; empty: the kernel's choice.
    pub local_addresses: Vec<IpAddr>,
    /// `-H`: fields of the upgrade request, name and value; Host replaces the URL's.
    pub fields: Vec<(String, String)>,
    /// `--subprotocol`: offered, in order.
    pub subprotocols: Vec<String>,
    /// `--deflate`: offer permessage-deflate.
    pub deflate: bool,
    /// `-k`: the server's certificate is not verified.
    pub insecure: bool,
    /// `--ca`: a PEM file whose certificates are trusted beside the system's.
    pub ca: Option<PathBuf>,
}

/// What is sent.
#[derive(Clone, Debug)]
pub struct Traffic {
    /// `-R`: messages or publications per second in all; `None`: a closed loop.
    pub rate: Option<f64>,
    /// `-m` or `-f`: a message, or a publication; absent: `${payload}`.
    pub message: Template,
    /// `-s`: bytes of `${payload}`.
    pub payload_bytes: usize,
    /// `--text` or `--binary`.
    pub kind: Kind,
    /// `--first-message`: sent on each connection once open.
    pub first_message: Option<Template>,
    /// `--answer`: a message that is the first is answered with the second.
    pub answer: Option<(Vec<u8>, Vec<u8>)>,
}

/// Who publishes, to what, and who hears it.
#[derive(Clone, Debug)]
pub struct Fanout {
    /// `--publishers`: how many publish; 0 where the scenario is another.
    pub publishers: usize,
    /// `--channels`: publisher and subscriber i belong to channel i modulo this.
    pub channels: usize,
    /// `--channel`: the channel's name, `NAME` or, with several, `NAME-0`, `NAME-1`, ...
    pub channel: String,
    /// `--subscribe`: sent by a subscriber once open.
    pub subscribe: Option<Template>,
    /// `--subscribe-ack`: the answer that holds these bytes says that the subscription stands.
    pub subscribe_ack: Option<Vec<u8>>,
    /// How a publication goes out.
    pub publish: Publish,
}

/// A publisher's way.
#[derive(Clone, Debug)]
pub enum Publish {
    /// [`Traffic::message`], `-m` or `--publish` there, on a WebSocket.
    WebSocket {
        /// `--publish-url`: where publishers connect, if not where subscribers do.
        url: Option<Url>,
    },
    /// By `POST` to `--publish-http URL`; the body is [`Traffic::message`], `--publish-body` there.
    Http {
        /// An `http://` URL.
        url: Url,
        /// `--publish-header`.
        fields: Vec<(String, String)>,
    },
}

/// The plateaus of `idle`.
#[derive(Clone, Copy, Debug)]
pub struct Steps {
    /// `--steps`: plateaus, at least 5.
    pub count: usize,
    /// `--settle`: how long a plateau is held before it is measured.
    pub settle: Duration,
}

/// `--json`: where the report goes.
#[derive(Clone, Debug)]
pub enum Json {
    /// `-`: instead of the table.
    Stdout,
    /// A file.
    File(PathBuf),
}
