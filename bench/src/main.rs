//! `fantail-bench`: what a WebSocket server costs, beside its peers and beside the bare `send` below which none can go.
//!
//! - `compare` starts the servers in turn, several rounds of all, and prints a table of medians and ratios;
//! - `channels` measures what channels promise: the client protocol, compression, conflation, rates, slow subscribers, memory;
//! - `measure` takes one measurement of a server that already runs;
//! - `floor` is the bare `send` loop;
//! - `table` reads what the criterion suites in `benches/` have left, and prints how many times faster than its peers each of ours is.
//!
//! The first four measure the server's own CPU time, which other load on the machine disturbs least, and that of the kernel's threads to
//! which its network's work may move. `scripts/bench-server` builds everything and runs `compare` pinned to one CPU, in a network of its own,
//! `scripts/bench-channels` in the same way `channels`; `scripts/bench` runs the suites and `table`.
//!
//! This file owns the command line.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use fantail_bench::measure::{self, Measure};
use fantail_bench::process::{Process, Softirqs};
use fantail_bench::servers::Server;
use fantail_bench::{channels, compare, floor, table};

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
    /// Measure what channels promise, print medians and ratios.
    Channels {
        /// How often everything is measured.
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=50))]
        rounds: u32,
        /// Ours: which of the two.
        #[arg(long, default_value_t = Server::FantailEpoll)]
        server: Server,
        /// Only measurements whose names begin so.
        #[arg(long, value_delimiter = ',')]
        measures: Vec<String>,
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
    /// Print what the criterion suites measured: ratios, goals, and the ratios of an earlier run.
    Table {
        /// Where the figures are: a directory for each round, in the layout of criterion.
        figures: PathBuf,
        /// The same of an earlier run, if there was one.
        #[arg(long)]
        baseline: Option<PathBuf>,
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
        Command::Channels { rounds, server, measures, kernel_proc } => {
            channels::run(rounds, server, &measures, &Softirqs::find(&kernel_proc)?)
        }
        Command::Measure { measure, edge, pid } => {
            let figure = measure.run(edge, Process(pid), &Softirqs::find(Path::new("/proc"))?)?;
            println!("{measure}: {figure:.3} {}", measure.unit());
            Ok(())
        }
        Command::Floor { subscribers } => floor::serve(subscribers),
        Command::Table { figures, baseline } => table::print(&figures, baseline.as_deref()),
    }
}
