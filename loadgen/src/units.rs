//! Numbers with units, as people write them on a command line and read them in a table. Imports nothing.
//!
//! Counts and rates: `k` is 10^3, `m` 10^6. Sizes: `KiB`, `MiB`, `GiB` are powers of 1024, a plain number is bytes. Durations always have a unit.
//!
//! `parse_*` take text; their errors say what was expected and leave the text to the caller. `exact_*` print a value that was asked for, in a
//! form that parses to the same value. `rounded_*` print what was measured, to three digits.

use std::time::Duration;

/// A name, and how many of the base unit it stands for.
type Unit = (&'static str, f64);

const COUNTS: &[Unit] = &[("", 1.0), ("k", 1e3), ("m", 1e6)];
const SIZES: &[Unit] = &[("B", 1.0), ("KiB", 1024.0), ("MiB", 1048576.0), ("GiB", 1073741824.0)];
/// In nanoseconds.
const TIMES: &[Unit] = &[("ns", 1.0), ("us", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9)];

/// A whole number at or above zero, such as `500`, `20k` or `1.5m`.
pub fn parse_count(text: &str) -> Result<u64, String> {
    let expected = "a whole number, as in 500, 20k or 1.5m";
    whole(scaled(text, COUNTS, expected)?, expected)
}

/// A number above zero, such as `0.5` or `20k`.
pub fn parse_rate(text: &str) -> Result<f64, String> {
    let expected = "a number above 0, as in 0.5 or 20k";
    let rate = scaled(text, COUNTS, expected)?;
    if rate > 0.0 { Ok(rate) } else { Err(refused(expected)) }
}

/// Bytes, such as `64`, `64B`, `8KiB` or `1MiB`.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let expected = "a size in bytes, KiB, MiB or GiB, as in 64 or 8KiB";
    let plain = text.ends_with(|last: char| last.is_ascii_digit());
    let bytes = if plain { scaled(text, COUNTS, expected)? } else { scaled(text, SIZES, expected)? };
    whole(bytes, expected)
}

/// A time at or above zero, such as `10s`, `500ms`, `50us`, `1m` or `0`, to the nanosecond.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let expected = "a time with its unit (ns, us, ms, s, m or h), as in 10s or 500ms";
    let nanos = if text == "0" { 0.0 } else { scaled(text, TIMES, expected)? };
    whole(nanos.round(), expected).map(Duration::from_nanos)
}

/// The number before the unit, times the unit.
fn scaled(text: &str, units: &[Unit], expected: &str) -> Result<f64, String> {
    let digits = text.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
    let (number, unit) = text.split_at(digits);
    let scale = units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).map(|(_, scale)| scale);
    match (number.parse::<f64>(), scale) {
        (Ok(number), Some(scale)) => Ok(number * scale),
        _ => Err(refused(expected)),
    }
}

/// `value` as an integer, if it is one but for the rounding of `1.005 * 1000`, and below 2^53, from where integers share a float.
fn whole(value: f64, expected: &str) -> Result<u64, String> {
    let integer = value.round();
    if (value - integer).abs() < 1e-6 && value < 9007199254740992.0 { Ok(integer as u64) } else { Err(refused(expected)) }
}

fn refused(expected: &str) -> String {
    format!("expected {expected}")
}

/// `10s`, `1.5ms`: the largest of ns, us, ms and s that is not above it.
pub fn exact_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos() as f64;
    let (unit, scale) = largest(&TIMES[..4], |scale| nanos >= scale);
    format!("{}{unit}", nanos / scale)
}

/// `64B`, `8KiB`: the largest unit of which it is a multiple.
pub fn exact_bytes(bytes: u64) -> String {
    let (unit, scale) = largest(SIZES, |scale| bytes > 0 && bytes.is_multiple_of(scale as u64));
    format!("{}{unit}", bytes / scale as u64)
}

/// `999ns`, `1.23ms`, `61.0s`.
pub fn rounded_duration(nanos: u64) -> String {
    rounded(nanos as f64, &TIMES[..4])
}

/// `64B`, `1.50KiB`, `-12B`: a slope may be negative.
pub fn rounded_bytes(bytes: f64) -> String {
    rounded(bytes, SIZES)
}

/// `12.3`, `20.0k`, `1.23m`: counts and rates.
pub fn rounded_count(count: f64) -> String {
    rounded(count, COUNTS)
}

/// Three digits, in the largest unit that leaves at least one before the point; base units that are whole keep no point.
fn rounded(value: f64, units: &[Unit]) -> String {
    // What rounds up to the next unit is written in that unit.
    let (unit, scale) = largest(units, |scale| value.abs() >= scale * 0.9995);
    let scaled = value / scale;
    let decimals = match scaled.abs() {
        _ if scale == 1.0 && scaled.fract() == 0.0 => 0,
        below_10 if below_10 < 9.995 => 2,
        below_100 if below_100 < 99.95 => 1,
        _ => 0,
    };
    format!("{scaled:.decimals$}{unit}")
}

