//! Accept values: the digests in lanes, eight or sixteen keys at once, or by the instructions for SHA-1 (`sha_ni`), whichever is faster for
//! so many keys. Lanes that have no key of their own hash the last one again.

#![allow(unsafe_code)]

use std::arch::{asm, x86_64::*};

use super::{base64, sha_ni};
use crate::simd::sha1::{self, KEY_WORDS, Lanes};

type Key = [u8; 24];
type Accept = [u8; 28];

/// Up to so many keys the instructions for SHA-1 are faster than lanes, where the CPU has them. Measured on Zen 4: with them a key takes 50
/// ns. A vector takes as long however many of its lanes have a key: 210 ns with AVX2, 145 ns with AVX-512 in eight lanes and 240 ns in
/// sixteen.
const SHA_NI_MAX_AVX2: usize = 4;
const SHA_NI_MAX_AVX512: usize = 2;
/// From so many keys on, one vector of sixteen is faster than one of eight and the instructions for SHA-1 for the rest.
const SIXTEEN_MIN: usize = 10;

/// Messages that are hashed side by side. On Zen 4 two are as fast as one and four 8 % faster; a CPU that begins an instruction for SHA-1
/// before the last is done gains more.
const STREAMS: usize = 2;

pub(super) fn avx2(mut keys: &[Key], mut accepts: &mut [Accept]) {
    while keys.len() > SHA_NI_MAX_AVX2 || !keys.is_empty() && !sha_ni::is_available() {
        (keys, accepts) = first(avx2_8, 8, keys, accepts);
    }
    sha_ni::accept::<STREAMS>(keys, accepts);
}

pub(super) fn avx512(mut keys: &[Key], mut accepts: &mut [Accept]) {
    while keys.len() >= SIXTEEN_MIN {
        (keys, accepts) = first(avx512_16, 16, keys, accepts);
    }
    while keys.len() > SHA_NI_MAX_AVX512 || !keys.is_empty() && !sha_ni::is_available() {
        (keys, accepts) = first(avx512_8, 8, keys, accepts);
    }
    sha_ni::accept::<STREAMS>(keys, accepts);
}

/// Hashes the first keys, as many as there are lanes, and returns the others.
fn first<'k, 'a>(
    way: fn(&[Key], &mut [Accept]),
    lanes: usize,
    keys: &'k [Key],
    accepts: &'a mut [Accept],
) -> (&'k [Key], &'a mut [Accept]) {
    let lanes = lanes.min(keys.len());
    let (keys, more_keys) = keys.split_at(lanes);
    let (accepts, more_accepts) = accepts.split_at_mut(lanes);
    way(keys, accepts);
    (more_keys, more_accepts)
}

/// A way to hash by its name, with the keys that it takes at most.
#[cfg(test)]
type Way = (&'static str, fn(&[Key], &mut [Accept]), usize);

/// Every way that this CPU has.
#[cfg(test)]
pub(in crate::simd) fn ways() -> impl Iterator<Item = Way> {
    let [avx512, avx2] = super::available().map(|kernels| kernels.is_some());
    let sha_ni = avx2 && sha_ni::is_available();
    let ways: [(bool, Way); 7] = [
        (avx512, ("16 lanes of AVX-512", avx512_16, 16)),
        (avx512, ("8 lanes of AVX-512", avx512_8, 8)),
        (avx2, ("8 lanes of AVX2", avx2_8, 8)),
        (sha_ni, ("1 stream", sha_ni::accept::<1>, usize::MAX)),
        (sha_ni, ("2 streams", sha_ni::accept::<2>, usize::MAX)),
        (sha_ni, ("3 streams", sha_ni::accept::<3>, usize::MAX)),
        (sha_ni, ("4 streams", sha_ni::accept::<4>, usize::MAX)),
    ];
    ways.into_iter().filter_map(|(available, way)| available.then_some(way))
}

/// From 1 to 8 keys.
fn avx2_8(keys: &[Key], accepts: &mut [Accept]) {
    #[target_feature(enable = "avx2")]
    fn accept(keys: &[Key], accepts: &mut [Accept]) {
        let digests = sha1::digests(words(keys, 0).map(Avx2)).map(|Avx2(word)| word);
        for (row, accept) in rows(digests).into_iter().zip(accepts) {
            base64::store(accept, base64::avx2(row));
        }
    }
    // SAFETY: the table with the caller is given out where the CPU has this feature.
    unsafe { accept(keys, accepts) }
}

/// From 1 to 8 keys.
fn avx512_8(keys: &[Key], accepts: &mut [Accept]) {
    #[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl,avx512vbmi")]
    fn accept(keys: &[Key], accepts: &mut [Accept]) {
        let digests = sha1::digests(words(keys, 0).map(Avx512Half)).map(|Avx512Half(word)| word);
        for (row, accept) in rows(digests).into_iter().zip(accepts) {
            base64::store(accept, base64::vbmi(row));
        }
    }
    // SAFETY: the table with the caller is given out where the CPU has these features.
    unsafe { accept(keys, accepts) }
}

/// From 1 to 16 keys.
fn avx512_16(keys: &[Key], accepts: &mut [Accept]) {
    #[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl,avx512vbmi")]
    fn accept(keys: &[Key], accepts: &mut [Accept]) {
        let (low, high) = (words(keys, 0), words(keys, 8));
        let mut key = [Avx512(_mm512_setzero_si512()); KEY_WORDS];
        for (i, word) in key.iter_mut().enumerate() {
            word.0 = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low[i]), high[i]);
        }
        let digests = sha1::digests(key);
        let (mut low, mut high) = ([_mm256_setzero_si256(); 5], [_mm256_setzero_si256(); 5]);
        for (i, Avx512(word)) in digests.into_iter().enumerate() {
            low[i] = _mm512_castsi512_si256(word);
            high[i] = _mm512_extracti64x4_epi64::<1>(word);
        }
        for (row, accept) in rows(low).into_iter().chain(rows(high)).zip(accepts) {
            base64::store(accept, base64::vbmi(row));
        }
    }
    // SAFETY: the table with the caller is given out where the CPU has these features.
    unsafe { accept(keys, accepts) }
}

