//! The report for a person: plain text whose columns line up. Over several runs it prints the median of each figure with its range, and a
//! line for each run. Imports `metrics`, `threshold`, `units`, `values` and `verdict`.

use std::io::{self, Write};

use super::{
    Outcome, Report, Run,
    summary::{Figure, PARTS, Spread, Summary},
};
use crate::{
    metrics::{Metric, Scenario, Unit},
    threshold::Judgement,
    units::{rounded_bytes, rounded_count, rounded_duration},
    values::Value,
    verdict::Severity,
};

type Row = Vec<String>;

/// Pairs of name and value on a line; fewer where each value has its range beside it.
const PAIRS_PER_LINE: usize = 4;
const PAIRS_PER_LINE_WITH_RANGE: usize = 2;

/// Writes the first line, what is about to be done, so that it stands there while it is done.
///
/// # Errors
///
/// Those of `out`.
pub fn write_plan(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}", report.plan_line)?;
    out.flush()
}

/// Writes all that follows the plan's line, which [`write_plan`] wrote at the start: an empty line before each block, the verdict last unless the
/// exit code has more to say.
///
/// # Errors
///
/// Those of `out`.
pub fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let summary = Summary::of(&report.runs);
    let several = report.runs.len() > 1;
    let blocks = [
        aligned(&latencies(&summary, several), |column| column == 0),
        aligned(&figures(&summary, several), |column| column % 2 == 0),
        aligned(&processes(&summary), |column| column == 0),
        if several { aligned(&runs(report), |column| column == 4) } else { String::new() },
        aligned(&thresholds(report), |_| true),
        remarks(report),
        verdict(report),
    ];
    for block in blocks.iter().filter(|block| !block.is_empty()) {
        write!(out, "\n{block}")?;
    }
    Ok(())
}

/// A row for each latency; over several runs two more, with the range.
fn latencies(summary: &Summary, several: bool) -> Vec<Row> {
    let row = |name: &str, cell: &dyn Fn(usize) -> String, count: f64| {
        let cells = (0..PARTS.len()).map(cell);
        [name.to_owned()].into_iter().chain(cells).chain([count.to_string()]).collect::<Row>()
    };
    let mut rows = Vec::new();
    for (metric, figure) in &summary.0 {
        let Figure::Latency { parts, count } = figure else { continue };
        rows.push(row(metric.name, &|part| parts[part].median.to_string(), count.median));
        if several {
            rows.push(row("  from", &|part| parts[part].min.to_string(), count.min));
            rows.push(row("  to", &|part| parts[part].max.to_string(), count.max));
        }
    }
    if !rows.is_empty() {
        rows.insert(0, ["latency"].iter().chain(&PARTS).chain(&["count"]).map(|&name| name.to_owned()).collect());
    }
    rows
}

/// Counts, rates and what else belongs to no process.
fn figures(summary: &Summary, several: bool) -> Vec<Row> {
    let pairs: Vec<Row> = numbers(summary)
        .filter(|(metric, _)| process_and_part(metric).is_none())
        .map(|(metric, spread)| vec![metric.name.to_owned(), ranged(metric.unit, spread)])
        .collect();
    pairs.chunks(if several { PAIRS_PER_LINE_WITH_RANGE } else { PAIRS_PER_LINE }).map(<[Row]>::concat).collect()
}

/// What server and generator used, side by side.
fn processes(summary: &Summary) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for (metric, spread) in numbers(summary) {
        let Some((process, part)) = process_and_part(metric) else { continue };
        let name = if metric.unit == Unit::Ratio { format!("{part}, cores") } else { part.to_owned() };
        let row = rows.iter().position(|row| row[0] == name).unwrap_or_else(|| {
            rows.push(vec![name, String::new(), String::new()]);
            rows.len() - 1
        });
        rows[row][process] = ranged(metric.unit, spread);
    }
    if !rows.is_empty() {
        rows.insert(0, vec![String::new(), "server".into(), "generator".into()]);
    }
    rows
}

/// The column of the metric's process and what is measured there.
fn process_and_part(metric: &Metric) -> Option<(usize, &'static str)> {
    let (process, part) = metric.name.split_once('.')?;
    let column = ["server", "generator"].iter().position(|name| *name == process)?;
    Some((column + 1, part))
}

