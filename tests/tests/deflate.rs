//! permessage-deflate (RFC 7692): what is agreed on, what compressed data is understood, and what is refused.

use fantail_tests::{Deflater, Frame, Peer, Random, Request, Server, frames, inflate, on_each_driver};

on_each_driver! {
    the_plain_offer_is_accepted_without_context_takeover,
    an_offer_with_an_unknown_parameter_is_declined,
    an_offer_with_a_parameter_twice_is_declined,
    a_value_on_a_parameter_that_has_none_is_declined,
    window_bits_out_of_range_are_declined,
    server_max_window_bits_without_a_value_is_declined,
    an_empty_value_is_declined_or_400,
    the_name_matches_exactly,
    the_next_offer_is_tried,
    client_max_window_bits_is_answered_only_if_offered,
    server_max_window_bits_is_obeyed,
    it_can_be_switched_off,
    no_message_refers_to_the_one_before,
    small_messages_go_uncompressed,
    every_kind_of_message_survives,
    the_examples_of_the_rfc_are_understood,
    an_empty_message_is_any_empty_block,
    the_message_after_a_final_block_works,
    plain_messages_among_compressed_ones_work,
    empty_fragments_of_a_compressed_message_work,
    a_shared_window_spans_messages,
    a_shared_window_survives_a_final_block,
    a_window_that_was_not_agreed_on_is_1007,
    rsv1_without_the_extension_is_1002,
    rsv1_on_a_continuation_is_1002,
    rsv1_on_a_control_frame_is_1002,
    bad_data_is_1007,
    bad_utf8_after_inflating_is_1007,
    a_message_larger_than_the_limit_after_inflating_is_1009,
}

const HELLO: [u8; 7] = [0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00];
/// "Hello" as a match with the "Hello" of the message before it.
const HELLO_AGAIN: [u8; 5] = [0xF2, 0x00, 0x11, 0x00, 0x00];

/// The server's answer to these lines of offers; the connection must work either way.
fn answer(server: &Server, offers: &[&str]) -> Option<String> {
    let request = offers.iter().fold(Request::upgrade("/echo"), |request, offer| request.and("Sec-WebSocket-Extensions", offer));
    let (mut peer, response) = Peer::upgrade_with(server.edge, request);
    peer.expect_echo("hello");
    response.field("Sec-WebSocket-Extensions").map(str::to_owned)
}

/// The parameters of an accepted offer.
fn parameters(answer: &str) -> Vec<&str> {
    let mut parts = answer.split(';').map(str::trim);
    assert_eq!(parts.next(), Some("permessage-deflate"), "{answer}");
    parts.collect()
}

fn declined(driver: &str, parameters: &[&str]) {
    let server = Server::start(driver, &[]);
    for parameter in parameters {
        assert_eq!(answer(&server, &[&format!("permessage-deflate; {parameter}")]), None, "{parameter}");
    }
}

fn compressing(server: &Server) -> Peer {
    let request = Request::upgrade("/echo").with("Sec-WebSocket-Extensions", "permessage-deflate");
    let (peer, response) = Peer::upgrade_with(server.edge, request);
    parameters(response.field("Sec-WebSocket-Extensions").expect("an answer"));
    peer
}

fn compressed(opcode: u8, payload: impl Into<Vec<u8>>) -> Frame {
    Frame::new(opcode, payload).rsv(Frame::RSV1)
}

fn the_plain_offer_is_accepted_without_context_takeover(driver: &str) {
    let server = Server::start(driver, &[]);
    for offer in [
        "permessage-deflate",
        "permessage-deflate; server_no_context_takeover",
        "permessage-deflate;client_no_context_takeover ; server_no_context_takeover",
    ] {
        let answer = answer(&server, &[offer]).expect("an answer");
        let mut parameters = parameters(&answer);
        parameters.sort_unstable();
        assert_eq!(parameters, ["client_no_context_takeover", "server_no_context_takeover"]);
    }
}

fn an_offer_with_an_unknown_parameter_is_declined(driver: &str) {
    declined(driver, &["foo", "foo=1", "server_no_context_takeover; constructor", "server_no_context_takeovers"]);
}

fn an_offer_with_a_parameter_twice_is_declined(driver: &str) {
    declined(
        driver,
        &[
            "server_no_context_takeover; server_no_context_takeover",
            "client_no_context_takeover; client_no_context_takeover",
            "server_max_window_bits=15; server_max_window_bits=15",
            "client_max_window_bits; client_max_window_bits=15",
        ],
    );
}

