//! One run of a plan, from its threads to its figures. Imports the scenarios, the director, `verdict`.

use std::{
    io,
    sync::{Arc, atomic::AtomicBool},
    thread,
    time::Duration,
};

use rustix::thread::{CpuSet, sched_setaffinity};

use super::{
    Counts,
    director::{Conduct, Director},
    echo::{Echo, EchoTally},
    fanout::{Fanout, FanoutTally},
    hold::Hold,
    http_publisher::HttpPublisher,
    publications::Publications,
    publisher::PublisherTally,
};
use crate::{
    clock::Clock,
    engine::{self, Control, Destinations, Opened, Outcome, Scenario, Setup, Trouble, addresses},
    metrics,
    payload::{Payloads, Template},
    plan::{Plan, Publish},
    report::{Run, progress::Snapshot},
    stats::Line,
    system::process::ProcessTree,
    values::{Value, Values},
    verdict::ThreadUse,
};

/// The shortest measurement under load that CPU time per message is given for: 5 ms are then 2 %.
const CPU_WALL_NS_MIN: u64 = 250_000_000;

/// What a run needs from outside.
pub struct Stage<'a> {
    /// What it does.
    pub plan: Arc<Plan>,
    /// Where its connections go.
    pub destinations: Arc<Destinations>,
    /// The server's process, where it is known.
    pub server: Option<&'a mut ProcessTree>,
    /// Set by a signal.
    pub interrupted: &'a AtomicBool,
    /// Shows how far the run is.
    pub show: &'a mut dyn FnMut(&Snapshot),
    /// Tells this run's messages from those of any other.
    pub run_id: u32,
}

/// All that is known of a run: what it measured, and what may have spoiled that.
pub struct Played {
    /// The figures.
    pub run: Run,
    /// What the director saw.
    pub conduct: Conduct,
    /// What the connections came to.
    pub opened: Opened,
    /// What each thread had of the CPUs.
    pub threads: Vec<ThreadUse>,
    /// The messages.
    pub counts: Counts,
}

/// Plays one run.
///
/// # Errors
/// One line that says why it could not begin: no connection could be opened, or the kernel refuses what the threads need.
pub fn play(stage: &mut Stage<'_>) -> Result<Played, String> {
    let plan = stage.plan.clone();
    let payloads = Payloads::new(stage.run_id, plan.seed, plan.traffic.payload_bytes, &plan.traffic.message);
    match plan.scenario {
        metrics::Scenario::Connect | metrics::Scenario::Idle => Ok(perform(stage, &payloads, None, |_| Hold)?.held(&plan)),
        metrics::Scenario::Echo => Ok(perform(stage, &payloads, None, |thread| Echo::new(&plan, &payloads, thread))?.echoed(&plan)),
        metrics::Scenario::Fanout => {
            let publications = Arc::new(Publications::new(plan.fanout.publishers, plan.fanout.channels));
            Ok(perform(stage, &payloads, Some(&publications), |_| Fanout::new(&payloads, &publications))?.fanned_out(&plan))
        }
    }
}

/// What all the threads of a run came to.
struct Performance<T> {
    tallies: Vec<T>,
    /// The publishers over HTTP.
    posted: Vec<PublisherTally>,
    opened: Opened,
    threads: Vec<ThreadUse>,
    conduct: Conduct,
}

