//! One call of a scenario: its preconditions, its runs, what is to be said of them, and the exit code. Imports all rooms but the doctor.

use std::{
    fs::File,
    io::{self, BufWriter, IsTerminal, Write},
    net::SocketAddr,
    process,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::json;

use crate::{
    engine::Destinations,
    metrics::Scenario,
    plan::{Json, Plan},
    report::{Outcome, Report, Run, ServerFacts, json, progress::Progress, table},
    scenario::{Played, Stage, play},
    stats::{Latency, Line, Quantile},
    system::{
        limits::{OpenFiles, Ports},
        listener,
        machine::Machine,
        process::ProcessTree,
    },
    threshold::Judgement,
    values::{Value, Values},
    verdict::{self, BadPeer, CpuUse, Deflate, Observed, OpenLoop, ServerUse, Slope, Supply},
};

/// Why there is nothing to report, with the exit code.
#[derive(Debug)]
pub struct Refusal {
    /// One line.
    pub text: String,
    /// 1: could not run; 3: the machine cannot carry what is asked for.
    pub exit_code: u8,
}

/// What a closed loop cannot tell.
const CLOSED_LOOP: &str = "closed loop: a stall of the server holds back the messages that would have seen it; -R RATE counts them";

/// Plays all runs of a plan and writes the report where the plan says. Gives the exit code. A run that cannot be is the last: if there were others
/// before it, those are reported.
///
/// # Errors
/// What keeps it from running, before anything but the plan is reported; or the report cannot be written.
pub fn run(plan: Plan, argv: Vec<String>, interrupted: &AtomicBool) -> Result<u8, Refusal> {
    let cannot = |text: String| Refusal { text, exit_code: 1 };
    let plan = Arc::new(plan);
    let destinations = Arc::new(Destinations::resolve(&plan).map_err(cannot)?);
    let supplies = Supplies::of(&plan, &destinations)?;
    let mut server = server(&plan, &destinations).map_err(cannot)?;
    let machine = Machine::read();
    let mut report = Report {
        started_unix_ms: unix_time().as_millis() as u64,
        argv,
        plan_line: plan.to_string(),
        scenario: plan.scenario,
        seed: plan.seed,
        labels: plan.labels.clone(),
        machine: machine_facts(&machine),
        server: server.as_ref().map(facts),
        runs: Vec::new(),
        thresholds: Vec::new(),
        notes: Vec::new(),
        interrupted: false,
        broken_off: false,
    };
    if matches!(plan.scenario, Scenario::Echo | Scenario::Fanout) && plan.traffic.rate.is_none() {
        report.notes.push(CLOSED_LOOP.into());
    }
    report.notes.extend(resolved(&plan, &destinations, report.server.as_ref()));
    let unwritten = |error: io::Error| cannot(format!("cannot write the report: {error}"));
    let out = Out::open(plan.json.as_ref()).map_err(cannot)?;
    out.begin(&report).map_err(unwritten)?;
    let mut progress = Progress::new(io::stderr().is_terminal());
    while report.runs.len() < plan.repeat && !interrupted.load(Relaxed) {
        let mut stage = Stage {
            plan: plan.clone(),
            destinations: destinations.clone(),
            server: server.as_mut(),
            interrupted,
            show: &mut |snapshot| progress.show(snapshot),
            run_id: run_id(report.runs.len()),
        };
        let played = play(&mut stage);
        progress.finish();
        let played = match played {
            Ok(played) => played,
            Err(text) if report.runs.is_empty() => return Err(cannot(text)),
            Err(text) => {
                let note = format!("run {} could not be, and there are no more: {text}", report.runs.len() + 1);
                eprintln!("fantail-load: {note}");
                report.notes.push(note);
                report.broken_off = true;
                break;
            }
        };
        let observed = observe(&plan, &machine, &supplies, server.as_mut(), &played);
        report.runs.push(Run { findings: verdict::judge(&observed), ..played.run });
    }
    report.interrupted = interrupted.load(Relaxed);
    let judged = |threshold: &crate::threshold::Threshold| (threshold.to_string(), judge(threshold, &report.runs));
    report.thresholds = plan.thresholds.iter().map(judged).collect();
    out.end(&report).map_err(unwritten)?;
    Ok(Outcome::of(&report).code())
}

/// What the run needs of what is scarce, checked before it.
struct Supplies {
    files: Supply,
    ports: Option<Supply>,
}

impl Supplies {
    fn of(plan: &Plan, destinations: &Destinations) -> Result<Supplies, Refusal> {
        let connections = plan.connections_in_all();
        let (needed, limit) = (OpenFiles::needed(connections), OpenFiles::raise().unwrap_or_else(|_| OpenFiles::read()));
        let too_few = |text| Refusal { text, exit_code: 3 };
        if needed > limit.soft {
            let text = format!(
                "nofile-low: {connections} connections need {needed} open files and the limit is {}: as root, ulimit -Hn {needed}",
                limit.soft
            );
            return Err(too_few(text));
        }
        let ports = Ports::read().map(|ports| {
            let destination = &destinations.urls[0];
            let each = connections.div_ceil(destinations.urls.len() * destination.addresses.len());
            Supply { needed: each as u64, available: ports.available(destination.local.len().max(1)) as u64, refused: 0 }
        });
        if let Some(Supply { needed, available, .. }) = ports.filter(|ports| ports.needed > ports.available) {
            let text = format!(
                "ports-low: {needed} connections to one destination and {available} local ports: give more --local-addr, or \
                 sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\""
            );
            return Err(too_few(text));
        }
        Ok(Supplies { files: Supply { needed, available: limit.soft, refused: 0 }, ports })
    }
}

/// The server's process: the one given, or the one that listens at the URL's address where that is of this machine.
fn server(plan: &Plan, destinations: &Destinations) -> Result<Option<ProcessTree>, String> {
    let found = |address: &SocketAddr| listener::is_local(address.ip()).then(|| listener::listening_on(*address)).flatten();
    match plan.pid {
        Some(pid) => ProcessTree::new(pid).map(Some).map_err(|error| format!("--pid {pid}: {error}")),
        None => Ok(found(&destinations.urls[0].addresses[0]).and_then(|pid| ProcessTree::new(pid).ok())),
    }
}

/// What was chosen here because no flag did, a note each.
fn resolved(plan: &Plan, destinations: &Destinations, server: Option<&ServerFacts>) -> Vec<String> {
    let found = server.filter(|_| plan.pid.is_none()).map(|server| format!("server: process {}, {}", server.pid, server.command.join(" ")));
    let is_automatic = plan.opening.local_addresses.is_empty();
    let spread = destinations.urls.iter().zip(&plan.urls).filter(|(destination, _)| is_automatic && !destination.local.is_empty());
    let spread = spread.map(|(destination, url)| {
        let (first, last) = (destination.local[0], destination.local[destination.local.len() - 1]);
        format!("local addresses: {first} to {last}, as the ports of one do not suffice for {url}")
    });
    found.into_iter().chain(spread).collect()
}

fn facts(server: &ProcessTree) -> ServerFacts {
    ServerFacts { pid: server.pid(), command: server.command_line().unwrap_or_default(), sha256: server.executable_sha256().ok() }
}

fn machine_facts(machine: &Machine) -> serde_json::Map<String, serde_json::Value> {
    let ports = machine.ports.map(|ports| format!("{}-{}", ports.first, ports.last));
    let serde_json::Value::Object(facts) = json!({
        "kernel": machine.kernel,
        "cpu_model": machine.cpu_model,
        "cpus_online": machine.cpus_online,
        "cpus_allowed": machine.cpus_allowed.len(),
        "is_virtual": machine.is_virtual,
        "cpu_quota_millicores": machine.cpu_quota.map(|cores| (cores * 1e3) as u64),
        "governor": machine.governor,
        "clocksource": machine.clocksource,
        "memory_bytes": machine.memory_bytes,
        "swap_bytes": machine.swap_bytes,
        "transparent_huge_pages": machine.transparent_huge_pages,
        "open_files_soft": machine.open_files.soft,
        "open_files_hard": machine.open_files.hard,
        "local_ports": ports,
        "somaxconn": machine.somaxconn,
        "tcp_max_syn_backlog": machine.tcp_max_syn_backlog,
        "tcp_tw_reuse": machine.tcp_tw_reuse,
        "congestion_control": machine.congestion_control,
        "queue_discipline": machine.queue_discipline,
    }) else {
        unreachable!("a literal object");
    };
    facts
}

/// What the verdict goes by.
fn observe(plan: &Plan, machine: &Machine, supplies: &Supplies, server: Option<&mut ProcessTree>, played: &Played) -> Observed {
    let Played { run, conduct, opened, threads, counts } = played;
    let changes = conduct.at_end.counters.since(&conduct.before.counters);
    let server_use = server.map(|server| {
        let busiest =
            conduct.at_end.server.as_ref().zip(conduct.before.server.as_ref()).map(|(after, before)| after.busiest_ns_since(before));
        ServerUse {
            cpu: Duration::from_nanos(conduct.at_end.server_cpu_ns_since(&conduct.before).unwrap_or_default()),
            busiest_thread: Duration::from_nanos(busiest.unwrap_or_default()),
            cpus: server.cpus_allowed().unwrap_or_default(),
            is_same: server.is_same(),
        }
    });
    let is_local = server_use.is_some();
    let agreed = Deflate { opened: opened.total.count(), agreed: opened.deflated };
    Observed {
        scenario: plan.scenario,
        measured: run.measured,
        samples: if counts.received > 0 { counts.received } else { opened.total.count() },
        series: run.series.clone(),
        unjudged: plan.thresholds.iter().filter(|threshold| threshold.lacks_samples(&run.values)).map(ToString::to_string).collect(),
        open_loop: open_loop(plan, played),
        threads: threads.clone(),
        generator_cpus: if plan.pin.is_empty() { machine.cpus_allowed.clone() } else { plan.pin.iter().copied().collect() },
        server: server_use,
        slope: slope(plan, played),
        cpus: CpuUse {
            online: machine.cpus_online,
            busy: changes.busy,
            steal: changes.steal,
            processes: changes.processes,
            throttled: changes.throttled.map(|throttled| Duration::from_nanos(throttled.ns)),
        },
        files: Supply { refused: u64::from(opened.trouble.descriptors_ran_out), ..supplies.files },
        ports: supplies.ports.map(|ports| Supply { refused: u64::from(opened.trouble.ports_ran_out), ..ports }),
        time_wait: conduct.after.counters.time_wait,
        listen_overflows: changes.listen_overflows.filter(|_| is_local),
        deflate: plan.opening.deflate.then_some(agreed),
        bad_peer: opened.trouble.bad_peer.clone().map(|(error, bytes)| BadPeer { connections: opened.trouble.bad_peers, error, bytes }),
    }
}

fn slope(plan: &Plan, played: &Played) -> Option<Slope> {
    let plateaus = &played.conduct.plateaus;
    let points = plateaus.iter().filter_map(|(open, reading)| Some((*open as f64, reading.server_bytes? as f64)));
    let line = Line::fit(&points.collect::<Vec<_>>()).filter(|_| plan.scenario == Scenario::Idle)?;
    let connections = plateaus.last()?.0;
    Some(Slope { per_connection_bytes: line.slope, scatter_bytes: line.residual, connections })
}

fn open_loop(plan: &Plan, played: &Played) -> Option<OpenLoop> {
    let values = &played.run.values;
    let p99 = |name| latency(values, name).map_or(Duration::ZERO, p99_or_less);
    let response_p99 = |name| latency(values, name).map(p99_or_less);
    match plan.scenario {
        Scenario::Echo | Scenario::Fanout => plan.traffic.rate.map(|_| OpenLoop {
            intended: played.counts.sent + played.counts.unsent,
            sent: played.counts.sent,
            lag_own_p99: p99("lag.own"),
            lag_server_p99: p99("lag.server"),
            response_p99: response_p99(if plan.scenario == Scenario::Echo { "response" } else { "delivery" }),
        }),
        Scenario::Connect => plan.opening.rate.map(|_| OpenLoop {
            intended: played.opened.total.count() + played.opened.failed,
            sent: played.opened.total.count() + played.opened.failed,
            lag_own_p99: p99("lag.own"),
            lag_server_p99: Duration::ZERO,
            response_p99: response_p99("connect.response"),
        }),
        Scenario::Idle => None,
    }
}

fn latency<'v>(values: &'v Values, name: &str) -> Option<&'v Latency> {
    match values.get(name) {
        Some(Value::Latency(latency)) => Some(latency),
        _ => None,
    }
}