fn a_value_on_a_parameter_that_has_none_is_declined(driver: &str) {
    declined(driver, &["server_no_context_takeover=1", "client_no_context_takeover=true"]);
}

fn window_bits_out_of_range_are_declined(driver: &str) {
    for bits in ["7", "16", "0", "08", "015", "-9", "+9", "1x", "x", "99999999999999999999", "9.0"] {
        declined(driver, &[&format!("server_max_window_bits={bits}"), &format!("client_max_window_bits={bits}")]);
    }
}

fn server_max_window_bits_without_a_value_is_declined(driver: &str) {
    declined(driver, &["server_max_window_bits"]);
}

/// An empty value is no token, hence malformed (RFC 6455 §9.1), and no number, hence declined (RFC 7692 §7.1): either will do.
fn an_empty_value_is_declined_or_400(driver: &str) {
    let server = Server::start(driver, &[]);
    for parameter in ["server_max_window_bits=\"\"", "client_max_window_bits=", "server_no_context_takeover=\"\""] {
        let offer = format!("permessage-deflate; {parameter}");
        let (_, response) = Peer::ask(server.edge, Request::upgrade("/echo").with("Sec-WebSocket-Extensions", &offer));
        let declined = response.status == 101 && response.field("Sec-WebSocket-Extensions").is_none();
        assert!(declined || response.status == 400, "{offer} was answered {response:?}");
    }
}

fn the_name_matches_exactly(driver: &str) {
    let server = Server::start(driver, &[]);
    for name in ["Permessage-Deflate", "permessage-deflate2", "xpermessage-deflate", "permessage", "perframe-deflate"] {
        assert_eq!(answer(&server, &[name]), None, "{name}");
    }
}

fn the_next_offer_is_tried(driver: &str) {
    let server = Server::start(driver, &[]);
    assert!(answer(&server, &["permessage-deflate; server_max_window_bits=7, permessage-deflate"]).is_some());
    assert!(answer(&server, &["foo", "permessage-deflate; bar", "permessage-deflate"]).is_some());
    assert_eq!(answer(&server, &["permessage-deflate; foo, permessage-deflate; bar"]), None);
}

fn client_max_window_bits_is_answered_only_if_offered(driver: &str) {
    let server = Server::start(driver, &[]);
    let plain = answer(&server, &["permessage-deflate"]).expect("an answer");
    assert!(!plain.contains("client_max_window_bits"), "{plain}");
    for offered in 8..=15 {
        let answer = answer(&server, &[&format!("permessage-deflate; client_max_window_bits={offered}")]);
        let bits = answer
            .iter()
            .flat_map(|answer| parameters(answer))
            .find_map(|parameter| Some(parameter.strip_prefix("client_max_window_bits")?.trim_start_matches('=').to_owned()));
        if let Some(bits) = bits {
            let bits: u8 = bits.parse().expect("an answer has a number");
            assert!((8..=offered).contains(&bits), "{offered} was answered {bits}");
        }
    }
    assert!(answer(&server, &["permessage-deflate; client_max_window_bits"]).is_some());
}

fn server_max_window_bits_is_obeyed(driver: &str) {
    let server = Server::start(driver, &[]);
    // Words that come again at all distances up to the whole message's length.
    let mut random = Random::new(26);
    let words: Vec<String> = (0..200).map(|_| format!("{:08x} ", random.below(1 << 32))).collect();
    let message: String = (0..6_000).map(|_| words[random.below(words.len())].as_str()).collect();
    for offered in 8..=15 {
        let offer = format!("permessage-deflate; server_max_window_bits={offered}");
        let (mut peer, response) = Peer::upgrade_with(server.edge, Request::upgrade("/echo").with("Sec-WebSocket-Extensions", &offer));
        let Some(answer) = response.field("Sec-WebSocket-Extensions") else {
            assert_ne!(offered, 15, "the default window was declined");
            continue;
        };
        let bits = parameters(answer).into_iter().find_map(|parameter| parameter.strip_prefix("server_max_window_bits="));
        let bits: u32 = bits.map_or(15, |bits| bits.parse().expect("an answer has a number"));
        assert!(bits <= offered, "{offered} was answered {bits}");
        peer.send(Frame::text(message.as_str()));
        let frame = peer.frame();
        assert_eq!(frame.rsv, Frame::RSV1);
        let inflated = inflate(&frame.payload);
        assert_eq!(inflated.bytes, message.as_bytes());
        assert!(inflated.distance_max <= 1 << bits, "{} with {bits} bits", inflated.distance_max);
    }
}

