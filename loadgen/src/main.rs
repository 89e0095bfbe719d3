//! The binary: reads the command line, runs what it asks for, and turns the outcome into an exit code.

use std::{
    env, io,
    process::ExitCode,
    sync::{Arc, atomic::AtomicBool},
};

use fantail_codec::simd;
use fantail_load::{
    doctor::doctor,
    plan::cli::{Command, Usage},
    report::json::SCHEMA,
    session::{self, Refusal},
};
use mimalloc::MiMalloc;
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Something that a measurement here would need is missing, or the run was invalid.
const INVALID: u8 = 3;
const INTERRUPTED: i32 = 130;

fn main() -> ExitCode {
    let argv: Vec<String> = env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect();
    let code = match Command::from_arguments(env::args_os()) {
        Ok(Command::Run(plan)) => simd::choose()
            .map_err(|error| Refusal { text: error.to_string(), exit_code: 2 })
            .and_then(|_| catch_signals().map_err(|error| Refusal { text: format!("cannot catch signals: {error}"), exit_code: 1 }))
            .and_then(|interrupted| session::run(*plan, argv, &interrupted))
            .unwrap_or_else(|Refusal { text, exit_code }| complain(&text, exit_code)),
        Ok(Command::Doctor { url, connections }) => {
            let target = url.as_ref().map(|url| (url.host.as_str(), url.port));
            match doctor(&mut io::stdout().lock(), target, connections) {
                Ok(true) => 0,
                Ok(false) => INVALID,
                Err(error) => complain(&format!("cannot write: {error}"), 1),
            }
        }
        Ok(Command::Schema) => {
            print!("{SCHEMA}");
            0
        }
        Err(Usage { text, exit_code: 0 }) => {
            println!("{text}");
            0
        }
        Err(Usage { text, exit_code }) => complain(&text, exit_code),
    };
    ExitCode::from(code)
}

fn complain(text: &str, exit_code: u8) -> u8 {
    eprintln!("fantail-load: {text}");
    exit_code
}

/// The first signal ends the run, and what was measured is reported; a second one ends the process.
fn catch_signals() -> io::Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        flag::register_conditional_shutdown(signal, INTERRUPTED, interrupted.clone())?;
        flag::register(signal, interrupted.clone())?;
    }
    Ok(interrupted)
}
