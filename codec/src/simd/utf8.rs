//! What validators of whole texts leave to do, once for all backends: the character that the end of a run cuts, and texts that are too
//! short for them.

use super::Utf8Run;

/// Judges a run by a validator of whole texts.
#[inline(always)]
pub(super) fn run(bytes: &[u8], is_valid: impl FnOnce(&[u8]) -> bool) -> Utf8Run {
    // The validator has a block of 64 bytes copied where less is left, which costs more than this look.
    if let 64..=128 = bytes.len()
        && short_is_ascii(bytes)
    {
        return Utf8Run::Valid;
    }
    let (whole, _) = bytes.split_at(bytes.len() - open_bytes(bytes));
    if is_valid(whole) { end(bytes) } else { Utf8Run::Invalid }
}

/// Judges a run in which nothing is wrong but for what the end may cut.
#[inline(always)]
pub(super) fn end(bytes: &[u8]) -> Utf8Run {
    let is_open = match *bytes {
        // No branch but one: they cost more than the comparisons.
        [.., first, second, third] => (first >= 0xf0) | (second >= 0xe0) | (third >= 0xc0),
        _ => open_bytes(bytes) > 0,
    };
    if is_open { incomplete(bytes) } else { Utf8Run::Valid }
}

/// Judges the start of a character.
#[cold]
#[inline(never)]
fn incomplete(bytes: &[u8]) -> Utf8Run {
    let (whole, open) = bytes.split_at(bytes.len() - open_bytes(bytes));
    match std::str::from_utf8(open) {
        Err(error) if error.error_len().is_none() => Utf8Run::Incomplete(whole.len()),
        _ => Utf8Run::Invalid,
    }
}

/// Bytes at the end from a lead on that asks for more of them than there are.
#[inline(always)]
fn open_bytes(bytes: &[u8]) -> usize {
    match *bytes {
        [.., 0xc0..=0xff] => 1,
        [.., 0xe0..=0xff, _] => 2,
        [.., 0xf0..=0xff, _, _] => 3,
        _ => 0,
    }
}

/// Whether a text that is too short for a call through the table is ASCII.
#[inline(always)]
pub(crate) fn short_is_ascii(text: &[u8]) -> bool {
    let (blocks, rest) = text.as_chunks();
    let mut seen = blocks.iter().fold(0, |seen, block| seen | u128::from_ne_bytes(*block));
    let rest = match rest.split_first_chunk() {
        Some((block, rest)) => {
            seen |= u128::from(u64::from_ne_bytes(*block));
            rest
        }
        None => rest,
    };
    let rest = match rest.split_first_chunk() {
        Some((block, rest)) => {
            seen |= u128::from(u32::from_ne_bytes(*block));
            rest
        }
        None => rest,
    };
    if let (Some(first), Some(last)) = (rest.first(), rest.last()) {
        seen |= u128::from(first | rest[rest.len() / 2] | last);
    }
    seen & (u128::MAX / 0xff * 0x80) == 0
}

/// Whether up to eight bytes are UTF-8: one character after the other is taken from a register, the first byte from its low end.
#[inline(never)]
pub(crate) fn is_valid_word(text: &[u8]) -> bool {
    let mut word = match (text.first_chunk(), text.last_chunk()) {
        // What both halves have falls on the same bits.
        (Some(first), Some(last)) => u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << ((text.len() - 4) * 8),
        _ => text.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    };
    // What follows the text is zeros, which are ASCII and no continuations.
    while word != 0 {
        let has = |mask, bits| word & mask == bits;
        // A character has the form of its length, bits that a shorter form lacks, and no number that is none: surrogates, above U+10FFFF.
        let length = if has(0x80, 0) {
            1
        } else if has(0xc0e0, 0x80c0) && !has(0x1e, 0) {
            2
        } else if has(0xc0_c0f0, 0x80_80e0) && !has(0x200f, 0) && !has(0x200f, 0x200d) {
            3
        } else if has(0xc0c0_c0f8, 0x8080_80f0) && !has(0x3007, 0) && (has(0x04, 0) || has(0x3003, 0)) {
            4
        } else {
            return false;
        };
        word >>= length * 8;
    }
    true
}
