//! A seeded simulation of the whole core: workers with their connections, sessions, subscribers and outboxes over one hub, in one thread and with fake
//! time. What the clients get is compared with a simple [`model`] of the channels. It lies here because it drives [`Worker`], which is private.
//!
//! `SIMULATION_STEPS=1000000 cargo test --profile fuzz -p fantail --lib simulation -- --nocapture`; with `SIMULATION_SEED` only that episode is run.
//!
//! - [`world`]: what happens, and what must hold of the server's memory.
//! - [`actions`]: what clients do.
//! - [`client`]: a client's end of a connection, and what must hold of what it gets.
//! - [`model`]: what channels remember, written down naively.
//! - [`settings`]: what the workers run with.

mod actions;
mod client;
mod model;
// The packages do not depend on each other, but the same seed is to give the same numbers.
#[path = "../../../../tests/src/random.rs"]
#[allow(dead_code, reason = "the integration tests use more of it")]
mod random;
mod settings;
mod world;

use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use world::World;

/// Steps in all where nobody asks for more.
const STEPS: u64 = 100_000;

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable}: expected a number")))
}

#[test]
fn whatever_happens_clients_get_what_the_model_says() {
    let only = number("SIMULATION_SEED");
    let steps_enough = if only.is_some() { 1 } else { number("SIMULATION_STEPS").unwrap_or(STEPS) };
    let first = only.unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64));
    // Known even where an episode does not end.
    eprintln!("from seed {first}");
    let (steps, episodes, started) = (AtomicU64::new(0), AtomicU64::new(0), Instant::now());
    let threads = if only.is_some() { 1 } else { thread::available_parallelism().map_or(1, usize::from) };
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while steps.load(Relaxed) < steps_enough {
                    let seed = first.wrapping_add(episodes.fetch_add(1, Relaxed));
                    match catch_unwind(AssertUnwindSafe(|| World::new(seed).run())) {
                        Ok(taken) => steps.fetch_add(taken, Relaxed),
                        Err(panic) => {
                            eprintln!("found by SIMULATION_SEED={seed}");
                            // The other threads need not go on.
                            steps.store(u64::MAX / 2, Relaxed);
                            resume_unwind(panic)
                        }
                    };
                }
            });
        }
    });
    println!("{} steps in {} episodes, {} s", steps.into_inner(), episodes.into_inner(), started.elapsed().as_secs());
}
