//! How connections end (RFC 6455 §7): the closing handshake, and every way of doing without it.

use fantail_tests::{Frame, Peer, Request, Server, eventually, frames, on_each_driver};

on_each_driver! {
    a_valid_code_is_answered_with_the_same,
    an_empty_close_is_answered_empty,
    a_reason_of_any_length_is_fine,
    nothing_but_the_code_and_its_reason_comes_back,
    an_invalid_code_is_1002,
    half_a_code_is_1002,
    a_reason_that_is_not_utf8_is_1007,
    data_after_a_close_is_ignored,
    a_close_inside_a_fragmented_message_is_fine,
    replies_already_due_are_flushed,
    large_replies_already_due_are_flushed,
    a_half_close_flushes_replies_and_ends,
    a_fin_at_any_point_frees_the_connection,
    a_reset_at_any_point_frees_the_connection,
    a_peer_that_answers_pings_stays,
    a_peer_that_does_not_answer_pings_is_let_go,
}

fn echo(server: &Server) -> Peer {
    Peer::upgrade(server.edge, "/echo")
}

/// Sends a close frame and gives the payload of the one that answers it, after which the server ends the connection.
fn answer(server: &Server, close: Frame) -> Vec<u8> {
    let mut peer = echo(server);
    peer.send(close);
    let answer = peer.frame();
    assert!(answer.fin && answer.rsv == 0 && answer.opcode == Frame::CLOSE, "{answer:?}");
    peer.expect_end();
    answer.payload
}

fn a_valid_code_is_answered_with_the_same(driver: &str) {
    let server = Server::start(driver, &[]);
    for code in (1000..=1003).chain(1007..=1014).chain([3000, 3500, 3999, 4000, 4999]) {
        assert_eq!(answer(&server, Frame::close(code, ""))[..2], code.to_be_bytes(), "{code}");
    }
}

fn an_empty_close_is_answered_empty(driver: &str) {
    let server = Server::start(driver, &[]);
    assert!(answer(&server, Frame::new(Frame::CLOSE, [])).is_empty());
}

fn a_reason_of_any_length_is_fine(driver: &str) {
    let server = Server::start(driver, &[]);
    for reason in ["going", "κόσμε", &"r".repeat(123)] {
        assert_eq!(answer(&server, Frame::close(1000, reason))[..2], [0x03, 0xE8], "{reason}");
    }
}

/// CVE-2026-45736: a server answered with memory that it had not written.
fn nothing_but_the_code_and_its_reason_comes_back(driver: &str) {
    let server = Server::start(driver, &[]);
    for reason in ["", "a", "going away now"] {
        let answer = answer(&server, Frame::close(1001, reason));
        assert!(answer[2..].is_empty() || &answer[2..] == reason.as_bytes(), "{}", answer.escape_ascii());
    }
}

fn an_invalid_code_is_1002(driver: &str) {
    let server = Server::start(driver, &[]);
    for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        assert_eq!(answer(&server, Frame::close(code, "why"))[..2], 1002_u16.to_be_bytes(), "{code}");
    }
}

fn half_a_code_is_1002(driver: &str) {
    let server = Server::start(driver, &[]);
    assert_eq!(answer(&server, Frame::new(Frame::CLOSE, [0x03]))[..2], 1002_u16.to_be_bytes());
}

fn a_reason_that_is_not_utf8_is_1007(driver: &str) {
    let server = Server::start(driver, &[]);
    for reason in [&b"\xFF"[..], b"cut \xE2\x82", b"\xED\xA0\x80"] {
        assert_eq!(answer(&server, Frame::close(1000, reason))[..2], 1007_u16.to_be_bytes());
    }
}

fn data_after_a_close_is_ignored(driver: &str) {
    let server = Server::start(driver, &[]);
    let mut peer = echo(&server);
    peer.send(frames([Frame::close(1000, ""), Frame::text("late"), Frame::ping("late"), Frame::close(1001, "")]));
    assert_eq!(peer.frame(), Frame::close(1000, ""));
    peer.expect_end();
}

fn a_close_inside_a_fragmented_message_is_fine(driver: &str) {
    let server = Server::start(driver, &[]);
    let mut peer = echo(&server);
    peer.send(frames([Frame::text("never ").unfinished(), Frame::close(1000, "")]));
    assert_eq!(peer.frame(), Frame::close(1000, ""));
    peer.expect_end();
}

