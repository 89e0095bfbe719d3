//! A minute of everything at once: clients that come in waves and are killed in every state, a channel with a thousand subscribers of
//! which some do not read, and an echo. Those who behave lose nothing, and afterwards nothing is left of those who did not.

use std::io::Read;
use std::thread;
use std::time::{Duration, Instant};

use fantail_tests::{Frame, Peer, Random, Request, Server, on_each_driver, raise_descriptor_limit};
use serde_json::Value;

on_each_driver! {
    a_minute_of_storms_leaves_nothing_behind,
}

const LENGTH: Duration = Duration::from_secs(60);
const STORMS: u64 = 2;
const WAVE: usize = 300;
const SUBSCRIBERS: usize = 1_000;
/// Of the subscribers, those who read nothing.
const SLEEPERS: usize = 3;
/// How many publications may be under way: too few for a subscriber who reads to fall behind, however busy the machine is.
const STEP: usize = 20;
/// Far more than the sockets hold of those who do not read.
const PUBLICATIONS_MAX: usize = 50_000;
/// What the process may keep of it: the tables and pages of its allocator that the storms' largest moment left behind.
const GROWTH_BYTES_MAX: usize = 32 << 20;

fn a_minute_of_storms_leaves_nothing_behind(driver: &str) {
    raise_descriptor_limit();
    // Who does not read does not answer pings either, and is to stay.
    let server = Server::start(driver, &[("FANTAIL_TIMEOUTS_PING_INTERVAL_MS", "3600000")]);
    let (before, before_bytes) = (server.held(), server.rss_bytes());
    let end = Instant::now() + LENGTH;
    thread::scope(|scope| {
        for seed in 0..STORMS {
            let server = &server;
            scope.spawn(move || storm(server, seed, end));
        }
        scope.spawn(|| publish_to_many(&server, end));
        scope.spawn(|| converse(&server, end));
    });
    server.expect_held(before);
    let growth = server.rss_bytes().saturating_sub(before_bytes);
    println!("{driver}: {growth} bytes of memory more than before");
    assert!(growth <= GROWTH_BYTES_MAX, "{growth} bytes of memory more than before");
    Peer::upgrade(server.edge, "/echo").expect_echo("after the storm");
    server.end();
}

/// Waves of clients, each in a state and ended in a manner of its own.
fn storm(server: &Server, seed: u64, end: Instant) {
    let mut random = Random::new(seed);
    let mut clients = 0;
    while Instant::now() < end {
        let mut wave: Vec<Peer> = (0..WAVE).map(|_| start(server, &mut random)).collect();
        clients += wave.len();
        // Not in the order they came.
        while !wave.is_empty() {
            let peer = wave.swap_remove(random.below(wave.len()));
            finish(peer, &mut random);
        }
    }
    println!("storm {seed}: {clients} clients");
}

/// A client in one of the states that there are.
fn start(server: &Server, random: &mut Random) -> Peer {
    let connected = |bytes: &[u8]| {
        let mut peer = Peer::connect(server.edge);
        peer.send(bytes);
        peer
    };
    let upgraded = |path: &str, bytes: &[u8]| {
        let mut peer = Peer::upgrade(server.edge, path);
        peer.send(bytes);
        peer
    };
    let request = Request::upgrade("/echo").bytes();
    let text = Frame::text(random.text(300)).bytes();
    match random.below(14) {
        0 => connected(b""),
        1 => connected(&request[..random.below(request.len())]),
        2 => connected(&request),
        3 => connected(&[request, text].concat()),
        4 => connected(&Request::get("/nowhere").with("Content-Length", "9000").body("half").bytes()),
        5 => upgraded("/echo", b""),
        6 => upgraded("/echo", &text[..random.below(text.len())]),
        7 => upgraded("/echo", &Frame::binary(random.bytes(200)).unfinished().bytes()),
        8 => upgraded("/echo", &Frame::ping("unread").bytes()),
        9 => upgraded("/echo", &Frame::text("wrong").unmasked_bytes()),
        10 => upgraded("/raw/news", b""),
        11 => upgraded("/raw/news", &text[..5]),
        // A hundred KiB, of which nothing is read.
        12 => upgraded("/echo", &Frame::binary(random.bytes(100 << 10)).bytes()),
        _ => {
            let mut peer = upgraded("/echo", b"");
            let length = random.below(20_000);
            let message = Frame::binary(random.bytes(length));
            peer.send(message.bytes());
            peer.expect(message);
            peer
        }
    }
}

