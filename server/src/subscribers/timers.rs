//! When feeds are due. A feed is delivered at multiples of its interval, so all that have one interval are due together, and a connection with many
//! channels is written to once for all of them.

/// The feeds that wait, by interval. There are few intervals: one for each `flush_ms` and each rate of the configuration.
#[derive(Debug, Default)]
pub struct Timers(Vec<Timer>);

#[derive(Debug)]
struct Timer {
    interval_ms: u32,
    /// Milliseconds since the worker began, modulo 2³².
    due_ms: u32,
    feeds: Vec<u64>,
}

impl Timers {
    /// The feed is due at the next multiple of the interval; at once where that is 0.
    pub fn add(&mut self, feed: u64, interval_ms: u32, now_ms: u32) {
        let at = match self.0.iter().position(|timer| timer.interval_ms == interval_ms) {
            Some(at) => at,
            None => {
                self.0.push(Timer { interval_ms, due_ms: now_ms, feeds: Vec::new() });
                self.0.len() - 1
            }
        };
        let timer = &mut self.0[at];
        if timer.feeds.is_empty() {
            timer.due_ms = now_ms.checked_div(interval_ms).map_or(now_ms, |multiple| multiple.wrapping_add(1).wrapping_mul(interval_ms));
        }
        timer.feeds.push(feed);
    }

    /// When the next feed is due.
    pub fn next_due_ms(&self) -> Option<u32> {
        let waiting = self.0.iter().filter(|timer| !timer.feeds.is_empty()).map(|timer| timer.due_ms);
        waiting.reduce(earlier)
    }

    /// Moves all feeds that are due to `due`.
    pub fn take_due(&mut self, now_ms: u32, due: &mut Vec<u64>) {
        let is_due = |timer: &&mut Timer| now_ms.wrapping_sub(timer.due_ms) as i32 >= 0;
        self.0.iter_mut().filter(is_due).for_each(|timer| due.append(&mut timer.feeds));
    }
}

/// Which of two times comes first, as they wrap.
pub fn earlier(one_ms: u32, other_ms: u32) -> u32 {
    if other_ms.wrapping_sub(one_ms) as i32 >= 0 { one_ms } else { other_ms }
}
