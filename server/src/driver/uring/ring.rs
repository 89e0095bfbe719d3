//! The ring: operations go in, completions come out, each with what it owns. Knows sockets and buffers, not connections.

#![allow(unsafe_code)]

use std::{
    collections::VecDeque,
    io,
    mem::ManuallyDrop,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    ptr,
    sync::atomic::{Ordering::SeqCst, fence},
    time::Duration,
};

use io_uring::{
    EnterFlags, IoUring, cqueue, opcode, squeue,
    types::{CancelBuilder, Fd, SubmitArgs, Timespec},
};
use rustix::{io::Errno, net::SocketFlags};

use super::buffers::{Buffers, Filled, GROUP, Lent};

/// Operations submitted by one call.
const SUBMISSIONS: u32 = 1024;
/// Completions that wait for us; where there are more, the kernel ends multishot operations instead, and they are begun again.
const COMPLETIONS: u32 = 4096;
/// How long the kernel may take to cancel everything.
const DRAIN: Duration = Duration::from_secs(1);

/// An operation in the kernel. It ends with a completion that has no `more`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Accepts connections; there is one at a time.
    Accept,
    /// Multishot: receives on a socket again and again, for this slot.
    Receive(u32),
    /// Waits until a socket can be written to, for this slot.
    Writable(u32),
    /// Cancels another operation.
    Cancel,
}

impl Operation {
    fn user_data(self) -> u64 {
        let (kind, slot) = match self {
            Operation::Accept => (0, 0),
            Operation::Receive(slot) => (1, slot),
            Operation::Writable(slot) => (2, slot),
            Operation::Cancel => (3, 0),
        };
        kind << 32 | u64::from(slot)
    }

    fn of(user_data: u64) -> Operation {
        let slot = user_data as u32;
        match user_data >> 32 {
            0 => Operation::Accept,
            1 => Operation::Receive(slot),
            2 => Operation::Writable(slot),
            _ => Operation::Cancel,
        }
    }
}

/// What the kernel reports.
#[derive(Debug)]
pub enum Completion {
    /// A connection, or why there are no more.
    Accepted(Result<OwnedFd, Errno>),
    /// Bytes for this slot; `None` at the end of the peer's stream.
    Received(u32, Result<Option<Filled>, Errno>),
    /// The socket of this slot may take bytes, or has failed, which a send will tell.
    Writable(u32),
    /// An operation was cancelled, or had ended before.
    Cancelled,
}

/// An io_uring with its buffers. Dropping it waits until no operation is left, so that nothing writes into the buffers any more.
pub struct Ring {
    /// Closed before the buffers go.
    io: ManuallyDrop<IoUring>,
    buffers: ManuallyDrop<Buffers>,
    /// Operations that the submission queue had no room for.
    waiting: VecDeque<squeue::Entry>,
    /// Operations that have not ended, without those that cancel.
    in_flight: usize,
}

impl Ring {
    /// A ring that announces completions through this eventfd, while it is told to. All other methods are to be called by the same thread.
    ///
    /// # Errors
    /// What the kernel lacks or refuses.
    pub fn new(eventfd: BorrowedFd<'_>) -> io::Result<Ring> {
        let failed = |what| move |error: io::Error| io::Error::new(error.kind(), format!("{what}: {error}"));
        let io: IoUring = IoUring::builder()
            .setup_single_issuer()
            .setup_coop_taskrun()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_cqsize(COMPLETIONS)
            .build(SUBMISSIONS)
            .map_err(failed("io_uring_setup"))?;
        io.submitter().register_eventfd(eventfd.as_raw_fd()).map_err(failed("io_uring_register of an eventfd"))?;
        let buffers = Buffers::new(&io.submitter()).map_err(failed("io_uring_register of provided buffers"))?;
        let ring = Ring { io: ManuallyDrop::new(io), buffers: ManuallyDrop::new(buffers), waiting: VecDeque::new(), in_flight: 0 };
        Ok(ring)
    }

    /// Accepts one connection, or one after the other until this ends; they do not block. The listener must not be closed before the next
    /// [`enter`](Ring::enter).
    pub fn accept(&mut self, listener: BorrowedFd<'_>, multishot: bool) {
        let fd = Fd(listener.as_raw_fd());
        let flags = (SocketFlags::NONBLOCK | SocketFlags::CLOEXEC).bits() as i32;
        let entry = match multishot {
            true => opcode::AcceptMulti::new(fd).flags(flags).build(),
            false => opcode::Accept::new(fd, ptr::null_mut(), ptr::null_mut()).flags(flags).build(),
        };
        self.begin(Operation::Accept, entry);
    }

    /// Receives until this ends. The socket must not be closed before the next [`enter`](Ring::enter).
    pub fn receive(&mut self, slot: u32, socket: BorrowedFd<'_>) {
        self.begin(Operation::Receive(slot), opcode::RecvMulti::new(Fd(socket.as_raw_fd()), GROUP).build());
    }

    /// Waits, once, until the socket can be written to. It must not be closed before the next [`enter`](Ring::enter).
    pub fn watch_writable(&mut self, slot: u32, socket: BorrowedFd<'_>) {
        let events = rustix::event::PollFlags::OUT.bits();
        self.begin(Operation::Writable(slot), opcode::PollAdd::new(Fd(socket.as_raw_fd()), u32::from(events)).build());
    }

    /// Ends an operation, which still completes.
    pub fn cancel(&mut self, operation: Operation) {
        let entry = opcode::AsyncCancel::new(operation.user_data()).build();
        self.push(entry.flags(squeue::Flags::SKIP_SUCCESS).user_data(Operation::Cancel.user_data()));
    }

