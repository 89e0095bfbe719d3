//! The judgements of the machine: each takes the facts and gives a line, or none where the fact is not known. Imports the doctor's terms, the
//! limits and the verdict's bounds.

use std::time::Duration;

use super::{
    Check, Facts,
    Level::{self, Bad, Good, Warn},
};
use crate::{
    system::limits::OpenFiles,
    verdict::{STEAL_ALLOWED, STEAL_TOLD, TIME_WAIT_PART},
};

/// Clocks that are read without a call into the kernel.
const FAST_CLOCKS: [&str; 4] = ["tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page"];
/// A clock is read several times a message, and a message takes about a microsecond.
const CLOCK_READ_TOLD: Duration = Duration::from_nanos(150);
const CLOCK_READ_ALLOWED: Duration = Duration::from_micros(1);
/// Timers are 50 µs late by the kernel's default; the sends of an open loop go by them.
const TIMER_LATE_TOLD: Duration = Duration::from_micros(200);
const TIMER_LATE_ALLOWED: Duration = Duration::from_millis(2);
/// Load that others make, for each CPU, before a run begins.
const LOAD_TOLD: f64 = 0.25;
/// Queues of connections below this overflow at rates of opening that a server keeps up with.
const BACKLOG_MIN: u64 = 1024;

pub(super) fn checks(facts: &Facts) -> Vec<Check> {
    let judgements = [
        nofile,
        ports,
        time_wait,
        tw_reuse,
        somaxconn,
        syn_backlog,
        congestion_control,
        clocksource,
        clock_read,
        timer,
        governor,
        cpu_quota,
        steal,
        load_average,
        hypervisor,
        huge_pages,
        swap,
    ];
    judgements.iter().filter_map(|judge| judge(facts)).collect()
}

/// `Good` up to and with `told`, `Warn` up to and with `allowed`, `Bad` beyond.
fn level<T: PartialOrd>(value: T, told: T, allowed: T) -> Level {
    if value > allowed {
        Bad
    } else if value > told {
        Warn
    } else {
        Good
    }
}

fn warn_if(is_worth_it: bool) -> Level {
    if is_worth_it { Warn } else { Good }
}

fn nofile(facts: &Facts) -> Option<Check> {
    let (needed, hard) = (OpenFiles::needed(facts.connections), facts.machine.open_files.hard);
    let level = if needed > hard { Bad } else { Good };
    let value = if hard == u64::MAX { "no limit".to_owned() } else { format!("{hard} for {needed}") };
    let why = "each connection is an open file; the soft limit is raised to the hard one by itself";
    Some(Check::new(level, "nofile", value, why, format!("ulimit -Hn {needed}, as root")))
}

fn ports(facts: &Facts) -> Option<Check> {
    let (ports, connections) = (facts.machine.ports?, facts.connections);
    let available = ports.available(1);
    let mend = "sysctl -w net.ipv4.ip_local_port_range='1024 65535', or several --local-addr";
    Some(match facts.is_loopback {
        Some(true) => {
            let value = match ports.spread(connections) {
                1 => format!("{available} for {connections}"),
                addresses => format!("{available} on each of {addresses} addresses"),
            };
            Check::new(Good, "ports", value, "connections to a loopback address are spread over 127.0.0.1, .2, ... by themselves", mend)
        }
        is_loopback => {
            let why = "a local address has no more connections to one destination";
            let short = if is_loopback.is_some() { Bad } else { Warn };
            let level = if connections > available { short } else { Good };
            Check::new(level, "ports", format!("{available} for {connections}"), why, mend)
        }
    })
}

fn time_wait(facts: &Facts) -> Option<Check> {
    let (sockets, ports) = (facts.time_wait?, facts.machine.ports?.available(1));
    let level = warn_if(sockets as f64 > TIME_WAIT_PART * ports as f64);
    let why = "connections that are closed hold their ports for a minute";
    Some(Check::new(level, "TIME_WAIT", format!("{sockets} of {ports} ports"), why, "sleep 60"))
}

