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
        Self {
            level,
            by_window: Default::default(),
        }
    }

    /// Appends to `out` the compressed payload of the message `payload`, for a peer that agreed to a window of
    /// `window_bits`, which must be 9 to 15.
    pub fn message(&mut self, window_bits: u8, payload: &[u8], out: &mut Vec<u8>) {
        assert!(
            (WINDOW_BITS_MIN..=WINDOW_BITS_MAX).contains(&window_bits),
            "window of {window_bits} bits: expected 9 to 15"
        );
        let level = i32::from(self.level);
        let stream = self.by_window[usize::from(window_bits - WINDOW_BITS_MIN)]
            .get_or_insert_with(|| Deflate::new(level, false, window_bits));
        stream.reset();

        let mut input = payload;
        let room = compress_bound(payload.len()) + SYNC_TAIL.len() + 1;
        loop {
            let filled = out.len();
            out.resize(filled + room, 0);
            let (taken, made) = (stream.total_in(), stream.total_out());
            stream
                .compress(input, &mut out[filled..], DeflateFlush::SyncFlush)
                .expect("a compressor that was just reset takes any input");
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
    use super::*;
    use proptest::prelude::*;
    use zlib_rs::{Inflate, InflateFlush, Status};

    fn compressed(level: u8, window_bits: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = b"before".to_vec();
        Deflater::new(level).message(window_bits, payload, &mut out);
        out.split_off(b"before".len())
    }

    /// Inflates byte by byte, so that every reference goes through a window of exactly `window_bits`: one that
    /// reaches further is an error. (With room for all output at once zlib does not look at the window's size.)
    fn inflated_within(window_bits: u8, compressed: &[u8]) -> Option<Vec<u8>> {
        let mut stream = Inflate::new(false, window_bits);
        let mut input = [compressed, &SYNC_TAIL].concat();
        let mut out = Vec::new();
        let mut byte = [0];
        loop {
            let (taken, made) = (stream.total_in(), stream.total_out());
            let status = stream.decompress(&input, &mut byte, InflateFlush::NoFlush);
            if !matches!(status, Ok(Status::Ok | Status::BufError)) {
                return None;
            }
            input.drain(..(stream.total_in() - taken) as usize);
            if stream.total_out() == made {
                return input.is_empty().then_some(out);
            }
            out.push(byte[0]);
        }
    }

    /// Repeats itself at every distance up to 40,000, so that each window has references it could overstep with.
    fn far_references() -> Vec<u8> {
        let mut payload = Vec::new();
        let mut state = 1u32;
        for _ in 0..3_000 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let back = (state >> 8) as usize % 40_000;
            if back < payload.len() && state & 0x80 != 0 {
                let from = payload.len() - back - 1;
                let to = (from + 40).min(payload.len());
                payload.extend_from_within(from..to);
            } else {
                payload.extend(state.to_be_bytes().iter().cycle().take(11));
            }
        }
        payload
    }

    #[test]
    fn rfc7692_7_2_3_1_hello() {
        assert_eq!(
            compressed(1, 15, b"Hello"),
            [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]
        );
    }

    #[test]
    fn rfc7692_7_2_3_6_an_empty_message_is_one_zero_byte() {
        for level in 0..=9 {
            for window_bits in WINDOW_BITS_MIN..=WINDOW_BITS_MAX {
                assert_eq!(compressed(level, window_bits, b""), [0]);
            }
        }
    }

    #[test]
    fn checklist_26_no_reference_reaches_out_of_the_agreed_window() {
        let payload = far_references();
        for level in 0..=9 {
            for window_bits in WINDOW_BITS_MIN..=WINDOW_BITS_MAX {
                let compressed = compressed(level, window_bits, &payload);
                assert_eq!(
                    inflated_within(window_bits, &compressed).as_ref(),
                    Some(&payload)
                );
            }
        }
        let too_far = compressed(6, 15, &payload);
        assert_eq!(inflated_within(14, &too_far), None);
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
            prop_assert_eq!(inflated_within(window_bits, &compressed), Some(payload));
        }
    }
}