/// The words of 8 keys from the one numbered `first`, a key a lane.
#[target_feature(enable = "avx2")]
#[inline]
fn words(keys: &[Key], first: usize) -> [__m256i; KEY_WORDS] {
    // Of each key 16 bytes from `at`: that of key `lane` in the low half, that of key `lane` + 4 in the high half.
    let load = |lane: usize, at: usize| {
        let [low, high] = [lane, lane + 4].map(|lane| {
            let bytes = &keys[(first + lane).min(keys.len() - 1)][at..at + 16];
            // SAFETY: there are 16 bytes, and the instruction asks for no alignment.
            unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
        });
        let big_endian = _mm256_broadcastsi128_si256(_mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203));
        _mm256_shuffle_epi8(_mm256_inserti128_si256::<1>(_mm256_castsi128_si256(low), high), big_endian)
    };
    let [w0, w1, w2, w3] = transpose([load(0, 0), load(1, 0), load(2, 0), load(3, 0)]);
    let [_, _, w4, w5] = transpose([load(0, 8), load(1, 8), load(2, 8), load(3, 8)]);
    [w0, w1, w2, w3, w4, w5]
}

/// Each lane's digest as a row for [`base64`].
#[target_feature(enable = "avx2")]
#[inline]
fn rows([h0, h1, h2, h3, h4]: [__m256i; 5]) -> [__m256i; 8] {
    let [low, high] = [transpose([h0, h1, h2, h3]), transpose([h3, h4, _mm256_setzero_si256(), _mm256_setzero_si256()])];
    let mut rows = [_mm256_setzero_si256(); 8];
    for lane in 0..4 {
        rows[lane] = _mm256_permute2x128_si256::<0x20>(low[lane], high[lane]);
        rows[lane + 4] = _mm256_permute2x128_si256::<0x31>(low[lane], high[lane]);
    }
    rows
}

