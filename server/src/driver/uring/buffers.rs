//! The provided buffers, `io_uring_register_buf_ring(3)`: one pool for all connections of the worker.
//!
//! At each moment a buffer has one owner. From [`provide`](Buffers::provide) on it is the kernel's, which fills buffers in the order in which they were
//! provided. The completion that says so hands it to us as a [`Filled`], and from there it is lent out as a [`Lent`], whose end provides it again.

#![allow(unsafe_code)]

use std::{
    io,
    ops::{Deref, DerefMut},
    os::fd::BorrowedFd,
    ptr::{self, NonNull},
    slice,
    sync::atomic::{AtomicU16, Ordering::Release},
};

use io_uring::{Submitter, types::BufRingEntry};
use rustix::{
    io_uring::{IoringRegisterOp, io_uring_register},
    mm::{MapFlags, ProtFlags, mmap_anonymous, munmap},
};

/// Buffers of the pool, a power of two.
pub const COUNT: u16 = 128;
/// Bytes of one buffer: what one completion receives at most. Memory that was never received into is not resident.
pub const BYTES: usize = 32 << 10;
/// The only group of buffers.
pub const GROUP: u16 = 0;

/// The pool, and the ring of entries through which its buffers are provided.
pub struct Buffers {
    ring: Pages,
    memory: Pages,
    /// How many buffers have been provided, modulo 2¹⁶.
    tail: u16,
}

/// A buffer that the kernel has filled and given to us. To be [lent](Buffers::lend), else the kernel never has it again.
#[derive(Debug)]
#[must_use]
pub struct Filled {
    id: u16,
    length: usize,
}

/// A buffer's bytes, ours while this lives; then the buffer is provided again.
pub struct Lent<'a> {
    buffers: &'a mut Buffers,
    filled: Filled,
}

impl Buffers {
    /// A pool, all of it the kernel's.
    ///
    /// # Errors
    /// No memory, or a kernel that does not know rings of provided buffers.
    pub fn new(submitter: &Submitter<'_>) -> io::Result<Buffers> {
        let ring = Pages::new(usize::from(COUNT) * size_of::<BufRingEntry>())?;
        let memory = Pages::new(usize::from(COUNT) * BYTES)?;
        let mut buffers = Buffers { ring, memory, tail: 0 };
        // SAFETY: The ring is page-aligned, has COUNT entries, and lives until the io_uring that uses it is closed: `Ring` sees to that.
        unsafe { submitter.register_buf_ring_with_flags(buffers.ring.address.as_ptr() as u64, COUNT, GROUP, 0)? };
        (0..COUNT).for_each(|id| buffers.provide(id));
        Ok(buffers)
    }

    /// What a completion says the kernel has filled.
    pub fn filled(id: u16, length: usize) -> Filled {
        assert!(id < COUNT && length <= BYTES, "the kernel filled {length} bytes of buffer {id}");
        Filled { id, length }
    }

    /// Lends the bytes that were received.
    pub fn lend(&mut self, filled: Filled) -> Lent<'_> {
        Lent { buffers: self, filled }
    }

    /// How many buffers are not the kernel's, by its own account, since Linux 6.8; `None` where it keeps none.
    pub fn missing(&self, ring: BorrowedFd<'_>) -> Option<u16> {
        // `struct io_uring_buf_status`: the group, the kernel's count of buffers taken, and eight reserved.
        let mut status = [u32::from(GROUP), 0, 0, 0, 0, 0, 0, 0, 0, 0];
        // SAFETY: The argument has the size that the kernel reads and writes.
        let result = unsafe { io_uring_register(ring, IoringRegisterOp::RegisterPbufStatus, status.as_mut_ptr().cast(), 1) };
        result.ok().map(|_| COUNT.wrapping_sub(self.tail.wrapping_sub(status[1] as u16)))
    }

    /// Gives a buffer to the kernel.
    fn provide(&mut self, id: u16) {
        let entries = self.ring.address.cast::<BufRingEntry>().as_ptr();
        // SAFETY: The index is below COUNT. The kernel does not look at this entry before the tail says so, and the buffer's range is within the memory.
        // Only the three fields are written, as the first entry's remaining one is the tail.
        unsafe {
            let entry = &mut *entries.add(usize::from(self.tail % COUNT));
            entry.set_addr(self.memory.address.as_ptr().add(usize::from(id) * BYTES) as u64);
            entry.set_len(BYTES as u32);
            entry.set_bid(id);
        }
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: The tail lies in the first entry, aligned, and is only ever accessed atomically.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(entries).cast_mut()) };
        // Release: the entry is complete before the kernel sees it.
        tail.store(self.tail, Release);
    }
}

impl Deref for Lent<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let start = usize::from(self.filled.id) * BYTES;
        // SAFETY: The range is within the memory (`filled` checked it), initialised (pages begin as zeros), and ours until this is dropped.
        unsafe { slice::from_raw_parts(self.buffers.memory.address.as_ptr().add(start), self.filled.length) }
    }
}

impl DerefMut for Lent<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        let start = usize::from(self.filled.id) * BYTES;
        // SAFETY: As in `deref`; and there is one `Filled` of this buffer, which we own, so nobody else refers to these bytes.
        unsafe { slice::from_raw_parts_mut(self.buffers.memory.address.as_ptr().add(start), self.filled.length) }
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.buffers.provide(self.filled.id);
    }
}

/// Zeroed pages, resident once they are touched.
struct Pages {
    address: NonNull<u8>,
    bytes: usize,
}

impl Pages {
    fn new(bytes: usize) -> io::Result<Pages> {
        // SAFETY: A new mapping touches no memory of anyone.
        let address = unsafe { mmap_anonymous(ptr::null_mut(), bytes, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)? };
        Ok(Pages { address: NonNull::new(address.cast()).ok_or(io::ErrorKind::OutOfMemory)?, bytes })
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: The mapping is ours, and whoever drops this has nothing that refers to it. Unmapping what is mapped does not fail.
        let _ = unsafe { munmap(self.address.as_ptr().cast(), self.bytes) };
    }
}
