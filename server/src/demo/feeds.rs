//! What the demo publishes: the prices of ten stocks, and the frames of one small game world.
//!
//! They stand for the two kinds of traffic Fantail is made for: small texts about many things, each the latest of its key,
//! and a binary state many times a second. This file owns the simulations, their wire forms and their schedule. It does not know
//! the hub: [`run`] is handed the function that publishes, so everything here is tested without a server.
//!
//! Prices are made up: a random walk around a plausible start.

use std::fmt::Display;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fantail_codec::Kind;

/// The channel of all prices; a price's key is its symbol.
pub const PRICES_CHANNEL: &str = "ticker:demo";
/// Each stock's symbol and the price in cents it starts at.
pub const SYMBOLS: [(&str, i32); 10] = [
    ("AAPL", 18_732),
    ("AMD", 15_861),
    ("AMZN", 18_407),
    ("AVGO", 17_145),
    ("GOOGL", 16_590),
    ("META", 50_522),
    ("MSFT", 41_678),
    ("NFLX", 67_840),
    ("NVDA", 12_389),
    ("TSLA", 24_854),
];

/// The channel of the game world.
pub const WORLD_CHANNEL: &str = "game:world";
/// The world's width, in points.
pub const WORLD_WIDTH: u16 = 1600;
/// The world's height, in points.
pub const WORLD_HEIGHT: u16 = 900;
/// A coordinate travels as a whole number of units; there are this many to a point.
pub const UNITS_PER_POINT: u16 = 32;

const PRICES_PER_SECOND: u32 = 20;
const FRAMES_PER_SECOND: u32 = 30;
const BODIES: usize = 50;
const FRAME_HEAD_BYTES: usize = 12;
const BODY_BYTES: usize = 6;
const FRAME_BYTES: usize = FRAME_HEAD_BYTES + BODIES * BODY_BYTES;

const _: () = assert!(WORLD_WIDTH as u32 * UNITS_PER_POINT as u32 <= u16::MAX as u32);
const _: () = assert!(WORLD_HEIGHT as u32 * UNITS_PER_POINT as u32 <= u16::MAX as u32);

