//! The settings that the workers of the simulation run with.

use std::sync::OnceLock;

use crate::config::{self, Config};

/// A namespace for each policy, with few bytes and short times.
pub fn config() -> &'static Config {
    static CONFIG: OnceLock<Config> = OnceLock::new();
    CONFIG.get_or_init(|| {
        let namespaces = [
            ("keyed", "flush_ms", "10"),
            ("keyed", "keys_max", "4"),
            ("late", "flush_ms", "10"),
            ("late", "slow", "drop_oldest"),
            ("chat", "history_size", "6"),
            ("chat", "last_value", "false"),
            ("chat", "slow", "disconnect"),
            ("chat", "presence", "true"),
            ("chat", "join_leave", "true"),
            ("feed", "history_size", "12"),
            ("feed", "value_ttl_ms", "3000"),
            ("old", "slow", "drop_oldest"),
            ("old", "value_ttl_ms", "1000"),
        ]
        .map(|(namespace, key, value)| (format!("hub.namespaces.{namespace}.{key}"), value));
        let mut base = vec![
            ("limits.outbox_bytes_max", "4096"),
            ("deflate.enabled", "false"),
            ("timeouts.ping_interval_ms", "3600000"),
            ("timeouts.handshake_ms", "3600000"),
            ("hub.history_ttl_ms", "2000"),
            ("hub.delta", "true"),
            ("hub.rates", "1,20,200"),
        ];
        base.extend(namespaces.iter().map(|(key, value)| (&**key, *value)));
        config::load(&base, None, std::iter::empty(), &[]).unwrap()
    })
}
