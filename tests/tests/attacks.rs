//! Attacks that other servers fell to, each against a server that must stay up, answer others, and keep its memory.
//!
//! Those that are a single wrong byte are tests of their section: 64-bit lengths (CVE-2020-27813, CVE-2020-13935) and RSV bits in
//! `frames.rs`, window bits (CVE-2026-2229) in `deflate.rs`, close frames (CVE-2026-45736) in `close.rs`, cross-site hijack in
//! `opening_handshake.rs`.

use std::thread;
use std::time::Duration;

use fantail_tests::{Deflater, Frame, Peer, Request, Server, eventually, frames, on_each_driver};

on_each_driver! {
    more_fields_than_anyone_needs,
    a_long_head_byte_by_byte,
    superlinear_subprotocols,
    superlinear_extensions,
    extensions_named_like_properties,
    empty_fragments_for_ever,
    tiny_fragments_for_ever,
    fragments_that_add_up,
    an_inflate_bomb,
    an_inflate_bomb_in_fragments,
    memory_reserved_for_a_declared_length,
    bytes_after_a_refused_upgrade,
    a_close_handshake_that_never_ends,
    a_ping_flood_by_a_peer_that_does_not_read,
    an_echo_flood_by_a_peer_that_does_not_read,
    a_request_flood_by_a_peer_that_does_not_read,
    every_frame_header_there_is,
    a_head_that_never_ends,
    a_head_that_drips,
    an_idle_kept_alive_connection,
    a_body_that_never_ends,
    a_frame_that_drips,
    subscribers_that_go_during_a_publish,
    a_subscriber_that_breaks_the_protocol_and_lingers,
    pipelined_requests_that_ask_for_more_than_they_send,
    another_protocol_on_the_port,
}

const MIB: usize = 1 << 20;

fn echo(server: &Server) -> Peer {
    Peer::upgrade(server.edge, "/echo")
}

/// Another client does not notice.
fn others_are_served(server: &Server) {
    echo(server).expect_echo("and the others?");
}

/// Runs an attack and fails if the server's memory grew by more than `growth_bytes_max`, seen while the attackers it gives still hold on.
fn within_memory<Attackers>(server: &Server, growth_bytes_max: usize, attack: impl FnOnce() -> Attackers) {
    let before = server.rss_bytes();
    let attackers = attack();
    let growth = server.rss_bytes().saturating_sub(before);
    assert!(growth <= growth_bytes_max, "the server's memory grew by {growth} bytes");
    others_are_served(server);
    drop(attackers);
}

/// CVE-2024-37890: a server crashed on more fields than its parser keeps.
fn more_fields_than_anyone_needs(driver: &str) {
    let server = Server::start(driver, &[]);
    for count in [101, 500, 1_000, 2_000, 4_000] {
        let fields = "a:\r\n".repeat(count);
        let (mut peer, response) =
            Peer::ask(server.edge, format!("GET /echo HTTP/1.1\r\nHost: fantail.test\r\nUpgrade: websocket\r\n{fields}\r\n"));
        assert_eq!(response.status, 431, "{count} fields");
        peer.expect_end();
    }
    others_are_served(&server);
}

/// CVE-2023-43669: the head was parsed again from its start with each byte that came.
fn a_long_head_byte_by_byte(driver: &str) {
    let server = Server::start(driver, &[("FANTAIL_LIMITS_HEAD_BYTES_MAX", "65535")]);
    let request = Request::upgrade("/echo").with("X-Padding", "p".repeat(60_000)).bytes();
    let mut peer = Peer::connect(server.edge);
    peer.send_pieces(request.chunks(1));
    assert_eq!(peer.response().status, 101);
    peer.expect_echo("hello");
}

