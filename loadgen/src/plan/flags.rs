//! The flags, as clap reads them: one struct for each command, so that a flag of another command is refused. Owns names, defaults and help
//! texts; what flags mean together is `build`'s. Imports `parse`, `presets` and the rooms of the values.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};

use super::{help, parse, presets::Preset};
use crate::{metrics::Scenario, units, url::Url};

/// The name of the channel.
pub(super) const CHANNEL: &str = "load";

/// Load for any WebSocket server, and what it costs that server
#[derive(Debug, Parser)]
#[command(name = "fantail-load", bin_name = "fantail-load", version, arg_required_else_help = false)]
pub(super) struct Flags {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Mass upgrades: TCP, TLS, upgrade and total time apart
    #[command(after_help = help::short(Scenario::Connect), after_long_help = help::long(Scenario::Connect))]
    Connect(Box<ConnectFlags>),
    /// Messages that come back: a closed loop, or an open one with -R
    #[command(after_help = help::short(Scenario::Echo), after_long_help = help::long(Scenario::Echo))]
    Echo(Box<EchoFlags>),
    /// Publishers to subscribers: latency of every delivery, completion, fairness, reach
    #[command(after_help = help::short(Scenario::Fanout), after_long_help = help::long(Scenario::Fanout))]
    Fanout(Box<FanoutFlags>),
    /// Silent connections, held in steps: bytes per connection
    #[command(after_help = help::short(Scenario::Idle), after_long_help = help::long(Scenario::Idle))]
    Idle(Box<IdleFlags>),
    /// What would spoil a measurement on this machine, and the command that mends it; exit code 3 if something is bad
    Doctor(DoctorFlags),
    /// The JSON Schema of what --json writes
    Schema,
}

#[derive(Args, Debug)]
pub(super) struct ConnectFlags {
    /// Connections, opened once and kept; with --close, those that stand at once
    #[arg(short, long, value_name = "N", default_value = "1000", value_parser = parse::connections)]
    pub connections: usize,
    /// Close each once open and open the next, for -d or until -n
    #[arg(long, conflicts_with = "ramp")]
    pub close: bool,
    /// With --close: how long to measure [default: 10s, or until -n]
    #[arg(short, long, value_name = "TIME", requires = "close", value_parser = parse::measured)]
    pub duration: Option<Duration>,
    /// With --close: upgrades to measure
    #[arg(short = 'n', long, value_name = "N", requires = "close", value_parser = parse::count)]
    pub count: Option<u64>,
    /// With --close: load before what is measured [default: 2s]
    #[arg(long, value_name = "TIME", requires = "close", value_parser = parse::pause)]
    pub warmup: Option<Duration>,
    #[command(flatten)]
    pub common: CommonFlags,
}

#[derive(Args, Debug)]
pub(super) struct EchoFlags {
    /// Connections
    #[arg(short, long, value_name = "N", default_value = "50", value_parser = parse::connections)]
    pub connections: usize,
    /// The message, a template [default: ${payload}]
    #[arg(short, long, value_name = "TEMPLATE", conflicts_with = "file")]
    pub message: Option<String>,
    #[command(flatten)]
    pub traffic: TrafficFlags,
    #[command(flatten)]
    pub common: CommonFlags,
}

