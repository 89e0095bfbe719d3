//! What a scenario may do with a thread's connections: send, answer, look at the clock. Owns the connections; the protocol that is read from
//! them is the worker's. Imports `link`, `opener`, `control`, `destination`.

use std::{io, net::SocketAddr, sync::Arc};

use fantail_codec::{
    CloseCode, WebSocket,
    accept::Key,
    deflate::{Agreement, Deflater},
    frame::{FrameHeader, OpCode, apply_mask},
    http1::HeadScan,
    limits::FRAME_HEADER_BYTES_MAX,
    upgrade::client::Offer,
};
use mio::{Interest, Registry, Token};
use slab::Slab;

use super::{
    control::{Control, Progress, count},
    destination::Destination,
    link::{Asked, Link, Opening, State},
    opener::Opened,
};
use crate::{
    net::{Stream, socket},
    payload::{Marker, Payloads, Template, Values, fingerprint},
    plan::Plan,
};

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The kernel has all of it; the time is just before it was handed over.
    Whole(u64),
    /// The server does not read: it was begun at this time, the rest goes when it does, and then [`Scenario::handed`](super::Scenario::handed) is
    /// called.
    Partly(u64),
    /// The connection broke, of which [`Scenario::ended`](super::Scenario::ended) tells.
    Gone,
}

/// A thread's connections and the means to use them.
pub struct Io {
    /// The plan of the run.
    pub plan: Arc<Plan>,
    /// Shared with the director and the other threads.
    pub control: Arc<Control>,
    /// The run's payloads.
    pub payloads: Payloads,
    /// This thread's number.
    pub thread: usize,
    pub(super) registry: Registry,
    pub(super) links: Slab<Link>,
    pub(super) opened: Opened,
    pub(super) received_ns: u64,
    /// Connections that broke while something else was done with them.
    pub(super) broken: Vec<Broken>,
    /// What each connection agreed to, where it compresses.
    pub(super) agreements: Vec<Option<Agreement>>,
    deflater: Deflater,
    random: fastrand::Rng,
    /// The frame that is being made: room for a header, then the payload.
    frame: Vec<u8>,
    deflated: Vec<u8>,
    fingerprint: u64,
}

/// A connection that broke; its key may be another's by the time that this is looked at.
pub(super) struct Broken {
    pub(super) key: usize,
    pub(super) number: usize,
    pub(super) text: String,
}

/// Fast, as compressing must not make the generator the limit.
const DEFLATE_LEVEL: u8 = 1;
/// Smaller messages do not shrink.
const DEFLATE_BYTES_MIN: usize = 32;

impl Io {
    pub(super) fn new(plan: Arc<Plan>, control: Arc<Control>, payloads: Payloads, thread: usize, registry: Registry) -> Io {
        Io {
            random: fastrand::Rng::with_seed(plan.seed ^ (thread as u64) << 32),
            plan,
            control,
            payloads,
            thread,
            registry,
            links: Slab::new(),
            opened: Opened::default(),
            received_ns: 0,
            broken: Vec::new(),
            agreements: Vec::new(),
            deflater: Deflater::new(DEFLATE_LEVEL),
            frame: vec![0; FRAME_HEADER_BYTES_MAX],
            deflated: Vec::new(),
            fingerprint: 0,
        }
    }

    /// This thread's counters.
    pub fn progress(&self) -> &Progress {
        self.control.progress(self.thread)
    }

    /// Nanoseconds of the run's clock.
    pub fn now_ns(&self) -> u64 {
        self.control.clock.now_ns()
    }

    /// When the bytes that ended the current message were received.
    pub fn received_ns(&self) -> u64 {
        self.received_ns
    }

    /// The connection's number over all threads.
    pub fn number(&self, key: usize) -> usize {
        self.links[key].number
    }

    /// Whether the connection is open and the kernel has taken all that was sent on it.
    pub fn is_free(&self, key: usize) -> bool {
        self.links.get(key).is_some_and(|link| link.is_open() && !link.is_blocked())
    }

