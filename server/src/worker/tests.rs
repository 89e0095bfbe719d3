//! Hub, subscribers, outboxes and worker together against a model: whoever subscribes gets the last value, then later publications in order, without a
//! gap unless it was conflated, and the latest value at last; and nobody's backlog passes its limit.

use std::{
    collections::HashMap,
    io::{ErrorKind, Read},
    net::{SocketAddr, TcpListener},
};

use fantail_codec::{Event, Kind, Role, Scratch, WebSocket, limits::MessageLimits};
use proptest::prelude::*;
use socket2::{Domain, Socket, Type};

use super::{watching::Watching, *};
use crate::{
    auth::Verifier,
    config,
    hub::{Hub, Message},
    metrics::Metrics,
};

const OUTBOX_BYTES_MAX: usize = 4096;
/// Two without delay and one that waits for its next multiple of 10 ms.
const CHANNELS: [&str; 3] = ["a", "b", "late:c"];
const CLIENTS: usize = 4;

#[derive(Clone, Debug)]
enum Step {
    Publish {
        channel: usize,
        padding: usize,
    },
    Subscribe {
        client: usize,
        channel: usize,
    },
    Cut {
        client: usize,
    },
    /// Lets a client read so many bytes.
    Read {
        client: usize,
        bytes: usize,
    },
    Turn {
        later_ms: u32,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let (channel, client) = (0..CHANNELS.len(), 0..CLIENTS);
    prop_oneof![
        6 => (channel.clone(), prop_oneof![0..100usize, 1000..20_000usize]).prop_map(|(channel, padding)| Step::Publish { channel, padding }),
        1 => (client.clone(), channel).prop_map(|(client, channel)| Step::Subscribe { client, channel }),
        1 => client.clone().prop_map(|client| Step::Cut { client }),
        3 => (client, 0..60_000usize).prop_map(|(client, bytes)| Step::Read { client, bytes }),
        4 => (0..15u32).prop_map(|later_ms| Step::Turn { later_ms }),
    ]
}

/// One subscriber: its end of the connection, and what it has seen.
struct Client {
    key: usize,
    channel: usize,
    socket: TcpStream,
    websocket: WebSocket,
    handshake: Vec<u8>,
    opened: bool,
    /// The channel's offset when it subscribed.
    since: u64,
    seen: Vec<u64>,
}

struct World {
    worker: Worker,
    driver: Watching,
    hub: Arc<Hub>,
    metrics: Arc<Metrics>,
    listener: TcpListener,
    clients: HashMap<usize, Client>,
    offsets: [u64; CHANNELS.len()],
}

impl World {
    fn new() -> World {
        let base = [("limits.outbox_bytes_max", "4096"), ("hub.namespaces.late.flush_ms", "10"), ("deflate.enabled", "false")];
        let config = config::load(&base, None, std::iter::empty(), &[]).unwrap();
        let mailbox = Arc::new(Mailbox::new(config.limits.mailbox_bytes_max));
        let hub = Arc::new(Hub::new(config.hub.clone(), vec![Arc::clone(&mailbox)]));
        let metrics = Arc::<Metrics>::default();
        let verifier = Arc::new(Verifier::new(&config.auth).unwrap());
        let context = Context::new(&config, 0, &hub, &verifier, Arc::clone(&metrics), &[]);
        let worker = Worker::new(&config, context, mailbox, Arc::new(Room::new(100)));
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        // The smallest buffer the kernel gives, so that it soon refuses; accepted sockets inherit it.
        listener.set_send_buffer_size(1).unwrap();
        listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        listener.listen(16).unwrap();
        let driver = Watching::default();
        World { worker, driver, hub, metrics, listener: listener.into(), clients: HashMap::new(), offsets: [0; CHANNELS.len()] }
    }

    fn subscribe(&mut self, client: usize, channel: usize) {
        let (key, mut request) = self.connect(client, channel);
        self.worker.received(key, &mut request);
    }

    /// Connects; returns the connection's key and what is to be received of it.
    fn connect(&mut self, client: usize, channel: usize) -> (usize, Vec<u8>) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.connect(&self.listener.local_addr().unwrap().into()).unwrap();
        socket.set_nonblocking(true).unwrap();
        let (ours, _) = self.listener.accept().unwrap();
        ours.set_nonblocking(true).unwrap();
        let key = self.worker.accepted(ours);
        let request = format!(
            "GET /raw/{} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
            CHANNELS[channel]
        )
        .into_bytes();
        let fresh = Client {
            key,
            channel,
            socket: socket.into(),
            websocket: WebSocket::new(Role::Client, None),
            handshake: Vec::new(),
            opened: false,
            since: self.offsets[channel],
            seen: Vec::new(),
        };
        if let Some(before) = self.clients.insert(client, fresh) {
            self.worker.failed(before.key);
        }
        (key, request)
    }

