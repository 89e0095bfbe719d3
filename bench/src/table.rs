//! The table of the criterion suites: how many times faster than its peers each of ours is.
//!
//! The suites run several rounds, each with a directory of its own that criterion fills. A ratio is formed within a round, where what it
//! compares was measured seconds apart. A benchmark is named `group/implementation/parameter`; ours is an implementation whose name
//! begins with `fantail`. Owns the reading of criterion's files; imports `goals` and `spread`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::goals::goal;
use crate::spread::Spread;

/// A group with one parameter. Before a parameter that is a number stands its value, so that they come in their order.
type Case = (String, Option<u64>, String);

/// What was measured of one case.
#[derive(Debug, Default)]
struct Measured {
    /// What one iteration works through, and the unit of one of that in a nanosecond.
    work: f64,
    unit: &'static str,
    /// Nanoseconds of one iteration, by implementation, then by round.
    times: BTreeMap<String, BTreeMap<PathBuf, f64>>,
}

/// Prints the table of what is below `figures`, beside the ratios of what is below `baseline`, if that is there.
///
/// # Errors
/// A directory or file that cannot be read, or figures of nothing.
pub fn print(figures: &Path, baseline: Option<&Path>) -> io::Result<()> {
    let before = baseline.filter(|baseline| baseline.is_dir()).map_or(Ok(BTreeMap::new()), read)?;
    let measured = read(figures)?;
    if measured.is_empty() {
        return Err(io::Error::other(format!("no figures in {}", figures.display())));
    }
    println!("\n{:<26} {:<30} {:<34} {:<21} {:<14} before", "benchmark", "ours", "peer", "times faster (range)", "goal");
    let (mut met, mut missed) = (0, 0);
    for (case, measured) in &measured {
        let (group, _, parameter) = case;
        for (ours, peer) in measured.pairs() {
            let Some(ratio) = measured.ratio(ours, peer) else { continue };
            let verdict = goal(group, peer, parameter).map_or(String::new(), |goal| {
                // What the table shows as equal is equal.
                let reached = (ratio.median * 100.0).round() >= (goal * 100.0).round();
                *if reached { &mut met } else { &mut missed } += 1;
                format!(">= {goal:.2} {}", if reached { "met" } else { "missed" })
            });
            let earlier = before.get(case).and_then(|before| before.ratio(ours, peer));
            let earlier = earlier.map_or(String::new(), |earlier| format!("{:.2}", earlier.median));
            let (ours, peer) = (measured.speed(ours), measured.speed(peer));
            let name = format!("{group}/{parameter}");
            println!("{}", format!("{name:<26} {ours:<30} {peer:<34} {:<21} {verdict:<14} {earlier}", ratio.to_string()).trim_end());
        }
    }
    println!("\ngoals: {met} met, {missed} missed");
    Ok(())
}

impl Measured {
    /// Each of ours with each peer.
    fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let (ours, peers): (BTreeSet<_>, BTreeSet<_>) = self.times.keys().map(String::as_str).partition(|name| name.starts_with("fantail"));
        ours.into_iter().flat_map(move |ours| peers.clone().into_iter().map(move |peer| (ours, peer)))
    }

    /// How many times faster than the peer ours is, in each round that has both.
    fn ratio(&self, ours: &str, peer: &str) -> Option<Spread> {
        let (ours, peer) = (self.times.get(ours)?, self.times.get(peer)?);
        let mut ratios = ours.iter().filter_map(|(round, ours)| Some(peer.get(round)? / ours)).peekable();
        ratios.peek()?;
        Some(Spread::of(ratios))
    }

    /// The implementation's name and the median of its speed.
    fn speed(&self, implementation: &str) -> String {
        let times = &self.times[implementation];
        let speed = Spread::of(times.values().map(|ns| self.work / ns)).median;
        match (speed, self.unit) {
            (speed, "GB/s") => format!("{implementation} {speed:.2} GB/s"),
            (speed, _) if speed < 0.001 => format!("{implementation} {:.1} k/s", speed * 1e6),
            (speed, _) => format!("{implementation} {:.2} M/s", speed * 1e3),
        }
    }
}

