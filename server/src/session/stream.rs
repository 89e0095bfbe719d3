//! Publications of several channels on one connection, for clients without an SDK: each comes as `{"stream":"a","data":…}`, and
//! `{"subscribe":["d"]}` and `{"unsubscribe":["a"]}` change which they are.

use fantail_codec::{CloseCode, Kind};
use serde::Deserialize;

use super::{Bearer, Close, Wire, is_allowed, level, now};
use crate::{
    auth::BearerClaims,
    context::Context,
    hub::{HubError, Shape},
    subscribers::Names,
};

/// See the module.
#[derive(Debug)]
pub struct Stream {
    bearer: Bearer,
    subscriptions: Names,
}

/// What a client may send.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    #[serde(default)]
    subscribe: Vec<String>,
    #[serde(default)]
    unsubscribe: Vec<String>,
}

/// Why a channel cannot be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The hub refuses.
    Hub(HubError),
    /// Not without a token.
    Denied,
    /// The connection has as many as it may.
    Limit,
    /// The token is of no use.
    Token,
}

impl Stream {
    /// No channels yet.
    pub(super) fn new(bearer: Bearer) -> Stream {
        Stream { bearer, subscriptions: Names::default() }
    }

    pub(super) fn bearer(&self) -> Option<&BearerClaims> {
        self.bearer.as_deref()
    }

    /// Adds a channel; nothing changes where it is there already.
    ///
    /// # Errors
    /// [`Refusal`]
    pub fn add(&mut self, channel: &str, wire: &mut Wire<'_>) -> Result<(), Refusal> {
        if self.subscriptions.find(channel, &wire.context.subscribers).is_some() {
            return Ok(());
        }
        // In its grace a token keeps what it has opened, and opens nothing more.
        let has_ended = self.bearer().and_then(|claims| claims.expires).is_some_and(|expires| expires <= now());
        let level = level(&self.bearer, channel).filter(|_| !has_ended).ok_or(Refusal::Token)?;
        if !is_allowed(level, wire.context.hub.access(channel)) {
            return Err(Refusal::Denied);
        }
        if self.subscriptions.count() >= wire.context.subscriptions_max {
            return Err(Refusal::Limit);
        }
        let subscription = wire.join_raw(channel, Shape::Stream).map_err(Refusal::Hub)?;
        self.subscriptions.insert(subscription, &wire.context.subscribers);
        Ok(())
    }

    pub(super) fn message(&mut self, kind: Kind, payload: &[u8], wire: &mut Wire<'_>) -> Result<(), Close> {
        const EXPECTED: &str = "expected {\"subscribe\":[…]} or {\"unsubscribe\":[…]} with names of channels";
        // A list would do for the fields in their order.
        let is_object = payload.trim_ascii_start().starts_with(b"{");
        let change =
            Some(payload).filter(|_| kind == Kind::Text && is_object).and_then(|payload| serde_json::from_slice::<Change>(payload).ok());
        let change = change.ok_or(Close::new(CloseCode::POLICY_VIOLATION, EXPECTED))?;
        for channel in &change.unsubscribe {
            if let Some(subscription) = self.subscriptions.remove(channel, &wire.context.subscribers) {
                wire.leave(subscription);
            }
        }
        change.subscribe.iter().try_for_each(|channel| self.add(channel, wire)).map_err(|refusal| match refusal {
            Refusal::Hub(HubError::Name) => Close::new(CloseCode::POLICY_VIOLATION, "expected a channel name of 1 to 255 bytes"),
            Refusal::Hub(_) => Close::new(CloseCode::TRY_AGAIN_LATER, "this server has no room for another channel"),
            Refusal::Denied => Close::new(CloseCode::POLICY_VIOLATION, "this channel is not for everyone"),
            Refusal::Token => Close::new(CloseCode::POLICY_VIOLATION, "the token is not valid, or is for another channel"),
            Refusal::Limit => Close::new(CloseCode::POLICY_VIOLATION, "this connection has as many channels as it may"),
        })
    }

    pub(super) fn end(mut self, context: &mut Context) {
        let subscriptions = self.subscriptions.take(&context.subscribers);
        subscriptions.into_iter().for_each(|subscription| context.subscribers.leave(subscription, context.now));
    }
}