/// The last unit whose scale `fits`, or else the first.
fn largest(units: &[Unit], fits: impl Fn(f64) -> bool) -> Unit {
    units.iter().rev().copied().find(|(_, scale)| fits(*scale)).unwrap_or(units[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts() {
        for (text, count) in [("0", 0), ("50", 50), ("20k", 20_000), ("20K", 20_000), ("1.5m", 1_500_000), ("1.005k", 1005)] {
            assert_eq!(parse_count(text), Ok(count), "{text}");
        }
        for text in ["", "k", "-1", "1.5", "0.0001k", "20ki", "20 k", "1e3", "1..2", "9007199254740992", "inf", "٣"] {
            assert_eq!(parse_count(text), Err("expected a whole number, as in 500, 20k or 1.5m".into()), "{text}");
        }
    }

    #[test]
    fn rates() {
        for (text, rate) in [("20k", 20e3), ("0.5", 0.5), ("2m", 2e6)] {
            assert_eq!(parse_rate(text), Ok(rate), "{text}");
        }
        for text in ["0", "-1", "x", "inf", "nan"] {
            assert_eq!(parse_rate(text), Err("expected a number above 0, as in 0.5 or 20k".into()), "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [("0", 0), ("64", 64), ("64B", 64), ("8KiB", 8192), ("8kib", 8192), ("1.5MiB", 3 << 19), ("1GiB", 1 << 30)] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for text in ["", "64k", "64KB", "0.3", "0.3B", "KiB", "-8"] {
            assert_eq!(parse_bytes(text), Err("expected a size in bytes, KiB, MiB or GiB, as in 64 or 8KiB".into()), "{text}");
        }
    }

    #[test]
    fn durations() {
        let micros = Duration::from_micros;
        for (text, duration) in [
            ("10s", Duration::from_secs(10)),
            ("500ms", Duration::from_millis(500)),
            ("1m", Duration::from_secs(60)),
            ("1h", Duration::from_secs(3600)),
            ("50us", micros(50)),
            ("0.1us", Duration::from_nanos(100)),
            ("1.1s", micros(1_100_000)),
            ("0", Duration::ZERO),
            ("0s", Duration::ZERO),
        ] {
            assert_eq!(parse_duration(text), Ok(duration), "{text}");
        }
        for text in ["", "10", "s", "-1s", "1d", "1m30s", "500 ms", "99999999h"] {
            let error = "expected a time with its unit (ns, us, ms, s, m or h), as in 10s or 500ms";
            assert_eq!(parse_duration(text), Err(error.into()), "{text}");
        }
    }

    #[test]
    fn exact_values_parse_to_themselves() {
        for (nanos, text) in
            [(0, "0ns"), (50_000, "50us"), (1_500_000, "1.5ms"), (10_000_000_000, "10s"), (90_000_000_001, "90.000000001s")]
        {
            let duration = Duration::from_nanos(nanos);
            assert_eq!(exact_duration(duration), text);
            assert_eq!(parse_duration(text), Ok(duration));
        }
        for (bytes, text) in [(0, "0B"), (64, "64B"), (1500, "1500B"), (8192, "8KiB"), (1 << 20, "1MiB"), (3 << 30, "3GiB")] {
            assert_eq!(exact_bytes(bytes), text);
            assert_eq!(parse_bytes(text), Ok(bytes));
        }
    }

    #[test]
    fn measured_values_have_three_digits() {
        for (nanos, text) in [
            (0, "0ns"),
            (999, "999ns"),
            (1_000, "1.00us"),
            (1_234_567, "1.23ms"),
            (9_996_000, "10.0ms"),
            (99_960_000, "100ms"),
            (999_400, "999us"),
            (999_600, "1.00ms"),
            (61_000_000_000, "61.0s"),
            (3_600_000_000_000, "3600s"),
        ] {
            assert_eq!(rounded_duration(nanos), text);
        }
        for (bytes, text) in [(0.0, "0B"), (180.0, "180B"), (0.5, "0.50B"), (-12.0, "-12B"), (1536.0, "1.50KiB"), (-2048.0, "-2.00KiB")] {
            assert_eq!(rounded_bytes(bytes), text);
        }
        for (count, text) in [(0.0, "0"), (12.0, "12"), (12.34, "12.3"), (20_000.0, "20.0k"), (1_234_567.0, "1.23m")] {
            assert_eq!(rounded_count(count), text);
        }
    }
}
