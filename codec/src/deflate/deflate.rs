//! Compressing messages (RFC 7692 §7.2.1), each on its own.
//!
//! Owns the compressors, one per window size in use, to be shared by all connections of a thread. Imports the
//! window bounds and zlib.

use zlib_rs::{Deflate, DeflateFlush, compress_bound};

use super::{SYNC_TAIL, WINDOW_BITS_MAX, WINDOW_BITS_MIN};

const WINDOWS: usize = (WINDOW_BITS_MAX - WINDOW_BITS_MIN) as usize + 1;

/// Compresses messages without context takeover, so one serves any number of connections.
pub struct Deflater {
    level: u8,
    /// Some 200 to 400 KB each, made when their window is first asked for.
    by_window: [Option<Deflate>; WINDOWS],
}

impl Deflater {
    /// `level` is zlib's, from 0 (stored) over 1 (fastest) to 9 (smallest).
    pub fn new(level: u8) -> Self {
        assert!(level <= 9, "compression level {level}: expected 0 to 9");
        Self { level, by_window: Default::default() }
    }

    /// Appends to `out` the compressed payload of the message `payload`, for a peer that agreed to a window of
    /// `window_bits`, which must be 9 to 15.
    pub fn message(&mut self, window_bits: u8, payload: &[u8], out: &mut Vec<u8>) {
        assert!((WINDOW_BITS_MIN..=WINDOW_BITS_MAX).contains(&window_bits), "window of {window_bits} bits: expected 9 to 15");
        let level = i32::from(self.level);
        let stream =
            self.by_window[usize::from(window_bits - WINDOW_BITS_MIN)].get_or_insert_with(|| Deflate::new(level, false, window_bits));
        stream.reset();

        let mut input = payload;
        let room = compress_bound(payload.len()) + SYNC_TAIL.len() + 1;
        loop {
            let filled = out.len();
            out.resize(filled + room, 0);
            let (taken, made) = (stream.total_in(), stream.total_out());
            stream.compress(input, &mut out[filled..], DeflateFlush::SyncFlush).expect("a compressor that was just reset takes any input");
            input = &input[(stream.total_in() - taken) as usize..];
            let made = (stream.total_out() - made) as usize;
            out.truncate(filled + made);
            // zlib is done when it leaves room; the bound makes that the first turn.
            if made < room {
                break;
            }
        }
        debug_assert!(input.is_empty() && out.ends_with(&SYNC_TAIL));
        out.truncate(out.len() - SYNC_TAIL.len());
    }
}

#[cfg(test)]
mod tests {
    use super::super::Inflater;
    use super::*;
    use proptest::prelude::*;

    fn compressed(level: u8, window_bits: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = b"before".to_vec();
        Deflater::new(level).message(window_bits, payload, &mut out);
        out.split_off(b"before".len())
    }

    fn inflated(compressed: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let result = Inflater::new().message(compressed, false, usize::MAX, &mut out);
        assert_eq!(result, Ok(()));
        out
    }

    /// Bytes that do not compress and hold no repetition.
    fn noise(len: usize) -> Vec<u8> {
        let mut state = 1u64;
        let next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        std::iter::repeat_with(next).take(len).collect()
    }

    #[test]
    fn rfc7692_7_2_3_1_hello() {
        assert_eq!(compressed(1, 15, b"Hello"), [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]);
    }

    #[test]
    fn rfc7692_7_2_3_6_an_empty_message_is_one_zero_byte() {
        for level in 0..=9 {
            for window_bits in WINDOW_BITS_MIN..=WINDOW_BITS_MAX {
                assert_eq!(compressed(level, window_bits, b""), [0]);
            }
        }
    }

    /// Noise that repeats at one distance shrinks only if the compressor refers back that far. It is the sizes that
    /// tell, as zlib-rs keeps 32 KiB to inflate with whatever window it is told.
    #[test]
    fn checklist_26_no_reference_reaches_out_of_the_agreed_window() {
        for window_bits in WINDOW_BITS_MIN..=WINDOW_BITS_MAX {
            let window = 1 << window_bits;
            let beyond = noise(window + 1).repeat(3);
            let within = noise(window / 4).repeat(12);
            for level in 1..=9 {
                let far = compressed(level, window_bits, &beyond);
                assert!(far.len() >= beyond.len(), "level {level}, window {window_bits}");
                assert_eq!(inflated(&far), beyond);
                let near = compressed(level, window_bits, &within);
                assert!(near.len() < within.len(), "level {level}, window {window_bits}");
                assert_eq!(inflated(&near), within);
            }
        }
    }

    #[test]
    fn a_message_does_not_depend_on_the_ones_before_it() {
        let mut deflater = Deflater::new(6);
        let mut first = Vec::new();
        deflater.message(15, b"Hello, Hello, Hello", &mut first);
        let mut again = Vec::new();
        deflater.message(9, b"Hello", &mut Vec::new());
        deflater.message(15, b"Hello, Hello, Hello", &mut again);
        assert_eq!(first, again);
    }

    proptest! {
        #[test]
        fn any_payload_round_trips(
            level in 0u8..=9,
            window_bits in WINDOW_BITS_MIN..=WINDOW_BITS_MAX,
            payload in prop_oneof![
                any::<Vec<u8>>(),
                (any::<Vec<u8>>(), 0usize..200).prop_map(|(part, times)| part.repeat(times)),
            ],
        ) {
            let compressed = compressed(level, window_bits, &payload);
            prop_assert_eq!(inflated(&compressed), payload);
        }
    }
}
