use proptest::prelude::*;

use super::{
    super::utf8::{is_valid_word, short_is_ascii},
    *,
};

/// Longer than any vector, and than four of the widest.
const TEXT_BYTES: usize = 330;
/// Places at which a character crosses an end of a vector, or of four.
const CROSSINGS: [std::ops::Range<usize>; 5] = [0..4, 12..20, 28..36, 60..68, 252..260];

fn check(bytes: &[u8]) {
    let expected = scalar::utf8(bytes);
    for kernels in available() {
        assert_eq!((kernels.utf8)(bytes), expected, "{}: {}", kernels.name, bytes.escape_ascii());
    }
    assert_eq!(short_is_ascii(bytes), bytes.is_ascii(), "{}", bytes.escape_ascii());
    if bytes.len() <= 8 {
        assert_eq!(is_valid_word(bytes), expected == Utf8Run::Valid, "{}", bytes.escape_ascii());
    }
}

/// Checks what `bytes` are at a place in ASCII, with ASCII behind it and at the end.
fn check_at(place: usize, bytes: &[u8]) {
    let mut text = [b'a'; TEXT_BYTES];
    text[place..place + bytes.len()].copy_from_slice(bytes);
    check(&text);
    check(&text[..place + bytes.len()]);
}

#[test]
fn incomplete_is_not_invalid() {
    on_each_backend(|kernels| {
        assert_eq!((kernels.utf8)("κόσμε".as_bytes()), Utf8Run::Valid);
        assert_eq!((kernels.utf8)(b"a\xf0\x9f\x98"), Utf8Run::Incomplete(1));
        assert_eq!((kernels.utf8)(b"a\xed\xa0"), Utf8Run::Invalid, "a surrogate shows in its second byte");
        assert_eq!((kernels.utf8)(b"\xf4\x90"), Utf8Run::Invalid, "so does a code point above U+10FFFF");
    });
}

#[test]
fn every_byte_value_at_every_position_of_a_vector() {
    for place in 0..130 {
        for byte in 0..=255 {
            check_at(place, &[byte]);
        }
    }
}

#[test]
fn every_pair_of_bytes() {
    for place in [0, 31, 62, 63, 255] {
        for pair in 0..=u16::MAX {
            check_at(place, &pair.to_be_bytes());
        }
    }
}

/// The first and last byte of each class by which RFC 3629 §4 tells characters apart.
const EDGES: [u8; 24] = [
    0, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5,
    0xff,
];

#[test]
fn every_class_of_three_and_of_four_bytes_across_every_end() {
    for place in CROSSINGS.into_iter().flatten() {
        for first in EDGES.into_iter().filter(|&byte| byte >= 0x80) {
            for second in EDGES {
                for third in EDGES {
                    check_at(place, &[first, second, third]);
                }
            }
        }
    }
    for place in [0, 29, 61, 62, 63, 253] {
        for first in EDGES.into_iter().filter(|&byte| byte >= 0xe0) {
            for second in EDGES {
                for third in EDGES {
                    for fourth in EDGES {
                        check_at(place, &[first, second, third, fourth]);
                    }
                }
            }
        }
    }
}

#[test]
fn every_truncation_of_every_length_of_character() {
    for character in ["a", "é", "߿", "ࠀ", "€", "\u{ffff}", "𐀀", "😀", "\u{10ffff}"] {
        for pad in 0..5 {
            let text = ["b".repeat(pad), character.repeat(100)].concat();
            for length in 0..=text.len() {
                check(&text.as_bytes()[..length]);
            }
        }
    }
}

proptest! {
    #[test]
    fn as_std(text in any_text()) {
        check(&text);
    }

    #[test]
    fn as_std_with_one_byte_wrong(mut text in any_text(), at: prop::sample::Index, byte: u8) {
        if !text.is_empty() {
            let at = at.index(text.len());
            text[at] = byte;
        }
        check(&text);
    }
}

fn any_text() -> impl Strategy<Value = Vec<u8>> {
    let runs = prop_oneof![
        3 => "[a-z]{0,300}",
        2 => "[à-ü]{0,80}",
        2 => "[一-龥]{0,60}",
        2 => "[😀-😿]{0,40}",
        1 => any::<String>(),
    ];
    (prop::collection::vec(runs, 0..6), 0..4usize).prop_map(|(runs, cut)| {
        let mut text = runs.concat().into_bytes();
        text.truncate(text.len().saturating_sub(cut));
        text
    })
}
