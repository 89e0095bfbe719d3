//! A connection's bytes, plain or under TLS, behind the same calls. Imports `tls`.

use std::{io, sync::Arc};

use mio::net::TcpStream;
use rustix::net::{RecvFlags, SendFlags};
use rustls::ClientConfig;

use super::tls::TlsStream;

/// A non-blocking stream.
pub enum Stream {
    /// TCP.
    Plain(TcpStream),
    /// TLS over TCP.
    Tls(Box<TlsStream>),
}

impl Stream {
    /// A stream over a socket that may still be connecting; with a configuration, TLS with this server name.
    ///
    /// # Errors
    /// A name that no certificate can have.
    pub fn new(socket: TcpStream, tls: Option<(&Arc<ClientConfig>, &str)>) -> io::Result<Stream> {
        Ok(match tls {
            None => Stream::Plain(socket),
            Some((config, host)) => Stream::Tls(Box::new(TlsStream::new(socket, config, host)?)),
        })
    }

    /// The socket itself, to be registered.
    pub fn socket(&mut self) -> &mut TcpStream {
        match self {
            Stream::Plain(socket) => socket,
            Stream::Tls(stream) => stream.socket(),
        }
    }

    /// Whether it is under TLS, which reads a record at a time: a short read does not say that there is no more.
    pub fn is_tls(&self) -> bool {
        matches!(self, Stream::Tls(_))
    }

    /// Whether the TLS handshake is still under way.
    pub fn is_securing(&self) -> bool {
        matches!(self, Stream::Tls(stream) if stream.is_handshaking())
    }

    /// As [`std::io::Read::read`].
    ///
    /// # Errors
    /// `WouldBlock` where nothing is there; the kernel's, or TLS's.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            // Straight to the system call: the standard library's way is a cancellation point of the C library's, which costs more than the rest.
            Stream::Plain(socket) => Ok(rustix::net::recv(socket, buffer, RecvFlags::empty())?.1),
            Stream::Tls(stream) => stream.read(buffer),
        }
    }

    /// As [`std::io::Write::write`]; what TLS took may still have to be [flushed](Stream::flush).
    ///
    /// # Errors
    /// `WouldBlock` where nothing was taken; the kernel's, or TLS's.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(socket) => Ok(rustix::net::send(socket, bytes, SendFlags::NOSIGNAL)?),
            Stream::Tls(stream) => stream.write(bytes),
        }
    }

    /// Hands to the kernel what TLS holds back; tells whether all of it went.
    ///
    /// # Errors
    /// The kernel's, or TLS's.
    pub fn flush(&mut self) -> io::Result<bool> {
        match self {
            Stream::Plain(_) => Ok(true),
            Stream::Tls(stream) => stream.flush(),
        }
    }
}
