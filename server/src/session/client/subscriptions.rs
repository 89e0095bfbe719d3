//! What a client subscribes to: who may, from where on, and at which rate.

use std::{collections::HashMap, sync::Arc};

use fantail_codec::centrifuge::{
    Connect, Data, ErrorReply, ExpiryResult, Format, Publication, Reply, Subscribe, SubscribeResult, Target, fossil::Differ,
};
use serde_json::value::RawValue;

use super::{Client, Failure, Outcome, Replies, Wire, now};
use crate::{
    auth::{ConnectionClaims, SubscribeOptions, SubscriptionClaims, TokenError},
    config::{Access, ChannelOptions},
    context::Context,
    hub::{self, Channel, ClientInfo, Form, Shape, Snapshot, Start},
    session::{
        codes::{self, Disconnect},
        is_allowed,
    },
    subscribers::Wish,
};

/// What most subscriptions go without.
#[derive(Debug, Default)]
pub struct Terms {
    /// A token for the channel brought it.
    pub by_token: bool,
    /// When its token ends, in seconds since 1970.
    pub expires: Option<u64>,
    /// As what others know it, if they do.
    pub present: Option<Arc<ClientInfo>>,
    /// Others are told that it comes and goes.
    pub tells: bool,
}

/// A subscription as the client is told of it.
pub struct Granted {
    pub channel: Arc<Channel>,
    pub snapshot: Snapshot,
    /// Its data are text.
    pub as_text: bool,
    number: u64,
    /// What it begins with is not in the reply.
    follows: bool,
    id: Option<i64>,
    offset: u64,
    recoverable: bool,
    positioned: bool,
    was_recovering: bool,
    expiry: ExpiryResult,
    data: Option<Box<str>>,
    epoch: String,
}

/// Bytes of values that a reply may hold beside what was missed.
const REPLY_BYTES_MAX: usize = 256 << 10;

/// Wrong tokens after which the next one closes the connection: to refuse one takes up to a quarter of a millisecond, and ten show a backend its
/// mistake as well as a thousand. Tokens that have ended are refused at no such cost and do not count: who was away for long comes back with
/// one for each of its channels.
const WRONG_TOKENS_MAX: u8 = 10;

/// Bits of `flag`.
const BY_ID: i64 = 1;
const REJECT_UNRECOVERED: i64 = 2;

impl Client {
    pub(super) fn subscribe(&mut self, id: u32, subscribe: &Subscribe<'_>, wire: &mut Wire<'_>, replies: &mut Replies<'_>) -> Outcome {
        // Before a token is verified, which costs most.
        self.has_room(subscribe.channel, wire.context)?;
        let claims = self.may_subscribe(subscribe, wire.context)?;
        let granted = self.grant(subscribe, &claims, wire)?;
        let mut made = vec![Vec::new(); granted.snapshot.publications.len()];
        let result = granted.result(self.format, wire.context.encoder.differ(), &mut made);
        replies.write(id, &Reply::Subscribe(result));
        replies.catch_up.extend(granted.catches_up());
        Ok(())
    }

