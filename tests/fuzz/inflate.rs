//! Compressed messages, sound and damaged, one after the other with and without context: what our inflater makes of them must be what another
//! library makes of them, within the bound, and a shared inflater must be as good as new after an error.

use fantail_codec::deflate::{Deflater, InflateError, Inflater};
use fantail_tests::Random;
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::{TINFL_FLAG_HAS_MORE_INPUT, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF};
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

use crate::failure::show;
use crate::generate::Generate;

/// What a sync flush ends in, and a sender leaves out, RFC 7692 §7.2.1.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

pub fn case(random: &mut Random) {
    let keep_context = random.one_in(2);
    let (mut inflater, mut reference) = (Inflater::new(), Reference::default());
    let mut sender = Sender::new(random, keep_context);
    for _ in 0..=random.below(4) {
        let (mut payload, message) = sender.message(random);
        let is_sound = !random.one_in(3);
        if !is_sound {
            random.damage(&mut payload);
        }
        let small = random.below(100);
        let bytes_max = *random.pick(&[&message.len(), &message.len().saturating_sub(1), &small, &(1 << 20), &usize::MAX]);
        show(if keep_context { "payload, with context" } else { "payload" }, &payload);
        let mut out = b"before".to_vec();
        let result = inflater.message(&payload, keep_context, bytes_max, &mut out);
        assert!(out.len() - 6 <= bytes_max.saturating_add(usize::from(result.is_err())), "{} bytes, {bytes_max} allowed", out.len() - 6);
        assert_eq!(&out[..6], b"before");
        if !keep_context {
            reference = Reference::default();
        }
        match result {
            Ok(()) => assert!(reference.message(&payload, bytes_max).as_deref() == Some(&out[6..]), "another library reads it differently"),
            Err(InflateError::TooLarge) if is_sound => assert!(message.len() > bytes_max, "{} bytes, {bytes_max} allowed", message.len()),
            // A damaged message may grow, and may consist of many final blocks.
            Err(InflateError::TooLarge) => {}
            Err(InflateError::Corrupt) => assert!(!is_sound, "a sound message is no DEFLATE"),
        }
        if is_sound && result.is_ok() {
            assert!(out[6..] == message, "{} bytes became {}", message.len(), out.len() - 6);
        }
        // What follows may refer to what was damaged.
        if keep_context && (result.is_err() || !is_sound) {
            return;
        }
    }
}

/// Someone who sends compressed messages.
pub enum Sender {
    /// Our own compressor, each message on its own.
    Ours { deflater: Box<Deflater>, window_bits: u8 },
    /// Another library's, which keeps its context.
    Theirs(fantail_tests::Deflater),
    /// Blocks put together by hand, some of them final; what was sent so far, where it keeps that.
    Blocks { history: Vec<u8>, keeps_context: bool },
}

impl Sender {
    pub fn new(random: &mut Random, keeps_context: bool) -> Sender {
        match random.below(3) {
            0 => Sender::Ours { deflater: Box::new(Deflater::new(random.below(10) as u8)), window_bits: 9 + random.below(7) as u8 },
            1 if keeps_context => Sender::Theirs(fantail_tests::Deflater::default()),
            _ => Sender::Blocks { history: Vec::new(), keeps_context },
        }
    }

    /// A message, compressed and as it is.
    pub fn message(&mut self, random: &mut Random) -> (Vec<u8>, Vec<u8>) {
        let message = content(random);
        self.compressed(random, message)
    }

    /// This message, or a longer one, compressed and as it is.
    pub fn compressed(&mut self, random: &mut Random, message: Vec<u8>) -> (Vec<u8>, Vec<u8>) {
        let payload = match self {
            Sender::Ours { deflater, window_bits } => {
                let mut payload = Vec::new();
                deflater.message(*window_bits, &message, &mut payload);
                payload
            }
            Sender::Theirs(deflater) => deflater.message(&message),
            Sender::Blocks { history, keeps_context } => {
                if !*keeps_context {
                    history.clear();
                }
                let start = history.len();
                let payload = blocks(random, &message, history);
                return (payload, history[start..].to_vec());
            }
        };
        (payload, message)
    }
}

