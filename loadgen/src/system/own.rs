//! What this process uses: the generator is measured like the server that it measures. Imports the process room.

use std::{fs, io, process};

use rustix::time::{ClockId, clock_gettime};

use super::process::resident_bytes_of;

/// CPU time of this process in nanoseconds, threads that ended included, exact to the call.
pub fn cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// Resident memory of this process in bytes.
pub fn resident_bytes() -> io::Result<u64> {
    resident_bytes_of(process::id())
}

/// What a thread has had of the CPUs since it began, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThreadTimes {
    /// Time on a CPU.
    pub ran_ns: u64,
    /// Time in which it could have run and had no CPU: others had it, or a quota was used up.
    pub waited_ns: u64,
}

impl ThreadTimes {
    /// The calling thread's. Behind by up to a tick of the scheduler (1 to 10 ms).
    pub fn of_this_thread() -> io::Result<Self> {
        let text = fs::read_to_string("/proc/thread-self/schedstat")?;
        Self::parse(&text).ok_or_else(|| io::Error::other(format!("no times in schedstat: {text:?}")))
    }

    /// The time since `earlier`.
    pub fn since(self, earlier: Self) -> Self {
        Self { ran_ns: self.ran_ns.saturating_sub(earlier.ran_ns), waited_ns: self.waited_ns.saturating_sub(earlier.waited_ns) }
    }

    fn parse(schedstat: &str) -> Option<Self> {
        let mut numbers = schedstat.split_whitespace().map(str::parse);
        Some(Self { ran_ns: numbers.next()?.ok()?, waited_ns: numbers.next()?.ok()? })
    }
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;

    use super::*;

    #[test]
    fn schedstat_holds_run_and_wait() {
        assert_eq!(ThreadTimes::parse("399969 17 1\n"), Some(ThreadTimes { ran_ns: 399_969, waited_ns: 17 }));
        assert_eq!(ThreadTimes::parse("399969\n"), None);
        assert_eq!(ThreadTimes::parse(""), None);
    }

    #[test]
    fn work_and_memory_are_seen() {
        let (cpu, thread, memory) = (cpu_ns(), ThreadTimes::of_this_thread().expect("times"), resident_bytes().expect("memory"));

        let held = black_box(vec![1_u8; 32 << 20]);
        while ThreadTimes::of_this_thread().expect("times").since(thread).ran_ns < 20_000_000 {}

        assert!(cpu_ns() > cpu);
        assert!(resident_bytes().expect("memory") >= memory + (24 << 20));
        drop(held);
    }
}
