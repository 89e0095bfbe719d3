//! The reference backend: plain Rust, the answers that every other backend is tested against.

use sha1::{Digest, Sha1};

use super::{BLOCK_BYTES, Bitmaps, Kernels, Utf8Run};

pub(super) static KERNELS: Kernels = Kernels { name: "scalar", classify, mask, utf8, accept };

const NOT_TOKEN: u8 = 1;
const NOT_VALUE: u8 = 2;

/// Both properties of each byte value.
static CLASS: [u8; 256] = {
    let mut class = [NOT_TOKEN; 256];
    let mut byte = 0;
    while byte < 256 {
        if (byte < 0x20 && byte != 0x09) || byte == 0x7f {
            class[byte] |= NOT_VALUE;
        }
        byte += 1;
    }
    let tchar = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut i = 0;
    while i < tchar.len() {
        class[tchar[i] as usize] = 0;
        i += 1;
    }
    class
};

fn classify(bytes: &[u8], maps: &mut [Bitmaps]) -> usize {
    for (map, block) in maps.iter_mut().zip(bytes.chunks(BLOCK_BYTES)) {
        *map = Bitmaps::default();
        for (bit, &byte) in block.iter().enumerate() {
            let class = CLASS[usize::from(byte)];
            map.not_token |= u64::from(class & NOT_TOKEN) << bit;
            map.not_value |= u64::from(class >> 1) << bit;
        }
    }
    bytes.len().min(maps.len() * BLOCK_BYTES)
}

fn mask(payload: &mut [u8], key: [u8; 4]) {
    let wide = u64::from_ne_bytes([key[0], key[1], key[2], key[3], key[0], key[1], key[2], key[3]]);
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

fn utf8(bytes: &[u8]) -> Utf8Run {
    match std::str::from_utf8(bytes) {
        Ok(_) => Utf8Run::Valid,
        Err(error) if error.error_len().is_none() => Utf8Run::Incomplete(error.valid_up_to()),
        Err(_) => Utf8Run::Invalid,
    }
}

fn accept(keys: &[[u8; 24]], digests: &mut [[u8; 20]]) {
    for (key, digest) in keys.iter().zip(digests) {
        let mut sha1 = Sha1::new();
        sha1.update(key);
        sha1.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
        *digest = sha1.finalize().into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_value_at_every_position_of_a_block() {
        for position in 0..BLOCK_BYTES {
            for byte in 0..=255u8 {
                let mut block = [b'a'; BLOCK_BYTES];
                block[position] = byte;
                let mut maps = [Bitmaps::default()];
                assert_eq!(classify(&block, &mut maps), BLOCK_BYTES);
                let tchar = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
                let value = byte == b'\t' || (0x20..=0x7e).contains(&byte) || byte >= 0x80;
                assert_eq!(maps[0], Bitmaps { not_token: u64::from(!tchar) << position, not_value: u64::from(!value) << position });
            }
        }
    }

    #[test]
    fn the_mask_meets_every_length() {
        for length in 0..300usize {
            let mut payload: Vec<u8> = (0..length).map(|i| i as u8).collect();
            mask(&mut payload, [1, 2, 4, 8]);
            assert!(payload.iter().enumerate().all(|(i, &byte)| byte == i as u8 ^ (1 << (i % 4))));
        }
    }

    #[test]
    fn utf8_tells_incomplete_from_invalid() {
        assert_eq!(utf8("κόσμε".as_bytes()), Utf8Run::Valid);
        assert_eq!(utf8(b"a\xf0\x9f\x98"), Utf8Run::Incomplete(1));
        assert_eq!(utf8(b"a\xed\xa0"), Utf8Run::Invalid, "a surrogate shows in its second byte");
        assert_eq!(utf8(b"\xf4\x90"), Utf8Run::Invalid, "so does a code point above U+10FFFF");
    }
}
