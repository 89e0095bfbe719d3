//! Accept values of so many keys: batched by ours, one by one by the crates `sha1` and `base64`. `sha1` alone leaves the text out.

use std::hint::black_box;

use base64::{Engine, prelude::BASE64_STANDARD};
use criterion::{BenchmarkId, Criterion, Throughput};
use fantail_codec::accept::{self, ACCEPT_BYTES, Accept, Key};
use sha1::{Digest, Sha1};

use crate::parameters;

pub fn suite(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("accept");
    for count in parameters(&[1, 4, 16, 64], &[1, 16]) {
        let keys: Vec<Key> = (0..count).map(|i| Key::from_nonce([i as u8; 16])).collect();
        let mut accepts: Vec<Accept> = vec![[0; ACCEPT_BYTES]; count];
        let expected: Vec<Accept> = keys.iter().map(|key| plain(key.as_str().as_bytes())).collect();
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(BenchmarkId::new("fantail", count), |bencher| {
            bencher.iter(|| {
                accept::hash(black_box(&keys), |i, accept| accepts[i] = *accept);
                black_box(&mut accepts);
            });
            assert_eq!(accepts, expected);
        });
        group.bench_function(BenchmarkId::new("sha1+base64", count), |bencher| {
            bencher.iter(|| {
                for (key, accept) in black_box(&keys).iter().zip(&mut accepts) {
                    *accept = plain(key.as_str().as_bytes());
                }
                black_box(&mut accepts);
            });
        });
        let mut digests = vec![[0; 20]; count];
        group.bench_function(BenchmarkId::new("sha1", count), |bencher| {
            bencher.iter(|| {
                for (key, digest) in black_box(&keys).iter().zip(&mut digests) {
                    *digest = sha1(key.as_str().as_bytes());
                }
                black_box(&mut digests);
            });
        });
    }
}

/// As one writes it with these crates.
pub fn plain(key: &[u8]) -> Accept {
    let mut accept = [0; ACCEPT_BYTES];
    BASE64_STANDARD.encode_slice(sha1(key), &mut accept).unwrap();
    accept
}

fn sha1(key: &[u8]) -> [u8; 20] {
    let mut sha1 = Sha1::new();
    sha1.update(key);
    sha1.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    sha1.finalize().into()
}