fn tw_reuse(facts: &Facts) -> Option<Check> {
    let reuse = facts.machine.tcp_tw_reuse?;
    let is_loopback_enough = facts.is_loopback != Some(false);
    let value = match reuse {
        0 => "0, never",
        2 => "2, on the loopback alone",
        _ => "1, always",
    };
    let level = warn_if(reuse == 0 || (reuse == 2 && !is_loopback_enough));
    let why = "whether the ports of closed connections are given again before the minute is over";
    Some(Check::new(level, "tcp_tw_reuse", value, why, "sysctl -w net.ipv4.tcp_tw_reuse=1"))
}

fn somaxconn(facts: &Facts) -> Option<Check> {
    let limit = facts.machine.somaxconn.filter(|_| facts.is_loopback != Some(false))?;
    let why = "the queue of connections that a server here has not accepted; a full one delays them by a second";
    Some(Check::new(backlog_level(limit, facts), "somaxconn", limit.to_string(), why, "sysctl -w net.core.somaxconn=4096"))
}

fn syn_backlog(facts: &Facts) -> Option<Check> {
    let limit = facts.machine.tcp_max_syn_backlog.filter(|_| facts.is_loopback != Some(false))?;
    let why = "the queue of connections whose handshake is not complete";
    Some(Check::new(
        backlog_level(limit, facts),
        "tcp_max_syn_backlog",
        limit.to_string(),
        why,
        "sysctl -w net.ipv4.tcp_max_syn_backlog=4096",
    ))
}

fn backlog_level(limit: u64, facts: &Facts) -> Level {
    warn_if(limit < BACKLOG_MIN.min(facts.connections as u64))
}

fn congestion_control(facts: &Facts) -> Option<Check> {
    let algorithm = facts.machine.congestion_control.as_deref()?;
    let value = match &facts.machine.queue_discipline {
        Some(queue) => format!("{algorithm} over {queue}"),
        None => algorithm.to_owned(),
    };
    let why = "bbr paces what is sent, so that bursts leave late";
    let mend = "sysctl -w net.ipv4.tcp_congestion_control=cubic";
    Some(Check::new(warn_if(algorithm.starts_with("bbr")), "congestion control", value, why, mend))
}

fn clocksource(facts: &Facts) -> Option<Check> {
    let clock = facts.machine.clocksource.as_deref()?;
    let level = warn_if(!FAST_CLOCKS.contains(&clock));
    let mend = "echo tsc >/sys/devices/system/clocksource/clocksource0/current_clocksource";
    Some(Check::new(level, "clocksource", clock, "hpet, acpi_pm and others are slow to read", mend))
}

fn clock_read(facts: &Facts) -> Option<Check> {
    let level = level(facts.clock_read, CLOCK_READ_TOLD, CLOCK_READ_ALLOWED);
    let why = "the clock is read several times a message";
    Some(Check::new(level, "clock read", format!("{:.0?}", facts.clock_read), why, "another clocksource, as above"))
}

fn timer(facts: &Facts) -> Option<Check> {
    let level = level(facts.timer_late, TIMER_LATE_TOLD, TIMER_LATE_ALLOWED);
    let why = "by how much a timer is late: a send at its intended time waits for one";
    Some(Check::new(level, "timer", format!("{:.0?} late", facts.timer_late), why, "end what else runs here: top"))
}

fn governor(facts: &Facts) -> Option<Check> {
    let governor = facts.machine.governor.as_deref()?;
    let why = "CPUs that change their frequency give other figures at each load";
    Some(Check::new(warn_if(governor != "performance"), "governor", governor, why, "cpupower frequency-set -g performance"))
}