    /// It is known whether the connection can be used: its first exchange is done, or it failed. Counts once for each.
    pub fn settle(&mut self, key: usize) {
        if !std::mem::replace(&mut self.links[key].settled, true) {
            count(&self.progress().settled, 1);
        }
    }

    /// The fingerprint of the plan's message that was sent last.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// Sends the plan's message with this marker.
    pub fn send_message(&mut self, key: usize, marker: &Marker) -> Sent {
        let mut frame = self.begin();
        if self.plan.traffic.message.is_payload() {
            self.payloads.write(marker, &mut frame);
        } else {
            let mut random = self.random.fork();
            self.render(key, &self.plan.traffic.message, marker, &mut random, &mut frame);
        }
        self.fingerprint = fingerprint(&frame[FRAME_HEADER_BYTES_MAX..]);
        self.finish(key, self.plan.traffic.kind.into(), frame)
    }

    /// Renders a template and sends it as one message of the plan's kind.
    pub fn send_template(&mut self, key: usize, template: &Template) -> Sent {
        let mut frame = self.begin();
        let mut random = self.random.fork();
        self.render(key, template, &Marker::default(), &mut random, &mut frame);
        self.finish(key, self.plan.traffic.kind.into(), frame)
    }

    fn render(&self, key: usize, template: &Template, marker: &Marker, random: &mut fastrand::Rng, out: &mut Vec<u8>) {
        let number = self.links[key].number;
        let channel = self.plan.channel_of(number);
        let values = Values { marker: *marker, conn: number as u64, seq: marker.seq, channel: &channel };
        template.render(&values, &self.payloads, random, out);
    }

    /// Answers something that the server says by itself, unless it does not read: then a later one is answered (of pings, RFC 6455 §5.5.3), as
    /// what waits for such a server must not fill our memory.
    pub(super) fn reply(&mut self, key: usize, opcode: OpCode, payload: &[u8]) {
        if self.is_free(key) {
            let mut frame = self.begin();
            frame.extend_from_slice(payload);
            self.finish(key, opcode, frame);
        }
    }

    /// The payload is written behind room for the longest header, so that it is written once.
    fn begin(&mut self) -> Vec<u8> {
        let mut frame = std::mem::take(&mut self.frame);
        frame.truncate(FRAME_HEADER_BYTES_MAX);
        frame
    }

    fn finish(&mut self, key: usize, opcode: OpCode, mut frame: Vec<u8>) -> Sent {
        let mut rsv1 = false;
        if let Some(Some(agreement)) = self.agreements.get(key)
            && !opcode.is_control()
            && frame.len() >= FRAME_HEADER_BYTES_MAX + DEFLATE_BYTES_MIN
        {
            self.deflated.clear();
            self.deflater.message(agreement.client_window_bits, &frame[FRAME_HEADER_BYTES_MAX..], &mut self.deflated);
            frame.truncate(FRAME_HEADER_BYTES_MAX);
            frame.extend_from_slice(&self.deflated);
            rsv1 = true;
        }
        let mask = self.random.u32(..).to_ne_bytes();
        let (room, payload) = frame.split_at_mut(FRAME_HEADER_BYTES_MAX);
        apply_mask(payload, mask);
        let header = FrameHeader { mask: Some(mask), rsv1, ..FrameHeader::whole(opcode, payload.len()) };
        let (header, length) = header.encode();
        let start = FRAME_HEADER_BYTES_MAX - length;
        room[start..].copy_from_slice(&header[..length]);
        let begun_ns = self.now_ns();
        let sent = match self.links[key].send(&frame[start..]) {
            Ok(true) => Sent::Whole(begun_ns),
            Ok(false) => Sent::Partly(begun_ns),
            Err(error) => {
                let number = self.links[key].number;
                self.broken.push(Broken { key, number, text: error.to_string() });
                Sent::Gone
            }
        };
        self.frame = frame;
        sent
    }

