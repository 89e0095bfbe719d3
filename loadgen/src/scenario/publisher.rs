//! One publisher, over a WebSocket or over HTTP: which publication is next, and how late it went. Imports `publications` and `pace`.

use super::{
    pace::{Lag, Pace},
    publications::{Completion, Publications},
};
use crate::{engine::Timeline, payload::Marker, plan::Plan, stats::Latency};

/// A publisher's schedule and account.
pub struct Publisher {
    /// Its number, which its markers carry.
    pub number: usize,
    /// Open loop: publications that have come due.
    pub due: u64,
    /// What it did.
    pub tally: PublisherTally,
    closed: Option<Closed>,
    /// Since when the next publication may go, as far as the server is concerned.
    free_ns: u64,
    /// The publication that is being sent.
    current: Option<Current>,
    measure_ns: u64,
}

/// What a closed loop goes by: the next publication goes when the last has reached all.
struct Closed {
    start_ns: u64,
    end_ns: u64,
    /// Publications that are left to be measured.
    left: Option<u64>,
    /// How long a publication may be on its way before the next goes nevertheless.
    timeout_ns: u64,
    /// When the last one was intended.
    last_ns: Option<u64>,
}

struct Current {
    seq: u64,
    intended_ns: u64,
    begun_ns: u64,
}

/// What was measured of publishers.
#[derive(Default)]
pub struct PublisherTally {
    /// How late publications went.
    pub lag: Lag,
    /// Over HTTP: answer less handed to the kernel.
    pub answer: Latency,
    /// First, median, last delivery.
    pub completion: Completion,
    /// Publications handed to the kernel, of those measured.
    pub sent: u64,
    /// Publications that came due and did not go.
    pub unsent: u64,
    /// Their deliveries, censored.
    pub undelivered: Latency,
}

impl Publisher {
    /// A publisher that has published nothing.
    pub fn new(number: usize, timeline: Option<&Timeline>) -> Publisher {
        Publisher {
            number,
            due: 0,
            tally: PublisherTally::default(),
            closed: None,
            free_ns: 0,
            current: None,
            measure_ns: timeline.map_or(u64::MAX, |timeline| timeline.measure_ns),
        }
    }

    /// The load may begin.
    pub fn begin(&mut self, timeline: &Timeline, plan: &Plan) {
        self.measure_ns = timeline.measure_ns;
        if plan.traffic.rate.is_none() {
            let share = |count: u64| (count + (plan.fanout.publishers - 1 - self.number) as u64) / plan.fanout.publishers as u64;
            self.closed = Some(Closed {
                start_ns: timeline.start_ns,
                end_ns: timeline.end_ns,
                left: plan.count.map(share),
                timeout_ns: plan.timeout.as_nanos() as u64,
                last_ns: None,
            });
        }
    }

    /// The next publication that may go now, and how many deliveries it is to have. It must be sent and then [`handed`](Publisher::handed).
    pub fn next(&mut self, pace: Option<&Pace>, now_ns: u64, publications: &Publications) -> Option<(Marker, u32)> {
        let seq = publications.next(self.number);
        let intended_ns = match (pace, &mut self.closed) {
            (Some(pace), _) if seq < self.due => pace.intended_ns(self.number, seq),
            (None, Some(closed)) => closed.next(self.number, now_ns, self.measure_ns, publications)?,
            _ => return None,
        };
        let measured = intended_ns >= self.measure_ns;
        let (seq, subscribers) = publications.begin(self.number, intended_ns, now_ns, measured, &mut self.tally.completion);
        self.current = Some(Current { seq, intended_ns, begun_ns: now_ns });
        Some((Marker { sender: self.number as u32, seq, intended_ns }, subscribers))
    }

    /// The kernel has all of the publication.
    pub fn handed(&mut self, handed_ns: u64, publications: &Publications) {
        let Some(Current { seq, intended_ns, begun_ns }) = self.current.take() else { return };
        publications.handed(self.number, seq, handed_ns);
        if intended_ns >= self.measure_ns {
            self.tally.sent += 1;
            self.tally.lag.record(intended_ns, self.free_ns, begun_ns, handed_ns);
        }
        self.free_ns = handed_ns;
    }

    /// The server has answered, so that the next publication may go.
    pub fn answered(&mut self, intended_ns: u64, handed_ns: u64, now_ns: u64) {
        if intended_ns >= self.measure_ns {
            self.tally.answer.record(now_ns - handed_ns);
        }
        self.free_ns = now_ns;
    }

    /// The server did not take the publication: it is withdrawn, unless a subscriber has it all the same. Gives whether it was withdrawn.
    pub fn failed(&mut self, now_ns: u64, publications: &Publications) -> bool {
        let Some(&Current { seq, intended_ns, begun_ns }) = self.current.as_ref() else { return false };
        let withdrawn = publications.withdraw(self.number, seq, now_ns);
        if withdrawn {
            self.current = None;
            self.tally.unsent += u64::from(intended_ns >= self.measure_ns);
        } else {
            self.handed(begun_ns, publications);
        }
        self.free_ns = now_ns;
        withdrawn
    }

    /// Whether a closed loop has published its share and seen it delivered. An open loop ends by its schedule.
    pub fn is_done(&self, publications: &Publications) -> bool {
        self.closed.as_ref().is_some_and(|closed| closed.left == Some(0)) && publications.completed_ns(self.number).is_some()
    }

    /// The end.
    pub fn finish(&mut self, pace: Option<&Pace>, publications: &Publications, now_ns: u64) {
        if let Some(pace) = pace {
            let subscribers = publications.subscribers_of(self.number);
            for age_ns in pace.ages(self.number, publications.next(self.number), self.measure_ns, now_ns) {
                self.tally.unsent += 1;
                self.tally.undelivered.censor_all(age_ns, u64::from(subscribers));
                self.tally.completion.censor(age_ns);
            }
        }
        publications.finish(self.number, now_ns, &mut self.tally.completion);
    }
}

impl Closed {
    /// When the next publication is intended, if it may go now.
    fn next(&mut self, publisher: usize, now_ns: u64, measure_ns: u64, publications: &Publications) -> Option<u64> {
        let intended_ns = match self.last_ns {
            None => now_ns.max(self.start_ns),
            Some(last_ns) => publications.completed_ns(publisher).or_else(|| (now_ns >= last_ns + self.timeout_ns).then_some(now_ns))?,
        };
        if intended_ns > now_ns || now_ns >= self.end_ns || self.left == Some(0) {
            return None;
        }
        if let (Some(left), true) = (&mut self.left, intended_ns >= measure_ns) {
            *left -= 1;
        }
        self.last_ns = Some(now_ns);
        Some(intended_ns)
    }
}

impl PublisherTally {
    /// Takes in another publisher's.
    pub fn merge(&mut self, other: &PublisherTally) {
        self.lag.merge(&other.lag);
        self.answer.merge(&other.answer);
        self.completion.merge(&other.completion);
        self.sent += other.sent;
        self.unsent += other.unsent;
        self.undelivered.merge(&other.undelivered);
    }
}