/// Starts the threads, directs them, and collects what they came to.
fn perform<S: Scenario>(
    stage: &mut Stage<'_>,
    payloads: &Payloads,
    publications: Option<&Arc<Publications>>,
    scenario: impl Fn(usize) -> S + Sync,
) -> Result<Performance<S::Tally>, String> {
    let plan = stage.plan.clone();
    let http_publishers = match &plan.fanout.publish {
        Publish::Http { .. } if publications.is_some() => plan.fanout.publishers,
        _ => 0,
    };
    let control = Arc::new(Control::new(Clock::start(), plan.threads, http_publishers));
    let setup =
        Setup { plan: plan.clone(), destinations: stage.destinations.clone(), payloads: payloads.clone(), control: control.clone() };
    // Before the first thread, which would have to be stopped again.
    let http_publisher = match (publications, &plan.fanout.publish) {
        (Some(publications), Publish::Http { url, fields }) => Some(HttpPublisher {
            plan: plan.clone(),
            payloads: payloads.clone(),
            control: control.clone(),
            publications: publications.clone(),
            url: url.clone(),
            addresses: addresses(url)?,
            target: Template::parse(&url.target).map_err(|error| format!("{url}: {error}"))?,
            fields: fields.clone(),
        }),
        _ => None,
    };
    let cannot = |error: io::Error| format!("cannot run a thread: {error}");
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for thread in 0..plan.threads {
            let (setup, scenario) = (&setup, &scenario);
            let run = move || {
                let outcome = pin(&setup.plan.pin, thread).and_then(|()| engine::run(setup, thread, scenario(thread)));
                // A thread that cannot go on must not be waited for.
                outcome.inspect_err(|_| setup.control.give_up())
            };
            let started = thread::Builder::new().name(format!("load-{thread}")).spawn_scoped(scope, run);
            threads.push(started.inspect_err(|_| control.close(true)).map_err(cannot)?);
        }
        let mut publishers = Vec::new();
        for number in 0..http_publishers {
            let Some(publisher) = http_publisher.clone() else { break };
            let started = thread::Builder::new().name(format!("post-{number}")).spawn_scoped(scope, move || publisher.run(number));
            publishers.push(started.inspect_err(|_| control.close(true)).map_err(cannot)?);
        }
        let (server, show) = (stage.server.as_deref_mut(), &mut *stage.show);
        let director = &mut Director {
            plan: &plan,
            control: control.clone(),
            publications: publications.map(Arc::as_ref),
            server,
            interrupted: stage.interrupted,
            show,
        };
        let mut conduct = director.conduct();
        let (mut tallies, mut opened, mut uses, mut posted) = (Vec::new(), Opened::default(), Vec::new(), Vec::new());
        for thread in threads {
            let Outcome { tally, opened: part, thread } = thread.join().map_err(|_| "a thread panicked")?.map_err(cannot)?;
            tallies.push(tally);
            opened.merge(part);
            uses.push(thread);
        }
        for publisher in publishers {
            let (tally, trouble): (PublisherTally, Trouble) = publisher.join().map_err(|_| "a thread panicked")?;
            posted.push(tally);
            opened.trouble.merge(trouble);
        }
        if let Some(reason) = conduct.broken_off.take() {
            let most = opened.trouble.counts.iter().max_by_key(|(_, count)| **count);
            let why = most.map_or(String::new(), |(text, _)| format!(": {text}"));
            return Err(format!("{}: {reason}{why}", plan.urls[0]));
        }
        Ok(Performance { tallies, posted, opened, threads: uses, conduct })
    })
}

fn pin(cpus: &[usize], thread: usize) -> io::Result<()> {
    if cpus.is_empty() {
        return Ok(());
    }
    let mut set = CpuSet::new();
    set.set(cpus[thread % cpus.len()]);
    Ok(sched_setaffinity(None, &set)?)
}

impl Performance<()> {
    fn held(self, plan: &Plan) -> Played {
        let mut values = Values::new();
        let upgrades = self.opened.total.count();
        if plan.scenario == metrics::Scenario::Connect {
            let ns = self.opened.last_ns.saturating_sub(self.conduct.measure_ns).max(1);
            values.insert("rate", Value::Number(upgrades as f64 * 1e9 / ns as f64));
            values.insert("connect.response", Value::Latency(self.opened.response.clone()));
            return self.played(values, Counts::default(), Some(upgrades));
        }
        let slope = |bytes: fn(&super::reading::Reading) -> Option<u64>| {
            let points = self.conduct.plateaus.iter().filter_map(|(open, reading)| Some((*open as f64, bytes(reading)? as f64)));
            Line::fit(&points.collect::<Vec<_>>())
        };
        for (name, line) in [
            ("server.rss_per_conn", slope(|reading| reading.server_bytes)),
            ("kernel.mem_per_conn", slope(|reading| reading.counters.kernel_bytes)),
        ] {
            if let Some(line) = line {
                values.insert(name, Value::Number(line.slope));
            }
        }
        self.played(values, Counts::default(), None)
    }
}

impl Performance<EchoTally> {
    fn echoed(mut self, plan: &Plan) -> Played {
        let mut tallies = std::mem::take(&mut self.tallies).into_iter();
        let mut all = tallies.next().unwrap_or_default();
        tallies.for_each(|tally| all.merge(&tally));
        let mut values = message_values(&all.counts, self.rate(plan, &all.counts));
        values.insert("response", Value::Latency(all.response));
        values.insert("service", Value::Latency(all.service));
        values.insert("lag.own", Value::Latency(all.lag.own));
        values.insert("lag.server", Value::Latency(all.lag.server));
        let operations = self.is_long().then_some(all.counts.received);
        self.played(values, all.counts, operations)
    }
}

