use std::ops::RangeInclusive;

use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};

use super::{super::scalar, *};

type Key = [u8; 24];

const KEYS_MAX: usize = 70;

/// Runs a test on every backend, and on each way to hash that its kernel chooses from, whatever it would choose here; with the sizes of
/// batches that it takes.
fn on_each_way(test: impl Fn(&str, fn(&[Key], &mut [[u8; 28]]), RangeInclusive<usize>)) {
    on_each_backend(|kernels| test(kernels.name, kernels.accept, 0..=KEYS_MAX));
    let mut names = Vec::new();
    for (name, way, keys_max) in arch::accept::ways() {
        test(name, way, 1..=keys_max.min(KEYS_MAX));
        names.push(name);
    }
    println!("and on {}", names.join(", "));
}

fn accepts(way: fn(&[Key], &mut [[u8; 28]]), keys: &[Key]) -> Vec<String> {
    let mut accepts = vec![[0; 28]; keys.len()];
    way(keys, &mut accepts);
    accepts.into_iter().map(|accept| String::from_utf8_lossy(&accept).into_owned()).collect()
}

/// Keys of any bytes: that they are base64 is no kernel's concern.
fn any_keys(sizes: RangeInclusive<usize>) -> impl Strategy<Value = Vec<Key>> {
    prop::collection::vec(any::<Key>(), sizes)
}

#[test]
fn the_rfc_s_example_alone_and_in_every_lane() {
    on_each_way(|name, way, sizes| {
        for count in sizes {
            let expected = vec!["s3pPLMBiTxaQ9kYGzzhZRbK+xOo="; count];
            assert_eq!(accepts(way, &vec![*b"dGhlIHNhbXBsZSBub25jZQ=="; count]), expected, "{name}");
        }
    });
}

#[test]
fn every_batch_size() {
    let mut runner = TestRunner::deterministic();
    let keys = any_keys(KEYS_MAX..=KEYS_MAX).new_tree(&mut runner).unwrap().current();
    let expected = accepts(scalar::accept, &keys);
    on_each_way(|name, way, sizes| {
        for count in sizes {
            // From either end, so that a key meets several lanes.
            assert_eq!(accepts(way, &keys[..count]), expected[..count], "{name} {count}");
            assert_eq!(accepts(way, &keys[KEYS_MAX - count..]), expected[KEYS_MAX - count..], "{name} {count}");
        }
    });
}

proptest! {
    #[test]
    fn all_give_what_scalar_gives(keys in any_keys(1..=KEYS_MAX)) {
        let expected = accepts(scalar::accept, &keys);
        on_each_way(|name, way, sizes| {
            let count = keys.len().min(*sizes.end());
            assert_eq!(accepts(way, &keys[..count]), expected[..count], "{name}");
        });
    }
}