fn replies_already_due_are_flushed(driver: &str) {
    let server = Server::start(driver, &[]);
    let mut peer = echo(&server);
    let messages = || (0..500).map(|index| Frame::text(format!("message {index}")));
    peer.send(frames(messages().chain([Frame::close(1000, "")])));
    messages().for_each(|message| peer.expect(message));
    assert_eq!(peer.frame(), Frame::close(1000, ""));
    peer.expect_end();
}

fn large_replies_already_due_are_flushed(driver: &str) {
    let server = Server::start(driver, &[]);
    let mut peer = echo(&server);
    let message = Frame::binary(vec![7; 100_000]);
    peer.send([message.bytes().repeat(20), Frame::close(1000, "").bytes()].concat());
    for _ in 0..20 {
        peer.expect(message.clone());
    }
    assert_eq!(peer.frame(), Frame::close(1000, ""));
    peer.expect_end();
}

fn a_half_close_flushes_replies_and_ends(driver: &str) {
    let server = Server::start(driver, &[]);
    let mut peer = echo(&server);
    peer.send(frames([Frame::text("one"), Frame::text("two"), Frame::text("half").unfinished()]));
    peer.finish();
    peer.expect(Frame::text("one"));
    peer.expect(Frame::text("two"));
    peer.expect_end();
}

/// Connections in every state there is, from just accepted to closing.
fn in_every_state(server: &Server) -> Vec<Peer> {
    let started = |path: &str, bytes: &[u8]| {
        let mut peer = Peer::upgrade(server.edge, path);
        peer.send(bytes);
        peer
    };
    let connected = |bytes: &[u8]| {
        let mut peer = Peer::connect(server.edge);
        peer.send(bytes);
        peer
    };
    let text = Frame::text("some text to be cut").bytes();
    vec![
        connected(b""),
        connected(b"GET /ec"),
        connected(&Request::upgrade("/echo").bytes()),
        connected(&Request::get("/nowhere").with("Content-Length", "10").body("half").bytes()),
        started("/echo", b""),
        started("/echo", &text[..1]),
        started("/echo", &text[..9]),
        started("/echo", &text),
        started("/echo", &Frame::text("one of two").unfinished().bytes()),
        started("/echo", &Frame::ping("unread").bytes()),
        started("/echo", &Frame::text("wrong").unmasked_bytes()),
        started("/raw/news", b""),
        started("/raw/news", &text[..9]),
    ]
}

fn a_fin_at_any_point_frees_the_connection(driver: &str) {
    let server = Server::start(driver, &[]);
    let before = server.open_descriptors();
    for _ in 0..10 {
        drop(in_every_state(&server));
    }
    eventually("every descriptor is free again", || server.open_descriptors() == before);
    for mut peer in in_every_state(&server) {
        peer.finish();
        peer.rest();
    }
    eventually("every descriptor is free again", || server.open_descriptors() == before);
    echo(&server).expect_echo("still here");
}

fn a_reset_at_any_point_frees_the_connection(driver: &str) {
    let server = Server::start(driver, &[]);
    let before = server.open_descriptors();
    for _ in 0..10 {
        in_every_state(&server).into_iter().for_each(Peer::reset);
    }
    eventually("every descriptor is free again", || server.open_descriptors() == before);
    echo(&server).expect_echo("still here");
}

const QUICK_PINGS: [(&str, &str); 2] = [("FANTAIL_TIMEOUTS_PING_INTERVAL_MS", "100"), ("FANTAIL_TIMEOUTS_PONG_MS", "400")];

fn a_peer_that_answers_pings_stays(driver: &str) {
    let server = Server::start(driver, &QUICK_PINGS);
    let mut peer = echo(&server);
    for _ in 0..10 {
        let ping = peer.frame();
        assert_eq!(ping.opcode, Frame::PING);
        peer.send(Frame::pong(ping.payload));
    }
    peer.send(Frame::close(1000, ""));
    let last = std::iter::repeat_with(|| peer.frame()).find(|frame| frame.opcode != Frame::PING);
    assert_eq!(last, Some(Frame::close(1000, "")));
}

fn a_peer_that_does_not_answer_pings_is_let_go(driver: &str) {
    let server = Server::start(driver, &QUICK_PINGS);
    let before = server.open_descriptors();
    for path in ["/echo", "/raw/news"] {
        let mut peer = Peer::upgrade(server.edge, path);
        assert_eq!(peer.frame().opcode, Frame::PING);
        peer.rest();
    }
    eventually("every descriptor is free again", || server.open_descriptors() == before);
}
