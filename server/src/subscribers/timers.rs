//! When feeds and heartbeats are due: at multiples of their interval, so that all which have one interval are due together, and a connection with
//! many channels is written to once for all of them.

use std::collections::BTreeSet;

/// Places that wait, by interval. There are few intervals: one for each `flush_ms`, `heartbeat_ms` and rate of the configuration.
#[derive(Debug, Default)]
pub struct Timers(Vec<Timer>);

#[derive(Debug)]
struct Timer {
    interval_ms: u32,
    /// Milliseconds since the worker began, modulo 2³².
    due_ms: u32,
    waiting: BTreeSet<u32>,
}

impl Timers {
    /// The place is due at the next multiple of the interval; at once where that is 0.
    pub fn add(&mut self, place: u32, interval_ms: u32, now_ms: u32) {
        let at = match self.0.iter().position(|timer| timer.interval_ms == interval_ms) {
            Some(at) => at,
            None => {
                self.0.push(Timer { interval_ms, due_ms: now_ms, waiting: BTreeSet::new() });
                self.0.len() - 1
            }
        };
        let timer = &mut self.0[at];
        if timer.waiting.is_empty() {
            timer.due_ms = now_ms.checked_div(interval_ms).map_or(now_ms, |multiple| multiple.wrapping_add(1).wrapping_mul(interval_ms));
        }
        timer.waiting.insert(place);
    }

    /// The place no longer waits, so that clients which come and go leave nothing here.
    pub fn remove(&mut self, place: u32, interval_ms: u32) {
        if let Some(timer) = self.0.iter_mut().find(|timer| timer.interval_ms == interval_ms) {
            timer.waiting.remove(&place);
        }
    }

    /// When the next place is due.
    pub fn next_due_ms(&self) -> Option<u32> {
        let waiting = self.0.iter().filter(|timer| !timer.waiting.is_empty()).map(|timer| timer.due_ms);
        waiting.reduce(earlier)
    }

    /// Moves all places that are due to `due`.
    pub fn take_due(&mut self, now_ms: u32, due: &mut Vec<u32>) {
        let is_due = |timer: &&mut Timer| now_ms.wrapping_sub(timer.due_ms) as i32 >= 0;
        self.0.iter_mut().filter(is_due).for_each(|timer| due.extend(std::mem::take(&mut timer.waiting)));
    }
}

/// Which of two times comes first, as they wrap.
pub fn earlier(one_ms: u32, other_ms: u32) -> u32 {
    if other_ms.wrapping_sub(one_ms) as i32 >= 0 { one_ms } else { other_ms }
}
