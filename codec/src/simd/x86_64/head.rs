//! Classes of a head's bytes. AVX2 looks up both halves of a byte and combines the two answers; AVX-512 looks up seven bits at once.

#![allow(unsafe_code)]

use std::arch::x86_64::*;

use crate::simd::{
    Indexed,
    head::{self, BLOCK_BYTES, CLASSES, CONTROL, CR, Classes, HeadCarry, NIBBLES, TOKEN},
};

pub(super) fn avx2(bytes: &[u8], carry: &mut HeadCarry, marks: &mut [u16]) -> Indexed {
    #[target_feature(enable = "avx2,bmi1,bmi2,popcnt")]
    fn index(bytes: &[u8], carry: &mut HeadCarry, marks: &mut [u16]) -> Indexed {
        let classes = |bytes: &[u8]| {
            let block = head::whole(bytes);
            let (halves, _) = block.as_chunks::<32>();
            let [low, high] = [&halves[0], &halves[1]].map(|half| {
                // SAFETY: the half has 32 bytes, and the instruction asks for no alignment; AVX2 is there, as in the function around this.
                unsafe { classes_avx2(_mm256_loadu_si256(half.as_ptr().cast())) }
            });
            let [token, control, cr] = std::array::from_fn(|class| u64::from(high[class]) << 32 | u64::from(low[class]));
            Classes { token, control, cr }
        };
        head::index(bytes, carry, marks, classes, head::write)
    }
    // SAFETY: the table with this function is given out where the CPU has these features.
    unsafe { index(bytes, carry, marks) }
}

/// Tokens, controls and CR among 32 bytes.
#[target_feature(enable = "avx2")]
#[inline]
fn classes_avx2(bytes: __m256i) -> [u32; 3] {
    let table = |nibbles: &[u8; 16]| {
        // SAFETY: the table has 16 bytes, and the instruction asks for no alignment.
        _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(nibbles.as_ptr().cast()) })
    };
    let high = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), _mm256_set1_epi8(0x0f));
    // A shuffle takes its index from the low four bits and gives 0 where the byte's highest bit is set: no byte beyond ASCII is a token.
    let rows = _mm256_shuffle_epi8(table(&NIBBLES.low), bytes);
    let row = _mm256_shuffle_epi8(table(&NIBBLES.high), high);
    let not_token = _mm256_cmpeq_epi8(_mm256_and_si256(rows, row), _mm256_setzero_si256());
    let is = |byte: u8| _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(byte as i8));
    let below_space = _mm256_cmpeq_epi8(_mm256_min_epu8(bytes, _mm256_set1_epi8(0x1f)), bytes);
    let cr = is(b'\r');
    let control = _mm256_or_si256(_mm256_andnot_si256(_mm256_or_si256(is(b'\t'), cr), below_space), is(0x7f));
    let [not_token, control, cr] = [not_token, control, cr].map(|bytes| _mm256_movemask_epi8(bytes).cast_unsigned());
    [!not_token, control, cr]
}

pub(super) fn avx512(bytes: &[u8], carry: &mut HeadCarry, marks: &mut [u16]) -> Indexed {
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,bmi1,bmi2,popcnt")]
    fn index(bytes: &[u8], carry: &mut HeadCarry, marks: &mut [u16]) -> Indexed {
        // SAFETY: the table has twice 64 bytes below 128, and the instruction asks for no alignment.
        let (low, high) = unsafe { (_mm512_loadu_si512(CLASSES.as_ptr().cast()), _mm512_loadu_si512(CLASSES.as_ptr().add(64).cast())) };
        let classes = |bytes: &[u8]| {
            let there = if bytes.len() < BLOCK_BYTES { (1 << bytes.len()) - 1 } else { u64::MAX };
            // SAFETY: the load takes the bytes that are there, at any alignment; the features are there, as in the function around this.
            unsafe {
                let bytes = _mm512_maskz_loadu_epi8(there, bytes.as_ptr().cast());
                // The table's index is the low seven bits; bytes beyond ASCII have no class.
                let ascii = _mm512_testn_epi8_mask(bytes, _mm512_set1_epi8(0x80u8 as i8));
                let classes = _mm512_maskz_permutex2var_epi8(ascii, low, bytes, high);
                let of = |class: u8| _mm512_test_epi8_mask(classes, _mm512_set1_epi8(class as i8));
                Classes { token: of(TOKEN), control: of(CONTROL), cr: of(CR) }
            }
        };
        let write = |bits: u64, base: usize, marks: &mut [u16; BLOCK_BYTES]| {
            let count = bits.count_ones() as usize;
            if count > 16 {
                return head::write(bits, base, marks);
            }
            // SAFETY: the table has 64 bytes and `marks` 128, of which 32 are written, and neither instruction asks for alignment; the features are there,
            // as in the function around this.
            unsafe {
                let places = _mm512_maskz_compress_epi8(bits, _mm512_loadu_si512(PLACES.as_ptr().cast()));
                let positions = _mm256_add_epi16(_mm256_cvtepu8_epi16(_mm512_castsi512_si128(places)), _mm256_set1_epi16(base as i16));
                _mm256_storeu_si256(marks.as_mut_ptr().cast(), positions);
            }
            count
        };
        head::index(bytes, carry, marks, classes, write)
    }
    // SAFETY: the table with this function is given out where the CPU has these features.
    unsafe { index(bytes, carry, marks) }
}

/// The places of a block's bytes.
static PLACES: [u8; BLOCK_BYTES] = {
    let mut places = [0; BLOCK_BYTES];
    let mut place = 0;
    while place < BLOCK_BYTES {
        places[place] = place as u8;
        place += 1;
    }
    places
};
