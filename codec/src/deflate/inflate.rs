//! Decompressing messages (RFC 7692 §7.2.2), whoever compressed them.
//!
//! Owns the decompressor, its history across the end of a DEFLATE stream, and the bounds that hold while it runs:
//! output, memory and the number of streams. Imports zlib.

use std::collections::VecDeque;
use std::fmt;

use zlib_rs::{Inflate, InflateFlush, Status};

use super::{SYNC_TAIL, WINDOW_BITS_MAX};

/// How far back DEFLATE can refer.
const WINDOW_BYTES: usize = 1 << WINDOW_BITS_MAX;

/// The first step in which output grows; it doubles with what arrives.
const STEP_BYTES: usize = 4096;

/// Blocks with BFINAL set in one message. Senders without a flush end each write with one; but each costs a copy
/// of the window and can be two bytes long, so without a bound a message would buy a hundred times its work.
const FINAL_BLOCKS_MAX: usize = 1024;

/// Why a message cannot be inflated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InflateError {
    /// Not DEFLATE, or it does not end where the message ends.
    Corrupt,
    /// More output than allowed, or more streams than any message of use has.
    TooLarge,
}

impl fmt::Display for InflateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Corrupt => "compressed message: expected DEFLATE blocks that end in an empty stored block",
            Self::TooLarge => "compressed message: expected no more inflated bytes and final blocks than the limits allow",
        })
    }
}

impl std::error::Error for InflateError {}

/// Decompresses the messages of any number of peers without context takeover, or of a single peer with it.
///
/// The window is always of 15 bits, which decodes what a sender with any smaller one made.
pub struct Inflater {
    stream: Inflate,
    /// The last of the output, up to a window of it: what the next DEFLATE stream may refer to.
    history: VecDeque<u8>,
}

impl Inflater {
    /// Allocates some 50 KB.
    pub fn new() -> Self {
        Self { stream: Inflate::new(false, WINDOW_BITS_MAX), history: VecDeque::new() }
    }

    /// Appends to `out` the message whose compressed payload is `compressed`, at most `bytes_max` bytes.
    ///
    /// With `keep_context` the message may refer to those before it, which must have come from the same peer, and
    /// an error is the end of that peer's messages. After an error `out` holds some of the message, never more
    /// than `bytes_max + 1` bytes.
    pub fn message(&mut self, compressed: &[u8], keep_context: bool, bytes_max: usize, out: &mut Vec<u8>) -> Result<(), InflateError> {
        if !keep_context {
            self.stream.reset(false);
            self.history.clear();
        }
        // Not what §7.2.1 makes of an empty message, but it can mean nothing else.
        if compressed.is_empty() {
            return Ok(());
        }
        let start = out.len();
        let mut remembered = start;
        let mut final_blocks = 0;
        let mut input = compressed;
        loop {
            let made = out.len() - start;
            // One byte more than allowed tells a message that is too large from one that just fits.
            let room = made.max(STEP_BYTES).min(bytes_max.saturating_add(1) - made);
            let step = self.step(input, room, InflateFlush::NoFlush, out)?;
            input = &input[step.taken..];
            if out.len() - start > bytes_max {
                return Err(InflateError::TooLarge);
            }
            if step.stream_ended {
                final_blocks += 1;
                if final_blocks > FINAL_BLOCKS_MAX {
                    return Err(InflateError::TooLarge);
                }
                self.remember(&out[remembered..]);
                remembered = out.len();
                self.next_stream();
            } else if input.is_empty() && step.made < room {
                break;
            }
        }
        if keep_context {
            self.remember(&out[remembered..]);
        }
        self.end_message(out)
    }

    /// Puts the tail back that the sender cut off, and sees to it that this, and nothing earlier or later, ends the
    /// last block: else the message was truncated or something follows it.
    fn end_message(&mut self, out: &mut Vec<u8>) -> Result<(), InflateError> {
        // zlib stops where a block ends, so it leaves the byte after the tail alone if all is well.
        let mut input = [0; SYNC_TAIL.len() + 1];
        input[..SYNC_TAIL.len()].copy_from_slice(&SYNC_TAIL);
        let step = self.step(&input, 1, InflateFlush::Block, out)?;
        if step.taken != SYNC_TAIL.len() || step.made != 0 {
            return Err(InflateError::Corrupt);
        }
        Ok(())
    }

    /// Inflates into at most `room` more bytes of `out`.
    fn step(&mut self, input: &[u8], room: usize, flush: InflateFlush, out: &mut Vec<u8>) -> Result<Step, InflateError> {
        let filled = out.len();
        out.resize(filled + room, 0);
        let (taken, made) = (self.stream.total_in(), self.stream.total_out());
        let status = self.stream.decompress(input, &mut out[filled..], flush);
        let step = Step {
            taken: (self.stream.total_in() - taken) as usize,
            made: (self.stream.total_out() - made) as usize,
            stream_ended: status == Ok(Status::StreamEnd),
        };
        out.truncate(filled + step.made);
        match status {
            Ok(_) => Ok(step),
            Err(_) => Err(InflateError::Corrupt),
        }
    }

