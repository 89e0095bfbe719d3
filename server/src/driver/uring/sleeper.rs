//! How a worker's thread sleeps: a monoio runtime waits for an eventfd, and for time. The kernel writes to the eventfd when the ring has completions,
//! any thread does when the worker has mail.

use std::{
    fs::File,
    future::Future,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    pin::Pin,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use monoio::{IoUringDriver, Runtime, RuntimeBuilder, time::TimeDriver};
use rustix::event::{EventfdFlags, eventfd};

/// A read of the eventfd. One is kept over all sleeps until it ends: one given up could still take a wake-up that its successor waits for.
type Read = Pin<Box<dyn Future<Output = io::Result<()>>>>;

/// See the module.
pub struct Sleeper {
    runtime: Runtime<TimeDriver<IoUringDriver>>,
    eventfd: Arc<OwnedFd>,
    /// The same eventfd, as the runtime reads it.
    file: Rc<monoio::fs::File>,
    read: Option<Read>,
}

impl Sleeper {
    /// A sleeper for the calling thread.
    ///
    /// # Errors
    /// What the kernel lacks or refuses.
    pub fn new() -> io::Result<Sleeper> {
        let eventfd = eventfd(0, EventfdFlags::CLOEXEC)?;
        let builder = RuntimeBuilder::<IoUringDriver>::new().with_entries(ENTRIES).enable_timer();
        let mut runtime = builder.build().map_err(|error| io::Error::new(error.kind(), format!("io_uring_setup: {error}")))?;
        let file = File::from(eventfd.try_clone()?);
        let file = Rc::new(runtime.block_on(async { monoio::fs::File::from_std(file) })?);
        Ok(Sleeper { runtime, eventfd: Arc::new(eventfd), file, read: None })
    }

    /// What ends the sleep, or the next one where there is none.
    pub fn eventfd(&self) -> BorrowedFd<'_> {
        self.eventfd.as_fd()
    }

    /// The same for another thread.
    pub fn waker(&self) -> impl Fn() + Send + Sync + use<> {
        let eventfd = Arc::clone(&self.eventfd);
        move || {
            // It could only fail where the counter is at its end, and then it has woken.
            let _ = rustix::io::write(&*eventfd, &1_u64.to_ne_bytes());
        }
    }

    /// Sleeps until the eventfd is written to, at most so long; without a timeout, until then. One write may end two sleeps, not none.
    ///
    /// # Errors
    /// The kernel's, when it reads.
    pub fn sleep(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let Sleeper { runtime, file, read, .. } = self;
        runtime.block_on(async {
            let reading = read.get_or_insert_with(|| Box::pin(reset(Rc::clone(file))));
            let result = match timeout {
                None => reading.await,
                Some(timeout) => match monoio::time::timeout(timeout, reading).await {
                    Ok(result) => result,
                    Err(_) => return Ok(()),
                },
            };
            *read = None;
            result
        })
    }
}

/// Waits until the counter is not zero, and resets it.
async fn reset(eventfd: Rc<monoio::fs::File>) -> io::Result<()> {
    let (result, _) = eventfd.read_at(vec![0; size_of::<u64>()], 0).await;
    result.map(drop)
}

/// Operations of the runtime's own ring, of which we use one.
const ENTRIES: u32 = 8;
