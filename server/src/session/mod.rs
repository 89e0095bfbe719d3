//! What a message means, chosen by path at the upgrade: it is sent back, published as it is, or a command of a protocol. A session knows its connection
//! as a [`Wire`]. Imports `context` and what that has.

mod client;
mod codes;
mod stream;

use std::{borrow::Cow, collections::VecDeque, rc::Rc, sync::Arc, time::SystemTime};

use fantail_codec::{
    CloseCode, Kind,
    centrifuge::{Format, SUBPROTOCOLS},
};

pub use client::Client;
pub use codes::Disconnect;
pub use stream::{Refusal, Stream};

use crate::{
    auth::BearerClaims,
    config::Access,
    context::Context,
    encode::Encoding,
    hub::{Channel, Form, HubError, Message, Publication, Shape, Snapshot, Start},
    outbox::{Queued, Shared},
    route::Route,
    subscribers::Wish,
};

/// What goes on above a WebSocket.
#[derive(Debug)]
pub enum Session {
    /// Every message is sent back.
    Echo,
    /// Messages are published, if the channel allows that; the channel's publications come as they are.
    Raw(Raw),
    /// Publications of several channels, each with its channel's name.
    Stream(Box<Stream>),
    /// The client protocol of Centrifuge.
    Client(Box<Client>),
}

/// One channel, without a protocol.
#[derive(Debug)]
pub struct Raw {
    subscription: u64,
    bearer: Bearer,
}

/// What the token of a connection without the client protocol said when it was verified, once; few have one.
type Bearer = Option<Box<BearerClaims>>;

/// The most that a bearer may do in a channel; `None` where another token is needed.
fn level(bearer: &Bearer, channel: &str) -> Option<Access> {
    bearer.as_ref().map_or(Some(Access::Anyone), |claims| claims.level(channel))
}

/// Whether somebody of this level may do what that many may.
fn is_allowed(level: Access, access: Access) -> bool {
    access != Access::Nobody && level <= access
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Why we close a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// The code.
    pub code: CloseCode,
    /// A short text.
    pub reason: Cow<'static, str>,
}

impl Close {
    fn new(code: CloseCode, reason: &'static str) -> Close {
        Close { code, reason: reason.into() }
    }
}

/// What a session may touch of its connection.
pub struct Wire<'a> {
    /// The connection's key.
    pub key: usize,
    /// What this turn has queued for it.
    pub queued: &'a mut Queued,
    /// How it takes messages.
    pub encoding: Encoding,
    /// Its subscriptions that are behind.
    #[expect(clippy::box_collection, reason = "few connections ever have any")]
    pub behind: &'a mut Option<Box<VecDeque<u64>>>,
    /// Bytes that may wait before its subscriptions are relieved of them.
    pub slow_bytes_max: &'a mut u32,
    /// What the worker's connections share.
    pub context: &'a mut Context,
}