/// Stored blocks, other library's streams, and references to anything before them, with BFINAL here and there, RFC 7692 §7.2.3.
fn blocks(random: &mut Random, message: &[u8], history: &mut Vec<u8>) -> Vec<u8> {
    let mut payload = Vec::new();
    let mut rest = message;
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at((1 + random.length(40_000)).min(rest.len()));
        rest = behind;
        history.extend(piece);
        let is_final = random.one_in(3);
        if random.one_in(2) {
            let length = piece.len() as u16;
            payload.extend([&[u8::from(is_final)][..], &length.to_le_bytes(), &(!length).to_le_bytes(), piece].concat());
        } else if is_final {
            payload.extend(miniz_oxide::deflate::compress_to_vec(piece, random.below(10) as u8));
        } else {
            payload.extend(fantail_tests::Deflater::default().message(piece));
            payload.extend(TAIL);
        }
        if random.one_in(2) {
            let distance_max = history.len().min(1 << 15);
            let distance = *random.pick(&[&1, &distance_max, &distance_max.div_ceil(2), &distance_max.saturating_sub(1).max(1)]);
            let length = 3 + random.below(8);
            for _ in 0..length {
                history.push(history[history.len() - distance]);
            }
            payload.extend(reference(length, distance, random.one_in(2)));
        }
    }
    // The empty stored block, of which the sender keeps the first byte; it may be final as well.
    payload.push(u8::from(random.one_in(4)));
    payload
}

/// A block with one reference of 3 to 10 bytes in it, in the fixed code, RFC 1951 §3.2.5 and §3.2.6.
fn reference(length: usize, distance: usize, is_final: bool) -> Vec<u8> {
    let mut bits = Vec::new();
    // Codes begin with their highest bit, numbers with their lowest.
    let code = |bits: &mut Vec<bool>, value: usize, count: usize| bits.extend((0..count).rev().map(|bit| value >> bit & 1 == 1));
    let number = |bits: &mut Vec<bool>, value: usize, count: usize| bits.extend((0..count).map(|bit| value >> bit & 1 == 1));
    number(&mut bits, usize::from(is_final) | 1 << 1, 3);
    code(&mut bits, length - 2, 7);
    let from = distance - 1;
    let extra = if from < 4 { 0 } else { from.ilog2() as usize - 1 };
    code(&mut bits, if from < 4 { from } else { 2 * extra + (from >> extra) }, 5);
    number(&mut bits, from, extra);
    code(&mut bits, 0, 7);
    if !is_final {
        // An empty stored block, so that the next one begins at a byte.
        number(&mut bits, 0, 3);
    }
    let mut bytes: Vec<u8> = bits.chunks(8).map(|byte| byte.iter().rev().fold(0, |value, &bit| value << 1 | u8::from(bit))).collect();
    bytes.extend(if is_final { &[][..] } else { &TAIL });
    bytes
}

/// Text that repeats itself, noise, runs of one byte.
fn content(random: &mut Random) -> Vec<u8> {
    let length = random.length(20_000);
    match random.below(4) {
        0 => random.bytes(length),
        1 => vec![random.below(256) as u8; length * 4],
        2 => {
            let part = random.text(length / 20 + 1);
            part.repeat(1 + random.below(40))
        }
        _ => random.text(length),
    }
}

/// Another library, fed the same messages.
#[derive(Default)]
pub struct Reference {
    stream: DecompressorOxide,
    /// All that the peer has sent.
    history: Vec<u8>,
}

impl Reference {
    /// The message, or `None` where it is too large or no DEFLATE. It is less strict than zlib about tables that no compressor makes.
    pub fn message(&mut self, payload: &[u8], bytes_max: usize) -> Option<Vec<u8>> {
        if payload.is_empty() {
            return Some(Vec::new());
        }
        let start = self.history.len();
        let bytes_max = bytes_max.min(1 << 28);
        let mut end = start;
        let payload = [payload, &TAIL].concat();
        let mut input = &payload[..];
        loop {
            self.history.resize(end + (end - start).max(4096).min(bytes_max + 1), 0);
            let flags = TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF | TINFL_FLAG_HAS_MORE_INPUT;
            let (status, taken, made) = decompress(&mut self.stream, input, &mut self.history, end, flags);
            input = &input[taken..];
            end += made;
            if end - start > bytes_max {
                return None;
            }
            match status {
                TINFLStatus::HasMoreOutput => {}
                // A final block ends the stream for the library, not for RFC 7692.
                TINFLStatus::Done if !input.is_empty() => self.stream = DecompressorOxide::new(),
                TINFLStatus::Done | TINFLStatus::NeedsMoreInput => break,
                _ => return None,
            }
        }
        if !input.is_empty() {
            return None;
        }
        self.history.truncate(end);
        Some(self.history[start..].to_vec())
    }
}
