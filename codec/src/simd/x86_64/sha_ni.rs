//! Digests by the instructions for SHA-1, four rounds each. One waits for the one before it, and a CPU may begin another meanwhile: so a
//! few messages are hashed side by side.

#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::base64;
use crate::simd::sha1::{FIRST, INITIAL, SECOND};

/// Whether the CPU has the instructions.
#[inline]
pub(super) fn is_available() -> bool {
    is_x86_feature_detected!("sha") && is_x86_feature_detected!("ssse3") && is_x86_feature_detected!("sse4.1")
}

/// The accept values, up to `STREAMS` at a time; where [`is_available`].
pub(super) fn accept<const STREAMS: usize>(keys: &[[u8; 24]], accepts: &mut [[u8; 28]]) {
    #[target_feature(enable = "sha,ssse3,sse4.1,avx2")]
    fn accept<const N: usize>(keys: &[[u8; 24]; N], accepts: &mut [[u8; 28]; N]) {
        for (row, accept) in rows(keys).into_iter().zip(accepts) {
            base64::store(accept, base64::avx2(row));
        }
    }
    let (many, rest) = keys.as_chunks::<STREAMS>();
    let (many_accepts, rest_accepts) = accepts.as_chunks_mut::<STREAMS>();
    for (keys, accepts) in many.iter().zip(many_accepts) {
        // SAFETY: the CPU has AVX2 where the table with the caller is given out, and the rest where it asked for it.
        unsafe { accept(keys, accepts) }
    }
    for (key, accept_value) in rest.iter().zip(rest_accepts) {
        // SAFETY: as above.
        unsafe { accept(&[*key], std::array::from_mut(accept_value)) }
    }
}

/// What is known of a message between two steps of four rounds.
#[derive(Clone, Copy)]
struct Stream {
    /// The words a to d of the state, `a` the highest.
    abcd: __m128i,
    /// The same four rounds before: its `a` is the state's `e` but for a rotation by 30 bits.
    before: __m128i,
}

/// The digests as rows for [`base64`].
#[target_feature(enable = "sha,ssse3,sse4.1,avx2")]
#[inline]
fn rows<const N: usize>(keys: &[[u8; 24]; N]) -> [__m256i; N] {
    let initial = group(&INITIAL, 0);
    let mut streams = [Stream { abcd: initial, before: _mm_set_epi32(INITIAL[4].rotate_right(30).cast_signed(), 0, 0, 0) }; N];
    let mut words = keys.each_ref().map(|key| first_words(key));
    step::<0, _>(&mut streams, |i| words[i][0]);
    step::<0, _>(&mut streams, |i| words[i][1]);
    step::<0, _>(&mut streams, |i| words[i][2]);
    step::<0, _>(&mut streams, |i| words[i][3]);
    step::<0, _>(&mut streams, |i| next_words(&mut words[i]));
    for _ in 0..5 {
        step::<1, _>(&mut streams, |i| next_words(&mut words[i]));
    }
    for _ in 0..5 {
        step::<2, _>(&mut streams, |i| next_words(&mut words[i]));
    }
    for _ in 0..5 {
        step::<3, _>(&mut streams, |i| next_words(&mut words[i]));
    }
    let between = streams.map(|stream| _mm_add_epi32(stream.abcd, initial));
    for (stream, &abcd) in streams.iter_mut().zip(&between) {
        stream.abcd = abcd;
    }
    // The `e` between the blocks, which the last rounds add, is this and the first block's.
    let initial_e = _mm_set_epi32(INITIAL[4].cast_signed(), 0, 0, 0);
    let e = streams.map(|stream| _mm_sha1nexte_epu32(stream.before, initial_e));
    step::<0, _>(&mut streams, |_| _mm_add_epi32(group(&SECOND, 0), initial_e));
    for t in [4, 8, 12, 16] {
        step::<0, _>(&mut streams, |_| group(&SECOND, t));
    }
    for t in [20, 24, 28, 32, 36] {
        step::<1, _>(&mut streams, |_| group(&SECOND, t));
    }
    for t in [40, 44, 48, 52, 56] {
        step::<2, _>(&mut streams, |_| group(&SECOND, t));
    }
    for t in [60, 64, 68, 72, 76] {
        step::<3, _>(&mut streams, |_| group(&SECOND, t));
    }
    let mut rows = [_mm256_setzero_si256(); N];
    for i in 0..N {
        let abcd = _mm_add_epi32(streams[i].abcd, between[i]);
        let e = _mm_sha1nexte_epu32(streams[i].before, e[i]);
        let high = _mm_blend_epi16::<0b11>(_mm_srli_si128::<8>(e), abcd);
        rows[i] = _mm256_set_m128i(high, _mm_shuffle_epi32::<0b00_01_10_11>(abcd));
    }
    rows
}

/// Four rounds of each stream; `words` gives their part of the schedule.
#[target_feature(enable = "sha,ssse3,sse4.1,avx2")]
#[inline]
fn step<const FUNCTION: i32, const N: usize>(streams: &mut [Stream; N], mut words: impl FnMut(usize) -> __m128i) {
    for (i, Stream { abcd, before }) in streams.iter_mut().enumerate() {
        let words = _mm_sha1nexte_epu32(*before, words(i));
        *before = *abcd;
        *abcd = _mm_sha1rnds4_epu32::<FUNCTION>(*abcd, words);
    }
}

/// The first 16 words of the first block's schedule.
#[target_feature(enable = "sha,ssse3,sse4.1,avx2")]
#[inline]
fn first_words(key: &[u8; 24]) -> [__m128i; 4] {
    let big_endian = _mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f);
    // SAFETY: the key has 16 bytes from its start, and 8 behind them; the instructions ask for no alignment.
    let (low, high) = unsafe { (_mm_loadu_si128(key.as_ptr().cast()), _mm_loadl_epi64(key.as_ptr().add(16).cast())) };
    // The constants' first two words are zero, as are the last two of the key's.
    let high = _mm_or_si128(_mm_shuffle_epi8(high, big_endian), group(&FIRST, 4));
    [_mm_shuffle_epi8(low, big_endian), high, group(&FIRST, 8), group(&FIRST, 12)]
}

/// The schedule's next four words, from the 16 before them.
#[target_feature(enable = "sha,ssse3,sse4.1,avx2")]
#[inline]
fn next_words(words: &mut [__m128i; 4]) -> __m128i {
    let [a, b, c, d] = *words;
    let next = _mm_sha1msg2_epu32(_mm_xor_si128(_mm_sha1msg1_epu32(a, b), c), d);
    *words = [b, c, d, next];
    next
}

/// Four words as these instructions take them, the first the highest.
#[inline(always)]
fn group(words: &[u32], t: usize) -> __m128i {
    // SAFETY: SSE2 is part of x86_64.
    unsafe { _mm_setr_epi32(words[t + 3].cast_signed(), words[t + 2].cast_signed(), words[t + 1].cast_signed(), words[t].cast_signed()) }
}
