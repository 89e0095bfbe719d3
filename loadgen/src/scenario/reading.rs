//! What server, generator and machine have used by one moment. Imports `system`.

use crate::system::{
    counters::Counters,
    own,
    process::{ProcessTree, Usage},
};

/// One moment's readings; `None` for what could not be read.
#[derive(Clone)]
pub struct Reading {
    /// When, by the run's clock.
    pub at_ns: u64,
    /// The server's CPU time.
    pub server: Option<Usage>,
    /// The server's resident memory in bytes.
    pub server_bytes: Option<u64>,
    /// Our CPU time.
    pub own_cpu_ns: u64,
    /// Our resident memory in bytes.
    pub own_bytes: Option<u64>,
    /// The machine's.
    pub counters: Counters,
}

impl Reading {
    /// Reads all, the CPU times last at the start and first at the end of what is between two readings.
    pub fn take(at_ns: u64, server: Option<&mut ProcessTree>) -> Reading {
        let own_cpu_ns = own::cpu_ns();
        let (server, server_bytes) = match server {
            Some(server) => (server.usage().ok(), server.resident_bytes().ok()),
            None => (None, None),
        };
        Reading { at_ns, server, server_bytes, own_cpu_ns, own_bytes: own::resident_bytes().ok(), counters: Counters::read() }
    }

    /// Time since an earlier reading, in nanoseconds.
    pub fn wall_ns_since(&self, earlier: &Reading) -> u64 {
        self.at_ns.saturating_sub(earlier.at_ns)
    }

    /// The server's CPU time since an earlier reading, in nanoseconds.
    pub fn server_cpu_ns_since(&self, earlier: &Reading) -> Option<u64> {
        Some(self.server.as_ref()?.cpu_ns.saturating_sub(earlier.server.as_ref()?.cpu_ns))
    }

    /// Our CPU time since an earlier reading, in nanoseconds.
    pub fn own_cpu_ns_since(&self, earlier: &Reading) -> u64 {
        self.own_cpu_ns.saturating_sub(earlier.own_cpu_ns)
    }
}
