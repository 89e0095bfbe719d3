//! Profiles: options of channels under one name, so that a team says in one line what its channels are for.
//!
//! Owns the place of a profile among other settings. What each promises and sets is `profiles.toml`; there is no second list.
//! Imports only its parent and its neighbours.

use std::collections::{BTreeMap, BTreeSet};

use super::ConfigError;
use super::raw::{Raw, Setting, Value, built_in};
use super::read::one_of;

/// The commented file with what each profile promises and sets, which `--help` shows.
pub const PROFILES: &str = include_str!("profiles.toml");

/// Lays the chosen profiles under what is written beside them.
///
/// From the lowest precedence to the highest a namespace's option comes from the default, the profile of `[hub]`, what is
/// written in `[hub]`, the namespace's profile, what is written in the namespace. What is said of fewer channels wins: a line in
/// `[hub]` cannot break what a namespace's profile promises. And a namespace has one profile: its own hides that of `[hub]` whole.
pub(super) fn apply(raw: &mut Raw) -> Result<(), ConfigError> {
    let profiles = built_in(PROFILES);
    let mut tables: Vec<String> = raw.namespaces().iter().map(|name| format!("hub.namespaces.{name}")).collect();
    // The last one: until its profile is laid under it, `[hub]` has what a namespace with another profile falls back to.
    tables.push("hub".to_owned());
    tables.iter().try_for_each(|table| apply_to(raw, table, &profiles))
}

fn apply_to(raw: &mut Raw, table: &str, profiles: &BTreeMap<String, Setting>) -> Result<(), ConfigError> {
    let choice = format!("{table}.profile");
    let Some(Setting { value: Value::Text(name), place }) = raw.written(&choice).cloned() else { return Ok(()) };
    let refuse = |expected: &str| Err(ConfigError::expected(&choice, &place, format_args!("{name:?}"), expected));
    let names: BTreeSet<&str> = profiles.keys().filter_map(|key| Some(key.split_once('.')?.0)).collect();
    if name.is_empty() {
        return Ok(());
    }
    if !names.contains(&*name) {
        return refuse(&one_of(names.into_iter()));
    }
    let keys: Vec<String> = raw.channel_keys().map(ToOwned::to_owned).collect();
    let mut decides = false;
    for key in keys {
        let own = format!("{table}.{key}");
        let default = raw.get(&format!("hub.{key}"));
        let setting = match profiles.get(&format!("{name}.{key}")) {
            Some(Setting { value, .. }) => {
                let value = value.clone().of_kind(&default.value).expect("a profile's value is of its key's kind");
                Setting { value, place: format!("by the profile {name:?}") }
            }
            None if default.is_written() => continue,
            None => default.clone(),
        };
        if raw.written(&own).is_none() {
            decides |= setting.is_written();
            raw.insert(own, setting);
        }
    }
    // So it is in a copy of the default file, where the profile would have no effect.
    if decides { Ok(()) } else { refuse("fewer settings beside it: what is written wins, and all that it sets is written") }
}
