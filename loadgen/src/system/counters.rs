//! What the machine counts while a run goes on: read before and after, the difference tells what may have spoiled it. Imports the room of the
//! control groups.

use std::time::Duration;

use rustix::param::{clock_ticks_per_second, page_size};

use super::{
    Files,
    cgroup::{self, Throttled},
    first_number, number_after,
};

/// The counters at one moment; `None` for what the kernel does not tell.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    /// Connections that a full queue of a server on this machine turned away.
    pub listen_overflows: Option<u64>,
    /// Sockets in TIME_WAIT.
    pub time_wait: Option<u64>,
    /// What CPU quotas stopped.
    pub throttled: Option<Throttled>,
    /// Processes that wanted a CPU, the mean of the last minute.
    pub load_average: Option<f64>,
    /// Memory of the kernel's slabs and of TCP's buffers, in bytes: what connections cost beside the processes, both ends where both are here.
    /// Some of the buffers are in slabs too, and count twice; idle connections have none.
    pub kernel_bytes: Option<u64>,
    cpu: Option<CpuTicks>,
}

/// What happened between two readings; `None` for what the kernel does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Changes {
    /// Part of the CPUs' time that the hypervisor gave to other machines.
    pub steal: Option<f64>,
    /// Part of the CPUs' time in which they were not idle, what was stolen included.
    pub busy: Option<f64>,
    /// CPU time of all processes of the machine. The ticks of interrupts are apart even where a thread's own time holds them, so that the sum
    /// over the threads may be more.
    pub processes: Option<Duration>,
    /// Connections that a full queue turned away.
    pub listen_overflows: Option<u64>,
    /// What CPU quotas stopped.
    pub throttled: Option<Throttled>,
}

impl Counters {
    /// Reads them all.
    pub fn read() -> Self {
        Self::read_from(Files::of_this_machine())
    }

    /// What happened since `earlier`.
    pub fn since(&self, earlier: &Self) -> Changes {
        let less = |now: Option<u64>, then: Option<u64>| Some(now?.saturating_sub(then?));
        let cpu = self.cpu.zip(earlier.cpu).map(|(now, then)| now.since(then)).filter(|ticks| ticks.total > 0);
        let part = |ticks: u64, of: u64| ticks as f64 / of as f64;
        Changes {
            steal: cpu.map(|ticks| part(ticks.steal, ticks.total)),
            busy: cpu.map(|ticks| 1.0 - part(ticks.idle, ticks.total)),
            processes: cpu.map(|ticks| Duration::from_secs_f64(part(ticks.processes, clock_ticks_per_second()))),
            listen_overflows: less(self.listen_overflows, earlier.listen_overflows),
            throttled: self
                .throttled
                .zip(earlier.throttled)
                .map(|(now, then)| Throttled { periods: now.periods.saturating_sub(then.periods), ns: now.ns.saturating_sub(then.ns) }),
        }
    }

    fn read_from(files: Files<'_>) -> Self {
        let netstat = files.text("proc/net/netstat").unwrap_or_default();
        let sockets = files.text("proc/net/sockstat").unwrap_or_default();
        let slab_kib = files.text("proc/meminfo").and_then(|memory| number_after::<u64>(&memory, "Slab:"));
        let buffer_pages = socket_count(&sockets, "mem");
        Self {
            listen_overflows: tcp_counter(&netstat, "ListenOverflows"),
            time_wait: socket_count(&sockets, "tw"),
            throttled: cgroup::throttled(files),
            load_average: files.number("proc/loadavg"),
            kernel_bytes: slab_kib.zip(buffer_pages).map(|(kib, pages)| kib * 1024 + pages * page_size() as u64),
            cpu: files.text("proc/stat").as_deref().and_then(CpuTicks::parse),
        }
    }
}

/// Times of all CPUs together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CpuTicks {
    processes: u64,
    idle: u64,
    steal: u64,
    total: u64,
}

impl CpuTicks {
    /// From the first line of `/proc/stat`.
    fn parse(stat: &str) -> Option<Self> {
        let numbers: Option<Vec<u64>> =
            stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace().map(|word| word.parse().ok()).collect();
        let [user, nice, system, idle, iowait, irq, softirq, steal, ..] = numbers?[..] else { return None };
        // What follows is the guests' time, which is in the user's too.
        let processes = user + nice + system;
        Some(Self { processes, idle: idle + iowait, steal, total: processes + idle + iowait + irq + softirq + steal })
    }

