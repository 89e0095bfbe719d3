//! What channels promise, as figures: what the client protocol and compression cost beside raw mode, what collecting and conflating save,
//! what becomes of others while one does not read, what a subscription takes in memory.
//!
//! As in `compare`, each measurement has a server of its own, freshly started; a round takes all of them, and ratios are formed within a
//! round. A measurement fails where a subscriber misses a publication, or gets one that it should not. Owns the list of them, their goals
//! and their table; imports `compare`'s judgement, `measure`, `servers`, `process`.

mod conflating;
mod crowd;
mod fanout;
mod memory;
mod slow;
mod ticker;

use std::io;
use std::net::SocketAddr;

use crate::compare::judged;
use crate::measure::{Measure, Metered};
use crate::process::{Policy, Process, Softirqs};
use crate::servers::{Running, Server};
use fanout::{Fanout, Mode, Payload};

/// One measurement: it gives a figure for each of its rows.
struct Measurement {
    run: fn(&Setup<'_>) -> io::Result<Vec<f64>>,
    rows: &'static [Row],
}

struct Row {
    name: &'static str,
    unit: &'static str,
    goal: Goal,
}

/// What a row's figure must be at most.
enum Goal {
    /// It is told for comparison.
    None,
    /// This.
    AtMost(f64),
    /// This times the figure of another row.
    Times(f64, &'static str),
}

/// What is measured, in an order in which rows that are compared are neighbours.
const MEASUREMENTS: &[Measurement] = &[
    Measurement {
        run: |setup| Fanout::ours(Mode::Raw, Payload::Small).run(setup),
        rows: &[Row { name: "raw", unit: "µs per delivery", goal: Goal::None }],
    },
    Measurement {
        run: |setup| Fanout::ours(Mode::Client, Payload::Small).run(setup),
        rows: &[Row { name: "sdk", unit: "µs per delivery", goal: Goal::Times(1.1, "raw") }],
    },
    Measurement {
        run: |setup| Fanout::ours(Mode::Client, Payload::Small).deflated().run(setup),
        rows: &[Row { name: "sdk-deflate", unit: "µs per delivery", goal: Goal::Times(1.3, "raw") }],
    },
    Measurement {
        run: |setup| Fanout::ours(Mode::Raw, Payload::Large).run(setup),
        rows: &[Row { name: "raw-1k", unit: "µs per delivery", goal: Goal::None }],
    },
    Measurement {
        run: |setup| Fanout::ours(Mode::Client, Payload::Large).run(setup),
        rows: &[Row { name: "sdk-1k", unit: "µs per delivery", goal: Goal::Times(1.1, "raw-1k") }],
    },
    Measurement {
        run: |setup| Fanout::ours(Mode::Client, Payload::Large).deflated().run(setup),
        rows: &[Row { name: "sdk-1k-deflate", unit: "µs per delivery", goal: Goal::Times(1.3, "raw-1k") }],
    },
    Measurement {
        run: |setup| Fanout::beside_bun(Server::Bun).run(setup),
        rows: &[Row { name: "bun-1k-deflate", unit: "µs per delivery, 1,000 subscribers", goal: Goal::None }],
    },
    Measurement {
        run: |setup| Fanout::beside_bun(setup.ours).run(setup),
        rows: &[Row { name: "our-1k-deflate", unit: "µs per delivery, 1,000 subscribers", goal: Goal::Times(0.4, "bun-1k-deflate") }],
    },
    Measurement {
        run: |setup| setup.measure(Server::Floor, Measure::Fanout),
        rows: &[Row { name: "floor", unit: "µs per bare send of 64 bytes", goal: Goal::None }],
    },
    Measurement {
        run: ticker::day,
        rows: &[
            Row { name: "ticker", unit: "µs per update", goal: Goal::Times(0.15, "floor") },
            Row { name: "ticker-updates", unit: "updates a second carried by the CPU, the client on it too", goal: Goal::None },
        ],
    },
    Measurement {
        run: ticker::day_at_rate_4,
        rows: &[Row { name: "ticker-rate-4", unit: "µs per update, most of them not asked for", goal: Goal::Times(0.2, "ticker") }],
    },
    Measurement {
        run: |setup| setup.measure(setup.ours, Measure::Fanout),
        rows: &[Row { name: "one-a-turn", unit: "µs per delivery", goal: Goal::None }],
    },
    Measurement {
        run: |setup| setup.measure(setup.ours, Measure::Burst),
        rows: &[Row { name: "eight-a-turn", unit: "µs per delivery", goal: Goal::Times(0.25, "one-a-turn") }],
    },
    Measurement {
        run: conflating::run,
        rows: &[
            Row { name: "conflating-alone", unit: "ms to an echo before it, p99", goal: Goal::None },
            Row { name: "conflating-echo", unit: "ms to an echo beside it, p99", goal: Goal::AtMost(5.0) },
            Row { name: "conflating-updates", unit: "updates a second to each subscriber", goal: Goal::AtMost(10.0) },
            Row { name: "conflating-pubs", unit: "publications a second sustained", goal: Goal::None },
            Row { name: "conflating-cpu", unit: "% of one CPU", goal: Goal::None },
        ],
    },
    Measurement {
        run: |setup| slow::run(setup, "conflate"),
        rows: &[
            Row { name: "reads-conflate", unit: READS, goal: Goal::None },
            Row { name: "slow-conflate", unit: SLOW, goal: Goal::Times(1.1, "reads-conflate") },
            Row { name: "held-conflate", unit: HELD, goal: Goal::AtMost(slow::HELD_KIB_MAX) },
        ],
    },
    Measurement {
        run: |setup| slow::run(setup, "drop_oldest"),
        rows: &[
            Row { name: "reads-drop-oldest", unit: READS, goal: Goal::None },
            Row { name: "slow-drop-oldest", unit: SLOW, goal: Goal::Times(1.1, "reads-drop-oldest") },
            Row { name: "held-drop-oldest", unit: HELD, goal: Goal::AtMost(slow::HELD_KIB_MAX) },
        ],
    },
    Measurement {
        run: |setup| slow::run(setup, "disconnect"),
        rows: &[
            Row { name: "reads-disconnect", unit: READS, goal: Goal::None },
            Row { name: "slow-disconnect", unit: SLOW, goal: Goal::Times(1.1, "reads-disconnect") },
            Row { name: "held-disconnect", unit: HELD, goal: Goal::AtMost(slow::HELD_KIB_MAX) },
        ],
    },
    Measurement {
        run: |setup| memory::bytes_per_subscription(setup, 10),
        rows: &[Row { name: "memory-100k", unit: "bytes per subscription, 10 connections", goal: Goal::AtMost(200.0) }],
    },
    Measurement {
        run: |setup| memory::bytes_per_subscription(setup, 1),
        rows: &[Row { name: "memory-10k", unit: "bytes per subscription, 1 connection", goal: Goal::AtMost(200.0) }],
    },
];

const READS: &str = "ms to a delivery of 1 KiB, p99, all 1,000 read";
const SLOW: &str = "ms to a delivery of 1 KiB, p99, one of 1,000 reads nothing";
const HELD: &str = "KiB resident for the one that reads nothing";

/// The CPU that this process is not on, where `scripts/bench-channels` has put it.
const SERVER_CPU: usize = 1;

/// Measures time that passes: the server should have a CPU of its own, and here the scheduler is told to wake who waits.
fn timed(measure: impl FnOnce() -> io::Result<Vec<f64>>) -> io::Result<Vec<f64>> {
    let this = Process(std::process::id());
    this.schedule(Policy::Other)?;
    let figures = measure();
    this.schedule(Policy::Batch)?;
    figures
}

/// What every measurement is given.
struct Setup<'a> {
    ours: Server,
    softirqs: &'a Softirqs,
}

impl Setup<'_> {
    /// Starts a server whose namespace `ticker` is one, and that compresses where a peer has to be told so. No ping comes between what
    /// is measured.
    fn start(&self, server: Server, cpu: Option<usize>) -> io::Result<(Running, SocketAddr, Metered<'_>)> {
        let variables = [
            ("FANTAIL_HUB_NAMESPACES_TICKER_PROFILE", "ticker"),
            ("FANTAIL_TIMEOUTS_PING_INTERVAL_MS", "3600000"),
            ("FANTAIL_HUB_CHANNELS_MAX", "200000"),
            ("BENCH_DEFLATE", "1"),
        ];
        let (running, edge) = server.start_with(&variables, cpu)?;
        let metered = Metered { process: running.process(), softirqs: self.softirqs };
        Ok((running, edge, metered))
    }

