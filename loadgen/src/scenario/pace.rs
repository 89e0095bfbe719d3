//! When messages are intended, and how late they went. Imports nothing of the crate but `stats`.

use crate::stats::Latency;

/// The schedule of an open loop: message k of sender i of n is intended at `start + (k·n + i)·interval`, so that all senders together send at a
/// constant rate. One thread has some of the senders and walks through their messages in the order of time.
#[derive(Debug)]
pub struct Pace {
    start_ns: u64,
    end_ns: u64,
    interval_ns: f64,
    senders: usize,
    /// The numbers of this thread's senders, ascending, each with its key.
    members: Vec<(usize, usize)>,
    /// The next message: of which member, and its sequence number.
    member: usize,
    seq: u64,
}

impl Pace {
    /// The schedule of `members`, pairs of number and key, among `senders` in all, at `rate` per second of all together.
    pub fn new(start_ns: u64, end_ns: u64, rate: f64, senders: usize, mut members: Vec<(usize, usize)>) -> Pace {
        members.sort_unstable();
        Pace { start_ns, end_ns, interval_ns: 1e9 / rate, senders, members, member: 0, seq: 0 }
    }

    /// When a message is intended.
    pub fn intended_ns(&self, number: usize, seq: u64) -> u64 {
        self.start_ns + ((seq * self.senders as u64 + number as u64) as f64 * self.interval_ns) as u64
    }

    /// The ages of a sender's messages from one number on, as far as they are measured and were due by now.
    pub fn ages(&self, number: usize, from: u64, measure_ns: u64, now_ns: u64) -> impl Iterator<Item = u64> + '_ {
        let until_ns = self.end_ns.min(now_ns);
        let times = (from..).map(move |seq| self.intended_ns(number, seq)).take_while(move |&intended_ns| intended_ns < until_ns);
        times.filter(move |&intended_ns| intended_ns >= measure_ns).map(move |intended_ns| now_ns - intended_ns)
    }

    /// When the next message is intended; `None` after the end.
    pub fn due_ns(&self) -> Option<u64> {
        let (number, _) = self.members.get(self.member)?;
        Some(self.intended_ns(*number, self.seq)).filter(|&due_ns| due_ns < self.end_ns)
    }

    /// The key of the sender whose next message has come due by now.
    pub fn next_due(&mut self, now_ns: u64) -> Option<usize> {
        self.due_ns().filter(|&due_ns| due_ns <= now_ns)?;
        let key = self.members[self.member].1;
        self.member += 1;
        if self.member == self.members.len() {
            (self.member, self.seq) = (0, self.seq + 1);
        }
        Some(key)
    }
}

/// How late messages were handed to the kernel, and whose fault that was.
#[derive(Default)]
pub struct Lag {
    /// Ours: the message could have gone and did not.
    pub own: Latency,
    /// The server's: it did not read, or not answer the message that had to be answered first.
    pub server: Latency,
}

impl Lag {
    /// A message that was intended at one time, could go since another, was begun to be sent, and was wholly with the kernel.
    pub fn record(&mut self, intended_ns: u64, free_ns: u64, begun_ns: u64, handed_ns: u64) {
        let could_ns = intended_ns.max(free_ns);
        self.own.record(begun_ns.saturating_sub(could_ns));
        self.server.record(could_ns - intended_ns + handed_ns.saturating_sub(begun_ns));
    }

    /// Takes in another thread's.
    pub fn merge(&mut self, other: &Lag) {
        self.own.merge(&other.own);
        self.server.merge(&other.server);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Quantile;

    #[test]
    fn two_threads_together_send_at_a_constant_rate() {
        let mut threads = [vec![(2, 20), (0, 10)], vec![(1, 10)]].map(|members| Pace::new(1_000, 1_900, 10_000_000.0, 3, members));
        let mut times = Vec::new();
        for pace in &mut threads {
            while let Some(due_ns) = pace.due_ns() {
                assert_eq!(pace.next_due(due_ns - 1), None);
                times.push((due_ns, pace.next_due(due_ns).unwrap()));
            }
        }
        times.sort_unstable();
        let expected = (0..9).map(|i| (1_000 + i * 100, [10, 10, 20][i as usize % 3]));
        assert_eq!(times, expected.collect::<Vec<_>>());
    }

    #[test]
    fn lag_is_split_at_the_time_since_when_it_could_go() {
        let mut lag = Lag::default();
        lag.record(1_000, 400, 1_030, 1_030);
        lag.record(2_000, 2_500, 2_510, 2_600);
        assert_eq!((lag.own.min(), lag.own.max()), (Quantile::Exact(10), Quantile::Exact(30)));
        assert_eq!((lag.server.min(), lag.server.max()), (Quantile::Exact(0), Quantile::Exact(590)));
    }
}
