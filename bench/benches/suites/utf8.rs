//! Whole texts validated. simdutf8's `basic` flavour is its fastest.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use fantail_codec::frame::Utf8;

use crate::parameters;

/// A text of each kind, to be repeated.
const TEXTS: [(&str, &str); 5] = [
    ("ascii", "The quick brown fox jumps over the lazy dog, and nobody minds. "),
    ("latin", "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich; à Noël, où un zéphyr haï me vêt de glaçons. "),
    ("cjk", "天地玄黃宇宙洪荒日月盈昃辰宿列張寒來暑往秋收冬藏。いろはにほへとちりぬるを"),
    ("emoji", "🚀🌍🎉😀👍🔥💯🐙"),
    ("json", r#"{"symbol":"FNTL","price":101.25,"volume":120,"name":"Fächer AG","note":"€"},"#),
];

const SIZES: [usize; 9] = [8, 16, 32, 64, 125, 256, 1 << 10, 4 << 10, 64 << 10];

pub fn suite(criterion: &mut Criterion) {
    for (name, text) in parameters(&TEXTS, &[TEXTS[0], TEXTS[2]]) {
        let mut group = criterion.benchmark_group(format!("utf8-{name}"));
        for size in parameters(&SIZES, &[64, 4 << 10]) {
            let text = of_size(text, size);
            let text = text.as_bytes();
            group.throughput(Throughput::Bytes(size as u64));
            group.bench_function(BenchmarkId::new("fantail", size), |bencher| bencher.iter(|| Utf8::check(black_box(text)).is_ok()));
            group.bench_function(BenchmarkId::new("simdutf8", size), |bencher| {
                bencher.iter(|| simdutf8::basic::from_utf8(black_box(text)).is_ok());
            });
            group.bench_function(BenchmarkId::new("std", size), |bencher| bencher.iter(|| std::str::from_utf8(black_box(text)).is_ok()));
        }
    }
}

/// The text repeated up to so many bytes; what is left of them behind the last whole character is spaces.
fn of_size(text: &str, size: usize) -> String {
    let mut repeated = text.repeat(size.div_ceil(text.len()));
    repeated.truncate(repeated.floor_char_boundary(size));
    format!("{repeated:size$}", size = repeated.chars().count() + size - repeated.len())
}
