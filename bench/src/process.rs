//! What a process has used so far, as the kernel counts it, and what the kernel's own threads have used for its network. Owns the
//! reading of `/proc`; imports nothing of this crate.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

/// How the scheduler treats a process that wakes up.
#[derive(Clone, Copy)]
pub enum Policy {
    /// It may interrupt another.
    Other,
    /// It interrupts nobody, which gives the least spread.
    Batch,
}

/// A process of this machine, by its id.
#[derive(Clone, Copy)]
pub struct Process(pub u32);

impl Process {
    /// Has the scheduler treat all its threads so, and the processes that they start from then on.
    pub fn schedule(self, policy: Policy) -> io::Result<()> {
        let policy = match policy {
            Policy::Other => "--other",
            Policy::Batch => "--batch",
        };
        let status = Command::new("chrt").args(["--all-tasks", policy, "--pid", "0"]).arg(self.0.to_string()).status()?;
        if status.success() { Ok(()) } else { Err(io::Error::other(format!("chrt {policy}: {status}"))) }
    }

    /// CPU time of all its threads, user and system, in nanoseconds.
    ///
    /// From `schedstat`, because the times in `stat` are counted in ticks of 10 ms. A running thread's time is only brought up
    /// to date now and then: read it when the process is at rest.
    pub fn cpu_ns(self) -> io::Result<u64> {
        let threads = fs::read_dir(format!("/proc/{}/task", self.0))?;
        threads.map(|thread| thread_cpu_ns(&thread?.path())).sum()
    }

    /// Resident memory in bytes.
    ///
    /// From `smaps_rollup`, which walks the pages: the sum in `status` may be off by some hundred kilobytes, which would be tens
    /// of bytes per connection.
    pub fn resident_bytes(self) -> io::Result<u64> {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.0))?;
        let rss = rollup.lines().find_map(|line| line.strip_prefix("Rss:"));
        Ok(first_number::<u64>(rss.unwrap_or_default())? * 1024)
    }
}

/// The kernel's threads `ksoftirqd/N`, one a CPU. They take over the network's work when a system call or an interrupt leaves more of
/// it than may be done on the side: a server that submits much at once has them work for it.
pub struct Softirqs(Vec<PathBuf>);

impl Softirqs {
    /// Finds them in `proc`, a `/proc` that shows the kernel's threads: that of the first process namespace, read by root if it is
    /// mounted with `hidepid`.
    pub fn find(proc: &Path) -> io::Result<Self> {
        let mut threads = Vec::new();
        for entry in fs::read_dir(proc)? {
            let path = entry?.path();
            // What is no process has no name, nor has one that ended meanwhile.
            if fs::read_to_string(path.join("comm")).is_ok_and(|name| name.starts_with("ksoftirqd/")) {
                threads.push(path);
            }
        }
        if threads.is_empty() {
            return Err(io::Error::other(format!("{} does not show the threads ksoftirqd, whose CPU time counts", proc.display())));
        }
        Ok(Self(threads))
    }

    /// CPU time of all of them, in nanoseconds, whomever they work for.
    pub fn cpu_ns(&self) -> io::Result<u64> {
        self.0.iter().map(|thread| thread_cpu_ns(thread)).sum()
    }
}

fn thread_cpu_ns(thread: &Path) -> io::Result<u64> {
    first_number(&fs::read_to_string(thread.join("schedstat"))?)
}

fn first_number<T: FromStr>(text: &str) -> io::Result<T> {
    text.split_whitespace().next().and_then(|word| word.parse().ok()).ok_or_else(|| io::Error::other(format!("no number in {text:?}")))
}

#[cfg(test)]
mod tests {
    use std::env;
    use std::hint::black_box;
    use std::process;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn work_and_memory_are_seen() {
        let this = Process(process::id());
        let (cpu, resident) = (this.cpu_ns().expect("CPU time"), this.resident_bytes().expect("memory"));

        let memory = black_box(vec![1_u8; 32 << 20]);
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(100) {}

        assert!(this.cpu_ns().expect("CPU time") > cpu);
        assert!(this.resident_bytes().expect("memory") >= resident + (24 << 20));
        drop(memory);
    }

    #[test]
    fn softirqs_are_found_and_summed_and_never_taken_for_none() {
        let proc = env::temp_dir().join(format!("fantail-bench-{}", process::id()));
        let add = |pid: &str, comm: &str, schedstat: &str| {
            let path = proc.join(pid);
            fs::create_dir_all(&path).expect("directory");
            fs::write(path.join("comm"), comm).expect("comm");
            fs::write(path.join("schedstat"), schedstat).expect("schedstat");
        };

        add("1", "init\n", "1000 5 5\n");
        let hidden = Softirqs::find(&proc);
        add("14", "ksoftirqd/0\n", "200 5 5\n");
        add("22", "ksoftirqd/1\n", "30 5 5\n");
        let shown = Softirqs::find(&proc).and_then(|softirqs| softirqs.cpu_ns());
        fs::remove_dir_all(&proc).expect("removed");

        assert!(hidden.is_err());
        assert_eq!(shown.expect("CPU time"), 230);
    }
}
