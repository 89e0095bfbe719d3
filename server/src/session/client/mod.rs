//! One client of the Centrifuge protocol: it connects, with a token or without, and then subscribes, publishes and asks. What it is told
//! in answer to one WebSocket message goes back in one.
//!
//! ```text
//! Fresh ── connect ──► Connected ── its token ends, a bad request, a disconnect ──► closed
//!   └───── an error ─► Refused, until it closes
//! ```

mod commands;
mod subscriptions;
mod tokens;

use std::{collections::HashMap, ops::ControlFlow, sync::Arc};

use fantail_codec::{
    Kind,
    centrifuge::{Command, Connect, ConnectResult, ErrorReply, Format, Push, Reply, Request, Target, fossil::Differ, protobuf},
};
use uuid::Uuid;

use super::{
    Close, Wire,
    codes::{self, Disconnect},
    now,
};
use crate::{
    auth::TokenError,
    context::Context,
    hub::{self, ClientInfo, Publication},
    subscribers::Names,
};
use subscriptions::{Granted, Terms};

/// See the module.
#[derive(Debug)]
pub struct Client {
    format: Format,
    /// Pings are frames of the WebSocket.
    native_pings: bool,
    state: State,
    info: Arc<ClientInfo>,
    /// When it came, or was last looked at for what has ended: milliseconds since the worker began, modulo 2³².
    looked_ms: u32,
    /// How many of its tokens were wrong.
    wrong_tokens: u8,
    /// When the connection's token ends, in seconds since 1970.
    expires: Option<u64>,
    subscriptions: Names,
    /// Of those subscriptions that have any.
    terms: HashMap<u64, Terms>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Fresh,
    Connected,
    /// It cannot connect, and has been told why. SDKs send subscriptions in one message with `connect`: those are passed over, for closing
    /// the connection for them would tell the client to stay away.
    Refused,
}

/// What is written in answer to one message.
struct Replies<'a> {
    format: Format,
    out: &'a mut Vec<u8>,
    /// Subscriptions that are to catch up behind them.
    catch_up: Vec<u64>,
}

impl Replies<'_> {
    fn write(&mut self, id: u32, reply: &Reply<'_>) {
        self.begin();
        self.format.write_reply(id, reply, self.out);
    }

    /// What is to come after the replies before it.
    fn push(&mut self, target: Target<'_>, push: &Push<'_>) {
        self.begin();
        self.format.write_push(target, push, self.out);
    }

    /// A publication in full.
    fn publication(&mut self, target: Target<'_>, publication: &Publication, as_text: bool, differ: &mut Differ) {
        let mut made = Vec::new();
        let publication = hub::lend(publication, self.format, None, as_text, differ, &mut made);
        self.push(target, &Push::Publication(publication));
    }

    fn begin(&mut self) {
        if self.format == Format::Json && !self.out.is_empty() {
            self.out.push(b'\n');
        }
    }
}

/// What a command comes to: its reply is written, or an error, or the connection ends.
type Outcome = Result<(), Failure>;

enum Failure {
    Error(ErrorReply<'static>),
    Disconnect(Disconnect),
}

impl From<ErrorReply<'static>> for Failure {
    fn from(error: ErrorReply<'static>) -> Failure {
        Failure::Error(error)
    }
}

impl From<Disconnect> for Failure {
    fn from(disconnect: Disconnect) -> Failure {
        Failure::Disconnect(disconnect)
    }
}

impl Client {
    /// A client that has not said who it is.
    pub fn new(format: Format, native_pings: bool, now_ms: u32) -> Client {
        Client {
            format,
            native_pings,
            looked_ms: now_ms,
            state: State::Fresh,
            info: Arc::default(),
            wrong_tokens: 0,
            expires: None,
            subscriptions: Names::default(),
            terms: HashMap::new(),
        }
    }

    /// Whether it has said who it is.
    pub fn is_connected(&self) -> bool {
        self.state == State::Connected
    }

    /// Who it is.
    pub fn info(&self) -> &ClientInfo {
        &self.info
    }

