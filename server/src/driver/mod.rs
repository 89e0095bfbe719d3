//! How a worker's thread waits and receives. A driver reports sockets accepted, writable and gone, and lends received bytes; sends do not
//! wait, and are the worker's plain calls or many at once by the driver. Knows the worker only through its methods.

pub mod epoll;
pub mod uring;

use std::{
    io::{self, IoSlice},
    net::TcpStream,
    os::fd::BorrowedFd,
    time::Duration,
};

use crate::worker::Worker;

/// How long to leave the listener alone when the process has no descriptor or no room left.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// What goes out on one connection.
pub struct Outgoing<'a> {
    /// Its socket.
    pub socket: BorrowedFd<'a>,
    /// Its bytes, gathered.
    pub slices: &'a [IoSlice<'a>],
    /// How many bytes the kernel took, once it was asked.
    pub result: Option<io::Result<usize>>,
}

/// One worker's way to the kernel. Each turn calls [`wait`](Driver::wait), then [`dispatch`](Driver::dispatch); a turn that writes to many does so
/// again between its writes, without waiting.
pub trait Driver {
    /// Waits until something is to be reported, at most so long; without a timeout, until then.
    ///
    /// # Errors
    /// The kernel's; the worker cannot go on.
    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()>;

    /// Reports to the worker what has happened. What is more than a turn's share is reported in the next.
    fn dispatch(&mut self, worker: &mut Worker);

    /// How many connections are sent to by one call of [`send`](Driver::send); with 1 the worker makes plain calls instead.
    const SENDS_AT_ONCE: usize = 1;

    /// How many connections are written to before the worker looks for what has come meanwhile.
    const WRITES_A_LOOK: usize = 256;

    /// Makes these sends, which do not wait, and sets the results of those that have bytes.
    ///
    /// # Errors
    /// The kernel's; the worker cannot go on.
    fn send(&mut self, _: &mut [Outgoing<'_>]) -> io::Result<()> {
        Ok(())
    }

    /// The kernel took not all that was sent on this socket: report once when it takes more.
    ///
    /// # Errors
    /// The kernel's; the connection would wait for ever.
    fn watch_writable(&mut self, key: usize, socket: &TcpStream) -> io::Result<()>;

    /// The connection receives nothing until it is resumed.
    fn pause(&mut self, key: usize);

    /// The connection was paused and receives again.
    fn resume(&mut self, key: usize);

    /// The connection is gone: nothing more is reported of it, and its socket is closed.
    fn forget(&mut self, key: usize, socket: TcpStream);

    /// Accepts no more connections, ever.
    fn stop_accepting(&mut self);
}