/// Hands channel, key, kind and payload to `publish` until `stop` is set, which is noticed within one frame's time. Give it a
/// thread of its own.
///
/// A failure to publish is logged the first time; the feeds go on, since the next value may find room.
pub fn run<P, E: Display>(stop: &AtomicBool, mut publish: impl FnMut(&str, &str, Kind, &[u8]) -> Result<P, E>) {
    let mut failed = false;
    let mut publish = |channel: &str, key: &str, kind, payload: &[u8]| {
        if let Err(error) = publish(channel, key, kind, payload)
            && !mem::replace(&mut failed, true)
        {
            tracing::warn!(channel, %error, "demo feed cannot publish; later failures are not logged");
        }
    };

    let mut random = Random(1);
    let mut tickers = SYMBOLS.map(|(symbol, cents)| Ticker::new(symbol, cents));
    let mut world = World::new(&mut random);
    let start = Instant::now();
    let mut prices = Schedule::new(start, PRICES_PER_SECOND);
    let mut frames = Schedule::new(start, FRAMES_PER_SECOND);

    while !stop.load(Ordering::Relaxed) {
        let now = Instant::now();
        if prices.due(now) {
            for ticker in &mut tickers {
                ticker.step(&mut random);
                let text = ticker.encode(unix_ms());
                publish(PRICES_CHANNEL, ticker.symbol, Kind::Text, text.as_bytes());
            }
        }
        if frames.due(now) {
            world.step();
            publish(WORLD_CHANNEL, "", Kind::Binary, &world.encode(unix_ms()));
        }
        let next = prices.next.min(frames.next);
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

/// Whole milliseconds, as a browser's `Date.now()` counts them, so that the difference of the two is an age.
fn unix_ms() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    since_epoch.unwrap_or_default().as_millis() as u64
}

/// A fixed-rate schedule: slots lie on a grid laid at the start, so lateness never accumulates, and slots missed
/// during a stall are skipped rather than made up for in a burst.
struct Schedule {
    period: Duration,
    next: Instant,
}

impl Schedule {
    fn new(start: Instant, per_second: u32) -> Self {
        Self { period: Duration::from_secs(1) / per_second, next: start }
    }

    /// Whether a slot has come since the last call that said so; moves on to the first slot after `now`.
    fn due(&mut self, now: Instant) -> bool {
        let Some(late) = now.checked_duration_since(self.next) else {
            return false;
        };
        let into_slot = Duration::from_nanos((late.as_nanos() % self.period.as_nanos()) as u64);
        self.next = now - into_slot + self.period;
        true
    }
}

/// One stock. Its price wanders, drawn gently back to where it opened so that a demo left running stays plausible.
struct Ticker {
    symbol: &'static str,
    open_cents: i32,
    cents: i32,
}

impl Ticker {
    /// Relative standard deviation of one step, about that of a busy day speeded up a hundredfold.
    const VOLATILITY: f64 = 0.0003;
    /// The part of the distance to the opening price that one step takes back.
    const REVERSION: f64 = 0.0005;

    fn new(symbol: &'static str, cents: i32) -> Self {
        Self { symbol, open_cents: cents, cents }
    }

    fn step(&mut self, random: &mut Random) {
        let (price, open) = (f64::from(self.cents), f64::from(self.open_cents));
        // Uniform on ±√3 has a standard deviation of one.
        let shock = random.between(-1.0, 1.0) * 3f64.sqrt();
        let moved = price + price * Self::VOLATILITY * shock + (open - price) * Self::REVERSION;
        self.cents = (moved.round() as i32).max(1);
    }

    /// Symbol, price, change since the opening, time: `{"s":"AAPL","p":187.36,"d":0.04,"t":1700000000000}`.
    fn encode(&self, unix_ms: u64) -> String {
        let price = f64::from(self.cents) / 100.0;
        let change = f64::from(self.cents - self.open_cents) / 100.0;
        format!(r#"{{"s":"{}","p":{price:.2},"d":{change:.2},"t":{unix_ms}}}"#, self.symbol)
    }
}

/// Bodies that drift through a box and bounce off its walls. Lengths are points, speeds points a second.
struct World {
    frame: u32,
    bodies: [Body; BODIES],
}

#[derive(Clone, Copy)]
struct Body {
    x: f64,
    y: f64,
    speed_x: f64,
    speed_y: f64,
    radius: u8,
    hue: u8,
}

impl World {
    fn new(random: &mut Random) -> Self {
        Self { frame: 0, bodies: [(); BODIES].map(|()| Body::new(random)) }
    }

    fn step(&mut self) {
        self.frame = self.frame.wrapping_add(1);
        for body in &mut self.bodies {
            body.step(1.0 / f64::from(FRAMES_PER_SECOND));
        }
    }

    /// One frame, little-endian:
    ///
    /// | bytes | field |
    /// |---|---|
    /// | 0..8 | f64: Unix time in milliseconds |
    /// | 8..12 | u32: frame number; a jump tells how many frames were skipped |
    /// | 12 + 6·i | for body i: u16 x, u16 y in units, u8 radius in points, u8 hue in 256ths of the circle |
    fn encode(&self, unix_ms: u64) -> [u8; FRAME_BYTES] {
        let units = |points: f64| (points * f64::from(UNITS_PER_POINT)).round() as u16;
        let mut frame = [0; FRAME_BYTES];
        frame[..8].copy_from_slice(&(unix_ms as f64).to_le_bytes());
        frame[8..FRAME_HEAD_BYTES].copy_from_slice(&self.frame.to_le_bytes());
        let slots = frame[FRAME_HEAD_BYTES..].chunks_exact_mut(BODY_BYTES);
        for (slot, body) in slots.zip(&self.bodies) {
            slot[..2].copy_from_slice(&units(body.x).to_le_bytes());
            slot[2..4].copy_from_slice(&units(body.y).to_le_bytes());
            slot[4] = body.radius;
            slot[5] = body.hue;
        }
        frame
    }
}

impl Body {
    fn new(random: &mut Random) -> Self {
        let radius = random.between(6.0, 30.0);
        let heading = random.between(0.0, std::f64::consts::TAU);
        // The small ones are the quick ones.
        let speed = random.between(1500.0, 3000.0) / radius + 40.0;
        Self {
            x: random.between(radius, f64::from(WORLD_WIDTH) - radius),
            y: random.between(radius, f64::from(WORLD_HEIGHT) - radius),
            speed_x: speed * heading.cos(),
            speed_y: speed * heading.sin(),
            radius: radius as u8,
            // From green to violet: neighbours on the circle look calm together.
            hue: random.between(110.0, 205.0) as u8,
        }
    }

    fn step(&mut self, seconds: f64) {
        let radius = f64::from(self.radius);
        (self.x, self.speed_x) = bounce(self.x + self.speed_x * seconds, self.speed_x, radius..=f64::from(WORLD_WIDTH) - radius);
        (self.y, self.speed_y) = bounce(self.y + self.speed_y * seconds, self.speed_y, radius..=f64::from(WORLD_HEIGHT) - radius);
    }
}

/// Position and speed along one axis after the walls at both ends of `span`: what went through one is mirrored at it.
fn bounce(position: f64, speed: f64, span: std::ops::RangeInclusive<f64>) -> (f64, f64) {
    if position < *span.start() {
        (2.0 * span.start() - position, speed.abs())
    } else if position > *span.end() {
        (2.0 * span.end() - position, -speed.abs())
    } else {
        (position, speed)
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): enough for a demo, and the same run each time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Uniform in `low..high`, from the top 53 bits: as many as an f64 holds.
    fn between(&mut self, low: f64, high: f64) -> f64 {
        let unit = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        low + (high - low) * unit
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::convert::Infallible;

    use super::*;

    #[test]
    fn prices_stay_positive_and_plausible() {
        let mut random = Random(7);
        let mut penny = Ticker::new("PENNY", 1);
        let mut stock = Ticker::new("AAPL", 18_732);
        let mut seen = BTreeSet::new();
        for _ in 0..100_000 {
            penny.step(&mut random);
            stock.step(&mut random);
            seen.insert(stock.cents);
            assert!(penny.cents > 0);
        }
        assert!(*seen.first().unwrap() > 18_732 / 2 && *seen.last().unwrap() < 18_732 * 2);
        assert!(seen.len() > 100, "the price hardly moves");
    }

    #[test]
    fn price_text() {
        let mut ticker = Ticker::new("AAPL", 18_732);
        assert_eq!(ticker.encode(5), r#"{"s":"AAPL","p":187.32,"d":0.00,"t":5}"#);
        ticker.cents = 18_727;
        let text = ticker.encode(1_700_000_000_000);
        assert_eq!(text, r#"{"s":"AAPL","p":187.27,"d":-0.05,"t":1700000000000}"#);
    }

    #[test]
    fn bodies_move_and_stay_in_the_box() {
        let mut world = World::new(&mut Random(3));
        for _ in 0..20_000 {
            let before = world.bodies;
            world.step();
            for (body, before) in world.bodies.iter().zip(before) {
                let radius = f64::from(body.radius);
                assert!((radius..=f64::from(WORLD_WIDTH) - radius).contains(&body.x));
                assert!((radius..=f64::from(WORLD_HEIGHT) - radius).contains(&body.y));
                assert_ne!((body.x, body.y), (before.x, before.y));
            }
        }
    }

    #[test]
    fn walls_mirror() {
        assert_eq!(bounce(-2.0, -5.0, 0.0..=10.0), (2.0, 5.0));
        assert_eq!(bounce(11.0, 5.0, 0.0..=10.0), (9.0, -5.0));
        assert_eq!(bounce(4.0, -5.0, 0.0..=10.0), (4.0, -5.0));
    }

    #[test]
    fn frame_layout() {
        let mut world = World::new(&mut Random(3));
        world.step();
        let frame = world.encode(1_700_000_000_123);
        assert_eq!(frame.len(), 312);
        assert_eq!(f64::from_le_bytes(frame[..8].try_into().unwrap()), 1_700_000_000_123.0);
        assert_eq!(u32::from_le_bytes(frame[8..12].try_into().unwrap()), 1);
        for (slot, body) in frame[12..].chunks(6).zip(&world.bodies) {
            let points = |low, high| f64::from(u16::from_le_bytes([low, high])) / 32.0;
            assert!((points(slot[0], slot[1]) - body.x).abs() <= 1.0 / 64.0);
            assert!((points(slot[2], slot[3]) - body.y).abs() <= 1.0 / 64.0);
            assert_eq!((slot[4], slot[5]), (body.radius, body.hue));
        }
    }

    #[test]
    fn a_schedule_keeps_its_grid_and_skips_what_a_stall_missed() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut schedule = Schedule::new(start, 20);
        assert!(schedule.due(start));
        assert!(!schedule.due(at(49)));
        assert!(schedule.due(at(57)), "seven milliseconds late");
        assert_eq!(schedule.next, at(100), "and the next is not");
        assert!(schedule.due(at(512)), "after a stall");
        assert!(!schedule.due(at(512)), "no burst");
        assert_eq!(schedule.next, at(550));
    }

    #[test]
    fn every_channel_and_key_is_fed_until_told_to_stop() {
        let stop = AtomicBool::new(false);
        let mut fed = BTreeSet::new();
        run(&stop, |channel, key, kind, _| {
            fed.insert((channel.to_owned(), key.to_owned(), kind == Kind::Text));
            stop.store(fed.len() > SYMBOLS.len(), Ordering::Relaxed);
            Ok::<_, Infallible>(())
        });
        let prices = SYMBOLS.map(|(symbol, _)| (PRICES_CHANNEL.to_owned(), symbol.to_owned(), true));
        let world = (WORLD_CHANNEL.to_owned(), String::new(), false);
        assert_eq!(fed, prices.into_iter().chain([world]).collect());
    }

    #[test]
    fn a_failure_to_publish_does_not_end_the_feeds() {
        let stop = AtomicBool::new(false);
        let mut refused = 0;
        run(&stop, |_, _, _, _| {
            refused += 1;
            stop.store(refused >= 15, Ordering::Relaxed);
            Err::<(), _>("no room")
        });
        assert!(refused >= 15);
    }
}
