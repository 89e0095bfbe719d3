//! Non-blocking TCP connections, and the local addresses that they come from.

use std::{
    io,
    net::{IpAddr, SocketAddr, TcpStream},
};

use rustix::io::Errno;
use socket2::{Domain, Socket, Type};

/// Begins to connect; the socket is writable once it is connected, and a send before that says `WouldBlock`.
///
/// # Errors
/// The kernel's: `AddrNotAvailable` where the ports of `local`, or all, are in use.
pub fn connect(address: SocketAddr, local: Option<IpAddr>) -> io::Result<mio::net::TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking().cloexec(), None)?;
    socket.set_tcp_nodelay(true)?;
    if let Some(local) = local {
        socket.bind(&SocketAddr::new(local, 0).into())?;
    }
    match socket.connect(&address.into()) {
        Err(error) if error.raw_os_error() != Some(Errno::INPROGRESS.raw_os_error()) => Err(error),
        _ => Ok(mio::net::TcpStream::from_std(TcpStream::from(socket))),
    }
}