fn numbers(summary: &Summary) -> impl Iterator<Item = (&'static Metric, Spread<f64>)> {
    summary.0.iter().filter_map(|(metric, figure)| match figure {
        Figure::Number(spread) => Some((*metric, *spread)),
        Figure::Latency { .. } => None,
    })
}

/// A line for each run: what its scenario is about, and whether it is valid.
fn runs(report: &Report) -> Vec<Row> {
    let (latency, number, unit) = match report.scenario {
        Scenario::Connect => ("connect.response", "rate", Unit::Rate),
        Scenario::Echo => ("response", "rate", Unit::Rate),
        Scenario::Fanout => ("delivery", "rate", Unit::Rate),
        Scenario::Idle => ("connect.total", "server.rss_per_conn", Unit::Bytes),
    };
    let header = ["run".into(), format!("{latency}.p50"), format!("{latency}.p99"), number.into(), "verdict".into()];
    let rows = report.runs.iter().enumerate().map(|(index, run)| {
        let mut row = vec![(index + 1).to_string(), String::new(), String::new(), String::new(), run_verdict(run)];
        if let Some(Value::Latency(it)) = run.values.get(latency) {
            (row[1], row[2]) = (it.quantile(0.5).to_string(), it.quantile(0.99).to_string());
        }
        if let Some(Value::Number(it)) = run.values.get(number) {
            row[3] = shown(unit, *it);
        }
        row
    });
    [header.to_vec()].into_iter().chain(rows).collect()
}

fn run_verdict(run: &Run) -> String {
    let reasons: Vec<String> = run.invalid().into_iter().map(|(name, _)| name).collect();
    if reasons.is_empty() { "valid".into() } else { format!("invalid: {}", reasons.join(", ")) }
}

fn thresholds(report: &Report) -> Vec<Row> {
    let row = |(text, judgement): &(String, Judgement)| {
        let (word, seen) = match judgement {
            Judgement::Pass { seen } => ("pass", seen.to_string()),
            Judgement::Fail { seen } => ("FAIL", seen.to_string()),
            Judgement::Unknown { reason } => ("unknown", reason.to_string()),
        };
        vec![word.into(), text.clone(), seen]
    };
    report.thresholds.iter().map(row).collect()
}

/// Notes, errors and warnings, a line each.
fn remarks(report: &Report) -> String {
    let mut lines: String = report.notes.iter().map(|note| format!("note: {note}\n")).collect();
    for (prefix, run) in prefixed(report) {
        for (text, count) in &run.errors {
            lines += &format!("{prefix}error: {text} ({count}x)\n");
        }
        for finding in run.findings.iter().filter(|finding| finding.severity == Severity::Warning) {
            lines += &format!("{prefix}warning: {}: {}\n", finding.kind, finding.text);
        }
    }
    lines
}

/// Whether the figures stand, a line for each reason that they do not, and why the exit code is not 0.
fn verdict(report: &Report) -> String {
    let reasons = report.invalid();
    let mut lines = String::new();
    if reasons.is_empty() {
        lines += "verdict: valid\n";
    }
    for (name, text) in reasons {
        lines += &format!("verdict: invalid: {name}: {text}\n");
    }
    match Outcome::of(report) {
        Outcome::Pass => {}
        outcome => lines += &format!("exit code {}: {}\n", outcome.code(), outcome.name()),
    }
    lines
}

/// The runs, each with what its lines begin with: its number, if there are several.
fn prefixed(report: &Report) -> impl Iterator<Item = (String, &Run)> {
    let several = report.runs.len() > 1;
    report.runs.iter().enumerate().map(move |(index, run)| (if several { format!("run {}: ", index + 1) } else { String::new() }, run))
}

fn ranged(unit: Unit, spread: Spread<f64>) -> String {
    let [median, min, max] = [spread.median, spread.min, spread.max].map(|value| shown(unit, value));
    if min == max { median } else { format!("{median} ({min}..{max})") }
}

/// Of a million messages the one that is lost matters: a count is shown whole, and a ratio is never rounded up to 1.
fn shown(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Count => value.to_string(),
        Unit::Rate => format!("{}/s", rounded_count(value)),
        Unit::Bytes => rounded_bytes(value),
        Unit::Latency => rounded_duration(value as u64),
        Unit::CpuMicros => rounded_duration((value * 1e3).round() as u64),
        Unit::Ratio => format!("{:.4}", (value * 1e4).floor() / 1e4),
    }
}

