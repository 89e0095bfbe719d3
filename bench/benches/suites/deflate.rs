//! One message of a price feed in JSON compressed once, to be shared by all subscribers, and inflated. The peer is flate2 as it comes, with
//! miniz_oxide; ours is on zlib-rs.

use std::{fmt::Write, hint::black_box};

use criterion::{BenchmarkId, Criterion, Throughput};
use fantail_codec::deflate::{Deflater, Inflater};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

/// The server's default.
const LEVEL: u8 = 1;
const WINDOW_BITS: u8 = 15;
const MESSAGE_BYTES: usize = 1 << 10;
/// What RFC 7692 cuts off a message's end, and what its receiver puts back.
const SYNC_TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

pub fn suite(criterion: &mut Criterion) {
    let message = message();
    let parameter = message.len();
    let mut compressed = Vec::with_capacity(2 * MESSAGE_BYTES);

    let mut group = criterion.benchmark_group("deflate");
    group.throughput(Throughput::Bytes(message.len() as u64));
    let mut deflater = Deflater::new(LEVEL);
    group.bench_function(BenchmarkId::new("fantail", parameter), |bencher| {
        bencher.iter(|| {
            compressed.clear();
            deflater.message(WINDOW_BITS, black_box(&message), &mut compressed);
        });
    });
    let mut peer = Compress::new(Compression::new(LEVEL.into()), false);
    group.bench_function(BenchmarkId::new("flate2", parameter), |bencher| {
        bencher.iter(|| {
            compressed.clear();
            peer.reset();
            peer.compress_vec(black_box(&message), &mut compressed, FlushCompress::Sync).unwrap();
            compressed.truncate(compressed.len() - SYNC_TAIL.len());
        });
    });
    group.finish();

    compressed.clear();
    deflater.message(WINDOW_BITS, &message, &mut compressed);
    let mut inflated = Vec::with_capacity(2 * MESSAGE_BYTES);

    let mut group = criterion.benchmark_group("deflate-inflate");
    group.throughput(Throughput::Bytes(message.len() as u64));
    let mut inflater = Inflater::new();
    group.bench_function(BenchmarkId::new("fantail", parameter), |bencher| {
        bencher.iter(|| {
            inflated.clear();
            inflater.message(black_box(&compressed), false, 1 << 20, &mut inflated).unwrap();
        });
        assert_eq!(inflated, message);
    });
    let mut peer = Decompress::new(false);
    group.bench_function(BenchmarkId::new("flate2", parameter), |bencher| {
        bencher.iter(|| {
            inflated.clear();
            peer.reset(false);
            compressed.extend_from_slice(&SYNC_TAIL);
            peer.decompress_vec(black_box(&compressed), &mut inflated, FlushDecompress::Sync).unwrap();
            compressed.truncate(compressed.len() - SYNC_TAIL.len());
        });
        assert_eq!(inflated, message);
    });
}

fn message() -> Vec<u8> {
    let mut json = String::from("[");
    for i in 0.. {
        let _ = write!(
            json,
            r#"{{"symbol":"FN{:02}","price":{}.{:02},"volume":{},"time":{}}},"#,
            i * 7 % 89,
            80 + i * 37 % 61,
            i * 71 % 100,
            100 + i * 97 % 900,
            1_700_000_000 + i * 13
        );
        if json.len() >= MESSAGE_BYTES {
            break;
        }
    }
    json.truncate(MESSAGE_BYTES);
    json.into_bytes()
}
