use proptest::prelude::*;

use super::*;
use crate::deflate::{self, Deflater};

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const LIMITS: MessageLimits = MessageLimits { message_bytes_max: 1000, fragments_max: 8 };

/// An event that owns what it tells.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    Message(Kind, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>),
    Error(PeerError),
}

impl From<Event<'_>> for Told {
    fn from(event: Event<'_>) -> Told {
        match event {
            Event::Message(kind, payload) => Told::Message(kind, payload.to_vec()),
            Event::Ping(payload) => Told::Ping(payload.to_vec()),
            Event::Pong(payload) => Told::Pong(payload.to_vec()),
            Event::Close(close) => Told::Close(close.map(|(code, _)| code.get())),
        }
    }
}

fn frame(fin: bool, rsv1: bool, opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let header = FrameHeader { fin, rsv1, opcode, mask: Some(KEY), payload_bytes: payload.len() as u64 };
    write_frame(header, payload, &mut bytes);
    bytes
}

fn text(payload: &str) -> Vec<u8> {
    frame(true, false, OpCode::Text, payload.as_bytes())
}

/// All that a server is told of `bytes`, given in pieces that end at `cuts`.
fn told_in_pieces(websocket: &mut WebSocket, bytes: &[u8], cuts: &[usize]) -> Vec<Told> {
    let mut scratch = Scratch::default();
    let mut bytes = bytes.to_vec();
    let mut told = Vec::new();
    let mut start = 0;
    for cut in cuts.iter().copied().chain([bytes.len()]) {
        let mut input = &mut bytes[start..cut];
        start = cut;
        loop {
            match websocket.receive(&mut input, &LIMITS, &mut scratch) {
                Ok(Some(event)) => told.push(event.into()),
                Ok(None) => break,
                Err(error) => told.push(Told::Error(error)),
            }
        }
    }
    told
}

fn told(bytes: &[u8]) -> Vec<Told> {
    told_in_pieces(&mut WebSocket::new(Role::Server, None), bytes, &[])
}

fn deflating(client_context_takeover: bool) -> WebSocket {
    let offer = [&b"permessage-deflate"[..]];
    let agreement = deflate::negotiate(offer.into_iter(), Some(&deflate::Policy { client_context_takeover })).unwrap();
    WebSocket::new(Role::Server, agreement.as_ref())
}

fn message(text: &str) -> Told {
    Told::Message(Kind::Text, text.as_bytes().to_vec())
}

