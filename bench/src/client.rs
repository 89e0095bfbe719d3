//! A WebSocket client that costs next to nothing: blocking sockets, frames encoded beforehand, answers compared byte for byte.
//! Blocking reads in a fixed order suffice, since every measurement knows exactly what each connection must receive; one of many that
//! receive the same reads whole messages, so that what they say can be checked.
//!
//! Owns the bytes of the opening handshake and of the frames; imports nothing of this crate.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use flate2::{Decompress, FlushDecompress};
use socket2::{Domain, Socket, Type};

/// The payload of every message: text, since that is what most channels carry, and its check is part of the cost.
pub const PAYLOAD: &[u8; 64] = b"{\"symbol\":\"FNTL\",\"price\":101.25,\"volume\":120,\"time\":17000000000}";

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// The answer to the key that every client sends, both from RFC 6455 §1.3.
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The first byte of a text in one frame that is compressed.
pub const COMPRESSED_TEXT: u8 = 0xc1;

/// How many handshakes are on their way at once.
pub const WINDOW: usize = 64;

/// A server that takes longer to answer counts as failed.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// What a narrow connection's socket holds, and in segments of which size.
const NARROW_BYTES: usize = 16 << 10;
const NARROW_SEGMENT_BYTES: u32 = 536;

/// The extension that a client offers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// None, so that nobody compresses.
    Nothing,
    /// permessage-deflate, as browsers do.
    Deflate,
}

/// One open WebSocket.
pub struct Client(TcpStream);

impl Client {
    /// Opens `count` connections to `path`, a window of them at a time, and checks each answer.
    pub fn open_many(edge: SocketAddr, path: &str, count: usize) -> io::Result<Vec<Self>> {
        Self::open_many_offering(edge, path, count, Offer::Nothing)
    }

    /// The same, offering an extension, which the server must agree to.
    pub fn open_many_offering(edge: SocketAddr, path: &str, count: usize, offer: Offer) -> io::Result<Vec<Self>> {
        let request = request(edge, path, offer);
        let mut clients = Vec::with_capacity(count);
        while clients.len() < count {
            let window_start = clients.len();
            for _ in 0..WINDOW.min(count - window_start) {
                let mut stream = connect(edge)?;
                stream.write_all(request.as_bytes())?;
                clients.push(Self(stream));
            }
            for client in &mut clients[window_start..] {
                client.expect_switch(offer)?;
            }
        }
        Ok(clients)
    }

    /// Opens a connection with little room on its way, so that a server soon notices that nobody reads.
    pub fn open_narrow(edge: SocketAddr, path: &str) -> io::Result<Self> {
        let socket = socket(edge)?;
        socket.set_recv_buffer_size(NARROW_BYTES)?;
        // The server's kernel makes room for so many segments: on loopback they would be of 64 KiB.
        socket.set_tcp_mss(NARROW_SEGMENT_BYTES)?;
        socket.connect(&edge.into())?;
        let mut client = Self(socket.into());
        client.send(request(edge, path, Offer::Nothing).as_bytes())?;
        client.expect_switch(Offer::Nothing)?;
        Ok(client)
    }

    /// Sends `bytes` in one write.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    /// Waits for exactly these bytes.
    pub fn expect(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut received = [0; 1024];
        for bytes in bytes.chunks(received.len()) {
            let mut filled = 0;
            while filled < bytes.len() {
                match self.0.read(&mut received[filled..bytes.len()])? {
                    0 => return Err(unexpected("end after", &received[..filled])),
                    count => filled += count,
                }
            }
            if received[..filled] != *bytes {
                return Err(unexpected("frame", &received[..filled]));
            }
        }
        Ok(())
    }