/// CVE-2021-32640: a regular expression over white space in the subprotocols.
fn superlinear_subprotocols(driver: &str) {
    let server = Server::start(driver, &[("FANTAIL_UPGRADE_SUBPROTOCOLS", "chat")]);
    for offer in [format!("b{}x", " ".repeat(15_000)), ", ".repeat(7_500), "a,".repeat(7_500), format!("{}chat", "a, ".repeat(5_000))] {
        let (_, response) = Peer::ask(server.edge, Request::upgrade("/echo").with("Sec-WebSocket-Protocol", offer));
        assert!([101, 400].contains(&response.status), "{response:?}");
    }
    others_are_served(&server);
}

/// CVE-2020-7662: backtracking in a quoted parameter that never ends.
fn superlinear_extensions(driver: &str) {
    let server = Server::start(driver, &[]);
    let hostile = [
        format!("a; b=\"{}", "\\c".repeat(7_500)),
        format!("a;{}b", " ".repeat(15_000)),
        "permessage-deflate,".repeat(800),
        "permessage-deflate; foo, ".repeat(600),
        format!("a{}", "; b".repeat(5_000)),
    ];
    for offer in hostile {
        let (_, response) = Peer::ask(server.edge, Request::upgrade("/echo").with("Sec-WebSocket-Extensions", offer));
        assert!([101, 400].contains(&response.status), "{response:?}");
    }
    others_are_served(&server);
}

/// Names that a table in another language finds where nothing was put.
fn extensions_named_like_properties(driver: &str) {
    let server = Server::start(driver, &[]);
    for name in ["constructor", "__proto__", "hasOwnProperty", "toString; constructor=1"] {
        let request = Request::upgrade("/echo").with("Sec-WebSocket-Extensions", name).with("Sec-WebSocket-Protocol", "constructor");
        let (mut peer, response) = Peer::upgrade_with(server.edge, request);
        assert_eq!(response.field("Sec-WebSocket-Extensions"), None);
        assert_eq!(response.field("Sec-WebSocket-Protocol"), None);
        peer.expect_echo(name);
    }
}

/// CVE-2026-48779: an endless message of empty fragments.
fn empty_fragments_for_ever(driver: &str) {
    endless_fragments(driver, "");
}

/// CVE-2026-12151: the same with a byte in each, far below the size limit.
fn tiny_fragments_for_ever(driver: &str) {
    endless_fragments(driver, "a");
}

fn endless_fragments(driver: &str, payload: &str) {
    let server = Server::start(driver, &[]);
    within_memory(&server, 16 * MIB, || {
        let mut peer = echo(&server);
        let fragments = Frame::continuation(payload).unfinished().bytes().repeat(10_000);
        peer.send(Frame::text(payload).unfinished());
        for _ in 0..100 {
            peer.try_send(fragments.as_slice());
        }
        peer.expect_close_among(&[1008, 1009]);
    });
}

/// A limit on each fragment but none on their sum.
fn fragments_that_add_up(driver: &str) {
    let server = Server::start(driver, &[]);
    within_memory(&server, 16 * MIB, || {
        let mut peer = echo(&server);
        let fragment = Frame::continuation(vec![b'a'; 64 * 1024]).unfinished().bytes();
        peer.send(Frame::binary("").unfinished());
        for _ in 0..1_000 {
            peer.try_send(fragment.as_slice());
        }
        peer.expect_close(1009);
    });
}

fn compressing(server: &Server) -> Peer {
    Peer::upgrade_with(server.edge, Request::upgrade("/echo").with("Sec-WebSocket-Extensions", "permessage-deflate")).0
}

/// Half a gigabyte of zeros: a MiB of them compressed, again and again, since a match may reach back into the MiB before.
fn bomb() -> Vec<u8> {
    let mut mebibyte = Deflater::default().message(&vec![0; MIB]);
    mebibyte.extend([0x00, 0x00, 0xFF, 0xFF]);
    mebibyte.repeat(512)
}

