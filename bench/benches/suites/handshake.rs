//! The whole opening handshake in memory: a request's bytes in, the bytes of the 101 response out. The peer is what one writes with httparse
//! and the crates `sha1` and `base64`; it makes the same checks, but negotiates no compression. The parameter is the request and how many of
//! them one turn of the server answers.

use std::hint::black_box;

use base64::{Engine, prelude::BASE64_STANDARD};
use criterion::{BenchmarkId, Criterion, Throughput};
use fantail_codec::{
    accept::{self, ACCEPT_BYTES, Key},
    http1::{HeadScan, Progress, Request},
    limits::HttpLimits,
    upgrade::{self, Origins, Policy, Protocol},
};

use crate::{accept::plain, parameters, requests};

pub fn suite(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("handshake");
    let mut out = Vec::with_capacity(8 << 10);
    for (name, request) in [("ws", requests::WS), ("chrome", requests::CHROME)] {
        for count in parameters(&[1, 16], &[1, 16]) {
            let parameter = format!("{name}-{count}");
            group.throughput(Throughput::Elements(count));
            let mut expected = Vec::new();
            (0..count).for_each(|_| answer_plainly(request, &mut expected).unwrap());
            let mut turn = Turn::default();
            group.bench_function(BenchmarkId::new("fantail", &parameter), |bencher| {
                bencher.iter(|| {
                    out.clear();
                    (0..count).for_each(|_| turn.answer(black_box(request), &mut out));
                    turn.end(&mut out);
                });
                assert_eq!(out, expected);
            });
            group.bench_function(BenchmarkId::new("httparse+sha1+base64", &parameter), |bencher| {
                bencher.iter(|| {
                    out.clear();
                    (0..count).for_each(|_| answer_plainly(black_box(request), &mut out).unwrap());
                });
            });
        }
    }
}

/// What the server keeps for a turn.
struct Turn {
    policy: Policy,
    scan: HeadScan,
    keys: Vec<Key>,
    places: Vec<usize>,
}

impl Default for Turn {
    fn default() -> Turn {
        let policy = Policy { protocols: vec![Protocol::WebSocket], subprotocols: vec![], origins: Origins::Any, deflate: None };
        Turn { policy, scan: HeadScan::default(), keys: vec![], places: vec![] }
    }
}

impl Turn {
    fn answer(&mut self, request: &[u8], out: &mut Vec<u8>) {
        self.scan.reset();
        let Ok(Progress::Complete(head_bytes)) = self.scan.advance(request, &HttpLimits::DEFAULT) else { panic!("a complete head") };
        let request = Request::new(&request[..head_bytes], &self.scan);
        let Ok(Some(switch)) = upgrade::decide(&request, &self.policy) else { panic!("a good handshake") };
        self.places.push(switch.write(out));
        self.keys.push(switch.key);
    }

    fn end(&mut self, out: &mut [u8]) {
        accept::hash(&self.keys, |i, accept| out[self.places[i]..self.places[i] + ACCEPT_BYTES].copy_from_slice(accept));
        self.keys.clear();
        self.places.clear();
    }
}

fn answer_plainly(request: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Request::new(&mut headers);
    if !parsed.parse(request).ok()?.is_complete() || parsed.method != Some("GET") || parsed.version != Some(1) {
        return None;
    }
    let values =
        |name: &'static str| parsed.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value);
    let lists = |name: &'static str, token: &[u8]| {
        values(name).any(|value| value.split(|&byte| byte == b',').any(|element| element.trim_ascii().eq_ignore_ascii_case(token)))
    };
    let single = |name: &'static str| {
        let mut values = values(name);
        values.next().filter(|_| values.next().is_none())
    };
    single("Host")?;
    if !lists("Upgrade", b"websocket") || !lists("Connection", b"upgrade") || single("Sec-WebSocket-Version")? != b"13" {
        return None;
    }
    let key = single("Sec-WebSocket-Key")?;
    let mut nonce = [0; 18];
    if key.len() != 24 || BASE64_STANDARD.decode_slice(key, &mut nonce) != Ok(16) {
        return None;
    }
    out.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ");
    out.extend_from_slice(&plain(key));
    out.extend_from_slice(b"\r\n\r\n");
    Some(())
}