fn cpu_quota(facts: &Facts) -> Option<Check> {
    let cpus = facts.machine.cpus_allowed.len();
    let quota = facts.machine.cpu_quota;
    let value = quota.map_or_else(|| format!("none, {cpus} CPUs"), |quota| format!("{quota:.1} of {cpus} CPUs"));
    let level = warn_if(quota.is_some_and(|quota| quota < cpus as f64));
    let mend = "docker run without --cpus, or cpu.max and cpu.cfs_quota_us of the control group";
    Some(Check::new(level, "CPU quota", value, "a group that has used it up stands still for tens of milliseconds", mend))
}

fn steal(facts: &Facts) -> Option<Check> {
    let steal = facts.steal?;
    let level = level(steal, STEAL_TOLD, STEAL_ALLOWED);
    let why = "CPU time that the hypervisor gives to other machines just now";
    Some(Check::new(level, "steal", format!("{:.1} %", steal * 100.0), why, "another machine, or another time: vmstat 1"))
}

fn load_average(facts: &Facts) -> Option<Check> {
    let (load, cpus) = (facts.load_average?, facts.machine.cpus_online?);
    let level = warn_if(load > LOAD_TOLD * cpus as f64);
    let why = "what else has used the CPUs in the last minute";
    Some(Check::new(level, "load", format!("{load:.2} on {cpus} CPUs"), why, "end what else runs here: top"))
}

fn hypervisor(facts: &Facts) -> Option<Check> {
    let is_virtual = facts.machine.is_virtual?;
    let value = if is_virtual { "virtual machine" } else { "none" };
    let why = "the CPUs of a virtual machine may be slower for a while without a sign of it";
    Some(Check::new(warn_if(is_virtual), "hypervisor", value, why, "--repeat 5, and compare CPU time per message"))
}

fn huge_pages(facts: &Facts) -> Option<Check> {
    let pages = facts.machine.transparent_huge_pages.as_deref()?;
    let why = "with always, memory grows in steps of 2 MiB: bytes per connection are then those of the steps";
    let mend = "echo madvise >/sys/kernel/mm/transparent_hugepage/enabled";
    Some(Check::new(warn_if(pages == "always"), "huge pages", pages, why, mend))
}

