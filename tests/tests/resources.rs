//! What the server holds on to is bounded and given back: more senders at once than there are buffers to receive into, peers that it
//! stopped reading from, and connections that end in whatever state they are.
//!
//! Descriptors that run out are in `limits.rs`; simpler ways and moments to go are in `close.rs`.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use fantail_tests::{Frame, Peer, Random, Request, Server, eventually, frames, on_each_driver, raise_descriptor_limit};

on_each_driver! {
    two_thousand_send_at_once,
    more_comes_at_once_than_buffers_hold,
    a_paused_peer_that_reads_again_gets_every_echo,
    a_paused_peer_may_go,
    a_paused_peer_costs_the_others_nothing,
    paused_peers_cost_what_they_may,
    a_subscriber_that_is_behind_may_go,
    a_closing_peer_may_go,
    peers_that_went_before_they_were_accepted,
    all_that_came_with_the_end_is_answered,
    much_that_came_before_the_end_is_answered,
}

fn echo(server: &Server) -> Peer {
    Peer::upgrade(server.edge, "/echo")
}

/// Both ways to go without a word.
const WAYS_TO_GO: [fn(Peer); 2] = [Peer::reset, drop];

/// Each sends a message while the server does not look, so that it has all of them at once, and gets it back.
fn all_send_at_once(server: &Server, peers: &mut [Peer], message_bytes: usize, random: &mut Random) {
    let messages: Vec<Frame> = peers.iter().map(|_| Frame::binary(random.bytes(message_bytes))).collect();
    server.freeze();
    peers.iter_mut().zip(&messages).for_each(|(peer, message)| peer.send(message.bytes()));
    server.thaw();
    peers.iter_mut().zip(messages).for_each(|(peer, message)| peer.expect(message));
}

fn two_thousand_send_at_once(driver: &str) {
    raise_descriptor_limit();
    let server = Server::start(driver, &[]);
    let before = server.held();
    let mut random = Random::new(1);
    let mut peers: Vec<Peer> = (0..2_000).map(|_| echo(&server)).collect();
    for message_bytes in [100, 6_000, 30_000] {
        all_send_at_once(&server, &mut peers, message_bytes, &mut random);
    }
    drop(peers);
    server.expect_held(before);
    server.end();
}

fn more_comes_at_once_than_buffers_hold(driver: &str) {
    const MESSAGE_BYTES: usize = 400_000;
    let server = Server::start(driver, &[]);
    let before = server.held();
    let mut random = Random::new(2);
    let mut peers: Vec<Peer> = (0..100).map(|_| echo(&server)).collect();
    // The kernel lets a peer send more at once after it has sent much: before, it is too little on each connection.
    for peer in &mut peers {
        for _ in 0..5 {
            let message = Frame::binary(random.bytes(MESSAGE_BYTES));
            peer.send(message.bytes());
            peer.expect(message);
        }
    }
    for _ in 0..5 {
        all_send_at_once(&server, &mut peers, MESSAGE_BYTES, &mut random);
    }
    if driver == "uring" {
        assert!(server.metric("fantail_receive_buffers_exhausted_total") > 0, "there was a buffer for everyone: send more");
    }
    drop(peers);
    server.expect_held(before);
    server.end();
}

/// What a peer sends that does not read: more than fits into the sockets on the way, and what the server is willing to hold.
fn flood(seed: u64) -> impl Iterator<Item = Frame> {
    const MESSAGES: usize = 3_000;
    let mut random = Random::new(seed);
    (0..MESSAGES).map(move |_| {
        let size = random.below(16_000);
        Frame::binary(random.bytes(size))
    })
}

/// Waits until a number that others raise stays the same for a while, and gives it.
fn at_rest(number: impl Fn() -> usize) -> usize {
    const A_WHILE: Duration = Duration::from_millis(300);
    let (mut last, mut since) = (0, Instant::now());
    eventually("it comes to rest", || {
        if last != number() {
            (last, since) = (number(), Instant::now());
        }
        last > 0 && since.elapsed() > A_WHILE
    });
    last
}