    fn since(self, earlier: Self) -> Self {
        Self {
            processes: self.processes.saturating_sub(earlier.processes),
            idle: self.idle.saturating_sub(earlier.idle),
            steal: self.steal.saturating_sub(earlier.steal),
            total: self.total.saturating_sub(earlier.total),
        }
    }
}

/// A counter of the line pair `TcpExt:` in `/proc/net/netstat`, names above numbers.
fn tcp_counter(netstat: &str, name: &str) -> Option<u64> {
    let mut lines = netstat.lines().filter_map(|line| line.strip_prefix("TcpExt:"));
    let (names, numbers) = (lines.next()?, lines.next()?);
    let place = names.split_whitespace().position(|known| known == name)?;
    numbers.split_whitespace().nth(place)?.parse().ok()
}

/// A count of the line `TCP: inuse 1 orphan 0 tw 0 alloc 1 mem 0` in `/proc/net/sockstat`.
fn socket_count(sockstat: &str, name: &str) -> Option<u64> {
    let counts = sockstat.lines().find_map(|line| line.strip_prefix("TCP:"))?;
    first_number(counts.split_once(&format!(" {name} "))?.1)
}

#[cfg(test)]
mod tests {
    use super::{super::fixture::Tree, *};

    #[test]
    fn counters_are_read_where_they_are_told() {
        let tree = Tree::new(
            "counters",
            &[
                ("proc/net/netstat", "TcpExt: TW ListenOverflows ListenDrops\nTcpExt: 5 6 7\nIpExt: InOctets\nIpExt: 9\n"),
                ("proc/net/sockstat", "sockets: used 15\nTCP: inuse 1 orphan 0 tw 12 alloc 1 mem 3\nUDP: inuse 0 mem 8\n"),
                ("proc/meminfo", "MemTotal: 9 kB\nSlab:    100 kB\nSReclaimable:  1 kB\n"),
                ("proc/loadavg", "0.50 0.06 0.60 1/90 13230\n"),
                ("proc/stat", "cpu  100 1 10 800 50 5 4 30 7 0\ncpu0 1 1 1 1\n"),
            ],
        );
        let counters = Counters::read_from(tree.files());
        assert_eq!(counters.listen_overflows, Some(6));
        assert_eq!(counters.time_wait, Some(12));
        assert_eq!(counters.load_average, Some(0.5));
        assert_eq!(counters.kernel_bytes, Some(100 * 1024 + 3 * page_size() as u64));
        assert_eq!(counters.cpu, Some(CpuTicks { processes: 111, idle: 850, steal: 30, total: 1000 }));
        assert_eq!(counters.throttled, None);
    }

    #[test]
    fn what_is_missing_has_not_changed() {
        let empty = Tree::new("no-counters", &[]);
        let counters = Counters::read_from(empty.files());
        assert_eq!(counters.since(&counters), Changes::default());
        assert_eq!(CpuTicks::parse("cpu  1 2 3\n"), None);
        assert_eq!(tcp_counter("TcpExt: A B\n", "A"), None);
    }

    #[test]
    fn changes_are_parts_of_the_time_that_passed() {
        let ticks = |processes, idle, steal, total| Some(CpuTicks { processes, idle, steal, total });
        let throttled = |periods, ns| Some(Throttled { periods, ns });
        let earlier =
            Counters { cpu: ticks(100, 800, 10, 1000), listen_overflows: Some(3), throttled: throttled(1, 10), ..Counters::default() };
        let later =
            Counters { cpu: ticks(200, 850, 30, 1200), listen_overflows: Some(8), throttled: throttled(3, 70), ..Counters::default() };
        let changes = later.since(&earlier);
        assert_eq!(changes.steal, Some(0.1));
        assert_eq!(changes.busy, Some(0.75));
        assert_eq!(changes.processes, Some(Duration::from_secs(1) * 100 / u32::try_from(clock_ticks_per_second()).expect("small")));
        assert_eq!(changes.listen_overflows, Some(5));
        assert_eq!(changes.throttled, throttled(2, 60));
        assert_eq!(earlier.since(&earlier).steal, None);
    }
}
