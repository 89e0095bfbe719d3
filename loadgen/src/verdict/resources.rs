//! The rules about what connections need of the kernel: files, ports, places in queues. Imports the verdict's terms.

use super::{Finding, Kind, Observed, Supply, invalid, warning};

/// Sockets in TIME_WAIT beyond this part of the ports make free ones hard to find.
pub(crate) const TIME_WAIT_PART: f64 = 0.5;

pub(super) fn ports_low(seen: &Observed) -> Option<Finding> {
    let Supply { needed, available, refused } = seen.ports.filter(is_low)?;
    let mend = "give more addresses with --local-addr, or run sysctl -w net.ipv4.ip_local_port_range='1024 65535'";
    let text = format!("{needed} connections to one destination have {available} local ports, and {refused} found none: {mend}");
    Some(invalid(Kind::PortsLow, text))
}

pub(super) fn nofile_low(seen: &Observed) -> Option<Finding> {
    let Supply { needed, available, refused } = Some(seen.files).filter(is_low)?;
    let mend = "raise the hard limit with ulimit -Hn";
    let text = format!("{needed} files are needed where {available} may be open, and {refused} connections had none: {mend}");
    Some(invalid(Kind::NofileLow, text))
}

pub(super) fn time_wait(seen: &Observed) -> Option<Finding> {
    let (sockets, ports) = (seen.time_wait?, seen.ports?.available);
    let mend = "wait a minute between runs, or run sysctl -w net.ipv4.tcp_tw_reuse=1";
    let text = || format!("{sockets} sockets are in TIME_WAIT where there are {ports} ports: {mend}");
    (sockets as f64 > TIME_WAIT_PART * ports as f64).then(|| warning(Kind::TimeWait, text()))
}

pub(super) fn listen_overflow(seen: &Observed) -> Option<Finding> {
    let count = seen.listen_overflows.filter(|&count| count > 0)?;
    let mend = "raise the server's backlog and net.core.somaxconn, or lower --connect-inflight";
    let text = format!("a full accept queue turned away {count} connections, which come again after a second: {mend}");
    Some(warning(Kind::ListenOverflow, text))
}

fn is_low(supply: &Supply) -> bool {
    supply.refused > 0 || supply.needed > supply.available
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            Severity,
            tests::{calm, severity, text},
        },
        *,
    };

    const ENOUGH: Supply = Supply { needed: 10, available: 10, refused: 0 };
    const SHORT: Supply = Supply { needed: 11, available: 10, refused: 0 };
    const REFUSED: Supply = Supply { needed: 1, available: 10, refused: 1 };

    #[test]
    fn too_few_are_seen_before_and_after() {
        let ports = |supply| severity(&Observed { ports: Some(supply), ..calm() }, Kind::PortsLow);
        let files = |supply| severity(&Observed { files: supply, ..calm() }, Kind::NofileLow);
        assert_eq!([ENOUGH, SHORT, REFUSED].map(ports), [None, Some(Severity::Invalid), Some(Severity::Invalid)]);
        assert_eq!([ENOUGH, SHORT, REFUSED].map(files), [None, Some(Severity::Invalid), Some(Severity::Invalid)]);
        assert!(text(&Observed { files: SHORT, ..calm() }, Kind::NofileLow).starts_with("11 files are needed where 10"));
    }

    #[test]
    fn time_wait_holds_ports() {
        let held = |sockets| severity(&Observed { time_wait: Some(sockets), ports: Some(ENOUGH), ..calm() }, Kind::TimeWait);
        assert_eq!([5, 6].map(held), [None, Some(Severity::Warning)]);
    }

    #[test]
    fn a_full_queue_is_told() {
        let seen = Observed { listen_overflows: Some(7), ..calm() };
        assert_eq!(severity(&seen, Kind::ListenOverflow), Some(Severity::Warning));
        assert!(text(&seen, Kind::ListenOverflow).contains("turned away 7 connections"));
    }
}
