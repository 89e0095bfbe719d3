//! Who listens at an address of this machine, so that the server's process need not be named. Imports the process room.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    process,
};

use super::process::{ids_in, parents};

/// Whether this is an address of this machine.
pub fn is_local(address: IpAddr) -> bool {
    // A datagram socket binds to this machine's addresses alone, and to no port that a stream could want.
    address.is_loopback() || UdpSocket::bind((address, 0)).is_ok()
}

/// The process whose socket listens at this address of this machine, by itself or by a wildcard.
///
/// Where several share it, their common ancestor: the parent of forked workers. `None` where they have none of their own, where it is this
/// process, or where the kernel does not tell: sockets of another user, or of another network namespace.
pub fn listening_on(address: SocketAddr) -> Option<u32> {
    // Connecting to the wildcard reaches the loopback address.
    let ip = match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        ip => ip.to_canonical(),
    };
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    let inodes = closest(&tables, SocketAddr::new(ip, address.port()));
    owner(&holders(&inodes), &parents().ok()?, process::id())
}

/// The sockets that get a connection to this address: those bound to it, or else to the wildcard, of its own family first.
fn closest(tables: &[String], address: SocketAddr) -> BTreeSet<u64> {
    let mut by_closeness = [BTreeSet::new(), BTreeSet::new(), BTreeSet::new()];
    for (local, inode) in tables.iter().flat_map(|table| table.lines()).filter_map(listener) {
        let closeness = match local.ip() {
            _ if local.port() != address.port() => continue,
            ip if ip.to_canonical() == address.ip() => 0,
            ip if ip.is_unspecified() && ip.is_ipv4() == address.is_ipv4() => 1,
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => 2,
            _ => continue,
        };
        by_closeness[closeness].insert(inode);
    }
    by_closeness.into_iter().find(|inodes| !inodes.is_empty()).unwrap_or_default()
}

/// Local address and inode of a row of `/proc/net/tcp` or `tcp6`, if it is a listening socket's.
fn listener(row: &str) -> Option<(SocketAddr, u64)> {
    let fields: Vec<&str> = row.split_whitespace().collect();
    let [_, local, _, "0A", _, _, _, _, _, inode, ..] = fields[..] else { return None };
    let (ip, port) = local.split_once(':')?;
    // The address is printed as numbers of 32 bits in the machine's byte order, the port as a number.
    let word = |index: usize| Some(u32::from_str_radix(ip.get(8 * index..8 * index + 8)?, 16).ok()?.to_ne_bytes());
    let ip = match ip.len() {
        8 => IpAddr::from(word(0)?),
        32 => {
            let mut octets = [0; 16];
            for (index, part) in octets.chunks_exact_mut(4).enumerate() {
                part.copy_from_slice(&word(index)?);
            }
            IpAddr::from(octets)
        }
        _ => return None,
    };
    Some((SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?), inode.parse().ok()?))
}

/// The processes that have one of these sockets open.
fn holders(inodes: &BTreeSet<u64>) -> BTreeSet<u32> {
    let links: BTreeSet<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    let holds = |pid: &u32| {
        let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
        files.flatten().any(|file| fs::read_link(file.path()).is_ok_and(|to| to.to_str().is_some_and(|to| links.contains(to))))
    };
    ids_in("/proc").map(|pids| pids.filter(holds).collect()).unwrap_or_default()
}