    /// Whether it may have another subscription, and has none to this channel.
    fn has_room(&self, channel: &str, context: &Context) -> Result<(), ErrorReply<'static>> {
        if self.subscriptions.find(channel, &context.subscribers).is_some() {
            return Err(codes::ALREADY_SUBSCRIBED);
        }
        if self.subscriptions.count() >= context.subscriptions_max {
            return Err(codes::LIMIT_EXCEEDED);
        }
        Ok(())
    }

    /// What the client's token says, if it may subscribe.
    fn may_subscribe(&mut self, subscribe: &Subscribe<'_>, context: &Context) -> Result<SubscriptionClaims, Failure> {
        if subscribe.kind != 0 {
            return Err(codes::NOT_AVAILABLE.into());
        }
        let access = context.hub.access(subscribe.channel);
        if access == Access::Nobody {
            return Err(codes::PERMISSION_DENIED.into());
        }
        if !subscribe.token.is_empty() {
            let claims = context.verifier.subscription(subscribe.token, subscribe.channel, &self.info.user, now());
            return claims.map_err(|error| match error {
                TokenError::Expired => codes::TOKEN_EXPIRED.into(),
                TokenError::Invalid(_) if self.wrong_tokens == WRONG_TOKENS_MAX => Disconnect::TooManyErrors.into(),
                TokenError::Invalid(_) => {
                    self.wrong_tokens += 1;
                    codes::PERMISSION_DENIED.into()
                }
            });
        }
        if !is_allowed(self.level(None, context), access) {
            return Err(codes::PERMISSION_DENIED.into());
        }
        Ok(SubscriptionClaims::default())
    }

    /// The most that it may do in a channel, which a token for that may raise.
    pub(super) fn level(&self, channel: Option<&str>, context: &Context) -> Access {
        let subscription = channel.and_then(|channel| self.subscriptions.find(channel, &context.subscribers));
        match subscription.and_then(|subscription| self.terms.get(&subscription)) {
            Some(terms) if terms.by_token => Access::Token,
            _ if self.info.user.is_empty() => Access::Anyone,
            _ => Access::Users,
        }
    }

    fn grant(
        &mut self,
        subscribe: &Subscribe<'_>,
        claims: &SubscriptionClaims,
        wire: &mut Wire<'_>,
    ) -> Result<Granted, ErrorReply<'static>> {
        let channel = subscribe.channel;
        self.has_room(channel, wire.context)?;
        let options = Arc::clone(wire.context.hub.options(channel));
        let (rate, rate_data) = granted_rate(&options, subscribe.data)?;
        let overrides = claims.options.overrides;
        let as_text = subscribe.delta == "fossil" && options.delta;
        // With Protobuf centrifuge-js compares the numbers by identity, and so finds no channel for them.
        let by_id = subscribe.flag & BY_ID != 0 && self.format == Format::Json;
        let has_history = options.history_size > 0;
        // A pattern's publications carry the offsets of their channels, which are no places in the pattern.
        let is_pattern = channel.contains('*');
        let recoverable = !is_pattern && overrides.recover.unwrap_or(has_history || (subscribe.recoverable && options.last_value));
        let positioned = recoverable || (!is_pattern && overrides.position.unwrap_or(subscribe.positioned));
        let start = match (subscribe.recover && !is_pattern, subscribe.epoch) {
            (false, _) => Start::Fresh,
            (true, "") => Start::After(subscribe.offset, None),
            (true, epoch) => Start::After(subscribe.offset, Some(epoch.parse().unwrap_or(hub::Epoch::UNKNOWN))),
        };
        let form = Form::new(Shape::Push { format: self.format, by_id, delta: as_text }, wire.encoding);
        let wish = Wish { form, rate, start, join_leave: subscribe.join_leave && options.join_leave, positioned };
        let (number, mut snapshot) = wire.join(channel, wish).map_err(codes::of_hub)?;
        let joined = Arc::clone(wire.context.subscribers.channel(number));
        if subscribe.recover && !snapshot.recovered && subscribe.flag & REJECT_UNRECOVERED != 0 {
            wire.leave(number);
            return Err(codes::UNRECOVERABLE_POSITION);
        }
        let chan_info = claims.options.info.as_deref().map(|info| info.as_bytes().into());
        let info = match chan_info {
            Some(_) => Arc::new(ClientInfo { chan_info, ..(*self.info).clone() }),
            None => Arc::clone(&self.info),
        };
        let tells = overrides.join_leave.unwrap_or(options.join_leave);
        let present = (tells || overrides.presence.unwrap_or(options.presence)).then(|| Arc::clone(&info));
        if let Some(info) = &present {
            wire.context.hub.enter(&joined, info, tells);
        }
        // Many keys' values are too much for a reply of its own; shared with others, they follow it.
        let bytes: usize = snapshot.publications.iter().map(|publication| publication.bytes()).sum();
        let follows = bytes > REPLY_BYTES_MAX && !(has_history && snapshot.recovered);
        if let Some(first) = snapshot.publications.first().filter(|_| follows) {
            wire.context.subscribers.rewind(number, wire.key, first.offset() - 1);
            snapshot.publications.clear();
        }
        self.subscriptions.insert(number, &wire.context.subscribers);
        let terms = Terms { by_token: !subscribe.token.is_empty(), expires: claims.expires, present, tells };
        if terms.by_token || terms.expires.is_some() || terms.present.is_some() {
            self.terms.insert(number, terms);
        }
        Ok(Granted {
            number,
            follows,
            id: by_id.then(|| joined.id() as i64),
            channel: joined,
            as_text,
            // Each publication that was missed moves the client on from where it was, so that it can be cut off among them.
            offset: if subscribe.recover && snapshot.recovered && !snapshot.publications.is_empty() {
                subscribe.offset
            } else {
                snapshot.position.offset
            },
            recoverable,
            positioned,
            was_recovering: subscribe.recover,
            expiry: self.expiry(claims.expires, now()),
            data: claims.options.data.clone().or(rate_data),
            epoch: snapshot.position.epoch.to_string(),
            snapshot,
        })
    }

    /// The subscriptions that the connection's token brings: all of them, or else there is no connection.
    pub(super) fn subscribe_by_token(
        &mut self,
        claims: &ConnectionClaims,
        connect: &Connect<'_>,
        wire: &mut Wire<'_>,
    ) -> Result<Vec<Granted>, Failure> {
        let options = SubscribeOptions::default();
        let listed: Vec<(&str, &SubscribeOptions)> = match claims.subs.is_empty() {
            true => claims.channels.iter().map(|channel| (channel.as_str(), &options)).collect(),
            false => claims.subs.iter().map(|(channel, options)| (channel.as_str(), options)).collect(),
        };
        let mut granted = Vec::new();
        for (channel, options) in listed {
            let known = connect.subs.iter().find(|(known, _)| *known == channel).map(|(_, subscribe)| subscribe.clone());
            let subscribe = Subscribe { channel, ..known.unwrap_or_default() };
            let claims = SubscriptionClaims { options: options.clone(), ..SubscriptionClaims::default() };
            match self.grant(&subscribe, &claims, wire) {
                Ok(subscription) => granted.push(subscription),
                Err(codes::ALREADY_SUBSCRIBED) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(granted)
    }

    pub(super) fn unsubscribe(&mut self, id: u32, channel: &str, wire: &mut Wire<'_>, replies: &mut Replies<'_>) -> Outcome {
        self.leave(channel, wire);
        replies.write(id, &Reply::Unsubscribe);
        Ok(())
    }

    /// Changes how often a subscription is updated; returns what the client is told.
    pub(super) fn change_rate(
        &mut self,
        channel: &str,
        data: &[u8],
        wire: &mut Wire<'_>,
        replies: &mut Replies<'_>,
    ) -> Result<Box<str>, ErrorReply<'static>> {
        let subscription = self.subscriptions.find(channel, &wire.context.subscribers).ok_or(codes::PERMISSION_DENIED)?;
        let (rate, told) = granted_rate(wire.context.hub.options(channel), data)?;
        if wire.context.subscribers.change_rate(subscription, rate) {
            replies.catch_up.push(subscription);
        }
        Ok(told.unwrap_or_else(|| rate_data(rate)))
    }

    /// Ends the subscription to a channel. Whether there was one.
    pub(super) fn leave(&mut self, channel: &str, wire: &mut Wire<'_>) -> bool {
        let Some(subscription) = self.subscriptions.remove(channel, &wire.context.subscribers) else { return false };
        self.exit(subscription, wire.context);
        wire.leave(subscription);
        true
    }

    /// Is no longer present where it was.
    pub(super) fn exit(&mut self, subscription: u64, context: &Context) {
        if let Some(Terms { present: Some(_), tells, .. }) = self.terms.remove(&subscription) {
            context.hub.exit(context.subscribers.channel(subscription), &self.info.client, tells);
        }
    }
}

