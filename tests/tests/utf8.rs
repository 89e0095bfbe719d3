//! UTF-8 in text messages (RFC 6455 §8.1): 1007, and as early as the first wrong byte.

use fantail_tests::{Frame, Peer, Server, frames, on_each_driver};

on_each_driver! {
    valid_text_comes_back,
    a_code_point_may_be_split_anywhere,
    overlong_forms_are_1007,
    surrogates_are_1007,
    beyond_the_last_code_point_is_1007,
    stray_and_missing_continuations_are_1007,
    a_truncated_code_point_at_the_end_is_1007,
    a_wrong_completion_in_the_next_fragment_is_1007,
    the_first_wrong_byte_is_enough,
    the_first_wrong_byte_of_a_long_text_is_enough,
    binary_messages_are_not_checked,
}

/// What looks odd but is valid: NUL, BOM, noncharacters, the first and last of each length.
const VALID: [&str; 8] = [
    "\0",
    "\u{FEFF}with a BOM",
    "\u{FFFE}\u{FFFF}\u{FDD0}\u{1FFFE}",
    "\u{7F}\u{80}\u{7FF}\u{800}\u{FFFF}\u{10000}\u{10FFFF}",
    "\u{D7FF}\u{E000}",
    "κόσμε",
    "🦚 fantail 🦚",
    "e\u{301}\u{200D}",
];

fn echo(server: &Server) -> Peer {
    Peer::upgrade(server.edge, "/echo")
}

/// Each of these is 1007 alone, behind text of every alignment, and in front of text.
fn are_1007(driver: &str, wrong: &[&[u8]]) {
    let server = Server::start(driver, &[]);
    for bytes in wrong {
        assert!(str::from_utf8(bytes).is_err(), "{bytes:02X?} is valid");
        for (before, after) in [(0, 0), (1, 0), (31, 40), (63, 3), (64, 64), (125, 0), (1_000, 1_000)] {
            let mut peer = echo(&server);
            peer.send(Frame::text([&vec![b'a'; before], *bytes, &vec![b'z'; after]].concat()));
            peer.expect_close(1007);
        }
    }
}

fn valid_text_comes_back(driver: &str) {
    let server = Server::start(driver, &[]);
    let mut peer = echo(&server);
    for text in VALID {
        for length in [0, 1, 30, 61, 127, 4_000] {
            peer.expect_echo(&format!("{}{text}{text}", "a".repeat(length)));
        }
    }
}

fn a_code_point_may_be_split_anywhere(driver: &str) {
    let server = Server::start(driver, &[]);
    let mut peer = echo(&server);
    for text in VALID {
        for at in 0..=text.len() {
            let (start, end) = text.as_bytes().split_at(at);
            peer.send(frames([Frame::text(start).unfinished(), Frame::ping("between"), Frame::continuation(end)]));
            peer.expect(Frame::pong("between"));
            peer.expect(Frame::text(text));
        }
        let bytes = text.bytes().map(|byte| Frame::continuation([byte]).unfinished());
        peer.send(frames([Frame::text("").unfinished()].into_iter().chain(bytes).chain([Frame::continuation("")])));
        peer.expect(Frame::text(text));
    }
}

fn overlong_forms_are_1007(driver: &str) {
    are_1007(driver, &[b"\xC0\x80", b"\xC1\xBF", b"\xE0\x80\x80", b"\xE0\x9F\xBF", b"\xF0\x80\x80\x80", b"\xF0\x8F\xBF\xBF"]);
}

fn surrogates_are_1007(driver: &str) {
    are_1007(driver, &[b"\xED\xA0\x80", b"\xED\xAF\xBF", b"\xED\xB0\x80", b"\xED\xBF\xBF", b"\xED\xA0\x80\xED\xB0\x80"]);
}

fn beyond_the_last_code_point_is_1007(driver: &str) {
    are_1007(driver, &[b"\xF4\x90\x80\x80", b"\xF5\x80\x80\x80", b"\xF8\x88\x80\x80\x80", b"\xFE", b"\xFF"]);
}

fn stray_and_missing_continuations_are_1007(driver: &str) {
    are_1007(driver, &[b"\x80", b"\xBF\xBF", b"\xC3a", b"\xE2\x82a", b"\xF0\x9F\xA6a", b"\xC3\xA9\xA9", b"\xE2\xE2\x82\xAC"]);
}

fn a_truncated_code_point_at_the_end_is_1007(driver: &str) {
    let server = Server::start(driver, &[]);
    for truncated in [&b"\xC3"[..], b"\xE2", b"\xE2\x82", b"\xF0", b"\xF0\x9F", b"\xF0\x9F\xA6"] {
        for length in [0, 1, 62, 63, 64, 200] {
            let text = [&vec![b'a'; length], truncated].concat();
            let mut peer = echo(&server);
            peer.send(frames([Frame::text(text.as_slice()).unfinished(), Frame::continuation("")]));
            peer.expect_close(1007);
            let mut peer = echo(&server);
            peer.send(Frame::text(text));
            peer.expect_close(1007);
        }
    }
}

fn a_wrong_completion_in_the_next_fragment_is_1007(driver: &str) {
    let server = Server::start(driver, &[]);
    for (start, end) in [(&b"\xE2\x82"[..], &b"a"[..]), (b"\xC3", b"\xC3\xA9"), (b"\xED", b"\xA0\x80"), (b"\xF4", b"\x90\x80\x80")] {
        let mut peer = echo(&server);
        peer.send(Frame::text(start).unfinished());
        // The start alone is no fault yet.
        peer.send(Frame::ping("still here?"));
        peer.expect(Frame::pong("still here?"));
        peer.send(Frame::continuation(end));
        peer.expect_close(1007);
    }
}

fn the_first_wrong_byte_is_enough(driver: &str) {
    let server = Server::start(driver, &[]);
    for wrong in [&b"\xFF"[..], b"\xC0", b"\xED\xA0", b"\xE0\x80", b"\xF0\x8F", b"\xF4\x90", b"\x80"] {
        // In an unfinished message, and in a frame of which the rest never comes.
        let mut peer = echo(&server);
        peer.send(Frame::text([b"ok ", wrong].concat()).unfinished());
        peer.expect_close(1007);
        let mut peer = echo(&server);
        let whole = Frame::text([b"ok ", wrong, b" and some more"].concat()).bytes();
        peer.send(&whole[..6 + 3 + wrong.len()]);
        peer.expect_close(1007);
    }
}

fn the_first_wrong_byte_of_a_long_text_is_enough(driver: &str) {
    let server = Server::start(driver, &[]);
    let mut peer = echo(&server);
    let whole = Frame::text([&vec![b'a'; 300_000][..], b"\xFF", &vec![b'a'; 300_000][..]].concat()).bytes();
    peer.send(&whole[..14 + 300_001]);
    peer.expect_close(1007);
}

fn binary_messages_are_not_checked(driver: &str) {
    let server = Server::start(driver, &[]);
    let mut peer = echo(&server);
    peer.send(frames([Frame::binary(b"\xFF\xC0").unfinished(), Frame::continuation(b"\x80")]));
    peer.expect(Frame::binary(b"\xFF\xC0\x80"));
}