/// The p99, or with too few samples for it the p90 or the median; of what is only known to be above a bound, the bound.
fn p99_or_less(latency: &Latency) -> Duration {
    let known = [0.99, 0.9, 0.5].into_iter().find_map(|q| match latency.quantile(q) {
        Quantile::Exact(ns) | Quantile::Above(ns) => Some(ns),
        Quantile::TooFew => None,
    });
    Duration::from_nanos(known.unwrap_or_default())
}

/// A threshold over all runs: it holds if it holds in most of them, which is to say of the median.
fn judge(threshold: &crate::threshold::Threshold, runs: &[Run]) -> Judgement {
    let (mut held, mut failed, mut unknown) = (Vec::new(), Vec::new(), None);
    for run in runs {
        match threshold.judge(&run.values) {
            Judgement::Pass { seen } => held.push(seen),
            Judgement::Fail { seen } => failed.push(seen),
            Judgement::Unknown { reason } => unknown = Some(reason),
        }
    }
    let (holds, fails) = (2 * held.len() > runs.len(), 2 * failed.len() >= runs.len().max(1));
    let seen = [held, failed].concat().join(", ");
    match unknown {
        _ if holds => Judgement::Pass { seen },
        _ if fails => Judgement::Fail { seen },
        Some(reason) => Judgement::Unknown { reason },
        None => Judgement::Unknown { reason: "no run was measured".into() },
    }
}

