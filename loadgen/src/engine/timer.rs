//! Waking at a time exact to some microseconds: epoll's own timeout counts milliseconds. Imports nothing.

use std::{io, os::fd::AsRawFd, os::fd::OwnedFd};

use mio::{Interest, Registry, Token, unix::SourceFd};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime};

/// A timer that makes its token ready.
pub struct Timer {
    descriptor: OwnedFd,
    /// When it is set to go off, in nanoseconds of the caller's clock.
    due_ns: Option<u64>,
}

impl Timer {
    /// A timer that is not set.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new(registry: &Registry, token: Token) -> io::Result<Timer> {
        let descriptor = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        registry.register(&mut SourceFd(&descriptor.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Timer { descriptor, due_ns: None })
    }

    /// Goes off at `due_ns`, which is after `now_ns`; both of the same clock. Setting it to the same time again costs nothing.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set(&mut self, due_ns: u64, now_ns: u64) -> io::Result<()> {
        if self.due_ns == Some(due_ns) {
            return Ok(());
        }
        self.due_ns = Some(due_ns);
        let wait_ns = due_ns.saturating_sub(now_ns).max(1);
        let it_value = Timespec { tv_sec: (wait_ns / 1_000_000_000) as i64, tv_nsec: (wait_ns % 1_000_000_000) as i64 };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value };
        timerfd_settime(&self.descriptor, TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }
}
