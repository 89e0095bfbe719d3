//! Echo: every message comes back on its connection. In a closed loop a connection sends when its last message is answered; in an open loop by
//! the [`Pace`], whatever the server does. Imports `pace` and `window`.

use std::{collections::HashSet, num::NonZeroU64, sync::atomic::Ordering::Relaxed};

use super::{
    Counts,
    pace::{Lag, Pace},
    window::{Answer, Outstanding, Window},
};
use crate::{
    engine::{Io, Scenario, Sent, Timeline, count},
    payload::{Found, Marker, Payloads, fingerprint},
    plan::Plan,
    stats::Latency,
};

/// One thread's part of an echo run.
pub struct Echo {
    payloads: Payloads,
    marked: bool,
    peers: Vec<Option<Peer>>,
    /// Open loop alone.
    pace: Option<Pace>,
    /// Closed loop: connections that may send now, each with the time since when.
    free: Vec<(usize, u64)>,
    /// Closed loop: what is left of this thread's share of `-n`.
    left: Option<u64>,
    timeline: Option<Timeline>,
    /// Connections that are not there to send: their numbers, and the first message that each did not send.
    absent: Vec<(usize, u64)>,
    outstanding: u64,
    tally: EchoTally,
}

/// What was measured.
#[derive(Default)]
pub struct EchoTally {
    /// Answer less intended send.
    pub response: Latency,
    /// Answer less handed to the kernel.
    pub service: Latency,
    /// How late messages went.
    pub lag: Lag,
    /// How many of what.
    pub counts: Counts,
}

/// One connection.
struct Peer {
    number: usize,
    window: Window,
    /// Open loop: messages that have come due.
    due: u64,
    /// When the kernel last took what it had refused.
    freed_ns: u64,
    /// The message of which the kernel has not taken all: when it was begun.
    begun_ns: Option<u64>,
    /// Bytes of the last answer that was known again; 0 before the first.
    answer_bytes: usize,
}

/// Messages of a thread that may wait for their answers, so that a server that reads and never answers does not fill our memory.
const OUTSTANDING_MAX: u64 = 1 << 20;

impl EchoTally {
    /// Takes in another thread's.
    pub fn merge(&mut self, other: &EchoTally) {
        self.response.merge(&other.response);
        self.service.merge(&other.service);
        self.lag.merge(&other.lag);
        self.counts.merge(&other.counts);
    }
}

impl Echo {
    /// For one thread of a plan.
    pub fn new(plan: &Plan, payloads: &Payloads, thread: usize) -> Echo {
        let share = |count: u64| (count + (plan.threads - 1 - thread) as u64) / plan.threads as u64;
        Echo {
            payloads: payloads.clone(),
            marked: payloads.marked(),
            peers: Vec::new(),
            pace: None,
            free: Vec::new(),
            left: plan.count.map(share),
            timeline: None,
            absent: Vec::new(),
            outstanding: 0,
            tally: EchoTally::default(),
        }
    }

    fn measured(&self, intended_ns: u64) -> bool {
        self.timeline.is_some_and(|timeline| intended_ns >= timeline.measure_ns)
    }

    /// Sends the connection's next message, which is free to go since `free_ns`.
    fn send(&mut self, key: usize, intended_ns: u64, free_ns: u64, io: &mut Io) {
        let Some(Some(peer)) = self.peers.get_mut(key) else { return };
        let marker = Marker { sender: peer.number as u32, seq: peer.window.next(), intended_ns };
        let handed_ns = match io.send_message(key, &marker) {
            Sent::Gone => return,
            Sent::Whole(handed_ns) => Some(handed_ns),
            Sent::Partly(begun_ns) => {
                (peer.begun_ns, peer.freed_ns) = (Some(begun_ns), free_ns);
                None
            }
        };
        peer.window.push(Outstanding { intended_ns, handed_ns: handed_ns.and_then(NonZeroU64::new), fingerprint: io.fingerprint() });
        self.outstanding += 1;
        count(&io.progress().expected, 1);
        if let Some(handed_ns) = handed_ns {
            self.went(intended_ns, free_ns, handed_ns, handed_ns, io);
        }
    }

    fn went(&mut self, intended_ns: u64, free_ns: u64, begun_ns: u64, handed_ns: u64, io: &Io) {
        count(&io.progress().sent, 1);
        if self.measured(intended_ns) {
            self.tally.counts.sent += 1;
            self.tally.lag.record(intended_ns, free_ns, begun_ns, handed_ns);
        }
    }

