//! The judgements of a server: whether it is found, answers, and shares this machine. Imports the doctor's terms and the listener's room.

use std::{
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    time::{Duration, Instant},
};

use super::{
    Check,
    Level::{Bad, Good, Warn},
};
use crate::system::{
    listener::{is_local, listening_on},
    machine::Machine,
    process::ProcessTree,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// With fewer CPUs, generator and server take time from each other.
const CPUS_FOR_BOTH: usize = 4;

/// The lines, and whether the server is at a loopback address.
pub(super) fn checks(host: &str, port: u16) -> (Vec<Check>, Option<bool>) {
    let addresses: Vec<SocketAddr> = match (host, port).to_socket_addrs() {
        Ok(addresses) => addresses.collect(),
        Err(error) => return (vec![resolved(Err(error.to_string()), host)], None),
    };
    let list = addresses.iter().map(|address| address.ip().to_string()).collect::<Vec<_>>().join(", ");
    let mut checks = vec![resolved(Ok(list), host)];
    let start = Instant::now();
    let reached = addresses.iter().find(|address| TcpStream::connect_timeout(address, CONNECT_TIMEOUT).is_ok());
    let took = start.elapsed();
    checks.push(connected(reached, took, port));
    checks.extend(reached.map(place));
    (checks, addresses.first().map(|address| address.ip().is_loopback()))
}

fn resolved(addresses: Result<String, String>, host: &str) -> Check {
    let level = if addresses.is_ok() { Good } else { Bad };
    let value = addresses.unwrap_or_else(|error| error);
    Check::new(level, "resolve", value, "the addresses of the server's name", format!("getent hosts {host}, and /etc/hosts"))
}

fn connected(reached: Option<&SocketAddr>, took: Duration, port: u16) -> Check {
    let why = "whether something accepts connections there";
    let mend = format!("start the server; what listens on its machine: ss -ltnp 'sport = :{port}'");
    match reached {
        Some(address) => Check::new(Good, "connect", format!("{address} in {took:.0?}"), why, mend),
        None => Check::new(Bad, "connect", format!("no connection in {took:.0?}"), why, mend),
    }
}

fn place(address: &SocketAddr) -> Check {
    if !is_local(address.ip()) {
        return Check::new(Good, "server", "another machine", "its CPU time and memory are not measured from here", "");
    }
    let cpus = Machine::read().cpus_online.unwrap_or(1);
    let pid = listening_on(*address);
    let program = pid.and_then(|pid| ProcessTree::new(pid).ok()?.command_line().ok()).and_then(|line| line.into_iter().next());
    let value = match (pid, program) {
        (Some(pid), Some(program)) => format!("here, process {pid}, {program}"),
        _ => "here, process not known".to_owned(),
    };
    match pid {
        None => Check::new(Warn, "server", value, "its CPU time and memory are measured by its process", "--pid PID"),
        Some(pid) if cpus < CPUS_FOR_BOTH => {
            let why = "it shares few CPUs with the generator: latencies hold both";
            Check::new(Warn, "server", value, why, format!("-t 1 --pin 0, and taskset -acp {} {pid}", all_but_the_first(cpus)))
        }
        Some(_) => Check::new(Good, "server", value, "its CPU time and memory are measured by its process", ""),
    }
}

/// As `taskset` takes them. A single CPU has no other.
fn all_but_the_first(cpus: usize) -> String {
    match cpus {
        0 | 1 => "0".to_owned(),
        2 => "1".to_owned(),
        cpus => format!("1-{}", cpus - 1),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::{super::Level, *};

    fn levels(checks: &[Check]) -> Vec<(&'static str, Level)> {
        checks.iter().map(|check| (check.name, check.level)).collect()
    }

    #[test]
    fn a_server_here_is_reached() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let (checks, is_loopback) = checks("127.0.0.1", listener.local_addr().expect("address").port());
        // This process is itself the server, which cannot be measured apart from the generator.
        assert_eq!(levels(&checks), [("resolve", Good), ("connect", Good), ("server", Warn)]);
        assert_eq!(is_loopback, Some(true));
    }

    #[test]
    fn cpus_for_the_server() {
        assert_eq!([1, 2, 3].map(all_but_the_first), ["0", "1", "1-2"]);
    }

    #[test]
    fn nothing_listens() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let port = listener.local_addr().expect("address").port();
        drop(listener);
        assert_eq!(levels(&checks("127.0.0.1", port).0), [("resolve", Good), ("connect", Bad)]);
    }

    #[test]
    fn a_name_that_is_none() {
        let (checks, is_loopback) = checks("no such name", 1);
        assert_eq!((levels(&checks), is_loopback), (vec![("resolve", Bad)], None));
    }
}
