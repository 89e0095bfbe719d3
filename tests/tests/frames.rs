//! Frames (RFC 6455 §5): what is echoed, what is 1002 and what is 1009.

use fantail_tests::{Frame, Peer, Server, frames, on_each_driver};

on_each_driver! {
    every_length_comes_back,
    text_stays_text_and_binary_binary,
    a_masking_key_of_zeros_works,
    messages_in_one_write_are_answered_in_order,
    a_ping_is_answered_with_its_payload,
    a_ping_inside_a_fragmented_message_is_answered_at_once,
    the_latest_of_many_pings_is_answered,
    an_unsolicited_pong_is_ignored,
    empty_fragments_are_fine,
    an_unmasked_frame_is_1002,
    reserved_bits_are_1002,
    reserved_opcodes_are_1002,
    a_control_frame_over_125_bytes_is_1002,
    a_fragmented_control_frame_is_1002,
    a_stray_continuation_is_1002,
    a_new_message_inside_a_fragmented_one_is_1002,
    a_length_that_is_not_minimal_is_1002,
    a_length_with_its_top_bit_set_is_1002,
    a_message_at_the_limit_comes_back_and_a_larger_one_is_1009,
    a_declared_length_over_the_limit_is_1009_before_the_payload,
    fragments_over_the_limit_together_are_1009,
    sixty_five_thousand_fragments_are_one_message,
    more_fragments_than_allowed_close,
    a_message_that_takes_too_long_closes,
}

fn echo(server: &Server) -> Peer {
    Peer::upgrade(server.edge, "/echo")
}

/// These bytes are answered by a close with 1002, and what follows them by nothing.
fn is_1002(server: &Server, bytes: impl Into<Vec<u8>>) {
    let mut peer = echo(server);
    peer.send([bytes.into(), frames([Frame::ping("later"), Frame::text("later")])].concat());
    peer.expect_close(1002);
}

fn every_length_comes_back(driver: &str) {
    let server = Server::start(driver, &[]);
    let mut peer = echo(&server);
    for length in [0, 1, 2, 7, 124, 125, 126, 127, 128, 1_000, 65_535, 65_536, 65_537, 200_000, 1_048_576] {
        let message: Vec<u8> = (0..length).map(|index| (index * 7 % 251) as u8).collect();
        peer.send(Frame::binary(message.as_slice()));
        peer.expect(Frame::binary(message));
    }
}

fn text_stays_text_and_binary_binary(driver: &str) {
    let server = Server::start(driver, &[]);
    let mut peer = echo(&server);
    for frame in [Frame::text("same bytes"), Frame::binary("same bytes"), Frame::binary([0xFF, 0xFE]), Frame::text("")] {
        peer.send(frame.clone());
        peer.expect(frame);
    }
}

fn a_masking_key_of_zeros_works(driver: &str) {
    let server = Server::start(driver, &[]);
    let mut peer = echo(&server);
    peer.send(b"\x81\x85\0\0\0\0hello");
    peer.expect(Frame::text("hello"));
}

fn messages_in_one_write_are_answered_in_order(driver: &str) {
    let server = Server::start(driver, &[]);
    let mut peer = echo(&server);
    let messages = || (0..2_000).map(|index| Frame::text(format!("message {index}")));
    peer.send(frames(messages()));
    messages().for_each(|message| peer.expect(message));
}

fn a_ping_is_answered_with_its_payload(driver: &str) {
    let server = Server::start(driver, &[]);
    let mut peer = echo(&server);
    for payload in [vec![], b"hello".to_vec(), vec![0, 0xFF, 0x80], vec![b'p'; 125]] {
        peer.send(Frame::ping(payload.as_slice()));
        peer.expect(Frame::pong(payload));
    }
}

fn a_ping_inside_a_fragmented_message_is_answered_at_once(driver: &str) {
    let server = Server::start(driver, &[]);
    let mut peer = echo(&server);
    peer.send(frames([Frame::text("one ").unfinished(), Frame::ping("now?")]));
    peer.expect(Frame::pong("now?"));
    peer.send(frames([Frame::continuation("two ").unfinished(), Frame::ping(""), Frame::continuation("three")]));
    peer.expect(Frame::pong(""));
    peer.expect(Frame::text("one two three"));
}

