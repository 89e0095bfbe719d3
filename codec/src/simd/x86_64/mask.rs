//! Masking, a vector at a time.

#![allow(unsafe_code)]

use std::arch::x86_64::*;

use crate::simd::mask;

pub(super) fn avx2(payload: &mut [u8], key: [u8; 4]) {
    #[target_feature(enable = "avx2")]
    fn mask(payload: &mut [u8], key: [u8; 4]) {
        mask::vectors(payload, key, |block: &mut [u8; 32], key| {
            let block = block.as_mut_ptr().cast();
            // SAFETY: the block has 32 bytes, and the instructions ask for no alignment; AVX2 is there, as in the function around this.
            unsafe { _mm256_storeu_si256(block, _mm256_xor_si256(_mm256_loadu_si256(block), _mm256_set1_epi32(i32::from_ne_bytes(key)))) };
        });
    }
    // SAFETY: the table with this function is given out where the CPU has these features.
    unsafe { mask(payload, key) }
}

pub(super) fn avx512(payload: &mut [u8], key: [u8; 4]) {
    #[target_feature(enable = "avx512f,avx512vl")]
    fn mask(payload: &mut [u8], key: [u8; 4]) {
        mask::vectors(payload, key, |block: &mut [u8; 64], key| {
            let block = block.as_mut_ptr().cast();
            // SAFETY: the block has 64 bytes, and the instructions ask for no alignment; AVX-512 is there, as in the function around this.
            unsafe { _mm512_storeu_si512(block, _mm512_xor_si512(_mm512_loadu_si512(block), _mm512_set1_epi32(i32::from_ne_bytes(key)))) };
        });
    }
    // SAFETY: the table with this function is given out where the CPU has these features.
    unsafe { mask(payload, key) }
}
