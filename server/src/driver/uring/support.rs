//! Whether the kernel has what the driver needs. The operations are tried, as neither its version nor a list of them tells what is
//! disabled, filtered or old.

use std::{
    io::{self, Write},
    os::{
        fd::AsFd,
        unix::net::{UnixListener, UnixStream},
    },
};

use rustix::{
    io::Errno,
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType},
};

use super::{
    ring::{Completion, Ring},
    sleeper::Sleeper,
};

/// Calls that may complete nothing before an operation is called missing; here the first completes it.
const ATTEMPTS: usize = 100;

/// Makes a ring and its sleeper, accepts a connection and receives from it.
///
/// # Errors
/// What the kernel lacks or refuses.
pub fn check() -> io::Result<()> {
    let sleeper = Sleeper::new()?;
    let mut ring = Ring::new(sleeper.eventfd())?;
    let listener = listen()?;
    let mut client = UnixStream::connect_addr(&listener.local_addr()?)?;
    ring.accept(listener.as_fd());
    let socket = match next(&mut ring)? {
        (Completion::Accepted(Ok(socket)), true) => socket,
        other => return Err(missing("multishot accept", &other)),
    };
    client.write_all(b"?")?;
    ring.receive(0, socket.as_fd());
    match next(&mut ring)? {
        (Completion::Received(0, Ok(Some(filled))), true) => {
            drop(ring.lend(filled));
            Ok(())
        }
        other => Err(missing("multishot receive", &other)),
    }
}

/// A listener that needs neither a network nor a file: the kernel picks a name.
pub(super) fn listen() -> io::Result<UnixListener> {
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new_unnamed())?;
    rustix::net::listen(&socket, 1)?;
    Ok(socket.into())
}

fn next(ring: &mut Ring) -> io::Result<(Completion, bool)> {
    for _ in 0..ATTEMPTS {
        ring.enter()?;
        if let Some(completion) = ring.next() {
            return Ok(completion);
        }
        std::thread::yield_now();
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "the ring completes nothing"))
}

fn missing(what: &str, (completion, _): &(Completion, bool)) -> io::Error {
    let reason = match completion {
        Completion::Accepted(Err(error)) | Completion::Received(_, Err(error)) => *error,
        _ => Errno::OPNOTSUPP,
    };
    io::Error::new(io::ErrorKind::Unsupported, format!("{what}: {reason}"))
}
