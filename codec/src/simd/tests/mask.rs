use proptest::prelude::*;

use super::{super::mask, *};

/// Every backend's kernel, and what masks short payloads in line.
fn on_each_mask(test: impl Fn(&str, fn(&mut [u8], [u8; 4]))) {
    on_each_backend(|kernels| test(kernels.name, kernels.mask));
    test("short", mask::short);
}

/// Masks a part of `buffer` and compares all of it with what RFC 6455 §5.3 says, byte by byte.
fn check(name: &str, mask: fn(&mut [u8], [u8; 4]), buffer: &mut [u8], start: usize, length: usize, key: [u8; 4]) {
    let mut expected = buffer.to_vec();
    for (i, byte) in expected[start..start + length].iter_mut().enumerate() {
        *byte ^= key[i % 4];
    }
    mask(&mut buffer[start..start + length], key);
    assert!(*buffer == *expected, "{name}: {length} bytes at {start}, key {key:?}");
}

/// A buffer of different bytes, from a boundary of the widest vector on.
#[repr(align(64))]
struct Aligned([u8; 512]);

impl Aligned {
    fn new() -> Aligned {
        Aligned(std::array::from_fn(|i| (i * 7 + i / 256) as u8))
    }
}

#[test]
fn every_length_at_every_alignment_and_nothing_around_it() {
    on_each_mask(|name, mask| {
        let mut buffer = Aligned::new();
        for start in 0..64 {
            for length in 0..=300 {
                check(name, mask, &mut buffer.0, start, length, [0x37, 0xfa, 0x21, 0x3d]);
            }
        }
    });
}

#[test]
fn every_phase_of_the_key() {
    on_each_mask(|name, mask| {
        let mut key = [1, 0x20, 0x80, 0xff];
        for _ in 0..4 {
            for length in 0..=300 {
                check(name, mask, &mut Aligned::new().0, 1, length, key);
            }
            key.rotate_left(1);
        }
    });
}

/// Long ones are masked from a vector's boundary on.
#[test]
fn long_payloads_at_every_alignment() {
    on_each_mask(|name, mask| {
        let mut buffer: Vec<u8> = (0..2000).map(|i| i as u8).collect();
        for start in 0..64 {
            for length in (1000..1160).chain([1900]) {
                check(name, mask, &mut buffer, start, length, [0x37, 0xfa, 0x21, 0x3d]);
            }
        }
    });
}

proptest! {
    #[test]
    fn as_the_rfc_says(buffer in prop::collection::vec(any::<u8>(), 0..5000), from: prop::sample::Index, to: prop::sample::Index, key: [u8; 4]) {
        let (from, to) = (from.index(buffer.len() + 1), to.index(buffer.len() + 1));
        let (start, end) = (from.min(to), from.max(to));
        on_each_mask(|name, mask| check(name, mask, &mut buffer.clone(), start, end - start, key));
    }
}