/// Ends a client in one of the manners that there are. Most are resets, since each FIN of ours leaves a port waiting.
fn finish(mut peer: Peer, random: &mut Random) {
    match random.below(8) {
        0 => drop(peer),
        1 => {
            // It may be closed already.
            peer.try_send(Frame::close(1000, ""));
        }
        2 => {
            peer.try_send(Frame::close(1000, ""));
            peer.reset();
        }
        3 => {
            let _ = peer.socket().shutdown(std::net::Shutdown::Write);
            peer.rest();
        }
        4 => {
            let _ = peer.socket().shutdown(std::net::Shutdown::Write);
            peer.reset();
        }
        5 => {
            peer.try_send(Frame::binary(random.bytes(100 << 10)));
            peer.reset();
        }
        _ => peer.reset(),
    }
}

/// A message of the channel: its number, in enough bytes that those who do not read have soon fallen behind.
fn publication(number: usize) -> String {
    format!(r#"{{"number":{number},"padding":"{}"}}"#, "p".repeat(4_000))
}

fn subscribe(server: &Server) -> Peer {
    let mut peer = Peer::upgrade(server.edge, "/raw/news");
    peer.expect(Frame::text(publication(0)));
    peer
}

/// All who read get every publication in order; those who do not may miss some, but never the last.
fn publish_to_many(server: &Server, end: Instant) {
    let mut publisher = server.publisher();
    publisher.publish("news", &publication(0));
    let mut sleepers: Vec<Peer> = (0..SLEEPERS).map(|_| subscribe(server)).collect();
    let sipper = subscribe(server);
    let mut readers: Vec<Peer> = (sleepers.len() + 1..SUBSCRIBERS).map(|_| subscribe(server)).collect();
    let mut last = 0;
    // A slow machine needs longer until those who do not read have fallen behind.
    while Instant::now() < end || server.metric("fantail_conflated_total") == 0 {
        assert!(last < PUBLICATIONS_MAX, "nobody falls behind");
        let numbers = last + 1..=last + STEP;
        last += STEP;
        numbers.clone().for_each(|number| assert_eq!(publisher.publish("news", &publication(number)), number as u64 + 1));
        let expected: Vec<Frame> = numbers.map(|number| Frame::text(publication(number))).collect();
        for reader in &mut readers {
            expected.iter().for_each(|message| reader.expect(message.clone()));
        }
        // A few bytes, now and then.
        let _ = (&*sipper.socket()).read(&mut [0; 10]).expect("an open connection");
    }
    sleepers.iter_mut().for_each(|sleeper| wakes(sleeper, last));
    println!("{last} publications to {} readers", readers.len());
}

fn wakes(sleeper: &mut Peer, last: usize) {
    let mut seen = 0;
    while seen < last {
        let value: Value = serde_json::from_slice(&sleeper.message().payload).expect("JSON");
        let number = value["number"].as_u64().expect("a number") as usize;
        assert!(number > seen, "{number} came after {seen}");
        seen = number;
    }
}

/// One client that stays, and gets each of its messages back.
fn converse(server: &Server, end: Instant) {
    let mut random = Random::new(99);
    let mut peer = Peer::upgrade(server.edge, "/echo");
    while Instant::now() < end {
        let length = random.below(50_000);
        let message = Frame::binary(random.bytes(length));
        peer.send(message.bytes());
        peer.expect(message);
    }
}