    /// Open loop: sends what has come due on this connection, as long as the kernel takes it.
    fn catch_up(&mut self, key: usize, io: &mut Io) {
        while let (Some(pace), Some(Some(peer))) = (&self.pace, self.peers.get(key)) {
            let may = io.is_free(key) && !io.control.is_stopped() && self.outstanding < OUTSTANDING_MAX;
            if peer.window.next() >= peer.due || !may {
                return;
            }
            let (intended_ns, freed_ns) = (pace.intended_ns(peer.number, peer.window.next()), peer.freed_ns);
            self.send(key, intended_ns, freed_ns, io);
        }
    }

    /// Open loop: an answer came, so that messages may go again that were held back because too many were unanswered.
    fn resume(&mut self, key: usize, io: &mut Io) {
        if let Some(Some(peer)) = self.peers.get_mut(key)
            && peer.window.next() < peer.due
            && peer.begun_ns.is_none()
        {
            peer.freed_ns = io.received_ns();
            self.catch_up(key, io);
        }
    }

    fn answered(&mut self, answer: Answer, io: &Io) {
        let now_ns = io.received_ns();
        let (message, late) = match answer {
            Answer::To(message) => (message, false),
            Answer::Late(message) => (message, true),
            Answer::Again => {
                self.tally.counts.duplicates += 1;
                return;
            }
            Answer::Unknown => {
                self.tally.counts.corrupted += 1;
                return;
            }
            Answer::Corrupted(_) => {
                self.tally.counts.corrupted += 1;
                return self.settled(io);
            }
        };
        self.settled(io);
        if self.measured(message.intended_ns) {
            self.tally.counts.reordered += u64::from(late);
            self.tally.counts.answer(now_ns, self.timeline.map_or(u64::MAX, |timeline| timeline.end_ns));
            let service_ns = now_ns.checked_sub(message.handed_ns.map_or(now_ns, NonZeroU64::get));
            match (now_ns.checked_sub(message.intended_ns), service_ns) {
                (Some(response_ns), Some(service_ns)) => {
                    self.tally.response.record(response_ns);
                    self.tally.service.record(service_ns);
                }
                _ => self.tally.counts.negative += 1,
            }
        }
    }

    /// One message less is on its way.
    fn settled(&mut self, io: &Io) {
        self.outstanding -= 1;
        count(&io.progress().received, 1);
    }

    /// A message that will not be answered, or is not by the end.
    fn censor(&mut self, message: &Outstanding, lost: bool, now_ns: u64) {
        if self.measured(message.intended_ns) {
            self.tally.counts.unanswered += 1;
            self.tally.counts.loss += u64::from(lost);
            self.tally.response.censor(now_ns.saturating_sub(message.intended_ns));
            if let Some(handed_ns) = message.handed_ns {
                self.tally.service.censor(now_ns.saturating_sub(handed_ns.get()));
            }
        }
    }

    /// Ends a connection's account.
    fn close_account(&mut self, peer: &Peer, gone: bool, now_ns: u64) {
        let unanswered: Vec<_> = peer.window.unanswered().collect();
        for (message, overtaken) in unanswered {
            self.outstanding -= 1;
            self.censor(&message, gone || overtaken, now_ns);
        }
        self.absent.push((peer.number, peer.window.next()));
    }
}

impl Scenario for Echo {
    type Tally = EchoTally;

    fn opened(&mut self, key: usize, io: &mut Io) {
        if self.peers.len() <= key {
            self.peers.resize_with(key + 1, || None);
        }
        let number = io.number(key);
        self.peers[key] = Some(Peer { number, window: Window::default(), due: 0, freed_ns: 0, begun_ns: None, answer_bytes: 0 });
        io.settle(key);
    }

    fn begin(&mut self, timeline: &Timeline, io: &mut Io) {
        self.timeline = Some(*timeline);
        let members = self.peers.iter().enumerate().filter_map(|(key, peer)| Some((peer.as_ref()?.number, key)));
        let members: Vec<_> = members.collect();
        let open: HashSet<usize> = members.iter().map(|&(number, _)| number).collect();
        let ours = (io.thread..io.plan.connections).step_by(io.plan.threads);
        self.absent.extend(ours.filter(|number| !open.contains(number)).map(|number| (number, 0)));
        match io.plan.traffic.rate {
            Some(rate) => self.pace = Some(Pace::new(timeline.start_ns, timeline.end_ns, rate, io.plan.connections, members)),
            None => self.free = members.into_iter().map(|(_, key)| (key, timeline.start_ns)).collect(),
        }
    }

