//! Masking, four vectors at a time.

#![allow(unsafe_code)]

use std::arch::aarch64::*;

use crate::simd::mask;

pub(super) fn neon(payload: &mut [u8], key: [u8; 4]) {
    mask::vectors(payload, key, |block: &mut [u8; 64], key| {
        for quarter in block.as_chunks_mut::<16>().0 {
            let quarter = quarter.as_mut_ptr();
            // SAFETY: a quarter has 16 bytes, which are loaded and stored at any alignment. NEON is part of every aarch64 CPU.
            unsafe { vst1q_u8(quarter, veorq_u8(vld1q_u8(quarter), vreinterpretq_u8_u32(vdupq_n_u32(u32::from_ne_bytes(key))))) };
        }
    });
}
