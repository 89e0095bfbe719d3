//! Replies and pushes as JSON. What is zero, false or empty is left out, except where the protocol's own server always writes it, on which
//! clients rely. Imports `string` and `message`.

use super::string::write_string;
use crate::centrifuge::{
    ClientInfo, ConnectResult, Data, ErrorReply, ExpiryResult, HistoryResult, Publication, Push, Reply, StreamPosition, SubscribeResult,
    Target,
};

/// Appends the reply to the command with this id.
pub fn write_reply(id: u32, reply: &Reply<'_>, out: &mut Vec<u8>) {
    object(out, |out| {
        unsigned("id", id.into(), out);
        match reply {
            Reply::Error(reply) => member("error", out, |out| error(reply, out)),
            Reply::Connect(result) => member("connect", out, |out| connect(result, out)),
            Reply::Subscribe(result) => member("subscribe", out, |out| subscribe(result, out)),
            Reply::Unsubscribe => member("unsubscribe", out, |_| ()),
            Reply::Publish => member("publish", out, |_| ()),
            Reply::Presence(clients) => member("presence", out, |out| {
                member("presence", out, |out| {
                    for info in *clients {
                        map_key(info.client, out);
                        write_client_info(info, out);
                    }
                });
            }),
            Reply::PresenceStats { num_clients, num_users } => member("presence_stats", out, |out| {
                number("num_clients", *num_clients, out);
                number("num_users", *num_users, out);
            }),
            Reply::History(result) => member("history", out, |out| history(result, out)),
            Reply::Ping => member("ping", out, |_| ()),
            Reply::Rpc { data: result } => member("rpc", out, |out| data("data", *result, out)),
            Reply::Refresh { client, expiry } => member("refresh", out, |out| {
                text("client", client, out);
                expires(*expiry, out);
            }),
            Reply::SubRefresh(expiry) => member("sub_refresh", out, |out| expires(*expiry, out)),
        }
    });
}

/// Appends a push.
pub fn write_push(target: Target<'_>, push: &Push<'_>, out: &mut Vec<u8>) {
    object(out, |out| {
        member("push", out, |out| {
            match target {
                Target::Channel(channel) => text("channel", channel, out),
                Target::Id(id) => number("id", id, out),
            }
            match push {
                Push::Publication(sent) => member("pub", out, |out| publication(sent, out)),
                Push::Join(info) => member("join", out, |out| member("info", out, |out| client_info(info, out))),
                Push::Leave(info) => member("leave", out, |out| member("info", out, |out| client_info(info, out))),
                Push::Unsubscribe { code, reason } => member("unsubscribe", out, |out| {
                    number("code", *code, out);
                    string("reason", reason, out);
                }),
                Push::Message { data: sent } => member("message", out, |out| data("data", *sent, out)),
                Push::Subscribe { recoverable, positioned, position } => member("subscribe", out, |out| {
                    flag("recoverable", *recoverable, out);
                    flag("positioned", *positioned, out);
                    text("epoch", position.epoch, out);
                    unsigned("offset", position.offset, out);
                }),
                Push::Refresh(expiry) => member("refresh", out, |out| expires(*expiry, out)),
                Push::Position(StreamPosition { offset, epoch }) => member("position", out, |out| {
                    number("offset", *offset, out);
                    text("epoch", epoch, out);
                }),
            }
        });
    });
}

/// Appends a ping.
pub fn write_ping(out: &mut Vec<u8>) {
    out.extend_from_slice(b"{}");
}

/// Appends a publication as it stands in pushes and results, for messages of other protocols that hold one.
pub fn write_publication(publication: &Publication<'_>, out: &mut Vec<u8>) {
    object(out, |out| self::publication(publication, out));
}

/// Appends what is told of a client, likewise.
pub fn write_client_info(info: &ClientInfo<'_>, out: &mut Vec<u8>) {
    object(out, |out| client_info(info, out));
}

fn error(error: &ErrorReply<'_>, out: &mut Vec<u8>) {
    number("code", error.code, out);
    string("message", error.message, out);
    flag("temporary", error.temporary, out);
}

fn connect(result: &ConnectResult<'_>, out: &mut Vec<u8>) {
    string("client", result.client, out);
    text("version", result.version, out);
    unsigned("ping", result.ping.into(), out);
    flag("pong", result.pong, out);
    expires(result.expiry, out);
    optional_data(result.data, out);
    if !result.subs.is_empty() {
        member("subs", out, |out| {
            for (channel, result) in &result.subs {
                map_key(channel, out);
                object(out, |out| subscribe(result, out));
            }
        });
    }
    text("session", result.session, out);
    text("node", result.node, out);
    time(result.time, out);
}

