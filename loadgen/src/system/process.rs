//! The server's process with its children: CPU time, memory, identity. Owns the reading of `/proc/PID`; imports nothing of this crate.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs::{self, File},
    io::{self, Read},
    process,
};

use ring::digest;
use rustix::param::clock_ticks_per_second;

use super::{cpus_allowed_in, first_number, number_after};

/// A process and all its descendants, found anew at each reading. This process is never among the descendants: a server may have started it.
///
/// `usage` and `resident_bytes` sum over the tree; `is_same`, `executable_sha256` and `command_line` tell of its root.
pub struct ProcessTree {
    root: u32,
    root_started_ticks: u64,
    /// Every process of the tree that has been seen, and when it started: one whose parent ended stays in the tree.
    seen: BTreeMap<u32, u64>,
    /// CPU time of each live thread at the last reading.
    threads: HashMap<u32, u64>,
    /// CPU time of the threads that ended between readings, as last seen.
    ended_ns: u64,
    first_ns: u64,
    first_ticks: u64,
    cpu_ns: u64,
}

/// How far the counts of ticks may be ahead of the exact times before they are believed: four counts are each cut to 10 ms.
const TICKS_SLACK_NS: u64 = 50_000_000;

impl ProcessTree {
    /// The tree below `pid`. An error where there is no such process.
    pub fn new(pid: u32) -> io::Result<Self> {
        let stat = Stat::of(pid).ok_or_else(|| gone(pid))?;
        let mut tree = Self {
            root: pid,
            root_started_ticks: stat.started_ticks,
            seen: BTreeMap::new(),
            threads: HashMap::new(),
            ended_ns: 0,
            first_ns: 0,
            first_ticks: 0,
            cpu_ns: 0,
        };
        let (first_ns, first_ticks) = tree.count()?;
        (tree.first_ns, tree.first_ticks) = (first_ns, first_ticks);
        Ok(tree)
    }

    /// The root's id.
    pub fn pid(&self) -> u32 {
        self.root
    }

    /// Whether the root still runs and is the process that it was at the beginning. An id may be given to another.
    pub fn is_same(&self) -> bool {
        Stat::of(self.root).is_some_and(|stat| stat.started_ticks == self.root_started_ticks && !stat.ended)
    }

    /// CPU time so far. An error when the root has ended.
    ///
    /// The time is the sum over the threads from `schedstat`, because the times in `stat` are counted in ticks of 10 ms. Threads and children
    /// that came and went between two readings are in the ticks alone: these count where they are clearly ahead, as with a server that
    /// starts a thread for each connection.
    pub fn usage(&mut self) -> io::Result<Usage> {
        let (ns, ticks) = self.count()?;
        let exact = ns.saturating_sub(self.first_ns);
        let coarse = ticks.saturating_sub(self.first_ticks) * (1_000_000_000 / clock_ticks_per_second());
        let best = if coarse > exact + TICKS_SLACK_NS { coarse } else { exact };
        self.cpu_ns = self.cpu_ns.max(best);
        Ok(Usage { cpu_ns: self.cpu_ns, threads: self.threads.clone() })
    }

    /// Resident memory in bytes; pages that forked processes share count in each. An error when the root has ended.
    pub fn resident_bytes(&mut self) -> io::Result<u64> {
        let members = self.members()?;
        // A child that ended since it was listed has no memory any more.
        Ok(members.keys().filter_map(|&pid| resident_bytes_of(pid).ok()).sum())
    }

    /// The CPUs on which its threads may run.
    pub fn cpus_allowed(&mut self) -> io::Result<BTreeSet<usize>> {
        let mut cpus = BTreeSet::new();
        for pid in self.members()?.into_keys() {
            for thread in threads_of(pid) {
                let status = fs::read_to_string(format!("/proc/{pid}/task/{thread}/status")).unwrap_or_default();
                cpus.extend(cpus_allowed_in(&status));
            }
        }
        Ok(cpus)
    }