    /// Sends its ping. Whether it takes such: else its pings are frames of the WebSocket.
    pub fn ping(&self, wire: &mut Wire<'_>) -> bool {
        if !self.native_pings {
            let mut ping = Vec::new();
            self.format.write_ping(&mut ping);
            wire.send(hub::kind(self.format), &ping);
        }
        !self.native_pings
    }

    /// Takes a message, of one or more commands.
    ///
    /// # Errors
    /// Why the connection is to be closed.
    pub(super) fn message(&mut self, kind: Kind, payload: &mut [u8], wire: &mut Wire<'_>) -> Result<(), Close> {
        if kind != hub::kind(self.format) {
            return Err(Disconnect::BadRequest.close());
        }
        // Whoever keeps the deadlines off by sending is looked at all the same.
        let waited_ms = wire.context.now_ms.wrapping_sub(self.looked_ms);
        match self.state {
            State::Connected if waited_ms >= wire.context.ping_interval_ms => self.expire(wire).map_err(Disconnect::close)?,
            State::Fresh | State::Refused if waited_ms > wire.context.handshake_ms => return Err(Disconnect::Stale.close()),
            _ => {}
        }
        let mut out = std::mem::take(&mut wire.context.replies);
        let mut reader = wire.context.reader.take().unwrap_or_default();
        let mut replies = Replies { format: self.format, out: &mut out, catch_up: Vec::new() };
        let mut ended = None;
        let mut take = |command: Command<'_>| match self.command(command, wire, &mut replies) {
            Ok(()) => ControlFlow::Continue(()),
            Err(disconnect) => {
                ended = Some(disconnect);
                ControlFlow::Break(())
            }
        };
        let read = match kind {
            Kind::Text => reader.commands(payload, &mut take),
            Kind::Binary => protobuf::commands(payload, &mut take),
        };
        let catch_up = replies.catch_up;
        wire.context.reader = Some(reader);
        if !out.is_empty() {
            wire.send(kind, &out);
        }
        // What follows from the commands follows the replies.
        catch_up.into_iter().for_each(|subscription| wire.catch_up(subscription));
        out.clear();
        wire.context.replies = out;
        match (ended, read) {
            (Some(disconnect), _) => Err(disconnect.close()),
            (None, Err(malformed)) => {
                Err(Close { code: Disconnect::BadRequest.close().code, reason: format!("bad request: {malformed}").into() })
            }
            (None, Ok(())) => Ok(()),
        }
    }

    fn command(&mut self, Command { id, request }: Command<'_>, wire: &mut Wire<'_>, replies: &mut Replies<'_>) -> Result<(), Disconnect> {
        let is_connect = matches!(request, Request::Connect(_));
        match &request {
            Request::Pong => return Ok(()),
            _ if self.state == State::Refused => return Ok(()),
            Request::Send { .. } if self.is_connected() => return Ok(()),
            _ if id == 0 || is_connect == self.is_connected() => return Err(Disconnect::BadRequest),
            _ => {}
        }
        // Few bytes of commands may ask for many.
        if wire.context.answered_enough(replies.out.len()) {
            replies.write(id, &Reply::Error(codes::TOO_MANY_REQUESTS));
            return Ok(());
        }
        let outcome = match request {
            Request::Connect(connect) => self.connect(id, &connect, wire, replies),
            Request::Subscribe(subscribe) => self.subscribe(id, &subscribe, wire, replies),
            Request::Unsubscribe { channel } => self.unsubscribe(id, channel, wire, replies),
            Request::SubRefresh { channel, token } => self.sub_refresh(id, channel, token, wire, replies),
            Request::Refresh { token } => self.refresh(id, token, wire, replies),
            Request::Publish { channel, data } => self.publish(id, channel, data, wire, replies),
            Request::History(history) => self.history(id, &history, wire, replies),
            Request::Presence { channel } => self.presence(id, channel, wire, replies),
            Request::PresenceStats { channel } => self.presence_stats(id, channel, wire, replies),
            Request::Rpc { method, data } => self.rpc(id, method, data, wire, replies),
            Request::Ping => {
                replies.write(id, &Reply::Ping);
                Ok(())
            }
            Request::Pong | Request::Send { .. } | Request::Unknown => Err(codes::METHOD_NOT_FOUND.into()),
        };
        if is_connect {
            self.state = if outcome.is_ok() { State::Connected } else { State::Refused };
        }
        match outcome {
            Ok(()) => Ok(()),
            Err(Failure::Error(error)) => {
                replies.write(id, &Reply::Error(error));
                Ok(())
            }
            Err(Failure::Disconnect(disconnect)) => Err(disconnect),
        }
    }

    fn connect(&mut self, id: u32, connect: &Connect<'_>, wire: &mut Wire<'_>, replies: &mut Replies<'_>) -> Outcome {
        let now = now();
        let claims = match connect.token {
            "" if wire.context.anonymous => None,
            "" => return Err(codes::UNAUTHORIZED.into()),
            token => Some(wire.context.verifier.connection(token, now).map_err(|error| match error {
                TokenError::Expired => Failure::Error(codes::TOKEN_EXPIRED),
                TokenError::Invalid(_) => Failure::Disconnect(Disconnect::InvalidToken),
            })?),
        };
        let claims = claims.unwrap_or_default();
        self.expires = claims.expires;
        self.info = Arc::new(ClientInfo {
            user: claims.user.as_str().into(),
            client: Uuid::new_v4().to_string().into(),
            conn_info: claims.info.as_deref().map(|info| info.as_bytes().into()),
            chan_info: None,
        });
        let mut granted = self.subscribe_by_token(&claims, connect, wire).inspect_err(|_| self.leave_all(wire.context))?;
        // Of a subscription in this reply SDKs take no publications but what was missed. Others follow it.
        let others: Vec<Vec<Arc<Publication>>> = granted.iter_mut().map(Granted::take_unrecovered).collect();
        let mut made: Vec<Vec<Vec<u8>>> = granted.iter().map(|granted| vec![Vec::new(); granted.snapshot.publications.len()]).collect();
        let subs = granted.iter().zip(&mut made).map(|(granted, made)| {
            let result = granted.result(self.format, wire.context.encoder.differ(), made);
            (granted.channel.name(), result)
        });
        let result = ConnectResult {
            client: &self.info.client,
            version: env!("CARGO_PKG_VERSION"),
            expiry: self.expiry(self.expires, now),
            data: None,
            subs: subs.collect(),
            ping: if self.native_pings { 0 } else { wire.context.ping_interval_s },
            pong: !self.native_pings,
            session: "",
            node: "",
            time: 0,
        };
        replies.write(id, &Reply::Connect(result));
        replies.catch_up.extend(granted.iter().filter_map(Granted::catches_up));
        for (granted, others) in granted.iter().zip(others) {
            others.iter().for_each(|other| replies.publication(granted.target(), other, granted.as_text, wire.context.encoder.differ()));
        }
        Ok(())
    }

    /// Ends a subscription, or all of them, as a backend wishes.
    pub fn unsubscribe_by_server(&mut self, channel: &str, wire: &mut Wire<'_>) {
        self.end_subscription(channel, codes::UNSUBSCRIBED, wire);
    }

    fn end_subscription(&mut self, channel: &str, why: (u32, &str), wire: &mut Wire<'_>) {
        let mut out = Vec::new();
        self.write_end(channel, why, wire, &mut Replies { format: self.format, out: &mut out, catch_up: Vec::new() });
        if !out.is_empty() {
            wire.send(hub::kind(self.format), &out);
        }
    }

    fn write_end(&mut self, channel: &str, (code, reason): (u32, &str), wire: &mut Wire<'_>, replies: &mut Replies<'_>) {
        if self.leave(channel, wire) {
            replies.push(Target::Channel(channel), &Push::Unsubscribe { code, reason });
        }
    }

    pub(super) fn end(mut self, context: &mut Context) {
        self.leave_all(context);
    }

    fn leave_all(&mut self, context: &mut Context) {
        for subscription in self.subscriptions.take(&context.subscribers) {
            self.exit(subscription, context);
            context.subscribers.leave(subscription, context.now);
        }
    }
}
