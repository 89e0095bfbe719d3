//! Messages of every size around which buffers end, by every way they may arrive: each comes back byte for byte.
//!
//! Contents are random, so that a buffer that was lost, swapped or given back too early shows.

use std::thread;

use fantail_tests::{Frame, Peer, Random, Server, on_each_driver};

on_each_driver! {
    every_size_in_one_frame,
    every_size_in_fragments,
    every_size_in_uneven_pieces,
    every_size_behind_each_other,
    many_connections_send_at_once,
}

const SIZE_MAX: usize = 1 << 20;

/// Zero, and every power of two with its neighbours.
fn sizes() -> Vec<usize> {
    let powers = (0..).map(|exponent| 1 << exponent).take_while(|power| *power <= SIZE_MAX);
    let mut sizes: Vec<usize> = powers.flat_map(|power| [power - 1, power, power + 1]).collect();
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

/// A server that takes the largest of them.
fn start(driver: &str) -> Server {
    Server::start(driver, &[("FANTAIL_LIMITS_MESSAGE_BYTES_MAX", "2097152")])
}

fn echo(server: &Server) -> Peer {
    Peer::upgrade(server.edge, "/echo")
}

/// A message of this size, text or binary.
fn message(size: usize, random: &mut Random) -> Frame {
    if random.below(2) == 0 { Frame::text(random.text(size)) } else { Frame::binary(random.bytes(size)) }
}

/// The bytes of a message in fragments of uneven sizes, of which some are empty.
fn fragments(message: &Frame, random: &mut Random) -> Vec<u8> {
    let mut bytes = Frame::new(message.opcode, []).unfinished().bytes();
    for payload in random.split(&message.payload, message.payload.len() / 3 + 2) {
        bytes.extend(Frame::continuation(payload).unfinished().bytes());
        if random.below(4) == 0 {
            bytes.extend(Frame::continuation([]).unfinished().bytes());
        }
    }
    bytes.extend(Frame::continuation([]).bytes());
    bytes
}

fn every_size_in_one_frame(driver: &str) {
    let server = start(driver);
    let mut random = Random::new(1);
    let mut peer = echo(&server);
    for size in sizes() {
        for message in [Frame::text(random.text(size)), Frame::binary(random.bytes(size))] {
            peer.send(message.clone());
            peer.expect(message);
        }
    }
    server.end();
}

fn every_size_in_fragments(driver: &str) {
    let server = start(driver);
    let mut random = Random::new(2);
    let mut peer = echo(&server);
    for size in sizes() {
        let message = message(size, &mut random);
        peer.send(fragments(&message, &mut random));
        peer.expect(message);
    }
    server.end();
}

fn every_size_in_uneven_pieces(driver: &str) {
    let server = start(driver);
    let mut random = Random::new(3);
    let mut peer = echo(&server);
    for size in sizes() {
        let message = message(size, &mut random);
        let bytes = message.bytes();
        peer.send_pieces(random.split(&bytes, 7.max(size / 50)));
        peer.expect(message);
    }
    server.end();
}

/// What one of several connections sends: far more than fits into the sockets between it and the server.
fn conversation(seed: u64) -> impl Iterator<Item = Frame> {
    const BYTES: usize = 24 << 20;
    let mut random = Random::new(seed);
    let sizes = sizes();
    let mut left = BYTES;
    std::iter::from_fn(move || {
        let size = sizes[random.below(sizes.len())];
        left = left.checked_sub(size)?;
        Some(message(size, &mut random))
    })
}

/// Sends a conversation cut at random, regardless of where messages end.
fn send_all(mut peer: Peer, seed: u64) {
    const GATHERED: usize = 64;
    let mut random = Random::new(!seed);
    let mut messages = conversation(seed).peekable();
    while messages.peek().is_some() {
        let bytes: Vec<u8> = messages.by_ref().take(GATHERED).flat_map(|message| message.bytes()).collect();
        peer.send_pieces(random.split(&bytes, 100_000));
    }
}

fn every_size_behind_each_other(driver: &str) {
    let server = start(driver);
    thread::scope(|scope| {
        for seed in 4..7 {
            let mut reader = echo(&server);
            let sender = reader.duplicate();
            scope.spawn(move || send_all(sender, seed));
            scope.spawn(move || conversation(seed).for_each(|message| reader.expect(message)));
        }
    });
    server.end();
}

/// Each has bytes of its own in flight at the same time, so that they share whatever the server receives into.
fn many_connections_send_at_once(driver: &str) {
    let server = start(driver);
    let mut random = Random::new(8);
    let mut peers: Vec<Peer> = (0..100).map(|_| echo(&server)).collect();
    for size in sizes().into_iter().filter(|size| *size <= 16_385) {
        let messages: Vec<Frame> = peers.iter().map(|_| message(size, &mut random)).collect();
        peers.iter_mut().zip(&messages).for_each(|(peer, message)| peer.send(message.bytes()));
        peers.iter_mut().zip(messages).for_each(|(peer, message)| peer.expect(message));
    }
    drop(peers);
    server.end();
}
