//! The reference backend: plain Rust, byte by byte, the answers that every other backend is tested against.

use sha1::{Digest, Sha1};

use super::{
    HeadCarry, Indexed, Kernels, Utf8Run,
    head::{self, CLASSES, CONTROL, CR, Classes, TOKEN},
};

pub(super) static KERNELS: Kernels = Kernels { name: "scalar", index, mask, utf8, accept };

fn index(bytes: &[u8], carry: &mut HeadCarry, marks: &mut [u16]) -> Indexed {
    let classes = |block: &[u8]| {
        let mut classes = Classes { token: 0, control: 0, cr: 0 };
        for (bit, &byte) in block.iter().enumerate() {
            let of = |class: u8| u64::from(CLASSES[usize::from(byte)] & class != 0) << bit;
            classes.token |= of(TOKEN);
            classes.control |= of(CONTROL);
            classes.cr |= of(CR);
        }
        classes
    };
    head::index(bytes, carry, marks, classes, head::write)
}

pub(super) fn mask(payload: &mut [u8], key: [u8; 4]) {
    let wide = u64::from_ne_bytes([key[0], key[1], key[2], key[3], key[0], key[1], key[2], key[3]]);
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

pub(super) fn utf8(bytes: &[u8]) -> Utf8Run {
    match std::str::from_utf8(bytes) {
        Ok(_) => Utf8Run::Valid,
        Err(error) if error.error_len().is_none() => Utf8Run::Incomplete(error.valid_up_to()),
        Err(_) => Utf8Run::Invalid,
    }
}

pub(super) fn accept(keys: &[[u8; 24]], accepts: &mut [[u8; 28]]) {
    for (key, accept) in keys.iter().zip(accepts) {
        let mut sha1 = Sha1::new();
        sha1.update(key);
        sha1.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
        let _ = base64_simd::STANDARD.encode(&sha1.finalize(), base64_simd::Out::from_slice(accept));
    }
}
