//! Whether the kernel has what the driver needs. The operations are tried, as neither its version nor a list of them tells what is
//! disabled, filtered or old.

use std::{
    io::{self, IoSlice, Write},
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
    Outgoing,
    ring::{Completion, Ring},
    sends::Sends,
    sleeper::Sleeper,
};

/// Calls that may complete nothing before an operation is called missing; here the first completes it.
const ATTEMPTS: usize = 100;

/// Bytes that no socket takes at once.
const TOO_MANY: usize = 64 << 20;

/// Makes what so many workers need, at once; accepts a connection, receives from it and sends to it.
///
/// # Errors
/// What the kernel lacks or refuses.
pub fn check(workers: usize) -> io::Result<()> {
    let make = |_| {
        let sleeper = Sleeper::new()?;
        Ok((Ring::new(sleeper.eventfd())?, Sends::new()?, sleeper))
    };
    let mut all = (0..workers).map(make).collect::<io::Result<Vec<_>>>()?;
    let Some((ring, sends, _)) = all.first_mut() else { return Ok(()) };
    let listener = listen()?;
    let mut client = UnixStream::connect_addr(&listener.local_addr()?)?;
    ring.accept(listener.as_fd(), true);
    let socket = match next(ring)? {
        (Completion::Accepted(Ok(socket)), true) => socket,
        other => return Err(missing("multishot accept", &other)),
    };
    client.write_all(b"?")?;
    ring.receive(0, socket.as_fd());
    match next(ring)? {
        (Completion::Received(0, Ok(Some(filled))), true) => {
            drop(ring.lend(filled));
        }
        other => return Err(missing("multishot receive", &other)),
    }
    // A short send is told as such, and then there is no room.
    let bytes = vec![0; TOO_MANY];
    let mut send = || {
        let mut outgoing = [Outgoing { socket: socket.as_fd(), slices: &[IoSlice::new(&bytes)], result: None }];
        sends.send(&mut outgoing)?;
        let [Outgoing { result, .. }] = outgoing;
        result.ok_or_else(|| io::Error::other("a send has no result"))
    };
    match (send()?, send()?) {
        (Ok(1..TOO_MANY), Err(error)) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        other => Err(io::Error::new(io::ErrorKind::Unsupported, format!("sends that do not wait: {other:?}"))),
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
