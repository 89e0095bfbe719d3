//! A plan in one line: every resolved value that matters to its scenario. Imports `units` and the templates.
//! Of fields only the names are shown: their values may be secrets.

use std::fmt::{Display, Formatter, Result};

use fantail_codec::Kind;

use super::{Plan, Publish, Traffic};
use crate::{
    metrics::Scenario,
    payload::Template,
    units::{exact_bytes, exact_duration},
};

impl Display for Plan {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "fantail-load {}", self.scenario.name())?;
        self.urls.iter().try_for_each(|url| write!(f, " {url}"))?;
        write!(f, " connections={} threads={}", self.connections, self.threads)?;
        match self.scenario {
            Scenario::Connect if self.opening.close => {
                f.write_str(" close")?;
                self.fmt_extent(f)?;
            }
            Scenario::Connect => {}
            Scenario::Idle => write!(f, " steps={} settle={}", self.steps.count, exact_duration(self.steps.settle))?,
            Scenario::Echo => {
                self.fmt_extent(f)?;
                self.fmt_traffic(f)?;
            }
            Scenario::Fanout => {
                self.fmt_fanout(f)?;
                self.fmt_extent(f)?;
                self.fmt_traffic(f)?;
            }
        }
        self.fmt_opening(f)?;
        write!(f, " timeout={} seed={}", exact_duration(self.timeout), self.seed)?;
        self.fmt_run(f)
    }
}

impl Plan {
    fn fmt_extent(&self, f: &mut Formatter<'_>) -> Result {
        self.duration.iter().try_for_each(|duration| write!(f, " duration={}", exact_duration(*duration)))?;
        self.count.iter().try_for_each(|count| write!(f, " count={count}"))?;
        write!(f, " warmup={}", exact_duration(self.warmup))
    }

    fn fmt_traffic(&self, f: &mut Formatter<'_>) -> Result {
        let traffic = &self.traffic;
        match traffic.rate {
            Some(rate) => write!(f, " rate={rate}/s")?,
            None => f.write_str(" rate=closed-loop")?,
        }
        write!(f, " message='{}'", traffic.message)?;
        if traffic.message.has_payload() {
            write!(f, " payload={}", exact_bytes(traffic.payload_bytes as u64))?;
        }
        f.write_str(match traffic.kind {
            Kind::Text => " text",
            Kind::Binary => " binary",
        })
    }

    fn fmt_fanout(&self, f: &mut Formatter<'_>) -> Result {
        let fanout = &self.fanout;
        write!(f, " publishers={} channels={} channel={}", fanout.publishers, fanout.channels, fanout.channel)?;
        fanout.subscribe.iter().try_for_each(|subscribe| write!(f, " subscribe='{subscribe}'"))?;
        fanout.subscribe_ack.iter().try_for_each(|ack| write!(f, " subscribe-ack='{}'", Template::literal(&ack[..])))?;
        match &fanout.publish {
            Publish::WebSocket { url: None } => f.write_str(" publish=websocket"),
            Publish::WebSocket { url: Some(url) } => write!(f, " publish={url}"),
            Publish::Http { url, fields } => {
                write!(f, " publish={url}")?;
                fmt_names(f, "publish-headers", fields)
            }
        }
    }

    fn fmt_opening(&self, f: &mut Formatter<'_>) -> Result {
        let opening = &self.opening;
        opening.rate.iter().try_for_each(|rate| write!(f, " connect-rate={rate}/s"))?;
        write!(f, " inflight={} deflate={}", opening.inflight, if opening.deflate { "on" } else { "off" })?;
        if !opening.subprotocols.is_empty() {
            write!(f, " subprotocol={}", opening.subprotocols.join(","))?;
        }
        if !opening.local_addresses.is_empty() {
            write!(f, " local-addresses={}", opening.local_addresses.len())?;
        }
        fmt_names(f, "headers", &opening.fields)?;
        if opening.insecure {
            f.write_str(" certificates=unverified")?;
        }
        opening.ca.iter().try_for_each(|path| write!(f, " ca={}", path.display()))?;
        let Traffic { first_message, answer, .. } = &self.traffic;
        first_message.iter().try_for_each(|message| write!(f, " first-message='{message}'"))?;
        answer.iter().try_for_each(|(ping, pong)| {
            let [ping, pong] = [ping, pong].map(|text| Template::literal(&text[..]));
            write!(f, " answer='{ping}={pong}'")
        })
    }

    fn fmt_run(&self, f: &mut Formatter<'_>) -> Result {
        self.pid.iter().try_for_each(|pid| write!(f, " pid={pid}"))?;
        if !self.pin.is_empty() {
            let cpus: Vec<_> = self.pin.iter().map(usize::to_string).collect();
            write!(f, " pin={}", cpus.join(","))?;
        }
        if self.repeat > 1 {
            write!(f, " repeat={}", self.repeat)?;
        }
        Ok(())
    }
}

fn fmt_names(f: &mut Formatter<'_>, key: &str, fields: &[(String, String)]) -> Result {
    if fields.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = fields.iter().map(|(name, _)| name.as_str()).collect();
    write!(f, " {key}={}", names.join(","))
}
