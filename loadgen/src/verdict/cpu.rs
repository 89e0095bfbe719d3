//! The rules about who had the CPUs: generator, server, other processes, other machines. Imports the verdict's terms.

use std::time::Duration;

use super::{Finding, Kind, Observed, OpenLoop, ServerUse, ThreadUse, invalid, part_of, per_cent, warning};
use crate::metrics::Scenario;

/// A thread that ran for more than this part of the time had none left: the rest goes into the waits for events themselves.
const GENERATOR_FULL: f64 = 0.95;
/// A server below this part of the CPU time that it could use had room. Lower than the generator's bound, so that both cannot be wrong at once.
const SERVER_FULL: f64 = 0.90;
/// CPUs that are used by more than this part are full: interrupts, which some kernels count apart, take the rest.
const CPUS_FULL: f64 = 0.85;
/// Our own delay of sends that is always allowed: timers of a machine that is not tuned are as late as that now and then.
const LAG_ALLOWED: Duration = Duration::from_millis(1);
/// Our own delay that is allowed as a part of the slow responses, where these take long: they are not slow for our sake.
const LAG_PART_OF_RESPONSE: f64 = 0.25;
/// Of the time in which a thread had work, the part for which it may wait for a CPU.
const WAIT_PART_OF_WORK: f64 = 0.20;
/// A wait of less than this part of the whole time is no matter: a thread with little to do waits a few microseconds at each turn.
const WAIT_PART_OF_TIME: f64 = 0.05;
/// Other processes that used less than this part of the CPUs' time cannot be what we waited for.
const OTHERS_QUIET: f64 = 0.10;
/// Stops by a quota that last less than this part of the time are no matter.
const QUOTA_PART_OF_TIME: f64 = 0.02;
/// What a hypervisor may take before it is told.
pub(crate) const STEAL_TOLD: f64 = 0.02;
/// What it may take before the figures no longer hold.
pub(crate) const STEAL_ALLOWED: f64 = 0.10;

pub(super) fn generator_saturated(seen: &Observed) -> Option<Finding> {
    let busy = part_of(busiest(seen).ran, seen.measured);
    let text = match seen.open_loop {
        Some(open_loop) => late(open_loop, busy),
        None => alone_busy(seen, busy),
    };
    Some(invalid(Kind::GeneratorSaturated, text?))
}

fn late(open_loop: OpenLoop, busy: f64) -> Option<String> {
    let lag = open_loop.lag_own_p99;
    let allowed = open_loop.response_p99.unwrap_or_default().mul_f64(LAG_PART_OF_RESPONSE).max(LAG_ALLOWED);
    let is_full = busy > GENERATOR_FULL;
    let mend = if is_full { "give more threads with -t, or lower -R" } else { "free a CPU for it, or pin it to one with --pin" };
    let busy = per_cent(busy);
    if lag > allowed {
        Some(format!("the generator sent late, p99 {lag:.1?} where {allowed:.1?} is allowed, its busiest thread {busy} busy: {mend}"))
    } else {
        (is_full && open_loop.is_short()).then(|| format!("a thread of the generator was {busy} busy and did not keep the rate: {mend}"))
    }
}

fn alone_busy(seen: &Observed, busy: f64) -> Option<String> {
    let server = match seen.server.as_ref().map(|server| server_load(server, seen.measured)) {
        Some(load) if load >= SERVER_FULL => return None,
        Some(load) => format!("while the server was {} busy", per_cent(load)),
        None => "and the server's load is not known".to_owned(),
    };
    let text = || format!("a thread of the generator was {} busy {server}: give more threads with -t", per_cent(busy));
    (busy > GENERATOR_FULL).then(text)
}

pub(super) fn server_not_saturated(seen: &Observed) -> Option<Finding> {
    let server = server_load(seen.server.as_ref()?, seen.measured);
    let generator = part_of(busiest(seen).ran, seen.measured);
    let is_closed_loop = seen.open_loop.is_none() && seen.scenario != Scenario::Idle;
    let has_room = server < SERVER_FULL && generator <= GENERATOR_FULL && seen.cpus.busy.is_none_or(|busy| busy < CPUS_FULL);
    if !is_closed_loop || !has_room || shares_full_cpus(seen) {
        return None;
    }
    let mend = if seen.scenario == Scenario::Connect { "--connect-inflight" } else { "-c" };
    let (server, generator) = (per_cent(server), per_cent(generator));
    let text = format!("the server was {server} busy and the generator {generator}, so that neither was the limit: raise {mend}");
    Some(warning(Kind::ServerNotSaturated, text))
}

