//! The client protocol of Centrifuge, version 2, sans-IO: what a client asks, what a server answers and pushes, and both as bytes, in JSON or in
//! Protobuf (centrifugal/protocol `definitions/client.proto`). A WebSocket message holds one or more of them: JSON joins them by LF,
//! Protobuf puts a varint length before each. Imports `limits`.
//!
//! [`json`] and [`protobuf`] have the same three functions each: `commands` hands over what a message of the client holds, `write_reply` and
//! `write_push` append one message of the server to what will be one WebSocket message.

pub mod fossil;
pub mod json;
mod message;
pub mod protobuf;

pub use message::{
    ClientInfo, Command, Connect, ConnectResult, Data, ErrorReply, ExpiryResult, History, HistoryResult, Malformed, Place, Publication,
    Push, Reply, Request, StreamPosition, Subscribe, SubscribeResult, Target,
};

/// How messages are written, chosen when the connection is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Text messages.
    Json,
    /// Binary messages.
    Protobuf,
}

/// The subprotocols that choose a format; without one it is JSON.
pub const SUBPROTOCOLS: [(&str, Format); 2] = [("centrifuge-json", Format::Json), ("centrifuge-protobuf", Format::Protobuf)];

impl Format {
    /// Appends one reply.
    pub fn write_reply(self, id: u32, reply: &Reply<'_>, out: &mut Vec<u8>) {
        match self {
            Format::Json => json::write_reply(id, reply, out),
            Format::Protobuf => protobuf::write_reply(id, reply, out),
        }
    }

    /// Appends one push.
    pub fn write_push(self, target: Target<'_>, push: &Push<'_>, out: &mut Vec<u8>) {
        match self {
            Format::Json => json::write_push(target, push, out),
            Format::Protobuf => protobuf::write_push(target, push, out),
        }
    }

    /// Appends a ping.
    pub fn write_ping(self, out: &mut Vec<u8>) {
        match self {
            Format::Json => json::write_ping(out),
            Format::Protobuf => protobuf::write_ping(out),
        }
    }
}
