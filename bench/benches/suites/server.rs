//! A real server on loopback, with one worker, and clients on the other cores: upgrades, echoes and deliveries a second. What the clients and
//! the kernel take is in the figures of all alike; `scripts/bench-server` tells what the servers alone cost.

use std::{
    io,
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use criterion::{BenchmarkId, Criterion, Throughput};
use fantail_bench::{
    client::{Client, WINDOW, client_frames, server_frames},
    servers::Server,
};

use crate::parameters;

const SERVERS: [Server; 3] = [Server::FantailEpoll, Server::FantailUring, Server::Fastwebsockets];

/// What is measured: its name, how much of it one iteration is, and so many iterations.
type Measure = (&'static str, usize, fn(SocketAddr, u64) -> io::Result<Duration>);

const MEASURES: [Measure; 3] = [("upgrades", WINDOW, upgrades), ("echo", CONNECTIONS, echo), ("fan-out", SUBSCRIBERS, fan_out)];

const CONNECTIONS: usize = 64;
const SUBSCRIBERS: usize = 500;

pub fn suite(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("server");
    group.sample_size(10);
    for (name, elements, measure) in parameters(&MEASURES, &MEASURES) {
        group.throughput(Throughput::Elements(elements as u64));
        for server in SERVERS {
            let (_running, edge) = match server.start() {
                Ok(started) => started,
                // The kernel may not have what it needs; every other failure is one.
                Err(error) if server == Server::FantailUring => {
                    eprintln!("server: {server} is SKIPPED: {error}");
                    continue;
                }
                Err(error) => panic!("{error}"),
            };
            group.bench_function(BenchmarkId::new(server.to_string(), name), |bencher| {
                bencher.iter_custom(|iterations| measure(edge, iterations).unwrap());
            });
        }
    }
}

/// Windows of connections, each opened together; that they are closed again is not measured.
fn upgrades(edge: SocketAddr, iterations: u64) -> io::Result<Duration> {
    let mut taken = Duration::ZERO;
    for _ in 0..iterations {
        let start = Instant::now();
        let clients = Client::open_many(edge, "/echo", WINDOW)?;
        taken += start.elapsed();
        drop(clients);
    }
    Ok(taken)
}

/// A message to and from each of many connections.
fn echo(edge: SocketAddr, iterations: u64) -> io::Result<Duration> {
    let mut clients = Client::open_many(edge, "/echo", CONNECTIONS)?;
    let (message, answer) = (client_frames(1), server_frames(1));
    let start = Instant::now();
    for _ in 0..iterations {
        clients.iter_mut().try_for_each(|client| client.send(&message))?;
        clients.iter_mut().try_for_each(|client| client.expect(&answer))?;
    }
    Ok(start.elapsed())
}

/// A message from one subscriber to all, in a channel without a last value, which a server may send behind its 101.
fn fan_out(edge: SocketAddr, iterations: u64) -> io::Result<Duration> {
    static CHANNELS: AtomicU64 = AtomicU64::new(0);
    let channel = CHANNELS.fetch_add(1, Relaxed);
    let mut clients = Client::open_many(edge, &format!("/raw/bench-{channel}"), SUBSCRIBERS)?;
    let (message, delivery) = (client_frames(1), server_frames(1));
    let start = Instant::now();
    for _ in 0..iterations {
        clients[0].send(&message)?;
        clients.iter_mut().try_for_each(|client| client.expect(&delivery))?;
    }
    Ok(start.elapsed())
}
