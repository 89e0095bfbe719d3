//! The machine and its processes as the kernel tells of them: what a run used, and what may have spoiled it. Owns the reading of `/proc` and
//! `/sys`, and the limits of this process; imports nothing of this crate.

use std::{collections::BTreeSet, fs, path::Path, str::FromStr};

pub mod cgroup;
pub mod counters;
#[cfg(test)]
mod fixture;
pub mod limits;
pub mod listener;
pub mod machine;
pub mod own;
pub mod process;

/// The kernel's files below a root, which is `/` but in tests.
///
/// What is missing, not ours to read or not as expected is `None`: containers and other kernels lack some of it, and no run fails for that.
#[derive(Clone, Copy)]
struct Files<'a>(&'a Path);

impl Files<'static> {
    fn of_this_machine() -> Self {
        Self(Path::new("/"))
    }
}

impl Files<'_> {
    fn text(self, path: &str) -> Option<String> {
        let text = fs::read_to_string(self.0.join(path)).ok()?;
        Some(text.trim().to_owned())
    }

    /// The first word of a file, as a number.
    fn number<T: FromStr>(self, path: &str) -> Option<T> {
        first_number(&self.text(path)?)
    }
}

/// The first word, as a number.
fn first_number<T: FromStr>(text: &str) -> Option<T> {
    text.split_whitespace().next()?.parse().ok()
}

/// The number after `label` at the beginning of a line, as in `VmRSS:   1024 kB`.
fn number_after<T: FromStr>(text: &str, label: &str) -> Option<T> {
    text.lines().find_map(|line| first_number(line.strip_prefix(label)?))
}

/// The numbers of a list of ranges, as in `0-3,8`.
fn ranges(text: &str) -> Option<Vec<(usize, usize)>> {
    text.split(',')
        .map(str::trim)
        .filter(|range| !range.is_empty())
        .map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            Some((first.parse().ok()?, last.parse().ok()?))
        })
        .collect()
}

/// The CPUs on which a thread may run, from its `status`; none where it is not told.
fn cpus_allowed_in(status: &str) -> BTreeSet<usize> {
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    list.and_then(ranges).unwrap_or_default().into_iter().flat_map(|(first, last)| first..=last).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_by_their_label() {
        let status = "Name:\tfan\nVmPeak:\t 9 kB\nVmRSS:\t    5148 kB\n";
        assert_eq!(number_after(status, "VmRSS:"), Some(5148_u64));
        assert_eq!(number_after::<u64>(status, "VmSwap:"), None);
        assert_eq!(number_after::<u64>(status, "Name:"), None);
    }

    #[test]
    fn ranges_are_single_numbers_or_spans() {
        assert_eq!(ranges("0-3,8\n"), Some(vec![(0, 3), (8, 8)]));
        assert_eq!(ranges(""), Some(vec![]));
        assert_eq!(ranges("a-b"), None);
    }

    #[test]
    fn allowed_cpus_are_listed_in_the_status() {
        assert_eq!(cpus_allowed_in("Cpus_allowed:\tf\nCpus_allowed_list:\t0-1,3\n"), BTreeSet::from([0, 1, 3]));
        assert_eq!(cpus_allowed_in(""), BTreeSet::new());
    }

    #[test]
    fn what_is_missing_is_none() {
        let tree = fixture::Tree::new("files", &[("proc/x", " 12 34\n")]);
        assert_eq!(tree.files().number("proc/x"), Some(12_u32));
        assert_eq!(tree.files().text("proc/x").as_deref(), Some("12 34"));
        assert_eq!(tree.files().text("proc/y"), None);
    }
}