    /// Submits what was begun and lets the kernel complete what it can; does not wait.
    ///
    /// # Errors
    /// The kernel's; the ring cannot be used any more.
    pub fn enter(&mut self) -> io::Result<()> {
        loop {
            let submissions = self.io.submission().len() as u32;
            // SAFETY: There is no argument. Without GETEVENTS the kernel would not do the work that it deferred to us.
            let result = unsafe { self.io.submitter().enter::<()>(submissions, 0, EnterFlags::GETEVENTS.bits(), None) };
            if let Err(error) = result {
                // The completion queue is full, or memory short for a moment: completions are to be taken first.
                let passes = matches!(Errno::from_io_error(&error), Some(Errno::BUSY | Errno::AGAIN | Errno::INTR));
                return if passes { Ok(()) } else { Err(error) };
            }
            // The kernel does some of the deferred work at a time, and what is left is not announced.
            let has_work = self.io.submission().taskrun() && !self.has_completions();
            if self.waiting.is_empty() && !has_work {
                return Ok(());
            }
            let mut queue = self.io.submission();
            while let Some(entry) = self.waiting.pop_front() {
                // SAFETY: As in `push`.
                if unsafe { queue.push(&entry) }.is_err() {
                    self.waiting.push_front(entry);
                    break;
                }
            }
        }
    }

    /// Whether there is something to submit, or the kernel has something to complete. More may come at any time.
    pub fn has_work(&mut self) -> bool {
        !self.is_submitted() || self.io.submission().taskrun() || self.io.submission().cq_overflow()
    }

    /// Whether the kernel has taken everything that was begun.
    pub fn is_submitted(&mut self) -> bool {
        self.waiting.is_empty() && self.io.submission().is_empty()
    }

    /// Whether there are completions to be taken.
    pub fn has_completions(&mut self) -> bool {
        !self.io.completion().is_empty()
    }

    /// Whether completions are announced through the eventfd. What completed before is not announced.
    pub fn announce(&mut self, on: bool) {
        let completions = self.io.completion();
        match on {
            true => completions.enable_eventfd(),
            false => completions.disable_eventfd(),
        }
        // What completes from here on sees that, and what completed before is seen by whoever looks after this.
        fence(SeqCst);
    }

    /// The next completion, and whether its operation goes on.
    pub fn next(&mut self) -> Option<(Completion, bool)> {
        let entry = self.io.completion().next()?;
        let (result, flags) = (entry.result(), entry.flags());
        let operation = Operation::of(entry.user_data());
        let more = cqueue::more(flags);
        if !more && operation != Operation::Cancel {
            self.in_flight -= 1;
        }
        let result = if result < 0 { Err(Errno::from_raw_os_error(-result)) } else { Ok(result as usize) };
        let completion = match operation {
            // SAFETY: The kernel has opened this descriptor for us, and nobody else knows it.
            Operation::Accept => Completion::Accepted(result.map(|fd| unsafe { OwnedFd::from_raw_fd(fd as i32) })),
            Operation::Receive(slot) => {
                let filled = cqueue::buffer_select(flags).map(|id| Buffers::filled(id, result.unwrap_or(0)));
                match result {
                    Ok(1..) => Completion::Received(slot, Ok(filled)),
                    Ok(0) | Err(_) => {
                        // A buffer may come with nothing in it.
                        drop(filled.map(|filled| self.buffers.lend(filled)));
                        Completion::Received(slot, result.map(|_| None))
                    }
                }
            }
            Operation::Writable(slot) => Completion::Writable(slot),
            Operation::Cancel => Completion::Cancelled,
        };
        Some((completion, more))
    }

    /// How many buffers are neither the kernel's nor lent; `None` where it does not tell.
    pub fn buffers_missing(&self) -> Option<u16> {
        self.buffers.missing(self.io.as_fd())
    }

    /// Lends the bytes that were received.
    pub fn lend(&mut self, filled: Filled) -> Lent<'_> {
        self.buffers.lend(filled)
    }

    fn begin(&mut self, operation: Operation, entry: squeue::Entry) {
        self.in_flight += 1;
        self.push(entry.user_data(operation.user_data()));
    }

    fn push(&mut self, entry: squeue::Entry) {
        // SAFETY: No operation of ours refers to memory but to the provided buffers, which live until the ring has ended. Descriptors stay open
        // until the entry is submitted, as the methods demand, so it cannot reach another's.
        if !self.waiting.is_empty() || unsafe { self.io.submission().push(&entry) }.is_err() {
            self.waiting.push_back(entry);
        }
    }

    /// Ends everything and waits for that. Whether it has ended.
    fn drain(&mut self) -> bool {
        let all = opcode::AsyncCancel2::new(CancelBuilder::any()).build();
        self.push(all.user_data(Operation::Cancel.user_data()));
        let pause = Timespec::from(DRAIN);
        while self.in_flight > 0 {
            if self.enter().is_err() {
                return false;
            }
            let mut heard = false;
            while let Some((completion, _)) = self.next() {
                heard = true;
                if let Completion::Received(_, Ok(Some(filled))) = completion {
                    drop(self.lend(filled));
                }
            }
            if !heard && self.io.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&pause)).is_err() {
                return false;
            }
        }
        true
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        let drained = self.drain();
        let missing = self.buffers_missing();
        if !drained || missing.is_some_and(|missing| missing > 0) {
            tracing::error!(operations = self.in_flight, buffers = missing, "the ring did not end as it should");
        }
        // SAFETY: Neither is used again. The buffers of a ring that still has operations stay mapped, as they are the kernel's.
        unsafe {
            ManuallyDrop::drop(&mut self.io);
            if drained {
                ManuallyDrop::drop(&mut self.buffers);
            }
        }
    }
}
