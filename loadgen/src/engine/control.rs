//! What the threads of a run and the one that directs them share: the targets, the timeline, and each thread's progress. Imports `clock`.

use std::sync::{
    OnceLock,
    atomic::{
        AtomicBool, AtomicU64, AtomicUsize,
        Ordering::{Acquire, Relaxed, Release},
    },
};

use mio::Waker;

use crate::clock::Clock;

/// When load is on. Times are of the run's [`Clock`].
#[derive(Clone, Copy, Debug)]
pub struct Timeline {
    /// The first message's intended time.
    pub start_ns: u64,
    /// From here on intended times are measured; before is warm-up.
    pub measure_ns: u64,
    /// No message is intended from here on; `u64::MAX`: until the count is reached.
    pub end_ns: u64,
}

/// Set by the director, read by the threads; each change is followed by [`wake`](Control::wake).
pub struct Control {
    /// The run's clock.
    pub clock: Clock,
    /// How many connections are to be opened by now, over all threads.
    target: AtomicUsize,
    timeline: OnceLock<Timeline>,
    /// Nothing more is sent; unanswered messages may still be answered.
    stopped: AtomicBool,
    /// All connections are to be closed.
    closing: AtomicBool,
    /// Before that, no answer came for a while.
    quiet: AtomicBool,
    /// A thread cannot go on.
    broken: AtomicBool,
    progress: Vec<Progress>,
    /// What the publishers over HTTP have done.
    pub http_progress: Progress,
    /// How many of these still have something to publish.
    http_publishers: AtomicUsize,
    wakers: Vec<OnceLock<Waker>>,
}

/// What one thread has done so far; only it writes. On cache lines of its own, as the others read it.
#[derive(Default)]
#[repr(align(128))]
pub struct Progress {
    /// Connections opened.
    pub opened: AtomicU64,
    /// Connections that could not be opened, or ended too soon.
    pub failed: AtomicU64,
    /// Connections that were open and ended before they should; `failed` counts them too.
    pub ended: AtomicU64,
    /// Connections of which it is known whether they can be used: their first exchange, such as a subscription, is done, or they failed.
    pub settled: AtomicU64,
    /// Messages handed to the kernel.
    pub sent: AtomicU64,
    /// Answers or deliveries that are due for what was sent.
    pub expected: AtomicU64,
    /// Answers or deliveries that came.
    pub received: AtomicU64,
    /// The thread has seen that sending has ended: `expected` no longer grows.
    pub stopped: AtomicBool,
    /// This thread's share of `-n` is sent and answered, or there is nothing left that it could send.
    pub done: AtomicBool,
}

/// Adds to a counter that this thread alone writes: without the locked instruction that several writers would need. What was counted
/// before is seen by whoever sees this.
#[inline]
pub fn count(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Relaxed) + more, Release);
}

impl Control {
    /// Before the first thread; `threads` of them, and publishers over HTTP beside them.
    pub fn new(clock: Clock, threads: usize, http_publishers: usize) -> Control {
        Control {
            clock,
            target: AtomicUsize::new(0),
            timeline: OnceLock::new(),
            stopped: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            quiet: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            http_progress: Progress::default(),
            http_publishers: AtomicUsize::new(http_publishers),
            progress: (0..threads).map(|_| Progress::default()).collect(),
            wakers: (0..threads).map(|_| OnceLock::new()).collect(),
        }
    }

    /// Raises the number of connections to open.
    pub fn open(&self, connections: usize) {
        self.target.store(connections, Relaxed);
        self.wake_all();
    }

    /// How many connections are to be opened by now.
    pub fn target(&self) -> usize {
        self.target.load(Relaxed)
    }

    /// Lets the load begin; once a run.
    pub fn begin(&self, timeline: Timeline) {
        if self.timeline.set(timeline).is_ok() {
            self.wake_all();
        }
    }

    /// The timeline, once load may begin.
    pub fn timeline(&self) -> Option<&Timeline> {
        self.timeline.get()
    }

    /// Ends all sending.
    pub fn stop(&self) {
        self.stopped.store(true, Relaxed);
        self.wake_all();
    }

    /// Whether sending has ended.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Relaxed)
    }

    /// Has all connections closed and the threads end. `quiet`: no answer came for a while, so that none is to be expected any more.
    pub fn close(&self, quiet: bool) {
        self.stop();
        self.quiet.store(quiet, Relaxed);
        self.closing.store(true, Release);
        self.wake_all();
    }

    /// Whether connections are to be closed.
    pub fn is_closing(&self) -> bool {
        self.closing.load(Acquire)
    }

    /// A thread cannot go on: there is nothing to wait for.
    pub fn give_up(&self) {
        self.broken.store(true, Relaxed);
    }

    /// Whether a thread cannot go on.
    pub fn is_broken(&self) -> bool {
        self.broken.load(Relaxed)
    }

    /// Whether all was quiet before.
    pub fn is_quiet(&self) -> bool {
        self.quiet.load(Relaxed)
    }

    /// A thread's own counters.
    pub fn progress(&self, thread: usize) -> &Progress {
        &self.progress[thread]
    }

    /// A counter summed over all threads.
    pub fn sum(&self, counter: impl Fn(&Progress) -> &AtomicU64) -> u64 {
        self.progress.iter().chain([&self.http_progress]).map(|progress| counter(progress).load(Acquire)).sum()
    }

    /// A publisher over HTTP has published its share, or seen that sending has ended.
    pub fn http_publisher_done(&self) {
        self.http_publishers.fetch_sub(1, Release);
    }

    /// Whether all that will be sent has been, and is counted.
    pub fn all_stopped(&self) -> bool {
        self.http_publishers.load(Acquire) == 0 && self.progress.iter().all(|progress| progress.stopped.load(Acquire))
    }

    /// Whether all threads are done.
    pub fn all_done(&self) -> bool {
        self.http_publishers.load(Relaxed) == 0 && self.progress.iter().all(|progress| progress.done.load(Relaxed))
    }

    /// How a thread is woken from its wait.
    pub(super) fn set_waker(&self, thread: usize, waker: Waker) {
        let _ = self.wakers[thread].set(waker);
    }

    /// Ends a thread's wait.
    pub fn wake(&self, thread: usize) {
        if let Some(waker) = self.wakers[thread].get() {
            // It cannot fail: mio resets the counter before it overflows.
            let _ = waker.wake();
        }
    }

    fn wake_all(&self) {
        (0..self.wakers.len()).for_each(|thread| self.wake(thread));
    }
}
