//! Commands out of JSON: the members of each object that the protocol names, in any order; what it does not name is passed over. Imports
//! `parse` and `message`.

use std::ops::ControlFlow;

use super::parse::{Cursor, Parser};
use crate::{
    centrifuge::{Command, Connect, History, Malformed, Request, StreamPosition, Subscribe},
    limits::CONNECT_SUBS_MAX,
};

/// Reads messages of clients; keeps what it needs for that between messages, so that one for a thread suffices.
#[derive(Default)]
pub struct Reader {
    parser: Parser,
}

impl Reader {
    /// Hands over the commands of a WebSocket message in order, until one breaks off. Of what is named twice the last counts, and
    /// `null` is what is absent, except as `data`. Numbers that are passed on or over may be as long as they like, but not beyond the range of
    /// a double.
    ///
    /// # Errors
    /// [`Malformed`] from the first line on that is not a command; those before it have been handed over.
    pub fn commands(&mut self, message: &[u8], mut take: impl FnMut(Command<'_>) -> ControlFlow<()>) -> Result<(), Malformed> {
        self.parser.load(message);
        let result = self.lines(message, &mut take);
        self.parser.trim();
        result
    }

    fn lines(&mut self, message: &[u8], take: &mut impl FnMut(Command<'_>) -> ControlFlow<()>) -> Result<(), Malformed> {
        let mut start = 0;
        while start < message.len() {
            let end = memchr::memchr(b'\n', &message[start..]).map_or(message.len(), |bytes| start + bytes);
            if !message[start..end].trim_ascii().is_empty() {
                let read = self.parser.parse(message, start..end, |mut cursor| Ok(take(command(&mut cursor)?)))?;
                if read?.is_break() {
                    break;
                }
            }
            start = end + 1;
        }
        Ok(())
    }
}

fn command<'a>(cursor: &mut Cursor<'a>) -> Result<Command<'a>, Malformed> {
    let (mut id, mut request) = (0, None);
    cursor.object("a command: a JSON object", |cursor, key| {
        if key == "id" {
            id = cursor.integer("an id from 0 to 4294967295")?;
        } else if cursor.is_null() {
            cursor.skip();
        } else if let Some(named) = self::request(cursor, key)? {
            request = Some(named);
        }
        Ok(())
    })?;
    Ok(Command { id, request: request.unwrap_or(if id == 0 { Request::Pong } else { Request::Unknown }) })
}

/// The request of this name, if there is one.
fn request<'a>(cursor: &mut Cursor<'a>, name: &str) -> Result<Option<Request<'a>>, Malformed> {
    Ok(Some(match name {
        "connect" => Request::Connect(Box::new(connect(cursor)?)),
        "subscribe" => Request::Subscribe(Box::new(subscribe(cursor)?)),
        "unsubscribe" => Request::Unsubscribe { channel: Members::of(cursor)?.channel },
        "publish" => {
            let Members { channel, data, .. } = Members::of(cursor)?;
            Request::Publish { channel, data }
        }
        "presence" => Request::Presence { channel: Members::of(cursor)?.channel },
        "presence_stats" => Request::PresenceStats { channel: Members::of(cursor)?.channel },
        "history" => Request::History(history(cursor)?),
        "ping" => {
            Members::of(cursor)?;
            Request::Ping
        }
        "send" => Request::Send { data: Members::of(cursor)?.data },
        "rpc" => {
            let Members { method, data, .. } = Members::of(cursor)?;
            Request::Rpc { method, data }
        }
        "refresh" => Request::Refresh { token: Members::of(cursor)?.token },
        "sub_refresh" => {
            let Members { channel, token, .. } = Members::of(cursor)?;
            Request::SubRefresh { channel, token }
        }
        _ => {
            cursor.skip();
            return Ok(None);
        }
    }))
}

const OBJECT: &str = "an object";
const UNSIGNED: &str = "a whole number from 0 to 18446744073709551615";
const SIGNED: &str = "a whole number of 64 bits";
const SHORT: &str = "a whole number of 32 bits";

