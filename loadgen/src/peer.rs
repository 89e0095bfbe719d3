//! One connection to the server under load: a blocking socket with the codec's client on it.

use std::{
    hash::{BuildHasher, RandomState},
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use fantail_codec::{
    CloseCode, Event, Kind, Role, Scratch, WebSocket,
    accept::{self, Key},
    frame::{FrameHeader, OpCode, write_frame},
    limits::MessageLimits,
};

/// Where the server is.
#[derive(Clone, Debug, PartialEq)]
pub struct Url {
    /// Host and port.
    authority: String,
    path: String,
}

impl Url {
    /// The parts of `ws://HOST:PORT/PATH`.
    pub fn parse(text: &str) -> Result<Url, String> {
        let rest = text.strip_prefix("ws://").filter(|rest| rest.contains(':'));
        let rest = rest.ok_or_else(|| format!("{text:?}: expected ws://HOST:PORT/PATH"))?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        Ok(Url { authority: authority.into(), path: if path.is_empty() { "/".into() } else { path.into() } })
    }
}

/// An open WebSocket.
pub struct Peer {
    socket: TcpStream,
    websocket: WebSocket,
    scratch: Scratch,
    buffer: Vec<u8>,
    /// The part of `buffer` that is received and not yet looked at.
    received: std::ops::Range<usize>,
    random: RandomState,
    sent: u64,
}

const RECEIVE_BYTES: usize = 64 << 10;
const LIMITS: MessageLimits = MessageLimits { message_bytes_max: 1 << 30, fragments_max: u32::MAX };
/// The key of RFC 6455 §1.3. Any key shows whether the server understands the handshake.
const KEY: &[u8] = b"dGhlIHNhbXBsZSBub25jZQ==";

impl Peer {
    /// Connects and upgrades; the accept value is verified.
    pub fn open(url: &Url, silence_max: Duration) -> Result<Peer, String> {
        let failed = |error: std::io::Error| format!("{}: {error}", url.authority);
        let mut socket = TcpStream::connect(&url.authority).map_err(failed)?;
        socket.set_nodelay(true).map_err(failed)?;
        socket.set_read_timeout(Some(silence_max)).map_err(failed)?;
        socket.set_write_timeout(Some(silence_max)).map_err(failed)?;
        let key = std::str::from_utf8(KEY).unwrap_or_default();
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n",
            url.path, url.authority
        );
        socket.write_all(request.as_bytes()).map_err(failed)?;
        let (mut buffer, mut length) = (vec![0; RECEIVE_BYTES], 0);
        let head_bytes = loop {
            match socket.read(&mut buffer[length..]).map_err(failed)? {
                0 => return Err(format!("{}: closed during the handshake", url.authority)),
                more => length += more,
            }
            if let Some(end) = buffer[..length].windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
        };
        verify(&buffer[..head_bytes])?;
        Ok(Peer {
            socket,
            websocket: WebSocket::new(Role::Client, None),
            scratch: Scratch::default(),
            buffer,
            received: head_bytes..length,
            random: RandomState::new(),
            sent: 0,
        })
    }

    /// Sends a binary message in one frame.
    pub fn send(&mut self, payload: &[u8]) -> Result<(), String> {
        let mut frame = Vec::with_capacity(payload.len() + 14);
        let header = FrameHeader { mask: Some(self.mask()), ..FrameHeader::whole(OpCode::Binary, payload.len()) };
        write_frame(header, payload, &mut frame);
        self.socket.write_all(&frame).map_err(|error| format!("cannot send: {error}"))
    }

    /// Receives the next message, which must be this.
    pub fn expect(&mut self, payload: &[u8]) -> Result<(), String> {
        loop {
            let mut input = &mut self.buffer[self.received.clone()];
            let before = input.len();
            let event = self.websocket.receive(&mut input, &LIMITS, &mut self.scratch);
            let outcome = match event {
                Ok(Some(Event::Message(Kind::Binary, echoed))) if echoed == payload => Some(Ok(())),
                Ok(Some(Event::Message(..))) => Some(Err("the answer is not what was sent".to_owned())),
                Ok(Some(Event::Close(close))) => Some(Err(format!("the server closed: {close:?}"))),
                Ok(Some(Event::Ping(_) | Event::Pong(_)) | None) => None,
                Err(error) => Some(Err(format!("the server broke the protocol: {error}"))),
            };
            self.received.start += before - input.len();
            if let Some(outcome) = outcome {
                return outcome;
            }
            if self.received.is_empty() {
                self.received = 0..self.receive()?;
            }
        }
    }

    /// The closing handshake, up to the server's close.
    pub fn close(mut self) -> Result<(), String> {
        let (mask, mut out) = (self.mask(), Vec::new());
        self.websocket.write_close(Some(CloseCode::NORMAL), "", Some(mask), &mut out);
        self.socket.write_all(&out).map_err(|error| format!("cannot send: {error}"))?;
        while !self.websocket.is_closed() {
            self.received = 0..self.receive()?;
            let mut input = &mut self.buffer[self.received.clone()];
            while self.websocket.receive(&mut input, &LIMITS, &mut self.scratch).map_err(|error| error.to_string())?.is_some() {}
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<usize, String> {
        match self.socket.read(&mut self.buffer) {
            Ok(0) => Err("the server closed without a close frame".into()),
            Ok(length) => Ok(length),
            Err(error) => Err(format!("no answer: {error}")),
        }
    }

    /// A masking key that an observer cannot foresee, RFC 6455 §5.3.
    fn mask(&mut self) -> [u8; 4] {
        self.sent += 1;
        (self.random.hash_one(self.sent) as u32).to_ne_bytes()
    }
}

/// The response must be a 101 with the accept value of our key.
fn verify(head: &[u8]) -> Result<(), String> {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.split("\r\n");
    let status = lines.next().unwrap_or_default();
    if !status.starts_with("HTTP/1.1 101 ") {
        return Err(format!("expected a 101, got {status:?}"));
    }
    let fields = lines.filter_map(|line| line.split_once(':'));
    let given: Vec<&str> =
        fields.filter(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-accept")).map(|(_, value)| value.trim()).collect();
    let key = Key::parse(KEY).map_err(|error| error.to_string())?;
    let mut verified = false;
    accept::hash(&[key], |_, accept| verified = given == [&*String::from_utf8_lossy(accept)]);
    if verified { Ok(()) } else { Err(format!("expected one right Sec-WebSocket-Accept, got {given:?}")) }
}