fn the_latest_of_many_pings_is_answered(driver: &str) {
    let server = Server::start(driver, &[]);
    let mut peer = echo(&server);
    let pings = (0..1_000).map(|index| Frame::ping(format!("{index:04}")));
    peer.send(frames(pings.chain([Frame::text("end")])));
    let mut latest = Vec::new();
    loop {
        let frame = peer.message();
        if frame == Frame::text("end") {
            break;
        }
        assert_eq!(frame.opcode, Frame::PONG);
        assert!(frame.payload > latest, "pongs come in order");
        latest = frame.payload;
    }
    assert_eq!(latest, b"0999");
}

fn an_unsolicited_pong_is_ignored(driver: &str) {
    let server = Server::start(driver, &[]);
    let mut peer = echo(&server);
    peer.send(frames([Frame::pong(""), Frame::text("a").unfinished(), Frame::pong("unsolicited"), Frame::continuation("b")]));
    peer.expect(Frame::text("ab"));
}

fn empty_fragments_are_fine(driver: &str) {
    let server = Server::start(driver, &[]);
    let mut peer = echo(&server);
    peer.send(frames([Frame::text("").unfinished(), Frame::continuation("").unfinished(), Frame::continuation("")]));
    peer.expect(Frame::text(""));
    peer.send(frames([Frame::binary("").unfinished(), Frame::continuation("x").unfinished(), Frame::continuation("")]));
    peer.expect(Frame::binary("x"));
}

fn an_unmasked_frame_is_1002(driver: &str) {
    let server = Server::start(driver, &[]);
    for frame in [Frame::text("hello"), Frame::binary(""), Frame::ping("hello"), Frame::close(1000, "")] {
        is_1002(&server, frame.unmasked_bytes());
    }
}

fn reserved_bits_are_1002(driver: &str) {
    let server = Server::start(driver, &[]);
    for rsv in 1..=7 {
        is_1002(&server, Frame::text("hello").rsv(rsv));
        is_1002(&server, Frame::ping("hello").rsv(rsv));
        is_1002(&server, Frame::close(1000, "").rsv(rsv));
    }
}

fn reserved_opcodes_are_1002(driver: &str) {
    let server = Server::start(driver, &[]);
    for opcode in (0x3..=0x7).chain(0xB..=0xF) {
        is_1002(&server, Frame::new(opcode, "hello"));
        is_1002(&server, Frame::new(opcode, ""));
    }
}

fn a_control_frame_over_125_bytes_is_1002(driver: &str) {
    let server = Server::start(driver, &[]);
    for opcode in [Frame::CLOSE, Frame::PING, Frame::PONG] {
        is_1002(&server, Frame::new(opcode, vec![0; 126]));
        is_1002(&server, Frame::new(opcode, vec![0; 70_000]));
    }
}

fn a_fragmented_control_frame_is_1002(driver: &str) {
    let server = Server::start(driver, &[]);
    for opcode in [Frame::CLOSE, Frame::PING, Frame::PONG] {
        is_1002(&server, frames([Frame::new(opcode, "").unfinished(), Frame::continuation("")]));
    }
}

fn a_stray_continuation_is_1002(driver: &str) {
    let server = Server::start(driver, &[]);
    is_1002(&server, Frame::continuation("hello"));
    is_1002(&server, Frame::continuation("").unfinished());
    let mut peer = echo(&server);
    peer.send(frames([Frame::text("a").unfinished(), Frame::continuation("b"), Frame::continuation("c"), Frame::text("d")]));
    peer.expect(Frame::text("ab"));
    peer.expect_close(1002);
}

fn a_new_message_inside_a_fragmented_one_is_1002(driver: &str) {
    let server = Server::start(driver, &[]);
    for second in [Frame::text("b"), Frame::binary("b"), Frame::text("b").unfinished()] {
        is_1002(&server, frames([Frame::text("a").unfinished(), second]));
    }
}

