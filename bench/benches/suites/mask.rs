//! Payloads masked in place, beside a copy of as many bytes. tungstenite's function is private, and fastwebsockets' the same one, published;
//! that of tokio-websockets is private too, and takes part in `frame`.

use std::hint::black_box;

use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, measurement::WallTime};
use fantail_codec::frame::apply_mask;

use crate::parameters;

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// An iteration goes through as many payloads as lie in so many bytes, each behind a header, as a receive buffer holds them.
const BUFFER_BYTES: usize = 32 << 10;
const HEADER_BYTES: usize = 6;

const SIZES: [usize; 12] = [1, 4, 8, 16, 32, 64, 125, 256, 1 << 10, 4 << 10, 64 << 10, 1 << 20];

pub fn suite(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mask");
    for size in parameters(&SIZES, &[1, 64, 4 << 10]) {
        each_payload(&mut group, "fantail", size, |payload, _| apply_mask(payload, black_box(KEY)));
        each_payload(&mut group, "fastwebsockets", size, |payload, _| fastwebsockets::unmask(payload, black_box(KEY)));
        each_payload(&mut group, "memcpy", size, |payload, copy| copy.copy_from_slice(payload));
    }
}

/// Hands `work` each payload of a buffer, and the same place of another one.
#[inline(always)]
fn each_payload(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, size: usize, work: impl Fn(&mut [u8], &mut [u8])) {
    let frame = size + HEADER_BYTES;
    let payloads = BUFFER_BYTES.div_ceil(frame);
    let (mut buffer, mut other) = (vec![0x55; payloads * frame], vec![0; payloads * frame]);
    group.throughput(Throughput::Bytes((payloads * size) as u64));
    group.bench_function(BenchmarkId::new(name, size), |bencher| {
        bencher.iter(|| {
            for at in (0..payloads * frame).step_by(frame) {
                // In a stream the next length is not known beforehand.
                let payload = at + HEADER_BYTES..at + HEADER_BYTES + black_box(size);
                work(&mut buffer[payload.clone()], &mut other[payload]);
            }
            black_box((&mut buffer, &mut other));
        });
    });
}
