//! Single settings, read as the type they have in the configuration: words, numbers in their range, lists.
//!
//! Owns the wording of what is refused for itself alone. Each reader panics where the key's default is of another kind, which
//! every start would show. Imports only its parent and `raw`.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::ConfigError;
use super::raw::{Raw, Value};

pub(super) const HOUR_MS: u64 = 3_600_000;
/// The most bytes of anything.
pub(super) const GIB: usize = 1 << 30;
/// The most of anything that is counted: more than one machine serves.
pub(super) const COUNT_MAX: usize = 1 << 24;

/// One of the words that a setting may be, and what it stands for.
pub(super) fn choice<T: Copy>(raw: &Raw, key: &str, choices: &[(&str, T)]) -> Result<T, ConfigError> {
    let word = text(raw, key);
    let chosen = choices.iter().find(|(name, _)| *name == word);
    let expected = || one_of(choices.iter().map(|(name, _)| *name));
    chosen.map(|&(_, value)| value).ok_or_else(|| refuse(raw, key, format_args!("{word:?}"), &expected()))
}

/// The words between which there is a choice, as errors list them.
pub(super) fn one_of<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names = names.map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
    names.rsplit_once(", ").map_or(names.clone(), |(first, last)| format!("{first} or {last}"))
}

pub(super) fn millis(raw: &Raw, key: &str, range: RangeInclusive<u64>) -> Result<Duration, ConfigError> {
    integer(raw, key, range).map(Duration::from_millis)
}

pub(super) fn integer<T: TryFrom<i64> + PartialOrd + Display>(raw: &Raw, key: &str, range: RangeInclusive<T>) -> Result<T, ConfigError> {
    let Value::Integer(integer) = raw.get(key).value else { panic!("`{key}` is an integer by default") };
    let valid = T::try_from(integer).ok().filter(|value| range.contains(value));
    valid.ok_or_else(|| refuse(raw, key, integer, &format!("{} to {}", range.start(), range.end())))
}

pub(super) fn boolean(raw: &Raw, key: &str) -> bool {
    let Value::Boolean(boolean) = raw.get(key).value else { panic!("`{key}` is a boolean by default") };
    boolean
}

pub(super) fn text<'a>(raw: &'a Raw, key: &str) -> &'a str {
    let Value::Text(text) = &raw.get(key).value else { panic!("`{key}` is a string by default") };
    text
}

pub(super) fn texts<'a>(raw: &'a Raw, key: &str) -> &'a [String] {
    let Value::Texts(texts) = &raw.get(key).value else { panic!("`{key}` is a list of strings by default") };
    texts
}

pub(super) fn integers<'a>(raw: &'a Raw, key: &str) -> &'a [i64] {
    let Value::Integers(integers) = &raw.get(key).value else { panic!("`{key}` is a list of integers by default") };
    integers
}

pub(super) fn refuse(raw: &Raw, key: &str, found: impl Display, expected: &str) -> ConfigError {
    ConfigError::expected(key, &raw.get(key).place, found, expected)
}
