//! What is printed when a case fails: the target, the input, and the command that runs the case again. Any panic in a case is a failure, the
//! codec's own as well as an assertion's; it ends the process here, because there may be no unwinding. Imports nothing.

use std::cell::RefCell;
use std::panic;
use std::process;

/// The case that this thread runs.
#[derive(Default)]
struct Case {
    target: &'static str,
    seed: u64,
    shown: Vec<(&'static str, Vec<u8>)>,
}

thread_local! {
    static CASE: RefCell<Case> = RefCell::default();
}

/// A case begins.
pub fn begin(target: &'static str, seed: u64) {
    CASE.with_borrow_mut(|case| {
        (case.target, case.seed) = (target, seed);
        case.shown.clear();
    });
}

/// Notes a part of the input, to be printed if the case fails.
pub fn show(name: &'static str, bytes: &[u8]) {
    CASE.with_borrow_mut(|case| case.shown.push((name, bytes.to_vec())));
}

/// Prints what failed and exits 1, whatever the profile does on a panic.
pub fn end_process_on_panic() {
    let message = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        message(info);
        CASE.with_borrow(|case| {
            for (name, bytes) in &case.shown {
                eprintln!("{name}, {} bytes: b\"{}\"", bytes.len(), bytes.escape_ascii());
            }
            replay(case.target, case.seed);
        });
    }));
}

/// The case of this seed did not end.
pub fn hang(target: &str, seed: u64) -> ! {
    eprintln!("{target}: a case does not end");
    replay(target, seed)
}

fn replay(target: &str, seed: u64) -> ! {
    eprintln!("{target} FAILED; again: scripts/fuzz {target} --seed {seed} --cases 1");
    process::exit(1)
}