    /// SHA-256 of the root's executable in hexadecimal; an interpreter's, where there is one. An error where the file is not ours to read.
    pub fn executable_sha256(&self) -> io::Result<String> {
        let mut file = File::open(format!("/proc/{}/exe", self.root))?;
        let mut hash = digest::Context::new(&digest::SHA256);
        let mut chunk = vec![0; 64 << 10];
        loop {
            match file.read(&mut chunk)? {
                0 => break,
                bytes => hash.update(&chunk[..bytes]),
            }
        }
        Ok(hash.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The root's arguments, its name first.
    pub fn command_line(&self) -> io::Result<Vec<String>> {
        let bytes = fs::read(format!("/proc/{}/cmdline", self.root))?;
        Ok(arguments(&bytes))
    }

    /// Reads all threads: nanoseconds of those seen so far, ended ones included, and the ticks of the live processes with their waited-for children.
    fn count(&mut self) -> io::Result<(u64, u64)> {
        let members = self.members()?;
        let mut threads = HashMap::new();
        for &pid in members.keys() {
            for thread in threads_of(pid) {
                // A thread that ended since it was listed counts as last seen.
                if let Ok(schedstat) = fs::read_to_string(format!("/proc/{pid}/task/{thread}/schedstat"))
                    && let Some(ns) = first_number(&schedstat)
                {
                    threads.insert(thread, ns);
                }
            }
        }
        self.ended_ns += ended_since(&self.threads, &threads);
        self.threads = threads;
        let ns = self.ended_ns + self.threads.values().sum::<u64>();
        Ok((ns, members.values().map(|stat| stat.cpu_ticks).sum()))
    }

    fn members(&mut self) -> io::Result<BTreeMap<u32, Stat>> {
        let mut all = all_processes()?;
        if all.get(&self.root).is_none_or(|root| root.started_ticks != self.root_started_ticks) {
            return Err(gone(self.root));
        }
        let known = self.seen.iter().filter(|(pid, started)| all.get(pid).is_some_and(|stat| stat.started_ticks == **started));
        let found = descendants(&all, known.map(|(&pid, _)| pid).chain([self.root]), process::id());
        all.retain(|pid, _| found.contains(pid));
        self.seen = all.iter().map(|(&pid, stat)| (pid, stat.started_ticks)).collect();
        Ok(all)
    }
}

/// CPU time of a tree at one reading.
#[derive(Clone, Debug)]
pub struct Usage {
    /// Nanoseconds since the tree's first reading; never less than at an earlier one.
    pub cpu_ns: u64,
    threads: HashMap<u32, u64>,
}

impl Usage {
    /// CPU time of the thread that used most since `earlier`, in nanoseconds: a server of one thread is full when this is the whole time.
    pub fn busiest_ns_since(&self, earlier: &Self) -> u64 {
        let used = self.threads.iter().map(|(thread, ns)| ns.saturating_sub(earlier.threads.get(thread).copied().unwrap_or(0)));
        used.max().unwrap_or(0)
    }
}

/// Resident memory of one process in bytes.
///
/// From `smaps_rollup`, which walks the pages: the sum in `status` may be off by some hundred kilobytes, which would be tens of bytes per
/// connection. The latter where the former is not ours to read.
pub(super) fn resident_bytes_of(pid: u32) -> io::Result<u64> {
    let exact = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok().and_then(|rollup| number_after::<u64>(&rollup, "Rss:"));
    let kib = match exact {
        Some(kib) => kib,
        None => number_after(&fs::read_to_string(format!("/proc/{pid}/status"))?, "VmRSS:").ok_or_else(|| gone(pid))?,
    };
    Ok(kib * 1024)
}

/// Each process and its parent.
pub(super) fn parents() -> io::Result<BTreeMap<u32, u32>> {
    Ok(all_processes()?.into_iter().map(|(pid, stat)| (pid, stat.parent)).collect())
}

/// The ids that a folder of `/proc` lists.
pub(super) fn ids_in(folder: &str) -> io::Result<impl Iterator<Item = u32>> {
    Ok(fs::read_dir(folder)?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()))
}

/// What `/proc/PID/stat` tells of a process.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    /// Ended, and its parent has not asked for its status yet.
    ended: bool,
    parent: u32,
    /// User and system time, its own and that of children whose status it has asked for.
    cpu_ticks: u64,
    /// Since the machine started.
    started_ticks: u64,
}

