//! Commands out of a client's message. Imports `wire` and `message`.

use std::ops::ControlFlow;

use super::super::message::{Command, Connect, History, Malformed, Request, StreamPosition, Subscribe};
use super::wire::{Field, Fields};
use crate::limits::CONNECT_SUBS_MAX;

/// The requests in the order in which Centrifuge looks for them in a command, which should hold one: ping earlier, and rpc before send, than their
/// numbers say.
const REQUESTS: [u32; 12] = [4, 11, 5, 6, 7, 8, 9, 10, 13, 12, 14, 15];

/// Hands over the commands of a WebSocket message, each behind its length, until one is answered with [`ControlFlow::Break`]. Those before a
/// malformed one have been handed over by then. As Centrifuge does, a command without an id and a request counts as empty.
///
/// # Errors
/// [`Malformed`] with its byte, for a message without any command too.
pub fn commands<'a>(message: &'a [u8], mut take: impl FnMut(Command<'a>) -> ControlFlow<()>) -> Result<(), Malformed> {
    let mut commands = Fields::new(message);
    loop {
        let command = command(commands.delimited()?)?;
        if take(command).is_break() || commands.is_empty() {
            return Ok(());
        }
    }
}

fn command(fields: Fields<'_>) -> Result<Command<'_>, Malformed> {
    let (mut id, mut chosen, mut chosen_rank) = (0, None, REQUESTS.len());
    for field in fields {
        let field = field?;
        let rank = REQUESTS.iter().position(|&number| number == field.number);
        match (field.number, rank) {
            (1, _) => id = field.integer()? as u32,
            (_, Some(rank)) if rank <= chosen_rank => (chosen, chosen_rank) = (Some(field), rank),
            _ => {}
        }
    }
    let request = match chosen {
        Some(field) => request(field)?,
        None if id == 0 => Request::Pong,
        None => Request::Unknown,
    };
    Ok(Command { id, request })
}

fn request(field: Field<'_>) -> Result<Request<'_>, Malformed> {
    let fields = field.message()?;
    Ok(match field.number {
        4 => Request::Connect(Box::new(connect(fields)?)),
        5 => Request::Subscribe(Box::new(subscribe(fields)?)),
        10 => Request::History(history(fields)?),
        number => {
            let (first, second) = first_two(fields)?;
            match number {
                6 => Request::Unsubscribe { channel: string(first)? },
                7 => Request::Publish { channel: string(first)?, data: bytes(second)? },
                8 => Request::Presence { channel: string(first)? },
                9 => Request::PresenceStats { channel: string(first)? },
                11 => Request::Ping,
                12 => Request::Send { data: bytes(first)? },
                13 => Request::Rpc { data: bytes(first)?, method: string(second)? },
                14 => Request::Refresh { token: string(first)? },
                15 => Request::SubRefresh { channel: string(first)?, token: string(second)? },
                _ => Request::Unknown,
            }
        }
    })
}

fn connect(fields: Fields<'_>) -> Result<Connect<'_>, Malformed> {
    let mut connect = Connect::default();
    for field in fields {
        let field = field?;
        match field.number {
            1 => connect.token = field.string()?,
            2 => connect.data = field.bytes()?,
            3 => {
                let (channel, wanted) = first_two(field.message()?)?;
                let wanted = wanted.map_or(Ok(Subscribe::default()), |wanted| subscribe(wanted.message()?))?;
                if connect.subs.len() < CONNECT_SUBS_MAX {
                    connect.subs.push((string(channel)?, wanted));
                }
            }
            4 => connect.name = field.string()?,
            5 => connect.version = field.string()?,
            _ => {}
        }
    }
    Ok(connect)
}

fn subscribe(fields: Fields<'_>) -> Result<Subscribe<'_>, Malformed> {
    let mut subscribe = Subscribe::default();
    for field in fields {
        let field = field?;
        match field.number {
            1 => subscribe.channel = field.string()?,
            2 => subscribe.token = field.string()?,
            3 => subscribe.recover = field.flag()?,
            6 => subscribe.epoch = field.string()?,
            7 => subscribe.offset = field.integer()?,
            8 => subscribe.data = field.bytes()?,
            9 => subscribe.positioned = field.flag()?,
            10 => subscribe.recoverable = field.flag()?,
            11 => subscribe.join_leave = field.flag()?,
            12 => subscribe.delta = field.string()?,
            14 => subscribe.flag = field.integer()? as i64,
            15 => subscribe.kind = field.integer()? as i32,
            _ => {}
        }
    }
    Ok(subscribe)
}

fn history(fields: Fields<'_>) -> Result<History<'_>, Malformed> {
    let mut history = History::default();
    for field in fields {
        let field = field?;
        match field.number {
            1 => history.channel = field.string()?,
            7 => history.limit = field.integer()? as i32,
            8 => {
                let (offset, epoch) = first_two(field.message()?)?;
                let offset = offset.map_or(Ok(0), |offset| offset.integer())?;
                history.since = Some(StreamPosition { offset, epoch: string(epoch)? });
            }
            9 => history.reverse = field.flag()?,
            _ => {}
        }
    }
    Ok(history)
}

/// The fields 1 and 2 of a message, each the last of its number.
fn first_two(fields: Fields<'_>) -> Result<(Option<Field<'_>>, Option<Field<'_>>), Malformed> {
    let (mut first, mut second) = (None, None);
    for field in fields {
        let field = field?;
        match field.number {
            1 => first = Some(field),
            2 => second = Some(field),
            _ => {}
        }
    }
    Ok((first, second))
}

fn string(field: Option<Field<'_>>) -> Result<&str, Malformed> {
    field.map_or(Ok(""), |field| field.string())
}

fn bytes(field: Option<Field<'_>>) -> Result<&[u8], Malformed> {
    field.map_or(Ok(&[]), |field| field.bytes())
}
