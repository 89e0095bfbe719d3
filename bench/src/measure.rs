//! The measurements: what is done to a server, and what it used for that.
//!
//! Owns their sizes; imports `client` and `process`.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use clap::ValueEnum;

use crate::client::{Client, WINDOW, client_frames, server_frames};
use crate::process::{Process, Softirqs};

/// How many connections subscribe to the channel that is published to.
pub const SUBSCRIBERS: usize = 1_000;

const UPGRADES: usize = 10_000;
const CLOSES: usize = 10_000;
const ECHO_CONNECTIONS: usize = 256;
const ECHO_ROUNDS: usize = 800;
const FANOUT_WRITES: usize = 300;
const BURST_WRITES: usize = 200;
const BURST: usize = 8;
const IDLE_FIRST: usize = 5_000;
const IDLE_MORE: usize = 10_000;
const QUIET_CONNECTIONS: usize = 10_000;
const QUIET_SETTLE: Duration = Duration::from_secs(1);
const QUIET: Duration = Duration::from_secs(10);

/// How long a server may finish what its clients no longer wait for, before its figures are read.
pub(crate) const SETTLE: Duration = Duration::from_millis(100);

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Measure {
    /// Upgrades, the connections kept open.
    Upgrades,
    /// Upgrades, each connection closed by the client as soon as it is open.
    Close,
    /// Echoes of 64 bytes on 256 connections, each sending again when answered.
    Echo,
    /// One publication of 64 bytes at a time to 1,000 subscribers.
    Fanout,
    /// The same, eight publications in one write.
    Burst,
    /// Memory of one subscriber that hears nothing.
    Idle,
    /// CPU time with 10,000 subscribers that hear nothing.
    Quiet,
}

impl Measure {
    /// The unit of the figure.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Upgrades => "µs of server CPU per upgrade",
            Self::Close => "µs of server CPU per upgrade and close",
            Self::Echo => "µs of server CPU per echo",
            Self::Fanout | Self::Burst => "µs of server CPU per delivery",
            Self::Idle => "bytes resident per subscriber",
            Self::Quiet => "% of one CPU with 10,000 subscribers",
        }
    }

    /// Measures the server at `edge`, which must be freshly started and have the machine's network to itself: CPU time is that of
    /// its process and of `softirqs`.
    pub fn run(self, edge: SocketAddr, process: Process, softirqs: &Softirqs) -> io::Result<f64> {
        let server = Metered { process, softirqs };
        match self {
            Self::Upgrades => upgrades(edge, server),
            Self::Close => close(edge, server),
            Self::Echo => echo(edge, server),
            Self::Fanout => fanout(edge, server, FANOUT_WRITES, 1),
            Self::Burst => fanout(edge, server, BURST_WRITES, BURST),
            Self::Idle => idle(edge, process),
            Self::Quiet => quiet(edge, server),
        }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value().ok_or(fmt::Error)?;
        f.pad(value.get_name())
    }
}

/// A server, with the kernel's threads that work for it.
#[derive(Clone, Copy)]
pub(crate) struct Metered<'a> {
    /// Its process.
    pub process: Process,
    /// The kernel's threads.
    pub softirqs: &'a Softirqs,
}

impl Metered<'_> {
    /// CPU time that `work` costs, in nanoseconds.
    fn cpu_ns(self, work: impl FnOnce() -> io::Result<()>) -> io::Result<f64> {
        let before = self.cpu_ns_so_far()?;
        work()?;
        Ok(self.cpu_ns_so_far()? as f64 - before as f64)
    }

    fn cpu_ns_so_far(self) -> io::Result<u64> {
        Ok(self.process.cpu_ns()? + self.softirqs.cpu_ns()?)
    }

    /// CPU time of one of the `operations` that `work` consists of, in microseconds.
    pub fn cpu_us_per_operation(self, operations: usize, work: impl FnOnce() -> io::Result<()>) -> io::Result<f64> {
        thread::sleep(SETTLE);
        let cpu_ns = self.cpu_ns(|| {
            work()?;
            thread::sleep(SETTLE);
            Ok(())
        })?;
        Ok(cpu_ns / 1_000.0 / operations as f64)
    }
}

fn upgrades(edge: SocketAddr, server: Metered) -> io::Result<f64> {
    drop(Client::open_many(edge, "/echo", UPGRADES / 5)?);
    let mut kept = Vec::new();
    server.cpu_us_per_operation(UPGRADES, || {
        kept = Client::open_many(edge, "/echo", UPGRADES)?;
        Ok(())
    })
}

/// The clients end their connections first, without a closing handshake, as most benchmarks do. Each leaves its port in TIME_WAIT, but
/// only towards this server's port: all of them, the first fifth included, must fit into the system's range of some 28,000.
fn close(edge: SocketAddr, server: Metered) -> io::Result<f64> {
    let open_and_close = |count: usize| {
        for start in (0..count).step_by(WINDOW) {
            let clients = Client::open_many(edge, "/echo", WINDOW.min(count - start))?;
            clients.iter().try_for_each(Client::shut_down)?;
            clients.into_iter().try_for_each(Client::expect_end)?;
        }
        Ok(())
    };
    open_and_close(CLOSES / 5)?;
    server.cpu_us_per_operation(CLOSES, || open_and_close(CLOSES))
}

fn echo(edge: SocketAddr, server: Metered) -> io::Result<f64> {
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
    server.cpu_us_per_operation(ECHO_ROUNDS * ECHO_CONNECTIONS, || rounds(ECHO_ROUNDS))
}

/// The first subscriber publishes `burst` messages in each of `writes` writes, the next when all have received all.
fn fanout(edge: SocketAddr, server: Metered, writes: usize, burst: usize) -> io::Result<f64> {
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
    server.cpu_us_per_operation(writes * burst * SUBSCRIBERS, || publish(writes))
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

fn quiet(edge: SocketAddr, server: Metered) -> io::Result<f64> {
    let _subscribers = Client::open_many(edge, "/raw/quiet", QUIET_CONNECTIONS)?;
    thread::sleep(QUIET_SETTLE);
    let cpu_ns = server.cpu_ns(|| {
        thread::sleep(QUIET);
        Ok(())
    })?;
    Ok(100.0 * cpu_ns / QUIET.as_nanos() as f64)
}