#[derive(Args, Debug)]
pub(super) struct FanoutFlags {
    /// Subscribers
    #[arg(short, long, value_name = "N", default_value = "50", value_parser = parse::connections)]
    pub connections: usize,
    /// The publication as a WebSocket message, a template [default: ${payload}]
    #[arg(short, long, visible_alias = "publish", value_name = "TEMPLATE", conflicts_with_all = ["file", "publish_body"])]
    pub message: Option<String>,
    /// Publishers [default: one for each channel]
    #[arg(long, value_name = "N", value_parser = parse::connections)]
    pub publishers: Option<usize>,
    /// Channels, over which publishers and subscribers are spread
    #[arg(long, value_name = "N", default_value = "1", value_parser = parse::connections)]
    pub channels: usize,
    /// The channel's name; with several channels: NAME-0, NAME-1, ...
    #[arg(long, value_name = "NAME", default_value = CHANNEL, value_parser = parse::channel)]
    pub channel: String,
    /// Sent by each subscriber once open, a template
    #[arg(long, value_name = "TEMPLATE")]
    pub subscribe: Option<String>,
    /// The message that holds this text says that the subscription stands [default: open is subscribed]
    #[arg(long, value_name = "TEXT", value_parser = parse::text)]
    pub subscribe_ack: Option<String>,
    /// Where publishers connect [default: where subscribers do]
    #[arg(long, value_name = "URL", conflicts_with = "publish_http", value_parser = parse::websocket_url)]
    pub publish_url: Option<Url>,
    /// Publish by POST to this http:// URL, not over a WebSocket
    #[arg(long, value_name = "URL", value_parser = parse::http_url)]
    pub publish_http: Option<Url>,
    /// A field of that request
    #[arg(long, value_name = "NAME: VALUE", requires = "publish_http", value_parser = parse::publish_field)]
    pub publish_header: Vec<(String, String)>,
    /// The body of that request, a template
    #[arg(long, value_name = "TEMPLATE", requires = "publish_http", conflicts_with = "file")]
    pub publish_body: Option<String>,
    #[command(flatten)]
    pub traffic: TrafficFlags,
    #[command(flatten)]
    pub common: CommonFlags,
}

#[derive(Args, Debug)]
pub(super) struct IdleFlags {
    /// Connections on the last step
    #[arg(short, long, value_name = "N", default_value = "1000", value_parser = parse::connections)]
    pub connections: usize,
    /// Steps in which they are opened, 5 to 1000; the slope over them gives the bytes per connection
    #[arg(long, value_name = "N", default_value = "5", value_parser = parse::steps)]
    pub steps: usize,
    /// How long each step is held before memory is read
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse::pause)]
    pub settle: Duration,
    #[command(flatten)]
    pub common: CommonFlags,
}

#[derive(Args, Debug)]
pub(super) struct DoctorFlags {
    /// The server that is to be measured
    #[arg(value_parser = parse::websocket_url)]
    pub url: Option<Url>,
    /// Connections that are to be opened
    #[arg(short, long, value_name = "N", default_value = "1000", value_parser = parse::connections)]
    pub connections: usize,
}

/// What is sent and for how long: `echo` and `fanout`.
#[derive(Args, Debug)]
#[command(next_help_heading = "Traffic")]
pub(super) struct TrafficFlags {
    /// How long to measure [default: 10s, or until -n]
    #[arg(short, long, value_name = "TIME", value_parser = parse::measured)]
    pub duration: Option<Duration>,
    /// Messages or publications to measure; with -d, whichever ends first
    #[arg(short = 'n', long, value_name = "N", value_parser = parse::count)]
    pub count: Option<u64>,
    /// Load before what is measured
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse::pause)]
    pub warmup: Duration,
    /// Messages or publications per second in all, sent on time whatever the server does [default: a closed loop]
    #[arg(short = 'R', long, value_name = "N", value_parser = units::parse_rate)]
    pub rate: Option<f64>,
    /// Bytes of ${payload} [default: 64]
    #[arg(short, long, value_name = "BYTES", value_parser = parse::payload_bytes)]
    pub size: Option<usize>,
    /// Send the content of a file, a template
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    // The default, there to be written out; nothing reads it.
    /// Send text messages, the default
    #[arg(long = "text", conflicts_with = "binary")]
    _text: bool,
    /// Send binary messages
    #[arg(long)]
    pub binary: bool,
}

