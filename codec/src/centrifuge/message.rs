//! The messages, independent of their format. Field names are the protocol's; a comment stands where the name does not tell.

use std::fmt;

/// One command of a client.
#[derive(Clone, Debug, PartialEq)]
pub struct Command<'a> {
    /// Chosen by the client, repeated in the reply; 0 where no reply is expected.
    pub id: u32,
    /// What is asked.
    pub request: Request<'a>,
}

/// What a command asks.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "each is the request of its name in client.proto")]
pub enum Request<'a> {
    /// An empty command: the answer to a ping.
    Pong,
    Connect(Box<Connect<'a>>),
    Subscribe(Box<Subscribe<'a>>),
    Unsubscribe {
        channel: &'a str,
    },
    Publish {
        channel: &'a str,
        data: &'a [u8],
    },
    Presence {
        channel: &'a str,
    },
    PresenceStats {
        channel: &'a str,
    },
    History(History<'a>),
    Ping,
    Send {
        data: &'a [u8],
    },
    Rpc {
        method: &'a str,
        data: &'a [u8],
    },
    Refresh {
        token: &'a str,
    },
    SubRefresh {
        channel: &'a str,
        token: &'a str,
    },
    /// A request that is not known.
    Unknown,
}

/// The first command of a connection.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "see the module")]
pub struct Connect<'a> {
    pub token: &'a str,
    /// JSON in JSON, bytes in Protobuf; empty where it is absent. So is every `data` of a client.
    pub data: &'a [u8],
    /// Server-side subscriptions to recover, by channel.
    pub subs: Vec<(&'a str, Subscribe<'a>)>,
    pub name: &'a str,
    pub version: &'a str,
}

/// A subscription that is asked for.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "see the module")]
pub struct Subscribe<'a> {
    pub channel: &'a str,
    pub token: &'a str,
    pub recover: bool,
    pub epoch: &'a str,
    pub offset: u64,
    pub data: &'a [u8],
    pub positioned: bool,
    pub recoverable: bool,
    pub join_leave: bool,
    /// The delta format that is asked for: `fossil`, or empty.
    pub delta: &'a str,
    /// Bit 0: pushes may carry the channel's number in place of its name. Bit 1: an unrecoverable position is an error.
    pub flag: i64,
    /// Kinds of subscription beyond a stream of publications are not known to this crate: 0 is a stream.
    pub kind: i32,
}

/// A place in a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "see the module")]
pub struct StreamPosition<'a> {
    pub offset: u64,
    pub epoch: &'a str,
}

/// A part of a channel's history that is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "see the module")]
pub struct History<'a> {
    pub channel: &'a str,
    /// 0: only the position; negative: no limit.
    pub limit: i32,
    pub since: Option<StreamPosition<'a>>,
    pub reverse: bool,
}

/// What a message of the client holds is no command; the place is a byte of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// A byte of the message at which, or behind which, it is wrong.
    pub at: Place,
    /// What belongs there.
    pub expected: &'static str,
}

/// Where something is wrong, as exactly as the format's reader tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// At this byte of the message.
    Byte(usize),
    /// In the command that begins at this byte of the message.
    Command(usize),
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Place::Byte(at) => write!(f, "byte {at}: expected {}", self.expected),
            Place::Command(at) => write!(f, "command at byte {at}: expected {}", self.expected),
        }
    }
}

impl std::error::Error for Malformed {}

/// The reply to a command.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "each is the result of its name in client.proto")]
pub enum Reply<'a> {
    Error(ErrorReply<'a>),
    Connect(ConnectResult<'a>),
    Subscribe(SubscribeResult<'a>),
    Unsubscribe,
    Publish,
    /// By client id.
    Presence(&'a [ClientInfo<'a>]),
    PresenceStats {
        num_clients: u32,
        num_users: u32,
    },
    History(HistoryResult<'a>),
    Ping,
    Rpc {
        data: Data<'a>,
    },
    Refresh {
        client: &'a str,
        expiry: ExpiryResult,
    },
    SubRefresh(ExpiryResult),
}

/// A command that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "see the module")]
pub struct ErrorReply<'a> {
    pub code: u32,
    pub message: &'a str,
    /// The client may try again.
    pub temporary: bool,
}

/// When what a token allows ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExpiryResult {
    /// Seconds from now, if it ever ends: `expires` and `ttl`.
    pub ttl: Option<u32>,
}

/// The connection stands.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "see the module")]
pub struct ConnectResult<'a> {
    pub client: &'a str,
    pub version: &'a str,
    pub expiry: ExpiryResult,
    pub data: Option<Data<'a>>,
    /// Server-side subscriptions, by channel.
    pub subs: Vec<(&'a str, SubscribeResult<'a>)>,
    /// Seconds between the server's pings.
    pub ping: u32,
    /// Whether a ping is to be answered.
    pub pong: bool,
    pub session: &'a str,
    pub node: &'a str,
    /// Milliseconds since 1970; 0: absent.
    pub time: i64,
}

/// The subscription stands.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "see the module")]
pub struct SubscribeResult<'a> {
    pub expiry: ExpiryResult,
    pub recoverable: bool,
    pub positioned: bool,
    pub epoch: &'a str,
    pub offset: u64,
    pub was_recovering: bool,
    pub recovered: bool,
    pub publications: Vec<Publication<'a>>,
    pub data: Option<Data<'a>>,
    pub delta: bool,
    /// The channel's number, where pushes will carry that.
    pub id: Option<i64>,
}

/// A part of a channel's history.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "see the module")]
pub struct HistoryResult<'a> {
    pub publications: Vec<Publication<'a>>,
    pub epoch: &'a str,
    pub offset: u64,
}

/// Bytes for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data<'a> {
    /// As they are; in JSON they must be a JSON value.
    Raw(&'a [u8]),
    /// UTF-8 that JSON writes as a string; in Protobuf as it is.
    Text(&'a str),
}

/// A message of a channel.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "see the module")]
pub struct Publication<'a> {
    pub data: Data<'a>,
    pub info: Option<ClientInfo<'a>>,
    /// 0: absent.
    pub offset: u64,
    pub tags: &'a [(Box<str>, Box<str>)],
    /// The data are a delta.
    pub delta: bool,
    /// Milliseconds since 1970; 0: absent.
    pub time: i64,
    /// Where the subscription is a pattern: the channel that was published to; else empty.
    pub channel: &'a str,
    /// What it is the latest value of in its channel; empty: absent.
    pub key: &'a str,
}

/// Who somebody is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "see the module")]
pub struct ClientInfo<'a> {
    pub user: &'a str,
    pub client: &'a str,
    /// JSON.
    pub conn_info: Option<&'a [u8]>,
    /// JSON.
    pub chan_info: Option<&'a [u8]>,
}

/// Which channel a push is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// By its name; empty where the push is for no channel.
    Channel(&'a str),
    /// By the number that the subscription was given.
    Id(i64),
}

/// What a server sends unasked.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "each is the push of its name in client.proto")]
pub enum Push<'a> {
    Publication(Publication<'a>),
    Join(ClientInfo<'a>),
    Leave(ClientInfo<'a>),
    Unsubscribe {
        code: u32,
        reason: &'a str,
    },
    Message {
        data: Data<'a>,
    },
    Subscribe {
        recoverable: bool,
        positioned: bool,
        position: StreamPosition<'a>,
    },
    Refresh(ExpiryResult),
    /// Our own, which other clients pass over: where the channel stands, while nothing is published.
    Position(StreamPosition<'a>),
}
