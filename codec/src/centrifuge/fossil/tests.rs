use proptest::{collection::vec, prelude::*, sample::Index};

use super::apply::{Piece, Reader};
use super::*;

fn delta(base: &[u8], target: &[u8]) -> Option<Vec<u8>> {
    let mut out = b"before".to_vec();
    let smaller = Differ::default().delta(base, target, &mut out);
    let delta = out.split_off(b"before".len());
    assert_eq!(out, b"before");
    assert_eq!(smaller, !delta.is_empty());
    smaller.then_some(delta)
}

/// The delta of what differs little, which must be there, be right and be smaller.
#[track_caller]
fn small_delta(base: &[u8], target: &[u8]) -> Vec<u8> {
    let delta = delta(base, target).expect("a delta smaller than the target");
    assert!(delta.len() < target.len());
    assert_eq!(apply(base, &delta, target.len()).as_deref(), Ok(target));
    delta
}

/// The delta however large it comes out, so that a search which finds nothing is tested too.
fn any_delta(differ: &mut Differ, base: &[u8], target: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    differ.write(base, target, &mut out);
    out
}

fn noise(len: usize) -> Vec<u8> {
    let mut state = 1u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    iter::repeat_with(next).take(len).collect()
}

/// The number in Fossil's `delta_format.wiki`, §1.1, §1.2 and §1.3.
#[test]
fn the_numbers_of_the_format_description() {
    let numbers = [
        ("1Xb", 6246),
        ("2zMM3E", 3_193_528_526),
        ("4E", 270),
        ("FN", 983),
        ("4C", 268),
        ("1B", 75),
        ("Jd", 1256),
        ("0", 0),
        ("3~~~~~", u32::MAX),
    ];
    for (text, number) in numbers {
        let mut out = Vec::new();
        put_number(&mut out, number as usize);
        assert_eq!(out, text.as_bytes());
        let mut reader = Reader { base: b"", delta: text.as_bytes(), at: 0 };
        assert_eq!(reader.number(), Ok(number as usize));
    }
}

/// As npm's `fossil-delta` 2.0.0 makes them: another's search takes other copies, but the checksums are the same.
#[test]
fn the_deltas_of_another_implementation_apply() {
    let known = [
        (
            r#"{"symbol":"AAPL","price":187.23,"volume":1200}"#,
            r#"{"symbol":"AAPL","price":187.24,"volume":1201}"#,
            "j\nU@0,G:4,\"volume\":1201}",
            "1DYecy;",
        ),
        ("", "abc", "3\n3:abc", "1XObC0;"),
        ("abc", "", "0\n", "0;"),
        (
            "The quick brown fox jumps over the lazy dog; and then it jumps once again.",
            "And then it jumps once again: The quick brown fox jumps over the lazy dog!",
            "1A\n1:AR@j,2:: g@0,1:!",
            "3D~HnJ;",
        ),
        (
            "Der Fluß führt über Köln nach Düsseldorf, sagt man.",
            "Der Fluß führt über Bonn nach Düsseldorf, sagte man.",
            "t\nN@0,3:BonO@R,6:e man.",
            "13Va63;",
        ),
    ];
    for (base, target, pieces, trailer) in known {
        let theirs = [pieces, trailer].concat();
        assert_eq!(apply(base.as_bytes(), theirs.as_bytes(), target.len()).as_deref(), Ok(target.as_bytes()));
        let ours = any_delta(&mut Differ::default(), base.as_bytes(), target.as_bytes());
        assert!(ours.ends_with(trailer.as_bytes()));
    }
}

#[test]
fn a_tick_takes_its_changed_fields_only() {
    let base = br#"{"symbol":"AAPL","price":187.23,"bid":187.22,"ask":187.24,"volume":51200300,"time":1718000000123}"#;
    let target = br#"{"symbol":"AAPL","price":187.31,"bid":187.22,"ask":187.24,"volume":51200300,"time":1718000000161}"#;
    assert_eq!(small_delta(base, target), b"1X\nT@0,2:31~@V,3:61}2UXej6;");
}

#[test]
fn a_field_that_grows_does_not_end_the_search_beside_it() {
    let base = br#"{"symbol":"AAPL","price":99.98,"bid":99.97,"volume":999,"trades":12,"exchange":"XNAS"}"#;
    let target = br#"{"symbol":"AAPL","price":100.02,"bid":100.01,"volume":1004,"trades":13,"exchange":"XNAS"}"#;
    assert!(small_delta(base, target).len() < 60);
}

