//! The kinds of load, and the one who directs a run of any of them. Each scenario is what one thread does with its connections; the director opens,
//! begins, ends and collects. Imports `engine` and what is below it.

pub mod director;
mod echo;
mod fanout;
mod hold;
mod http_publisher;
mod pace;
mod publications;
mod publisher;
pub mod reading;
pub mod run;
mod window;

pub use run::{Played, Stage, play};

/// What became of the messages of a thread, or of all. Warm-up is not counted, but for what cannot be told from it: duplicates and corruption.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Handed to the kernel.
    pub sent: u64,
    /// Due and not sent.
    pub unsent: u64,
    /// Answers, or unique deliveries.
    pub received: u64,
    /// Those of them that came before the load's end.
    pub in_time: u64,
    /// When the last of them came.
    pub last_ns: u64,
    /// Not answered at the end.
    pub unanswered: u64,
    /// Not answered, and not to be expected any more.
    pub loss: u64,
    /// Came again.
    pub duplicates: u64,
    /// Came after a later one.
    pub reordered: u64,
    /// Are not what was sent.
    pub corrupted: u64,
    /// Came before they were intended, so that something measures wrongly.
    pub negative: u64,
}

impl Counts {
    /// Counts an answer or a unique delivery.
    #[inline]
    pub fn answer(&mut self, now_ns: u64, end_ns: u64) {
        self.received += 1;
        self.in_time += u64::from(now_ns < end_ns);
        self.last_ns = now_ns;
    }

    /// Takes in another thread's.
    pub fn merge(&mut self, other: &Counts) {
        let Counts { sent, unsent, received, in_time, last_ns, unanswered, loss, duplicates, reordered, corrupted, negative } = *other;
        self.sent += sent;
        self.unsent += unsent;
        self.received += received;
        self.in_time += in_time;
        self.last_ns = self.last_ns.max(last_ns);
        self.unanswered += unanswered;
        self.loss += loss;
        self.duplicates += duplicates;
        self.reordered += reordered;
        self.corrupted += corrupted;
        self.negative += negative;
    }
}
