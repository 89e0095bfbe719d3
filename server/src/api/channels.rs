//! What a backend asks of channels, and of the server: `presence`, `presence_stats`, `history`, `history_remove`, `channels`, `info`. Imports `error`,
//! `fields` and the hub.

use std::{borrow::Cow, io::Write, sync::Arc, time::Instant};

use fantail_codec::centrifuge::{Format, fossil::Differ, json};
use serde::{Deserialize, Serialize};

use super::{
    Api,
    batch::ANSWER_BYTES_MAX,
    error::Error,
    fields::{Field, read},
    pattern,
};
use crate::hub::{self, ClientInfo, Epoch, HubError};

/// Publications of one history.
const HISTORY_MAX: usize = 10_000;

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct OfChannel<'a> {
    #[serde(borrow)]
    channel: Field<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct History<'a> {
    #[serde(borrow)]
    channel: Field<'a>,
    limit: Field<'a>,
    since: Field<'a>,
    reverse: Field<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Since<'a> {
    #[serde(borrow)]
    offset: Field<'a>,
    epoch: Field<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Channels<'a> {
    #[serde(borrow)]
    pattern: Field<'a>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// Who subscribes.
pub fn presence(api: &Api, body: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    out.extend_from_slice(b"{\"presence\":{");
    for (index, info) in present(api, body)?.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_json(&info.client, out);
        out.push(b':');
        json::write_client_info(&info.lend(), out);
    }
    out.extend_from_slice(b"}}");
    Ok(())
}

/// How many subscribe.
pub fn presence_stats(api: &Api, body: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    let (clients, users) = hub::count(&present(api, body)?);
    let _ = write!(out, "{{\"num_clients\":{clients},\"num_users\":{users}}}");
    Ok(())
}

fn present(api: &Api, body: &[u8]) -> Result<Vec<Arc<ClientInfo>>, Error> {
    let channel = read::<OfChannel<'_>>(body)?.channel.channel()?;
    if !api.hub.options(&channel).presence {
        return Err(Error::new(Error::NOT_AVAILABLE, "channel: expected one for which hub.presence is true"));
    }
    Ok(api.hub.find(&channel).map(|channel| channel.present()).unwrap_or_default())
}

/// What is kept, and where the channel stands. Without a limit it is only the latter that is asked for.
pub fn history(api: &Api, body: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    let request: History<'_> = read(body)?;
    let channel = with_history(api, request.channel)?;
    let limit = match request.limit.get::<i64>("limit", "an integer")? {
        None => 0,
        // Centrifugo's "no limit".
        Some(limit) => usize::try_from(limit).unwrap_or(HISTORY_MAX).min(HISTORY_MAX),
    };
    let since: Option<Since<'_>> = request.since.get("since", "an object of offset and epoch")?;
    let since = since.map(|since| position(&since)).transpose()?;
    let reverse = request.reverse.flag("reverse")?;
    let Some(channel) = api.hub.find(&channel) else {
        // It has published nothing, after which nothing is missing.
        let nothing_missed = since.is_none_or(|(offset, epoch)| offset == 0 && epoch.is_none());
        out.extend_from_slice(b"{\"publications\":[],\"offset\":0,\"epoch\":\"\"}");
        return if nothing_missed { Ok(()) } else { Err(HubError::Position.into()) };
    };
    let found = channel.history(since, limit, reverse, Instant::now())?;
    out.extend_from_slice(b"{\"publications\":[");
    let mut differ = Differ::default();
    for (index, publication) in found.publications.iter().enumerate() {
        if out.len() > ANSWER_BYTES_MAX {
            return Err(Error::new(
                Error::LIMIT_EXCEEDED,
                format!("limit: expected one with which the answer fits in {ANSWER_BYTES_MAX} bytes"),
            ));
        }
        if index > 0 {
            out.push(b',');
        }
        let mut made = Vec::new();
        json::write_publication(&hub::lend(publication, Format::Json, None, false, &mut differ, &mut made), out);
    }
    let _ = write!(out, "],\"offset\":{},\"epoch\":\"{}\"}}", found.position.offset, found.position.epoch);
    Ok(())
}

/// Forgets what is kept.
pub fn history_remove(api: &Api, body: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    let channel = with_history(api, read::<OfChannel<'_>>(body)?.channel)?;
    if let Some(channel) = api.hub.find(&channel) {
        channel.remove_history();
    }
    out.extend_from_slice(b"{}");
    Ok(())
}

fn with_history<'a>(api: &Api, channel: Field<'a>) -> Result<Cow<'a, str>, Error> {
    let channel = channel.channel()?;
    if api.hub.options(&channel).history_size == 0 {
        return Err(Error::new(Error::NOT_AVAILABLE, "channel: expected one for which hub.history_size is not 0"));
    }
    Ok(channel)
}

fn position(since: &Since<'_>) -> Result<(u64, Option<Epoch>), Error> {
    let offset = since.offset.get("since.offset", "an integer that is not negative")?.unwrap_or(0);
    let epoch = since.epoch.text("since.epoch")?.filter(|epoch| !epoch.is_empty());
    Ok((offset, epoch.map(|epoch| epoch.parse().unwrap_or(Epoch::UNKNOWN))))
}

/// The channels that have subscribers; where presence is known, with how many.
pub fn channels(api: &Api, body: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    let pattern = read::<Channels<'_>>(body)?.pattern.text("pattern")?.unwrap_or_default();
    if pattern.contains(['[', ']', '{', '}', '\\']) {
        return Err(Error::bad_request("pattern: expected a channel's name in which * stands for any characters and ? for any one"));
    }
    out.extend_from_slice(b"{\"channels\":{");
    let mut separator = "";
    for channel in api.hub.channels() {
        if !channel.has_subscribers() || !(pattern.is_empty() || pattern::matches(&pattern, channel.name())) {
            continue;
        }
        out.extend_from_slice(separator.as_bytes());
        write_json(channel.name(), out);
        let _ = match channel.options().presence {
            true => write!(out, ":{{\"num_clients\":{}}}", channel.present().len()),
            false => write!(out, ":{{}}"),
        };
        separator = ",";
    }
    out.extend_from_slice(b"}}");
    Ok(())
}

/// This server, which is the only node.
pub fn info(api: &Api, body: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    #[derive(Serialize)]
    struct Info<'a> {
        nodes: [Node<'a>; 1],
    }
    #[derive(Serialize)]
    struct Node<'a> {
        uid: &'a str,
        name: &'a str,
        version: &'a str,
        num_clients: u64,
        num_channels: usize,
        uptime: u64,
    }
    let Nothing {} = read(body)?;
    let node = Node {
        uid: &api.uid,
        name: &api.name,
        version: env!("CARGO_PKG_VERSION"),
        num_clients: api.connections(),
        num_channels: api.hub.channel_count(),
        uptime: api.began.elapsed().as_secs(),
    };
    write_json(&Info { nodes: [node] }, out);
    Ok(())
}

/// Writing to memory does not fail, here and above.
fn write_json(value: &(impl Serialize + ?Sized), out: &mut Vec<u8>) {
    let _ = serde_json::to_writer(out, value);
}
