use proptest::prelude::*;

use super::{super::scalar, *};

/// The index by its definition in [`HeadCarry`], byte by byte; the bytes begin in a start line.
fn reference(bytes: &[u8]) -> Vec<usize> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let mut marks = Vec::new();
    let mut in_name = false;
    for (at, &byte) in bytes.iter().enumerate() {
        let after_cr = at > 0 && bytes[at - 1] == b'\r';
        let name_ends = in_name && !is_token(byte);
        let control = byte != b'\t' && byte != b'\r' && byte.is_ascii_control();
        if name_ends || after_cr || control {
            marks.push(at);
        }
        in_name = (in_name && !name_ends) || (after_cr && control);
    }
    marks
}

/// The marks that a backend finds in calls with room for so many, the rest of each given again.
fn indexed(kernels: &Kernels, bytes: &[u8], room: usize) -> Vec<usize> {
    let mut carry = HeadCarry::default();
    let (mut base, mut found) = (0, Vec::new());
    loop {
        let mut marks = vec![u16::MAX; room];
        let indexed = (kernels.index)(&bytes[base..], &mut carry, &mut marks);
        assert!(indexed.bytes == bytes.len() - base || (indexed.bytes > 0 && indexed.marks + BLOCK_BYTES > room), "{}", kernels.name);
        found.extend(marks[..indexed.marks].iter().map(|&mark| base + usize::from(mark)));
        base += indexed.bytes;
        if base == bytes.len() {
            return found;
        }
    }
}

#[test]
fn every_byte_value_at_every_position_of_a_vector() {
    on_each_backend(|kernels| {
        for position in 0..BLOCK_BYTES {
            for byte in 0..=255 {
                // In a name, in a value, and behind a CR.
                for before in [&b"\r\n"[..], b"\r\n:", b"\r"] {
                    let mut bytes = vec![b'a'; position];
                    bytes.extend_from_slice(before);
                    bytes.push(byte);
                    bytes.extend_from_slice(b"a:\r\n\r\nGET");
                    assert_eq!(indexed(kernels, &bytes, 2 * BLOCK_BYTES), reference(&bytes), "{} at {position}: {byte:#x}", kernels.name);
                }
            }
        }
    });
}

#[test]
fn every_prefix_and_every_place_of_a_block_s_end() {
    let head = b"GET / HTTP/1.1\r\nHost: a\r\nX-Long-Name-Beyond-A-Block-0123456789-0123456789-0123456789-0123456789: b\r\nEmpty:\r\n\r\n";
    on_each_backend(|kernels| {
        for pad in 0..=BLOCK_BYTES {
            let bytes = [&vec![b'x'; pad], &head[..]].concat();
            for length in 0..=bytes.len() {
                assert_eq!(indexed(kernels, &bytes[..length], BLOCK_BYTES + pad), reference(&bytes[..length]), "{}", kernels.name);
            }
        }
    });
}

proptest! {
    #[test]
    fn all_find_what_the_reference_finds(
        pieces in prop::collection::vec(
            prop_oneof![
                4 => "[A-Za-z-]{0,80}".prop_map(String::into_bytes),
                4 => Just(b"\r\n".to_vec()),
                2 => Just(b": ".to_vec()),
                1 => Just(b"\r".to_vec()),
                1 => prop::collection::vec(any::<u8>(), 0..70),
            ],
            0..30,
        ),
        room in BLOCK_BYTES..4 * BLOCK_BYTES,
    ) {
        let bytes = pieces.concat();
        let expected = reference(&bytes);
        on_each_backend(|kernels| assert_eq!(indexed(kernels, &bytes, room), expected, "{}", kernels.name));
    }

    /// What is carried from block to block is the same too, so that backends could even take turns.
    #[test]
    fn all_carry_the_same(bytes in prop::collection::vec(prop::sample::select(b"a:\r\n \0".to_vec()), 128..129)) {
        let mut expected = HeadCarry::default();
        (scalar::KERNELS.index)(&bytes, &mut expected, &mut [0; 128]);
        on_each_backend(|kernels| {
            let mut carry = HeadCarry::default();
            (kernels.index)(&bytes, &mut carry, &mut [0; 128]);
            assert_eq!(carry, expected, "{}", kernels.name);
        });
    }
}
