//! The settings listed for people, as `fantail serve --help` shows them.
//!
//! Owns the reading of `default-config.toml` by lines, comments included; `raw` reads the same text
//! as TOML. Imports only its parent.

use super::DEFAULT_CONFIG;
use super::raw::variable_of_key;

/// One setting: what it is called, what it is by default and what it means.
pub struct Entry {
    /// The full key, such as `limits.head_bytes_max`.
    pub key: String,
    /// The environment variable that sets it.
    pub variable: String,
    /// The default, as TOML.
    pub default: &'static str,
    /// The comment above it, unit and range included.
    pub about: Vec<&'static str>,
}

/// Every setting, in the order of `default-config.toml`.
pub fn catalogue() -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut section = String::new();
    let mut about = Vec::new();
    for line in DEFAULT_CONFIG.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            about.push(comment);
        } else if let Some((name, default)) = line.split_once(" = ") {
            let key = format!("{section}{name}");
            let variable = variable_of_key(&key);
            let about = std::mem::take(&mut about);
            entries.push(Entry { key, variable, default, about });
        } else {
            // A heading's comment is about the section, and a comment before an empty line is
            // about no setting at all.
            about.clear();
            if let Some(name) = line.strip_prefix('[') {
                section = format!("{}.", name.trim_end_matches(']'));
            }
        }
    }
    entries
}
