//! The measurements: what is done to a server, and what it used for that.
//!
//! Owns their sizes; imports `client` and `process`.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use clap::ValueEnum;

use crate::client::{Client, client_frames, server_frames};
use crate::process::Process;

/// How many connections subscribe to the channel that is published to.
pub(crate) const SUBSCRIBERS: usize = 1_000;

const UPGRADES: usize = 10_000;
const ECHO_CONNECTIONS: usize = 256;
const ECHO_ROUNDS: usize = 800;
const FANOUT_WRITES: usize = 300;
const BURST_WRITES: usize = 200;
const BURST: usize = 8;
const IDLE_FIRST: usize = 5_000;
const IDLE_MORE: usize = 10_000;

/// How long a server may finish what its clients no longer wait for, before its figures are read.
const SETTLE: Duration = Duration::from_millis(100);

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Measure {
    /// Upgrades, the connections kept open.
    Upgrades,
    /// Echoes of 64 bytes on 256 connections, each sending again when answered.
    Echo,
    /// One publication of 64 bytes at a time to 1,000 subscribers.
    Fanout,
    /// The same, eight publications in one write.
    Burst,
    /// Memory of one subscriber that hears nothing.
    Idle,
}

impl Measure {
    /// The unit of the figure.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Upgrades => "µs of server CPU per upgrade",
            Self::Echo => "µs of server CPU per echo",
            Self::Fanout | Self::Burst => "µs of server CPU per delivery",
            Self::Idle => "bytes resident per subscriber",
        }
    }

    /// Measures the server at `edge`, which must be freshly started.
    pub(crate) fn run(self, edge: SocketAddr, server: Process) -> io::Result<f64> {
        match self {
            Self::Upgrades => upgrades(edge, server),
            Self::Echo => echo(edge, server),
            Self::Fanout => fanout(edge, server, FANOUT_WRITES, 1),
            Self::Burst => fanout(edge, server, BURST_WRITES, BURST),
            Self::Idle => idle(edge, server),
        }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value().ok_or(fmt::Error)?;
        f.pad(value.get_name())
    }
}

fn upgrades(edge: SocketAddr, server: Process) -> io::Result<f64> {
    drop(Client::open_many(edge, "/echo", UPGRADES / 5)?);
    let mut kept = Vec::new();
    cpu_us_per_operation(server, UPGRADES, || {
        kept = Client::open_many(edge, "/echo", UPGRADES)?;
        Ok(())
    })
}

fn echo(edge: SocketAddr, server: Process) -> io::Result<f64> {
    let mut clients = Client::open_many(edge, "/echo", ECHO_CONNECTIONS)?;
    let (message, answer) = (client_frames(1), server_frames(1));
    let mut rounds = |count| {
        for _ in 0..count {
            for client in &mut clients {
                client.send(&message)?;
            }
            for client in &mut clients {
                client.expect(&answer)?;
            }
        }
        Ok(())
    };
    rounds(ECHO_ROUNDS / 5)?;
    cpu_us_per_operation(server, ECHO_ROUNDS * ECHO_CONNECTIONS, || rounds(ECHO_ROUNDS))
}

/// The first subscriber publishes `burst` messages in each of `writes` writes, the next when all have received all.
fn fanout(edge: SocketAddr, server: Process, writes: usize, burst: usize) -> io::Result<f64> {
    let mut subscribers = Client::open_many(edge, "/raw/bench", SUBSCRIBERS)?;
    let (messages, deliveries) = (client_frames(burst), server_frames(burst));
    let mut publish = |count| {
        for _ in 0..count {
            subscribers[0].send(&messages)?;
            for subscriber in &mut subscribers {
                subscriber.expect(&deliveries)?;
            }
        }
        Ok(())
    };
    publish(writes / 5)?;
    cpu_us_per_operation(server, writes * burst * SUBSCRIBERS, || publish(writes))
}

/// The slope between two counts, so that what the server uses for itself does not count.
fn idle(edge: SocketAddr, server: Process) -> io::Result<f64> {
    let _first = Client::open_many(edge, "/raw/idle", IDLE_FIRST)?;
    thread::sleep(SETTLE);
    let before = server.resident_bytes()?;
    let _more = Client::open_many(edge, "/raw/idle", IDLE_MORE)?;
    thread::sleep(SETTLE);
    let after = server.resident_bytes()?;
    Ok((after as f64 - before as f64) / IDLE_MORE as f64)
}

fn cpu_us_per_operation(server: Process, operations: usize, work: impl FnOnce() -> io::Result<()>) -> io::Result<f64> {
    thread::sleep(SETTLE);
    let before = server.cpu_ns()?;
    work()?;
    thread::sleep(SETTLE);
    let after = server.cpu_ns()?;
    Ok((after - before) as f64 / 1_000.0 / operations as f64)
}
