//! Digests by the instructions for SHA-1, four rounds each. One waits for the one before it, and a CPU may begin another meanwhile: so a
//! few messages are hashed side by side.

#![allow(unsafe_code)]

use std::arch::{aarch64::*, is_aarch64_feature_detected};

use super::accept::store_base64;
use crate::simd::sha1::{FIRST, INITIAL, ROUND, SECOND, with_constants};

/// Whether the CPU has the instructions; the feature is that of SHA-256 too.
#[inline]
pub(super) fn is_available() -> bool {
    is_aarch64_feature_detected!("sha2")
}

/// The accept values, up to `STREAMS` at a time; where [`is_available`].
pub(super) fn accept<const STREAMS: usize>(keys: &[[u8; 24]], accepts: &mut [[u8; 28]]) {
    let (many, rest) = keys.as_chunks::<STREAMS>();
    let (many_accepts, rest_accepts) = accepts.as_chunks_mut::<STREAMS>();
    for (keys, accepts) in many.iter().zip(many_accepts) {
        // SAFETY: the caller asked for the feature.
        unsafe { streams(keys, accepts) }
    }
    for (key, accept) in rest.iter().zip(rest_accepts) {
        // SAFETY: as above.
        unsafe { streams(&[*key], std::array::from_mut(accept)) }
    }
}

/// The state of a message, `a` in the lowest lane.
#[derive(Clone, Copy)]
struct Stream {
    abcd: uint32x4_t,
    e: u32,
}

#[target_feature(enable = "sha2")]
fn streams<const N: usize>(keys: &[[u8; 24]; N], accepts: &mut [[u8; 28]; N]) {
    static SCHEDULE: [u32; 80] = with_constants(SECOND);
    let initial = Stream { abcd: group(&INITIAL, 0), e: INITIAL[4] };
    let mut words = [[vdupq_n_u32(0); 4]; N];
    for (words, key) in words.iter_mut().zip(keys) {
        *words = first_words(key);
    }
    let mut states = [initial; N];
    for t in 0..4 {
        step::<0, N>(&mut states, |i| with_constant::<0>(words[i][t]));
    }
    step::<0, N>(&mut states, |i| with_constant::<0>(next_words(&mut words[i])));
    for _ in 0..5 {
        step::<1, N>(&mut states, |i| with_constant::<1>(next_words(&mut words[i])));
    }
    for _ in 0..5 {
        step::<2, N>(&mut states, |i| with_constant::<2>(next_words(&mut words[i])));
    }
    for _ in 0..5 {
        step::<3, N>(&mut states, |i| with_constant::<3>(next_words(&mut words[i])));
    }
    let between = states.map(|state| Stream { abcd: vaddq_u32(state.abcd, initial.abcd), e: state.e.wrapping_add(initial.e) });
    states = between;
    for t in [0, 4, 8, 12, 16] {
        step::<0, N>(&mut states, |_| group(&SCHEDULE, t));
    }
    for t in [20, 24, 28, 32, 36] {
        step::<1, N>(&mut states, |_| group(&SCHEDULE, t));
    }
    for t in [40, 44, 48, 52, 56] {
        step::<2, N>(&mut states, |_| group(&SCHEDULE, t));
    }
    for t in [60, 64, 68, 72, 76] {
        step::<3, N>(&mut states, |_| group(&SCHEDULE, t));
    }
    for i in 0..N {
        let e = states[i].e.wrapping_add(between[i].e);
        store_base64(&mut accepts[i], vaddq_u32(states[i].abcd, between[i].abcd), vdupq_n_u32(e));
    }
}

/// Four rounds of each stream; `words` gives their part of the schedule with the round constants added.
#[target_feature(enable = "sha2")]
#[inline]
fn step<const FUNCTION: usize, const N: usize>(states: &mut [Stream; N], mut words: impl FnMut(usize) -> uint32x4_t) {
    for (i, Stream { abcd, e }) in states.iter_mut().enumerate() {
        let (words, next_e) = (words(i), vsha1h_u32(vgetq_lane_u32::<0>(*abcd)));
        *abcd = match FUNCTION {
            0 => vsha1cq_u32(*abcd, *e, words),
            2 => vsha1mq_u32(*abcd, *e, words),
            _ => vsha1pq_u32(*abcd, *e, words),
        };
        *e = next_e;
    }
}

#[target_feature(enable = "sha2")]
#[inline]
fn with_constant<const FUNCTION: usize>(words: uint32x4_t) -> uint32x4_t {
    vaddq_u32(words, vdupq_n_u32(ROUND[FUNCTION]))
}

/// The first 16 words of the first block's schedule.
#[target_feature(enable = "sha2")]
#[inline]
fn first_words(key: &[u8; 24]) -> [uint32x4_t; 4] {
    // SAFETY: the key has 16 bytes from its start, and 8 behind them; the instructions ask for no alignment.
    let (low, high) = unsafe { (vld1q_u8(key.as_ptr()), vcombine_u8(vld1_u8(key.as_ptr().add(16)), vdup_n_u8(0))) };
    let [low, high] = [low, high].map(|bytes| vreinterpretq_u32_u8(vrev32q_u8(bytes)));
    // The constants' first two words are zero, as are the last two of the key's.
    [low, vorrq_u32(high, group(&FIRST, 4)), group(&FIRST, 8), group(&FIRST, 12)]
}

/// The schedule's next four words, from the 16 before them.
#[target_feature(enable = "sha2")]
#[inline]
fn next_words(words: &mut [uint32x4_t; 4]) -> uint32x4_t {
    let [a, b, c, d] = *words;
    let next = vsha1su1q_u32(vsha1su0q_u32(a, b, c), d);
    *words = [b, c, d, next];
    next
}

/// Four words from the one numbered `t`.
#[target_feature(enable = "sha2")]
#[inline]
fn group(words: &[u32], t: usize) -> uint32x4_t {
    let words = &words[t..t + 4];
    // SAFETY: there are four, and the instruction asks for no more alignment than a word's.
    unsafe { vld1q_u32(words.as_ptr()) }
}