#[test]
fn equal_texts_are_one_copy() {
    assert_eq!(small_delta(&[b'a'; 100], &[b'a'; 100]), b"1_\n1_@0,22Wd9u;");
}

#[test]
fn nothing_smaller_is_no_delta() {
    let noise = noise(64 << 10);
    for (base, target) in [(&b""[..], &b""[..]), (b"", b"abc"), (b"abc", b""), (b"abc", b"abc"), (&noise[..1000], &noise[2000..])] {
        assert_eq!(delta(base, target), None);
    }
}

#[test]
fn blocks_are_found_where_they_moved() {
    let noise = noise(64 << 10);
    let swapped = [&noise[40_000..], &noise[..40_000]].concat();
    assert!(small_delta(&noise, &swapped).len() < 40);
    assert!(small_delta(&noise, &noise.repeat(2)).len() < 60);
    assert!(small_delta(&vec![b'a'; 64 << 10], &vec![b'a'; 200_000]).len() < 80);
}

/// JavaScript clients fail on larger ones.
#[test]
fn no_copy_and_no_insert_is_larger_than_32_kib() {
    let (base, inserted) = (noise(100_000), "€".repeat(30_000));
    let delta = small_delta(&base, &[&base, inserted.as_bytes(), &base].concat());
    let mut reader = Reader { base: &base, delta: &delta, at: delta.iter().position(|&byte| byte == b'\n').expect("LF") + 1 };
    while let Ok(Piece::Bytes(bytes)) = reader.piece() {
        assert!(bytes.len() <= PIECE_BYTES_MAX);
        assert!(bytes[0] != 0xe2 || std::str::from_utf8(bytes).is_ok());
    }
    assert_eq!(reader.at, delta.len());
}

#[test]
fn the_memory_of_a_large_base_is_given_back() {
    let mut differ = Differ::default();
    let (small, large) = (noise(64 << 10), noise(1 << 20));
    for (base, kept) in [(&small, true), (&large, false), (&small, true)] {
        any_delta(&mut differ, base, &[&base[1000..], &base[..1000]].concat());
        assert_eq!(differ.next.capacity() + differ.heads.capacity() > 0, kept);
        assert!(differ.next.capacity() <= BLOCKS_KEPT && differ.heads.capacity() <= BLOCKS_KEPT);
    }
}

#[test]
fn what_is_wrong_with_a_delta_is_told_with_its_place() {
    let base = b"0123456789";
    let cases = [
        (&b""[..], 0, "a number of 32 bits in base 64"),
        (b"4000000\n", 0, "a number of 32 bits in base 64"),
        (b"1_\n", 0, "a size of the target that is accepted here"),
        (b"3;", 1, "LF behind the size of the target"),
        (b"3\n", 2, "a number of 32 bits in base 64"),
        (b"3\n3", 3, "`@`, `:` or `;` behind a number"),
        (b"3\n3!", 3, "`@`, `:` or `;` behind a number"),
        (b"3\n3@8,", 2, "a copy of bytes that the base has"),
        (b"3\n3@3~~~~~,", 2, "a copy of bytes that the base has"),
        (b"3\n3@0", 5, "`,` behind a copy"),
        (b"3\n3:ab", 2, "an insert of bytes that the delta has"),
        (b"3\n3:abc1:d", 7, "no more than the target's size in all"),
        (b"3\n2:ab0;", 6, "as much as the target's size in all"),
        (b"3\n3:abc1XObC0;;", 14, "nothing behind the checksum"),
        (b"3\n3:abc1XObC1;", 7, "the checksum of the target: is this its base?"),
    ];
    for (delta, at, expected) in cases {
        assert_eq!(apply(base, delta, 99), Err(MalformedDelta { at, expected }), "{:?}", str::from_utf8(delta));
    }
    let error = MalformedDelta { at: 5, expected: "`,` behind a copy" };
    assert_eq!(error.to_string(), "byte 5 of the delta: expected `,` behind a copy");
}

/// An edit of a text, by places that are taken relative to its length.
#[derive(Clone, Debug)]
enum Edit<T> {
    Insert(Index, Vec<T>),
    Delete(Index, usize),
    Replace(Index, Vec<T>),
    Swap(Index, Index),
}

