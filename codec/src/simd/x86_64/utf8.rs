//! UTF-8. With AVX2 `simdutf8` does it. With AVX-512 it is done here, by the same algorithm (J. Keiser, D. Lemire, "Validating UTF-8 In Less Than
//! One Instruction Per Byte", 2021), but with a load that takes any number of bytes, so that short texts gain as well.
//!
//! Whatever can be wrong with a character but for its third and fourth byte shows in two neighbours: each kind of error is a bit, and three
//! tables tell which errors the first byte's halves and the second's high half allow; a bit in all three is an error. Two continuation bytes in
//! a row have a bit too, and it must be there exactly where a lead of three or four bytes stands two or three places before.

#![allow(unsafe_code)]

use std::arch::x86_64::*;

use crate::simd::{Utf8Run, utf8};

pub(super) fn avx2(bytes: &[u8]) -> Utf8Run {
    utf8::run(bytes, |bytes| simdutf8::basic::from_utf8(bytes).is_ok())
}

pub(super) fn avx512(bytes: &[u8]) -> Utf8Run {
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,bmi2")]
    fn run(bytes: &[u8]) -> Utf8Run {
        utf8::run(bytes, |bytes| is_valid(bytes))
    }
    // SAFETY: the table with this function is given out where the CPU has these features.
    unsafe { run(bytes) }
}

/// A lead without a continuation.
const TOO_SHORT: u8 = 1;
/// A continuation after ASCII.
const TOO_LONG: u8 = 2;
const OVERLONG_3: u8 = 4;
/// Above U+10FFFF, by a second byte from 0x90 on.
const TOO_LARGE: u8 = 8;
const SURROGATE: u8 = 0x10;
const OVERLONG_2: u8 = 0x20;
/// Above U+10FFFF, by a lead from 0xf5 on and a second byte below 0x90.
const TOO_LARGE_1000: u8 = 0x40;
/// By a second byte below 0x90; of its own lead, so it shares the bit.
const OVERLONG_4: u8 = 0x40;
const TWO_CONTINUATIONS: u8 = 0x80;

/// Errors that depend on no low half.
const ANY_LOW: u8 = TOO_SHORT | TOO_LONG | TWO_CONTINUATIONS;
const LARGE: u8 = ANY_LOW | TOO_LARGE | TOO_LARGE_1000;
const ANY_SECOND: u8 = TOO_LONG | OVERLONG_2 | TWO_CONTINUATIONS;

static FIRST_HIGH: [u8; 16] = {
    let (ascii, continuation) = (TOO_LONG, TWO_CONTINUATIONS);
    let (c, d, e) = (TOO_SHORT | OVERLONG_2, TOO_SHORT, TOO_SHORT | OVERLONG_3 | SURROGATE);
    let f = TOO_SHORT | TOO_LARGE | TOO_LARGE_1000 | OVERLONG_4;
    [ascii, ascii, ascii, ascii, ascii, ascii, ascii, ascii, continuation, continuation, continuation, continuation, c, d, e, f]
};

static FIRST_LOW: [u8; 16] = {
    let mut table = [LARGE; 16];
    table[0] = ANY_LOW | OVERLONG_2 | OVERLONG_3 | OVERLONG_4;
    table[1] = ANY_LOW | OVERLONG_2;
    table[2] = ANY_LOW;
    table[3] = ANY_LOW;
    table[4] = ANY_LOW | TOO_LARGE;
    table[0xd] |= SURROGATE;
    table
};

static SECOND_HIGH: [u8; 16] = {
    let mut table = [TOO_SHORT; 16];
    table[8] = ANY_SECOND | OVERLONG_3 | TOO_LARGE_1000 | OVERLONG_4;
    table[9] = ANY_SECOND | OVERLONG_3 | TOO_LARGE;
    table[0xa] = ANY_SECOND | SURROGATE | TOO_LARGE;
    table[0xb] = table[0xa];
    table
};

/// For each byte of a block the place of the one so many before it, behind 64 bytes of the block before.
const fn places(back: u8) -> [u8; 64] {
    let mut places = [0; 64];
    let mut i = 0;
    while i < 64 {
        places[i] = 64 + i as u8 - back;
        i += 1;
    }
    places
}