impl Granted {
    /// Takes what the client begins with, unless that is what it missed.
    pub fn take_unrecovered(&mut self) -> Vec<Arc<hub::Publication>> {
        if self.is_recovered() { Vec::new() } else { std::mem::take(&mut self.snapshot.publications) }
    }

    /// The subscription, if it is to catch up behind the reply.
    pub fn catches_up(&self) -> Option<u64> {
        self.follows.then_some(self.number)
    }

    /// Where its publications go.
    pub fn target(&self) -> Target<'_> {
        self.id.map_or(Target::Channel(self.channel.name()), Target::Id)
    }

    fn is_recovered(&self) -> bool {
        self.was_recovering && self.snapshot.recovered
    }

    /// As the protocol has it.
    pub fn result<'a>(&'a self, format: Format, differ: &mut Differ, made: &'a mut [Vec<u8>]) -> SubscribeResult<'a> {
        let publications = self.snapshot.publications.iter().zip(made);
        let publications: Vec<Publication<'a>> =
            publications.map(|(publication, made)| hub::lend(publication, format, None, self.as_text, differ, made)).collect();
        SubscribeResult {
            expiry: self.expiry,
            recoverable: self.recoverable,
            positioned: self.positioned,
            epoch: &self.epoch,
            offset: self.offset,
            was_recovering: self.was_recovering,
            recovered: self.is_recovered(),
            publications,
            data: self.data.as_deref().map(|data| Data::Raw(data.as_bytes())),
            delta: self.as_text,
            id: self.id,
        }
    }
}

/// The class of subscribers that a wish falls into: the fastest that is not faster than the wish, or else the slowest. What the client
/// is told, if it wished.
fn granted_rate(options: &ChannelOptions, data: &[u8]) -> Result<(u16, Option<Box<str>>), ErrorReply<'static>> {
    // Other data are the application's.
    let fields: HashMap<String, &RawValue> = serde_json::from_slice(data).unwrap_or_default();
    let Some(rate) = fields.get("rate") else { return Ok((0, None)) };
    let wanted: Option<u32> = serde_json::from_str(rate.get()).map_err(|_| codes::BAD_REQUEST)?;
    let Some(wanted) = wanted.filter(|&wanted| wanted > 0) else { return Ok((0, Some(rate_data(0)))) };
    let granted = options.rates.iter().rev().find(|&&rate| u32::from(rate) <= wanted).or(options.rates.first()).copied().unwrap_or(0);
    Ok((granted, Some(rate_data(granted))))
}

/// 0: every publication.
fn rate_data(rate: u16) -> Box<str> {
    format!("{{\"rate\":{rate}}}").into()
}
