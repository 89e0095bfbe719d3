//! The report for a program: one JSON document on one line, as [`SCHEMA`] describes it. Numbers are integers with their unit in the key.
//! What may change within a version of the schema stands in its description.
//! Imports `metrics`, `stats`, `threshold`, `values` and `verdict`.

use std::io::{self, Write};

use serde_json::{Value as Json, json};

use super::{
    Outcome, Report, Run,
    summary::{Figure, PARTS, Spread, Summary, parts},
};
use crate::{
    metrics::{Metric, Unit},
    stats::{Latency, Quantile},
    threshold::Judgement,
    values::Value,
    verdict::{Finding, Severity},
};

/// The JSON Schema (draft 2020-12) of what [`write()`] writes.
pub const SCHEMA: &str = include_str!("schema-v1.json");

/// Writes the document and a line feed.
///
/// # Errors
///
/// Those of `out`.
pub fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, &document(report))?;
    out.write_all(b"\n")
}

fn document(report: &Report) -> Json {
    let outcome = Outcome::of(report);
    json!({
        "schema": "fantail-load/1",
        "version": env!("CARGO_PKG_VERSION"),
        "started_unix_ms": report.started_unix_ms,
        "argv": report.argv,
        "plan": report.plan_line,
        "scenario": report.scenario.name(),
        "seed": report.seed,
        "labels": object(report.labels.iter().map(|(key, value)| (key.as_str(), json!(value)))),
        "machine": report.machine,
        "server": report.server.as_ref().map(|server| json!({
            "pid": server.pid,
            "command": server.command,
            "binary_sha256": server.sha256,
        })),
        "runs": report.runs.iter().map(run).collect::<Vec<_>>(),
        "summary": summary(&Summary::of(&report.runs)),
        "thresholds": report.thresholds.iter().map(threshold).collect::<Vec<_>>(),
        "notes": report.notes,
        "valid": report.invalid().is_empty(),
        "outcome": outcome.name(),
        "exit_code": outcome.code(),
    })
}

fn run(run: &Run) -> Json {
    let metrics = run.values.iter().filter_map(|(name, value)| Some((*name, measured(Metric::named(name)?, value))));
    let finding = |finding: &Finding| {
        let severity = match finding.severity {
            Severity::Warning => "warning",
            Severity::Invalid => "invalid",
        };
        json!({ "kind": finding.kind.to_string(), "severity": severity, "text": finding.text })
    };
    json!({
        "measured_ns": run.measured.as_nanos() as u64,
        "metrics": object(metrics),
        "series_per_s": run.series,
        "findings": run.findings.iter().map(finding).collect::<Vec<_>>(),
        "errors": run.errors.iter().map(|(text, count)| json!({ "text": text, "count": count })).collect::<Vec<_>>(),
        "valid": run.invalid().is_empty(),
    })
}

fn measured(metric: &Metric, value: &Value) -> Json {
    match value {
        Value::Latency(it) => latency(it),
        Value::Count(count) => json!({ "count": count }),
        Value::Number(value) => number(metric.unit, *value),
    }
}

fn latency(latency: &Latency) -> Json {
    let quantiles = PARTS.into_iter().zip(parts(latency).map(quantile));
    let others = [
        ("min", quantile(latency.min())),
        ("mean", quantile(latency.mean())),
        ("count", json!(latency.count())),
        ("censored_count", json!(latency.censored())),
        ("buckets_ns_count", latency.buckets().map(|bucket| json!(bucket)).collect()),
        ("censored_buckets_ns_count", latency.censored_buckets().map(|bucket| json!(bucket)).collect()),
    ];
    object(quantiles.chain(others))
}

/// Null where there were too few samples.
fn quantile(quantile: Quantile) -> Json {
    match quantile {
        Quantile::Exact(ns) => json!({ "ns": ns, "bound": "exact" }),
        Quantile::Above(ns) => json!({ "ns": ns, "bound": "above" }),
        Quantile::TooFew => Json::Null,
    }
}

/// As an integer in a unit in which the fraction that is dropped does not matter.
fn number(unit: Unit, value: f64) -> Json {
    let (key, scale) = match unit {
        Unit::Latency => ("ns", 1.0),
        Unit::Count => ("count", 1.0),
        Unit::Rate => ("milli_per_s", 1e3),
        Unit::Bytes => ("bytes", 1.0),
        Unit::CpuMicros => ("ns", 1e3),
        Unit::Ratio => ("ppm", 1e6),
    };
    json!({ key: (value * scale).round() as i64 })
}

/// For each metric its median and range over the runs.
fn summary(summary: &Summary) -> Json {
    let figure = |(metric, figure): &(&'static Metric, Figure)| {
        let spread = match figure {
            Figure::Latency { parts, count } => {
                let parts = PARTS.into_iter().zip(parts.iter().map(|part| spread(*part, quantile)));
                object(parts.chain([("count", spread(*count, |count| number(Unit::Count, count)))]))
            }
            Figure::Number(numbers) => spread(*numbers, |value| number(metric.unit, value)),
        };
        (metric.name, spread)
    };
    object(summary.0.iter().map(figure))
}

