//! 50,000 publications a second in one channel, with 1,000 subscribers that ask for 10 a second, and an echo beside it. What the same
//! echo takes of a server without any other work tells what the machine adds.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::crowd::{Crowd, connect, unexpected, updates};
use super::{SERVER_CPU, Setup, timed};
use crate::client::{Client, Offer, client_frame, client_frames, server_frames};
use crate::measure::SUBSCRIBERS;
use crate::spread::p99_ms;

const CHANNEL: &str = "ticker:hot";
const RATE: usize = 10;
/// Commands in one frame, one frame a millisecond.
const FRAME_PUBLICATIONS: usize = 50;
const FRAMES: usize = 4_000;
const FRAME: Duration = Duration::from_millis(1);

/// How long echoes are taken before there is other work.
const ALONE: Duration = Duration::from_secs(2);

/// p99 of the echoes in ms alone and beside the publications, updates a second to each subscriber, publications a second, % of a CPU.
pub fn run(setup: &Setup<'_>) -> io::Result<Vec<f64>> {
    timed(|| conflating(setup))
}

fn conflating(setup: &Setup<'_>) -> io::Result<Vec<f64>> {
    let (_running, edge, metered) = setup.start(setup.ours, Some(SERVER_CPU))?;
    let mut crowd = Crowd::clients(edge, &[CHANNEL.to_owned()], r#"{"rate":10}"#, SUBSCRIBERS, Offer::Nothing)?;
    let publisher = connect(edge)?;
    let replies = publisher.try_clone()?;
    let mut echo = Client::open_many(edge, "/echo", 1)?.remove(0);
    let start = Instant::now();
    let alone_ms = echo_p99_ms(&mut echo, || start.elapsed() > ALONE)?;

    let is_over = AtomicBool::new(false);
    let (mut beside_ms, mut elapsed) = (0.0, Duration::ZERO);
    let publications = FRAMES * FRAME_PUBLICATIONS;
    let cpu_us = metered.cpu_us_per_operation(publications, || {
        thread::scope(|scope| {
            let echoes = scope.spawn(|| echo_p99_ms(&mut echo, || is_over.load(Ordering::Relaxed)));
            scope.spawn(|| replies.read_to_end());
            let published = publish(publisher);
            is_over.store(true, Ordering::Relaxed);
            beside_ms = echoes.join().map_err(|_| io::Error::other("the echo panicked"))??;
            elapsed = published?;
            Ok(())
        })
    })?;

    // What the subscribers got lies in their sockets: reading it beside would have delayed the echo.
    let (mut offset, mut updates_seen) = (0, 0);
    crowd.receive(|message| {
        for update in updates(message)? {
            if update.offset <= offset || update.data["value"] != update.offset {
                return Err(unexpected(&format!("update after offset {offset}"), message));
            }
            offset = update.offset;
            updates_seen += 1;
        }
        Ok(offset == publications as u64)
    })?;
    crowd.expect_nothing()?;

    let per_second = |count: usize| count as f64 / elapsed.as_secs_f64();
    let most = (elapsed.as_secs_f64() * RATE as f64) as usize + 2;
    if updates_seen > most {
        return Err(io::Error::other(format!("{updates_seen} updates at a rate that allows {most}")));
    }
    // Those before and after the time in which the rate repeats itself do not count.
    let updates_a_second = per_second(updates_seen.saturating_sub(2));
    let cpu_percent = 100.0 * cpu_us * publications as f64 / 1e6 / elapsed.as_secs_f64();
    Ok(vec![alone_ms, beside_ms, updates_a_second, per_second(publications), cpu_percent])
}

/// Publishes at the rate that it should have, or as fast as it can; returns how long that took.
fn publish(mut publisher: Client) -> io::Result<Duration> {
    let start = Instant::now();
    for frame in 0..FRAMES {
        let numbers = (frame * FRAME_PUBLICATIONS + 1)..=((frame + 1) * FRAME_PUBLICATIONS);
        let command = |value: usize| format!(r#"{{"id":{},"publish":{{"channel":"{CHANNEL}","data":{{"value":{value}}}}}}}"#, value + 1);
        let commands: Vec<String> = numbers.map(command).collect();
        publisher.send(&client_frame(commands.join("\n").as_bytes()))?;
        thread::sleep((start + FRAME * (frame as u32 + 1)).saturating_duration_since(Instant::now()));
    }
    let elapsed = start.elapsed();
    // The newest must reach everybody in its turn.
    thread::sleep(Duration::from_millis(500));
    publisher.shut_down()?;
    Ok(elapsed)
}

/// How long an echo takes, of 100 all but the slowest, until it is over.
fn echo_p99_ms(client: &mut Client, is_over: impl Fn() -> bool) -> io::Result<f64> {
    let (message, answer) = (client_frames(1), server_frames(1));
    let mut latencies = Vec::new();
    while !is_over() || latencies.is_empty() {
        let start = Instant::now();
        client.send(&message)?;
        client.expect(&answer)?;
        latencies.push(start.elapsed());
        thread::sleep(Duration::from_millis(1));
    }
    Ok(p99_ms(latencies))
}
