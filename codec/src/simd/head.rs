//! Where names and lines of a message's head end, as arithmetic on bitmaps of 64 bytes. A backend classifies the bytes; what follows from their
//! classes is here, once for all backends.
//!
//! A line begins after CR LF. Its name is the run of tokens from there, and the run's end is found for all lines of a block by one addition: a
//! bit at each line's start, added to the map of tokens, is carried along the run and comes to rest on the first byte behind it. The addition's
//! last carry, and the line that begins where the next block does, are all that one block must know of the one before it, but for a CR at its end.

use super::Indexed;

/// Bytes that are described at once.
pub const BLOCK_BYTES: usize = 64;

/// What the index of a block knows of the block before it; by default, that the block begins inside a start line.
///
/// The index marks
/// - the first byte of each line that is no token (RFC 9110 §5.6.2), so that a field's name ends there: at its colon, or at the CR of the empty
///   line. The line with which the bytes begin has no name;
/// - each byte behind a CR, which must be an LF and end the line there;
/// - any other control character but HTAB (RFC 9110 §5.5), an LF without a CR among them, which may stand nowhere.
///
/// Behind a CR any control character but HTAB and CR ends the line as an LF does: it is marked, and an error, before the next line matters.
/// No mark needs the byte behind it, so none changes when more bytes arrive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeadCarry {
    /// Bit 0: the last byte was a CR.
    after_cr: u64,
    /// Bit 0: a name goes on, or a line begins.
    in_name: u64,
}

/// The classes of the bytes of a block.
pub(super) struct Classes {
    /// May stand in a name.
    pub token: u64,
    /// Control characters but HTAB and CR; LF is among them.
    pub control: u64,
    pub cr: u64,
}

impl HeadCarry {
    /// The marks of a block.
    #[inline(always)]
    pub(super) fn marks(&mut self, Classes { token, control, cr }: Classes) -> u64 {
        let after_cr = cr << 1 | self.after_cr;
        let line_end = control & after_cr;
        let (carried, goes_on) = token.overflowing_add(line_end << 1 | self.in_name);
        *self = HeadCarry { after_cr: cr >> 63, in_name: line_end >> 63 | u64::from(goes_on) };
        carried & !token | control | after_cr
    }
}

/// See [`Kernels::index`](super::Kernels::index). `classes` looks at a block, of which the last may not be whole; `write` does what [`write()`] does.
#[inline(always)]
pub(super) fn index(
    bytes: &[u8],
    carry: &mut HeadCarry,
    marks: &mut [u16],
    classes: impl Fn(&[u8]) -> Classes,
    write: impl Fn(u64, usize, &mut [u16; BLOCK_BYTES]) -> usize,
) -> Indexed {
    let (blocks, rest) = bytes.as_chunks::<BLOCK_BYTES>();
    let mut indexed = Indexed { bytes: 0, marks: 0 };
    let mut next = *carry;
    for block in blocks {
        let Some(room) = marks[indexed.marks..].first_chunk_mut() else { break };
        indexed.marks += write(next.marks(classes(block)), indexed.bytes, room);
        indexed.bytes += BLOCK_BYTES;
    }
    *carry = next;
    if indexed.bytes < blocks.as_flattened().len() {
        return indexed;
    }
    if let (false, Some(room)) = (rest.is_empty(), marks[indexed.marks..].first_chunk_mut()) {
        let rest_marks = next.marks(classes(rest)) & ((1 << rest.len()) - 1);
        indexed.marks += write(rest_marks, indexed.bytes, room);
        indexed.bytes += rest.len();
    }
    indexed
}

/// A block that is whole: spaces are behind the last bytes, and the marks there are dropped.
#[inline(always)]
pub(super) fn whole(bytes: &[u8]) -> [u8; BLOCK_BYTES] {
    bytes.try_into().unwrap_or_else(|_| {
        let mut block = [b' '; BLOCK_BYTES];
        block[..bytes.len()].copy_from_slice(bytes);
        block
    })
}

/// Writes the position of each bit, and returns how many there are.
#[inline(always)]
pub(super) fn write(mut bits: u64, base: usize, marks: &mut [u16; BLOCK_BYTES]) -> usize {
    let count = bits.count_ones() as usize;
    // Most blocks have up to four, so that the loop's end is foreseen; what is written too much is overwritten.
    for four in marks.as_chunks_mut::<4>().0 {
        if bits == 0 {
            break;
        }
        for mark in four {
            // Beyond the last bit this is no position, and may not even be a number of 16 bits.
            *mark = (base as u16).wrapping_add(bits.trailing_zeros() as u16);
            bits &= bits.wrapping_sub(1);
        }
    }
    count
}

/// Whether a token may hold this byte, RFC 9110 §5.6.2.
#[inline]
pub(crate) fn is_token(byte: u8) -> bool {
    CLASSES[usize::from(byte)] & TOKEN != 0
}

pub(super) const TOKEN: u8 = 0x80;
pub(super) const CONTROL: u8 = 2;
pub(super) const CR: u8 = 4;

/// The classes of each byte value, as bits.
pub(super) static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 0x20 {
        classes[byte] = CONTROL;
        byte += 1;
    }
    classes[b'\t' as usize] = 0;
    classes[b'\r' as usize] = CR;
    classes[0x7f] = CONTROL;
    let tchar = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut i = 0;
    while i < tchar.len() {
        classes[tchar[i] as usize] = TOKEN;
        i += 1;
    }
    classes
};

/// Tokens by the halves of a byte, for instructions that look up 16 entries: a byte is one where `low` of its low half and `high` of its high half
/// have a bit in common. Each row of 16 values from 0x00 to 0x7f has its bit.
pub(super) struct Nibbles {
    pub low: [u8; 16],
    pub high: [u8; 16],
}

pub(super) static NIBBLES: Nibbles = {
    let mut nibbles = Nibbles { low: [0; 16], high: [0; 16] };
    let mut byte = 0;
    while byte < 128 {
        nibbles.high[byte >> 4] = 1 << (byte >> 4);
        if CLASSES[byte] & TOKEN != 0 {
            nibbles.low[byte & 15] |= 1 << (byte >> 4);
        }
        byte += 1;
    }
    nibbles
};