#[test]
fn whole_messages_are_lent_where_they_lie() {
    let mut bytes = [text("Hello"), text("")].concat();
    let range = bytes.as_ptr_range();
    let (mut websocket, mut scratch) = (WebSocket::new(Role::Server, None), Scratch::default());
    let mut input = &mut bytes[..];
    match websocket.receive(&mut input, &LIMITS, &mut scratch) {
        Ok(Some(Event::Message(Kind::Text, payload))) => {
            assert_eq!(payload, b"Hello");
            assert!(range.contains(&payload.as_ptr()));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(websocket.receive(&mut input, &LIMITS, &mut scratch), Ok(Some(Event::Message(Kind::Text, &mut []))));
    assert_eq!(websocket.receive(&mut input, &LIMITS, &mut scratch), Ok(None));
    assert!(!websocket.is_partial());
}

#[test]
fn control_frames_stand_between_fragments() {
    let bytes = [
        frame(false, false, OpCode::Text, b"Hel"),
        frame(true, false, OpCode::Ping, b"now"),
        frame(false, false, OpCode::Continuation, b""),
        frame(true, false, OpCode::Pong, b""),
        frame(true, false, OpCode::Continuation, b"lo"),
    ]
    .concat();
    assert_eq!(told(&bytes), [Told::Ping(b"now".to_vec()), Told::Pong(Vec::new()), message("Hello")]);
}

#[test]
fn nothing_after_an_error_is_processed() {
    let cases = [
        (b"\x81\x05Hello".to_vec(), PeerError::Masking),
        (frame(true, true, OpCode::Text, b""), PeerError::ReservedBit),
        (frame(true, false, OpCode::Continuation, b""), PeerError::Fragmentation),
        ([frame(false, false, OpCode::Text, b"a"), text("b")].concat(), PeerError::Fragmentation),
        (frame(true, false, OpCode::Text, b"\xff"), PeerError::Utf8),
        ([frame(false, false, OpCode::Text, b"\xce"), frame(true, false, OpCode::Continuation, b"")].concat(), PeerError::Utf8),
        (frame(true, false, OpCode::Close, b"\x03\xed"), PeerError::CloseFrame),
        (frame(true, false, OpCode::Binary, &[0; 1001]), PeerError::MessageTooLarge),
        (
            [frame(false, false, OpCode::Binary, &[0; 600]), frame(true, false, OpCode::Continuation, &[0; 401])].concat(),
            PeerError::MessageTooLarge,
        ),
        (
            [frame(false, false, OpCode::Text, b""), frame(false, false, OpCode::Continuation, b"").repeat(8)].concat(),
            PeerError::TooManyFragments,
        ),
    ];
    for (bytes, error) in cases {
        assert_eq!(told(&[bytes, text("ignored")].concat()), [Told::Error(error)]);
    }
}

#[test]
fn wrong_text_fails_at_its_first_wrong_byte() {
    let mut bytes = frame(true, false, OpCode::Text, b"\xce\xba\xff and so on");
    bytes.truncate(9);
    assert_eq!(told(&bytes), [Told::Error(PeerError::Utf8)], "the frame is not complete, and need not be");
}

#[test]
fn a_declared_length_is_refused_before_its_payload() {
    let header = FrameHeader { mask: Some(KEY), ..FrameHeader::whole(OpCode::Binary, 1 << 40) };
    let mut bytes = Vec::new();
    header.write(&mut bytes);
    assert_eq!(told(&bytes), [Told::Error(PeerError::MessageTooLarge)]);
}

#[test]
fn small_messages_are_judged_as_all_others_are() {
    let limits = MessageLimits { message_bytes_max: 4, fragments_max: 1 };
    let received = |role, mut bytes: Vec<u8>| {
        let (mut websocket, mut scratch) = (WebSocket::new(role, None), Scratch::default());
        let mut input = &mut bytes[..];
        let told = websocket.receive(&mut input, &limits, &mut scratch).map(|event| event.map(Told::from));
        (told, websocket.is_open(), input.len())
    };
    assert_eq!(received(Role::Server, [text("four"), text("x")].concat()), (Ok(Some(message("four"))), true, 7));
    assert_eq!(received(Role::Server, text("fiver")).0, Err(PeerError::MessageTooLarge));
    assert_eq!(received(Role::Client, text("four")).0, Err(PeerError::Masking));
    assert_eq!(received(Role::Server, b"\x81\x04four".to_vec()).0, Err(PeerError::Masking));
    assert_eq!(received(Role::Server, frame(true, false, OpCode::Text, b"\xed\xa0")), (Err(PeerError::Utf8), false, 0));
    assert_eq!(
        received(Role::Server, frame(true, false, OpCode::Binary, b"\xed\xa0")).0,
        Ok(Some(Told::Message(Kind::Binary, b"\xed\xa0".to_vec())))
    );
    for length in [125, 126] {
        let payload = "x".repeat(length);
        assert_eq!(told(&text(&payload)), [message(&payload)]);
    }
}

#[test]
fn the_closing_handshake_from_either_side() {
    let (bytes, mut out) = (frame(true, false, OpCode::Close, b"\x03\xe8bye"), Vec::new());
    let mut websocket = WebSocket::new(Role::Server, None);
    assert_eq!(told_in_pieces(&mut websocket, &[bytes.clone(), text("late")].concat(), &[]), [Told::Close(Some(1000))]);
    assert!(!websocket.is_open() && !websocket.is_closed());
    websocket.write_close(Some(CloseCode::NORMAL), "", None, &mut out);
    websocket.write_close(Some(CloseCode::NORMAL), "", None, &mut out);
    assert_eq!(out, b"\x88\x02\x03\xe8");
    assert!(websocket.is_closed());

    let (mut websocket, mut out) = (WebSocket::new(Role::Server, None), Vec::new());
    websocket.write_close(Some(CloseCode::GOING_AWAY), "bye", None, &mut out);
    assert_eq!(out, b"\x88\x05\x03\xe9bye");
    assert!(!websocket.is_open() && !websocket.is_closed());
    let late = [text("late"), frame(false, false, OpCode::Text, b"a"), frame(true, false, OpCode::Ping, b""), bytes].concat();
    assert_eq!(told_in_pieces(&mut websocket, &late, &[]), [Told::Close(Some(1000))]);
    assert!(websocket.is_closed());
}

#[test]
fn after_our_close_wrong_text_is_ignored_in_pieces_too() {
    let bytes = [frame(true, false, OpCode::Text, b"\xff\xff"), frame(true, false, OpCode::Close, &[])].concat();
    for cut in 0..bytes.len() {
        let mut websocket = WebSocket::new(Role::Server, None);
        websocket.write_close(Some(CloseCode::NORMAL), "", None, &mut Vec::new());
        assert_eq!(told_in_pieces(&mut websocket, &bytes, &[cut]), [Told::Close(None)], "{cut}");
        assert!(websocket.is_closed());
    }
}

#[test]
fn control_frames_in_pieces_do_not_run_into_each_other() {
    let bytes = [frame(true, false, OpCode::Ping, b"ping"), frame(true, false, OpCode::Close, b"\x03\xe8")].concat();
    let cuts: Vec<usize> = (1..bytes.len()).collect();
    let mut websocket = WebSocket::new(Role::Server, None);
    assert_eq!(told_in_pieces(&mut websocket, &bytes, &cuts), [Told::Ping(b"ping".to_vec()), Told::Close(Some(1000))]);
    let mut closing = WebSocket::new(Role::Server, None);
    closing.write_close(Some(CloseCode::GOING_AWAY), "", None, &mut Vec::new());
    assert_eq!(told_in_pieces(&mut closing, &bytes, &cuts), [Told::Close(Some(1000))]);
}

#[test]
fn a_client_takes_unmasked_frames_and_masks_its_own() {
    let (mut websocket, mut out) = (WebSocket::new(Role::Client, None), Vec::new());
    assert_eq!(told_in_pieces(&mut websocket, b"\x81\x02hi", &[]), [message("hi")]);
    websocket.write_close(None, "", Some(KEY), &mut out);
    assert_eq!(out, b"\x88\x80\x37\xfa\x21\x3d");
    assert_eq!(told(&text("x")), [message("x")]);
    assert_eq!(told_in_pieces(&mut WebSocket::new(Role::Client, None), &text("x"), &[]), [Told::Error(PeerError::Masking)]);
}

#[test]
fn compressed_messages() {
    let mut deflated = Vec::new();
    Deflater::new(6).message(15, b"Hello Hello Hello", &mut deflated);
    let (head, tail) = deflated.split_at(3);
    let bytes = [
        frame(true, true, OpCode::Text, &deflated),
        text("plain"),
        frame(false, true, OpCode::Text, head),
        frame(true, false, OpCode::Ping, b""),
        frame(true, false, OpCode::Continuation, tail),
    ]
    .concat();
    let expected = [message("Hello Hello Hello"), message("plain"), Told::Ping(Vec::new()), message("Hello Hello Hello")];
    for context_takeover in [true, false] {
        assert_eq!(told_in_pieces(&mut deflating(context_takeover), &bytes, &[]), expected);
    }
    let on_continuation = [frame(false, true, OpCode::Text, head), frame(true, true, OpCode::Continuation, tail)].concat();
    assert_eq!(told_in_pieces(&mut deflating(false), &on_continuation, &[]), [Told::Error(PeerError::ReservedBit)]);
    let corrupt = frame(true, true, OpCode::Text, b"\xff\xff\xff");
    assert_eq!(told_in_pieces(&mut deflating(false), &corrupt, &[]), [Told::Error(PeerError::Deflate)]);
    let mut bomb = Vec::new();
    Deflater::new(9).message(15, &[0; 100_000], &mut bomb);
    assert_eq!(
        told_in_pieces(&mut deflating(false), &frame(true, true, OpCode::Binary, &bomb), &[]),
        [Told::Error(PeerError::MessageTooLarge)]
    );
    let mut no_text = Vec::new();
    Deflater::new(1).message(15, b"\xff\xfe", &mut no_text);
    assert_eq!(told_in_pieces(&mut deflating(false), &frame(true, true, OpCode::Text, &no_text), &[]), [Told::Error(PeerError::Utf8)]);
}

/// RFC 7692 §7.2.3.2: the second and third message refer to the first, which only a window that is kept can resolve.
#[test]
fn a_client_inflates_with_and_without_the_server_s_context() {
    let client = |answer: &str| {
        let agreement = deflate::accept_response([answer.as_bytes()].into_iter()).unwrap();
        WebSocket::new(Role::Client, agreement.as_ref())
    };
    let (first, again) = (&b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00"[..], &b"\xc1\x05\xf2\x00\x11\x00\x00"[..]);
    let bytes = [first, b"\x81\x05plain", again, again].concat();
    let expected = ["Hello", "plain", "Hello", "Hello"].map(message);
    let cuts: Vec<usize> = (1..bytes.len()).collect();
    for cuts in [&[][..], &cuts] {
        assert_eq!(told_in_pieces(&mut client("permessage-deflate; client_no_context_takeover"), &bytes, cuts), expected);
    }
    let mut without = client("permessage-deflate; server_no_context_takeover");
    assert_eq!(
        told_in_pieces(&mut without, &[first, first, again].concat(), &[]),
        [message("Hello"), message("Hello"), Told::Error(PeerError::Deflate)]
    );
}

/// A message in fragments with control frames among them, and what it should come to.
fn messages() -> impl Strategy<Value = (Vec<u8>, Vec<Told>)> {
    let fragments = prop::collection::vec(prop_oneof!["[a-zé€😀]{0,40}", "[a-z]{120,140}"], 1..6);
    let one =
        (any::<bool>(), fragments, prop::option::of(prop::collection::vec(any::<u8>(), 0..126))).prop_map(|(is_text, fragments, ping)| {
            let kind = if is_text { Kind::Text } else { Kind::Binary };
            let (mut bytes, mut told) = (Vec::new(), Vec::new());
            for (i, fragment) in fragments.iter().enumerate() {
                let opcode = if i == 0 { OpCode::from(kind) } else { OpCode::Continuation };
                bytes.extend(frame(i + 1 == fragments.len(), false, opcode, fragment.as_bytes()));
                if let (0, Some(ping)) = (i, &ping) {
                    bytes.extend(frame(true, false, OpCode::Ping, ping));
                    told.push(Told::Ping(ping.clone()));
                }
            }
            let at = if fragments.len() == 1 { 0 } else { told.len() };
            told.insert(at, Told::Message(kind, fragments.concat().into_bytes()));
            (bytes, told)
        });
    let ends = prop::sample::select(vec![
        (Vec::new(), Vec::new()),
        (frame(true, false, OpCode::Close, b"\x03\xe8"), vec![Told::Close(Some(1000))]),
        (frame(true, true, OpCode::Text, b"x"), vec![Told::Error(PeerError::ReservedBit)]),
    ]);
    (prop::collection::vec(one, 0..5), ends).prop_map(|(messages, end)| {
        let (bytes, told): (Vec<_>, Vec<_>) = messages.into_iter().chain([end]).unzip();
        (bytes.concat(), told.concat())
    })
}

proptest! {
    #[test]
    fn any_split_gives_the_same_events((bytes, expected) in messages(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..30)) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        prop_assert_eq!(&told(&bytes), &expected);
        prop_assert_eq!(told_in_pieces(&mut WebSocket::new(Role::Server, None), &bytes, &cuts), expected);
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200), cuts in prop::collection::vec(0..200usize, 0..10)) {
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.sort_unstable();
        prop_assert_eq!(told_in_pieces(&mut deflating(false), &bytes, &cuts), told_in_pieces(&mut deflating(false), &bytes, &[]));
    }
}
