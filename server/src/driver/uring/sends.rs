//! Many sends by one call: a ring of its own whose operations all end within the call that submits them, because none may wait (`MSG_DONTWAIT`).
//!
//! A send that takes everything completes in silence (`IOSQE_CQE_SKIP_SUCCESS`). With `MSG_WAITALL` a short one is a failure to the kernel, so that it is
//! reported with its count; without, it would be lost in silence. The bytes stay the caller's: they are borrowed for the call, and the kernel has
//! done with them when it returns.

#![allow(unsafe_code)]

use std::{io, mem, os::fd::AsRawFd, thread, time::Duration};

use io_uring::{IoUring, opcode, squeue, types::Fd};

use rustix::io::Errno;

use crate::driver::Outgoing;

/// Sends submitted by one call. Many more only move work to the kernel's own threads.
pub const AT_ONCE: usize = 128;
/// How often the kernel is asked to submit, and how long apart, when it has no memory.
const ATTEMPTS: usize = 1000;
const PAUSE: Duration = Duration::from_millis(1);
/// To the worker a send that was not made.
const INTERRUPTED: i32 = -libc::EINTR;
const FLAGS: i32 = libc::MSG_DONTWAIT | libc::MSG_WAITALL | libc::MSG_NOSIGNAL;

/// See the module.
pub struct Sends {
    ring: IoUring,
    /// Of the sends with several slices; room for a whole call, so that none moves while the kernel reads it.
    headers: Vec<libc::msghdr>,
}

impl Sends {
    /// To be used by the calling thread alone.
    ///
    /// # Errors
    /// What the kernel lacks or refuses.
    pub fn new() -> io::Result<Sends> {
        let ring = IoUring::builder().setup_single_issuer().setup_submit_all().build(AT_ONCE as u32);
        let ring = ring.map_err(|error| io::Error::new(error.kind(), format!("io_uring_setup: {error}")))?;
        Ok(Sends { ring, headers: Vec::with_capacity(AT_ONCE) })
    }

    /// Makes each of these sends, at most [`AT_ONCE`], and sets its result.
    ///
    /// # Errors
    /// The kernel's; then this is of no further use, as the kernel may still find what was borrowed.
    pub fn send(&mut self, sends: &mut [Outgoing<'_>]) -> io::Result<()> {
        assert!(sends.len() <= AT_ONCE, "more sends than one call has room for");
        self.headers.clear();
        for (index, send) in sends.iter_mut().enumerate() {
            let fd = Fd(send.socket.as_raw_fd());
            let entry = match send.slices {
                [] => continue,
                [only] => opcode::Send::new(fd, only.as_ptr(), only.len() as u32).flags(FLAGS).build(),
                several => {
                    // SAFETY: A header of zeros has no address and no control data.
                    let mut header: libc::msghdr = unsafe { mem::zeroed() };
                    // A slice has the layout of an `iovec`, as the standard library promises.
                    header.msg_iov = several.as_ptr().cast_mut().cast();
                    header.msg_iovlen = several.len() as _;
                    self.headers.push(header);
                    opcode::SendMsg::new(fd, &raw const self.headers[self.headers.len() - 1]).flags(FLAGS as u32).build()
                }
            };
            let entry = entry.flags(squeue::Flags::SKIP_SUCCESS).user_data(index as u64);
            send.result = Some(Ok(send.slices.iter().map(|slice| slice.len()).sum()));
            // SAFETY: The bytes are borrowed and the headers ours until this returns, and by then the kernel has done with both. The socket is
            // borrowed, hence open.
            if unsafe { self.ring.submission().push(&entry) }.is_err() {
                return Err(io::Error::other("the submission queue is full after everything was submitted"));
            }
        }
        self.submit()?;
        for completion in self.ring.completion() {
            let result = completion.result();
            sends[completion.user_data() as usize].result = match result {
                0.. => Some(Ok(result as usize)),
                error => Some(Err(io::Error::from_raw_os_error(-error))).filter(|_| error != INTERRUPTED),
            };
        }
        Ok(())
    }

    fn submit(&mut self) -> io::Result<()> {
        for _ in 0..ATTEMPTS {
            match self.ring.submit() {
                Ok(_) if self.ring.submission().is_empty() => return Ok(()),
                Ok(_) => {}
                // Memory is short for a moment.
                Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::AGAIN | Errno::INTR)) => thread::sleep(PAUSE),
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other("the kernel submits nothing"))
    }
}
