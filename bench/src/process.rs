//! What a process has used so far, as the kernel counts it. Owns the reading of `/proc`; imports nothing of this crate.

use std::fs;
use std::io;
use std::str::FromStr;

/// A process of this machine, by its id.
#[derive(Clone, Copy)]
pub(crate) struct Process(pub(crate) u32);

impl Process {
    /// CPU time of all its threads, user and system, in nanoseconds.
    ///
    /// From `schedstat`, because the times in `stat` are counted in ticks of 10 ms. A running thread's time is only brought up
    /// to date now and then: read it when the process is at rest.
    pub(crate) fn cpu_ns(self) -> io::Result<u64> {
        let mut total = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.0))? {
            let schedstat = fs::read_to_string(thread?.path().join("schedstat"))?;
            total += first_number::<u64>(&schedstat)?;
        }
        Ok(total)
    }

    /// Resident memory in bytes.
    ///
    /// From `smaps_rollup`, which walks the pages: the sum in `status` may be off by some hundred kilobytes, which would be tens
    /// of bytes per connection.
    pub(crate) fn resident_bytes(self) -> io::Result<u64> {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.0))?;
        let rss = rollup.lines().find_map(|line| line.strip_prefix("Rss:"));
        Ok(first_number::<u64>(rss.unwrap_or_default())? * 1024)
    }
}

fn first_number<T: FromStr>(text: &str) -> io::Result<T> {
    text.split_whitespace().next().and_then(|word| word.parse().ok()).ok_or_else(|| io::Error::other(format!("no number in {text:?}")))
}

#[cfg(test)]
mod tests {
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
}