impl Stat {
    fn of(pid: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        // The name stands in parentheses and may itself hold blanks and parentheses; what follows the last one begins with field 3.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        Some(Self {
            ended: matches!(*fields.first()?, "Z" | "X" | "x"),
            parent: u32::try_from(number(4)?).ok()?,
            cpu_ticks: number(14)? + number(15)? + number(16)? + number(17)?,
            started_ticks: number(22)?,
        })
    }
}

fn all_processes() -> io::Result<BTreeMap<u32, Stat>> {
    Ok(ids_in("/proc")?.filter_map(|pid| Some((pid, Stat::of(pid)?))).collect())
}

/// The threads of a process; none when it has ended.
fn threads_of(pid: u32) -> Vec<u32> {
    ids_in(&format!("/proc/{pid}/task")).map(Iterator::collect).unwrap_or_default()
}

fn descendants(all: &BTreeMap<u32, Stat>, roots: impl Iterator<Item = u32>, except: u32) -> BTreeSet<u32> {
    let mut found: BTreeSet<u32> = roots.collect();
    let mut open: Vec<u32> = found.iter().copied().collect();
    while let Some(parent) = open.pop() {
        for (&pid, stat) in all {
            if stat.parent == parent && pid != except && found.insert(pid) {
                open.push(pid);
            }
        }
    }
    found
}

/// What the threads had used that are no longer there, or whose id another has now.
fn ended_since(before: &HashMap<u32, u64>, now: &HashMap<u32, u64>) -> u64 {
    before.iter().filter(|&(thread, ns)| now.get(thread).is_none_or(|now| now < ns)).map(|(_, ns)| ns).sum()
}

fn arguments(cmdline: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(cmdline);
    text.split_terminator('\0').map(str::to_owned).collect()
}

