//! A generator that cannot keep up says so and blames nobody else: 3, never 99.
//!
//! A file of its own, since it takes a CPU from its neighbours.

use std::fs;
use std::process::{Child, Command};

use fantail_tests::{Behaviour, Faulty, Load, Server};

/// No server could keep to it.
const IMPOSSIBLE: [&str; 2] = ["--threshold", "response.p50<1ns"];

/// A CPU that is never idle.
struct Burner(Child);

impl Burner {
    fn start(cpu: &str) -> Self {
        Self(Command::new("taskset").args(["-c", cpu, "sh", "-c", "while :; do :; done"]).spawn().expect("taskset is installed"))
    }
}

impl Drop for Burner {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The first CPU that this process may use.
fn first_cpu() -> String {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).expect("a list of CPUs");
    list.trim().chars().take_while(char::is_ascii_digit).collect()
}

fn throttled(load: Load) {
    let report = IMPOSSIBLE.iter().fold(load, |load, argument| load.arg(argument)).run().coded(3);
    assert!(!report.invalid().is_empty(), "{report:?}");
    assert_eq!((report.count("loss"), report.count("corrupted")), (0, 0));
}

#[test]
fn a_rate_beyond_the_generator_is_not_the_servers_failure() {
    let server = Server::start("epoll", &[]);
    throttled(Load::new(&format!("echo ws://{}/echo -c 4 -t 1 -R 50m -d 1s --warmup 0s", server.edge)));
}

#[test]
fn a_generator_without_cpu_is_not_the_servers_failure() {
    let server = Faulty::start(Behaviour::default());
    let cpu = first_cpu();
    let _burner = Burner::start(&cpu);
    let line = format!("echo {} -c 4 -t 1 -R 20k -d 2s --warmup 0s", server.url("/echo"));
    throttled(Load::under(&format!("taskset -c {cpu} nice -n 19"), &line));
}
