//! Masking, RFC 6455 §5.3. Masking and unmasking are one XOR.

use crate::simd;

/// Payloads up to this length are done in line: most messages are short, and a call through the kernels' table would cost more than the work.
const INLINE_BYTES: usize = 255;

/// XORs the payload with the key; the key's first byte meets the payload's first.
#[inline]
pub fn apply_mask(payload: &mut [u8], key: [u8; 4]) {
    if payload.len() <= INLINE_BYTES { simd::mask::short(payload, key) } else { (simd::kernels().mask)(payload, key) }
}

/// The key for the rest of a payload, of which `done` bytes are masked already.
#[inline]
pub fn rotate(key: [u8; 4], done: u64) -> [u8; 4] {
    simd::mask::rotate(key, (done % 4) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rfc_s_example() {
        let mut payload = *b"\x7f\x9f\x4d\x51\x58";
        apply_mask(&mut payload, [0x37, 0xfa, 0x21, 0x3d]);
        assert_eq!(&payload, b"Hello");
    }

    #[test]
    fn in_two_pieces_as_in_one() {
        for length in 0..40u64 {
            for cut in 0..=length {
                let mut whole: Vec<u8> = (0..length as u8).collect();
                let mut pieces = whole.clone();
                let key = [9, 30, 200, 77];
                apply_mask(&mut whole, key);
                let (first, second) = pieces.split_at_mut(cut as usize);
                apply_mask(first, key);
                apply_mask(second, rotate(key, cut));
                assert_eq!(pieces, whole);
            }
        }
    }
}
