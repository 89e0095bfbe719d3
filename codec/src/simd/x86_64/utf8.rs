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

#[target_feature(enable = "avx512f,avx512bw,bmi2")]
fn run(bytes: &[u8]) -> Utf8Run {
    let nothing = _mm512_setzero_si512();
    // One block or two go without a loop, whose set-up would cost as much as they do.
    if bytes.len() <= 64 {
        let block = load_some(bytes);
        return if is_ascii(block) { Utf8Run::Valid } else { end(bytes, nothing, errors_of(nothing, block), bytes) };
    }
    if let Some((first, rest)) = bytes.split_first_chunk()
        && rest.len() <= 64
    {
        let (first, second) = (load(first), load_some(rest));
        if is_ascii(_mm512_or_si512(first, second)) {
            return Utf8Run::Valid;
        }
        return end(bytes, errors_of(nothing, first), errors_of(first, second), rest);
    }
    let rest = after_long_ascii(bytes);
    let (blocks, rest) = rest.as_chunks();
    // Less than four blocks are ASCII to the end, or not: one look tells, without the tables. The last block overlaps others.
    if blocks.len() < 4
        && let Some(last) = bytes.last_chunk()
        && is_ascii(blocks.iter().fold(load(last), |all, block| _mm512_or_si512(all, load(block))))
    {
        return Utf8Run::Valid;
    }
    let (mut before, mut high_before, mut errors) = (nothing, 0, nothing);
    let mut push = |block| {
        let high = _mm512_movepi8_mask(block);
        // A character that goes on here has a byte beyond ASCII right before, or was found to be wrong there.
        let new = if high | high_before >> 63 != 0 { errors_of(before, block) } else { nothing };
        (before, high_before) = (block, high);
        new
    };
    for block in blocks {
        errors = _mm512_or_si512(errors, push(load(block)));
    }
    end(bytes, errors, if rest.is_empty() { nothing } else { push(load_some(rest)) }, rest)
}

#[target_feature(enable = "avx512bw")]
#[inline]
fn is_ascii(block: __m512i) -> bool {
    _mm512_movepi8_mask(block) == 0
}

/// The answer by the errors in a text's blocks and in the last one, which is `rest` and zeros: a character that those cut is not wrong yet.
#[target_feature(enable = "avx512f,avx512bw,bmi2")]
#[inline]
fn end(bytes: &[u8], errors: __m512i, last_errors: __m512i, rest: &[u8]) -> Utf8Run {
    let errors = _mm512_test_epi64_mask(errors, errors) != 0;
    if errors || _mm512_mask_test_epi8_mask(there(rest), last_errors, last_errors) != 0 { Utf8Run::Invalid } else { utf8::end(bytes) }
}

/// What is left of a text from the first 256 bytes on that are not all ASCII.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn after_long_ascii(mut bytes: &[u8]) -> &[u8] {
    while let Some((start, after)) = bytes.split_first_chunk::<256>() {
        let (blocks, _) = start.as_chunks();
        let all =
            _mm512_ternarylogic_epi64::<0xfe>(load(&blocks[0]), load(&blocks[1]), _mm512_or_si512(load(&blocks[2]), load(&blocks[3])));
        if !is_ascii(all) {
            break;
        }
        bytes = after;
    }
    bytes
}

/// Not zero where a block is wrong.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn errors_of(before: __m512i, block: __m512i) -> __m512i {
    let table = |table: &[u8; 16]| {
        // SAFETY: the table has 16 bytes, and the instruction asks for no alignment.
        _mm512_broadcast_i32x4(unsafe { _mm_loadu_si128(table.as_ptr().cast()) })
    };
    let low_half = |bytes| _mm512_and_si512(bytes, _mm512_set1_epi8(0x0f));
    // The 16 bytes before each 16 of the block.
    let lanes_before = _mm512_alignr_epi64::<6>(block, before);
    let first = _mm512_alignr_epi8::<15>(block, lanes_before);
    let wrong_pairs = _mm512_ternarylogic_epi64::<0x80>(
        _mm512_shuffle_epi8(table(&FIRST_HIGH), low_half(_mm512_srli_epi16::<4>(first))),
        _mm512_shuffle_epi8(table(&FIRST_LOW), low_half(first)),
        _mm512_shuffle_epi8(table(&SECOND_HIGH), low_half(_mm512_srli_epi16::<4>(block))),
    );
    // The highest bit, that of two continuations, stays set from 0xe0 and 0xf0 on, in leads of three bytes and of four: (a | b) & c.
    let after_two = _mm512_subs_epu8(_mm512_alignr_epi8::<14>(block, lanes_before), _mm512_set1_epi8(0x60));
    let after_three = _mm512_subs_epu8(_mm512_alignr_epi8::<13>(block, lanes_before), _mm512_set1_epi8(0x70));
    let due = _mm512_ternarylogic_epi64::<0xa8>(after_two, after_three, _mm512_set1_epi8(TWO_CONTINUATIONS as i8));
    _mm512_xor_si512(wrong_pairs, due)
}

#[target_feature(enable = "avx512f")]
#[inline]
fn load(block: &[u8; 64]) -> __m512i {
    // SAFETY: the block has 64 bytes, and the instruction asks for no alignment.
    unsafe { _mm512_loadu_si512(block.as_ptr().cast()) }
}

/// A block, or less and zeros.
#[target_feature(enable = "avx512f,avx512bw,bmi2")]
#[inline]
fn load_some(bytes: &[u8]) -> __m512i {
    // SAFETY: `there` has a bit for each of up to 64 bytes; the instruction touches no others and asks for no alignment.
    unsafe { _mm512_maskz_loadu_epi8(there(bytes), bytes.as_ptr().cast()) }
}

/// A bit for each of up to 64 bytes.
#[target_feature(enable = "bmi2")]
#[inline]
fn there(bytes: &[u8]) -> u64 {
    _bzhi_u64(!0, bytes.len() as u32)
}
