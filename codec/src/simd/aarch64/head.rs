//! Classes of a head's bytes: both halves of a byte are looked up and the two answers combined, 16 bytes at a time.

#![allow(unsafe_code)]

use std::arch::aarch64::*;

use crate::simd::{
    Indexed,
    head::{self, Classes, HeadCarry, NIBBLES},
};

pub(super) fn neon(bytes: &[u8], carry: &mut HeadCarry, marks: &mut [u16]) -> Indexed {
    let classes = |bytes: &[u8]| {
        let block = head::whole(bytes);
        // SAFETY: a load takes 16 bytes at any alignment; the block has 64 and each table 16. NEON is part of every aarch64 CPU.
        unsafe {
            let (low_table, high_table) = (vld1q_u8(NIBBLES.low.as_ptr()), vld1q_u8(NIBBLES.high.as_ptr()));
            let quarters = [0, 16, 32, 48].map(|at| vld1q_u8(block.as_ptr().add(at)));
            let map = |class: &dyn Fn(uint8x16_t) -> uint8x16_t| bitmap(quarters.map(class));
            let is = |byte: u8| move |bytes| vceqq_u8(bytes, vdupq_n_u8(byte));
            Classes {
                token: map(&|bytes| {
                    let rows = vqtbl1q_u8(low_table, vandq_u8(bytes, vdupq_n_u8(0x0f)));
                    // Rows 8 to 15, of bytes beyond ASCII, have no bit.
                    vtstq_u8(rows, vqtbl1q_u8(high_table, vshrq_n_u8::<4>(bytes)))
                }),
                control: map(&|bytes| {
                    let below_space = vbicq_u8(vcltq_u8(bytes, vdupq_n_u8(0x20)), vorrq_u8(is(b'\t')(bytes), is(b'\r')(bytes)));
                    vorrq_u8(below_space, is(0x7f)(bytes))
                }),
                cr: map(&is(b'\r')),
            }
        }
    };
    head::index(bytes, carry, marks, classes, head::write)
}

/// A bit for each of 64 bytes that are 0 or 255: each keeps the bit of its place among eight, and neighbours are added until eight are one byte.
///
/// # Safety
/// None beyond NEON, which every aarch64 CPU has.
#[inline(always)]
unsafe fn bitmap(quarters: [uint8x16_t; 4]) -> u64 {
    const PLACES: [u8; 16] = [1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128];
    // SAFETY: a load of 16 bytes; the rest only computes.
    unsafe {
        let places = vld1q_u8(PLACES.as_ptr());
        let [a, b, c, d] = quarters.map(|quarter| vandq_u8(quarter, places));
        let sums = vpaddq_u8(vpaddq_u8(a, b), vpaddq_u8(c, d));
        vgetq_lane_u64::<0>(vreinterpretq_u64_u8(vpaddq_u8(sums, sums)))
    }
}
