//! The ticker's day: 1,000 clients, each on 100 symbols of 20 updates a second, which are collected for 10 ms.
//!
//! One CPU cannot carry 2,000,000 updates a second and their readers, so its days are longer: what belongs into 10 ms, an update of each of
//! 20 symbols, is published at once, and what belongs into the next when all have got that. So the server has in each of its turns what
//! it had in real time. At rate 4 the CPU carries a day of real length.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use super::Setup;
use super::crowd::{Crowd, unexpected, updates};
use crate::client::{Client, Offer, client_frames, server_frames};
use crate::measure::{SETTLE, SUBSCRIBERS};

const SYMBOLS: usize = 100;
/// Publications in 10 ms.
const TICK_PUBLICATIONS: usize = 20;
const TICK: Duration = Duration::from_millis(10);
/// Every symbol is updated in so many ticks.
const SYMBOL_TICKS: usize = SYMBOLS / TICK_PUBLICATIONS;
const TICKS: usize = 60;
const RATE: usize = 4;
const RATE_TICKS: usize = 300;

/// µs of server CPU per update, and updates a second.
pub fn day(setup: &Setup<'_>) -> io::Result<Vec<f64>> {
    let (_running, edge, metered) = setup.start(setup.ours, None)?;
    let mut exchange = Exchange::open(edge)?;
    let mut crowd = Crowd::clients(edge, &symbols(), "", SUBSCRIBERS, Offer::Nothing)?;
    let mut offsets = Offsets::default();
    let mut trade = |ticks| {
        for _ in 0..ticks {
            exchange.tick()?;
            let mut missing = TICK_PUBLICATIONS;
            crowd.receive(|message| {
                let found = offsets.take(message, |before, offset| offset == before + 1)?;
                missing = missing.checked_sub(found).ok_or_else(|| unexpected("update", message))?;
                Ok(missing == 0)
            })?;
        }
        exchange.settle()
    };
    trade(TICKS / 5)?;
    let start = Instant::now();
    let count = TICKS * TICK_PUBLICATIONS * SUBSCRIBERS;
    let cpu_us = metered.cpu_us_per_operation(count, || trade(TICKS))?;
    let elapsed = start.elapsed().saturating_sub(2 * SETTLE);
    crowd.expect_nothing()?;
    Ok(vec![cpu_us, count as f64 / elapsed.as_secs_f64()])
}

/// µs of server CPU per update that there would be without the rate.
pub fn day_at_rate_4(setup: &Setup<'_>) -> io::Result<Vec<f64>> {
    let (_running, edge, metered) = setup.start(setup.ours, None)?;
    let mut exchange = Exchange::open(edge)?;
    let mut crowd = Crowd::clients(edge, &symbols(), r#"{"rate":4}"#, SUBSCRIBERS, Offer::Nothing)?;
    let mut offsets = Offsets::default();
    let mut ticks_before = 0;
    let mut trade = |ticks: usize| {
        let start = Instant::now();
        ticks_before += ticks;
        let last = (ticks_before / SYMBOL_TICKS) as u64;
        let mut received = 0;
        thread::scope(|scope| {
            let reader = scope.spawn(|| {
                while !offsets.all_are(last) {
                    let batch = received + SYMBOLS;
                    crowd.receive(|message| {
                        received += offsets.take(message, |before, offset| offset > before)?;
                        Ok(received >= batch || offsets.all_are(last))
                    })?;
                }
                crowd.expect_nothing()
            });
            for tick in 1..=ticks {
                exchange.tick()?;
                thread::sleep((start + TICK * tick as u32).saturating_duration_since(Instant::now()));
            }
            reader.join().map_err(|_| io::Error::other("the reader panicked"))?
        })?;
        // The first update may come at once, the last one in its time.
        let most = SYMBOLS * ((start.elapsed().as_secs_f64() * RATE as f64) as usize + 2);
        if received > most {
            return Err(io::Error::other(format!("{received} updates at a rate that allows {most}")));
        }
        exchange.settle()
    };
    trade(RATE_TICKS / 5)?;
    let cpu_us = metered.cpu_us_per_operation(RATE_TICKS * TICK_PUBLICATIONS * SUBSCRIBERS, || trade(RATE_TICKS))?;
    Ok(vec![cpu_us])
}

fn symbols() -> Vec<String> {
    (0..SYMBOLS).map(|symbol| format!("ticker:S{symbol}")).collect()
}

/// Publishes each symbol from a raw connection of its own, which gets that back.
struct Exchange {
    symbols: Vec<Client>,
    ticks: usize,
    settled: usize,
}

impl Exchange {
    fn open(edge: SocketAddr) -> io::Result<Self> {
        let opened = symbols().into_iter().map(|symbol| Ok(Client::open_many(edge, &format!("/raw/{symbol}"), 1)?.remove(0)));
        Ok(Self { symbols: opened.collect::<io::Result<_>>()?, ticks: 0, settled: 0 })
    }

    /// Publishes the updates of 10 ms.
    fn tick(&mut self) -> io::Result<()> {
        let start = self.ticks * TICK_PUBLICATIONS % SYMBOLS;
        self.ticks += 1;
        let message = client_frames(1);
        self.symbols[start..start + TICK_PUBLICATIONS].iter_mut().try_for_each(|symbol| symbol.send(&message))
    }

    /// Waits for what came back. All symbols have been published equally often.
    fn settle(&mut self) -> io::Result<()> {
        let deliveries = server_frames((self.ticks - self.settled) / SYMBOL_TICKS);
        self.settled = self.ticks;
        self.symbols.iter_mut().try_for_each(|symbol| symbol.expect(&deliveries))
    }
}

/// The last offset of every channel.
#[derive(Default)]
struct Offsets(HashMap<String, u64>);

impl Offsets {
    /// Takes the updates of one message, which must each follow what there was before; returns how many they are.
    fn take(&mut self, message: &[u8], follows: impl Fn(u64, u64) -> bool) -> io::Result<usize> {
        let updates = updates(message)?;
        for update in &updates {
            let before = self.0.entry(update.channel.clone()).or_default();
            if !follows(*before, update.offset) {
                return Err(unexpected(&format!("update after offset {before}"), message));
            }
            *before = update.offset;
        }
        Ok(updates.len())
    }

    fn all_are(&self, offset: u64) -> bool {
        self.0.len() == SYMBOLS && self.0.values().all(|&last| last == offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_noticed() {
        let push = |offset| format!(r#"{{"push":{{"channel":"ticker:S1","pub":{{"data":1,"offset":{offset}}}}}}}"#);
        let mut offsets = Offsets::default();
        let mut take = |offset| offsets.take(push(offset).as_bytes(), |before, offset| offset == before + 1);
        assert_eq!(take(1).ok(), Some(1));
        assert_eq!(take(2).ok(), Some(1));
        assert!(take(2).is_err());
        assert!(take(4).is_err());
    }
}