/// Whose the socket is. Those above us are passed over where others hold it too: they only handed it on, as a service manager does.
fn owner(holders: &BTreeSet<u32>, parents: &BTreeMap<u32, u32>, own: u32) -> Option<u32> {
    let upwards = |pid: u32| {
        let mut chain = vec![pid];
        // A process that ended meanwhile may have left a loop of reused ids.
        while let Some(&parent) = parents.get(&chain[chain.len() - 1])
            && !chain.contains(&parent)
        {
            chain.push(parent);
        }
        chain
    };
    let above_us = upwards(own);
    let mut candidates: BTreeSet<u32> = holders.iter().copied().filter(|pid| !above_us.contains(pid)).collect();
    if candidates.is_empty() {
        candidates = holders.iter().copied().filter(|&pid| pid != own).collect();
    }
    let chains: Vec<Vec<u32>> = candidates.iter().map(|&pid| upwards(pid)).collect();
    let common = chains.first()?.iter().copied().find(|pid| chains.iter().all(|chain| chain.contains(pid)))?;
    (candidates.contains(&common) || (common > 1 && !above_us.contains(&common))).then_some(common)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const HEAD: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";

    fn row(ip: IpAddr, port: u16, state: &str, inode: u64) -> String {
        let octets = match ip {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        let words: String =
            octets.chunks_exact(4).map(|word| format!("{:08X}", u32::from_ne_bytes([word[0], word[1], word[2], word[3]]))).collect();
        format!(
            "   0: {words}:{port:04X} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000     0        0 {inode} 1 0 100 0 0 10 0\n"
        )
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn rows_of_listening_sockets() {
        assert_eq!(listener(&row(ip("127.0.0.2"), 8080, "0A", 77)), Some(("127.0.0.2:8080".parse().expect("address"), 77)));
        assert_eq!(listener(&row(ip("fe80::1:2"), 1, "0A", 78)), Some(("[fe80::1:2]:1".parse().expect("address"), 78)));
        assert_eq!(listener(&row(ip("127.0.0.2"), 8080, "01", 77)), None);
        assert_eq!(listener(HEAD), None);
        assert_eq!(listener("0: 7F:1F90 0:0 0A 0 0 0 0 0 5"), None);
    }

    #[test]
    fn the_closest_socket_gets_the_connection() {
        let (exact, wildcard, dual, other) = (
            row(ip("127.0.0.1"), 80, "0A", 1),
            row(ip("0.0.0.0"), 80, "0A", 2),
            row(ip("::"), 80, "0A", 3),
            row(ip("127.0.0.1"), 81, "0A", 4),
        );
        let at =
            |rows: &[&String], to: &str| closest(&[HEAD.to_owned(), rows.iter().copied().cloned().collect()], to.parse().expect("address"));
        assert_eq!(at(&[&dual, &wildcard, &exact, &other], "127.0.0.1:80"), BTreeSet::from([1]));
        assert_eq!(at(&[&dual, &wildcard, &other], "127.0.0.1:80"), BTreeSet::from([2]));
        assert_eq!(at(&[&dual, &other], "127.0.0.1:80"), BTreeSet::from([3]));
        assert_eq!(at(&[&dual, &wildcard], "[::1]:80"), BTreeSet::from([3]));
        assert_eq!(at(&[&wildcard], "[::1]:80"), BTreeSet::new());
        assert_eq!(at(&[&row(ip("::ffff:127.0.0.1"), 80, "0A", 5), &wildcard], "127.0.0.1:80"), BTreeSet::from([5]));
        assert_eq!(at(&[&exact, &row(ip("127.0.0.1"), 80, "0A", 6)], "127.0.0.1:80"), BTreeSet::from([1, 6]));
    }

    #[test]
    fn the_owner_is_what_the_holders_have_in_common() {
        // 1 ─┬─ 10 (a shell) ─┬─ 11 (we)
        //    │                └─ 12 (a master) ─┬─ 13
        //    └─ 20                              └─ 14
        let parents = BTreeMap::from([(1, 0), (10, 1), (11, 10), (12, 10), (13, 12), (14, 12), (20, 1)]);
        let owner = |holders: &[u32]| owner(&holders.iter().copied().collect(), &parents, 11);
        assert_eq!(owner(&[20]), Some(20));
        assert_eq!(owner(&[12, 13, 14]), Some(12));
        assert_eq!(owner(&[13, 14]), Some(12));
        assert_eq!(owner(&[1, 20]), Some(20), "a service manager that handed it on");
        assert_eq!(owner(&[10]), Some(10), "a test that started us and serves");
        assert_eq!(owner(&[12, 20]), None, "strangers");
        assert_eq!(owner(&[11]), None, "ourselves");
        assert_eq!(owner(&[]), None);
    }

    #[test]
    fn our_own_socket_is_found_and_has_no_other_owner() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("address");
        let tables = [fs::read_to_string("/proc/net/tcp").expect("table")];
        assert!(holders(&closest(&tables, address)).contains(&process::id()));
        assert_eq!(listening_on(address), None);
    }

    #[test]
    fn local_addresses() {
        assert!(is_local(ip("127.1.2.3")));
        assert!(is_local(ip("0.0.0.0")));
        assert!(!is_local(ip("192.0.2.1")), "reserved for documentation");
    }
}
