//! `fantail-load doctor`: what would spoil a measurement on this machine, and the command that mends it. Owns the list as it is printed and
//! what has to be tried out; the judgements stand in the rooms below. Imports the system and the verdict's bounds.

use std::{
    fmt,
    hint::black_box,
    io::{self, Write},
    thread,
    time::{Duration, Instant},
};

use crate::system::{counters::Counters, machine::Machine};

mod checks;
mod target;

/// Prints a line for each thing that was looked at: how it is, its name, what was found, why it matters and the command that mends it.
/// What the kernel does not tell is left out.
///
/// `target` is the host and port of a server to look at too; `connections` is how many a run would hold. Gives whether nothing is bad: what
/// is only worth a warning does not count. Takes about a second.
pub fn doctor(out: &mut impl Write, target: Option<(&str, u16)>, connections: usize) -> io::Result<bool> {
    let (server, is_loopback) = match target {
        Some((host, port)) => target::checks(host, port),
        None => (Vec::new(), None),
    };
    let mut list = checks::checks(&Facts::gather(connections, is_loopback));
    list.extend(server);
    for check in &list {
        writeln!(out, "{check}")?;
    }
    Ok(list.iter().all(|check| check.level != Level::Bad))
}

/// How a thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Good,
    Warn,
    Bad,
}

/// One line of the list.
#[derive(Clone, Debug)]
struct Check {
    level: Level,
    name: &'static str,
    value: String,
    why: &'static str,
    /// What to do unless it is well, mostly a command.
    mend: String,
}

impl Check {
    fn new(level: Level, name: &'static str, value: impl Into<String>, why: &'static str, mend: impl Into<String>) -> Self {
        Self { level, name, value: value.into(), why, mend: mend.into() }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { level, name, value, why, mend } = self;
        let level = match level {
            Level::Good => "ok",
            Level::Warn => "warn",
            Level::Bad => "bad",
        };
        write!(f, "{level:<4}  {name:<20}  {value:<28}  {why}")?;
        if self.level == Level::Good { Ok(()) } else { write!(f, "; mend: {mend}") }
    }
}

/// What the judgements go by.
struct Facts {
    machine: Machine,
    /// Sockets in TIME_WAIT.
    time_wait: Option<u64>,
    load_average: Option<f64>,
    /// Part of the CPUs' time.
    steal: Option<f64>,
    clock_read: Duration,
    timer_late: Duration,
    connections: usize,
    /// Whether the server is at a loopback address; `None` where no server was named.
    is_loopback: Option<bool>,
}

/// Counters of CPU time go in ticks of 10 ms: a part of some per cent needs many.
const SAMPLE: Duration = Duration::from_millis(500);

impl Facts {
    fn gather(connections: usize, is_loopback: Option<bool>) -> Self {
        let before = Counters::read();
        let start = Instant::now();
        let (clock_read, timer_late) = (clock_read(), timer_late());
        thread::sleep(SAMPLE.saturating_sub(start.elapsed()));
        let after = Counters::read();
        Self {
            machine: Machine::read(),
            time_wait: after.time_wait,
            load_average: after.load_average,
            steal: after.since(&before).steal,
            clock_read,
            timer_late,
            connections,
            is_loopback,
        }
    }
}

/// What it costs to read the clock.
fn clock_read() -> Duration {
    const READS: u32 = 10_000;
    let start = Instant::now();
    for _ in 0..READS {
        black_box(Instant::now());
    }
    start.elapsed() / READS
}

/// By how much a sleep of 1 ms is too long, the median of 100.
fn timer_late() -> Duration {
    const SLEEP: Duration = Duration::from_millis(1);
    let mut late: Vec<Duration> = (0..100)
        .map(|_| {
            let start = Instant::now();
            thread::sleep(SLEEP);
            start.elapsed().saturating_sub(SLEEP)
        })
        .collect();
    late.sort_unstable();
    late[late.len() / 2]
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_line_says_what_to_do_unless_all_is_well() {
        let line = |level| Check::new(level, "nofile", "1024", "each connection is an open file", "ulimit -Hn 5000").to_string();
        assert_eq!(line(Level::Good), "ok    nofile                1024                          each connection is an open file");
        assert!(line(Level::Warn).starts_with("warn  nofile"));
        assert!(line(Level::Bad).ends_with("an open file; mend: ulimit -Hn 5000"));
    }

    #[test]
    fn the_machine_and_a_server_are_looked_at() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let port = listener.local_addr().expect("address").port();
        let mut printed = Vec::new();
        doctor(&mut printed, Some(("127.0.0.1", port)), 10).expect("print");
        let printed = String::from_utf8(printed).expect("text");
        assert!(["nofile", "clock read", "timer", "connect"].iter().all(|name| printed.contains(&format!("  {name} "))), "{printed}");

        drop(listener);
        let mut printed = Vec::new();
        assert!(!doctor(&mut printed, Some(("127.0.0.1", port)), 10).expect("print"));
        assert!(String::from_utf8(printed).expect("text").contains("\nbad   connect "));
    }
}