    fn turn(&mut self, later_ms: u32) {
        self.worker.context.now_ms += later_ms;
        for key in std::mem::take(&mut self.driver.watched) {
            self.worker.writable(key);
        }
        self.worker.end_turn(&mut self.driver).unwrap();
        for (_, connection) in &self.worker.connections {
            let waiting = connection.backlog.as_ref().map_or(0, |backlog| backlog.bytes());
            // What has begun to be sent cannot be taken back.
            assert!(waiting <= OUTBOX_BYTES_MAX.max(20_100), "{waiting}");
        }
    }

    fn apply(&mut self, step: &Step) {
        match *step {
            Step::Publish { channel, padding } => {
                self.offsets[channel] += 1;
                let payload = format!("{} {}", self.offsets[channel], "x".repeat(padding));
                let position =
                    self.hub.publish(CHANNELS[channel], Message::new(Kind::Text, payload.as_bytes()), false, Instant::now()).unwrap();
                assert_eq!(position.offset, self.offsets[channel]);
            }
            Step::Subscribe { client, channel } => self.subscribe(client, channel),
            Step::Cut { client } => {
                if let Some(cut) = self.clients.remove(&client) {
                    self.worker.failed(cut.key);
                }
            }
            Step::Read { client, bytes } => {
                if let Some(client) = self.clients.get_mut(&client) {
                    client.read(bytes);
                }
            }
            Step::Turn { later_ms } => self.turn(later_ms),
        }
    }

    /// Lets everything arrive, then compares with the model.
    fn settle(mut self) {
        let mut quiet = 0;
        // The first takes the mail, the second delivers what waits for its multiple of 10 ms.
        self.turn(10);
        self.turn(10);
        while quiet < 3 {
            self.turn(0);
            let read: usize = self.clients.values_mut().map(|client| client.read(usize::MAX)).sum();
            let waiting = self.worker.connections.iter().any(|(_, connection)| connection.backlog.is_some());
            quiet = if read == 0 && !waiting { quiet + 1 } else { 0 };
            if read == 0 && waiting {
                // The kernel moves what was sent in its own time.
                std::thread::yield_now();
            }
        }
        let conflated = self.metrics.conflated.get();
        for client in self.clients.values() {
            let top = self.offsets[client.channel];
            assert!(client.seen.is_sorted_by(|before, after| before < after), "{:?}", client.seen);
            assert_eq!(client.seen.last().copied().unwrap_or(0), top, "the latest value arrives at last");
            let first = client.seen.first().copied().unwrap_or(0);
            assert!(first >= client.since, "the last value first, then what is later");
            if conflated == 0 {
                let expected: Vec<u64> = (client.since.max(1)..=top).collect();
                assert_eq!(client.seen, expected, "no gap");
            }
        }
    }
}

impl Client {
    /// Reads up to so many bytes; returns how many there were.
    fn read(&mut self, bytes: usize) -> usize {
        let mut buffer = vec![0; bytes.min(64 << 10)];
        let mut total = 0;
        while total < bytes && !buffer.is_empty() {
            let room = buffer.len().min(bytes - total);
            let length = match self.socket.read(&mut buffer[..room]) {
                Ok(0) => panic!("the server closed"),
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            };
            total += length;
            self.take(&mut buffer[..length]);
        }
        total
    }

    fn take(&mut self, mut bytes: &mut [u8]) {
        while !self.opened {
            let [byte, rest @ ..] = bytes else { return };
            self.handshake.push(*byte);
            bytes = rest;
            self.opened = self.handshake.ends_with(b"\r\n\r\n");
        }
        let mut scratch = Scratch::default();
        while let Some(event) = self.websocket.receive(&mut bytes, &MessageLimits::DEFAULT, &mut scratch).unwrap() {
            let Event::Message(Kind::Text, payload) = event else { panic!("{event:?}") };
            let text = std::str::from_utf8(payload).unwrap();
            self.seen.push(text.split(' ').next().unwrap().parse().unwrap());
        }
    }
}

#[test]
fn who_comes_while_many_are_written_to_is_answered_before_the_last_of_them() {
    let mut world = World::new();
    (0..7).for_each(|client| world.subscribe(client, 0));
    world.turn(0);
    world.apply(&Step::Publish { channel: 0, padding: 0 });
    let (key, request) = world.connect(7, 0);
    world.driver.arriving.push((key, request));
    world.turn(0);
    assert_eq!(world.driver.waiting, [world.clients[&6].key], "when the worker last looked, that was all");
    let client = world.clients.get_mut(&7).unwrap();
    client.read(usize::MAX);
    assert!(client.handshake.windows(28).any(|accept| accept == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "RFC 6455 section 1.3");
    assert_eq!(client.seen, [1]);
    world.settle();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn order_and_conflation_as_in_the_model(steps in prop::collection::vec(step(), 0..300)) {
        let mut world = World::new();
        for client in 0..CLIENTS {
            world.subscribe(client, client % CHANNELS.len());
        }
        steps.iter().for_each(|step| world.apply(step));
        world.settle();
    }
}
