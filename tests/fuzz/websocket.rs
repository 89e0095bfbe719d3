//! The `WebSocket` machine, as server and as client: a list of frames, some broken, becomes bytes; the bytes in any pieces must come to what
//! the model makes of the frames. Bytes that were damaged have no model, but must come to the same in any pieces.

use fantail_codec::deflate::{self, Agreement};
use fantail_codec::limits::MessageLimits;
use fantail_codec::{CloseCode, Role, Scratch, WebSocket};
use fantail_tests::{Frame, Random};

use crate::failure::show;
use crate::frame::{key, masked};
use crate::generate::Generate;
use crate::inflate::Sender;
use crate::model::{Sent, Setting, Told, tell};

pub fn case(random: &mut Random) {
    let setting = Setting {
        role: if random.one_in(2) { Role::Server } else { Role::Client },
        deflate: random.one_in(2).then(|| random.one_in(2)),
        limits: MessageLimits {
            message_bytes_max: *random.pick(&[&200, &5000, &100_000, &(1 << 20)]),
            fragments_max: *random.pick(&[&2, &4, &100]),
        },
        close_after: if random.one_in(8) { random.below(4) } else { usize::MAX },
    };
    let frames = frames(random, &setting);
    let mut bytes: Vec<u8> = frames.iter().flat_map(|sent| encoded(random, sent)).collect();
    let (mut expected, mut is_all) = tell(&frames, &setting);
    let is_damaged = random.one_in(4);
    if is_damaged {
        random.damage(&mut bytes);
        (expected, is_all) = (Vec::new(), false);
    }
    show("bytes", &bytes);

    let mut scratch = Scratch::default();
    let at_once = told(&bytes, &[bytes.len()], &setting, &mut scratch);
    if is_all {
        assert_eq!(at_once.0, expected, "{setting:?}");
    } else {
        assert!(at_once.0.starts_with(&expected), "{:?} begins otherwise than {expected:?}, {setting:?}", at_once.0);
    }
    for _ in 0..2 {
        let pieces = random.pieces(bytes.len());
        let in_pieces = told(&bytes, &pieces, &setting, &mut scratch);
        assert_eq!(in_pieces, at_once, "in pieces of {pieces:?}, {setting:?}");
    }
}

/// Everything that is told of the bytes, and how the connection stands at their end.
fn told(bytes: &[u8], pieces: &[usize], setting: &Setting, scratch: &mut Scratch) -> (Vec<Told>, [bool; 4]) {
    let agreement = setting.deflate.map(|keeps_context| agreement(setting.role, keeps_context));
    let mut websocket = WebSocket::new(setting.role, agreement.as_ref());
    let mut bytes = bytes.to_vec();
    let mut rest = &mut bytes[..];
    let mut told = Vec::new();
    let mut has_closed = false;
    let mut close_when_due = |websocket: &mut WebSocket, events: usize| {
        if events >= setting.close_after && !has_closed {
            has_closed = true;
            websocket.write_close(Some(CloseCode::GOING_AWAY), "", None, &mut Vec::new());
        }
    };
    // The last turn brings nothing, as of no bytes at all there are no pieces.
    for &piece in pieces.iter().chain([&0]) {
        let (mut input, behind) = rest.split_at_mut(piece);
        rest = behind;
        loop {
            close_when_due(&mut websocket, told.len());
            match websocket.receive(&mut input, &setting.limits, scratch) {
                Ok(Some(event)) => told.push(event.into()),
                Ok(None) => break,
                Err(error) => told.push(Told::Error(error)),
            }
        }
        assert!(input.is_empty(), "all that was given is taken");
    }
    (told, [websocket.is_open(), websocket.is_closed(), websocket.is_partial(), websocket.is_in_message()])
}

/// That our peer keeps its context, or not.
fn agreement(role: Role, keeps_context: bool) -> Agreement {
    let line: &[u8] = match (role, keeps_context) {
        (Role::Client, false) => b"permessage-deflate; server_no_context_takeover",
        _ => b"permessage-deflate",
    };
    let policy = deflate::Policy { client_context_takeover: keeps_context };
    let agreed = match role {
        Role::Server => deflate::negotiate([line].into_iter(), Some(&policy)),
        Role::Client => deflate::accept_response([line].into_iter()),
    };
    agreed.ok().flatten().expect("an agreement")
}