/// What all four scenarios share.
#[derive(Args, Debug)]
#[command(next_help_heading = "Target")]
pub(super) struct CommonFlags {
    /// Where connections go, in turn: ws:// or wss://, path and query may hold ${conn} and ${channel}
    #[arg(required = true, value_name = "URL", value_parser = parse::websocket_url)]
    pub urls: Vec<Url>,
    /// A known server: its messages where no flag gives them, its path where the URL has none
    #[arg(long, value_name = "SERVER")]
    pub preset: Option<Preset>,
    #[command(flatten)]
    pub opening: OpeningFlags,
    #[command(flatten)]
    pub run: RunFlags,
}

/// How connections are opened.
#[derive(Args, Debug)]
#[command(next_help_heading = "Opening")]
pub(super) struct OpeningFlags {
    /// Connections opened per second [default: as --connect-inflight allows]
    #[arg(long, value_name = "N", conflicts_with = "ramp", value_parser = units::parse_rate)]
    pub connect_rate: Option<f64>,
    /// Time over which the opening is spread
    #[arg(long, value_name = "TIME", value_parser = parse::ramp)]
    pub ramp: Option<Duration>,
    /// Handshakes under way at once
    #[arg(long, value_name = "N", default_value = "64", value_parser = parse::connections)]
    pub connect_inflight: usize,
    /// Source addresses, used in turn, as in 127.0.0.1,127.0.0.4-127.0.0.9
    #[arg(long, value_name = "ADDRESS,...", value_parser = parse::local_addresses)]
    pub local_addr: Option<LocalAddresses>,
    /// A field of the upgrade request; Host replaces the URL's
    #[arg(short = 'H', long, value_name = "NAME: VALUE", value_parser = parse::upgrade_field)]
    pub header: Vec<(String, String)>,
    /// Subprotocols to offer
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', value_parser = parse::token)]
    pub subprotocol: Vec<String>,
    /// Offer permessage-deflate
    #[arg(long)]
    pub deflate: bool,
    /// Do not verify the server's certificate
    #[arg(short = 'k', long, conflicts_with = "ca")]
    pub insecure: bool,
    /// Certificates to trust beside the system's, in PEM
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Sent on each connection once open, a template
    #[arg(long, value_name = "TEMPLATE")]
    pub first_message: Option<String>,
    /// Answer each message that is PING with PONG
    #[arg(long, value_name = "PING=PONG", value_parser = parse::answer)]
    pub answer: Option<(Vec<u8>, Vec<u8>)>,
}

/// The value of `--local-addr`. Clap takes a bare `Vec` for a flag that is repeated.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct LocalAddresses(pub Vec<IpAddr>);

/// How a run is driven, observed, judged and reported.
#[derive(Args, Debug)]
#[command(next_help_heading = "Run")]
pub(super) struct RunFlags {
    /// Threads [default: one for each CPU of --pin, or each CPU available]
    #[arg(short, long, value_name = "N", value_parser = parse::threads)]
    pub threads: Option<usize>,
    /// CPUs of the threads, in turn
    #[arg(long, value_name = "CPU,...", value_delimiter = ',', value_parser = parse::cpu)]
    pub pin: Vec<usize>,
    /// How long a peer may be silent while something is due
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse::timeout)]
    pub timeout: Duration,
    /// The server's process; its children count [default: the local one that listens at the URL]
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pub pid: Option<u32>,
    /// The seed of everything random [default: a random one]
    #[arg(long, value_name = "N", value_parser = units::parse_count)]
    pub seed: Option<u64>,
    /// A label that the report carries, for the reader
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse::label)]
    pub label: Vec<(String, String)>,
    /// Runs, 1 to 100
    #[arg(long, value_name = "N", default_value = "1", value_parser = parse::repeat)]
    pub repeat: usize,
    /// What must hold, METRIC then <, <=, >, >= or ==, then a bound, as in 'rate>=20k'; repeatable
    #[arg(long, value_name = "CONDITION")]
    pub threshold: Vec<String>,
    /// Write the report as JSON; -: to stdout, instead of the table
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}