    /// A block with BFINAL set ended the stream for zlib, but neither the message nor the window for RFC 7692
    /// (§7.2.1): the next block starts at the next byte.
    fn next_stream(&mut self) {
        self.stream.reset(false);
        self.stream.set_dictionary(self.history.make_contiguous()).expect("a raw stream takes any dictionary");
    }

    fn remember(&mut self, output: &[u8]) {
        let tail = &output[output.len().saturating_sub(WINDOW_BYTES)..];
        let excess = (self.history.len() + tail.len()).saturating_sub(WINDOW_BYTES);
        self.history.drain(..excess);
        self.history.extend(tail);
    }
}

impl Default for Inflater {
    fn default() -> Self {
        Self::new()
    }
}

/// What one call of zlib did.
struct Step {
    taken: usize,
    made: usize,
    stream_ended: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use zlib_rs::{Deflate, DeflateFlush};

    const HELLO: [u8; 7] = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    const HELLO_FINAL: [u8; 8] = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
    /// "Hello" by reference to a message before it (RFC 7692 §7.2.3.2).
    const HELLO_AGAIN: [u8; 5] = [0xf2, 0x00, 0x11, 0x00, 0x00];
    /// A fixed block with BFINAL set and nothing in it.
    const EMPTY_FINAL: [u8; 2] = [0x03, 0x00];

    fn inflated(compressed: &[u8]) -> Result<Vec<u8>, InflateError> {
        next_inflated(&mut Inflater::new(), compressed, false)
    }

    fn next_inflated(inflater: &mut Inflater, compressed: &[u8], keep_context: bool) -> Result<Vec<u8>, InflateError> {
        let mut out = Vec::new();
        inflater.message(compressed, keep_context, 1 << 20, &mut out)?;
        Ok(out)
    }

    /// A peer that keeps its context, and ends any piece of a message as it likes.
    struct Peer {
        stream: Deflate,
        level: i32,
        sent: Vec<u8>,
    }

    impl Peer {
        fn new(level: i32) -> Self {
            Self { stream: Deflate::new(level, false, WINDOW_BITS_MAX), level, sent: Vec::new() }
        }

        fn message(&mut self, pieces: &[(Vec<u8>, bool)]) -> Vec<u8> {
            let mut message = Vec::new();
            for (piece, bfinal) in pieces {
                let flush = match bfinal {
                    true => DeflateFlush::Finish,
                    false => DeflateFlush::SyncFlush,
                };
                let mut out = vec![0; 2 * piece.len() + 1024];
                let made = self.stream.total_out();
                self.stream.compress(piece, &mut out, flush).unwrap();
                out.truncate((self.stream.total_out() - made) as usize);
                message.extend(out);
                self.sent.extend(piece);
                if *bfinal {
                    self.stream = Deflate::new(self.level, false, WINDOW_BITS_MAX);
                    self.stream.set_dictionary(&self.sent).unwrap();
                }
            }
            match message.strip_suffix(&SYNC_TAIL) {
                Some(stripped) => stripped.to_vec(),
                None => [&message[..], &[0]].concat(),
            }
        }
    }

    #[test]
    fn rfc7692_7_2_3_1_one_block() {
        assert_eq!(inflated(&HELLO).unwrap(), b"Hello");
    }

    #[test]
    fn rfc7692_7_2_3_2_shared_window() {
        let mut inflater = Inflater::new();
        for message in [&HELLO[..], &HELLO_AGAIN, &HELLO_AGAIN] {
            assert_eq!(next_inflated(&mut inflater, message, true).unwrap(), b"Hello");
        }
    }

    #[test]
    fn without_context_a_reference_to_an_earlier_message_is_corrupt() {
        let mut inflater = Inflater::new();
        for first in [&HELLO[..], &HELLO_FINAL] {
            assert_eq!(next_inflated(&mut inflater, first, false).unwrap(), b"Hello");
            assert_eq!(next_inflated(&mut inflater, &HELLO_AGAIN, false), Err(InflateError::Corrupt));
        }
    }

    #[test]
    fn rfc7692_7_2_3_3_stored_block() {
        let stored = [0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00];
        assert_eq!(inflated(&stored).unwrap(), b"Hello");
    }

    #[test]
    fn rfc7692_7_2_3_4_bfinal() {
        assert_eq!(inflated(&HELLO_FINAL).unwrap(), b"Hello");
        // The empty stored block at the end may be the final one as well.
        assert_eq!(inflated(&[&HELLO[..6], &[0x04]].concat()).unwrap(), b"Hello");
    }

    #[test]
    fn rfc7692_7_2_3_5_two_blocks() {
        let two = [0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00];
        assert_eq!(inflated(&two).unwrap(), b"Hello");
    }

    #[test]
    fn rfc7692_7_2_3_6_empty_message() {
        for keep_context in [false, true] {
            let mut inflater = Inflater::new();
            for empty in [&[0][..], &[], &[1], &[2, 0], &[3, 0, 0]] {
                assert_eq!(next_inflated(&mut inflater, empty, keep_context).unwrap(), b"");
                assert_eq!(next_inflated(&mut inflater, &HELLO, keep_context).unwrap(), b"Hello");
            }
        }
    }