fn a_length_that_is_not_minimal_is_1002(driver: &str) {
    let server = Server::start(driver, &[]);
    let (zero, mask) = (vec![0; 4], vec![0; 4]);
    for length in [0_u16, 5, 125] {
        let payload = vec![b'a'; usize::from(length)];
        is_1002(&server, [vec![0x81, 0xFE], length.to_be_bytes().to_vec(), mask.clone(), payload].concat());
    }
    for length in [0_u32, 126, 65_535] {
        let payload = vec![b'a'; length as usize];
        is_1002(&server, [vec![0x81, 0xFF], zero.clone(), length.to_be_bytes().to_vec(), mask.clone(), payload].concat());
    }
}

fn a_length_with_its_top_bit_set_is_1002(driver: &str) {
    let server = Server::start(driver, &[]);
    for length in [1_u64 << 63, u64::MAX, 1 << 63 | 5] {
        is_1002(&server, [vec![0x82, 0xFF], length.to_be_bytes().to_vec(), vec![0; 4], b"hello".to_vec()].concat());
    }
}

fn a_message_at_the_limit_comes_back_and_a_larger_one_is_1009(driver: &str) {
    let server = Server::start(driver, &[("FANTAIL_LIMITS_MESSAGE_BYTES_MAX", "1000")]);
    let mut peer = echo(&server);
    peer.expect_echo(&"a".repeat(1_000));
    peer.send(Frame::text("a".repeat(1_001)));
    peer.expect_close(1009);
}

fn a_declared_length_over_the_limit_is_1009_before_the_payload(driver: &str) {
    let server = Server::start(driver, &[]);
    for length in [1_048_577_u64, 1 << 32, (1 << 63) - 1] {
        let mut peer = echo(&server);
        peer.send([vec![0x82, 0xFF], length.to_be_bytes().to_vec(), vec![0; 4]].concat());
        peer.expect_close(1009);
    }
}

fn fragments_over_the_limit_together_are_1009(driver: &str) {
    let server = Server::start(driver, &[("FANTAIL_LIMITS_MESSAGE_BYTES_MAX", "1000")]);
    let mut peer = echo(&server);
    let part = || Frame::continuation("a".repeat(300)).unfinished();
    peer.send(frames([Frame::text("a".repeat(300)).unfinished(), part(), part()]));
    // Its header is enough: 900 bytes are there, 101 more are announced.
    peer.send([0x80, 0x80 | 101, 0, 0, 0, 0]);
    peer.expect_close(1009);
}

fn sixty_five_thousand_fragments_are_one_message(driver: &str) {
    let server = Server::start(driver, &[]);
    let mut peer = echo(&server);
    let middle = Frame::continuation("a").unfinished().bytes().repeat(65_534);
    peer.send([Frame::text("a").unfinished().bytes(), middle, Frame::continuation("a").bytes()].concat());
    peer.expect(Frame::text("a".repeat(65_536)));
}

fn more_fragments_than_allowed_close(driver: &str) {
    let server = Server::start(driver, &[("FANTAIL_LIMITS_FRAGMENTS_MAX", "100")]);
    let mut peer = echo(&server);
    let start = [Frame::text("a").unfinished().bytes(), Frame::continuation("a").unfinished().bytes().repeat(98)].concat();
    peer.send([start.clone(), Frame::continuation("a").bytes()].concat());
    peer.expect(Frame::text("a".repeat(100)));
    peer.send([start, frames([Frame::continuation("a").unfinished(), Frame::continuation("a")])].concat());
    peer.expect_close_among(&[1008, 1009]);
}

fn a_message_that_takes_too_long_closes(driver: &str) {
    let server = Server::start(driver, &[("FANTAIL_TIMEOUTS_MESSAGE_MS", "300")]);
    let starts = [Frame::text("half a frame").bytes()[..9].to_vec(), Frame::text("half a message").unfinished().bytes(), vec![0x81]];
    for start in starts {
        let mut peer = echo(&server);
        peer.expect_echo("in time");
        peer.send(start);
        peer.expect_close_among(&[1001, 1008]);
    }
}
