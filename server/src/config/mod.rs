//! The server's configuration: what may be set, where it is read from, and what makes it valid.
//!
//! The rooms: `raw` merges the places where settings are written, `profiles` adds what one name stands for, `read` gives each setting
//! its type, `validate` and, for channels, `channels` make the [`Config`] of them, `catalogue` lists them for people. All take the
//! keys, their defaults and their explanations from `default-config.toml`, and the profiles from `profiles.toml`.
//! Imports nothing else of the crate.

mod catalogue;
mod channels;
mod profiles;
mod raw;
mod read;
#[cfg(test)]
mod tests;
mod validate;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::{env, fmt, fs};

pub use catalogue::{Entry, catalogue};
pub use fantail_codec::upgrade::Origins;
pub use profiles::PROFILES;
use raw::{BY_DEFAULT, Raw};

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
        raw.set_text(key, text, BY_DEFAULT.to_owned())?;
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
    validate::validate(raw)
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
    /// Whose tokens are believed.
    pub auth: Auth,
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
    /// Channels that one connection may subscribe to.
    pub subscriptions_max: usize,
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
    /// From a token's end to the end of what it allowed.
    pub token_grace: Duration,
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

/// Whose tokens (JWT, RFC 7519) are believed, each kind by its key; without any there are only anonymous clients.
#[derive(Clone, PartialEq, Eq)]
pub struct Auth {
    /// The secret of HS256.
    pub hmac_secret: Option<String>,
    /// The public key of RS256, in PEM.
    pub rsa_public_key: Option<String>,
    /// The public key of ES256, in PEM.
    pub ecdsa_public_key: Option<String>,
    /// What `aud` must hold.
    pub audience: Option<String>,
    /// What `iss` must be.
    pub issuer: Option<String>,
    /// Whether a client may connect without a token.
    pub anonymous: bool,
}

/// Tells which keys there are, never the keys.
impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { hmac_secret, rsa_public_key, ecdsa_public_key, audience, issuer, anonymous } = self;
        let mut debug = f.debug_struct("Auth");
        for (name, key) in [("hmac_secret", hmac_secret), ("rsa_public_key", rsa_public_key), ("ecdsa_public_key", ecdsa_public_key)] {
            debug.field(name, &key.as_ref().map(|_| "(a key)"));
        }
        debug.field("audience", audience).field("issuer", issuer).field("anonymous", anonymous).finish()
    }
}

/// Channels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubConfig {
    /// Channels at once.
    pub channels_max: usize,
    /// The options of a channel whose namespace is not in `namespaces`.
    pub defaults: Arc<ChannelOptions>,
    /// The options of the channels in a namespace, by the namespace's name.
    pub namespaces: BTreeMap<String, Arc<ChannelOptions>>,
}

impl HubConfig {
    /// The options of a channel.
    pub fn options(&self, channel: &str) -> &Arc<ChannelOptions> {
        namespace(channel).and_then(|namespace| self.namespaces.get(namespace)).unwrap_or(&self.defaults)
    }
}

/// A channel's namespace, the text before its first `:`.
pub fn namespace(channel: &str) -> Option<&str> {
    channel.split_once(':').map(|(namespace, _)| namespace)
}

/// What a channel does, decided by its namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelOptions {
    /// How long publications are collected to leave together; zero: they leave at once.
    pub flush: Duration,
    /// Who may subscribe.
    pub subscribe: Access,
    /// Who may publish, of the clients; backends always may.
    pub publish: Access,
    /// Who may subscribe to a pattern of channels: at most who may subscribe.
    pub wildcard: Access,
    /// Publications that are kept for recovery and for `history`; 0: none.
    pub history_size: usize,
    /// How long they are kept.
    pub history_ttl: Duration,
    /// Whether a new subscriber gets the last value, or each key's.
    pub last_value: bool,
    /// How long a channel without subscribers remembers its last value and its offset after the last publication; zero: as long as the
    /// server lives.
    pub value_ttl: Duration,
    /// Keys whose last values are held apart; 0: publications have no keys.
    pub keys_max: usize,
    /// Bytes of the publications of all the namespace's channels, kept or on their way.
    pub kept_bytes_max: usize,
    /// What becomes of a subscriber that cannot keep up.
    pub slow: SlowPolicy,
    /// Bytes that may wait for a connection before that happens: at most [`Limits::outbox_bytes_max`].
    pub slow_bytes_max: usize,
    /// Updates a second that a subscriber may ask for, rising; each is a class of subscribers that share bytes and timer.
    pub rates: Vec<u16>,
    /// Whether subscribers may ask for deltas.
    pub delta: bool,
    /// Whether it is known who subscribes.
    pub presence: bool,
    /// Whether subscribers that ask for it are told who comes and goes.
    pub join_leave: bool,
    /// After so long without a publication, positioned subscribers are told where the channel stands; zero: never.
    pub heartbeat: Duration,
}

/// Who may do something. Each includes the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Nobody.
    Nobody,
    /// Who has a token for this channel.
    Token,
    /// Who has a connection token with a user in it, or a token for this channel.
    Users,
    /// Anyone.
    Anyone,
}

/// What becomes of a subscriber that cannot keep up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlowPolicy {
    /// It skips to the latest value, or to each key's, when it can be written to again.
    Conflate,
    /// What has waited longest is dropped.
    DropOldest,
    /// It is closed with 3008.
    Disconnect,
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
