//! The one clock of a run: monotonic nanoseconds since the run's epoch. Every time in this crate is such a number. Imports nothing.

use std::time::Instant;

/// Read by all threads; a copy reads the same clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    epoch: Instant,
}

impl Clock {
    /// A clock that shows 0 now.
    pub fn start() -> Clock {
        Clock { epoch: Instant::now() }
    }

    /// Nanoseconds since the epoch; 64 bits last for 584 years.
    #[inline]
    pub fn now_ns(self) -> u64 {
        self.epoch.elapsed().as_nanos() as u64
    }
}