fn it_can_be_switched_off(driver: &str) {
    let server = Server::start(driver, &[("FANTAIL_DEFLATE_ENABLED", "false")]);
    assert_eq!(answer(&server, &["permessage-deflate"]), None);
}

fn no_message_refers_to_the_one_before(driver: &str) {
    let server = Server::start(driver, &[]);
    let mut peer = compressing(&server);
    let text = "the same words again, ".repeat(20);
    peer.send(frames([Frame::text(text.as_str()), Frame::text(text.as_str())]));
    let (first, second) = (peer.frame(), peer.frame());
    assert_eq!(first, second);
    assert_eq!(first.rsv, Frame::RSV1);
    assert!(first.payload.len() < text.len() / 4);
    assert_eq!(inflate(&second.payload).bytes, text.as_bytes());
}

fn small_messages_go_uncompressed(driver: &str) {
    let server = Server::start(driver, &[]);
    let mut peer = compressing(&server);
    for (length, rsv) in [(0, 0), (63, 0), (64, Frame::RSV1)] {
        peer.send(Frame::text("a".repeat(length)));
        assert_eq!(peer.frame().rsv, rsv, "{length}");
    }
}

fn every_kind_of_message_survives(driver: &str) {
    let server = Server::start(driver, &[]);
    let mut peer = compressing(&server);
    let mut random = Random::new(28);
    for alphabet in [1, 2, 30, 256] {
        for length in [0, 1, 64, 125, 126, 300, 65_535, 65_536, 300_000] {
            let message: Vec<u8> = (0..length).map(|_| random.below(alphabet) as u8).collect();
            peer.send(compressed(Frame::BINARY, Deflater::default().message(&message)));
            peer.expect(Frame::binary(message));
        }
    }
}

fn the_examples_of_the_rfc_are_understood(driver: &str) {
    let server = Server::start(driver, &[]);
    let mut peer = compressing(&server);
    let examples: [&[u8]; 4] = [
        &HELLO,
        &[0x00, 0x05, 0x00, 0xFA, 0xFF, 0x48, 0x65, 0x6C, 0x6C, 0x6F, 0x00], // stored
        &[0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00],                   // BFINAL
        &[0xF2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xCA, 0xC9, 0xC9, 0x07, 0x00], // two blocks
    ];
    for example in examples {
        peer.send(compressed(Frame::TEXT, example));
        peer.expect(Frame::text("Hello"));
    }
}

fn an_empty_message_is_any_empty_block(driver: &str) {
    let server = Server::start(driver, &[]);
    let mut peer = compressing(&server);
    for empty in [&[0x00][..], &[0x02, 0x00], &[0x03, 0x00, 0x00]] {
        peer.send(compressed(Frame::TEXT, empty));
        peer.expect(Frame::text(""));
    }
}

fn the_message_after_a_final_block_works(driver: &str) {
    let server = Server::start(driver, &[]);
    let mut peer = compressing(&server);
    for _ in 0..3 {
        peer.send(compressed(Frame::TEXT, [0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00]));
        peer.send(compressed(Frame::TEXT, HELLO));
        peer.expect(Frame::text("Hello"));
        peer.expect(Frame::text("Hello"));
    }
}

fn plain_messages_among_compressed_ones_work(driver: &str) {
    let server = Server::start(driver, &[]);
    let mut peer = compressing(&server);
    for _ in 0..3 {
        peer.expect_echo("plain");
        peer.send(frames([compressed(Frame::TEXT, &HELLO[..2]).unfinished(), Frame::ping("?"), Frame::continuation(&HELLO[2..])]));
        peer.expect(Frame::pong("?"));
        peer.expect(Frame::text("Hello"));
    }
}

fn empty_fragments_of_a_compressed_message_work(driver: &str) {
    let server = Server::start(driver, &[]);
    let mut peer = compressing(&server);
    peer.send(compressed(Frame::TEXT, []).unfinished());
    for byte in HELLO {
        peer.send(frames([Frame::continuation([byte]).unfinished(), Frame::continuation([]).unfinished()]));
    }
    peer.send(Frame::continuation([]));
    peer.expect(Frame::text("Hello"));
}

