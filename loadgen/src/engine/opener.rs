//! When a thread's connections are opened, and what became of them. Imports `stats`.

use std::collections::BTreeMap;

use crate::{plan::Plan, stats::Latency};

/// The pace of one thread: which connection is next, and when. Thread t of T opens the connections t, t + T, t + 2T, ...
#[derive(Debug)]
pub struct Opener {
    threads: usize,
    /// The next connection's number.
    next: usize,
    /// Handshakes of this thread under way, and the most of these.
    under_way: usize,
    under_way_max: usize,
    /// With `--close`: connections of this thread that stand, and the most of these.
    standing: usize,
    standing_max: usize,
    /// With `--close` and `-n`: connections that are still to be begun of those that are measured.
    left: Option<u64>,
    /// Nanoseconds between two connections of all threads together.
    interval_ns: Option<f64>,
    /// When the schedule began, and with which connection.
    began: Option<(u64, usize)>,
}

impl Opener {
    /// A thread's share of the opening.
    pub fn new(plan: &Plan, thread: usize) -> Opener {
        let opening = &plan.opening;
        let share = |all: usize| (all + plan.threads - 1 - thread) / plan.threads;
        Opener {
            threads: plan.threads,
            next: thread,
            under_way: 0,
            under_way_max: share(opening.inflight).max(1),
            standing: 0,
            standing_max: if opening.close { share(plan.connections) } else { usize::MAX },
            left: plan.count.filter(|_| opening.close).map(|count| share(count as usize) as u64),
            interval_ns: opening.rate.map(|rate| 1e9 / rate),
            began: None,
        }
    }

    /// The next connection below `target` that may begin by now, with its intended time; `measured` says that warm-up is over.
    pub fn next(&mut self, target: usize, now_ns: u64, measured: bool) -> Option<(usize, u64)> {
        let intended_ns = self.due_ns(target, now_ns).filter(|&due_ns| due_ns <= now_ns)?;
        if let (Some(left), true) = (&mut self.left, measured) {
            *left -= 1;
        }
        let number = self.next;
        self.next += self.threads;
        self.under_way += 1;
        self.standing += 1;
        Some((number, intended_ns))
    }

    /// When the next connection below `target` is due, if nothing but time keeps it.
    pub fn due_ns(&mut self, target: usize, now_ns: u64) -> Option<u64> {
        if self.next >= target {
            // The next target has a schedule of its own.
            self.began = None;
            return None;
        }
        let may = self.under_way < self.under_way_max && self.standing < self.standing_max && self.left != Some(0);
        may.then(|| self.intended_ns(now_ns))
    }

    /// A handshake is over, whatever came of it.
    pub fn settled(&mut self) {
        self.under_way -= 1;
    }

    /// A connection is gone.
    pub fn gone(&mut self) {
        self.standing -= 1;
    }

    /// Whether all that is to be measured has been opened and is gone.
    pub fn is_done(&self) -> bool {
        self.left == Some(0) && self.standing == 0
    }

    fn intended_ns(&mut self, now_ns: u64) -> u64 {
        match self.interval_ns {
            None => now_ns,
            Some(interval_ns) => {
                // All threads begin at about the same time, each with a connection of the first T.
                let (began_ns, first) = *self.began.get_or_insert((now_ns, self.next - self.next % self.threads));
                began_ns + ((self.next - first) as f64 * interval_ns) as u64
            }
        }
    }
}

/// What opening came to, in one thread or, merged, in all.
pub struct Opened {
    /// From `connect()` to connected.
    pub tcp: Latency,
    /// From there through the TLS handshake.
    pub tls: Latency,
    /// From the request to the verified response.
    pub upgrade: Latency,
    /// From `connect()` to the verified response.
    pub total: Latency,
    /// From the intended time to the verified response.
    pub response: Latency,
    /// Connections on which permessage-deflate was agreed.
    pub deflated: u64,
    /// When the last connection was open.
    pub last_ns: u64,
    /// Connections that could not be opened, or ended too soon.
    pub failed: u64,
    /// What went wrong.
    pub trouble: Trouble,
}

/// What went wrong, by its text, and the first case of a peer that broke the protocol.
#[derive(Debug, Default)]
pub struct Trouble {
    /// How often each happened; at most 32 texts, what is beyond is counted under one.
    pub counts: BTreeMap<String, u64>,
    /// The error and the bytes that the peer sent.
    pub bad_peer: Option<(String, Vec<u8>)>,
    /// On how many connections a peer did that.
    pub bad_peers: u64,
    /// A connection had no local port.
    pub ports_ran_out: bool,
    /// A connection got no descriptor.
    pub descriptors_ran_out: bool,
}

/// Different texts kept.
const TEXTS_MAX: usize = 32;
/// Bytes kept of what a peer sent.
const BAD_BYTES_MAX: usize = 256;

impl Trouble {
    /// Counts one case.
    pub fn count(&mut self, text: &str) {
        self.add(text, 1);
    }

    /// Keeps the first case of a broken protocol.
    pub fn bad_peer(&mut self, text: &str, bytes: &[u8]) {
        self.bad_peers += 1;
        self.bad_peer.get_or_insert_with(|| (text.into(), bytes[..bytes.len().min(BAD_BYTES_MAX)].into()));
    }

    /// Takes in another thread's.
    pub fn merge(&mut self, other: Trouble) {
        other.counts.iter().for_each(|(text, count)| self.add(text, *count));
        self.bad_peers += other.bad_peers;
        self.bad_peer = self.bad_peer.take().or(other.bad_peer);
        self.ports_ran_out |= other.ports_ran_out;
        self.descriptors_ran_out |= other.descriptors_ran_out;
    }

    fn add(&mut self, text: &str, count: u64) {
        let text = if self.counts.len() < TEXTS_MAX || self.counts.contains_key(text) { text } else { "other errors" };
        *self.counts.entry(text.into()).or_default() += count;
    }
}

impl Default for Opened {
    fn default() -> Opened {
        let [tcp, tls, upgrade, total, response] = std::array::from_fn(|_| Latency::new());
        Opened { tcp, tls, upgrade, total, response, deflated: 0, last_ns: 0, failed: 0, trouble: Trouble::default() }
    }
}

impl Opened {
    /// Takes in another thread's.
    pub fn merge(&mut self, other: Opened) {
        self.tcp.merge(&other.tcp);
        self.tls.merge(&other.tls);
        self.upgrade.merge(&other.upgrade);
        self.total.merge(&other.total);
        self.response.merge(&other.response);
        self.deflated += other.deflated;
        self.last_ns = self.last_ns.max(other.last_ns);
        self.failed += other.failed;
        self.trouble.merge(other.trouble);
    }
}
