//! Whether the kernel has what the driver needs. The operations are tried, as neither its version nor a list of them tells what is
//! disabled, filtered or old.

use std::{
    io::{self, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::fd::AsFd,
};

use rustix::io::Errno;

use super::{
    ring::{Completion, Ring},
    sleeper::Sleeper,
};

/// Calls that may complete nothing before an operation is called missing; over loopback the first completes it.
const ATTEMPTS: usize = 100;

/// Makes a ring and its sleeper, accepts a connection and receives from it.
///
/// # Errors
/// What the kernel lacks or refuses.
pub fn check() -> io::Result<()> {
    let sleeper = Sleeper::new()?;
    let mut ring = Ring::new(sleeper.eventfd())?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    ring.accept(&listener);
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
