//! The CPU quota of this process's control groups and how often it was used up, for cgroup v2 and v1. Owns the search for the groups; imports
//! nothing of this crate.

use std::path::{Path, PathBuf};

use super::{Files, number_after};

/// How often, and for how long, a quota has stopped this process's groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Throttled {
    /// Periods in which the quota was used up.
    pub periods: u64,
    /// Time for which groups were stopped, summed over the CPUs, in nanoseconds.
    pub ns: u64,
}

/// The quota in CPUs, the tightest of this process's groups; `None` where there is none.
pub(super) fn cpu_quota(files: Files<'_>) -> Option<f64> {
    groups(files).iter().filter_map(|group| quota_of(files, group)).reduce(f64::min)
}

/// What the quotas of all the groups of this process have stopped; `None` where no group counts it.
pub(super) fn throttled(files: Files<'_>) -> Option<Throttled> {
    let counts = groups(files).into_iter().filter_map(|group| throttled_in(&files.text(&format!("{group}/cpu.stat"))?));
    counts.reduce(|sum, one| Throttled { periods: sum.periods + one.periods, ns: sum.ns + one.ns })
}

/// The folders of this process's groups that may limit its CPU time, each with those above it: a quota at any height holds.
fn groups(files: Files<'_>) -> Vec<String> {
    let (Some(memberships), Some(mounts)) = (files.text("proc/self/cgroup"), files.text("proc/self/mountinfo")) else { return Vec::new() };
    let mut groups = Vec::new();
    for (root, at) in mounts.lines().filter_map(|line| mount(line, &memberships)) {
        // Without a cgroup namespace, a container's mount shows a part of the tree, whose root the paths of the memberships begin with.
        groups.extend(root.ancestors().filter_map(|group| at.join(group).to_str().map(|path| path.trim_matches('/').to_owned())));
    }
    groups
}

/// Of a mount of a hierarchy with the CPU controller: this process's group, relative to the mount, and the mount's place.
fn mount<'a>(line: &'a str, memberships: &'a str) -> Option<(&'a Path, PathBuf)> {
    // 32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
    let (head, tail) = line.split_once(" - ")?;
    let head: Vec<&str> = head.split(' ').collect();
    let [_, _, _, root, at, ..] = head[..] else { return None };
    let tail: Vec<&str> = tail.split(' ').collect();
    let [kind, _, options] = tail[..] else { return None };
    let has_cpu = |list: &str| list.split(',').any(|controller| controller == "cpu");
    let membership = memberships.lines().find_map(|line| {
        // 5:cpu,cpuacct:/a/group, or for v2: 0::/a/group
        let (id, (controllers, path)) = line.split_once(':').and_then(|(id, rest)| Some((id, rest.split_once(':')?)))?;
        let is_of_mount = match kind {
            "cgroup2" => id == "0",
            "cgroup" => has_cpu(options) && has_cpu(controllers),
            _ => false,
        };
        is_of_mount.then_some(Path::new(path))
    })?;
    let group = membership.strip_prefix(root).or_else(|_| membership.strip_prefix("/")).ok()?;
    Some((group, PathBuf::from(at)))
}

fn quota_of(files: Files<'_>, group: &str) -> Option<f64> {
    // v2 has "max 100000" or "150000 100000" in one file; v1 has -1 for no limit.
    let (quota, period) = match files.text(&format!("{group}/cpu.max")) {
        Some(max) => {
            let (quota, period) = max.split_once(' ')?;
            (quota.parse::<f64>().ok()?, period.parse::<f64>().ok()?)
        }
        None => (files.number(&format!("{group}/cpu.cfs_quota_us"))?, files.number(&format!("{group}/cpu.cfs_period_us"))?),
    };
    (quota > 0.0 && period > 0.0).then(|| quota / period)
}

fn throttled_in(stat: &str) -> Option<Throttled> {
    let ns = number_after::<u64>(stat, "throttled_usec ").map(|us| us * 1000).or_else(|| number_after(stat, "throttled_time "))?;
    Some(Throttled { periods: number_after(stat, "nr_throttled ")?, ns })
}

#[cfg(test)]
mod tests {
    use super::{super::fixture::Tree, *};

    const V2_MOUNT: &str = "31 23 0:28 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n23 1 0:5 / / rw - ext4 /dev/vda rw\n";
    const STAT: &str = "usage_usec 9\nnr_periods 50\nnr_throttled 4\nthrottled_usec 1500\n";

    #[test]
    fn v2_takes_the_tightest_quota_and_sums_what_was_stopped() {
        let tree = Tree::new(
            "cgroup-v2",
            &[
                ("proc/self/cgroup", "0::/a/b\n"),
                ("proc/self/mountinfo", V2_MOUNT),
                ("sys/fs/cgroup/cpu.stat", "usage_usec 9\n"),
                ("sys/fs/cgroup/a/cpu.max", "150000 100000\n"),
                ("sys/fs/cgroup/a/cpu.stat", STAT),
                ("sys/fs/cgroup/a/b/cpu.max", "max 100000\n"),
                ("sys/fs/cgroup/a/b/cpu.stat", STAT),
                ("sys/fs/cgroup/c/cpu.max", "1000 100000\n"),
            ],
        );
        assert_eq!(cpu_quota(tree.files()), Some(1.5));
        assert_eq!(throttled(tree.files()), Some(Throttled { periods: 8, ns: 3_000_000 }));
    }

    #[test]
    fn v1_beside_an_empty_v2() {
        let tree = Tree::new(
            "cgroup-v1",
            &[
                ("proc/self/cgroup", "4:memory:/m\n2:cpu,cpuacct:/docker/x\n0::/\n"),
                (
                    "proc/self/mountinfo",
                    "32 31 0:29 /docker/x /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                     35 31 0:32 /m /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                     41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
                ),
                ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "50000\n"),
                ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
                ("sys/fs/cgroup/cpu,cpuacct/cpu.stat", "nr_periods 9\nnr_throttled 3\nthrottled_time 77\n"),
            ],
        );
        assert_eq!(cpu_quota(tree.files()), Some(0.5));
        assert_eq!(throttled(tree.files()), Some(Throttled { periods: 3, ns: 77 }));
    }

    #[test]
    fn without_a_limit_or_without_groups() {
        let tree = Tree::new(
            "cgroup-none",
            &[
                ("proc/self/cgroup", "1:cpu:/\n"),
                ("proc/self/mountinfo", "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"),
                ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n"),
                ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
            ],
        );
        assert_eq!((cpu_quota(tree.files()), throttled(tree.files())), (None, None));
        let empty = Tree::new("cgroup-empty", &[]);
        assert_eq!((cpu_quota(empty.files()), throttled(empty.files())), (None, None));
    }
}