/// Where the report goes, opened before the run: what cannot be written should not take the run's time.
enum Out {
    Json,
    Table { json: Option<File> },
}

impl Out {
    fn open(json: Option<&Json>) -> Result<Out, String> {
        match json {
            Some(Json::Stdout) => Ok(Out::Json),
            Some(Json::File(path)) => {
                let file = File::create(path).map_err(|error| format!("--json {}: {error}", path.display()))?;
                Ok(Out::Table { json: Some(file) })
            }
            None => Ok(Out::Table { json: None }),
        }
    }

    /// The table's first line.
    fn begin(&self, report: &Report) -> io::Result<()> {
        match self {
            Out::Json => Ok(()),
            Out::Table { .. } => table::write_plan(report, &mut io::stdout().lock()),
        }
    }

    /// The rest. The table and the file do not keep each other from being written.
    fn end(self, report: &Report) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        match self {
            Out::Json => json::write(report, &mut stdout).and_then(|()| stdout.flush()),
            Out::Table { json } => {
                let table = table::write(report, &mut stdout).and_then(|()| stdout.flush());
                if let Some(file) = json {
                    let mut file = BufWriter::new(file);
                    json::write(report, &mut file).and_then(|()| file.flush())?;
                }
                table
            }
        }
    }
}

fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Differs between runs, processes and machines as far as 24 bits go.
fn run_id(run: usize) -> u32 {
    let mut random = fastrand::Rng::with_seed(unix_time().as_nanos() as u64 ^ u64::from(process::id()) << 32 ^ run as u64);
    random.u32(..)
}
