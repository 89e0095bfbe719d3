//! Frames taken apart: headers against a naive parser at every length, encoding and back, masks at any alignment and phase, UTF-8 in pieces
//! against the standard library, close payloads.

use fantail_codec::frame::{CloseCode, FrameHeader, OpCode, Utf8, apply_mask, close, mask::rotate, write_frame};
use fantail_codec::{Kind, PeerError};
use fantail_tests::{Frame, Random};

use crate::failure::show;
use crate::generate::Generate;

pub fn case(random: &mut Random) {
    header(random);
    whole_frame(random);
    mask(random);
    utf8(random);
    close_payload(random);
}

const OPCODES: [(u8, OpCode); 6] = [
    (Frame::CONTINUATION, OpCode::Continuation),
    (Frame::TEXT, OpCode::Text),
    (Frame::BINARY, OpCode::Binary),
    (Frame::CLOSE, OpCode::Close),
    (Frame::PING, OpCode::Ping),
    (Frame::PONG, OpCode::Pong),
];

fn header(random: &mut Random) {
    let mut bytes = random.bytes(16);
    if random.one_in(2) {
        bytes[0] = bytes[0] & 0xc0 | OPCODES[random.below(6)].0;
    }
    if random.one_in(2) {
        bytes[1] = bytes[1] & 0x80 | (124 + random.below(4)) as u8;
        let edge = *random.pick(&[&125, &126, &0xffff, &0x1_0000, &(u64::MAX >> 1), &(1 << 63)]);
        match bytes[1] & 0x7f {
            126 if random.one_in(2) => bytes[2..4].copy_from_slice(&(edge as u16).to_be_bytes()),
            127 if random.one_in(2) => bytes[2..10].copy_from_slice(&edge.to_be_bytes()),
            _ => {}
        }
    }
    show("header", &bytes);
    for length in 0..=bytes.len() {
        let parsed = FrameHeader::parse(&bytes[..length]);
        assert_eq!(parsed, naive_header(&bytes[..length]), "of the first {length} bytes");
        if let Ok(Some((header, length))) = parsed {
            let (encoded, encoded_bytes) = header.encode();
            assert_eq!(encoded[..encoded_bytes], bytes[..length], "the shortest form is the only one");
        }
    }
}