fn subscribe(result: &SubscribeResult<'_>, out: &mut Vec<u8>) {
    flag("recoverable", result.recoverable, out);
    flag("positioned", result.positioned, out);
    text("epoch", result.epoch, out);
    unsigned("offset", result.offset, out);
    flag("was_recovering", result.was_recovering, out);
    flag("recovered", result.recovered, out);
    flag("delta", result.delta, out);
    if let Some(id) = result.id {
        number("id", id, out);
    }
    if !result.publications.is_empty() {
        publications(&result.publications, out);
    }
    optional_data(result.data, out);
    expires(result.expiry, out);
}

fn history(result: &HistoryResult<'_>, out: &mut Vec<u8>) {
    publications(&result.publications, out);
    string("epoch", result.epoch, out);
    number("offset", result.offset, out);
}

fn publications(publications: &[Publication<'_>], out: &mut Vec<u8>) {
    key("publications", out);
    out.push(b'[');
    for (place, publication) in publications.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        write_publication(publication, out);
    }
    out.push(b']');
}

fn publication(publication: &Publication<'_>, out: &mut Vec<u8>) {
    data("data", publication.data, out);
    unsigned("offset", publication.offset, out);
    if !publication.tags.is_empty() {
        member("tags", out, |out| {
            for (name, value) in publication.tags {
                map_key(name, out);
                write_string(value, out);
            }
        });
    }
    if let Some(info) = &publication.info {
        member("info", out, |out| client_info(info, out));
    }
    flag("delta", publication.delta, out);
    time(publication.time, out);
    text("channel", publication.channel, out);
    text("key", publication.key, out);
}

fn client_info(info: &ClientInfo<'_>, out: &mut Vec<u8>) {
    string("user", info.user, out);
    string("client", info.client, out);
    for (name, info) in [("conn_info", info.conn_info), ("chan_info", info.chan_info)] {
        if let Some(info) = info {
            data(name, Data::Raw(info), out);
        }
    }
}

fn expires(expiry: ExpiryResult, out: &mut Vec<u8>) {
    if let Some(ttl) = expiry.ttl {
        flag("expires", true, out);
        number("ttl", ttl, out);
    }
}

fn time(millis: i64, out: &mut Vec<u8>) {
    if millis != 0 {
        number("time", millis, out);
    }
}

fn optional_data(value: Option<Data<'_>>, out: &mut Vec<u8>) {
    if let Some(value) = value {
        data("data", value, out);
    }
}

fn data(name: &str, data: Data<'_>, out: &mut Vec<u8>) {
    key(name, out);
    match data {
        // Without a value the object would be broken.
        Data::Raw(b"") => out.extend_from_slice(b"null"),
        Data::Raw(json) => out.extend_from_slice(json),
        Data::Text(text) => write_string(text, out),
    }
}

/// A string that is left out where it is empty.
fn text(name: &str, value: &str, out: &mut Vec<u8>) {
    if !value.is_empty() {
        string(name, value, out);
    }
}

fn string(name: &str, value: &str, out: &mut Vec<u8>) {
    key(name, out);
    write_string(value, out);
}

/// A number that is left out where it is zero.
fn unsigned(name: &str, value: u64, out: &mut Vec<u8>) {
    if value != 0 {
        number(name, value, out);
    }
}

fn number(name: &str, value: impl itoa::Integer, out: &mut Vec<u8>) {
    key(name, out);
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn flag(name: &str, value: bool, out: &mut Vec<u8>) {
    if value {
        key(name, out);
        out.extend_from_slice(b"true");
    }
}

/// A member that is an object.
fn member(name: &str, out: &mut Vec<u8>, members: impl FnOnce(&mut Vec<u8>)) {
    key(name, out);
    object(out, members);
}

fn object(out: &mut Vec<u8>, members: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'{');
    members(out);
    out.push(b'}');
}

/// A name of the protocol, which has nothing to escape.
fn key(name: &str, out: &mut Vec<u8>) {
    separate(out);
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// A name that somebody chose.
fn map_key(name: &str, out: &mut Vec<u8>) {
    separate(out);
    write_string(name, out);
    out.push(b':');
}

fn separate(out: &mut Vec<u8>) {
    // No value ends with an opening brace.
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
}