fn swap(facts: &Facts) -> Option<Check> {
    let mib = facts.machine.swap_bytes? >> 20;
    let value = if mib == 0 { "none".to_owned() } else { format!("{mib} MiB") };
    let why = "memory that is swapped out is not resident, so that bytes per connection are too few";
    Some(Check::new(warn_if(mib > 0), "swap", value, why, "swapoff -a"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::system::{limits::Ports, machine::Machine};

    /// A machine with nothing to tell.
    fn quiet() -> Facts {
        let machine = Machine {
            kernel: Some("6.1".to_owned()),
            cpu_model: None,
            cpus_online: Some(4),
            cpus_allowed: BTreeSet::from([0, 1, 2, 3]),
            is_virtual: Some(false),
            cpu_quota: None,
            governor: Some("performance".to_owned()),
            clocksource: Some("tsc".to_owned()),
            memory_bytes: Some(1 << 34),
            swap_bytes: Some(0),
            transparent_huge_pages: Some("madvise".to_owned()),
            open_files: OpenFiles { soft: 1024, hard: 20_000 },
            ports: Some(Ports { first: 32768, last: 60999, reserved: 0 }),
            somaxconn: Some(4096),
            tcp_max_syn_backlog: Some(2048),
            tcp_tw_reuse: Some(2),
            congestion_control: Some("cubic".to_owned()),
            queue_discipline: Some("fq_codel".to_owned()),
        };
        Facts {
            machine,
            time_wait: Some(3),
            load_average: Some(0.1),
            steal: Some(0.0),
            clock_read: Duration::from_nanos(30),
            timer_late: Duration::from_micros(60),
            connections: 10_000,
            is_loopback: Some(true),
        }
    }

    /// Names and levels of all lines that are not well.
    fn unwell(change: impl FnOnce(&mut Facts)) -> Vec<(&'static str, Level)> {
        let mut facts = quiet();
        change(&mut facts);
        checks(&facts).into_iter().filter(|check| check.level != Good).map(|check| (check.name, check.level)).collect()
    }

    #[test]
    fn a_quiet_machine_is_well_in_every_line() {
        assert_eq!(unwell(|_| ()), []);
        assert_eq!(checks(&quiet()).len(), 17);
    }

    #[test]
    fn too_few_files_or_ports_are_bad() {
        assert_eq!(unwell(|facts| facts.connections = 20_000), [("nofile", Bad)]);
        let many = |is_loopback| {
            move |facts: &mut Facts| {
                (facts.connections, facts.is_loopback, facts.machine.tcp_tw_reuse) = (40_000, is_loopback, Some(1));
                facts.machine.open_files.hard = u64::MAX;
            }
        };
        assert_eq!(unwell(many(Some(true))), []);
        assert_eq!(unwell(many(None)), [("ports", Warn)]);
        assert_eq!(unwell(many(Some(false))), [("ports", Bad)]);
    }

    #[test]
    fn loopback_spreads_and_says_so() {
        let facts = Facts { connections: 40_000, ..quiet() };
        assert_eq!(ports(&facts).expect("a line").value, "28232 on each of 2 addresses");
    }

    #[test]
    fn settings_that_matter_are_told() {
        assert_eq!(unwell(|facts| facts.machine.governor = Some("powersave".to_owned())), [("governor", Warn)]);
        assert_eq!(unwell(|facts| facts.machine.clocksource = Some("hpet".to_owned())), [("clocksource", Warn)]);
        assert_eq!(unwell(|facts| facts.machine.congestion_control = Some("bbr".to_owned())), [("congestion control", Warn)]);
        assert_eq!(unwell(|facts| facts.machine.transparent_huge_pages = Some("always".to_owned())), [("huge pages", Warn)]);
        assert_eq!(unwell(|facts| facts.machine.swap_bytes = Some(1 << 30)), [("swap", Warn)]);
        assert_eq!(unwell(|facts| facts.machine.is_virtual = Some(true)), [("hypervisor", Warn)]);
        assert_eq!(unwell(|facts| facts.machine.cpu_quota = Some(1.5)), [("CPU quota", Warn)]);
        assert_eq!(unwell(|facts| facts.machine.tcp_tw_reuse = Some(0)), [("tcp_tw_reuse", Warn)]);
        assert_eq!(unwell(|facts| facts.is_loopback = Some(false)), [("tcp_tw_reuse", Warn)]);
    }

    #[test]
    fn queues_matter_as_far_as_there_are_connections() {
        let short = |connections| {
            move |facts: &mut Facts| {
                (facts.machine.somaxconn, facts.machine.tcp_max_syn_backlog, facts.connections) = (Some(128), Some(128), connections);
            }
        };
        assert_eq!(unwell(short(128)), []);
        assert_eq!(unwell(short(129)), [("somaxconn", Warn), ("tcp_max_syn_backlog", Warn)]);
    }

    #[test]
    fn what_was_tried_out_is_told_or_bad() {
        let clock = |ns| unwell(|facts| facts.clock_read = Duration::from_nanos(ns));
        assert_eq!([clock(150), clock(151), clock(1001)], [vec![], vec![("clock read", Warn)], vec![("clock read", Bad)]]);
        let timer = |us| unwell(|facts| facts.timer_late = Duration::from_micros(us));
        assert_eq!([timer(200), timer(201), timer(2001)], [vec![], vec![("timer", Warn)], vec![("timer", Bad)]]);
        let steal = |part| unwell(|facts| facts.steal = Some(part));
        assert_eq!([steal(0.01), steal(0.05), steal(0.2)], [vec![], vec![("steal", Warn)], vec![("steal", Bad)]]);
        assert_eq!(unwell(|facts| facts.load_average = Some(1.1)), [("load", Warn)]);
        assert_eq!(unwell(|facts| facts.time_wait = Some(20_000)), [("TIME_WAIT", Warn)]);
    }
}