    /// One of those that all servers are compared by.
    fn measure(&self, server: Server, measure: Measure) -> io::Result<Vec<f64>> {
        let (running, edge) = server.start()?;
        measure.run(edge, running.process(), self.softirqs).map(|figure| vec![figure])
    }
}

/// The figures of one row, one a round.
struct Series {
    row: &'static Row,
    figures: Vec<f64>,
}

/// Takes the measurements of which a row begins with one of `names`, or all if there are none, in each of `rounds`, and prints a table to
/// stdout, the single figures to stderr.
pub fn run(rounds: u32, ours: Server, names: &[String], softirqs: &Softirqs) -> io::Result<()> {
    let setup = Setup { ours, softirqs };
    let wanted = |row: &Row| names.is_empty() || names.iter().any(|name| row.name.starts_with(name));
    let mut chosen: Vec<_> = MEASUREMENTS.iter().filter(|measurement| measurement.rows.iter().any(wanted)).collect();
    let mut all: Vec<_> = chosen.iter().flat_map(|measurement| measurement.rows).map(|row| Series { row, figures: Vec::new() }).collect();
    for round in 1..=rounds {
        for measurement in &chosen {
            let failed = |error| io::Error::other(format!("{}: {error}", measurement.rows[0].name));
            let figures = (measurement.run)(&setup).map_err(failed)?;
            for (row, figure) in measurement.rows.iter().zip(figures) {
                eprintln!("round {round}/{rounds}  {:<18} {figure:.3}", row.name);
                let series = all.iter_mut().find(|series| series.row.name == row.name);
                series.expect("each row has its series").figures.push(figure);
            }
        }
        // There and back again, as in `compare`.
        chosen.reverse();
    }
    println!("{:<18}  {:<34} {:<49} unit", "", "median (range), goal", "ratio (range), goal");
    for series in &all {
        println!("{:<18}  {:<34} {:<49} {}", series.row.name, figures(series), ratio(series, &all), series.row.unit);
    }
    Ok(())
}

