//! Replies and pushes for a client. Imports `wire` and `message`.

use super::super::message::{
    ClientInfo, ConnectResult, Data, ErrorReply, ExpiryResult, HistoryResult, Publication, Push, Reply, StreamPosition, SubscribeResult,
    Target,
};
use super::wire::Writer;

/// Our own [`Push::Position`] in a push, far from the numbers that the protocol will come to use.
const POSITION: u32 = 1000;

/// Appends a reply to the command with this id.
pub fn write_reply(id: u32, reply: &Reply<'_>, out: &mut Vec<u8>) {
    Writer::new(out).delimited(|w| {
        w.integer(1, id.into());
        match reply {
            Reply::Error(error) => w.message(2, |w| error_fields(w, error)),
            Reply::Connect(result) => w.message(5, |w| connect(w, result)),
            Reply::Subscribe(result) => w.message(6, |w| subscribe(w, result)),
            Reply::Unsubscribe => w.message(7, |_| {}),
            Reply::Publish => w.message(8, |_| {}),
            Reply::Presence(clients) => w.message(9, |w| {
                for info in *clients {
                    w.message(1, |w| {
                        w.string(1, info.client);
                        w.message(2, |w| client_info(w, info));
                    });
                }
            }),
            Reply::PresenceStats { num_clients, num_users } => w.message(10, |w| {
                w.integer(1, (*num_clients).into());
                w.integer(2, (*num_users).into());
            }),
            Reply::History(result) => w.message(11, |w| history(w, result)),
            Reply::Ping => w.message(12, |_| {}),
            Reply::Rpc { data: result } => w.message(13, |w| data(w, 1, *result)),
            Reply::Refresh { client, expiry: end } => w.message(14, |w| {
                w.string(1, client);
                expiry(w, 3, *end);
            }),
            Reply::SubRefresh(end) => w.message(15, |w| expiry(w, 1, *end)),
        }
    });
}

/// Appends a push for a channel. The bytes are the same for each of its subscribers.
pub fn write_push(target: Target<'_>, push: &Push<'_>, out: &mut Vec<u8>) {
    let fields = |w: &mut Writer<'_>| {
        match target {
            Target::Id(id) => w.integer(1, id as u64),
            Target::Channel(channel) => w.string(2, channel),
        }
        match push {
            Push::Publication(it) => w.message(4, |w| publication(w, it)),
            Push::Join(info) => w.message(5, |w| w.message(1, |w| client_info(w, info))),
            Push::Leave(info) => w.message(6, |w| w.message(1, |w| client_info(w, info))),
            Push::Unsubscribe { code, reason } => w.message(7, |w| {
                w.integer(2, (*code).into());
                w.string(3, reason);
            }),
            Push::Message { data: message } => w.message(8, |w| data(w, 1, *message)),
            Push::Subscribe { recoverable, positioned, position } => w.message(9, |w| {
                w.flag(1, *recoverable);
                w.string(4, position.epoch);
                w.integer(5, position.offset);
                w.flag(6, *positioned);
            }),
            Push::Refresh(end) => w.message(12, |w| expiry(w, 1, *end)),
            Push::Position(StreamPosition { offset, epoch }) => w.message(POSITION, |w| {
                w.integer(1, *offset);
                w.string(2, epoch);
            }),
        }
    };
    Writer::new(out).delimited(|w| w.message(4, fields));
}

/// Appends a ping: an empty reply.
pub fn write_ping(out: &mut Vec<u8>) {
    Writer::new(out).delimited(|_| {});
}

fn error_fields(w: &mut Writer<'_>, error: &ErrorReply<'_>) {
    w.integer(1, error.code.into());
    w.string(2, error.message);
    w.flag(3, error.temporary);
}

fn connect(w: &mut Writer<'_>, result: &ConnectResult<'_>) {
    w.string(1, result.client);
    w.string(2, result.version);
    expiry(w, 3, result.expiry);
    optional_data(w, 5, result.data);
    for (channel, result) in &result.subs {
        w.message(6, |w| {
            w.string(1, channel);
            w.message(2, |w| subscribe(w, result));
        });
    }
    w.integer(7, result.ping.into());
    w.flag(8, result.pong);
    w.string(9, result.session);
    w.string(10, result.node);
    w.integer(11, result.time as u64);
}

fn subscribe(w: &mut Writer<'_>, result: &SubscribeResult<'_>) {
    expiry(w, 1, result.expiry);
    w.flag(3, result.recoverable);
    w.string(6, result.epoch);
    for it in &result.publications {
        w.message(7, |w| publication(w, it));
    }
    w.flag(8, result.recovered);
    w.integer(9, result.offset);
    w.flag(10, result.positioned);
    optional_data(w, 11, result.data);
    w.flag(12, result.was_recovering);
    w.flag(13, result.delta);
    w.integer(14, result.id.unwrap_or(0) as u64);
}

fn history(w: &mut Writer<'_>, result: &HistoryResult<'_>) {
    for it in &result.publications {
        w.message(1, |w| publication(w, it));
    }
    w.string(2, result.epoch);
    w.integer(3, result.offset);
}

fn publication(w: &mut Writer<'_>, publication: &Publication<'_>) {
    data(w, 4, publication.data);
    if let Some(info) = &publication.info {
        w.message(5, |w| client_info(w, info));
    }
    w.integer(6, publication.offset);
    for (name, value) in publication.tags {
        w.message(7, |w| {
            w.string(1, name);
            w.string(2, value);
        });
    }
    w.flag(8, publication.delta);
    w.integer(9, publication.time as u64);
    w.string(10, publication.channel);
    w.string(11, publication.key);
}

fn client_info(w: &mut Writer<'_>, info: &ClientInfo<'_>) {
    w.string(1, info.user);
    w.string(2, info.client);
    w.bytes(3, info.conn_info.unwrap_or_default());
    w.bytes(4, info.chan_info.unwrap_or_default());
}

/// `expires` under this number, `ttl` under the next.
fn expiry(w: &mut Writer<'_>, number: u32, expiry: ExpiryResult) {
    w.flag(number, expiry.ttl.is_some());
    w.integer(number + 1, expiry.ttl.unwrap_or(0).into());
}

fn optional_data(w: &mut Writer<'_>, number: u32, value: Option<Data<'_>>) {
    if let Some(value) = value {
        data(w, number, value);
    }
}

fn data(w: &mut Writer<'_>, number: u32, data: Data<'_>) {
    match data {
        Data::Raw(bytes) => w.bytes(number, bytes),
        Data::Text(text) => w.string(number, text),
    }
}