/// RFC 6455 §5.2, an item at a time.
fn naive_header(bytes: &[u8]) -> Result<Option<(FrameHeader, usize)>, PeerError> {
    let Some(&first) = bytes.first() else { return Ok(None) };
    if first >> 4 & 0b011 != 0 {
        return Err(PeerError::ReservedBit);
    }
    let Some((_, opcode)) = OPCODES.into_iter().find(|(number, _)| *number == first & 0x0f) else {
        return Err(PeerError::ReservedOpCode);
    };
    let Some(&second) = bytes.get(1) else { return Ok(None) };
    let (fin, is_masked, short) = (first >> 7 == 1, second >> 7 == 1, second & 0x7f);
    if first & 0x0f >= 8 && (!fin || short > 125) {
        return Err(PeerError::ControlFrame);
    }
    let length_bytes = match short {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let Some(length) = bytes.get(2..2 + length_bytes) else { return Ok(None) };
    let extended = length.iter().fold(0, |value: u64, &byte| value << 8 | u64::from(byte));
    let payload_bytes = if length_bytes == 0 { u64::from(short) } else { extended };
    if (short == 126 && payload_bytes < 126) || (short == 127 && (payload_bytes < 65536 || payload_bytes > i64::MAX as u64)) {
        return Err(PeerError::FrameLength);
    }
    let mask = match (is_masked, bytes.get(2 + length_bytes..6 + length_bytes)) {
        (false, _) => None,
        (true, None) => return Ok(None),
        (true, Some(key)) => Some([key[0], key[1], key[2], key[3]]),
    };
    let header = FrameHeader { fin, rsv1: first >> 6 & 1 == 1, opcode, mask, payload_bytes };
    Ok(Some((header, 2 + length_bytes + 4 * usize::from(is_masked))))
}

fn whole_frame(random: &mut Random) {
    let (number, opcode) = OPCODES[random.below(6)];
    let length = random.length(70_000);
    let payload = random.bytes(length);
    let mut header = FrameHeader::whole(opcode, length);
    let mut expected = Frame::new(number, payload.clone());
    (header.fin, expected.fin) = if random.one_in(2) { (true, true) } else { (false, false) };
    if random.one_in(3) {
        (header.rsv1, expected.rsv) = (true, Frame::RSV1);
    }
    let mut expected = expected.unmasked_bytes();
    if random.one_in(2) {
        let key = key(random);
        header.mask = Some(key);
        masked(&mut expected, length, key);
    }
    let mut out = b"before".to_vec();
    write_frame(header, &payload, &mut out);
    assert!(out[6..] == expected, "{header:?}");
}

/// Makes a client's frame of an unmasked one.
pub fn masked(frame: &mut Vec<u8>, payload_bytes: usize, key: [u8; 4]) {
    let header_bytes = frame.len() - payload_bytes;
    frame[1] |= 0x80;
    frame[header_bytes..].iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
    frame.splice(header_bytes..header_bytes, key);
}

/// A masking key; one in eight changes nothing or the same in each byte.
pub fn key(random: &mut Random) -> [u8; 4] {
    let bytes = random.bytes(4);
    if random.one_in(8) { [bytes[0] & 1; 4] } else { [bytes[0], bytes[1], bytes[2], bytes[3]] }
}

fn mask(random: &mut Random) {
    let (key, start, length) = (key(random), random.below(70), random.length(5000));
    let bytes = random.bytes(start + length + 70);
    let mut masked = bytes.clone();
    let mut done = 0;
    for piece in random.pieces(length) {
        apply_mask(&mut masked[start + done..start + done + piece], rotate(key, done as u64));
        done += piece;
    }
    let expected = |(at, &byte): (usize, &u8)| byte ^ if (start..start + length).contains(&at) { key[(at - start) % 4] } else { 0 };
    let expected: Vec<u8> = bytes.iter().enumerate().map(expected).collect();
    assert!(masked == expected, "key {key:?}, {length} bytes from {start}");
}

fn utf8(random: &mut Random) {
    let characters = random.length(400);
    let mut text = random.unicode(characters).into_bytes();
    if random.one_in(3) {
        random.damage(&mut text);
    }
    if let (true, at) = (random.one_in(3), random.below(text.len() + 1)) {
        // Over-long forms, surrogates, beyond the last code point, a lone continuation, and the first bytes of sound characters.
        let wrong =
            random.pick(&[&b"\xc0\x80"[..], b"\xe0\x9f\xbf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xf5", b"\x80", b"\xf0\x9f\x98"]);
        text.splice(at..at, wrong.iter().copied());
    }
    show("text", &text);
    let is_text = std::str::from_utf8(&text).is_ok();
    assert_eq!(Utf8::check(&text).is_ok(), is_text);
    let (mut utf8, mut done) = (Utf8::default(), 0);
    for piece in random.pieces(text.len()) {
        let result = utf8.push(&text[done..done + piece]);
        done += piece;
        let may_go_on = std::str::from_utf8(&text[..done]).map_or_else(|error| error.error_len().is_none(), |_| true);
        assert_eq!(result.is_ok(), may_go_on, "after {done} bytes, the last {piece} of them at once");
        if !may_go_on {
            return;
        }
    }
    assert_eq!(utf8.finish().is_ok(), is_text);
}

fn close_payload(random: &mut Random) {
    let code = *random.pick(&[&999, &1000, &1004, &1005, &1006, &1014, &1015, &2999, &3000, &4999, &5000, &0, &0xffff]);
    let characters = random.below(200);
    let reason = random.unicode(characters);
    let bytes = [&u16::to_be_bytes(code)[..], reason.as_bytes()].concat();
    let may_be_sent = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
    match close::parse(&bytes) {
        Ok(Some((parsed, text))) => assert!(may_be_sent && parsed.get() == code && text == reason),
        other => assert_eq!((other, may_be_sent), (Err(PeerError::CloseFrame), false)),
    }
    if let Some(code) = CloseCode::new(code) {
        let payload = close::payload(Some(code), &reason);
        let cut = payload.len() - 2;
        assert!(payload[..2] == code.get().to_be_bytes() && reason.as_bytes().starts_with(&payload[2..]) && reason.is_char_boundary(cut));
        assert!(payload.len() <= 125 && (cut == reason.len() || payload.len() > 125 - 4), "no more is cut off than must be");
    }
    assert_eq!(OpCode::from(Kind::Text), OpCode::Text);
}
