//! `--threshold`: what a run must reach, read against the catalogue before it and judged after it.
//!
//! Owns the grammar `METRIC[.PART] OPERATOR BOUND` and the rules for what cannot be judged. Imports `metrics`, `stats`, `units` and `values`.

use std::fmt;

use crate::{
    metrics::{CATALOGUE, Metric, Scenario, Unit},
    stats::{Latency, Quantile},
    units,
    values::{Value, Values},
};

/// A bound on one figure. `Display` gives it as it was written.
#[derive(Clone, Debug)]
pub struct Threshold {
    text: String,
    metric: &'static Metric,
    /// Of a latency, and only of a latency.
    part: Option<Part>,
    comparison: Comparison,
    /// In the unit of the metric; nanoseconds for latencies.
    bound: f64,
}

/// Which figure of a distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    Min,
    Mean,
    /// Between 0 and 1.
    Quantile(f64),
    Max,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    AtMost,
    AtLeast,
    Equal,
    Below,
    Above,
}

/// What came of a threshold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It holds.
    Pass {
        /// The figure, with its unit.
        seen: String,
    },
    /// It does not.
    Fail {
        /// The figure, with its unit.
        seen: String,
    },
    /// The run does not tell.
    Unknown {
        /// Why not, and what would help.
        reason: String,
    },
}

impl Threshold {
    /// A threshold such as `response.p99<5ms`, `loss==0`, `rate>=20k` or `server.rss_per_conn<8KiB` for a run of `scenario`. Refused with a reason
    /// that does not repeat the text: a metric that is unknown or that the scenario does not produce, a latency without its part, a bound in
    /// another unit.
    pub fn parse(text: &str, scenario: Scenario) -> Result<Threshold, String> {
        let (figure, comparison, bound) = split(text).ok_or("expected METRIC<BOUND; or <=, >, >= or ==")?;
        let (metric, part) = find(figure, scenario)?;
        let bound = parse_bound(bound, metric.unit)?;
        Ok(Threshold { text: text.to_owned(), metric, part, comparison, bound })
    }

    /// Whether the values of a run keep it.
    pub fn judge(&self, values: &Values) -> Judgement {
        match (values.get(self.metric.name), self.part) {
            (Some(Value::Latency(latency)), Some(part)) => self.judge_quantile(part.of(latency)),
            (Some(Value::Count(count)), None) => self.judge_number(*count as f64),
            (Some(Value::Number(number)), None) if number.is_finite() => self.judge_number(*number),
            _ if self.metric.name.starts_with("server.") => unknown("the server's process is not known: give --pid"),
            _ => unknown("it was not measured in this run"),
        }
    }

    /// Whether it cannot be judged because there are too few samples.
    pub fn lacks_samples(&self, values: &Values) -> bool {
        match (values.get(self.metric.name), self.part) {
            (Some(Value::Latency(latency)), Some(part)) => part.of(latency) == Quantile::TooFew,
            _ => false,
        }
    }

    fn judge_number(&self, number: f64) -> Judgement {
        let kept = match self.comparison {
            Comparison::AtMost => number <= self.bound,
            Comparison::AtLeast => number >= self.bound,
            Comparison::Equal => number == self.bound,
            Comparison::Below => number < self.bound,
            Comparison::Above => number > self.bound,
        };
        let seen = show(number, self.metric.unit);
        if kept { Judgement::Pass { seen } } else { Judgement::Fail { seen } }
    }