impl Session {
    /// Begins the session that a route leads to; where it cannot begin, says with what status and text to refuse instead.
    ///
    /// # Errors
    /// The status and the text.
    pub fn open(
        route: &Route,
        token: Option<&str>,
        subprotocol: Option<&str>,
        wire: &mut Wire<'_>,
    ) -> Result<Session, (u16, &'static str)> {
        const NAME: (u16, &str) = (404, "expected a channel name of 1 to 255 bytes\n");
        const ROOM: (u16, &str) = (503, "this server has no room for another channel\n");
        const DENIED: (u16, &str) = (403, "this channel is not for everyone\n");
        const LIMIT: (u16, &str) = (403, "expected fewer channels\n");
        const TOKEN: (u16, &str) = (401, "expected a valid token\n");
        let bearer = |context: &Context| match token {
            Some(token) => context.verifier.bearer(token, now()).map(|claims| Some(Box::new(claims))).map_err(|_| TOKEN),
            None if context.anonymous => Ok(None),
            None => Err(TOKEN),
        };
        match route {
            Route::Raw(channel) => {
                let bearer = bearer(wire.context)?;
                let level = level(&bearer, channel).ok_or(TOKEN)?;
                if !is_allowed(level, wire.context.hub.access(channel)) {
                    return Err(DENIED);
                }
                let joined = wire.join_raw(channel, Shape::Raw).map_err(|error| if error == HubError::Name { NAME } else { ROOM });
                joined.map(|subscription| Session::Raw(Raw { subscription, bearer }))
            }
            Route::Stream(channels) => {
                let mut stream = Box::new(Stream::new(bearer(wire.context)?));
                let added = channels.iter().try_for_each(|channel| stream.add(channel, wire));
                let Err(refusal) = added else { return Ok(Session::Stream(stream)) };
                stream.end(wire.context);
                Err(match refusal {
                    Refusal::Hub(HubError::Name) => NAME,
                    Refusal::Hub(_) => ROOM,
                    Refusal::Denied => DENIED,
                    Refusal::Limit => LIMIT,
                    Refusal::Token => TOKEN,
                })
            }
            Route::Client { native_pings, protobuf } => {
                let chosen = SUBPROTOCOLS.iter().find(|(name, _)| subprotocol == Some(name)).map(|(_, format)| *format);
                let format = chosen.unwrap_or(if *protobuf { Format::Protobuf } else { Format::Json });
                Ok(Session::Client(Box::new(Client::new(format, *native_pings, wire.context.now_ms))))
            }
            Route::Echo | Route::File(_) | Route::Unknown => Ok(Session::Echo),
        }
    }

    /// Whether the peer has said who it is, if it is to.
    pub fn is_connected(&self) -> bool {
        match self {
            Session::Client(client) => client.is_connected(),
            _ => true,
        }
    }

    /// Takes a message.
    ///
    /// # Errors
    /// Why the connection is to be closed.
    pub fn message(&mut self, kind: Kind, payload: &mut [u8], wire: &mut Wire<'_>) -> Result<(), Close> {
        // Whoever keeps its pings off by sending is looked at all the same.
        if let Session::Raw(_) | Session::Stream(_) = self {
            self.expire(wire)?;
        }
        match self {
            Session::Echo => {
                wire.send(kind, payload);
                Ok(())
            }
            Session::Raw(raw) => {
                let channel = Arc::clone(wire.context.subscribers.channel(raw.subscription));
                let level = level(&raw.bearer, channel.name()).unwrap_or(Access::Anyone);
                wire.publish(&channel, level, kind, payload)
            }
            Session::Stream(stream) => stream.message(kind, payload, wire),
            Session::Client(client) => client.message(kind, payload, wire),
        }
    }

    /// What its token said, if it has one and not the client protocol.
    fn bearer(&self) -> Option<&BearerClaims> {
        match self {
            Session::Raw(raw) => raw.bearer.as_deref(),
            Session::Stream(stream) => stream.bearer(),
            Session::Echo | Session::Client(_) => None,
        }
    }

    /// The user whose connection it is, if a token said so.
    pub fn user(&self) -> Option<&str> {
        match self {
            Session::Client(client) => client.is_connected().then(|| &*client.info().user),
            _ => self.bearer().map(|claims| &*claims.user).filter(|user| !user.is_empty()),
        }
    }

    /// Looks at the ends of its tokens.
    ///
    /// # Errors
    /// The connection's own has ended.
    pub fn expire(&mut self, wire: &mut Wire<'_>) -> Result<(), Close> {
        if let Session::Client(client) = self {
            return client.expire(wire).map_err(Disconnect::close);
        }
        match self.bearer().and_then(|claims| claims.expires) {
            Some(expires) if expires.saturating_add(wire.context.token_grace_s) < now() => Err(Disconnect::Expired.close()),
            _ => Ok(()),
        }
    }

    /// Why it is closed where the server goes away.
    pub fn going_away(&self) -> Close {
        match self {
            Session::Client(_) => Disconnect::Shutdown.close(),
            _ => Close::new(CloseCode::GOING_AWAY, ""),
        }
    }

    /// Why it is closed where it does not read.
    pub fn slow() -> Close {
        Disconnect::Slow.close()
    }

