//! The one who directs a run: has the connections opened, lets the load begin and end, waits for what is still on its way, and takes the
//! readings of server, generator and machine at the right moments. Imports the scenarios, `system`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use super::{publications::Publications, reading::Reading};
use crate::{
    engine::{Control, Timeline},
    metrics,
    plan::Plan,
    report::progress::Snapshot,
    system::process::ProcessTree,
};

/// How often the director looks.
const TICK: Duration = Duration::from_millis(20);
/// How long answers that still come are waited for after the load's end.
const DRAIN_MAX: Duration = Duration::from_secs(30);
const SECOND_NS: u64 = 1_000_000_000;

/// A run under way, seen from above.
pub struct Director<'a> {
    /// What it does.
    pub plan: &'a Plan,
    /// Shared with its threads.
    pub control: Arc<Control>,
    /// A fan-out's.
    pub publications: Option<&'a Publications>,
    /// The server's process, where it is known.
    pub server: Option<&'a mut ProcessTree>,
    /// Set by a signal.
    pub interrupted: &'a AtomicBool,
    /// Shows how far the run is.
    pub show: &'a mut dyn FnMut(&Snapshot),
}

/// What the director saw of a run.
pub struct Conduct {
    /// What is measured was intended from here ...
    pub measure_ns: u64,
    /// ... to here.
    pub end_ns: u64,
    /// The reading at the beginning of what is measured, ...
    pub before: Reading,
    /// ... at its end, ...
    pub at_end: Reading,
    /// ... and when nothing more was waited for.
    pub after: Reading,
    /// Messages that came in each whole second of what is measured.
    pub series: Vec<u64>,
    /// The plateaus of `idle`: connections open, and the reading then.
    pub plateaus: Vec<(u64, Reading)>,
    /// Nothing more was to be expected at the end.
    pub quiet: bool,
    /// The run did not go on, for this reason.
    pub broken_off: Option<String>,
}