    fn due_ns(&self) -> Option<u64> {
        match (&self.pace, &self.timeline) {
            (Some(pace), _) => pace.due_ns(),
            (None, Some(timeline)) if !self.free.is_empty() => Some(timeline.start_ns),
            _ => None,
        }
    }

    fn turn(&mut self, io: &mut Io) {
        let Some(timeline) = self.timeline else { return };
        let now_ns = io.now_ns();
        if self.pace.is_some() {
            while let Some(key) = self.pace.as_mut().and_then(|pace| pace.next_due(now_ns)) {
                if let Some(Some(peer)) = self.peers.get_mut(key) {
                    peer.due += 1;
                    self.catch_up(key, io);
                }
            }
        } else if now_ns >= timeline.start_ns {
            let over = now_ns >= timeline.end_ns || io.control.is_stopped();
            for (key, free_ns) in std::mem::take(&mut self.free) {
                let measured = free_ns >= timeline.measure_ns;
                if over || self.left == Some(0) {
                    continue;
                }
                if let (Some(left), true) = (&mut self.left, measured) {
                    *left -= 1;
                }
                self.send(key, free_ns, free_ns, io);
            }
        }
        let sent_all = self.left == Some(0) && self.outstanding == 0;
        if sent_all || self.peers.iter().all(Option::is_none) {
            io.progress().done.store(true, Relaxed);
        }
    }

    fn handed(&mut self, key: usize, at_ns: u64, io: &mut Io) {
        let Some(Some(peer)) = self.peers.get_mut(key) else { return };
        if let Some(begun_ns) = peer.begun_ns.take()
            && let Some(message) = peer.window.handed(at_ns)
        {
            let free_ns = std::mem::replace(&mut peer.freed_ns, at_ns);
            self.went(message.intended_ns, free_ns, begun_ns, at_ns, io);
        }
        self.catch_up(key, io);
    }

    fn message(&mut self, key: usize, payload: &[u8], io: &mut Io) {
        let Some(Some(peer)) = self.peers.get_mut(key) else { return };
        let fingerprint = fingerprint(payload);
        let answer = if let Some(answer) = peer.window.answer_first(fingerprint) {
            peer.answer_bytes = payload.len();
            answer
        } else if self.marked {
            match self.payloads.find(payload) {
                Found::Marker(marker) if marker.sender == peer.number as u32 => {
                    peer.answer_bytes = payload.len();
                    peer.window.answer(marker.seq)
                }
                // A greeting, or something else that the server says by itself; what is as long as an answer must be one.
                Found::None if payload.len() < peer.answer_bytes || peer.answer_bytes == 0 => return,
                Found::Marker(_) | Found::Corrupted | Found::None => peer.window.answer_unknown(),
            }
        } else {
            match peer.window.answer_same(fingerprint) {
                Answer::Unknown => peer.window.answer_unknown(),
                answer => answer,
            }
        };
        let closed_loop_goes_on = self.pace.is_none() && answer.settles() && peer.window.is_empty();
        let given_up = peer.window.give_up();
        self.answered(answer, io);
        if let Some(message) = given_up {
            self.outstanding -= 1;
            self.censor(&message, true, io.received_ns());
        }
        if closed_loop_goes_on {
            self.free.push((key, io.received_ns()));
        } else if self.pace.is_some() {
            self.resume(key, io);
        }
    }

    fn ended(&mut self, key: usize, io: &mut Io) {
        if let Some(peer) = self.peers.get_mut(key).and_then(Option::take) {
            self.close_account(&peer, true, io.now_ns());
        }
    }

    fn finish(&mut self, quiet: bool, io: &mut Io) -> EchoTally {
        let now_ns = io.now_ns();
        for peer in std::mem::take(&mut self.peers).into_iter().flatten() {
            self.close_account(&peer, quiet, now_ns);
        }
        // What was to be sent and could not be: its response time is at least its age.
        if let (Some(pace), Some(timeline)) = (&self.pace, &self.timeline) {
            for &(number, from) in &self.absent {
                for age_ns in pace.ages(number, from, timeline.measure_ns, now_ns) {
                    self.tally.counts.unsent += 1;
                    self.tally.response.censor(age_ns);
                }
            }
        }
        std::mem::take(&mut self.tally)
    }
}
