//! The server's configuration: what may be set, where it is read from, and what makes it valid.
//!
//! Three rooms: `raw` merges the places where settings are written, `validate` turns them into the
//! typed [`Config`], `catalogue` lists them for people. All three take the keys, their defaults and
//! their explanations from `default-config.toml`. Imports nothing else of the crate.

mod catalogue;
mod raw;
#[cfg(test)]
mod tests;
mod validate;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use std::{env, fmt, fs};

pub use catalogue::{Entry, catalogue};
pub use fantail_codec::upgrade::Origins;
use raw::Raw;

/// The commented file that `fantail default-config` prints: every setting with its default.
pub const DEFAULT_CONFIG: &str = include_str!("../../default-config.toml");

/// Reads and validates the configuration.
///
/// From the lowest precedence to the highest: the defaults, `base` (defaults that the caller
/// replaces), the TOML file, the `FANTAIL_` variables among `variables`, `flags`. `base` and
/// `flags` pair a key with its value as text; a flag is named like its key.
pub fn load(
    base: &[(&str, &str)],
    file: Option<&Path>,
    variables: impl Iterator<Item = (String, String)>,
    flags: &[(&str, &str)],
) -> Result<Config, ConfigError> {
    let mut raw = Raw::defaults();
    for (key, text) in base {
        raw.set_text(key, text, "by default".to_owned())?;
    }
    if let Some(path) = file {
        let name = path.display().to_string();
        let text = fs::read_to_string(path).map_err(|error| ConfigError(format!("cannot read {name}: {error}")))?;
        raw.add_file(&name, &text)?;
    }
    raw.add_environment(variables)?;
    for (key, text) in flags {
        raw.set_text(key, text, format!("from --{key}"))?;
    }
    validate::validate(&raw)
}

/// The process's environment for [`load`]. What is not Unicode comes with U+FFFD in it, which no
/// setting accepts, so that it is refused and not overlooked.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    env::vars_os().map(move |(name, value)| (text(name), text(value)))
}

/// A valid configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The public edge: upgrades and plain requests.
    pub listen: SocketAddr,
    /// The publish API, health and metrics. Not loopback only if [`Api::key`] is set.
    pub internal: SocketAddr,
    /// Worker threads, at least one.
    pub workers: usize,
    /// How the kernel reports events.
    pub driver: DriverChoice,
    /// Bounds on what clients make the server hold or read.
    pub limits: Limits,
    /// Bounds on the time that clients take.
    pub timeouts: Timeouts,
    /// Whose upgrades are accepted, and as what.
    pub upgrade: Upgrade,
    /// The permessage-deflate extension.
    pub deflate: Deflate,
    /// The internal port.
    pub api: Api,
    /// Channels.
    pub hub: HubConfig,
}

/// How the kernel reports events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriverChoice {
    /// The best that the kernel offers.
    Auto,
    /// io_uring, or nothing.
    Uring,
    /// Epoll, on every Linux.
    Epoll,
}

/// Bounds on what clients make the server hold or read.
///
/// A head has room for the longest target and is short enough for positions of 16 bits; a mailbox has room for the longest message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once; 0: what the limit on open descriptors allows.
    pub connections_max: usize,
    /// Bytes of a request's head.
    pub head_bytes_max: usize,
    /// Header fields of a request.
    pub fields_max: usize,
    /// Bytes of a request's target.
    pub target_bytes_max: usize,
    /// Bytes of a request's body on the edge port.
    pub body_bytes_max: usize,
    /// Bytes of a WebSocket message, inflated.
    pub message_bytes_max: usize,
    /// Fragments of a WebSocket message.
    pub fragments_max: usize,
    /// Bytes waiting to be sent on one connection.
    pub outbox_bytes_max: usize,
    /// Bytes of publications waiting for one worker.
    pub mailbox_bytes_max: usize,
}

/// Bounds on the time that clients take. All but the shutdown window are longer than zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a request's head to be complete, and for a kept-alive connection to send its next.
    pub handshake: Duration,
    /// From one ping to the next.
    pub ping_interval: Duration,
    /// From a ping to its pong.
    pub pong: Duration,
    /// From a message's first byte to its last.
    pub message: Duration,
    /// From the server's close frame to the client's.
    pub close: Duration,
    /// Over which the clients' closes are spread on shutdown.
    pub shutdown_window: Duration,
}

/// Whose upgrades are accepted, and as what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade {
    /// The subprotocols that the server speaks: tokens (RFC 9110 section 5.6.2), no two equal.
    pub subprotocols: Vec<String>,
    /// The pages that may connect.
    pub origins: Origins,
}

/// The permessage-deflate extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deflate {
    /// Whether to agree to it when a client offers it.
    pub enabled: bool,
    /// Compression level, 1 to 9.
    pub level: u8,
    /// Messages of fewer bytes are sent uncompressed.
    pub bytes_min: usize,
    /// Whether a client may keep its compressor's window between messages.
    pub client_context_takeover: bool,
}

/// The internal port.
#[derive(Clone, PartialEq, Eq)]
pub struct Api {
    /// What requests must carry in `X-API-Key`: visible ASCII, not empty.
    pub key: Option<String>,
}

/// Tells whether there is a key, never the key: a configuration may be logged.
impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.key.as_ref().map(|_| "(secret)");
        f.debug_struct("Api").field("key", &key).finish()
    }
}

/// Channels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubConfig {
    /// Channels at once.
    pub channels_max: usize,
    /// The options of a channel whose namespace is not in `namespaces`.
    pub defaults: ChannelOptions,
    /// The options of the channels in a namespace, by the namespace's name.
    pub namespaces: BTreeMap<String, ChannelOptions>,
}

impl HubConfig {
    /// The options of a channel. Its namespace is the text before its first `:`.
    pub fn options(&self, channel: &str) -> ChannelOptions {
        channel.split_once(':').and_then(|(namespace, _)| self.namespaces.get(namespace)).copied().unwrap_or(self.defaults)
    }
}

/// What may differ from namespace to namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelOptions {
    /// How long publications are collected to leave together; zero: they leave at once.
    pub flush: Duration,
    /// Whether text that a raw client sends is published to its channel.
    pub client_publish: bool,
}

/// Why a configuration is refused, in one line that names the setting and where it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(String);

impl ConfigError {
    fn expected(key: &str, place: &str, found: impl fmt::Display, expected: &str) -> Self {
        let key = key.escape_debug();
        Self(format!("`{key}` {place} is {found}: expected {expected}"))
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}
