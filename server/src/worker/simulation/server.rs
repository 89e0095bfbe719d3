//! What the workers of the simulation run with: their settings, and a driver that does nothing by itself.

use std::{io, net::TcpStream, sync::OnceLock, time::Duration};

use crate::{
    config::{self, Config},
    driver::{Driver, Outgoing},
    worker::Worker,
};

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

/// A driver that remembers what it was asked to watch and to forget, and sends for some connections at once.
#[derive(Default)]
pub struct Watching {
    /// Connections that the kernel took not all of.
    pub watched: Vec<usize>,
    /// Connections that are gone.
    pub forgotten: Vec<usize>,
}

impl Driver for Watching {
    const SENDS_AT_ONCE: usize = 2;

    fn send(&mut self, sends: &mut [Outgoing<'_>]) -> io::Result<()> {
        for send in sends.iter_mut().filter(|send| !send.slices.is_empty()) {
            send.result = Some(rustix::io::writev(send.socket, send.slices).map_err(Into::into));
        }
        Ok(())
    }

    fn wait(&mut self, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }

    fn dispatch(&mut self, _: &mut Worker) {}

    fn watch_writable(&mut self, key: usize, _: &TcpStream) -> io::Result<()> {
        self.watched.push(key);
        Ok(())
    }

    fn pause(&mut self, _: usize) {}

    fn resume(&mut self, _: usize) {}

    fn forget(&mut self, key: usize, _: TcpStream) {
        self.watched.retain(|&watched| watched != key);
        self.forgotten.push(key);
    }

    fn stop_accepting(&mut self) {}
}