    fn judge_quantile(&self, quantile: Quantile) -> Judgement {
        let seen = quantile.to_string();
        match quantile {
            Quantile::Exact(nanos) => self.judge_number(nanos as f64),
            // All that is known is that the true value is above it.
            Quantile::Above(nanos) if nanos as f64 >= self.bound => match self.comparison {
                Comparison::Above | Comparison::AtLeast => Judgement::Pass { seen },
                Comparison::Below | Comparison::AtMost | Comparison::Equal => Judgement::Fail { seen },
            },
            Quantile::Above(_) => unknown(&format!("it is {seen}, among messages that were never answered: run longer")),
            Quantile::TooFew => unknown("too few samples for this part: run longer, or with a higher rate"),
        }
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn unknown(reason: &str) -> Judgement {
    Judgement::Unknown { reason: reason.to_owned() }
}

/// Figure, operator and bound.
fn split(text: &str) -> Option<(&str, Comparison, &str)> {
    // The longer operators first, since they begin with the shorter ones.
    const OPERATORS: [(&str, Comparison); 5] = [
        ("<=", Comparison::AtMost),
        (">=", Comparison::AtLeast),
        ("==", Comparison::Equal),
        ("<", Comparison::Below),
        (">", Comparison::Above),
    ];
    let (figure, rest) = text.split_at(text.find(['<', '>', '='])?);
    let (bound, comparison) = OPERATORS.iter().find_map(|(sign, comparison)| Some((rest.strip_prefix(sign)?, *comparison)))?;
    Some((figure.trim(), comparison, bound.trim()))
}

/// The metric that `figure` names, and which part of it.
fn find(figure: &str, scenario: Scenario) -> Result<(&'static Metric, Option<Part>), String> {
    // Names hold points too: of `delivery` and `delivery.last` the longer one that fits is meant.
    let rest_after = |metric: &Metric| figure.strip_prefix(metric.name).filter(|rest| rest.is_empty() || rest.starts_with('.'));
    let fitting = CATALOGUE.iter().filter_map(|metric| Some((metric, rest_after(metric)?)));
    let (metric, rest) = fitting.max_by_key(|(metric, _)| metric.name.len()).ok_or_else(|| unknown_metric(figure, scenario))?;
    let name = metric.name;
    if !metric.scenarios.contains(&scenario) {
        return Err(format!("{} does not measure {name}", scenario.name()));
    }
    match (metric.unit, rest.strip_prefix('.')) {
        (Unit::Latency, part) => match part.and_then(Part::parse) {
            Some(part) => Ok((metric, Some(part))),
            None => {
                Err(format!("{name} is a distribution: expected a part of it, as in {name}.p99; or .min, .mean, .p50 to .p99.99, .max"))
            }
        },
        (_, None) => Ok((metric, None)),
        (_, Some(_)) => Err(format!("{name} is one figure and has no parts: expected {name} alone")),
    }
}

fn unknown_metric(figure: &str, scenario: Scenario) -> String {
    let name =
        figure.match_indices('.').find(|(dot, _)| Part::parse(&figure[dot + 1..]).is_some()).map_or(figure, |(dot, _)| &figure[..dot]);
    let known = CATALOGUE.iter().filter(|metric| metric.scenarios.contains(&scenario));
    let nearest = known.map(|metric| (strsim::jaro_winkler(name, metric.name), metric.name)).max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((likeness, nearest)) if likeness > 0.7 => format!("unknown metric {name:?}: did you mean {nearest:?}?"),
        _ => format!("unknown metric {name:?}: `fantail-load {} --help` lists them", scenario.name()),
    }
}

impl Part {
    fn parse(text: &str) -> Option<Part> {
        match text {
            "min" => Some(Part::Min),
            "mean" => Some(Part::Mean),
            "max" => Some(Part::Max),
            _ => {
                let percent = text.strip_prefix('p').filter(|percent| percent.starts_with(|first: char| first.is_ascii_digit()))?;
                let quantile = percent.parse::<f64>().ok()? / 100.0;
                (0.0 < quantile && quantile < 1.0).then_some(Part::Quantile(quantile))
            }
        }
    }

    fn of(self, latency: &Latency) -> Quantile {
        match self {
            Part::Min => latency.min(),
            Part::Mean => latency.mean(),
            Part::Quantile(quantile) => latency.quantile(quantile),
            Part::Max => latency.max(),
        }
    }
}

fn parse_bound(text: &str, unit: Unit) -> Result<f64, String> {
    match unit {
        Unit::Latency => units::parse_duration(text).map(|bound| bound.as_nanos() as f64),
        Unit::Count => units::parse_count(text).map(|bound| bound as f64),
        Unit::Rate => units::parse_rate(text),
        Unit::Bytes => units::parse_bytes(text).map(|bound| bound as f64),
        Unit::CpuMicros => plain(text).ok_or_else(|| "expected microseconds as a plain number, as in 5 or 0.5".into()),
        Unit::Ratio => plain(text).ok_or_else(|| "expected a plain number, as in 1 or 0.95".into()),
    }
}

fn plain(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0)
}