/// CVE-2026-1526, CVE-2018-1000518: the size was looked at after inflating.
fn an_inflate_bomb(driver: &str) {
    let server = Server::start(driver, &[]);
    let bomb = Frame::binary(bomb()).rsv(Frame::RSV1).bytes();
    within_memory(&server, 32 * MIB, || {
        for _ in 0..16 {
            let mut peer = compressing(&server);
            peer.try_send(bomb.as_slice());
            peer.expect_close(1009);
        }
    });
}

fn an_inflate_bomb_in_fragments(driver: &str) {
    let server = Server::start(driver, &[]);
    within_memory(&server, 16 * MIB, || {
        let mut peer = compressing(&server);
        peer.send(Frame::binary("").rsv(Frame::RSV1).unfinished());
        for fragment in bomb().chunks(1_000) {
            peer.try_send(Frame::continuation(fragment).unfinished());
        }
        peer.try_send(Frame::continuation([0x00]));
        peer.expect_close(1009);
    });
}

/// A length is only an announcement: 64 connections announce 16 GiB and send nothing of it.
fn memory_reserved_for_a_declared_length(driver: &str) {
    let server =
        Server::start(driver, &[("FANTAIL_LIMITS_MESSAGE_BYTES_MAX", "268435456"), ("FANTAIL_LIMITS_MAILBOX_BYTES_MAX", "268435456")]);
    others_are_served(&server);
    let virtual_before = server.virtual_bytes();
    within_memory(&server, 16 * MIB, || {
        let mut peers: Vec<Peer> = (0..64).map(|_| echo(&server)).collect();
        let announcement = [vec![0x82, 0xFF], (256 * MIB as u64).to_be_bytes().to_vec(), vec![0; 4], vec![0; 100]].concat();
        for peer in &mut peers {
            peer.send([Frame::ping("").bytes(), announcement.clone()].concat());
        }
        // One read brings both, so that a pong tells that the announcement was looked at.
        peers.iter_mut().for_each(|peer| peer.expect(Frame::pong("")));
        let growth = server.virtual_bytes().saturating_sub(virtual_before);
        assert!(growth < 4 << 30, "{growth} bytes were reserved");
        peers
    });
}

/// CVE-2026-2833: bytes behind an upgrade that was refused were passed on as if it had been accepted.
fn bytes_after_a_refused_upgrade(driver: &str) {
    let server = Server::start(driver, &[]);
    let refused = Request::upgrade("/echo").with("Sec-WebSocket-Version", "12").bytes();
    let (mut peer, response) = Peer::ask(server.edge, [refused.clone(), Frame::text("smuggled").bytes()].concat());
    assert_eq!(response.status, 426);
    // The frame is at most a bad request, and its answer the last.
    if !response.closes() {
        assert_eq!(peer.response().status, 400);
    }
    peer.expect_end();
    let (mut peer, response) = Peer::ask(server.edge, [refused, Request::get("/nowhere").bytes()].concat());
    assert_eq!(response.status, 426);
    if !response.closes() {
        assert_eq!(peer.response().status, 404);
    }
}

/// The server closes, and the peer neither answers nor goes.
fn a_close_handshake_that_never_ends(driver: &str) {
    let server = Server::start(driver, &[("FANTAIL_TIMEOUTS_CLOSE_MS", "300")]);
    let before = server.open_descriptors();
    let mut peers: Vec<Peer> = (0..20).map(|_| echo(&server)).collect();
    for peer in &mut peers {
        peer.send(Frame::text("wrong").unmasked_bytes());
        assert_eq!(peer.frame().opcode, Frame::CLOSE);
    }
    eventually("the server lets go of all of them", || server.open_descriptors() == before);
}

/// Writes the same bytes up to 64 MiB or until the server has stopped reading.
fn flood(mut peer: Peer, bytes: &[u8]) -> Peer {
    peer.socket().set_recv_buffer_size(4096).expect("SO_RCVBUF");
    peer.socket().set_write_timeout(Some(Duration::from_millis(500))).expect("a write timeout");
    let batch = bytes.repeat(MIB / bytes.len());
    for _ in 0..64 {
        if !peer.try_send(batch.as_slice()) {
            break;
        }
    }
    peer
}

