//! What the machine is and how it is set, for the report and for `doctor`: facts that do not change during a run. Imports the rooms of the
//! limits and of the control groups.

use std::{collections::BTreeSet, path::Path};

use super::{
    Files, cgroup, cpus_allowed_in,
    limits::{OpenFiles, Ports},
    number_after, ranges,
};

/// Facts of this machine; `None` for what the kernel does not tell.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Of the kernel, as `uname -r` prints it.
    pub kernel: Option<String>,
    /// As the processor calls itself.
    pub cpu_model: Option<String>,
    /// CPUs that are on line.
    pub cpus_online: Option<usize>,
    /// The CPUs on which the calling process may run.
    pub cpus_allowed: BTreeSet<usize>,
    /// Whether a hypervisor runs this machine; other machines may then have its CPUs.
    pub is_virtual: Option<bool>,
    /// Quota of the control groups, in CPUs.
    pub cpu_quota: Option<f64>,
    /// How the CPUs' frequency is chosen, where this kernel does that.
    pub governor: Option<String>,
    /// What the kernel reads the time from.
    pub clocksource: Option<String>,
    /// Memory, in bytes.
    pub memory_bytes: Option<u64>,
    /// Swap space, in bytes.
    pub swap_bytes: Option<u64>,
    /// `always`, `madvise` or `never`.
    pub transparent_huge_pages: Option<String>,
    /// The limit on open files.
    pub open_files: OpenFiles,
    /// The ports of outgoing connections.
    pub ports: Option<Ports>,
    /// Longest queue of connections that a server here has not yet accepted.
    pub somaxconn: Option<u64>,
    /// Longest queue of connections whose handshake is not complete.
    pub tcp_max_syn_backlog: Option<u64>,
    /// 0: the port of a connection in TIME_WAIT is not given again; 1: it is; 2: on the loopback alone.
    pub tcp_tw_reuse: Option<u64>,
    /// Algorithm of new connections.
    pub congestion_control: Option<String>,
    /// Queueing discipline of network interfaces.
    pub queue_discipline: Option<String>,
}

impl Machine {
    /// Reads them all.
    pub fn read() -> Self {
        Self::read_from(Files::of_this_machine())
    }

    fn read_from(files: Files<'_>) -> Self {
        let sysctl = |name: &str| files.text(&format!("proc/sys/{name}"));
        let sysctl_number = |name: &str| files.number(&format!("proc/sys/{name}"));
        let cpuinfo = files.text("proc/cpuinfo");
        let memory = files.text("proc/meminfo").unwrap_or_default();
        let memory_bytes = |label: &str| Some(number_after::<u64>(&memory, label)? * 1024);
        Self {
            kernel: sysctl("kernel/osrelease"),
            cpu_model: cpuinfo.as_deref().and_then(|text| cpuinfo_field(text, "model name")).map(str::to_owned),
            cpus_online: files.text("sys/devices/system/cpu/online").and_then(|list| ranges(&list)).map(|cpus| count(&cpus)),
            cpus_allowed: cpus_allowed_in(&files.text("proc/self/status").unwrap_or_default()),
            is_virtual: cpuinfo.as_deref().and_then(|text| is_virtual(files, text)),
            cpu_quota: cgroup::cpu_quota(files),
            governor: files.text("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            clocksource: files.text("sys/devices/system/clocksource/clocksource0/current_clocksource"),
            memory_bytes: memory_bytes("MemTotal:"),
            swap_bytes: memory_bytes("SwapTotal:"),
            transparent_huge_pages: files.text("sys/kernel/mm/transparent_hugepage/enabled").as_deref().and_then(chosen).map(str::to_owned),
            open_files: OpenFiles::read(),
            ports: Ports::read_from(files),
            somaxconn: sysctl_number("net/core/somaxconn"),
            tcp_max_syn_backlog: sysctl_number("net/ipv4/tcp_max_syn_backlog"),
            tcp_tw_reuse: sysctl_number("net/ipv4/tcp_tw_reuse"),
            congestion_control: sysctl("net/ipv4/tcp_congestion_control"),
            queue_discipline: sysctl("net/core/default_qdisc"),
        }
    }
}

fn cpuinfo_field<'a>(cpuinfo: &'a str, name: &str) -> Option<&'a str> {
    cpuinfo.lines().find_map(|line| {
        let (field, value) = line.split_once(':')?;
        (field.trim() == name).then(|| value.trim())
    })
}

