//! The servers that are compared: how each is started and stopped.
//!
//! Each prints one line with `edge=ADDRESS` when it is ready, echoes on `/echo`, and on `/raw/CHANNEL` publishes what a subscriber
//! sends to all subscribers of the channel. Owns their processes; imports `measure` and `process`.

use std::env;
use std::fmt;
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use clap::ValueEnum;

use crate::measure::Measure;
use crate::process::Process;

/// Where `scripts/bench-server` installs the peers in JavaScript, seen from the repository's root.
const SCRIPTED_PEERS: &str = ".cache/bench-peers";

/// A server to compare.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Server {
    /// Ours: one worker, on epoll.
    FantailEpoll,
    /// Ours: one worker, on io_uring.
    FantailUring,
    /// The bare `send` loop.
    Floor,
    /// The crate fastwebsockets, on hyper and a single-threaded tokio.
    Fastwebsockets,
    /// The crate tokio-tungstenite, on a single-threaded tokio.
    TokioTungstenite,
    /// The package ws, on Node.js.
    Ws,
    /// Bun, whose server is the core of uWebSockets.
    Bun,
}

impl Server {
    /// Whether it can do what `measure` asks for.
    pub fn takes(self, measure: Measure) -> bool {
        self != Self::Floor || matches!(measure, Measure::Fanout | Measure::Burst)
    }

    /// Starts it, and waits until it says where it listens.
    pub fn start(self) -> io::Result<(Running, SocketAddr)> {
        self.start_with(&[], None)
    }

    /// The same, with these variables in its environment and, where that is not to be the CPU of this process, on another.
    pub fn start_with(self, variables: &[(&str, &str)], cpu: Option<usize>) -> io::Result<(Running, SocketAddr)> {
        let failed = |error| io::Error::other(format!("{self} did not start: {error}"));
        let mut command = self.command()?;
        command.envs(variables.iter().copied());
        if let Some(cpu) = cpu {
            command = on_cpu(cpu, &command);
        }
        let child = command.stdout(Stdio::piped()).spawn();
        let mut running = Running(child.map_err(failed)?);
        let edge = running.edge().map_err(failed)?;
        Ok((running, edge))
    }

    fn command(self) -> io::Result<Command> {
        // A suite lies in the folder of the dependencies, one below the programs.
        let this = env::current_exe()?;
        let programs = this.ancestors().skip(1).find(|folder| !folder.ends_with("deps")).unwrap_or(Path::new(""));
        let example = |name| programs.join("examples").join(name);
        let scripted = |file| Path::new(SCRIPTED_PEERS).join(file);
        let with = |program: PathBuf, argument: PathBuf| {
            let mut command = Command::new(program);
            command.arg(argument);
            command
        };
        let fantail = |driver| {
            let mut command = Command::new(programs.join("fantail"));
            command
                .args(["serve", "--workers", "1", "--driver", driver])
                .args(["--listen", "127.0.0.1:0", "--internal", "127.0.0.1:0"])
                .env("FANTAIL_HUB_PUBLISH", "anyone")
                .env("RUST_LOG", "warn");
            command
        };
        Ok(match self {
            Self::FantailEpoll => fantail("epoll"),
            Self::FantailUring => fantail("uring"),
            Self::Floor => with(this.clone(), "floor".into()),
            Self::Fastwebsockets => Command::new(example("fastwebsockets")),
            Self::TokioTungstenite => Command::new(example("tokio_tungstenite")),
            Self::Ws => with("node".into(), scripted("ws.js")),
            Self::Bun => with(scripted("node_modules/.bin/bun"), scripted("bun.js")),
        })
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value().ok_or(fmt::Error)?;
        f.pad(value.get_name())
    }
}

/// `taskset` becomes the program that it starts, so the process is still the server's.
fn on_cpu(cpu: usize, command: &Command) -> Command {
    let mut pinned = Command::new("taskset");
    pinned.arg("-c").arg(cpu.to_string()).arg(command.get_program()).args(command.get_args());
    pinned.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    pinned
}

/// A started server; it ends when this is dropped.
pub struct Running(Child);

impl Running {
    /// Its process, to be measured.
    pub fn process(&self) -> Process {
        Process(self.0.id())
    }

    fn edge(&mut self) -> io::Result<SocketAddr> {
        let mut line = String::new();
        if let Some(stdout) = self.0.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        line.split_whitespace()
            .find_map(|word| word.strip_prefix("edge=")?.parse().ok())
            .ok_or_else(|| io::Error::other(format!("no edge=ADDRESS in {line:?}")))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only for a process that has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
