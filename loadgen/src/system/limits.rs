//! How many connections this process may hold: open files and local ports. Owns the file limit; imports nothing of this crate.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{Files, ranges};

/// The limit on open files, `u64::MAX` where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFiles {
    /// What holds now.
    pub soft: u64,
    /// How far this process may raise it.
    pub hard: u64,
}

/// Open files beside the connections: standard streams, pollers, wakers, the report, `/proc` while it is read.
const FILES_BESIDE: u64 = 64;

impl OpenFiles {
    /// This process's limit.
    pub fn read() -> Self {
        let limit = getrlimit(Resource::Nofile);
        Self { soft: limit.current.unwrap_or(u64::MAX), hard: limit.maximum.unwrap_or(u64::MAX) }
    }

    /// Raises the soft limit to the hard one. Gives what holds then.
    pub fn raise() -> io::Result<Self> {
        let limit = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
        Ok(Self::read())
    }

    /// The files that a run with so many connections needs.
    pub fn needed(connections: usize) -> u64 {
        (connections as u64).saturating_add(FILES_BESIDE)
    }
}

/// The ports that the kernel gives to outgoing connections: each local address has as many connections to one destination at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
    /// How many of them are reserved, and not given.
    pub reserved: usize,
}

/// Of the ports of an address, the part that [`Ports::spread`] fills: the search for a free one gets slow towards the end, and some may be in
/// use or in TIME_WAIT.
const SPREAD_PER_CENT: usize = 80;

impl Ports {
    /// This network namespace's.
    pub fn read() -> Option<Self> {
        Self::read_from(Files::of_this_machine())
    }

    pub(super) fn read_from(files: Files<'_>) -> Option<Self> {
        let range = files.text("proc/sys/net/ipv4/ip_local_port_range")?;
        let (first, last) = range.split_once(char::is_whitespace)?;
        let (first, last) = (first.parse().ok()?, last.trim().parse().ok()?);
        let reserved = files.text("proc/sys/net/ipv4/ip_local_reserved_ports").and_then(|list| ranges(&list)).unwrap_or_default();
        let inside = |(from, to): (usize, usize)| (to.min(usize::from(last)) + 1).saturating_sub(from.max(usize::from(first)));
        Some(Self { first, last, reserved: reserved.into_iter().map(inside).sum() })
    }

    /// Connections to one destination from so many local addresses.
    pub fn available(self, local_addresses: usize) -> usize {
        let ports = (usize::from(self.last) + 1).saturating_sub(usize::from(self.first)).saturating_sub(self.reserved);
        ports.saturating_mul(local_addresses)
    }

    /// How many local addresses so many connections to one destination should be spread over, as 127.0.0.1, 127.0.0.2, ...; at least 1.
    pub fn spread(self, connections: usize) -> usize {
        connections.div_ceil((self.available(1) * SPREAD_PER_CENT / 100).max(1)).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::fixture::Tree, *};

    #[test]
    fn the_limit_is_raised_to_the_hard_one() {
        let raised = OpenFiles::raise().expect("raise");
        assert_eq!(raised.soft, raised.hard);
        assert_eq!(OpenFiles::read(), raised);
        assert!(OpenFiles::needed(100) > 100);
    }

    fn ports(range: &str, reserved: &str) -> Option<Ports> {
        let name = format!("ports-{}", range.len() * 100 + reserved.len());
        let files = [("proc/sys/net/ipv4/ip_local_port_range", range), ("proc/sys/net/ipv4/ip_local_reserved_ports", reserved)];
        Ports::read_from(Tree::new(&name, &files).files())
    }

    #[test]
    fn reserved_ports_are_not_given() {
        let all = ports("32768\t60999\n", "\n").expect("ports");
        assert_eq!(all, Ports { first: 32768, last: 60999, reserved: 0 });
        assert_eq!((all.available(1), all.available(2)), (28232, 56464));
        let some = ports("32768\t60999\n", "8080,32000-32769,60999-61005\n").expect("ports");
        assert_eq!((some.reserved, some.available(1)), (3, 28229));
        assert_eq!(ports("x\n", ""), None);
    }

    #[test]
    fn connections_are_spread_before_the_ports_run_short() {
        let ports = Ports { first: 1001, last: 2000, reserved: 0 };
        assert_eq!([0, 1, 800, 801, 1600, 1601].map(|connections| ports.spread(connections)), [1, 1, 1, 2, 2, 3]);
        assert!((0..10_000).step_by(77).all(|connections| ports.available(ports.spread(connections)) >= connections));
        assert_eq!(Ports { first: 5, last: 4, reserved: 0 }.spread(10), 10);
    }
}