const CONTEXT: [(&str, &str); 1] = [("FANTAIL_DEFLATE_CLIENT_CONTEXT_TAKEOVER", "true")];

fn a_shared_window_spans_messages(driver: &str) {
    let server = Server::start(driver, &CONTEXT);
    let mut peer = compressing(&server);
    peer.send(frames([compressed(Frame::TEXT, HELLO), Frame::text("plain"), compressed(Frame::TEXT, HELLO_AGAIN)]));
    for text in ["Hello", "plain", "Hello"] {
        peer.expect(Frame::text(text));
    }
    let mut peer = compressing(&server);
    let mut deflater = Deflater::default();
    let mut random = Random::new(29);
    let message: Vec<u8> = (0..20_000).map(|_| random.below(256) as u8).collect();
    for round in 0..5 {
        let payload = deflater.message(&message);
        assert!(round == 0 || payload.len() < 1_000, "the witness shares its window");
        peer.send(compressed(Frame::BINARY, payload));
        peer.expect(Frame::binary(message.as_slice()));
    }
}

fn a_shared_window_survives_a_final_block(driver: &str) {
    let server = Server::start(driver, &CONTEXT);
    let mut peer = compressing(&server);
    peer.send(compressed(Frame::TEXT, [0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00]));
    peer.send(compressed(Frame::TEXT, HELLO_AGAIN));
    peer.expect(Frame::text("Hello"));
    peer.expect(Frame::text("Hello"));
}

fn a_window_that_was_not_agreed_on_is_1007(driver: &str) {
    let server = Server::start(driver, &[]);
    let mut peer = compressing(&server);
    peer.send(frames([compressed(Frame::TEXT, HELLO), compressed(Frame::TEXT, HELLO_AGAIN)]));
    peer.expect(Frame::text("Hello"));
    peer.expect_close(1007);
}

fn rsv1_without_the_extension_is_1002(driver: &str) {
    let server = Server::start(driver, &[]);
    let mut peer = Peer::upgrade(server.edge, "/echo");
    peer.send(compressed(Frame::TEXT, HELLO));
    peer.expect_close(1002);
}

fn rsv1_on_a_continuation_is_1002(driver: &str) {
    let server = Server::start(driver, &[]);
    let mut peer = compressing(&server);
    peer.send(frames([compressed(Frame::TEXT, &HELLO[..3]).unfinished(), compressed(Frame::CONTINUATION, &HELLO[3..])]));
    peer.expect_close(1002);
}

fn rsv1_on_a_control_frame_is_1002(driver: &str) {
    let server = Server::start(driver, &[]);
    for opcode in [Frame::PING, Frame::PONG, Frame::CLOSE] {
        let mut peer = compressing(&server);
        peer.send(compressed(opcode, []));
        peer.expect_close(1002);
    }
}

fn bad_data_is_1007(driver: &str) {
    let server = Server::start(driver, &[]);
    let bad: [&[u8]; 4] = [
        &[0x07],                                           // a reserved block type
        &[0x00, 0x05, 0x00, 0xFA, 0xFE, 0x48],             // LEN and NLEN disagree
        &HELLO_AGAIN,                                      // a distance to before the start
        &[0x04, 0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF], // impossible code lengths
    ];
    for payload in bad {
        let mut peer = compressing(&server);
        peer.send(compressed(Frame::BINARY, payload));
        peer.expect_close(1007);
    }
}

fn bad_utf8_after_inflating_is_1007(driver: &str) {
    let server = Server::start(driver, &[]);
    for message in [&b"abc\xFF"[..], b"\xED\xA0\x80", b"truncated \xE2\x82"] {
        let mut peer = compressing(&server);
        let payload = Deflater::default().message(message);
        peer.send(compressed(Frame::BINARY, payload.as_slice()));
        peer.expect(Frame::binary(message));
        peer.send(compressed(Frame::TEXT, payload));
        peer.expect_close(1007);
    }
}

fn a_message_larger_than_the_limit_after_inflating_is_1009(driver: &str) {
    let server = Server::start(driver, &[("FANTAIL_LIMITS_MESSAGE_BYTES_MAX", "10000")]);
    let payload = |length: usize| Deflater::default().message(&vec![b'a'; length]);
    let mut peer = compressing(&server);
    peer.send(compressed(Frame::TEXT, payload(10_000)));
    peer.expect(Frame::text("a".repeat(10_000)));
    peer.send(compressed(Frame::TEXT, payload(10_001)));
    peer.expect_close(1009);
}
