//! Every method by its name, and `batch`: many of them in one request. Imports the methods.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{
    Api, Pace, channels, clients,
    error::Error,
    fields::{Text, read},
    publish,
};

/// Commands of one batch.
const COMMANDS_MAX: usize = 10_000;
/// Bytes of answers above which the commands that are left are refused.
pub const ANSWER_BYTES_MAX: usize = 64 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch<'a> {
    #[serde(borrow)]
    commands: Vec<Command<'a>>,
    /// Nothing here would be faster.
    #[serde(default, rename = "parallel")]
    _parallel: Option<bool>,
}

/// One method and its body.
struct Command<'a> {
    method: Text<'a>,
    body: &'a RawValue,
}

impl<'de: 'a, 'a> Deserialize<'de> for Command<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Command<'a>, D::Error> {
        struct One;

        impl<'de> Visitor<'de> for One {
            type Value = Command<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a command, {\"<method>\": {…}}")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Command<'de>, A::Error> {
                let one = || A::Error::custom("expected one method in a command");
                let (method, body) = map.next_entry()?.ok_or_else(one)?;
                if map.next_key::<Text<'de>>()?.is_some() {
                    return Err(one());
                }
                Ok(Command { method, body })
            }
        }

        deserializer.deserialize_map(One)
    }
}

/// Appends the result of a method.
pub async fn call(api: &Api, method: &str, body: &[u8], pace: &mut Pace, out: &mut Vec<u8>) -> Result<(), Error> {
    match method {
        "publish" => publish::publish(api, body, out),
        "broadcast" => publish::broadcast(api, body, pace, out).await,
        "presence" => channels::presence(api, body, out),
        "presence_stats" => channels::presence_stats(api, body, out),
        "history" => channels::history(api, body, out),
        "history_remove" => channels::history_remove(api, body, out),
        "channels" => channels::channels(api, body, out),
        "info" => channels::info(api, body, out),
        "disconnect" => clients::disconnect(api, body, out),
        "unsubscribe" => clients::unsubscribe(api, body, out),
        _ => Err(Error::new(
            Error::METHOD_NOT_FOUND,
            format!(
                "{method}: expected publish, broadcast, batch, presence, presence_stats, history, history_remove, channels, info, disconnect or \
                 unsubscribe"
            ),
        )),
    }
}

/// Appends the answer to a batch: a reply for each command, in their order.
pub async fn batch(api: &Api, body: &[u8], pace: &mut Pace, out: &mut Vec<u8>) -> Result<(), Error> {
    let request: Batch<'_> = read(body)?;
    if request.commands.len() > COMMANDS_MAX {
        return Err(Error::bad_request(format!("commands: expected at most {COMMANDS_MAX}")));
    }
    out.extend_from_slice(b"{\"replies\":[");
    for (index, command) in request.commands.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        reply(api, command, pace, out).await;
        pace.step().await;
    }
    out.extend_from_slice(b"]}");
    Ok(())
}

async fn reply(api: &Api, Command { method, body }: &Command<'_>, pace: &mut Pace, out: &mut Vec<u8>) {
    let start = out.len();
    let result = if start > ANSWER_BYTES_MAX {
        Err(Error::new(Error::LIMIT_EXCEEDED, format!("commands: expected fewer, as the answer is longer than {ANSWER_BYTES_MAX} bytes")))
    } else {
        out.extend_from_slice(b"{\"");
        out.extend_from_slice(method.0.as_bytes());
        out.extend_from_slice(b"\":");
        call(api, &method.0, body.get().as_bytes(), pace, out).await
    };
    match result {
        Ok(()) => out.push(b'}'),
        Err(error) => {
            out.truncate(start);
            error.write(out);
        }
    }
}
