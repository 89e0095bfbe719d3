//! What `[hub]` and its namespaces say of channels: ranges, words, and what a channel's options demand of each other.
//!
//! Apart from `validate` because each key here is read once for every namespace. Imports only its parent and its neighbours.

use std::sync::Arc;
use std::time::Duration;

use super::raw::Raw;
use super::read::{COUNT_MAX, GIB, HOUR_MS, boolean, choice, integer, integers, millis, refuse};
use super::{Access, ChannelOptions, ConfigError, HubConfig, Limits, SlowPolicy};

/// The longest that anything is remembered by its age: 30 days.
const AGE_MS_MAX: u64 = 720 * HOUR_MS;
/// Each rate is a class of subscribers, with bytes and a timer of its own in every channel.
const RATES_MAX: usize = 8;
/// Updates a second. A subscriber that wants more gets all of them.
const RATE_MAX: u16 = 1000;

pub(super) fn hub(raw: &Raw, limits: &Limits) -> Result<HubConfig, ConfigError> {
    let of_namespace = |name: &str| {
        let options = options(raw, limits, |key| raw.key_in_namespace(name, key))?;
        Ok((name.to_owned(), Arc::new(options)))
    };
    Ok(HubConfig {
        channels_max: integer(raw, "hub.channels_max", 1..=COUNT_MAX)?,
        defaults: Arc::new(options(raw, limits, |key| format!("hub.{key}"))?),
        namespaces: raw.namespaces().into_iter().map(of_namespace).collect::<Result<_, _>>()?,
    })
}

/// The options that the settings at `full(key)` make, for each key of a channel.
fn options(raw: &Raw, limits: &Limits, full: impl Fn(&str) -> String) -> Result<ChannelOptions, ConfigError> {
    let access = |key| access(raw, &full(key));
    let subscribe = access("subscribe")?;
    let options = ChannelOptions {
        flush: millis(raw, &full("flush_ms"), 0..=60_000)?,
        subscribe,
        publish: access("publish")?,
        // Nobody gets by a pattern what is refused by name; `[hub]` may allow patterns without each namespace having to look after that.
        wildcard: access("wildcard")?.min(subscribe),
        history_size: integer(raw, &full("history_size"), 0..=1_000_000)?,
        history_ttl: millis(raw, &full("history_ttl_ms"), 1..=AGE_MS_MAX)?,
        last_value: boolean(raw, &full("last_value")),
        value_ttl: millis(raw, &full("value_ttl_ms"), 0..=AGE_MS_MAX)?,
        keys_max: integer(raw, &full("keys_max"), 0..=1_000_000)?,
        kept_bytes_max: integer(raw, &full("kept_bytes_max"), 1 << 20..=1024 * GIB)?,
        slow: slow(raw, &full("slow"))?,
        slow_bytes_max: slow_bytes_max(raw, &full("slow_bytes_max"), limits)?,
        rates: rates(raw, &full("rates"))?,
        delta: boolean(raw, &full("delta")),
        presence: boolean(raw, &full("presence")),
        join_leave: boolean(raw, &full("join_leave")),
        heartbeat: millis(raw, &full("heartbeat_ms"), 0..=HOUR_MS)?,
    };
    let forgets = options.value_ttl != Duration::ZERO;
    if options.history_size > 0 && forgets && options.value_ttl < options.history_ttl {
        // Without its offset a channel begins anew, and its history is gone.
        let expected = format!("0, or at least {}, to outlive `{}`", options.history_ttl.as_millis(), full("history_ttl_ms"));
        return Err(refuse(raw, &full("value_ttl_ms"), options.value_ttl.as_millis(), &expected));
    }
    let uses_keys = options.last_value || options.slow == SlowPolicy::Conflate || !options.rates.is_empty();
    if options.keys_max > 0 && !uses_keys {
        let expected = "0, or what makes use of keys: `last_value`, `slow = \"conflate\"` or `rates`";
        return Err(refuse(raw, &full("keys_max"), options.keys_max, expected));
    }
    Ok(options)
}

fn access(raw: &Raw, key: &str) -> Result<Access, ConfigError> {
    choice(raw, key, &[("nobody", Access::Nobody), ("token", Access::Token), ("users", Access::Users), ("anyone", Access::Anyone)])
}

fn slow(raw: &Raw, key: &str) -> Result<SlowPolicy, ConfigError> {
    use SlowPolicy::{Conflate, Disconnect, DropOldest};
    choice(raw, key, &[("conflate", Conflate), ("drop_oldest", DropOldest), ("disconnect", Disconnect)])
}

/// The default follows a small `outbox_bytes_max`, so that one setting is enough to bound a connection.
fn slow_bytes_max(raw: &Raw, key: &str, limits: &Limits) -> Result<usize, ConfigError> {
    let bytes = integer(raw, key, 4096..=GIB)?;
    if bytes > limits.outbox_bytes_max && raw.written(key).is_some() {
        let expected = format!("at most {}, to fit in `limits.outbox_bytes_max`", limits.outbox_bytes_max);
        return Err(refuse(raw, key, bytes, &expected));
    }
    Ok(bytes.min(limits.outbox_bytes_max))
}

fn rates(raw: &Raw, key: &str) -> Result<Vec<u16>, ConfigError> {
    let found = integers(raw, key);
    let expected = format!("at most {RATES_MAX} integers 1 to {RATE_MAX}, each above the one before it");
    if found.len() > RATES_MAX {
        return Err(refuse(raw, key, format_args!("a list of {}", found.len()), &expected));
    }
    let mut rates: Vec<u16> = Vec::new();
    for &integer in found {
        let above = rates.last().copied().unwrap_or(0);
        let valid = u16::try_from(integer).ok().filter(|rate| (above + 1..=RATE_MAX).contains(rate));
        rates.push(valid.ok_or_else(|| refuse(raw, key, format_args!("a list with {integer}"), &expected))?);
    }
    Ok(rates)
}
