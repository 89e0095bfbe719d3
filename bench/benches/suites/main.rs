//! The criterion suites, one a file and named as it: ours and its peers in one group, each with its throughput. A benchmark is named
//! `group/implementation/parameter`, ours is `fantail`, and the groups of a suite begin with its name. For each parameter all
//! implementations run one right after the other, so that a noisy machine disturbs them alike.
//!
//! All suites are one program, so that a change of the codec is linked once. It runs the suite that `BENCH_SUITE` names, or all of them;
//! with `BENCH_QUICK` set, only with the parameters that show that all works. `scripts/bench` does this and prints a table of ratios.

#![allow(clippy::unwrap_used, reason = "a benchmark that fails panics")]

use std::env;

use criterion::Criterion;
use fantail_codec::simd;

mod accept;
mod deflate;
mod fanout;
mod frame;
mod handshake;
mod mask;
mod requests;
mod scan;
mod server;
mod utf8;

/// A name and what runs under it.
type Suite = (&'static str, fn(&mut Criterion));

const SUITES: [Suite; 9] = [
    ("scan", scan::suite),
    ("accept", accept::suite),
    ("mask", mask::suite),
    ("utf8", utf8::suite),
    ("frame", frame::suite),
    ("deflate", deflate::suite),
    ("handshake", handshake::suite),
    ("fanout", fanout::suite),
    ("server", server::suite),
];

fn main() {
    simd::choose().unwrap();
    let mut criterion = Criterion::default().configure_from_args();
    let chosen = env::var("BENCH_SUITE").ok();
    if let Some(wrong) = chosen.as_ref().filter(|chosen| SUITES.iter().all(|(name, _)| name != chosen)) {
        panic!("BENCH_SUITE is {wrong:?}: no such suite");
    }
    for (name, suite) in SUITES {
        if chosen.as_ref().is_none_or(|chosen| chosen == name) {
            suite(&mut criterion);
        }
    }
    criterion.final_summary();
}

/// All of a suite's parameters, or the few of a quick run.
fn parameters<T: Copy>(all: &[T], quick: &[T]) -> Vec<T> {
    if env::var_os("BENCH_QUICK").is_some() { quick } else { all }.to_vec()
}