/// Rows become columns, in each half on its own.
#[target_feature(enable = "avx2")]
#[inline]
fn transpose([a, b, c, d]: [__m256i; 4]) -> [__m256i; 4] {
    let (ab_low, ab_high) = (_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
    let (cd_low, cd_high) = (_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
    [
        _mm256_unpacklo_epi64(ab_low, cd_low),
        _mm256_unpackhi_epi64(ab_low, cd_low),
        _mm256_unpacklo_epi64(ab_high, cd_high),
        _mm256_unpackhi_epi64(ab_high, cd_high),
    ]
}

/// Eight lanes.
#[derive(Clone, Copy)]
struct Avx2(__m256i);

/// Eight lanes where AVX-512 brings rotations and functions of three operands.
#[derive(Clone, Copy)]
struct Avx512Half(__m256i);

/// Sixteen lanes.
#[derive(Clone, Copy)]
struct Avx512(__m512i);

impl Lanes for Avx2 {
    #[inline(always)]
    fn splat(word: u32) -> Self {
        // SAFETY: only functions with AVX2 make these lanes, here as in all that follows.
        Avx2(unsafe { _mm256_set1_epi32(word.cast_signed()) })
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: as in `splat`.
        Avx2(unsafe { _mm256_add_epi32(self.0, other.0) })
    }
    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        // SAFETY: as in `splat`.
        Avx2(unsafe { _mm256_xor_si256(self.0, other.0) })
    }
    #[inline(always)]
    fn rotate<const LEFT: i32, const RIGHT: i32>(self) -> Self {
        // SAFETY: as in `splat`.
        Avx2(unsafe { _mm256_or_si256(_mm256_slli_epi32::<LEFT>(self.0), _mm256_srli_epi32::<RIGHT>(self.0)) })
    }
    #[inline(always)]
    fn opaque(self) -> Self {
        #[target_feature(enable = "avx2")]
        #[inline]
        fn opaque(mut word: __m256i) -> __m256i {
            // SAFETY: no instruction at all.
            unsafe { asm!("/* {0} */", inout(ymm_reg) word, options(pure, nomem, nostack, preserves_flags)) };
            word
        }
        // SAFETY: as in `splat`.
        Avx2(unsafe { opaque(self.0) })
    }
    #[inline(always)]
    fn choose(b: Self, c: Self, d: Self) -> Self {
        // SAFETY: as in `splat`.
        let kept = Avx2(unsafe { _mm256_and_si256(b.0, c.xor(d).0) });
        kept.xor(d)
    }
    #[inline(always)]
    fn parity(b: Self, c: Self, d: Self) -> Self {
        b.xor(c).xor(d)
    }
    #[inline(always)]
    fn majority(b: Self, c: Self, d: Self) -> Self {
        // SAFETY: as in `splat`.
        Avx2(unsafe { _mm256_or_si256(_mm256_and_si256(b.0, c.0), _mm256_and_si256(d.0, _mm256_or_si256(b.0, c.0))) })
    }
}

/// The lanes of AVX-512 at one width.
macro_rules! avx512_lanes {
    ($lanes:ident, $vector:ident, $register:ident, $splat:ident, $add:ident, $xor:ident, $rotate:ident, $function:ident) => {
        impl Lanes for $lanes {
            #[inline(always)]
            fn splat(word: u32) -> Self {
                // SAFETY: only functions with AVX-512 make these lanes, here as in all that follows.
                $lanes(unsafe { $splat(word.cast_signed()) })
            }
            #[inline(always)]
            fn add(self, other: Self) -> Self {
                // SAFETY: as in `splat`.
                $lanes(unsafe { $add(self.0, other.0) })
            }
            #[inline(always)]
            fn xor(self, other: Self) -> Self {
                // SAFETY: as in `splat`.
                $lanes(unsafe { $xor(self.0, other.0) })
            }
            #[inline(always)]
            fn rotate<const LEFT: i32, const RIGHT: i32>(self) -> Self {
                // SAFETY: as in `splat`.
                $lanes(unsafe { $rotate::<LEFT>(self.0) })
            }
            #[inline(always)]
            fn opaque(self) -> Self {
                #[target_feature(enable = "avx512f,avx512vl")]
                #[inline]
                fn opaque(mut word: $vector) -> $vector {
                    // SAFETY: no instruction at all.
                    unsafe { asm!("/* {0} */", inout($register) word, options(pure, nomem, nostack, preserves_flags)) };
                    word
                }
                // SAFETY: as in `splat`.
                $lanes(unsafe { opaque(self.0) })
            }
            // The immediates are the functions' truth tables: bit 4b + 2c + d is the answer for these three bits.
            #[inline(always)]
            fn choose(b: Self, c: Self, d: Self) -> Self {
                // SAFETY: as in `splat`.
                $lanes(unsafe { $function::<0b1100_1010>(b.0, c.0, d.0) })
            }
            #[inline(always)]
            fn parity(b: Self, c: Self, d: Self) -> Self {
                // SAFETY: as in `splat`.
                $lanes(unsafe { $function::<0b1001_0110>(b.0, c.0, d.0) })
            }
            #[inline(always)]
            fn majority(b: Self, c: Self, d: Self) -> Self {
                // SAFETY: as in `splat`.
                $lanes(unsafe { $function::<0b1110_1000>(b.0, c.0, d.0) })
            }
        }
    };
}

avx512_lanes!(
    Avx512Half,
    __m256i,
    ymm_reg,
    _mm256_set1_epi32,
    _mm256_add_epi32,
    _mm256_xor_si256,
    _mm256_rol_epi32,
    _mm256_ternarylogic_epi32
);
avx512_lanes!(Avx512, __m512i, zmm_reg, _mm512_set1_epi32, _mm512_add_epi32, _mm512_xor_si512, _mm512_rol_epi32, _mm512_ternarylogic_epi32);