fn show(number: f64, unit: Unit) -> String {
    match unit {
        Unit::Latency => units::rounded_duration(number as u64),
        Unit::Count => format!("{number}"),
        Unit::Rate => format!("{}/s", units::rounded_count(number)),
        Unit::Bytes => units::rounded_bytes(number),
        Unit::CpuMicros => format!("{number:.2}us"),
        Unit::Ratio => format!("{number:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn parse(text: &str, scenario: Scenario) -> Result<Threshold, String> {
        Threshold::parse(text, scenario)
    }

    #[test]
    fn the_written_forms() {
        use Comparison::{Above, AtLeast, AtMost, Below, Equal};
        use Scenario::{Connect, Echo, Fanout, Idle};
        let percentile = |percent: f64| Some(Part::Quantile(percent / 100.0));
        for (text, scenario, name, part, comparison, bound) in [
            ("response.p99<5ms", Echo, "response", percentile(99.0), Below, 5e6),
            ("response.p99.9 <= 50us", Echo, "response", percentile(99.9), AtMost, 5e4),
            ("delivery.last.p99.99<50ms", Fanout, "delivery.last", percentile(99.99), Below, 5e7),
            ("delivery.p50<1ms", Fanout, "delivery", percentile(50.0), Below, 1e6),
            ("connect.total.max<1s", Idle, "connect.total", Some(Part::Max), Below, 1e9),
            ("connect.tcp.min>1us", Connect, "connect.tcp", Some(Part::Min), Above, 1e3),
            ("service.mean<1ms", Echo, "service", Some(Part::Mean), Below, 1e6),
            ("loss==0", Fanout, "loss", None, Equal, 0.0),
            ("rate>=20k", Connect, "rate", None, AtLeast, 20e3),
            ("server.rss_per_conn<8KiB", Idle, "server.rss_per_conn", None, Below, 8192.0),
            ("server.cpu_us_per_msg<5", Echo, "server.cpu_us_per_msg", None, Below, 5.0),
            ("reach>=0.95", Fanout, "reach", None, AtLeast, 0.95),
        ] {
            let threshold = parse(text, scenario).unwrap();
            assert_eq!(threshold.metric.name, name);
            assert_eq!((threshold.part, threshold.comparison, threshold.bound), (part, comparison, bound), "{text}");
            assert_eq!(threshold.to_string(), text);
        }
    }

    #[test]
    fn what_cannot_be_judged_is_refused_with_a_hint() {
        let parts =
            |name| format!("{name} is a distribution: expected a part of it, as in {name}.p99; or .min, .mean, .p50 to .p99.99, .max");
        for (text, error) in [
            ("response.p99", "expected METRIC<BOUND; or <=, >, >= or ==".to_owned()),
            ("loss=0", "expected METRIC<BOUND; or <=, >, >= or ==".to_owned()),
            ("respnse.p99.9<5ms", "unknown metric \"respnse\": did you mean \"response\"?".to_owned()),
            ("server.cpu_per_msg<5", "unknown metric \"server.cpu_per_msg\": did you mean \"server.cpu_us_per_msg\"?".to_owned()),
            ("http<5ms", "unknown metric \"http\": `fantail-load echo --help` lists them".to_owned()),
            ("<5ms", "unknown metric \"\": `fantail-load echo --help` lists them".to_owned()),
            ("reach==1", "echo does not measure reach".to_owned()),
            ("delivery.last.p99<1ms", "echo does not measure delivery.last".to_owned()),
            ("response<5ms", parts("response")),
            ("response.p100<5ms", parts("response")),
            ("response.p<5ms", parts("response")),
            ("response.p-1<5ms", parts("response")),
            ("connect.tcp.p9x<5ms", parts("connect.tcp")),
            ("loss.p99==0", "loss is one figure and has no parts: expected loss alone".to_owned()),
            ("response.p99<5", "expected a time with its unit (ns, us, ms, s, m or h), as in 10s or 500ms".to_owned()),
            ("loss==5ms", "expected a whole number, as in 500, 20k or 1.5m".to_owned()),
            ("server.cpu_us_per_msg<5us", "expected microseconds as a plain number, as in 5 or 0.5".to_owned()),
            ("server.cpu<NaN", "expected a plain number, as in 1 or 0.95".to_owned()),
        ] {
            assert_eq!(parse(text, Scenario::Echo).unwrap_err(), error, "{text}");
        }
    }

    fn judge(text: &str, scenario: Scenario, value: Option<Value>) -> Judgement {
        let threshold = parse(text, scenario).unwrap();
        threshold.judge(&value.map(|value| (threshold.metric.name, value)).into_iter().collect())
    }

    fn pass(seen: &str) -> Judgement {
        Judgement::Pass { seen: seen.to_owned() }
    }

    fn fail(seen: &str) -> Judgement {
        Judgement::Fail { seen: seen.to_owned() }
    }

    #[test]
    fn figures_are_compared_in_their_unit() {
        use Scenario::{Echo, Idle};
        for (text, scenario, value, judgement) in [
            ("loss==0", Echo, Value::Count(0), pass("0")),
            ("loss==0", Echo, Value::Count(2), fail("2")),
            ("sent>9", Echo, Value::Count(9), fail("9")),
            ("sent>=9", Echo, Value::Count(9), pass("9")),
            ("rate>=20k", Echo, Value::Number(20e3), pass("20.0k/s")),
            ("server.rss_per_conn<8KiB", Idle, Value::Number(8192.0), fail("8.00KiB")),
            ("server.rss_per_conn<=8KiB", Idle, Value::Number(8192.0), pass("8.00KiB")),
            ("server.cpu_us_per_msg<5", Echo, Value::Number(4.933), pass("4.93us")),
            ("server.cpu<0.5", Echo, Value::Number(0.75), fail("0.750")),
        ] {
            assert_eq!(judge(text, scenario, Some(value)), judgement, "{text}");
        }
    }

    #[test]
    fn what_was_not_measured_is_unknown() {
        for (text, value, reason) in [
            ("server.cpu<1", None, "the server's process is not known: give --pid"),
            ("generator.cpu_us_per_msg<1", Some(Value::Number(f64::NAN)), "it was not measured in this run"),
            ("connect.tls.p50<1s", None, "it was not measured in this run"),
        ] {
            assert_eq!(judge(text, Scenario::Echo, value), unknown(reason), "{text}");
        }
    }

    /// 1,000 answers at 1 ms, and as many messages as `ages_ms` that were never answered.
    fn latency(ages_ms: &[u64]) -> Option<Value> {
        let mut latency = Latency::new();
        (0..1000).for_each(|_| latency.record(MS));
        ages_ms.iter().for_each(|age| latency.censor(age * MS));
        Some(Value::Latency(latency))
    }

    #[test]
    fn answered_latencies_are_compared() {
        for (text, passes) in
            [("response.p99<2ms", true), ("response.p50<500us", false), ("response.max<2ms", true), ("response.min>2ms", false)]
        {
            let judgement = judge(text, Scenario::Echo, latency(&[]));
            assert_eq!(matches!(judgement, Judgement::Pass { .. }), passes, "{text}: {judgement:?}");
            assert_eq!(matches!(judgement, Judgement::Fail { .. }), !passes, "{text}: {judgement:?}");
        }
    }

    #[test]
    fn unanswered_messages_fail_a_bound_only_from_their_age_on() {
        let unanswered = [800; 100];
        for (text, expected) in [
            ("response.p99<5ms", "fail"),
            ("response.p99<=5ms", "fail"),
            ("response.p99==5ms", "fail"),
            ("response.p99>5ms", "pass"),
            ("response.p99<10s", "unknown"),
            ("response.p99>10s", "unknown"),
            ("response.p50<5ms", "pass"),
            ("response.p99.99<5ms", "unknown"),
        ] {
            let judgement = judge(text, Scenario::Echo, latency(&unanswered));
            let actual = match &judgement {
                Judgement::Pass { .. } => "pass",
                Judgement::Fail { .. } => "fail",
                Judgement::Unknown { .. } => "unknown",
            };
            assert_eq!(actual, expected, "{text}: {judgement:?}");
        }
    }
}