static PLACES: [[u8; 64]; 3] = [places(1), places(2), places(3)];

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,bmi2")]
#[inline]
fn is_valid(bytes: &[u8]) -> bool {
    // ASCII goes faster by four, and needs no tables.
    let (fours, _) = bytes.as_chunks::<256>();
    let is_ascii = |four: &&[u8; 256]| {
        let (blocks, _) = four.as_chunks();
        let all =
            _mm512_ternarylogic_epi64::<0xfe>(load(&blocks[0]), load(&blocks[1]), _mm512_or_si512(load(&blocks[2]), load(&blocks[3])));
        _mm512_movepi8_mask(all) == 0
    };
    let bytes = &bytes[fours.iter().take_while(is_ascii).count() * 256..];
    if bytes.is_empty() {
        return true;
    }
    let (mut before, mut high_before, mut errors) = (_mm512_setzero_si512(), 0, _mm512_setzero_si512());
    let mut push = |block| {
        let high = _mm512_movepi8_mask(block);
        // A character that goes on here has a byte beyond ASCII right before, or was found to be wrong there.
        if high | high_before >> 63 != 0 {
            errors = _mm512_or_si512(errors, errors_of(before, block));
        }
        (before, high_before) = (block, high);
    };
    let (blocks, rest) = bytes.as_chunks();
    for block in blocks {
        push(load(block));
    }
    // Zeros follow, one at least, so that a character without its end shows.
    if !rest.is_empty() || utf8::open_bytes(bytes) > 0 {
        push(load_some(rest));
    }
    _mm512_test_epi8_mask(errors, errors) == 0
}

/// Not zero where a block is wrong.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
#[inline]
fn errors_of(before: __m512i, block: __m512i) -> __m512i {
    let table = |table: &[u8; 16]| {
        // SAFETY: the table has 16 bytes, and the instruction asks for no alignment.
        _mm512_broadcast_i32x4(unsafe { _mm_loadu_si128(table.as_ptr().cast()) })
    };
    let low_half = |bytes| _mm512_and_si512(bytes, _mm512_set1_epi8(0x0f));
    let back = |places| _mm512_permutex2var_epi8(before, load(places), block);
    let [first, second, third] = &PLACES;
    let first = back(first);
    let wrong_pairs = _mm512_ternarylogic_epi64::<0x80>(
        _mm512_shuffle_epi8(table(&FIRST_HIGH), low_half(_mm512_srli_epi16::<4>(first))),
        _mm512_shuffle_epi8(table(&FIRST_LOW), low_half(first)),
        _mm512_shuffle_epi8(table(&SECOND_HIGH), low_half(_mm512_srli_epi16::<4>(block))),
    );
    // The highest bit, that of two continuations, stays set from 0xe0 and 0xf0 on, in leads of three bytes and of four: (a | b) & c.
    let after_two = _mm512_subs_epu8(back(second), _mm512_set1_epi8(0x60));
    let after_three = _mm512_subs_epu8(back(third), _mm512_set1_epi8(0x70));
    let due = _mm512_ternarylogic_epi64::<0xa8>(after_two, after_three, _mm512_set1_epi8(TWO_CONTINUATIONS as i8));
    _mm512_xor_si512(wrong_pairs, due)
}

#[target_feature(enable = "avx512f")]
#[inline]
fn load(block: &[u8; 64]) -> __m512i {
    // SAFETY: the block has 64 bytes, and the instruction asks for no alignment.
    unsafe { _mm512_loadu_si512(block.as_ptr().cast()) }
}

/// Less than a block, and zeros.
#[target_feature(enable = "avx512f,avx512bw,bmi2")]
#[inline]
fn load_some(bytes: &[u8]) -> __m512i {
    let there = (1 << bytes.len()) - 1;
    // SAFETY: `there` has a bit for each of fewer than 64 bytes; the instruction touches no others and asks for no alignment.
    unsafe { _mm512_maskz_loadu_epi8(there, bytes.as_ptr().cast()) }
}
