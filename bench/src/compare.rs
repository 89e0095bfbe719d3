//! The comparison: every server in turn, several rounds, then medians and ratios.
//!
//! One round takes each measurement of each server, freshly started, one right after the other, so that a machine that grows
//! slower or faster meanwhile does so for all; a ratio is formed within a round. Owns its goals and its table; imports `servers`,
//! `measure`, `process` and `spread`.

use std::io;

use clap::ValueEnum;

use crate::measure::Measure;
use crate::process::Softirqs;
use crate::servers::Server;
use crate::spread::Spread;

/// The servers that all others are compared with, each in a column of its own.
const OURS: [Server; 2] = [Server::FantailEpoll, Server::FantailUring];

/// What `ours` must reach: at most this times the figure of `server` or, where that is `ours` itself, at most this figure.
fn goal(measure: Measure, ours: Server, server: Server) -> Option<f64> {
    use Server::{Bun, FantailEpoll as Epoll, FantailUring as Uring, Fastwebsockets, Floor};
    match (measure, ours, server) {
        (Measure::Upgrades, Epoll, Fastwebsockets) => Some(0.75),
        (Measure::Upgrades, Uring, Epoll) => Some(0.88),
        (Measure::Close, Uring, Epoll) => Some(0.95),
        (Measure::Echo, Epoll, Fastwebsockets) => Some(0.95),
        (Measure::Echo, Uring, Epoll) => Some(0.98),
        (Measure::Fanout, Epoll, Floor) => Some(1.10),
        (Measure::Fanout, Uring, Epoll) => Some(1.0),
        (Measure::Burst, Epoll, Bun) => Some(1.0),
        (Measure::Idle, Epoll, Epoll) => Some(300.0),
        (Measure::Idle, Uring, Epoll) => Some(1.2),
        (Measure::Quiet, Epoll, Epoll) | (Measure::Quiet, Uring, Uring) => Some(0.5),
        _ => None,
    }
}

/// The figures of one server in one measurement, one a round.
struct Series {
    measure: Measure,
    server: Server,
    figures: Vec<f64>,
}

/// Takes all `measures` of all `servers` in each of `rounds`, and prints a table to stdout, the single figures to stderr.
pub fn run(rounds: u32, servers: &[Server], measures: &[Measure], softirqs: &Softirqs) -> io::Result<()> {
    let mut all = Vec::new();
    for &measure in measures {
        for &server in servers.iter().filter(|server| server.takes(measure)) {
            all.push(Series { measure, server, figures: Vec::new() });
        }
    }
    for round in 1..=rounds {
        for series in &mut all {
            let Series { measure, server, .. } = *series;
            let (running, edge) = server.start()?;
            let failed = |error| io::Error::other(format!("{server}, {measure}: {error}"));
            let figure = measure.run(edge, running.process(), softirqs).map_err(failed)?;
            eprintln!("round {round}/{rounds}  {measure:<9} {server:<17} {figure:.3}");
            series.figures.push(figure);
        }
        // There and back again: whatever drifts with time weighs on the first as much as on the last.
        all.reverse();
    }
    for &measure in measures {
        print_table(measure, &all);
    }
    Ok(())
}

fn print_table(measure: Measure, all: &[Series]) {
    println!("\n{measure}: {}", measure.unit());
    println!("{:<17}  {:<34} {:<32} uring / server", "server", "median (range), goal", "epoll / server");
    let find = |server| all.iter().find(|series| (series.measure, series.server) == (measure, server));
    for series in Server::value_variants().iter().filter_map(|&server| find(server)) {
        let figures = judged(series.figures.iter().copied(), goal(measure, series.server, series.server));
        let [epoll, uring] = OURS.map(|ours| find(ours).map(|ours| ratio(ours, series)).unwrap_or_default());
        let row = format!("{:<17}  {figures:<34} {epoll:<32} {uring}", series.server);
        println!("{}", row.trim_end());
    }
}

/// What `ours` costs beside `other`: nothing to tell where these are the same, or where both cost next to nothing.
fn ratio(ours: &Series, other: &Series) -> String {
    if ours.server == other.server || ours.measure == Measure::Quiet {
        return String::new();
    }
    let ratios = ours.figures.iter().zip(&other.figures).map(|(a, b)| a / b);
    judged(ratios, goal(ours.measure, ours.server, other.server))
}

/// The spread of `figures` and, where there is a `goal`, whether their median reaches it.
pub(crate) fn judged(figures: impl Iterator<Item = f64>, goal: Option<f64>) -> String {
    let spread = Spread::of(figures);
    match goal {
        Some(goal) if spread.median <= goal => format!("{spread} <= {goal:.2} met"),
        Some(goal) => format!("{spread} <= {goal:.2} missed"),
        None => spread.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_formed_within_a_round_and_judged_by_their_median() {
        let series = |server, figures: &[f64]| Series { measure: Measure::Upgrades, server, figures: figures.to_vec() };
        let epoll = series(Server::FantailEpoll, &[10.0, 20.0, 10.0]);
        assert_eq!(ratio(&series(Server::FantailUring, &[8.0, 18.0, 7.0]), &epoll), "0.80 (0.70-0.90) <= 0.88 met");
        assert_eq!(ratio(&series(Server::FantailUring, &[9.0, 18.0, 7.0]), &epoll), "0.90 (0.70-0.90) <= 0.88 missed");
        assert_eq!(ratio(&series(Server::Bun, &[8.0, 18.0, 7.0]), &epoll), "0.80 (0.70-0.90)");
        assert_eq!(ratio(&epoll, &epoll), "");
    }
}
