//! `publish` and `broadcast`. Imports `error`, `fields` and the hub.

use std::{borrow::Cow, collections::BTreeMap, io::Write, sync::PoisonError, time::Instant};

use fantail_codec::Kind;
use serde::Deserialize;

use super::{
    Api, Pace,
    error::Error,
    fields::{Field, Text, read},
};
use crate::hub::{Message, Position};

/// Channels of one broadcast.
const CHANNELS_MAX: usize = 10_000;
/// Bytes of a publication's key, and of an idempotency key.
const KEY_BYTES_MAX: usize = 255;

/// What is published, whether to one channel or to many.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Publish<'a> {
    #[serde(borrow)]
    channel: Field<'a>,
    /// Of a broadcast.
    channels: Field<'a>,
    /// Any JSON, `null` too, published as it stands, as text.
    data: Field<'a>,
    /// Bytes in base64, published as binary.
    b64data: Field<'a>,
    key: Field<'a>,
    tags: Field<'a>,
    idempotency_key: Field<'a>,
    skip_history: Field<'a>,
    /// Whether there are deltas is the channel's and the subscriber's to say.
    delta: Field<'a>,
}

/// What is published, read.
struct Content<'a> {
    kind: Kind,
    payload: Cow<'a, [u8]>,
    key: Cow<'a, str>,
    tags: BTreeMap<Text<'a>, Text<'a>>,
    idempotency_key: Cow<'a, str>,
    skip_history: bool,
}

/// Publishes to one channel.
pub fn publish(api: &Api, body: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    let request: Publish<'_> = read(body)?;
    request.channels.refuse("channels")?;
    let channel = request.channel.channel()?;
    let content = content(api, &request)?;
    write_position(content.publish(api, &channel)?, out);
    Ok(())
}

/// Publishes the same to many channels, of which each has a result, or an error, of its own.
pub async fn broadcast(api: &Api, body: &[u8], pace: &mut Pace, out: &mut Vec<u8>) -> Result<(), Error> {
    let request: Publish<'_> = read(body)?;
    request.channel.refuse("channel")?;
    let channels: Vec<Text<'_>> = request.channels.get("channels", "an array of strings")?.unwrap_or_default();
    if !(1..=CHANNELS_MAX).contains(&channels.len()) {
        return Err(Error::bad_request(format!("channels: expected an array of 1 to {CHANNELS_MAX} strings")));
    }
    let content = content(api, &request)?;
    out.extend_from_slice(b"{\"responses\":[");
    for (index, channel) in channels.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        match content.publish(api, &channel.0) {
            Ok(position) => {
                out.extend_from_slice(b"{\"result\":");
                write_position(position, out);
                out.push(b'}');
            }
            Err(error) => error.write(out),
        }
        pace.step().await;
    }
    out.extend_from_slice(b"]}");
    Ok(())
}

fn content<'a>(api: &Api, request: &Publish<'a>) -> Result<Content<'a>, Error> {
    let (field, kind, payload) = match (request.data.json(), request.b64data.text("b64data")?) {
        (Some(data), None) => ("data", Kind::Text, Cow::Borrowed(data.as_bytes())),
        (None, Some(text)) => {
            let bytes = base64_simd::STANDARD.decode_to_vec(text.as_bytes());
            ("b64data", Kind::Binary, Cow::Owned(bytes.map_err(|_| Error::bad_request("b64data: expected base64"))?))
        }
        (Some(_), Some(_)) => return Err(Error::bad_request("b64data: expected it or data, not both")),
        (None, None) => return Err(Error::bad_request("data: expected JSON, or base64 in b64data")),
    };
    let bytes_max = api.message_bytes_max;
    if payload.len() > bytes_max {
        return Err(Error::bad_request(format!("{field}: expected at most {bytes_max} bytes")));
    }
    let tags: BTreeMap<Text<'a>, Text<'a>> = request.tags.get("tags", "an object whose values are strings")?.unwrap_or_default();
    if tags.iter().map(|(name, value)| name.0.len() + value.0.len()).sum::<usize>() > bytes_max - payload.len() {
        return Err(Error::bad_request(format!("tags: expected at most {bytes_max} bytes, those of {field} included")));
    }
    request.delta.flag("delta")?;
    Ok(Content {
        kind,
        payload,
        key: key("key", request.key)?,
        tags,
        idempotency_key: key("idempotency_key", request.idempotency_key)?,
        skip_history: request.skip_history.flag("skip_history")?,
    })
}

fn key<'a>(name: &str, field: Field<'a>) -> Result<Cow<'a, str>, Error> {
    let key = field.text(name)?.unwrap_or_default();
    let fits = key.len() <= KEY_BYTES_MAX;
    fits.then_some(key).ok_or_else(|| Error::bad_request(format!("{name}: expected at most {KEY_BYTES_MAX} bytes")))
}

impl Content<'_> {
    fn publish(&self, api: &Api, channel: &str) -> Result<Position, Error> {
        let now = Instant::now();
        let publish = || api.hub.publish(channel, self.message(), self.skip_history, now);
        if self.idempotency_key.is_empty() {
            return Ok(publish()?);
        }
        // Held while it is published, so that of two at the same moment one is the second.
        let mut idempotency = api.idempotency.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(idempotency.once(channel, &self.idempotency_key, now, publish)?)
    }

    fn message(&self) -> Message {
        let tags = self.tags.iter().map(|(name, value)| ((&*name.0).into(), (&*value.0).into())).collect();
        Message { key: (&*self.key).into(), tags, ..Message::new(self.kind, &self.payload) }
    }
}

fn write_position(Position { offset, epoch }: Position, out: &mut Vec<u8>) {
    // Writing to memory does not fail.
    let _ = write!(out, "{{\"offset\":{offset},\"epoch\":\"{epoch}\"}}");
}
