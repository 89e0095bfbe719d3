//! Small masked text frames received, unmasked and validated; and headers written. Everybody is given the same endless stream of bytes, and
//! copies it into a buffer of its own, as a read from a socket would.

use std::{
    hint::black_box,
    io::{self, Read, Write},
    pin::Pin,
    task::{Context, Poll},
};

use criterion::{BenchmarkId, Criterion, Throughput};
use fantail_bench::client::{PAYLOAD, client_frames};
use fantail_codec::{
    Event, Kind, Role, Scratch, WebSocket,
    frame::{FrameHeader, OpCode},
    limits::MessageLimits,
};
use fastwebsockets::{FragmentCollector, Frame, Payload};
use futures_util::{FutureExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::{self, protocol::frame as tungstenite_frame};

use crate::parameters;

/// Frames in what the stream repeats, some 64 KiB, and in an iteration.
const FRAMES: usize = 936;

pub fn suite(criterion: &mut Criterion) {
    receive(criterion);
    encode(criterion);
}

fn receive(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frame");
    group.throughput(Throughput::Elements(FRAMES as u64));
    let id = |implementation| BenchmarkId::new(implementation, PAYLOAD.len());

    let (mut stream, mut buffer) = (Endless::new(), vec![0; Endless::new().frames.len()]);
    let (mut websocket, mut scratch) = (WebSocket::new(Role::Server, None), Scratch::default());
    group.bench_function(id("fantail"), |bencher| {
        bencher.iter(|| {
            stream.read_exact(&mut buffer).unwrap();
            let mut input = &mut buffer[..];
            let mut messages = 0;
            while let Some(event) = websocket.receive(&mut input, &MessageLimits::DEFAULT, &mut scratch).unwrap() {
                let Event::Message(Kind::Text, payload) = black_box(event) else { panic!("a text") };
                assert_eq!(payload.len(), PAYLOAD.len());
                messages += 1;
            }
            assert_eq!(messages, FRAMES);
        });
    });

    let mut websocket = tungstenite::WebSocket::from_raw_socket(Endless::new(), tungstenite::protocol::Role::Server, None);
    group.bench_function(id("tungstenite"), |bencher| {
        bencher.iter(|| {
            for _ in 0..FRAMES {
                let tungstenite::Message::Text(text) = black_box(websocket.read().unwrap()) else { panic!("a text") };
                assert_eq!(text.len(), PAYLOAD.len());
            }
        });
    });

    let websocket = fastwebsockets::WebSocket::after_handshake(Endless::new(), fastwebsockets::Role::Server);
    let mut websocket = FragmentCollector::new(websocket);
    group.bench_function(id("fastwebsockets"), |bencher| {
        bencher.iter(|| {
            for _ in 0..FRAMES {
                let frame = black_box(websocket.read_frame().now_or_never().unwrap().unwrap());
                assert_eq!((frame.opcode, frame.payload.len()), (fastwebsockets::OpCode::Text, PAYLOAD.len()));
            }
        });
    });

    let mut websocket = tokio_websockets::ServerBuilder::new().serve(Endless::new());
    group.bench_function(id("tokio-websockets"), |bencher| {
        bencher.iter(|| {
            for _ in 0..FRAMES {
                let message = black_box(websocket.next().now_or_never().unwrap().unwrap().unwrap());
                assert_eq!(message.as_text().map(str::len), Some(PAYLOAD.len()));
            }
        });
    });
}

fn encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frame-encode");
    let mut out = Vec::with_capacity(16);
    for size in parameters(&[64, 1 << 10, 64 << 10], &[64]) {
        let (expected, length) = FrameHeader::whole(OpCode::Text, size).encode();
        let expected = &expected[..length];
        group.throughput(Throughput::Elements(1));
        group.bench_function(BenchmarkId::new("fantail", size), |bencher| {
            bencher.iter(|| {
                out.clear();
                FrameHeader::whole(OpCode::Text, black_box(size)).write(&mut out);
                black_box(&mut out);
            });
            assert_eq!(out, expected);
        });
        let opcode = tungstenite_frame::coding::OpCode::Data(tungstenite_frame::coding::Data::Text);
        let header = tungstenite_frame::FrameHeader { opcode, ..tungstenite_frame::FrameHeader::default() };
        group.bench_function(BenchmarkId::new("tungstenite", size), |bencher| {
            bencher.iter(|| {
                out.clear();
                header.format(black_box(size) as u64, &mut out).unwrap();
                black_box(&mut out);
            });
            assert_eq!(out, expected);
        });
        let payload = vec![0; size];
        let (mut frame, mut head) = (Frame::text(Payload::Borrowed(&payload)), [0; 16]);
        group.bench_function(BenchmarkId::new("fastwebsockets", size), |bencher| {
            bencher.iter(|| {
                let header_bytes = black_box(&mut frame).fmt_head(&mut head);
                out.clear();
                out.extend_from_slice(&head[..header_bytes]);
                black_box(&mut out);
            });
            assert_eq!(out, expected);
        });
    }
}

/// A socket whose peer never stops sending frames. It takes everything.
struct Endless {
    frames: Vec<u8>,
    at: usize,
}

impl Endless {
    fn new() -> Endless {
        Endless { frames: client_frames(FRAMES), at: 0 }
    }
}

impl Read for Endless {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = into.len().min(self.frames.len() - self.at);
        into[..count].copy_from_slice(&self.frames[self.at..self.at + count]);
        self.at = (self.at + count) % self.frames.len();
        Ok(count)
    }
}

impl Write for Endless {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Endless {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let count = into.remaining().min(self.frames.len() - self.at);
        into.put_slice(&self.frames[self.at..self.at + count]);
        self.at = (self.at + count) % self.frames.len();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Endless {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
