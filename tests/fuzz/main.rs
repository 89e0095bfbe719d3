//! Fuzzing of the codec in a loop, without a fuzzing toolchain: each case is made from a seed of its own, structure first and then damaged,
//! and the codec's answer is compared with that of naive code. Overflow checks and debug assertions are on in the profile `fuzz`.
//!
//! `cargo run --profile fuzz -p fantail-tests --bin fuzz -- [TARGET]... [--seconds N] [--seed N] [--cases N]`; without a target all are run.
//!
//! - [`scan`], [`accept`], [`upgrade`], [`client`], [`frame`], [`inflate`], [`websocket`]: the targets, one file each.
//! - [`naive_head`], [`naive_fields`]: what the codec's answers to heads and to their fields are compared with.
//! - [`model`]: what a `WebSocket` must tell of a list of frames.
//! - [`generate`]: what the cases are made of.
//! - [`failure`]: what is printed when a case fails.

mod accept;
mod client;
mod failure;
mod frame;
mod generate;
mod inflate;
mod model;
mod naive_fields;
mod naive_head;
mod scan;
mod upgrade;
mod websocket;

use std::env;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fantail_codec::simd;
use fantail_tests::Random;

struct Target {
    name: &'static str,
    case: fn(&mut Random),
    /// How many of its cases have begun; 0 while it does not run.
    begun: AtomicU64,
}

impl Target {
    const fn new(name: &'static str, case: fn(&mut Random)) -> Self {
        Self { name, case, begun: AtomicU64::new(0) }
    }
}

static TARGETS: [Target; 7] = [
    Target::new("scan", scan::case),
    Target::new("accept", accept::case),
    Target::new("upgrade", upgrade::case),
    Target::new("client", client::case),
    Target::new("frame", frame::case),
    Target::new("inflate", inflate::case),
    Target::new("websocket", websocket::case),
];

/// What the command line asks for.
struct Plan {
    targets: Vec<&'static Target>,
    /// For each target.
    duration: Duration,
    /// The first case's seed; each further one's is one more.
    seed: u64,
    /// An end before the time is over.
    cases_max: u64,
}

/// A case takes a millisecond at most; one that takes this long hangs.
const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let plan = match simd::choose().map_err(|error| error.to_string()).and_then(|_| plan(env::args().skip(1))) {
        Ok(plan) => plan,
        Err(error) => {
            eprintln!("fuzz: {error}");
            return ExitCode::from(2);
        }
    };
    println!("seed {}, {} s for each target", plan.seed, plan.duration.as_secs());
    failure::end_process_on_panic();
    thread::spawn(move || watch(plan.seed));
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let waiting = Mutex::new(plan.targets.iter());
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(target) = waiting.lock().ok().and_then(|mut waiting| waiting.next()) {
                    run(target, &plan);
                }
            });
        }
    });
    ExitCode::SUCCESS
}

/// Runs cases until the time is over. A case that fails ends the process.
fn run(target: &Target, plan: &Plan) {
    let started = Instant::now();
    let mut cases = 0;
    while cases < plan.cases_max && started.elapsed() < plan.duration {
        let seed = plan.seed.wrapping_add(cases);
        cases += 1;
        target.begun.store(cases, Relaxed);
        failure::begin(target.name, seed);
        (target.case)(&mut Random::new(seed));
    }
    target.begun.store(0, Relaxed);
    println!("{}: {cases} cases in {} s", target.name, started.elapsed().as_secs());
}

/// Ends the process when a case does not end.
fn watch(seed: u64) {
    let mut before = TARGETS.each_ref().map(|_| 0);
    loop {
        thread::sleep(PATIENCE);
        for (target, before) in TARGETS.iter().zip(&mut before) {
            let begun = target.begun.load(Relaxed);
            if begun > 0 && begun == *before {
                failure::hang(target.name, seed.wrapping_add(begun - 1));
            }
            *before = begun;
        }
    }
}

fn plan(mut arguments: impl Iterator<Item = String>) -> Result<Plan, String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos() as u64);
    let mut plan = Plan { targets: Vec::new(), duration: Duration::from_secs(20), seed: now, cases_max: u64::MAX };
    while let Some(argument) = arguments.next() {
        let mut number =
            || arguments.next().and_then(|value| value.parse().ok()).ok_or_else(|| format!("{argument}: expected a number after it"));
        match argument.as_str() {
            "--seconds" => plan.duration = Duration::from_secs(number()?),
            "--seed" => plan.seed = number()?,
            "--cases" => plan.cases_max = number()?,
            name => plan.targets.push(TARGETS.iter().find(|target| target.name == name).ok_or_else(|| {
                let names = TARGETS.each_ref().map(|target| target.name).join(", ");
                format!("{name}: expected --seconds, --seed, --cases, or one of {names}")
            })?),
        }
    }
    if plan.targets.is_empty() {
        plan.targets.extend(&TARGETS);
    }
    Ok(plan)
}