fn a_ping_flood_by_a_peer_that_does_not_read(driver: &str) {
    let server = Server::start(driver, &[]);
    within_memory(&server, 16 * MIB, || flood(echo(&server), &Frame::ping(vec![b'p'; 125]).bytes()));
}

fn an_echo_flood_by_a_peer_that_does_not_read(driver: &str) {
    let server = Server::start(driver, &[]);
    within_memory(&server, 16 * MIB, || flood(echo(&server), &Frame::text("t".repeat(1_000)).bytes()));
    within_memory(&server, 16 * MIB, || flood(compressing(&server), &Frame::text("t".repeat(1_000)).bytes()));
}

fn a_request_flood_by_a_peer_that_does_not_read(driver: &str) {
    let server = Server::start(driver, &[]);
    within_memory(&server, 16 * MIB, || flood(Peer::connect(server.edge), &Request::get("/nowhere").bytes()));
}

/// RSV2 or RSV3 ended a process once: every first byte with every form of length, masked and not.
fn every_frame_header_there_is(driver: &str) {
    let server = Server::start(driver, &[]);
    for first in 0..=u8::MAX {
        for second in [0x00, 0x05, 0x7E, 0x7F, 0x80, 0x85, 0xFE, 0xFF] {
            let mut peer = echo(&server);
            peer.send([&[first, second][..], &[0xFF; 14]].concat());
            peer.finish();
            peer.rest();
        }
    }
    others_are_served(&server);
}

fn quick_handshake(driver: &str) -> Server {
    Server::start(driver, &[("FANTAIL_TIMEOUTS_HANDSHAKE_MS", "300")])
}

/// Slowloris: what is sent never becomes a request. The answer may be 408, or none.
fn a_head_that_never_ends(driver: &str) {
    let server = quick_handshake(driver);
    let before = server.open_descriptors();
    for start in ["", "G", "GET /echo HTTP/1.1\r\nHost: fantail.test\r\n"] {
        let mut peer = Peer::connect(server.edge);
        peer.send(start);
        let answer = peer.rest();
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 408 "), "{}", answer.escape_ascii());
    }
    eventually("every descriptor is free again", || server.open_descriptors() == before);
}

/// A byte now and then must not buy more time. That the server ends it shows in a write that fails.
fn drip(peer: &mut Peer, byte: &[u8]) {
    let sent = (0..).take_while(|_| {
        thread::sleep(Duration::from_millis(20));
        peer.try_send(byte)
    });
    let sent = sent.take(500).count();
    assert!(sent < 500, "the server goes on reading");
}

fn a_head_that_drips(driver: &str) {
    let server = quick_handshake(driver);
    let mut peer = Peer::connect(server.edge);
    peer.send("GET /echo HTTP/1.1\r\nX-Padding: ");
    drip(&mut peer, b"p");
}

fn an_idle_kept_alive_connection(driver: &str) {
    let server = quick_handshake(driver);
    let (mut peer, response) = Peer::ask(server.edge, Request::get("/nowhere"));
    assert_eq!(response.status, 404);
    let answer = peer.rest();
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 408 "), "{}", answer.escape_ascii());
}

fn a_body_that_never_ends(driver: &str) {
    let server = quick_handshake(driver);
    let mut peer = Peer::connect(server.edge);
    peer.send(Request::get("/nowhere").with("Content-Length", "60000").body("b"));
    drip(&mut peer, b"b");
}