    /// Waits for a text in one frame, which is appended to `frames`; what is compressed is inflated.
    pub fn message(&mut self, frames: &mut Vec<u8>) -> io::Result<Vec<u8>> {
        let start = frames.len();
        let [first, length] = *self.append(frames, 2)? else { return Err(unexpected("header", frames)) };
        let payload_bytes = match length {
            126 => self.append(frames, 2)?,
            127 => self.append(frames, 8)?,
            _ => &[length],
        };
        let payload_bytes = payload_bytes.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte));
        let payload = self.append(frames, payload_bytes)?;
        match first {
            0x81 => Ok(payload.to_vec()),
            COMPRESSED_TEXT => inflate(payload),
            _ => Err(unexpected("frame", &frames[start..])),
        }
    }

    /// Checks that nothing more has arrived.
    pub fn expect_nothing(&mut self) -> io::Result<()> {
        self.0.set_nonblocking(true)?;
        let mut received = [0; 1024];
        let result = self.0.read(&mut received);
        self.0.set_nonblocking(false)?;
        match result {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
            Ok(count) => Err(unexpected("bytes", &received[..count])),
        }
    }

    /// A second handle, to read from one thread and to send from another.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// Reads whatever comes until the connection ends.
    pub fn read_to_end(mut self) {
        // However it ends: who sends notices that too.
        let _ = io::copy(&mut self.0, &mut io::sink());
    }

    fn append<'a>(&mut self, frames: &'a mut Vec<u8>, count: usize) -> io::Result<&'a [u8]> {
        let start = frames.len();
        frames.resize(start + count, 0);
        self.0.read_exact(&mut frames[start..])?;
        Ok(&frames[start..])
    }

    /// Ends it as plain TCP does, without a closing handshake; [`expect_end`](Self::expect_end) waits for the server to do the same.
    pub fn shut_down(&self) -> io::Result<()> {
        self.0.shutdown(Shutdown::Write)
    }

    /// Waits for the server to end the connection, and to send nothing before that.
    pub fn expect_end(mut self) -> io::Result<()> {
        let mut received = [0; 1024];
        match self.0.read(&mut received)? {
            0 => Ok(()),
            count => Err(unexpected("bytes before the end", &received[..count])),
        }
    }

    fn expect_switch(&mut self, offer: Offer) -> io::Result<()> {
        let mut answer = [0; 1024];
        let mut filled = 0;
        while !answer[..filled].ends_with(b"\r\n\r\n") {
            match self.0.read(&mut answer[filled..])? {
                0 => return Err(unexpected("end of the answer", &answer[..filled])),
                count => filled += count,
            }
        }
        let text = String::from_utf8_lossy(&answer[..filled]);
        let agreed = text.contains("permessage-deflate") == (offer == Offer::Deflate);
        if !text.starts_with("HTTP/1.1 101 ") || !text.contains(ACCEPT) || !agreed {
            return Err(unexpected("answer", text.as_bytes()));
        }
        Ok(())
    }
}

/// [`PAYLOAD`] `count` times as a server frames it.
pub fn server_frames(count: usize) -> Vec<u8> {
    server_frame(PAYLOAD).repeat(count)
}

/// [`PAYLOAD`] `count` times as a client frames it.
pub fn client_frames(count: usize) -> Vec<u8> {
    client_frame(PAYLOAD).repeat(count)
}

/// A text as a server frames it.
pub fn server_frame(payload: &[u8]) -> Vec<u8> {
    [&header(payload.len(), 0), payload].concat()
}

/// A text as a client frames it.
pub fn client_frame(payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = header(payload.len(), 0x80);
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(a, b)| a ^ b));
    frame
}

fn header(payload_bytes: usize, masked: u8) -> Vec<u8> {
    match payload_bytes {
        0..126 => vec![0x81, masked | payload_bytes as u8],
        126..0x1_0000 => [[0x81, masked | 126].as_slice(), &(payload_bytes as u16).to_be_bytes()].concat(),
        _ => [[0x81, masked | 127].as_slice(), &(payload_bytes as u64).to_be_bytes()].concat(),
    }
}

/// Each message is compressed by itself, or this fails.
fn inflate(payload: &[u8]) -> io::Result<Vec<u8>> {
    let compressed = [payload, &[0, 0, 0xff, 0xff]].concat();
    let mut message = Vec::with_capacity(1 << 16);
    Decompress::new(false).decompress_vec(&compressed, &mut message, FlushDecompress::Sync)?;
    Ok(message)
}

/// The fields a browser sends, in its order.
fn request(edge: SocketAddr, path: &str, offer: Offer) -> String {
    let extensions = match offer {
        Offer::Nothing => "",
        Offer::Deflate => "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n",
    };
    format!(
        "GET {path} HTTP/1.1\r\n\
         Host: {edge}\r\n\
         Connection: Upgrade\r\n\
         Pragma: no-cache\r\n\
         Cache-Control: no-cache\r\n\
         User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36\r\n\
         Upgrade: websocket\r\n\
         Origin: http://{edge}\r\n\
         Sec-WebSocket-Version: 13\r\n\
         Accept-Encoding: gzip, deflate, br, zstd\r\n\
         Accept-Language: en-GB,en;q=0.9\r\n\
         Sec-WebSocket-Key: {KEY}\r\n{extensions}\r\n"
    )
}

fn connect(edge: SocketAddr) -> io::Result<TcpStream> {
    let socket = socket(edge)?;
    socket.connect(&edge.into())?;
    Ok(socket.into())
}

fn socket(edge: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(edge), Type::STREAM, None)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_read_timeout(Some(ANSWER_MAX))?;
    // Closed by a reset: tens of thousands of connections in TIME_WAIT would use up the ports.
    socket.set_linger(Some(Duration::ZERO))?;
    Ok(socket)
}

fn unexpected(what: &str, received: &[u8]) -> io::Error {
    io::Error::other(format!("unexpected {what}: {}", received.escape_ascii()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_have_the_sizes_the_floor_counts_by() {
        assert_eq!(server_frames(1).len(), 66);
        assert_eq!(client_frames(8).len(), 8 * 70);
    }
}