fn edit<T: Clone + std::fmt::Debug>(element: impl Strategy<Value = T> + Clone + 'static) -> impl Strategy<Value = Edit<T>> {
    prop_oneof![
        (any::<Index>(), vec(element.clone(), 0..40)).prop_map(|(at, inserted)| Edit::Insert(at, inserted)),
        (any::<Index>(), 0..40usize).prop_map(|(at, deleted)| Edit::Delete(at, deleted)),
        (any::<Index>(), vec(element, 0..10)).prop_map(|(at, replaced)| Edit::Replace(at, replaced)),
        any::<(Index, Index)>().prop_map(|(first, second)| Edit::Swap(first, second)),
    ]
}

fn edited<T: Clone>(text: &[T], edits: &[Edit<T>]) -> Vec<T> {
    let mut text = text.to_vec();
    for edit in edits {
        let place = |index: &Index| index.index(text.len() + 1);
        match edit {
            Edit::Insert(at, inserted) => drop(text.splice(place(at)..place(at), inserted.iter().cloned())),
            Edit::Delete(at, deleted) => drop(text.drain(place(at)..text.len().min(place(at) + deleted))),
            Edit::Replace(at, replaced) => {
                drop(text.splice(place(at)..text.len().min(place(at) + replaced.len()), replaced.iter().cloned()));
            }
            Edit::Swap(first, second) => {
                let (first, second) = (place(first).min(place(second)), place(first).max(place(second)));
                text = [&text[first..second], &text[..first], &text[second..]].concat();
            }
        }
    }
    text
}

/// Few different elements repeat a lot, many do not.
fn text<T: Clone + std::fmt::Debug>(element: impl Strategy<Value = T> + Clone + 'static) -> impl Strategy<Value = (Vec<T>, Vec<T>)> {
    (vec(element.clone(), 0..600), vec(edit(element), 0..6)).prop_map(|(base, edits)| {
        let target = edited(&base, &edits);
        (base, target)
    })
}

fn bytes() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    prop_oneof![text(any::<u8>()), text(0..2u8), text(0x78..0xc8u8), any::<(Vec<u8>, Vec<u8>)>()]
}

/// Characters of one to four bytes, some of which share their first or last ones.
fn characters() -> impl Strategy<Value = (String, String)> {
    let few = prop::sample::select(vec!['a', 'é', 'è', 'ш', '€', '₩', '中', '😀', '😁', '🨀']);
    prop_oneof![text(any::<char>()), text(few)].prop_map(|(base, target)| (base.iter().collect(), target.iter().collect()))
}

proptest! {
    #[test]
    fn any_edit_round_trips(pairs in vec(bytes(), 1..4)) {
        let mut differ = Differ::default();
        for (base, target) in pairs {
            let delta = any_delta(&mut differ, &base, &target);
            prop_assert_eq!(apply(&base, &delta, target.len()), Ok(target.clone()));
            // At worst a head, one insert and the checksum are more than the target.
            prop_assert!(delta.len() <= target.len() + 16);
        }
    }

    #[test]
    fn the_delta_of_a_text_is_a_text((base, target) in characters()) {
        let delta = any_delta(&mut Differ::default(), base.as_bytes(), target.as_bytes());
        prop_assert!(str::from_utf8(&delta).is_ok());
        prop_assert_eq!(apply(base.as_bytes(), &delta, target.len()), Ok(target.into_bytes()));
    }

    #[test]
    fn a_broken_delta_is_refused((base, target) in bytes(), cut: Index, flip: Index, bit in 0..8) {
        let mut delta = any_delta(&mut Differ::default(), &base, &target);
        prop_assert!(apply(&base, &delta[..cut.index(delta.len())], target.len()).is_err());
        let flip = flip.index(delta.len());
        delta[flip] ^= 1u8 << bit;
        // A copy may have moved to where the same bytes are; the sum of words does not see two that changed places.
        if let Ok(made) = apply(&base, &delta, target.len()) {
            prop_assert_eq!(checksum(&made), checksum(&target));
        }
    }

    #[test]
    fn any_bytes_are_no_panic(base: Vec<u8>, noise: Vec<u8>, pieces in vec((0..80u32, prop::sample::select(b"@,:;\n".to_vec())), 0..20)) {
        let numbers = pieces.iter().flat_map(|&(number, operator)| {
            let mut piece = Vec::new();
            put_number(&mut piece, number as usize);
            piece.push(operator);
            piece
        });
        for delta in [numbers.collect(), noise] {
            if let Ok(target) = apply(&base, &delta, 100) {
                prop_assert!(target.len() <= 100 && target.capacity() <= 100);
            }
        }
    }
}