    /// Leaves all channels.
    pub fn end(self, context: &mut Context) {
        match self {
            Session::Echo => {}
            Session::Raw(raw) => context.subscribers.leave(raw.subscription, context.now),
            Session::Stream(stream) => stream.end(context),
            Session::Client(client) => client.end(context),
        }
    }
}

impl Wire<'_> {
    /// Queues a message for this connection alone.
    pub fn send(&mut self, kind: Kind, payload: &[u8]) {
        let Context { queue, encoder, .. } = &mut *self.context;
        queue.own(self.queued, |out| encoder.message(kind, payload, self.encoding, out));
    }

    /// Subscribes to a channel.
    ///
    /// # Errors
    /// [`HubError`]
    pub fn join(&mut self, channel: &str, wish: Wish) -> Result<(u64, Snapshot), HubError> {
        let (subscription, snapshot) = self.context.subscribers.join(channel, self.key, wish, self.context.now, self.context.now_ms)?;
        let slow_bytes_max = self.context.subscribers.channel(subscription).options().slow_bytes_max;
        *self.slow_bytes_max = (*self.slow_bytes_max).min(slow_bytes_max as u32);
        Ok((subscription, snapshot))
    }

    /// Subscribes to a channel, of which every publication is wanted in this shape, and queues what it begins with.
    ///
    /// # Errors
    /// [`HubError`]
    pub fn join_raw(&mut self, channel: &str, shape: Shape) -> Result<u64, HubError> {
        let form = Form::new(shape, self.encoding);
        let wish = Wish { form, rate: 0, start: Start::Fresh, join_leave: false, positioned: false };
        let (subscription, snapshot) = self.join(channel, wish)?;
        let channel = Arc::clone(self.context.subscribers.channel(subscription));
        match snapshot.publications.first() {
            // Few bytes may ask for many; they come when what came before is written.
            Some(first) if self.context.answered_enough(0) => {
                self.context.subscribers.rewind(subscription, self.key, first.offset() - 1);
                self.behind.get_or_insert_default().push_back(subscription);
            }
            _ => snapshot.publications.iter().for_each(|publication| self.publication(&channel, publication, form, subscription)),
        }
        Ok(subscription)
    }

    /// Ends a subscription.
    fn leave(&mut self, subscription: u64) {
        self.context.subscribers.leave(subscription, self.context.now);
    }

    /// Queues what is newest for a subscription that is behind.
    fn catch_up(&mut self, subscription: u64) {
        let Context { subscribers, queue, encoder, metrics, .. } = &mut *self.context;
        subscribers.catch_up(subscription, self.key, encoder, |shared| {
            queue.shared(self.queued, shared, subscription);
            metrics.deliveries.add(1);
        });
    }

    fn publication(&mut self, channel: &Channel, publication: &Publication, form: Form, subscription: u64) {
        let Context { queue, encoder, metrics, .. } = &mut *self.context;
        let frame = publication.frame(channel, form, None, encoder);
        queue.shared(self.queued, &Rc::new(Shared::new(frame, publication.offset(), 1)), subscription);
        metrics.deliveries.add(1);
    }

    /// Publishes what a client of this level sent.
    fn publish(&mut self, channel: &Channel, level: Access, kind: Kind, payload: &[u8]) -> Result<(), Close> {
        if !is_allowed(level, channel.options().publish) {
            return Err(Close::new(CloseCode::POLICY_VIOLATION, "clients may not publish to this channel"));
        }
        let published = self.context.hub.publish_as_client(channel.name(), Message::new(kind, payload), self.context.now);
        published.map(drop).map_err(|error| match error {
            HubError::Overloaded => Close::new(CloseCode::TRY_AGAIN_LATER, "the server is behind; publish again later"),
            HubError::Full => Close::new(CloseCode::TRY_AGAIN_LATER, "the channels keep as much as they may; publish again later"),
            _ => Close::new(CloseCode::INTERNAL_ERROR, "the channel cannot be published to"),
        })
    }
}