/// What criterion left in the directories of all rounds.
fn read(figures: &Path) -> io::Result<BTreeMap<Case, Measured>> {
    let mut cases = BTreeMap::<Case, Measured>::new();
    for round in directories(figures)? {
        let mut open = vec![round.clone()];
        while let Some(directory) = open.pop() {
            if !directory.ends_with("new") {
                open.extend(directories(&directory)?);
                continue;
            }
            let [benchmark, estimates] = [json(&directory.join("benchmark.json"))?, json(&directory.join("estimates.json"))?];
            let text = |key: &str| benchmark[key].as_str().unwrap_or_default().to_owned();
            let parameter = text("value_str");
            let measured = cases.entry((text("group_id"), parameter.parse().ok(), parameter)).or_default();
            (measured.work, measured.unit) = match &benchmark["throughput"] {
                Value::Object(throughput) if throughput.contains_key("Bytes") => (throughput["Bytes"].as_f64().unwrap_or(1.0), "GB/s"),
                throughput => (throughput["Elements"].as_f64().unwrap_or(1.0), "G/s"),
            };
            let median_ns = estimates["median"]["point_estimate"].as_f64().ok_or_else(|| malformed(&directory))?;
            measured.times.entry(text("function_id")).or_default().insert(round.clone(), median_ns);
        }
    }
    Ok(cases)
}

fn directories(parent: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(parent).map_err(|error| io::Error::other(format!("{}: {error}", parent.display())))?;
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    Ok(paths.into_iter().filter(|path| path.is_dir()).collect())
}

fn json(path: &Path) -> io::Result<Value> {
    serde_json::from_slice(&fs::read(path)?).map_err(|_| malformed(path))
}

fn malformed(path: &Path) -> io::Error {
    io::Error::other(format!("{}: expected what criterion writes", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_formed_within_a_round() {
        let times = |figures: &[(&str, f64)]| figures.iter().map(|&(round, ns)| (PathBuf::from(round), ns)).collect();
        let mut measured = Measured { work: 64.0, unit: "GB/s", times: BTreeMap::new() };
        measured.times.insert("fantail".into(), times(&[("1", 10.0), ("2", 20.0), ("3", 10.0)]));
        measured.times.insert("other".into(), times(&[("1", 20.0), ("2", 60.0), ("3", 10.0), ("4", 1.0)]));
        assert_eq!(measured.pairs().collect::<Vec<_>>(), [("fantail", "other")]);
        assert_eq!(measured.ratio("fantail", "other").map(|ratio| ratio.to_string()).as_deref(), Some("2.00 (1.00-3.00)"));
        assert_eq!(measured.speed("fantail"), "fantail 6.40 GB/s");
        assert!(measured.ratio("fantail", "absent").is_none());
    }

    #[test]
    fn criterion_s_files_are_read() {
        let root = std::env::temp_dir().join(format!("fantail-bench-table-{}", std::process::id()));
        let new = root.join("round-1/mask/memcpy/64/new");
        fs::create_dir_all(&new).expect("directory");
        let benchmark = r#"{"group_id":"mask","function_id":"memcpy","value_str":"64","throughput":{"Bytes":128}}"#;
        fs::write(new.join("benchmark.json"), benchmark).expect("benchmark");
        fs::write(new.join("estimates.json"), r#"{"median":{"point_estimate":4.0}}"#).expect("estimates");
        let cases = read(&root);
        fs::remove_dir_all(&root).expect("removed");

        let cases = cases.expect("figures");
        assert_eq!(cases[&("mask".into(), Some(64), "64".into())].speed("memcpy"), "memcpy 32.00 GB/s");
    }
}