    /// The address that the connection of this number goes to.
    pub(super) fn address_of(&self, destination: &Destination, number: usize) -> SocketAddr {
        destination.addresses[number / self.plan.urls.len() % destination.addresses.len()]
    }

    /// Begins a connection and gives its key.
    pub(super) fn connect(&mut self, destination: &Destination, number: usize, opening: Opening) -> io::Result<usize> {
        let turn = number / self.plan.urls.len();
        let address = self.address_of(destination, number);
        let local = (!destination.local.is_empty()).then(|| destination.local[turn % destination.local.len()]);
        let socket = socket::connect(address, local)?;
        let tls = destination.tls.as_ref().map(|(name, config)| (config, name.as_str()));
        let mut link = Link::new(Stream::new(socket, tls)?, number, opening);
        let entry = self.links.vacant_entry();
        let key = entry.key();
        self.registry.register(link.stream.socket(), Token(key), Interest::READABLE | Interest::WRITABLE)?;
        entry.insert(link);
        Ok(key)
    }

    /// Sends the upgrade request, if the socket is connected and TLS is done by now.
    pub(super) fn ask(&mut self, key: usize, destination: &Destination) -> io::Result<()> {
        let link = &mut self.links[key];
        let State::Opening(opening) = &mut link.state else { return Ok(()) };
        if link.stream.is_tls() {
            // The first call is by the event that says that the socket is connected.
            opening.connected_ns.get_or_insert_with(|| self.control.clock.now_ns());
            link.stream.flush()?;
            if link.stream.is_securing() {
                return Ok(());
            }
        }
        let mut target = Vec::new();
        let mut random = self.random.fork();
        self.render(key, &destination.target, &Marker::default(), &mut random, &mut target);
        let target = String::from_utf8_lossy(&target);
        let websocket_key = Key::from_nonce(std::array::from_fn(|_| random.u8(..)));
        let mut request = Vec::with_capacity(512);
        destination.offer(&self.plan.opening, &target, websocket_key).write(&mut request);
        let asked_ns = self.control.clock.now_ns();
        let link = &mut self.links[key];
        // Until it is connected, a socket takes nothing: one call tells whether it is, and sends.
        let taken = match link.stream.write(&request) {
            Ok(taken) => taken,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock || error.kind() == io::ErrorKind::NotConnected => return Ok(()),
            Err(error) => return Err(error),
        };
        link.send(&request[taken..])?;
        if let State::Opening(opening) = &mut link.state {
            opening.connected_ns.get_or_insert(asked_ns);
            opening.asked = Some(Asked { at_ns: asked_ns, key: websocket_key, scan: HeadScan::for_response(), head: Vec::new() });
        }
        Ok(())
    }

    /// Begins the closing handshake.
    pub(super) fn close(&mut self, key: usize, websocket: &mut WebSocket) {
        self.answer_close(key, websocket);
        self.links[key].state = State::Closing;
    }

    /// Sends our close frame, if it is not out yet.
    pub(super) fn answer_close(&mut self, key: usize, websocket: &mut WebSocket) {
        let mask = Some(self.random.u32(..).to_ne_bytes());
        let mut frame = Vec::new();
        websocket.write_close(Some(CloseCode::NORMAL), "", mask, &mut frame);
        if let Err(error) = self.links[key].send(&frame) {
            let number = self.links[key].number;
            self.broken.push(Broken { key, number, text: error.to_string() });
        }
    }
}

impl Destination {
    /// The upgrade request to this destination.
    pub(super) fn offer<'a>(&'a self, opening: &'a crate::plan::Opening, target: &'a str, key: Key) -> Offer<'a> {
        Offer { host: &self.host, target, key, fields: &opening.fields, subprotocols: &opening.subprotocols, deflate: opening.deflate }
    }
}
