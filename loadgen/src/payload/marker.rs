//! The marker: who sent a message, which one it is and when it was due, in 32 characters that every text format lets through. Owns its encoding;
//! where a marker stands in a message is the room's business. Imports nothing.
//!
//! ```text
//!   0      4      8        12       18                27           32
//!   | FnTl | run  | sender | seq    | intended_ns     | checksum   |   URL-safe base64 digits, six bits each, the highest first
//! ```

use std::ops::Range;

/// Bytes of a marker, always.
pub const MARKER_BYTES: usize = 32;

/// How every marker begins.
pub(super) const MAGIC: [u8; 4] = *b"FnTl";

/// Bits of the run id.
pub(super) const RUN_BITS: u32 = 24;

/// The digits, by value.
pub(super) const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

const RUN: Range<usize> = 4..8;
const SENDER: Range<usize> = 8..12;
const SEQ: Range<usize> = 12..18;
const INTENDED: Range<usize> = 18..27;
const CHECKSUM: Range<usize> = 27..32;

const CHECKSUM_BITS: u32 = 30;

/// What one message says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marker {
    /// The publisher or connection, below 2^24.
    pub sender: u32,
    /// Which of the sender's messages, below 2^36.
    pub seq: u64,
    /// When it was to be sent, in nanoseconds since the run's epoch, below 2^54 (208 days).
    pub intended_ns: u64,
}

impl Marker {
    /// The marker's characters in the run `run`.
    #[inline]
    pub(super) fn encode(&self, run: u32) -> [u8; MARKER_BYTES] {
        debug_assert!(run >> RUN_BITS == 0 && self.sender >> 24 == 0 && self.seq >> 36 == 0 && self.intended_ns >> 54 == 0, "{self:?}");
        let mut bytes = [0; MARKER_BYTES];
        bytes[..MAGIC.len()].copy_from_slice(&MAGIC);
        put(&mut bytes[RUN], u64::from(run));
        put(&mut bytes[SENDER], u64::from(self.sender));
        put(&mut bytes[SEQ], self.seq);
        put(&mut bytes[INTENDED], self.intended_ns);
        put(&mut bytes[CHECKSUM], self.checksum(run));
        bytes
    }

    /// The run and the marker in these characters, whatever stands in the place of the magic; `None` where the checksum is wrong.
    #[inline]
    pub(super) fn decode(bytes: &[u8; MARKER_BYTES]) -> Option<(u32, Marker)> {
        let run = take(&bytes[RUN])? as u32;
        let sender = take(&bytes[SENDER])? as u32;
        let marker = Marker { sender, seq: take(&bytes[SEQ])?, intended_ns: take(&bytes[INTENDED])? };
        (take(&bytes[CHECKSUM])? == marker.checksum(run)).then_some((run, marker))
    }

    fn checksum(&self, run: u32) -> u64 {
        let who = mix(u64::from(run) << 24 | u64::from(self.sender));
        mix(mix(who ^ self.seq) ^ self.intended_ns) >> (u64::BITS - CHECKSUM_BITS)
    }
}

/// Spreads every bit of `x` over all bits of the result, one to one: the finalizer of SplitMix64.
#[inline]
pub(super) fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Writes `value` over the whole of `digits`.
#[inline]
fn put(digits: &mut [u8], value: u64) {
    let mut left = value;
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[(left & 63) as usize];
        left >>= 6;
    }
}

/// The number that `digits` are; `None` where one is no digit.
#[inline]
fn take(digits: &[u8]) -> Option<u64> {
    let (mut value, mut seen) = (0, 0);
    for &digit in digits {
        let six_bits = SIX_BITS[usize::from(digit)];
        seen |= six_bits;
        value = value << 6 | u64::from(six_bits);
    }
    (seen < NO_DIGIT).then_some(value)
}

const NO_DIGIT: u8 = 64;

/// The value of each digit, [`NO_DIGIT`] for all other bytes.
const SIX_BITS: [u8; 256] = {
    let mut table = [NO_DIGIT; 256];
    let mut value = 0;
    while value < ALPHABET.len() {
        table[ALPHABET[value] as usize] = value as u8;
        value += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn marker() -> impl Strategy<Value = Marker> {
        (0..1u32 << 24, 0..1u64 << 36, 0..1u64 << 54).prop_map(|(sender, seq, intended_ns)| Marker { sender, seq, intended_ns })
    }

    #[test]
    fn the_widest_fields_fit() {
        let marker = Marker { sender: (1 << 24) - 1, seq: (1 << 36) - 1, intended_ns: (1 << 54) - 1 };
        let bytes = marker.encode((1 << RUN_BITS) - 1);
        assert_eq!(&bytes[..27], b"FnTl_______________________");
        assert_eq!(Marker::decode(&bytes), Some(((1 << RUN_BITS) - 1, marker)));
    }

    proptest! {
        #[test]
        fn encode_then_decode(marker in marker(), run in 0..1u32 << RUN_BITS) {
            let bytes = marker.encode(run);
            prop_assert!(bytes.iter().all(|byte| ALPHABET.contains(byte)));
            prop_assert_eq!(Marker::decode(&bytes), Some((run, marker)));
        }

        #[test]
        fn any_wrong_character_is_seen(marker in marker(), run in 0..1u32 << RUN_BITS, place in MAGIC.len()..MARKER_BYTES, wrong: u8) {
            let mut bytes = marker.encode(run);
            prop_assume!(bytes[place] != wrong);
            bytes[place] = wrong;
            prop_assert_eq!(Marker::decode(&bytes), None);
        }
    }
}