impl Director<'_> {
    /// Directs a run from its first connection to its last answer; the threads, which must have been started, then end.
    pub fn conduct(&mut self) -> Conduct {
        let began_ns = self.now_ns();
        let before = self.reading();
        let mut conduct = Conduct {
            measure_ns: began_ns,
            end_ns: began_ns,
            at_end: before.clone(),
            after: before.clone(),
            before,
            series: Vec::new(),
            plateaus: Vec::new(),
            quiet: true,
            broken_off: None,
        };
        match self.plan.scenario {
            metrics::Scenario::Connect => self.connect(&mut conduct),
            metrics::Scenario::Idle => self.climb(&mut conduct),
            metrics::Scenario::Echo | metrics::Scenario::Fanout => {
                self.open(self.plan.connections_in_all(), &mut conduct);
                let empty = self.publications.and_then(Publications::channel_without_subscribers);
                if let Some(channel) = empty.filter(|_| !self.is_interrupted()) {
                    conduct
                        .broken_off
                        .get_or_insert_with(|| format!("channel {channel} of {} has no subscriber", self.plan.fanout.channels));
                }
                if conduct.broken_off.is_none() && !self.is_interrupted() {
                    self.load(&mut conduct);
                }
            }
        }
        conduct.after = self.reading();
        self.control.close(conduct.quiet);
        conduct
    }

    /// Has connections opened until there are so many, and waits until each is ready or has failed.
    fn open(&mut self, target: usize, conduct: &mut Conduct) {
        self.control.open(target);
        let (mut last, mut since_ns) = (0, self.now_ns());
        loop {
            let (opened, failed) = self.opening();
            let settled = self.control.sum(|progress| &progress.settled);
            if settled >= target as u64 || self.is_interrupted() {
                break;
            }
            if opened == 0 && failed >= self.plan.opening.inflight.min(target) as u64 {
                conduct.broken_off = Some("no connection could be opened".into());
                break;
            }
            if last != opened + failed + settled {
                (last, since_ns) = (opened + failed + settled, self.now_ns());
            } else if opened + failed >= target as u64 && self.since(since_ns) > self.plan.timeout {
                let unsettled = target as u64 - settled;
                conduct.broken_off =
                    Some(format!("{unsettled} of {target} connections were not acknowledged within {:?}", self.plan.timeout));
                break;
            }
            self.tick("opening", target);
        }
        if self.opening().0 == 0 && !self.is_interrupted() {
            conduct.broken_off = Some("no connection could be opened".into());
        }
    }

    /// `connect`: the opening is what is measured.
    fn connect(&mut self, conduct: &mut Conduct) {
        if self.plan.opening.close {
            self.churn(conduct);
        } else {
            self.open(self.plan.connections, conduct);
        }
        conduct.end_ns = self.now_ns();
        conduct.at_end = self.reading();
    }

    /// `connect --close`: as many connections as there is time for.
    fn churn(&mut self, conduct: &mut Conduct) {
        let end_ns = self.begin(self.plan.duration, u64::MAX);
        self.control.open(usize::MAX);
        self.warm_up(conduct);
        let (mut second_ns, mut seen) = (self.now_ns() + SECOND_NS, self.opening().0);
        while self.now_ns() < end_ns && !self.is_interrupted() && !self.control.all_done() {
            self.tick("connecting", 0);
            let (opened, failed) = self.opening();
            if opened == 0 && failed >= self.plan.opening.inflight as u64 {
                conduct.broken_off = Some("no connection could be opened".into());
                break;
            }
            while self.now_ns() >= second_ns {
                conduct.series.push(opened - seen);
                (seen, second_ns) = (opened, second_ns + SECOND_NS);
            }
        }
    }

    /// `idle`: plateaus, each held and then read.
    fn climb(&mut self, conduct: &mut Conduct) {
        for step in 1..=self.plan.steps.count {
            let target = self.plan.connections * step / self.plan.steps.count;
            self.open(target, conduct);
            let since_ns = self.now_ns();
            while self.since(since_ns) < self.plan.steps.settle && !self.is_interrupted() {
                self.tick("holding", target);
            }
            if conduct.broken_off.is_some() || self.is_interrupted() {
                break;
            }
            let reading = self.reading();
            conduct.plateaus.push((self.opening().0 - self.control.sum(|progress| &progress.ended), reading));
        }
        conduct.end_ns = self.now_ns();
        conduct.at_end = self.reading();
    }

    /// `echo` and `fanout`: the load, and what is left on its way.
    fn load(&mut self, conduct: &mut Conduct) {
        // In an open loop the count says when the last message is intended.
        let by_count = match (self.plan.count, self.plan.traffic.rate) {
            (Some(count), Some(rate)) => (count as f64 * 1e9 / rate) as u64,
            _ => u64::MAX,
        };
        let end_ns = self.begin(self.plan.duration, by_count);
        self.warm_up(conduct);
        self.watch(end_ns, conduct);
        conduct.end_ns = self.now_ns().min(end_ns);
        conduct.at_end = self.reading();
        self.control.stop();
        self.drain(conduct);
        if self.control.sum(|progress| &progress.received) == 0 && !self.is_interrupted() {
            conduct.broken_off = Some(format!("none of {} messages was answered", self.control.sum(|progress| &progress.sent)));
        }
    }

    /// Lets the load begin, for a time that begins after the warm-up, and gives its end.
    fn begin(&mut self, duration: Option<Duration>, at_most_ns: u64) -> u64 {
        let start_ns = self.now_ns();
        let measure_ns = start_ns + self.plan.warmup.as_nanos() as u64;
        let duration_ns = duration.map_or(u64::MAX, |duration| duration.as_nanos() as u64).min(at_most_ns);
        let end_ns = measure_ns.saturating_add(duration_ns);
        self.control.begin(Timeline { start_ns, measure_ns, end_ns });
        end_ns
    }

    /// Waits until what is measured begins.
    fn warm_up(&mut self, conduct: &mut Conduct) {
        let measure_ns = self.control.timeline().map_or(0, |timeline| timeline.measure_ns);
        while self.now_ns() + (TICK.as_nanos() as u64) < measure_ns && !self.is_interrupted() {
            self.tick("warming up", 0);
        }
        // To the moment: a reading that is late takes what a short run costs for warm-up.
        thread::sleep(Duration::from_nanos(measure_ns.saturating_sub(self.now_ns())));
        (conduct.measure_ns, conduct.before) = (measure_ns, self.reading());
    }

    /// Waits for the load's end.
    fn watch(&mut self, end_ns: u64, conduct: &mut Conduct) {
        let received = |control: &Control| control.sum(|progress| &progress.received);
        let (mut second_ns, mut seen) = (self.now_ns() + SECOND_NS, received(&self.control));
        let (mut last, mut since_ns) = (seen, self.now_ns());
        while self.now_ns() < end_ns && !self.is_interrupted() && !self.control.all_done() {
            self.tick("measuring", 0);
            let now_received = received(&self.control);
            while self.now_ns() >= second_ns {
                conduct.series.push(now_received - seen);
                (seen, second_ns) = (now_received, second_ns + SECOND_NS);
            }
            if last != now_received {
                (last, since_ns) = (now_received, self.now_ns());
            } else if end_ns == u64::MAX && self.since(since_ns) > self.plan.timeout {
                break;
            }
        }
    }

    /// Waits for what is still on its way: until all has come, or nothing came for a while, or it takes too long.
    fn drain(&mut self, conduct: &mut Conduct) {
        let begun_ns = self.now_ns();
        let (mut last, mut since_ns) = (0, begun_ns);
        loop {
            let received = self.control.sum(|progress| &progress.received);
            if self.control.all_stopped() && received >= self.control.sum(|progress| &progress.expected) {
                return;
            }
            if last != received {
                (last, since_ns) = (received, self.now_ns());
            } else if self.since(since_ns) > self.plan.timeout || self.all_ended() {
                return;
            }
            if self.since(begun_ns) > DRAIN_MAX.max(self.plan.timeout) || self.is_interrupted() {
                conduct.quiet = false;
                return;
            }
            self.tick("waiting for answers", 0);
        }
    }

    /// Whether no connection is left that an answer could come on.
    fn all_ended(&self) -> bool {
        self.opening().0 == self.control.sum(|progress| &progress.ended)
    }

    fn tick(&mut self, phase: &'static str, target: usize) {
        let (opened, failed) = self.opening();
        let snapshot = Snapshot {
            elapsed: Duration::from_nanos(self.now_ns()),
            phase,
            opened,
            target: if target == 0 { self.plan.connections_in_all() as u64 } else { target as u64 },
            sent: self.control.sum(|progress| &progress.sent),
            received: self.control.sum(|progress| &progress.received),
            failed,
        };
        (self.show)(&snapshot);
        thread::sleep(TICK);
    }

    /// Connections opened, and failed, so far.
    fn opening(&self) -> (u64, u64) {
        (self.control.sum(|progress| &progress.opened), self.control.sum(|progress| &progress.failed))
    }

    fn reading(&mut self) -> Reading {
        Reading::take(self.now_ns(), self.server.as_deref_mut())
    }

    fn is_interrupted(&self) -> bool {
        self.interrupted.load(Relaxed) || self.control.is_broken()
    }

    fn now_ns(&self) -> u64 {
        self.control.clock.now_ns()
    }

    fn since(&self, at_ns: u64) -> Duration {
        Duration::from_nanos(self.now_ns().saturating_sub(at_ns))
    }
}