    #[test]
    fn checklist_28_the_message_after_a_final_block_works_and_shares_the_window() {
        let mut inflater = Inflater::new();
        let ends_final = [&HELLO[..6], &[0x04]].concat();
        for message in [&HELLO_FINAL[..], &HELLO_AGAIN, &ends_final, &HELLO_AGAIN, &HELLO] {
            assert_eq!(next_inflated(&mut inflater, message, true).unwrap(), b"Hello");
        }
        let both = [&HELLO_FINAL[..7], &HELLO_AGAIN].concat();
        assert_eq!(inflated(&both).unwrap(), b"HelloHello");
    }

    #[test]
    fn checklist_29_a_message_that_does_not_end_with_its_blocks_is_corrupt() {
        let message = Peer::new(6).message(&[(b"a little text, a little more text".repeat(9), false)]);
        for end in 1..message.len() {
            assert_eq!(inflated(&message[..end]), Err(InflateError::Corrupt), "cut at {end}");
        }
        for garbage in [&[0x55][..], &[0x00], &SYNC_TAIL, b"Hello"] {
            let message = [&message, garbage].concat();
            assert_eq!(inflated(&message), Err(InflateError::Corrupt), "{garbage:?}");
        }
        // BTYPE 3, a stored block with a wrong complement, and a final block without the empty one.
        for wrong in [&[0x06][..], &[0x00, 0x05, 0x00, 0xfa, 0xfe], &HELLO_FINAL[..7]] {
            assert_eq!(inflated(wrong), Err(InflateError::Corrupt), "{wrong:?}");
        }
    }

    #[test]
    fn a_shared_inflater_works_on_after_a_corrupt_message() {
        let mut inflater = Inflater::new();
        for wrong in [&[0x06][..], &HELLO[..4], &HELLO_FINAL[..7]] {
            assert!(next_inflated(&mut inflater, wrong, false).is_err());
            assert_eq!(next_inflated(&mut inflater, &HELLO, false).unwrap(), b"Hello");
        }
    }

    #[test]
    fn checklist_29_a_bomb_stops_at_its_bound_in_bounded_memory() {
        let bomb = Peer::new(9).message(&[(vec![0; 64 << 20], false)]);
        assert!(bomb.len() < 70_000);
        let bytes_max = 1 << 20;
        let mut out = Vec::new();
        let error = Inflater::new().message(&bomb, false, bytes_max, &mut out);
        assert_eq!(error, Err(InflateError::TooLarge));
        assert_eq!(out.len(), bytes_max + 1);
        assert!(out.capacity() <= 2 * (bytes_max + 1));
    }

    #[test]
    fn the_bound_is_exact_and_counts_this_message_only() {
        for (bytes_max, expected) in [(5, Ok(())), (4, Err(InflateError::TooLarge))] {
            let mut out = b"before".to_vec();
            let result = Inflater::new().message(&HELLO, false, bytes_max, &mut out);
            assert_eq!(result, expected);
            assert!(out.starts_with(b"beforeHello"));
        }
        let mut out = Vec::new();
        assert_eq!(Inflater::new().message(&HELLO, false, usize::MAX, &mut out), Ok(()));
        assert_eq!(Inflater::new().message(&[0], false, 0, &mut out), Ok(()));
    }

    #[test]
    fn final_blocks_are_counted() {
        let streams = |count| [EMPTY_FINAL.repeat(count), vec![0]].concat();
        assert_eq!(inflated(&streams(FINAL_BLOCKS_MAX)), Ok(Vec::new()));
        assert_eq!(inflated(&streams(FINAL_BLOCKS_MAX + 1)), Err(InflateError::TooLarge));
    }

    fn piece() -> impl Strategy<Value = (Vec<u8>, bool)> {
        let bytes = prop_oneof![any::<Vec<u8>>(), (vec(any::<u8>(), 1..300), 1usize..200).prop_map(|(part, times)| part.repeat(times)),];
        (bytes, any::<bool>())
    }

    proptest! {
        #[test]
        fn any_split_into_messages_and_blocks_round_trips(
            level in 0..=9,
            messages in vec(vec(piece(), 1..6), 1..6),
        ) {
            let mut peer = Peer::new(level);
            let mut inflater = Inflater::new();
            for pieces in messages {
                let message = peer.message(&pieces);
                let expected: Vec<u8> = pieces.into_iter().flat_map(|(piece, _)| piece).collect();
                prop_assert_eq!(next_inflated(&mut inflater, &message, true), Ok(expected));
            }
        }

        #[test]
        fn any_bytes_stay_within_the_bound_and_leave_a_shared_inflater_usable(
            bytes: Vec<u8>,
            bytes_max in 0usize..5000,
        ) {
            let mut inflater = Inflater::new();
            let mut out = Vec::new();
            let result = inflater.message(&bytes, false, bytes_max, &mut out);
            prop_assert!(out.len() <= bytes_max + usize::from(result.is_err()));
            prop_assert_eq!(next_inflated(&mut inflater, &HELLO, false), Ok(b"Hello".to_vec()));
        }
    }
}
