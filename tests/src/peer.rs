//! One connection to the server, as blocking as can be. Imports [`crate::http`], [`crate::frame`] and [`crate::inflate`].

use std::io::{ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread::yield_now;

use socket2::SockRef;

use crate::{Frame, PATIENCE, Request, Response, inflate};

/// A client that sends exactly what it is told to and reads answers and frames strictly.
///
/// Every read waits at most [`PATIENCE`]; a server that stays silent for longer fails the test.
pub struct Peer {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Peer {
    /// Connects.
    pub fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect_timeout(&address, PATIENCE).expect("the server accepts"))
    }

    /// Takes over a connected socket.
    pub fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("TCP_NODELAY");
        stream.set_read_timeout(Some(PATIENCE)).expect("a read timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a write timeout");
        Self { stream, received: Vec::new() }
    }

    /// Connects and upgrades at `path`.
    pub fn upgrade(address: SocketAddr, path: &str) -> Self {
        Self::upgrade_with(address, Request::upgrade(path)).0
    }

    /// Connects and upgrades with this request; the answer must be 101.
    pub fn upgrade_with(address: SocketAddr, request: Request) -> (Self, Response) {
        let (peer, response) = Self::ask(address, request);
        assert_eq!(response.status, 101, "{response:?}");
        (peer, response)
    }

    /// Connects, sends these bytes and reads one answer.
    pub fn ask(address: SocketAddr, request: impl Into<Vec<u8>>) -> (Self, Response) {
        let mut peer = Self::connect(address);
        peer.send(request);
        let response = peer.response();
        (peer, response)
    }

    /// The same connection for another thread, so that one sends while the other reads.
    pub fn duplicate(&self) -> Self {
        Self::over(self.stream.try_clone().expect("a descriptor is left"))
    }

    /// The socket, for what a test does to it beyond reading and writing.
    pub fn socket(&self) -> SockRef<'_> {
        SockRef::from(&self.stream)
    }

    /// Sends all of these bytes.
    pub fn send(&mut self, bytes: impl Into<Vec<u8>>) {
        self.stream.write_all(&bytes.into()).expect("the server reads on");
    }

    /// Sends what the server may well stop reading; tells whether all of it went out.
    pub fn try_send(&mut self, bytes: impl Into<Vec<u8>>) -> bool {
        self.stream.write_all(&bytes.into()).is_ok()
    }

    /// Whether nothing has come that is not read yet, not even the end.
    pub fn is_silent(&self) -> bool {
        let socket = self.socket();
        socket.set_nonblocking(true).expect("an open socket");
        let peeked = socket.peek(&mut [MaybeUninit::uninit()]);
        socket.set_nonblocking(false).expect("an open socket");
        self.received.is_empty() && peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    /// Sends each piece by a write of its own, giving the server the chance to read it alone.
    pub fn send_pieces<'a>(&mut self, pieces: impl IntoIterator<Item = &'a [u8]>) {
        for piece in pieces {
            self.stream.write_all(piece).expect("the server reads on");
            yield_now();
        }
    }

    /// Closes the sending half only.
    pub fn finish(&mut self) {
        self.stream.shutdown(Shutdown::Write).expect("an open socket");
    }

    /// Drops the connection by a reset instead of a FIN.
    pub fn reset(self) {
        self.socket().set_linger(Some(std::time::Duration::ZERO)).expect("SO_LINGER");
    }

    /// Reads one answer.
    pub fn response(&mut self) -> Response {
        let mut response = self.response_head();
        response.body = if response.status < 200 || response.status == 204 {
            Vec::new()
        } else if response.lists("Transfer-Encoding", "chunked") {
            self.chunks()
        } else if let Some(length) = response.field("Content-Length") {
            let length = length.parse().expect("a length");
            self.take(length)
        } else {
            self.rest()
        };
        response
    }

    /// Reads one answer that has no body whatever its fields say: the answer to HEAD.
    pub fn response_head(&mut self) -> Response {
        let head = self.take_until(b"\r\n\r\n");
        Response::parse_head(&head)
    }

    /// Reads one frame.
    ///
    /// # Panics
    /// If it is masked, not minimal in its length, or has RSV2 or RSV3 set.
    pub fn frame(&mut self) -> Frame {
        let head = self.take(2);
        assert_eq!(head[1] & 0x80, 0, "a server must not mask");
        let length = match head[1] {
            126 => {
                let length = u16::from_be_bytes(self.take(2).try_into().expect("two bytes"));
                assert!(length > 125, "{length} in two bytes");
                usize::from(length)
            }
            127 => {
                let length = u64::from_be_bytes(self.take(8).try_into().expect("eight bytes"));
                assert!(length > 0xFFFF, "{length} in eight bytes");
                length as usize
            }
            short => usize::from(short),
        };
        let rsv = head[0] >> 4 & 0b111;
        assert_eq!(rsv & !Frame::RSV1, 0, "RSV2 and RSV3 belong to nobody");
        Frame { fin: head[0] & 0x80 != 0, rsv, opcode: head[0] & 0x0F, payload: self.take(length) }
    }

    /// Reads one message that came as a single frame, and inflates it if it was compressed.
    pub fn message(&mut self) -> Frame {
        let frame = self.frame();
        assert!(frame.fin, "the server does not fragment");
        match frame.rsv {
            0 => frame,
            _ => Frame::new(frame.opcode, inflate(&frame.payload).bytes),
        }
    }

    /// Reads the next message, which must be this one.
    pub fn expect(&mut self, expected: Frame) {
        let message = self.message();
        assert!(message == expected, "expected {}, got {}", summary(&expected), summary(&message));
    }

    /// Sends a text message and reads it back: an echo connection that is well.
    pub fn expect_echo(&mut self, text: &str) {
        self.send(Frame::text(text));
        self.expect(Frame::text(text));
    }

    /// Reads the server's close frame, which must carry `code`, answers it, and reads the end of the connection.
    pub fn expect_close(&mut self, code: u16) {
        self.expect_close_among(&[code]);
    }

    /// As [`Peer::expect_close`], where more than one code will do.
    pub fn expect_close_among(&mut self, codes: &[u16]) {
        let frame = self.frame();
        assert_eq!(frame.opcode, Frame::CLOSE, "expected a close, got {}", summary(&frame));
        assert!(frame.fin && frame.rsv == 0 && frame.payload.len() <= 125, "{frame:?}");
        let (code, reason) = frame.payload.split_at_checked(2).expect("a close code");
        let code = u16::from_be_bytes([code[0], code[1]]);
        let reason = str::from_utf8(reason).expect("a reason in UTF-8");
        assert!(codes.contains(&code), "closed with {code} {reason:?}, not {codes:?}");
        self.try_send(frame);
        self.expect_end();
    }

    /// Nothing more comes, and the server ends the connection.
    pub fn expect_end(&mut self) {
        let rest = self.rest();
        assert!(rest.is_empty(), "{} more bytes: {:02X?}", rest.len(), &rest[..rest.len().min(40)]);
    }

    /// Everything up to the end of the connection.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.fill() > 0 {}
        std::mem::take(&mut self.received)
    }

    /// Waits for more bytes, and tells how many one read brought; 0 at the end, be it a FIN or a reset.
    ///
    /// # Panics
    /// If none come for [`PATIENCE`].
    pub fn fill(&mut self) -> usize {
        let mut buffer = [0; 65_536];
        match self.stream.read(&mut buffer) {
            Ok(count) => {
                self.received.extend(&buffer[..count]);
                count
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
            Err(error) => panic!("nothing came within {PATIENCE:?}: {error}; {}", self.unread()),
        }
    }

    fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let line = self.take_until(b"\r\n");
            let size = str::from_utf8(&line).ok().and_then(|line| usize::from_str_radix(line.trim_end(), 16).ok());
            let size = size.expect("a chunk size");
            body.extend(self.take(size));
            assert_eq!(self.take(2), b"\r\n");
            if size == 0 {
                return body;
            }
        }
    }

    fn take_until(&mut self, end: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = self.received.windows(end.len()).position(|window| window == end) {
                return self.take(at + end.len());
            }
            self.fill_or_fail();
        }
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        while self.received.len() < count {
            self.fill_or_fail();
        }
        let rest = self.received.split_off(count);
        std::mem::replace(&mut self.received, rest)
    }

    fn fill_or_fail(&mut self) {
        assert!(self.fill() > 0, "the connection ended; {}", self.unread());
    }

    /// What has come, as far as a failure's message should tell it.
    fn unread(&self) -> String {
        let start = self.received[..self.received.len().min(200)].escape_ascii();
        format!("{} bytes came: {start}", self.received.len())
    }
}

/// A frame in a line: payloads of megabytes do not belong into a failure's message.
fn summary(frame: &Frame) -> String {
    let start = frame.payload[..frame.payload.len().min(60)].escape_ascii();
    format!("opcode {:X}, fin {}, rsv {}, {} bytes: {start}", frame.opcode, frame.fin, frame.rsv, frame.payload.len())
}
