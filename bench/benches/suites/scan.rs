//! Requests' heads scanned for their fields, which httparse gives as pointers and ours as positions, the known ones by name. Both reuse
//! their memory for fields.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use fantail_codec::{
    http1::{HeadScan, Progress},
    limits::HttpLimits,
};

use crate::{parameters, requests};

pub fn suite(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("scan");
    for (name, request) in parameters(&requests::ALL, &requests::ALL) {
        group.throughput(Throughput::Bytes(request.len() as u64));
        let mut scan = HeadScan::default();
        group.bench_function(BenchmarkId::new("fantail", name), |bencher| {
            bencher.iter(|| {
                scan.reset();
                let progress = scan.advance(black_box(request), &HttpLimits::DEFAULT);
                assert_eq!(progress, Ok(Progress::Complete(request.len())));
                black_box(&scan);
            });
        });
        let mut headers = [httparse::EMPTY_HEADER; 64];
        group.bench_function(BenchmarkId::new("httparse", name), |bencher| {
            bencher.iter(|| {
                let mut parsed = httparse::Request::new(&mut headers);
                let status = parsed.parse(black_box(request));
                assert_eq!(status, Ok(httparse::Status::Complete(request.len())));
                black_box(&parsed);
            });
        });
    }
}