impl Performance<FanoutTally> {
    fn fanned_out(mut self, plan: &Plan) -> Played {
        let mut tallies = std::mem::take(&mut self.tallies).into_iter();
        let mut all = tallies.next().unwrap_or_default();
        tallies.for_each(|tally| all.merge(&tally));
        self.posted.iter().for_each(|posted| all.publisher.merge(posted));
        let publisher = &all.publisher;
        all.delivery.merge(&publisher.undelivered);
        (all.counts.sent, all.counts.unsent) = (publisher.sent, publisher.unsent);
        let mut values = message_values(&all.counts, self.rate(plan, &all.counts));
        values.insert("delivery", Value::Latency(all.delivery));
        values.insert("delivery.service", Value::Latency(all.service));
        values.insert("delivery.first", Value::Latency(publisher.completion.first.clone()));
        values.insert("delivery.median", Value::Latency(publisher.completion.median.clone()));
        values.insert("delivery.last", Value::Latency(publisher.completion.last.clone()));
        values.insert("delivery.spread", Value::Latency(publisher.completion.spread.clone()));
        values.insert("fairness", Value::Latency(all.fairness));
        values.insert("lag.own", Value::Latency(publisher.lag.own.clone()));
        values.insert("lag.server", Value::Latency(publisher.lag.server.clone()));
        if matches!(plan.fanout.publish, Publish::Http { .. }) {
            values.insert("publish.answer", Value::Latency(publisher.answer.clone()));
        }
        if all.expected > 0 {
            values.insert("reach", Value::Number(all.counts.received as f64 / all.expected as f64));
        }
        let operations = self.is_long().then_some(all.counts.received);
        self.played(values, all.counts, operations)
    }
}

impl<T> Performance<T> {
    /// Answers or deliveries per second of the time in which they were to come.
    fn rate(&self, plan: &Plan, counts: &Counts) -> f64 {
        let by_count = plan.traffic.rate.is_none() && plan.count.is_some();
        let (end_ns, count) = if by_count { (counts.last_ns, counts.received) } else { (self.conduct.end_ns, counts.in_time) };
        let ns = end_ns.saturating_sub(self.conduct.measure_ns).max(1);
        count as f64 * 1e9 / ns as f64
    }

    /// Whether CPU time may be divided by messages: the kernel's account of a thread that runs is some milliseconds behind.
    fn is_long(&self) -> bool {
        self.conduct.after.wall_ns_since(&self.conduct.before) >= CPU_WALL_NS_MIN
    }

    /// Adds what every scenario gives.
    fn played(self, mut values: Values, counts: Counts, operations: Option<u64>) -> Played {
        let Performance { opened, threads, conduct, .. } = self;
        let (before, after) = (&conduct.before, &conduct.after);
        for (name, latency) in [
            ("connect.tcp", &opened.tcp),
            ("connect.tls", &opened.tls),
            ("connect.upgrade", &opened.upgrade),
            ("connect.total", &opened.total),
        ] {
            if latency.count() > 0 {
                values.insert(name, Value::Latency(latency.clone()));
            }
        }
        values.insert("connected", Value::Count(opened.total.count()));
        values.insert("failed", Value::Count(opened.failed));
        let wall_ns = conduct.at_end.wall_ns_since(before).max(1) as f64;
        let operations = operations.filter(|&operations| operations > 0);
        let mut used = |cpu: &'static str, each: &'static str, at_end_ns: u64, cpu_ns: u64| {
            values.insert(cpu, Value::Number(at_end_ns as f64 / wall_ns));
            if let Some(operations) = operations {
                values.insert(each, Value::Number(cpu_ns as f64 / 1e3 / operations as f64));
            }
        };
        let at_end = &conduct.at_end;
        used("generator.cpu", "generator.cpu_us_per_msg", at_end.own_cpu_ns_since(before), after.own_cpu_ns_since(before));
        if let Some((at_end_ns, cpu_ns)) = at_end.server_cpu_ns_since(before).zip(after.server_cpu_ns_since(before)) {
            used("server.cpu", "server.cpu_us_per_msg", at_end_ns, cpu_ns);
        }
        for (name, bytes) in [("generator.rss", after.own_bytes), ("server.rss", after.server_bytes)] {
            if let Some(bytes) = bytes {
                values.insert(name, Value::Number(bytes as f64));
            }
        }
        let run = Run {
            values,
            findings: Vec::new(),
            measured: Duration::from_nanos(conduct.end_ns.saturating_sub(conduct.measure_ns)),
            series: conduct.series.clone(),
            errors: opened.trouble.counts.iter().map(|(text, count)| (text.clone(), *count)).collect(),
        };
        Played { run, conduct, opened, threads, counts }
    }
}

fn message_values(counts: &Counts, rate: f64) -> Values {
    let mut values = Values::new();
    values.insert("rate", Value::Number(rate));
    for (name, count) in [
        ("sent", counts.sent),
        ("received", counts.received),
        ("unanswered", counts.unanswered),
        ("loss", counts.loss),
        ("duplicates", counts.duplicates),
        ("reordered", counts.reordered),
        ("corrupted", counts.corrupted),
        ("negative", counts.negative),
    ] {
        values.insert(name, Value::Count(count));
    }
    values
}
