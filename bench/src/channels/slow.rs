//! One subscriber of 1,000 that reads nothing, under each policy that a channel may have for it: how late the others get what is published,
//! beside the same while it reads, and what the server holds for it.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use super::crowd::unexpected;
use super::{SERVER_CPU, Setup, timed};
use crate::client::{Client, client_frame, server_frame};
use crate::measure::{SETTLE, SUBSCRIBERS};
use crate::process::Process;
use crate::spread::{Spread, p99_ms};

const PATH: &str = "/raw/slow";
/// With the frame's header and a counter of the server's, just below 1 KiB, as allocators have it.
const PAYLOAD_BYTES: usize = 1000;
const SLOW_BYTES_MAX: usize = 64 << 10;
/// While all read, and again while one does not: more than `SLOW_BYTES_MAX` and the sockets on the way hold.
const PUBLICATIONS: usize = 200;
const PERIOD: Duration = Duration::from_millis(20);
/// By turns, so that whatever comes over the machine comes over both.
const REPETITIONS: usize = 3;

/// What the server may hold for a subscriber: the limit that it is given.
pub const HELD_KIB_MAX: f64 = SLOW_BYTES_MAX as f64 / 1024.0;

/// p99 of the others' deliveries in ms while all read and while one reads nothing; the most resident KiB that came with that one.
pub fn run(setup: &Setup<'_>, policy: &str) -> io::Result<Vec<f64>> {
    timed(|| {
        let slow_bytes_max = SLOW_BYTES_MAX.to_string();
        let variables = [
            ("FANTAIL_HUB_SLOW", policy),
            ("FANTAIL_HUB_SLOW_BYTES_MAX", &slow_bytes_max),
            ("FANTAIL_HUB_LAST_VALUE", "false"),
            ("FANTAIL_TIMEOUTS_PING_INTERVAL_MS", "3600000"),
        ];
        let (running, edge) = setup.ours.start_with(&variables, Some(SERVER_CPU))?;
        let repetitions = (0..REPETITIONS).map(|_| stall(edge, running.process(), policy)).collect::<io::Result<Vec<_>>>()?;
        let [reading_ms, stalled_ms, held_kib] = [0, 1, 2].map(|at| Spread::of(repetitions.iter().map(|figures| figures[at])));
        Ok(vec![reading_ms.median, stalled_ms.median, held_kib.greatest])
    })
}

fn stall(edge: SocketAddr, server: Process, policy: &str) -> io::Result<[f64; 3]> {
    // Where subscribers are served as they came, it is in the way of all others.
    let mut slow = Client::open_narrow(edge, PATH)?;
    let mut others = Client::open_many(edge, PATH, SUBSCRIBERS - 1)?;
    publish(PUBLICATIONS / 5, &mut others, Some(&mut slow))?;
    let reading_ms = publish(PUBLICATIONS, &mut others, Some(&mut slow))?;
    thread::sleep(SETTLE);
    let before = server.resident_bytes()?;
    let stalled_ms = publish(PUBLICATIONS, &mut others, None)?;
    thread::sleep(SETTLE);
    let after = server.resident_bytes()?;
    others.iter_mut().try_for_each(Client::expect_nothing)?;
    expect_loss(slow, policy)?;
    Ok([reading_ms, stalled_ms, (after as f64 - before as f64) / 1024.0])
}

/// The first of `others` publishes so many messages, one each period; p99 of the times from when it was due until each of them has got it.
fn publish(count: usize, others: &mut [Client], mut slow: Option<&mut Client>) -> io::Result<f64> {
    let mut latencies = Vec::new();
    let mut due = Instant::now();
    for number in 1..=count {
        due += PERIOD;
        let payload = format!("{number:<PAYLOAD_BYTES$}");
        let (message, delivery) = (client_frame(payload.as_bytes()), server_frame(payload.as_bytes()));
        thread::sleep(due.saturating_duration_since(Instant::now()));
        others[0].send(&message)?;
        for other in &mut *others {
            other.expect(&delivery)?;
            latencies.push(due.elapsed());
        }
        if let Some(slow) = &mut slow {
            slow.expect(&delivery)?;
        }
    }
    Ok(p99_ms(latencies))
}

/// Checks that the one that read nothing was behind by so much that it was dealt with as its policy says: it gets some of what it missed,
/// and then either the newest or the end.
fn expect_loss(mut slow: Client, policy: &str) -> io::Result<()> {
    let (mut received, mut newest) = (0, 0);
    let end = loop {
        match slow.message(&mut Vec::new()) {
            Ok(message) => newest = number(&message)?,
            Err(error) => break Some(error),
        }
        received += 1;
        if newest == PUBLICATIONS {
            break None;
        }
    };
    let is_expected = match &end {
        None => policy != "disconnect",
        // The client's own patience is at its end, not the connection.
        Some(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => false,
        Some(_) => policy == "disconnect",
    };
    if is_expected && received < PUBLICATIONS {
        return Ok(());
    }
    Err(io::Error::other(format!("{policy}: who read nothing got {received} messages, the newest {newest}, and at the end {end:?}")))
}

fn number(message: &[u8]) -> io::Result<usize> {
    let number = str::from_utf8(message).ok().and_then(|text| text.trim_end().parse().ok());
    number.ok_or_else(|| unexpected("message", message))
}