fn figures(series: &Series) -> String {
    let goal = if let Goal::AtMost(goal) = series.row.goal { Some(goal) } else { None };
    judged(series.figures.iter().copied(), goal)
}

/// What a row costs beside the one that its goal names.
fn ratio(series: &Series, all: &[Series]) -> String {
    let Goal::Times(goal, base) = series.row.goal else { return String::new() };
    let Some(base) = all.iter().find(|other| other.row.name == base) else { return String::new() };
    let ratios = series.figures.iter().zip(&base.figures).map(|(a, b)| a / b);
    format!("{} × {}", judged(ratios, Some(goal)), base.row.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_goal_is_about_a_row_that_there_is() {
        let rows = || MEASUREMENTS.iter().flat_map(|measurement| measurement.rows);
        for row in rows() {
            assert_eq!(rows().filter(|other| other.name == row.name).count(), 1, "{}", row.name);
            if let Goal::Times(_, base) = row.goal {
                assert!(rows().any(|other| other.name == base), "{base}");
            }
        }
    }

    #[test]
    fn ratios_are_those_of_a_round() {
        let row = |name| MEASUREMENTS.iter().flat_map(|measurement| measurement.rows).find(|row| row.name == name).expect("a row");
        let all =
            [Series { row: row("raw"), figures: vec![10.0, 20.0, 10.0] }, Series { row: row("sdk"), figures: vec![10.5, 24.0, 10.0] }];
        assert_eq!(ratio(&all[1], &all), "1.05 (1.00-1.20) <= 1.10 met × raw");
        assert_eq!(ratio(&all[0], &all), "");
    }
}
