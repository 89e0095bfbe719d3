//! A WebSocket client that costs next to nothing: blocking sockets, frames encoded beforehand, answers compared byte for byte.
//! Blocking reads in a fixed order suffice, since every measurement knows exactly what each connection must receive.
//!
//! Owns the bytes of the opening handshake and of the frames; imports nothing of this crate.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// The payload of every message: text, since that is what most channels carry, and its check is part of the cost.
pub const PAYLOAD: &[u8; 64] = b"{\"symbol\":\"FNTL\",\"price\":101.25,\"volume\":120,\"time\":17000000000}";

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// The answer to the key that every client sends, both from RFC 6455 §1.3.
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// How many handshakes are on their way at once.
pub const WINDOW: usize = 64;

/// A server that takes longer to answer counts as failed.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// One open WebSocket.
pub struct Client(TcpStream);

impl Client {
    /// Opens `count` connections to `path`, a window of them at a time, and checks each answer.
    pub fn open_many(edge: SocketAddr, path: &str, count: usize) -> io::Result<Vec<Self>> {
        let request = request(edge, path);
        let mut clients = Vec::with_capacity(count);
        while clients.len() < count {
            let window_start = clients.len();
            for _ in 0..WINDOW.min(count - window_start) {
                let mut stream = connect(edge)?;
                stream.write_all(request.as_bytes())?;
                clients.push(Self(stream));
            }
            for client in &mut clients[window_start..] {
                client.expect_switch()?;
            }
        }
        Ok(clients)
    }

    /// Sends `bytes` in one write.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    /// Waits for exactly these bytes, at most 1,024.
    pub fn expect(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut received = [0; 1024];
        let received = &mut received[..bytes.len()];
        self.0.read_exact(received)?;
        if received != bytes {
            return Err(unexpected("frame", received));
        }
        Ok(())
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

    fn expect_switch(&mut self) -> io::Result<()> {
        let mut answer = [0; 1024];
        let mut filled = 0;
        while !answer[..filled].ends_with(b"\r\n\r\n") {
            match self.0.read(&mut answer[filled..])? {
                0 => return Err(unexpected("end of the answer", &answer[..filled])),
                count => filled += count,
            }
        }
        let text = String::from_utf8_lossy(&answer[..filled]);
        if !text.starts_with("HTTP/1.1 101 ") || !text.contains(ACCEPT) {
            return Err(unexpected("answer", text.as_bytes()));
        }
        Ok(())
    }
}

/// [`PAYLOAD`] `count` times as a server frames it.
pub fn server_frames(count: usize) -> Vec<u8> {
    [[0x81, 64].as_slice(), PAYLOAD].concat().repeat(count)
}

/// [`PAYLOAD`] `count` times as a client frames it.
pub fn client_frames(count: usize) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = vec![0x81, 0x80 | 64];
    frame.extend(mask);
    frame.extend(PAYLOAD.iter().zip(mask.iter().cycle()).map(|(a, b)| a ^ b));
    frame.repeat(count)
}

/// The fields a browser sends, in its order; no extension is offered, so that nobody compresses.
fn request(edge: SocketAddr, path: &str) -> String {
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
         Sec-WebSocket-Key: {KEY}\r\n\r\n"
    )
}

fn connect(edge: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(edge), Type::STREAM, None)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_read_timeout(Some(ANSWER_MAX))?;
    // Closed by a reset: tens of thousands of connections in TIME_WAIT would use up the ports.
    socket.set_linger(Some(Duration::ZERO))?;
    socket.connect(&edge.into())?;
    Ok(socket.into())
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