/// Has peers send until the server reads no more from any of them, then calls `paused` with them while their threads still wait to
/// send on; those threads end when they cannot send, or have sent all.
fn with_paused<T>(server: &Server, seeds: std::ops::Range<u64>, paused: impl FnOnce(Vec<Peer>) -> T) -> T {
    let sent = AtomicUsize::new(0);
    thread::scope(|scope| {
        let mut peers = Vec::new();
        for seed in seeds.clone() {
            let peer = echo(server);
            let mut sender = peer.duplicate();
            let sent = &sent;
            scope.spawn(move || {
                for message in flood(seed) {
                    if !sender.try_send(message) {
                        return;
                    }
                    sent.fetch_add(1, Relaxed);
                }
            });
            peers.push(peer);
        }
        let total = seeds.map(|seed| flood(seed).count()).sum::<usize>();
        let stuck = at_rest(|| sent.load(Relaxed));
        assert!(stuck < total, "the server read all of {total} messages that nobody took the echoes of");
        paused(peers)
    })
}

fn a_paused_peer_that_reads_again_gets_every_echo(driver: &str) {
    let server = Server::start(driver, &[]);
    let before = server.held();
    with_paused(&server, 1..4, |peers| {
        thread::scope(|scope| {
            for (mut peer, seed) in peers.into_iter().zip(1..) {
                scope.spawn(move || flood(seed).for_each(|message| peer.expect(message)));
            }
        });
    });
    server.expect_held(before);
    server.end();
}

fn a_paused_peer_may_go(driver: &str) {
    let server = Server::start(driver, &[]);
    let before = server.held();
    for go in WAYS_TO_GO {
        with_paused(&server, 1..4, |peers| {
            for peer in peers {
                // Its other thread holds the socket too: this ends both directions, and with SO_LINGER by a reset.
                peer.socket().shutdown(std::net::Shutdown::Both).expect("an open socket");
                go(peer);
            }
        });
        server.expect_held(before);
        echo(&server).expect_echo("and the others?");
    }
    server.end();
}

fn a_paused_peer_costs_the_others_nothing(driver: &str) {
    const ECHOES: usize = 500;
    let server = Server::start(driver, &[]);
    let before = server.held();
    // Enough that both workers have some.
    let mut others: Vec<Peer> = (0..8).map(|_| echo(&server)).collect();
    let mut random = Random::new(9);
    with_paused(&server, 1..4, |peers| {
        for _ in 0..ECHOES {
            let message = Frame::binary(random.bytes(5_000));
            others.iter_mut().for_each(|peer| peer.send(message.bytes()));
            others.iter_mut().for_each(|peer| peer.expect(message.clone()));
        }
        peers.iter().for_each(|peer| peer.socket().shutdown(std::net::Shutdown::Both).expect("an open socket"));
    });
    drop(others);
    server.expect_held(before);
    server.end();
}

/// Each sends 24 MB. What waits for it is bounded, and so is what came from it before it was received from no more.
fn paused_peers_cost_what_they_may(driver: &str) {
    const PEERS: u64 = 40;
    const PEER_BYTES_MAX: usize = 4 << 20;
    let server = Server::start(driver, &[("FANTAIL_LIMITS_OUTBOX_BYTES_MAX", "65536")]);
    let before = server.rss_bytes();
    with_paused(&server, 1..1 + PEERS, |peers| {
        let each = server.rss_bytes().saturating_sub(before) / PEERS as usize;
        println!("{driver}: {each} bytes a paused peer");
        peers.iter().for_each(|peer| peer.socket().shutdown(std::net::Shutdown::Both).expect("an open socket"));
        assert!(each <= PEER_BYTES_MAX, "{each} bytes a paused peer");
    });
    server.end();
}