/// The rows as lines, their columns two spaces apart, each to the left or to the right.
fn aligned(rows: &[Row], left: fn(usize) -> bool) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0))
        .collect();
    let line = |row: &Row| {
        let cells = row.iter().enumerate().map(|(column, cell)| {
            let width = widths[column];
            if left(column) { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::tests::sample, *};
    use crate::verdict::{Finding, Kind};

    fn printed(report: &Report) -> String {
        let mut out = Vec::new();
        write_plan(report, &mut out).unwrap();
        write(report, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn one_run() {
        let expected = "\
echo ws://127.0.0.1:9001/ -c 50 -t 2 -d 10s

latency     p50    p90      p99  p99.9      max  count
response  505us  909us  >12.0ms    n/a  >12.0ms   1010

connected      50  failed  0  rate  1.00k/s  sent  1000001
reach      0.9999  loss    0

                server  generator
cpu, cores      0.9812     0.2500
cpu_us_per_msg  4.21us
rss                       8.00MiB

FAIL     response.p99<5ms   >12.0ms
pass     rate>=10           100/s
unknown  service.p99.9<5ms  too few samples: 1000 of 10000

note: a closed loop hides stalls from the response; -R shows them
error: connection reset (2x)
warning: time-wait: many; wait a minute

verdict: valid
exit code 99: threshold-failed
";
        assert_eq!(printed(&sample(1)), expected);
    }

    #[test]
    fn several_runs_give_medians_with_ranges_and_a_line_each() {
        let mut report = sample(3);
        report.runs[2].values.insert("negative", Value::Count(1));
        report.notes.clear();
        report.thresholds.clear();
        report.runs.iter_mut().for_each(|run| run.findings.clear());
        report.runs[0].errors.clear();
        report.runs[2].errors.clear();
        let expected = "\
echo ws://127.0.0.1:9001/ -c 50 -t 2 -d 10s

latency      p50     p90      p99  p99.9      max  count
response  1.01ms  1.82ms  >12.0ms    n/a  >12.0ms   1010
  from     505us   909us  >12.0ms    n/a  >12.0ms   1010
  to      1.52ms  2.73ms  >12.0ms    n/a  >12.0ms   1010

connected                      50  failed                           0
rate       500/s (333/s..1.00k/s)  sent    1000002 (1000001..1000003)
reach                      0.9999  loss                             0
negative                        1

                server  generator
cpu, cores      0.9812     0.2500
cpu_us_per_msg  4.21us
rss                       8.00MiB

run  response.p50  response.p99     rate  verdict
  1         505us       >12.0ms  1.00k/s  valid
  2        1.01ms       >12.0ms    500/s  valid
  3        1.52ms       >12.0ms    333/s  invalid: negative

run 2: error: connection reset (2x)

verdict: invalid: negative: latencies below zero: 1; the clock, or a time that the server sent back, is wrong
exit code 3: invalid
";
        assert_eq!(printed(&report), expected);
    }

    #[test]
    fn each_reason_of_an_invalid_run_has_its_line() {
        let mut report = sample(1);
        report.thresholds.clear();
        let text = "a thread was busy 97 % of the time: use more threads".to_owned();
        report.runs[0].findings.push(Finding { kind: Kind::GeneratorSaturated, severity: Severity::Invalid, text });
        report.runs[0].values.insert("negative", Value::Count(3));
        let expected = "
verdict: invalid: generator-saturated: a thread was busy 97 % of the time: use more threads
verdict: invalid: negative: latencies below zero: 3; the clock, or a time that the server sent back, is wrong
exit code 3: invalid
";
        assert!(printed(&report).ends_with(expected), "{}", printed(&report));
    }

    #[test]
    fn without_a_run_there_is_only_the_verdict() {
        let mut report = sample(0);
        report.thresholds.clear();
        report.notes.clear();
        report.interrupted = true;
        let expected = "\
echo ws://127.0.0.1:9001/ -c 50 -t 2 -d 10s

verdict: invalid: no-run: nothing was measured
exit code 130: interrupted
";
        assert_eq!(printed(&report), expected);
    }
}