/// What small requests consist of; what one of them does not have, it does not look at.
#[derive(Default)]
struct Members<'a> {
    channel: &'a str,
    data: &'a [u8],
    method: &'a str,
    token: &'a str,
}

impl<'a> Members<'a> {
    fn of(cursor: &mut Cursor<'a>) -> Result<Members<'a>, Malformed> {
        let mut members = Members::default();
        cursor.object(OBJECT, |cursor, key| {
            match key {
                "channel" => members.channel = cursor.str()?,
                "data" => members.data = cursor.raw(),
                "method" => members.method = cursor.str()?,
                "token" => members.token = cursor.str()?,
                _ => cursor.skip(),
            }
            Ok(())
        })?;
        Ok(members)
    }
}

fn connect<'a>(cursor: &mut Cursor<'a>) -> Result<Connect<'a>, Malformed> {
    let mut connect = Connect::default();
    cursor.object(OBJECT, |cursor, key| {
        match key {
            "token" => connect.token = cursor.str()?,
            "data" => connect.data = cursor.raw(),
            "subs" => connect.subs = subs(cursor)?,
            "name" => connect.name = cursor.str()?,
            "version" => connect.version = cursor.str()?,
            _ => cursor.skip(),
        }
        Ok(())
    })?;
    Ok(connect)
}

fn subs<'a>(cursor: &mut Cursor<'a>) -> Result<Vec<(&'a str, Subscribe<'a>)>, Malformed> {
    let mut subs = Vec::new();
    cursor.object("an object of channels", |cursor, channel| {
        let wanted = subscribe(cursor)?;
        if subs.len() < CONNECT_SUBS_MAX {
            subs.push((channel, wanted));
        }
        Ok(())
    })?;
    // Of equal channels the last moves to the place of the first, and stays.
    subs.sort_by_key(|(channel, _)| *channel);
    subs.dedup_by(|later, first| {
        let same = later.0 == first.0;
        if same {
            std::mem::swap(later, first);
        }
        same
    });
    Ok(subs)
}

fn subscribe<'a>(cursor: &mut Cursor<'a>) -> Result<Subscribe<'a>, Malformed> {
    let mut subscribe = Subscribe::default();
    cursor.object(OBJECT, |cursor, key| {
        match key {
            "channel" => subscribe.channel = cursor.str()?,
            "token" => subscribe.token = cursor.str()?,
            "recover" => subscribe.recover = cursor.bool()?,
            "epoch" => subscribe.epoch = cursor.str()?,
            "offset" => subscribe.offset = cursor.integer(UNSIGNED)?,
            "data" => subscribe.data = cursor.raw(),
            "positioned" => subscribe.positioned = cursor.bool()?,
            "recoverable" => subscribe.recoverable = cursor.bool()?,
            "join_leave" => subscribe.join_leave = cursor.bool()?,
            "delta" => subscribe.delta = cursor.str()?,
            "flag" => subscribe.flag = cursor.integer(SIGNED)?,
            "type" => subscribe.kind = cursor.integer(SHORT)?,
            _ => cursor.skip(),
        }
        Ok(())
    })?;
    Ok(subscribe)
}

fn history<'a>(cursor: &mut Cursor<'a>) -> Result<History<'a>, Malformed> {
    let mut history = History::default();
    cursor.object(OBJECT, |cursor, key| {
        match key {
            "channel" => history.channel = cursor.str()?,
            "limit" => history.limit = cursor.integer(SHORT)?,
            "since" if cursor.is_null() => {
                cursor.skip();
                history.since = None;
            }
            "since" => history.since = Some(position(cursor)?),
            "reverse" => history.reverse = cursor.bool()?,
            _ => cursor.skip(),
        }
        Ok(())
    })?;
    Ok(history)
}

fn position<'a>(cursor: &mut Cursor<'a>) -> Result<StreamPosition<'a>, Malformed> {
    let mut position = StreamPosition::default();
    cursor.object(OBJECT, |cursor, key| {
        match key {
            "offset" => position.offset = cursor.integer(UNSIGNED)?,
            "epoch" => position.epoch = cursor.str()?,
            _ => cursor.skip(),
        }
        Ok(())
    })?;
    Ok(position)
}