pub(super) fn cpu_steal(seen: &Observed) -> Option<Finding> {
    let steal = seen.cpus.steal.filter(|&steal| steal > STEAL_TOLD)?;
    let find = if steal > STEAL_ALLOWED { invalid } else { warning };
    let mend = "repeat when it is quiet, or on a machine of your own";
    Some(find(Kind::CpuSteal, format!("the hypervisor gave {:.1} % of the CPU time to other machines: {mend}", steal * 100.0)))
}

pub(super) fn throttled(seen: &Observed) -> Option<Finding> {
    let stopped = seen.cpus.throttled.unwrap_or_default();
    if part_of(stopped, seen.measured) > QUOTA_PART_OF_TIME {
        let mend = "raise the quota, or run outside of the group";
        let text = format!("the CPU quota of the generator's control group stopped it for {stopped:.1?}: {mend}");
        return Some(invalid(Kind::Throttled, text));
    }
    let thread = longest_wait(seen).filter(|_| !is_servers_doing(seen))?;
    let (work, waited) = (thread.ran + thread.waited, per_cent(wait_part(thread)));
    let mend = "end what else runs here, or pin it to a free CPU with --pin";
    let text = format!("a thread of the generator had work for {work:.1?} and waited {waited} of that for a CPU that others had: {mend}");
    Some(invalid(Kind::Throttled, text))
}

pub(super) fn shared_cpu(seen: &Observed) -> Option<Finding> {
    let wait = longest_wait(seen).filter(|_| is_servers_doing(seen));
    if wait.is_none() && !shares_full_cpus(seen) {
        return None;
    }
    let what = match wait {
        Some(thread) => {
            format!("a thread of the generator waited {} of its work for a CPU that the server had", per_cent(wait_part(thread)))
        }
        None => "generator and server filled the CPUs that they share".to_owned(),
    };
    let mend = "latencies hold both, so go by the server's CPU time, or keep them apart with --pin and taskset";
    Some(warning(Kind::SharedCpu, format!("{what}: {mend}")))
}

/// How full the server was: as a whole by the CPUs that it may use, or in the one thread that most runs through.
fn server_load(server: &ServerUse, measured: Duration) -> f64 {
    let cpus = u32::try_from(server.cpus.len()).unwrap_or(u32::MAX).max(1);
    part_of(server.busiest_thread, measured).max(part_of(server.cpu / cpus, measured))
}

fn busiest(seen: &Observed) -> ThreadUse {
    let idle = ThreadUse { ran: Duration::ZERO, waited: Duration::ZERO };
    seen.threads.iter().copied().max_by_key(|thread| thread.ran).unwrap_or(idle)
}

/// The thread that waited for a CPU for the largest part of its work, if that is worth a word.
fn longest_wait(seen: &Observed) -> Option<ThreadUse> {
    let waits = seen.threads.iter().copied().filter(|thread| part_of(thread.waited, seen.measured) > WAIT_PART_OF_TIME);
    waits.filter(|&thread| wait_part(thread) > WAIT_PART_OF_WORK).max_by(|a, b| wait_part(*a).total_cmp(&wait_part(*b)))
}

fn wait_part(thread: ThreadUse) -> f64 {
    part_of(thread.waited, thread.ran + thread.waited)
}

/// Whether a wait for a CPU is natural: the server has our CPUs too, and nothing else used much.
fn is_servers_doing(seen: &Observed) -> bool {
    let Some(server) = seen.server.as_ref().filter(|server| !server.cpus.is_disjoint(&seen.generator_cpus)) else { return false };
    if shares_full_cpus(seen) {
        return true;
    }
    let (Some(processes), Some(online)) = (seen.cpus.processes, seen.cpus.online) else { return true };
    let ours: Duration = seen.threads.iter().map(|thread| thread.ran).sum();
    // Too few rather than too many: interrupts for our own traffic may be in our threads' times and not in the processes'.
    let others = processes.saturating_sub(server.cpu + ours);
    part_of(others, seen.measured) < OTHERS_QUIET * online as f64
}

