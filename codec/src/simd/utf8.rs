//! What a validator of whole texts leaves open, once for all backends: the character that the end of a run cuts.

use super::Utf8Run;

/// Judges a run by a validator of whole texts.
#[inline(always)]
pub(super) fn run(bytes: &[u8], is_valid: impl FnOnce(&[u8]) -> bool) -> Utf8Run {
    let (whole, open) = bytes.split_at(bytes.len() - open_bytes(bytes));
    if !is_valid(whole) {
        Utf8Run::Invalid
    } else if open.is_empty() {
        Utf8Run::Valid
    } else {
        incomplete(open, whole.len())
    }
}

/// Judges the start of a character.
#[cold]
fn incomplete(open: &[u8], at: usize) -> Utf8Run {
    match std::str::from_utf8(open) {
        Err(error) if error.error_len().is_none() => Utf8Run::Incomplete(at),
        _ => Utf8Run::Invalid,
    }
}

/// Bytes at the end from a lead on that asks for more of them than there are.
#[inline(always)]
pub(super) fn open_bytes(bytes: &[u8]) -> usize {
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