/// x86 has a flag for it; elsewhere the device tree or the firmware may tell of a hypervisor, and nothing tells of none.
fn is_virtual(files: Files<'_>, cpuinfo: &str) -> Option<bool> {
    match cpuinfo_field(cpuinfo, "flags") {
        Some(flags) => Some(flags.split(' ').any(|flag| flag == "hypervisor")),
        None => {
            ["proc/device-tree/hypervisor", "sys/hypervisor/type"].iter().any(|path| files.0.join(Path::new(path)).exists()).then_some(true)
        }
    }
}

/// Of `always [madvise] never`, what stands in brackets.
fn chosen(choices: &str) -> Option<&str> {
    choices.split_whitespace().find_map(|choice| choice.strip_prefix('[')?.strip_suffix(']'))
}

fn count(ranges: &[(usize, usize)]) -> usize {
    ranges.iter().map(|(first, last)| (last + 1).saturating_sub(*first)).sum()
}

#[cfg(test)]
mod tests {
    use super::{super::fixture::Tree, *};

    #[test]
    fn facts_are_read_where_they_are_told() {
        let tree = Tree::new(
            "machine",
            &[
                ("proc/sys/kernel/osrelease", "6.1.0-x\n"),
                ("proc/cpuinfo", "processor\t: 0\nmodel name\t: EPYC: 7\nflags\t\t: fpu hypervisor sse\n\nprocessor\t: 1\n"),
                ("sys/devices/system/cpu/online", "0-2,5\n"),
                ("proc/self/status", "Name:\tx\nCpus_allowed_list:\t0,2\n"),
                ("proc/meminfo", "MemTotal:       2048 kB\nSwapTotal:    0 kB\n"),
                ("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n"),
                ("proc/sys/net/core/somaxconn", "4096\n"),
                ("proc/sys/net/ipv4/tcp_congestion_control", "cubic\n"),
                ("proc/sys/net/ipv4/ip_local_port_range", "1024 1033\n"),
            ],
        );
        let machine = Machine::read_from(tree.files());
        assert_eq!(machine.kernel.as_deref(), Some("6.1.0-x"));
        assert_eq!(machine.cpu_model.as_deref(), Some("EPYC: 7"));
        assert_eq!(machine.cpus_online, Some(4));
        assert_eq!(machine.cpus_allowed, BTreeSet::from([0, 2]));
        assert_eq!(machine.is_virtual, Some(true));
        assert_eq!((machine.memory_bytes, machine.swap_bytes), (Some(2 << 20), Some(0)));
        assert_eq!(machine.transparent_huge_pages.as_deref(), Some("madvise"));
        assert_eq!(machine.somaxconn, Some(4096));
        assert_eq!(machine.congestion_control.as_deref(), Some("cubic"));
        assert_eq!(machine.ports.map(|ports| ports.available(1)), Some(10));
        assert_eq!((machine.governor, machine.clocksource, machine.cpu_quota, machine.tcp_tw_reuse), (None, None, None, None));
    }

    #[test]
    fn hypervisors_are_told_of_in_several_places() {
        let tree = Tree::new("hypervisor", &[("sys/hypervisor/type", "xen\n")]);
        let empty = Tree::new("no-hypervisor", &[]);
        assert_eq!(is_virtual(tree.files(), "CPU part\t: 0xd0c\n"), Some(true));
        assert_eq!(is_virtual(empty.files(), "CPU part\t: 0xd0c\n"), None);
        assert_eq!(is_virtual(tree.files(), "flags\t: fpu\n"), Some(false));
    }

    #[test]
    fn this_machine_has_cpus() {
        let machine = Machine::read();
        assert!(machine.cpus_online.is_some_and(|cpus| cpus >= machine.cpus_allowed.len()));
        assert!(!machine.cpus_allowed.is_empty());
    }
}