fn spread<T>(spread: Spread<T>, written: impl Fn(T) -> Json) -> Json {
    json!({ "median": written(spread.median), "min": written(spread.min), "max": written(spread.max) })
}

fn threshold((text, judgement): &(String, Judgement)) -> Json {
    let (word, seen, reason) = match judgement {
        Judgement::Pass { seen } => ("pass", Some(seen), None),
        Judgement::Fail { seen } => ("fail", Some(seen), None),
        Judgement::Unknown { reason } => ("unknown", None, Some(reason)),
    };
    json!({ "threshold": text, "judgement": word, "seen": seen, "reason": reason })
}

fn object<'a>(members: impl Iterator<Item = (&'a str, Json)>) -> Json {
    Json::Object(members.map(|(key, value)| (key.to_owned(), value)).collect())
}

#[cfg(test)]
mod tests {
    use super::{super::tests::sample, *};
    use crate::metrics::CATALOGUE;

    fn written(report: &Report) -> Json {
        let mut out = Vec::new();
        write(report, &mut out).unwrap();
        assert_eq!(out.iter().position(|byte| *byte == b'\n'), Some(out.len() - 1), "one line");
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn matches_the_schema() {
        let schema: Json = serde_json::from_str(SCHEMA).unwrap();
        assert!(jsonschema::meta::is_valid(&schema));
        let validator = jsonschema::validator_for(&schema).unwrap();
        for runs in [0, 1, 3] {
            let document = written(&sample(runs));
            let errors: Vec<String> = validator.iter_errors(&document).map(|error| format!("{}: {error}", error.instance_path())).collect();
            assert!(errors.is_empty(), "{errors:#?}");
        }
        let mut other = written(&sample(1));
        other["runs"][0]["metrics"]["rate"] = json!({ "bytes": 1 });
        assert!(!validator.is_valid(&other), "each metric has its own unit");
    }

    #[test]
    fn the_schema_has_each_metric_with_its_unit() {
        let schema: Json = serde_json::from_str(SCHEMA).unwrap();
        let described = schema["$defs"]["metrics"]["properties"].as_object().unwrap();
        assert_eq!(described.len(), CATALOGUE.len());
        for metric in CATALOGUE {
            let unit = match metric.unit {
                Unit::Latency => "latency",
                Unit::Count => "count",
                Unit::Rate => "rate",
                Unit::Bytes => "bytes",
                Unit::CpuMicros => "cpu_time",
                Unit::Ratio => "ratio",
            };
            assert_eq!(described[metric.name]["$ref"], format!("#/$defs/{unit}"), "{}", metric.name);
        }
    }

    #[test]
    fn figures_are_integers_in_the_unit_of_their_key() {
        let document = written(&sample(1));
        let metrics = &document["runs"][0]["metrics"];
        assert_eq!(metrics["connected"], json!({ "count": 50 }));
        assert_eq!(metrics["rate"], json!({ "milli_per_s": 1_000_000 }));
        assert_eq!(metrics["reach"], json!({ "ppm": 999_950 }));
        assert_eq!(metrics["server.cpu"], json!({ "ppm": 981_200 }));
        assert_eq!(metrics["server.cpu_us_per_msg"], json!({ "ns": 4215 }));
        assert_eq!(metrics["generator.rss"], json!({ "bytes": 8_388_608 }));
        assert_eq!(document["labels"], json!({ "commit": "abc" }));
        assert_eq!(document["exit_code"], 99);
    }

    #[test]
    fn a_latency_is_whole_and_says_what_is_only_a_lower_bound() {
        let document = written(&sample(1));
        let response = &document["runs"][0]["metrics"]["response"];
        assert_eq!([&response["count"], &response["censored_count"]], [1010, 20]);
        assert_eq!(response["p50"]["bound"], "exact");
        assert_eq!(response["p99"]["bound"], "above");
        assert_eq!(response["p99.9"], Json::Null);
        let total = |key: &str| response[key].as_array().unwrap().iter().map(|bucket| bucket[1].as_u64().unwrap()).sum::<u64>();
        assert_eq!([total("buckets_ns_count"), total("censored_buckets_ns_count")], [990, 20]);
    }

    #[test]
    fn a_threshold_has_either_a_value_or_a_reason() {
        let document = written(&sample(1));
        let fail = json!({ "threshold": "response.p99<5ms", "judgement": "fail", "seen": ">12.0ms", "reason": null });
        assert_eq!(document["thresholds"][0], fail);
        let unknown = &document["thresholds"][2];
        assert_eq!([&unknown["judgement"], &unknown["seen"]], [&json!("unknown"), &Json::Null]);
    }
}