fn gone(pid: u32) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("there is no process {pid}, or not any more"))
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    const STAT: &str = "13162 (a) b (c)) S 13148 13148 10928 0 -1 4194304 100 0 0 0 1 2 30 400 20 0 1 0 1158175 3133440 412 18446744073709551615 1 1 \
                        1 1 1 0 0 0 0 0 0 0 17 1 0 0 0 0 0 1 1 1 1 1 1 1 0";

    #[test]
    fn stat_is_read_past_any_name() {
        assert_eq!(Stat::parse(STAT), Some(Stat { ended: false, parent: 13148, cpu_ticks: 433, started_ticks: 1_158_175 }));
        assert!(Stat::parse(&STAT.replace(" S ", " Z ")).expect("a zombie").ended);
        assert_eq!(Stat::parse("13162 (cat) R 1 2"), None);
        assert_eq!(Stat::parse(""), None);
    }

    #[test]
    fn descendants_are_found_in_any_order_of_ids() {
        let stat = |parent| Stat { ended: false, parent, cpu_ticks: 0, started_ticks: 0 };
        let all = BTreeMap::from([(1, stat(0)), (5, stat(9)), (7, stat(1)), (9, stat(7)), (10, stat(7)), (11, stat(10)), (12, stat(1))]);
        assert_eq!(descendants(&all, [7].into_iter(), 10), BTreeSet::from([5, 7, 9]));
        assert_eq!(descendants(&all, [9, 12].into_iter(), 0), BTreeSet::from([5, 9, 12]));
    }

    #[test]
    fn threads_that_ended_count_as_last_seen() {
        let before = HashMap::from([(1, 100), (2, 20), (3, 3)]);
        assert_eq!(ended_since(&before, &HashMap::from([(1, 110), (3, 2), (4, 9)])), 20 + 3);
        assert_eq!(ended_since(&before, &before), 0);
    }

    #[test]
    fn the_busiest_thread_is_that_of_the_interval() {
        let earlier = Usage { cpu_ns: 0, threads: HashMap::from([(1, 500), (2, 10)]) };
        let later = Usage { cpu_ns: 0, threads: HashMap::from([(1, 550), (2, 90), (3, 40)]) };
        assert_eq!(later.busiest_ns_since(&earlier), 80);
    }

    #[test]
    fn arguments_end_with_a_zero() {
        assert_eq!(arguments(b"sh\0-c\0\0"), ["sh", "-c", ""]);
    }

    /// A shell that works for a while in a child and then waits for its standard input to end.
    fn shell(child_works: &str) -> (Child, ProcessTree) {
        let script = format!("echo ready; read go; {child_works}; echo done; read end");
        let child = Command::new("sh").args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a shell");
        let tree = ProcessTree::new(child.id()).expect("a tree");
        (child, tree)
    }

    fn say(child: &mut Child, line: &str) {
        use std::io::Write;
        child.stdin.as_mut().expect("stdin").write_all(format!("{line}\n").as_bytes()).expect("write");
    }

    fn hear(child: &mut Child, line: &str) {
        let mut heard = vec![0; line.len() + 1];
        child.stdout.as_mut().expect("stdout").read_exact(&mut heard).expect("read");
        assert_eq!(heard, format!("{line}\n").as_bytes());
    }

    #[test]
    fn a_child_that_came_and_went_counts() {
        let (mut child, mut tree) = shell("(i=0; while [ $i -lt 1000000 ]; do i=$((i+1)); done)");
        hear(&mut child, "ready");
        let before = tree.usage().expect("usage").cpu_ns;
        say(&mut child, "go");
        hear(&mut child, "done");
        // A million turns of a shell take far longer than the slack; the subshell that took them was never listed.
        assert!(tree.usage().expect("usage").cpu_ns - before >= TICKS_SLACK_NS);

        assert!(tree.resident_bytes().expect("memory") > 0);
        assert!(!tree.cpus_allowed().expect("CPUs").is_empty());
        assert_eq!(tree.executable_sha256().expect("hash").len(), 64);
        assert_eq!(tree.command_line().expect("arguments")[..2], ["sh", "-c"]);
        assert!(tree.is_same());

        say(&mut child, "end");
        child.wait().expect("end");
        assert!(!tree.is_same());
        assert_eq!(tree.usage().expect_err("gone").kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_child_whose_parent_ended_stays_in_the_tree() {
        let (mut child, mut tree) = shell("(sleep 60 >/dev/null & echo $!; read on)");
        hear(&mut child, "ready");
        say(&mut child, "go");
        let mut line = String::new();
        let stdout = child.stdout.as_mut().expect("stdout");
        while !line.ends_with('\n') {
            let mut byte = [0];
            stdout.read_exact(&mut byte).expect("read");
            line.push(char::from(byte[0]));
        }
        let orphan: u32 = line.trim().parse().expect("an id");
        assert!(tree.members().expect("members").contains_key(&orphan));
        say(&mut child, "on");
        hear(&mut child, "done");
        assert!(tree.members().expect("members").contains_key(&orphan));

        Command::new("kill").arg(orphan.to_string()).status().expect("kill");
        say(&mut child, "end");
        child.wait().expect("end");
    }

    #[test]
    fn no_such_process() {
        assert_eq!(ProcessTree::new(u32::MAX).err().expect("an error").kind(), io::ErrorKind::NotFound);
    }
}