/// Whether server and generator have CPUs in common and the two of them filled all that either may use.
fn shares_full_cpus(seen: &Observed) -> bool {
    let Some(server) = seen.server.as_ref().filter(|server| !server.cpus.is_disjoint(&seen.generator_cpus)) else { return false };
    let ours: Duration = seen.threads.iter().map(|thread| thread.ran).sum();
    let cpus = server.cpus.union(&seen.generator_cpus).count();
    part_of(server.cpu + ours, seen.measured) > CPUS_FULL * cpus as f64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{
        super::{
            CpuUse, Severity,
            tests::{at_a_rate, calm, severity, text},
        },
        *,
    };

    fn thread(ran_ms: u64, waited_ms: u64) -> Vec<ThreadUse> {
        vec![ThreadUse { ran: Duration::from_millis(ran_ms), waited: Duration::from_millis(waited_ms) }]
    }

    fn server(cpu_ms: u64, busiest_ms: u64, cpus: &[usize]) -> Option<ServerUse> {
        let (cpu, busiest_thread) = (Duration::from_millis(cpu_ms), Duration::from_millis(busiest_ms));
        Some(ServerUse { cpu, busiest_thread, cpus: cpus.iter().copied().collect(), is_same: true })
    }

    /// Two CPUs that generator and server share, and that others leave alone but for `others_ms`.
    fn sharing(generator: Vec<ThreadUse>, server_ms: u64, others_ms: u64) -> Observed {
        let processes = generator[0].ran + Duration::from_millis(server_ms + others_ms);
        let cpus = CpuUse { online: Some(2), processes: Some(processes), ..calm().cpus };
        Observed {
            threads: generator,
            generator_cpus: BTreeSet::from([0, 1]),
            server: server(server_ms, server_ms, &[0, 1]),
            cpus,
            ..calm()
        }
    }

    #[test]
    fn a_full_generator_is_the_limit_unless_the_server_is_full_too() {
        let full = Observed { threads: thread(9_600, 0), ..calm() };
        assert_eq!(severity(&full, Kind::GeneratorSaturated), None);
        assert_eq!(severity(&Observed { server: None, ..full.clone() }, Kind::GeneratorSaturated), Some(Severity::Invalid));
        let with_room = Observed { server: server(5_000, 5_000, &[0]), ..full.clone() };
        assert_eq!(severity(&with_room, Kind::GeneratorSaturated), Some(Severity::Invalid));
        assert!(text(&with_room, Kind::GeneratorSaturated).contains("96 % busy while the server was 50 % busy"));
        assert_eq!(severity(&Observed { threads: thread(9_400, 0), ..with_room }, Kind::GeneratorSaturated), None);
        // All its CPUs, or its one thread.
        assert_eq!(severity(&Observed { server: server(18_500, 4_000, &[0, 2]), ..full.clone() }, Kind::GeneratorSaturated), None);
        assert_eq!(severity(&Observed { server: server(9_500, 9_500, &[0, 2, 3]), ..full }, Kind::GeneratorSaturated), None);
    }

    #[test]
    fn late_sends_are_the_generators_fault() {
        let late = |lag_ms, p99_ms| {
            let mut seen = at_a_rate();
            let open_loop = seen.open_loop.as_mut().expect("a rate");
            open_loop.lag_own_p99 = Duration::from_millis(lag_ms);
            open_loop.response_p99 = Some(Duration::from_millis(p99_ms));
            seen
        };
        assert_eq!(severity(&late(2, 1), Kind::GeneratorSaturated), Some(Severity::Invalid));
        assert!(text(&late(2, 1), Kind::GeneratorSaturated).contains("--pin"));
        assert_eq!(severity(&late(2, 30), Kind::GeneratorSaturated), None);
        assert_eq!(severity(&late(1, 1), Kind::GeneratorSaturated), None);
    }

    #[test]
    fn a_full_generator_that_keeps_the_rate_is_not_the_limit() {
        let full = Observed { threads: thread(9_900, 0), ..at_a_rate() };
        assert_eq!(severity(&full, Kind::GeneratorSaturated), None);
        let open_loop = OpenLoop { sent: 900_000, ..full.open_loop.expect("a rate") };
        let short = Observed { open_loop: Some(open_loop), ..full };
        assert_eq!(severity(&short, Kind::GeneratorSaturated), Some(Severity::Invalid));
    }

    #[test]
    fn a_server_with_room_asks_for_more_connections() {
        let idle = Observed { server: server(3_000, 3_000, &[0]), ..calm() };
        assert_eq!(severity(&idle, Kind::ServerNotSaturated), Some(Severity::Warning));
        assert!(text(&idle, Kind::ServerNotSaturated).ends_with("raise -c"));
        let busy_machine = Observed { cpus: CpuUse { busy: Some(0.97), ..idle.cpus }, ..idle.clone() };
        assert_eq!(severity(&busy_machine, Kind::ServerNotSaturated), None);
        assert_eq!(severity(&Observed { scenario: Scenario::Idle, ..idle.clone() }, Kind::ServerNotSaturated), None);
        assert_eq!(severity(&Observed { open_loop: at_a_rate().open_loop, ..idle.clone() }, Kind::ServerNotSaturated), None);
        let connect = Observed { scenario: Scenario::Connect, ..idle };
        assert!(text(&connect, Kind::ServerNotSaturated).ends_with("--connect-inflight"));
    }

    #[test]
    fn steal_is_told_and_then_not_allowed() {
        let steal = |part| severity(&Observed { cpus: CpuUse { steal: Some(part), ..calm().cpus }, ..calm() }, Kind::CpuSteal);
        assert_eq!([0.02, 0.021, 0.10, 0.11].map(steal), [None, Some(Severity::Warning), Some(Severity::Warning), Some(Severity::Invalid)]);
    }

    #[test]
    fn a_quota_that_stops_the_generator_is_named() {
        let stopped = |ms| Observed { cpus: CpuUse { throttled: Some(Duration::from_millis(ms)), ..calm().cpus }, ..calm() };
        assert_eq!(severity(&stopped(200), Kind::Throttled), None);
        assert_eq!(severity(&stopped(300), Kind::Throttled), Some(Severity::Invalid));
        assert!(text(&stopped(300), Kind::Throttled).contains("quota"));
    }

    #[test]
    fn a_wait_for_a_cpu_that_others_have_is_not_allowed() {
        let waiting = Observed { threads: thread(3_000, 1_000), ..calm() };
        assert_eq!(severity(&waiting, Kind::Throttled), Some(Severity::Invalid));
        assert!(text(&waiting, Kind::Throttled).contains("25 %"));
        assert_eq!(severity(&Observed { threads: thread(5_000, 1_000), ..calm() }, Kind::Throttled), None, "a small part of the work");
        assert_eq!(severity(&Observed { threads: thread(400, 400), ..calm() }, Kind::Throttled), None, "a small part of the time");
        assert_eq!(severity(&Observed { server: None, ..waiting }, Kind::Throttled), Some(Severity::Invalid));
    }

    #[test]
    fn a_wait_for_the_server_is_natural_where_both_have_the_same_cpus() {
        let both = |seen: &Observed| (severity(seen, Kind::Throttled), severity(seen, Kind::SharedCpu));
        assert_eq!(both(&sharing(thread(9_000, 4_000), 9_000, 100)), (None, Some(Severity::Warning)));
        assert_eq!(both(&sharing(thread(4_000, 2_000), 4_000, 100)), (None, Some(Severity::Warning)));
        assert_eq!(both(&sharing(thread(4_000, 2_000), 4_000, 9_000)), (Some(Severity::Invalid), None));
        assert_eq!(both(&sharing(thread(9_000, 100), 9_000, 100)), (None, Some(Severity::Warning)));
        assert_eq!(both(&sharing(thread(4_000, 100), 4_000, 100)), (None, None));
        assert_eq!(severity(&sharing(thread(9_000, 100), 8_500, 100), Kind::ServerNotSaturated), None);
    }
}
