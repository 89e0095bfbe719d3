//! The comparison: every server in turn, several rounds, then medians and ratios.
//!
//! One round takes each measurement of each server, freshly started, one right after the other, so that a machine that grows
//! slower or faster meanwhile does so for all; a ratio is formed within a round. Owns the goals and the table; imports `servers`
//! and `measure`.

use std::fmt;
use std::io;

use clap::ValueEnum;

use crate::measure::Measure;
use crate::servers::Server;

/// What Fantail must reach: at most this times the figure of `server` or, where that is Fantail itself, at most this figure.
fn goal(measure: Measure, server: Server) -> Option<f64> {
    match (measure, server) {
        (Measure::Upgrades, Server::Fastwebsockets) => Some(0.75),
        (Measure::Echo, Server::Fastwebsockets) => Some(0.95),
        (Measure::Fanout, Server::Floor) => Some(1.10),
        (Measure::Burst, Server::Bun) => Some(1.0),
        (Measure::Idle, Server::Fantail) => Some(300.0),
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
pub(crate) fn run(rounds: u32, servers: &[Server], measures: &[Measure]) -> io::Result<()> {
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
            let figure = measure.run(edge, running.process()).map_err(|error| io::Error::other(format!("{server}, {measure}: {error}")))?;
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
    println!("{:<17}  {:<28} {:<20} goal", "server", "median (range)", "fantail / server");
    let find = |server| all.iter().find(|series| (series.measure, series.server) == (measure, server));
    let fantail = find(Server::Fantail);
    for series in Server::value_variants().iter().filter_map(|&server| find(server)) {
        let figures = Spread::of(series.figures.iter().copied());
        let ratios = fantail
            .filter(|fantail| fantail.server != series.server)
            .map(|fantail| Spread::of(fantail.figures.iter().zip(&series.figures).map(|(a, b)| a / b)));
        let ratio = ratios.as_ref().map(Spread::to_string).unwrap_or_default();
        let compared = ratios.as_ref().unwrap_or(&figures).median;
        let verdict = goal(measure, series.server)
            .filter(|_| fantail.is_some())
            .map(|goal| format!("<= {goal:.2} {}", if compared <= goal { "met" } else { "missed" }))
            .unwrap_or_default();
        println!("{:<17}  {:<28} {ratio:<20} {verdict}", series.server, figures.to_string());
    }
}

/// The median of some figures, and the least and greatest of them.
struct Spread {
    median: f64,
    least: f64,
    greatest: f64,
}

impl Spread {
    /// Of at least one figure; of an even number, the median is the mean of the middle two.
    fn of(figures: impl Iterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = figures.collect();
        sorted.sort_by(f64::total_cmp);
        let (low, high) = ((sorted.len() - 1) / 2, sorted.len() / 2);
        Self { median: f64::midpoint(sorted[low], sorted[high]), least: sorted[0], greatest: sorted[sorted.len() - 1] }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { median, least, greatest } = self;
        let decimals = if *median < 100.0 { 2 } else { 0 };
        write!(f, "{median:.decimals$} ({least:.decimals$}-{greatest:.decimals$})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_the_middle_two() {
        assert_eq!(Spread::of([3.0, 1.0, 10.0].into_iter()).median, 3.0);
        let even = Spread::of([4.0, 1.0, 10.0, 2.0].into_iter());
        assert_eq!((even.median, even.least, even.greatest), (3.0, 1.0, 10.0));
    }
}
