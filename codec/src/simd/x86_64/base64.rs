//! Base64 of a digest, after Muła and Lemire, "Faster Base64 Encoding and Decoding Using AVX2 Instructions".
//!
//! A digest comes as a row: its five words in the order of significance, the first four in the low half, and in the high half the fourth
//! again, the fifth and zeros. So each half holds the bytes of its own characters, 12 below and 8 above.

#![allow(unsafe_code)]

use std::arch::x86_64::*;

/// Writes a text as [`avx2`] and [`vbmi`] give it.
#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn store(accept: &mut [u8; 28], text: __m256i) {
    let (low, high) = (_mm256_castsi256_si128(text), _mm256_extracti128_si256::<1>(text));
    // SAFETY: each store is of 16 bytes, which there are from either place, and asks for no alignment.
    unsafe {
        _mm_storeu_si128(accept.as_mut_ptr().cast(), low);
        _mm_storeu_si128(accept.as_mut_ptr().add(12).cast(), _mm_alignr_epi8::<12>(high, low));
    }
}

/// The 28 characters of a row's digest, and 4 bytes without meaning.
#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn avx2(row: __m256i) -> __m256i {
    let triples = triples(row);
    // Shifts by multiplication: of two sextets to the right by 10 and 6 bits, of the two others to the left by 4 and 8.
    let right = _mm256_mulhi_epu16(_mm256_and_si256(triples, _mm256_set1_epi32(0x0fc0_fc00)), _mm256_set1_epi32(0x0400_0040));
    let left = _mm256_mullo_epi16(_mm256_and_si256(triples, _mm256_set1_epi32(0x003f_03f0)), _mm256_set1_epi32(0x0100_0010));
    let sextets = _mm256_or_si256(right, left);
    // The alphabet's ranges: 0 for small letters, 1 to 10 for the digits, 11 and 12 for the last two, and 13 for capitals.
    let range = _mm256_subs_epu8(sextets, _mm256_set1_epi8(51));
    let capital = _mm256_and_si256(_mm256_cmpgt_epi8(_mm256_set1_epi8(26), sextets), _mm256_set1_epi8(13));
    let distances = _mm256_broadcastsi128_si256(_mm_setr_epi8(71, -4, -4, -4, -4, -4, -4, -4, -4, -4, -4, -19, -16, 65, 0, 0));
    padded(_mm256_add_epi8(sextets, _mm256_shuffle_epi8(distances, _mm256_or_si256(range, capital))))
}

/// The same.
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl,avx512vbmi")]
#[inline]
pub(super) fn vbmi(row: __m256i) -> __m256i {
    static ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    // Each byte takes eight bits from where its sextet begins.
    let sextets = _mm256_multishift_epi64_epi8(_mm256_set1_epi64x(0x3036_242a_1016_040a), triples(row));
    // SAFETY: the alphabet is twice 32 bytes, and the instruction asks for no alignment.
    let (low, high) = unsafe { (_mm256_loadu_si256(ALPHABET.as_ptr().cast()), _mm256_loadu_si256(ALPHABET.as_ptr().add(32).cast())) };
    // The two bits above a sextet are not looked at.
    padded(_mm256_permutex2var_epi8(low, sextets, high))
}

/// The bytes 1, 0, 2, 1 of each three, so that a sextet lies in one 16-bit word.
#[target_feature(enable = "avx2")]
#[inline]
fn triples(row: __m256i) -> __m256i {
    // Byte `i` of the half's big-endian words is where `i ^ 3` is in memory.
    let order = _mm_setr_epi8(2, 3, 1, 2, 7, 0, 6, 7, 4, 5, 11, 4, 9, 10, 8, 9);
    _mm256_shuffle_epi8(row, _mm256_broadcastsi128_si256(order))
}

/// The last character becomes the padding; it was that of six zero bits.
#[target_feature(enable = "avx2")]
#[inline]
fn padded(text: __m256i) -> __m256i {
    _mm256_xor_si256(text, _mm256_setr_epi32(0, 0, 0, 0, 0, 0, i32::from(b'A' ^ b'=') << 24, 0))
}