fn a_subscriber_that_is_behind_may_go(driver: &str) {
    let server = Server::start(driver, &[("FANTAIL_LIMITS_OUTBOX_BYTES_MAX", "65536")]);
    let before = server.held();
    let padding = "p".repeat(30_000);
    for go in WAYS_TO_GO {
        let mut publisher = server.publisher();
        publisher.publish("news", "0");
        let mut peers: Vec<Peer> = Vec::new();
        for _ in 0..8 {
            let mut peer = Peer::upgrade(server.edge, "/raw/news");
            peer.socket().set_recv_buffer_size(4096).expect("SO_RCVBUF");
            peer.message();
            peers.push(peer);
        }
        let conflated = server.metric("fantail_conflated_total");
        eventually("they are behind", || {
            (0..100).for_each(|index| {
                publisher.publish("news", &format!("\"{index}{padding}\""));
            });
            server.metric("fantail_conflated_total") > conflated + 100
        });
        peers.into_iter().for_each(go);
        drop(publisher);
        server.expect_held(before);
    }
    server.end();
}

/// The server has sent its close frame, or still has to send what comes before it.
fn a_closing_peer_may_go(driver: &str) {
    let server = Server::start(driver, &[]);
    let before = server.held();
    let large = Frame::binary(vec![7; 500_000]).bytes();
    for go in WAYS_TO_GO {
        let mut peers = Vec::new();
        for _ in 0..20 {
            let mut wrong = echo(&server);
            wrong.send(Frame::text("wrong").unmasked_bytes());
            assert_eq!(wrong.frame().opcode, Frame::CLOSE);
            let mut answered = echo(&server);
            answered.send(Frame::close(1000, ""));
            assert_eq!(answered.frame().opcode, Frame::CLOSE);
            let mut behind = echo(&server);
            behind.socket().set_recv_buffer_size(4096).expect("SO_RCVBUF");
            behind.send([large.clone(), large.clone(), Frame::close(1000, "").bytes()].concat());
            behind.fill();
            peers.extend([wrong, answered, behind]);
        }
        peers.into_iter().for_each(go);
        server.expect_held(before);
    }
    server.end();
}

fn peers_that_went_before_they_were_accepted(driver: &str) {
    let server = Server::start(driver, &[]);
    let before = server.held();
    let text = Frame::text("never read");
    for go in WAYS_TO_GO {
        server.freeze();
        for index in 0..300 {
            let mut peer = Peer::connect(server.edge);
            match index % 3 {
                0 => {}
                1 => peer.send("GET /ec"),
                _ => peer.send([Request::upgrade("/echo").bytes(), text.bytes()].concat()),
            }
            go(peer);
        }
        server.thaw();
        echo(&server).expect_echo("behind all of them");
        server.expect_held(before);
    }
    server.end();
}

/// Request, frames and FIN are there before the server looks: it receives the end with the data.
fn all_that_came_with_the_end_is_answered(driver: &str) {
    let server = Server::start(driver, &[]);
    let before = server.held();
    let mut random = Random::new(5);
    let messages: Vec<Vec<Frame>> =
        (0..100).map(|index| (0..index % 7).map(|_| Frame::binary(random.bytes(index * 50))).collect()).collect();
    server.freeze();
    let mut peers: Vec<Peer> = Vec::new();
    for messages in &messages {
        let mut peer = Peer::connect(server.edge);
        peer.send([Request::upgrade("/echo").bytes(), frames(messages.iter().cloned())].concat());
        peer.finish();
        peers.push(peer);
    }
    server.thaw();
    for (peer, messages) in peers.iter_mut().zip(messages) {
        assert_eq!(peer.response().status, 101);
        messages.into_iter().for_each(|message| peer.expect(message));
        peer.expect_end();
    }
    server.expect_held(before);
    server.end();
}

/// More than sockets hold: the end is there long before the last echo can be sent.
fn much_that_came_before_the_end_is_answered(driver: &str) {
    let server = Server::start(driver, &[]);
    let before = server.held();
    let mut peer = echo(&server);
    let mut sender = peer.duplicate();
    thread::scope(|scope| {
        scope.spawn(move || {
            flood(6).for_each(|message| sender.send(message));
            sender.finish();
        });
        flood(6).for_each(|message| peer.expect(message));
    });
    peer.expect_end();
    server.expect_held(before);
    server.end();
}
