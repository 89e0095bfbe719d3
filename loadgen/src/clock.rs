//! The one clock of a run: monotonic nanoseconds since the run's epoch. Every time in this crate is such a number. Imports nothing.

use rustix::time::{ClockId, clock_gettime};

/// Read by all threads; a copy reads the same clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    epoch_ns: u64,
}

impl Clock {
    /// A clock that shows 0 now.
    pub fn start() -> Clock {
        Clock { epoch_ns: monotonic_ns() }
    }

    /// Nanoseconds since the epoch; 64 bits last for 584 years.
    #[inline]
    pub fn now_ns(self) -> u64 {
        monotonic_ns() - self.epoch_ns
    }
}

/// The clock behind [`std::time::Instant`], without the arithmetic on seconds, which takes longer than the reading.
#[inline]
fn monotonic_ns() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