fn frames(random: &mut Random, setting: &Setting) -> Vec<Sent> {
    let mut sender = Sender::new(random, setting.deflate == Some(true));
    let mut frames = Vec::new();
    for _ in 0..=random.below(6) {
        match random.below(8) {
            0 => frames.push(control(random)),
            1 if random.one_in(4) => frames.push(close(random)),
            _ => message(random, setting, &mut sender, &mut frames),
        }
    }
    let sound = |frame| Sent { frame, is_masked: setting.role == Role::Server, is_padded: false, is_damaged: false };
    let mut frames: Vec<Sent> = frames.into_iter().map(sound).collect();
    if setting.deflate.is_some() && random.one_in(8) {
        // Of a compressed message, all that come after its damage.
        if let Some(at) = frames.iter().position(|sent| sent.frame.rsv == Frame::RSV1) {
            random.damage(&mut frames[at].frame.payload);
            frames[at..].iter_mut().for_each(|sent| sent.is_damaged = sent.frame.opcode < Frame::CLOSE);
        }
    }
    if random.one_in(3) {
        let at = random.below(frames.len());
        break_one(random, &mut frames, at);
    }
    frames
}

/// What a peer may do wrong, or may do though it looks wrong.
fn break_one(random: &mut Random, frames: &mut Vec<Sent>, at: usize) {
    let sent = &mut frames[at];
    match random.below(9) {
        0 => sent.frame.rsv ^= 1 << random.below(3),
        1 => sent.frame.opcode = random.below(16) as u8,
        2 => sent.frame.fin = !sent.frame.fin,
        3 => sent.is_masked = !sent.is_masked,
        4 => sent.is_padded = sent.frame.payload.len() < 1 << 16,
        5 => {
            let length = random.length(2000);
            sent.frame.payload = random.bytes(length);
            sent.is_damaged |= sent.frame.rsv == Frame::RSV1;
        }
        6 => drop(frames.remove(at)),
        7 => {
            let again = sent.clone();
            frames.insert(at, again);
        }
        _ => frames.swap(at, 0),
    }
    // Whatever now belongs to a compressed message is none that a sender made.
    if frames.iter().any(|sent| sent.frame.rsv == Frame::RSV1) {
        frames.iter_mut().for_each(|sent| sent.is_damaged = sent.frame.opcode < Frame::CLOSE);
    }
}

fn message(random: &mut Random, setting: &Setting, sender: &mut Sender, frames: &mut Vec<Frame>) {
    let is_text = random.one_in(2);
    let max = if random.one_in(10) { 70_000 } else { 600 };
    let length = random.length(max);
    let mut payload = if is_text { random.unicode(length / 3 + 1).into_bytes() } else { random.bytes(length) };
    if is_text && random.one_in(12) {
        random.damage(&mut payload);
    }
    let is_compressed = setting.deflate.is_some() && random.one_in(2);
    if is_compressed {
        (payload, _) = sender.compressed(random, payload);
    }
    let fragments = if random.one_in(2) { 1 } else { 1 + random.below(5) };
    let mut rest = &payload[..];
    for fragment in 1..=fragments {
        let cut = if fragment == fragments { rest.len() } else { random.below(rest.len() + 1) };
        let (piece, behind) = rest.split_at(cut);
        rest = behind;
        frames.push(Frame {
            fin: fragment == fragments,
            rsv: if is_compressed && fragment == 1 { Frame::RSV1 } else { 0 },
            opcode: match (fragment, is_text) {
                (1, true) => Frame::TEXT,
                (1, false) => Frame::BINARY,
                _ => Frame::CONTINUATION,
            },
            payload: piece.to_vec(),
        });
        if random.one_in(6) {
            frames.push(control(random));
        }
    }
}

fn control(random: &mut Random) -> Frame {
    let length = random.length(125);
    let payload = random.bytes(length);
    if random.one_in(2) { Frame::ping(payload) } else { Frame::pong(payload) }
}

fn close(random: &mut Random) -> Frame {
    match random.below(6) {
        0 => Frame::new(Frame::CLOSE, Vec::new()),
        1 => Frame::new(Frame::CLOSE, vec![3]),
        2 => Frame::close(random.below(5100) as u16, ""),
        3 => Frame::close(1000, b"\xff"),
        _ => Frame::close(*random.pick(&[&1000, &1001, &3000, &4999]), "caf\u{e9}"),
    }
}

fn encoded(random: &mut Random, sent: &Sent) -> Vec<u8> {
    let length = sent.frame.payload.len();
    let mut bytes = sent.frame.unmasked_bytes();
    if sent.is_padded {
        let is_longest = length > 125 || random.one_in(2);
        let extended = (length as u64).to_be_bytes();
        let header = [&[bytes[0], if is_longest { 127 } else { 126 }][..], if is_longest { &extended } else { &extended[6..] }].concat();
        bytes.splice(..bytes.len() - length, header);
    }
    if sent.is_masked {
        masked(&mut bytes, length, key(random));
    }
    bytes
}
