//! `fantail-bench`: what a WebSocket server costs, beside its peers and beside the bare `send` below which none can go.
//!
//! - `compare` starts the servers in turn, several rounds of all, and prints a table of medians and ratios;
//! - `measure` takes one measurement of a server that already runs;
//! - `floor` is the bare `send` loop.
//!
//! Every cost is the server's own CPU time, which other load on the machine disturbs least, and that of the kernel's threads to which
//! its network's work may move. `scripts/bench-server` builds everything and runs `compare` pinned to one CPU, in a network of its own.
//!
//! This file owns the command line; it imports every other file, `compare` those below it (`servers`, `measure`, `process`), these
//! `client` and `process`.

mod client;
mod compare;
mod floor;
mod measure;
mod process;
mod servers;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use crate::measure::Measure;
use crate::process::{Process, Softirqs};
use crate::servers::Server;

/// Benchmarks of Fantail beside its peers, in the same run.
#[derive(Parser)]
#[command(version)]
enum Command {
    /// Start the servers in turn, measure them, print medians and ratios.
    Compare {
        /// How often everything is measured.
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=50))]
        rounds: u32,
        /// Only these servers.
        #[arg(long, value_delimiter = ',', default_values_t = Server::value_variants().to_vec())]
        servers: Vec<Server>,
        /// Only these measurements.
        #[arg(long, value_delimiter = ',', default_values_t = Measure::value_variants().to_vec())]
        measures: Vec<Measure>,
        /// A /proc that shows the kernel's threads.
        #[arg(long, default_value = "/proc")]
        kernel_proc: PathBuf,
    },
    /// Measure a server that runs, freshly started, on this machine.
    Measure {
        /// What to measure.
        measure: Measure,
        /// Where it listens.
        edge: SocketAddr,
        /// Its process.
        pid: u32,
    },
    /// Serve the floor: accept subscribers, and send each one frame whenever the first of them sends one.
    Floor {
        /// How many subscribers to wait for.
        #[arg(long, default_value_t = measure::SUBSCRIBERS)]
        subscribers: usize,
    },
}

fn main() -> ExitCode {
    match run(Command::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fantail-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> io::Result<()> {
    match command {
        Command::Compare { rounds, servers, measures, kernel_proc } => {
            compare::run(rounds, &servers, &measures, &Softirqs::find(&kernel_proc)?)
        }
        Command::Measure { measure, edge, pid } => {
            let figure = measure.run(edge, Process(pid), &Softirqs::find(Path::new("/proc"))?)?;
            println!("{measure}: {figure:.3} {}", measure.unit());
            Ok(())
        }
        Command::Floor { subscribers } => floor::serve(subscribers),
    }
}
