//! Accept values: the digests by the instructions for SHA-1 (`sha`) where the CPU has them, else in four lanes, and their base64. Lanes
//! that have no key of their own hash the last one again.

#![allow(unsafe_code)]

use std::arch::{aarch64::*, asm};

use super::sha;
use crate::simd::sha1::{self, KEY_WORDS, Lanes};

type Key = [u8; 24];
type Accept = [u8; 28];

/// Messages that are hashed side by side: not measured; CPUs of many makers begin the next instruction for SHA-1 before the last is done.
const STREAMS: usize = 2;

pub(super) fn neon(keys: &[Key], accepts: &mut [Accept]) {
    if sha::is_available() {
        sha::accept::<STREAMS>(keys, accepts);
    } else {
        lanes(keys, accepts);
    }
}

/// A way to hash by its name, with the keys that it takes at most.
#[cfg(test)]
type Way = (&'static str, fn(&[Key], &mut [Accept]), usize);

/// Every way that this CPU has.
#[cfg(test)]
pub(in crate::simd) fn ways() -> impl Iterator<Item = Way> {
    let sha = sha::is_available();
    let ways: [(bool, Way); 4] = [
        (true, ("4 lanes", lanes, usize::MAX)),
        (sha, ("1 stream", sha::accept::<1>, usize::MAX)),
        (sha, ("2 streams", sha::accept::<2>, usize::MAX)),
        (sha, ("4 streams", sha::accept::<4>, usize::MAX)),
    ];
    ways.into_iter().filter_map(|(available, way)| available.then_some(way))
}

/// Any number of keys.
fn lanes(keys: &[Key], accepts: &mut [Accept]) {
    for (keys, accepts) in keys.chunks(4).zip(accepts.chunks_mut(4)) {
        // SAFETY: NEON is part of every aarch64 CPU.
        unsafe { four_lanes(keys, accepts) }
    }
}

/// From 1 to 4 keys.
#[target_feature(enable = "neon")]
fn four_lanes(keys: &[Key], accepts: &mut [Accept]) {
    let load = |lane: usize, at: usize| {
        let bytes = &keys[lane.min(keys.len() - 1)][at..at + 16];
        // SAFETY: there are 16 bytes, and the instruction asks for no alignment.
        let bytes = unsafe { vld1q_u8(bytes.as_ptr()) };
        vreinterpretq_u32_u8(vrev32q_u8(bytes))
    };
    let [w0, w1, w2, w3] = transpose([load(0, 0), load(1, 0), load(2, 0), load(3, 0)]);
    let [_, _, w4, w5] = transpose([load(0, 8), load(1, 8), load(2, 8), load(3, 8)]);
    let words: [_; KEY_WORDS] = [w0, w1, w2, w3, w4, w5];
    let [h0, h1, h2, h3, h4] = sha1::digests(words.map(Neon)).map(|Neon(word)| word);
    let zero = vdupq_n_u32(0);
    let rows = transpose([h0, h1, h2, h3]).into_iter().zip(transpose([h4, zero, zero, zero]));
    for ((first, last), accept) in rows.zip(accepts) {
        store_base64(accept, first, last);
    }
}

/// Rows become columns.
#[target_feature(enable = "neon")]
#[inline]
fn transpose([a, b, c, d]: [uint32x4_t; 4]) -> [uint32x4_t; 4] {
    let wide = vreinterpretq_u64_u32;
    let (ab_even, ab_odd) = (wide(vtrn1q_u32(a, b)), wide(vtrn2q_u32(a, b)));
    let (cd_even, cd_odd) = (wide(vtrn1q_u32(c, d)), wide(vtrn2q_u32(c, d)));
    [vtrn1q_u64(ab_even, cd_even), vtrn1q_u64(ab_odd, cd_odd), vtrn2q_u64(ab_even, cd_even), vtrn2q_u64(ab_odd, cd_odd)]
        .map(|row| vreinterpretq_u32_u64(row))
}

/// Where in a digest's words the bytes are that a character begins in, and ends in, and how far they are shifted to meet; the digest is in
/// the low 20 of 32 bytes, and an index beyond them gives zero.
struct Pieces {
    begin: [u8; 32],
    left: [i8; 32],
    end: [u8; 32],
    right: [i8; 32],
}

static PIECES: Pieces = {
    let mut pieces = Pieces { begin: [255; 32], left: [0; 32], end: [255; 32], right: [0; 32] };
    let mut i = 0;
    while i < 27 {
        // The character's six bits are these of the digest.
        let (first, last) = (i * 6, i * 6 + 5);
        // Byte `i` of big-endian words is where `i ^ 3` is in memory.
        pieces.begin[i] = (first / 8) as u8 ^ 3;
        pieces.left[i] = (first % 8) as i8 - 2;
        if last / 8 != first / 8 && last / 8 < 20 {
            pieces.end[i] = (last / 8) as u8 ^ 3;
            pieces.right[i] = (last % 8) as i8 - 7;
        }
        i += 1;
    }
    pieces
};

/// Writes the base64 of the digest of which these are the first four words, and in the lowest lane of `last` the fifth.
#[target_feature(enable = "neon")]
#[inline]
pub(super) fn store_base64(accept: &mut Accept, first: uint32x4_t, last: uint32x4_t) {
    static ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digest = uint8x16x2_t(vreinterpretq_u8_u32(first), vreinterpretq_u8_u32(last));
    let text = |half: usize| {
        // SAFETY: each table is twice 16 bytes, the alphabet four times, and the instructions ask for no alignment.
        let (begin, left, end, right, alphabet) = unsafe {
            (
                vld1q_u8(PIECES.begin.as_ptr().add(half)),
                vld1q_s8(PIECES.left.as_ptr().add(half)),
                vld1q_u8(PIECES.end.as_ptr().add(half)),
                vld1q_s8(PIECES.right.as_ptr().add(half)),
                vld1q_u8_x4(ALPHABET.as_ptr()),
            )
        };
        // A negative distance shifts to the right.
        let sextets = vorrq_u8(vshlq_u8(vqtbl2q_u8(digest, begin), left), vshlq_u8(vqtbl2q_u8(digest, end), right));
        vqtbl4q_u8(alphabet, vandq_u8(sextets, vdupq_n_u8(63)))
    };
    let (low, high) = (text(0), vsetq_lane_u8::<11>(b'=', text(16)));
    // SAFETY: each store is of 16 bytes, which there are from either place, and asks for no alignment.
    unsafe {
        vst1q_u8(accept.as_mut_ptr(), low);
        vst1q_u8(accept.as_mut_ptr().add(12), vextq_u8::<12>(low, high));
    }
}

/// Four lanes.
#[derive(Clone, Copy)]
struct Neon(uint32x4_t);

impl Lanes for Neon {
    #[inline(always)]
    fn splat(word: u32) -> Self {
        // SAFETY: NEON is part of every aarch64 CPU, here as in all that follows.
        Neon(unsafe { vdupq_n_u32(word) })
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: as in `splat`.
        Neon(unsafe { vaddq_u32(self.0, other.0) })
    }
    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        // SAFETY: as in `splat`.
        Neon(unsafe { veorq_u32(self.0, other.0) })
    }
    #[inline(always)]
    fn rotate<const LEFT: i32, const RIGHT: i32>(self) -> Self {
        // SAFETY: as in `splat`.
        Neon(unsafe { vsriq_n_u32::<RIGHT>(vshlq_n_u32::<LEFT>(self.0), self.0) })
    }
    #[inline(always)]
    fn opaque(mut self) -> Self {
        // SAFETY: no instruction at all.
        unsafe { asm!("/* {0:v} */", inout(vreg) self.0, options(pure, nomem, nostack, preserves_flags)) };
        self
    }
    #[inline(always)]
    fn choose(b: Self, c: Self, d: Self) -> Self {
        // SAFETY: as in `splat`.
        Neon(unsafe { vbslq_u32(b.0, c.0, d.0) })
    }
    #[inline(always)]
    fn parity(b: Self, c: Self, d: Self) -> Self {
        b.xor(c).xor(d)
    }
    #[inline(always)]
    fn majority(b: Self, c: Self, d: Self) -> Self {
        // Where `b` and `c` differ, `d` decides.
        Self::choose(b.xor(c), d, b)
    }
}