fn a_frame_that_drips(driver: &str) {
    let server = Server::start(driver, &[("FANTAIL_TIMEOUTS_MESSAGE_MS", "300"), ("FANTAIL_TIMEOUTS_CLOSE_MS", "300")]);
    let mut peer = echo(&server);
    peer.send(&Frame::binary(vec![0; 60_000]).bytes()[..100]);
    drip(&mut peer, b"x");
    let mut peer = echo(&server);
    peer.send(Frame::text("").unfinished());
    drip(&mut peer, &frames([Frame::ping("alive"), Frame::continuation("x").unfinished()]));
}

/// Subscribers come and go, by FIN and by reset, while others are being written to.
fn subscribers_that_go_during_a_publish(driver: &str) {
    let server = Server::start(driver, &[]);
    let before = server.open_descriptors();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut publisher = server.publisher();
                for index in 0..1_000 {
                    publisher.publish("news", &format!(r#"{{"index":{index},"padding":"{}"}}"#, "p".repeat(2_000)));
                }
            });
        }
        scope.spawn(|| {
            for round in 0..40 {
                let mut peers: Vec<Peer> = (0..10).map(|_| Peer::upgrade(server.edge, "/raw/news")).collect();
                for (index, mut peer) in peers.drain(..).enumerate() {
                    match (round + index) % 3 {
                        0 => peer.reset(),
                        1 => peer.send(Frame::close(1000, "")),
                        _ => {}
                    }
                }
            }
        });
    });
    eventually("every descriptor is free again", || server.open_descriptors() == before);
    others_are_served(&server);
}

/// A TLS ClientHello, an HTTP/2 preface, noise: an error or an end, never silence.
fn another_protocol_on_the_port(driver: &str) {
    let server = quick_handshake(driver);
    let openings: [&[u8]; 4] = [
        b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        &[0xFF; 64],
    ];
    for opening in openings {
        let mut peer = Peer::connect(server.edge);
        peer.send(opening);
        let answer = peer.rest();
        let refused = ["400", "408", "505"].iter().any(|status| answer.starts_with(format!("HTTP/1.1 {status} ").as_bytes()));
        assert!(answer.is_empty() || refused, "{} was answered {}", opening.escape_ascii(), answer.escape_ascii());
    }
    others_are_served(&server);
}

/// A subscriber that is closed for what it did wrong left its entry behind; its place went to another connection, which got its channel's data.
fn a_subscriber_that_breaks_the_protocol_and_lingers(driver: &str) {
    let server = Server::start(driver, &[("FANTAIL_WORKERS", "1")]);
    let mut publisher = server.publisher();
    // Answered, so the publisher's own connection is among the descriptors.
    publisher.publish("secret", "\"secret\"");
    let before = server.open_descriptors();
    let mut others: Vec<Peer> = Vec::new();
    for _ in 0..20 {
        let mut wrong = Peer::upgrade(server.edge, "/raw/secret");
        wrong.expect(Frame::text("\"secret\""));
        wrong.send(*b"\x81\x05Hello");
        wrong.expect_close(1002);
        drop(wrong);
        eventually("it is gone", || server.open_descriptors() == before + others.len());
        publisher.publish("secret", "\"secret\"");
        others.push(Peer::upgrade(server.edge, "/raw/open"));
    }
    publisher.publish("secret", "\"secret\"");
    publisher.publish("open", "\"open\"");
    others.iter_mut().for_each(|other| other.expect(Frame::text("\"open\"")));
    others_are_served(&server);
}

/// 30 bytes of request are answered with kilobytes; a peer that does not read could have had any number of them waiting for it.
fn pipelined_requests_that_ask_for_more_than_they_send(driver: &str) {
    let server = Server::start(driver, &[("FANTAIL_LIMITS_OUTBOX_BYTES_MAX", "65536")]);
    let flood = b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n".repeat(50_000);
    within_memory(&server, 16 * MIB, || {
        let attack = |_| {
            let mut peer = Peer::connect(server.edge);
            // The server may close before it has all.
            peer.try_send(flood.clone());
            peer
        };
        (0..20).map(attack).collect::<Vec<Peer>>()
    });
}
