//! What all connections of a worker share while they work: settings, scratch memory, the turn's queue, and the way to the hub.

use std::{
    rc::Rc,
    sync::Arc,
    time::{Instant, SystemTime},
};

use fantail_codec::{
    Scratch,
    accept::{self, ACCEPT_BYTES, Key},
    centrifuge::{SUBPROTOCOLS, json},
    deflate,
    http1::HeadScan,
    limits::{HttpLimits, MessageLimits},
    upgrade::{Policy, Protocol},
};

use crate::{
    auth::Verifier, config::Config, demo::File, encode::Encoder, hub::Hub, metrics::Metrics, outbox::TurnQueue, subscribers::Subscribers,
};

/// One worker's shared state.
pub struct Context {
    /// Bounds of a request.
    pub http_limits: HttpLimits,
    /// Bounds of a message.
    pub message_limits: MessageLimits,
    /// What an upgrade may agree to.
    pub policy: Rc<Policy>,
    /// The same where the client protocol is spoken.
    pub client_policy: Rc<Policy>,
    /// The files of the demo page, if it is served.
    pub files: &'static [File],
    /// All channels.
    pub hub: Arc<Hub>,
    /// The channels of this worker.
    pub subscribers: Subscribers,
    /// What this worker counts.
    pub metrics: Arc<Metrics>,
    /// What is to be written at the end of this turn.
    pub queue: TurnQueue,
    /// Makes frames.
    pub encoder: Encoder,
    /// The scan of a head that arrives whole.
    pub scan: HeadScan,
    /// Memory for a message that does not lie whole in what was received.
    pub scratch: Scratch,
    /// The server is going away: every answer closes.
    pub shutting_down: bool,
    /// Milliseconds since the worker began, modulo 2³²; the time of this turn.
    pub now_ms: u32,
    /// The time of this turn.
    pub now: Instant,
    /// Whose tokens are believed.
    pub verifier: Arc<Verifier>,
    /// Whether a client may connect without a token.
    pub anonymous: bool,
    /// Channels that one connection may subscribe to.
    pub subscriptions_max: usize,
    /// Seconds from one ping to the next, and from a token's end to the end of what it allowed.
    pub ping_interval_s: u32,
    /// Milliseconds from one ping to the next, and those in which a client must say who it is.
    pub ping_interval_ms: u32,
    /// See `ping_interval_ms`.
    pub handshake_ms: u32,
    /// See `ping_interval_s`.
    pub token_grace_s: u64,
    /// What reads commands, while it does not.
    pub reader: Option<Box<json::Reader>>,
    /// What is replied to those of one message.
    pub replies: Vec<u8>,
    outbox_bytes_max: usize,
    /// Bytes in the turn's queue at which the connection that is being served has been answered enough.
    answers_end: usize,
    accepts: AcceptBatch,
    date: Date,
}

/// A buffer for replies larger than this is given back at the end of a turn.
const REPLIES_BYTES_KEPT: usize = 256 << 10;

/// The handshakes of this turn: each key, and where in the turn's bytes its accept value belongs.
#[derive(Default)]
struct AcceptBatch {
    keys: Vec<Key>,
    places: Vec<usize>,
}

/// The Date field of this second.
#[derive(Default)]
struct Date {
    text: String,
    made_ms: u32,
}

impl Context {
    /// The context of one worker.
    pub fn new(
        config: &Config,
        worker: usize,
        hub: &Arc<Hub>,
        verifier: &Arc<Verifier>,
        metrics: Arc<Metrics>,
        files: &'static [File],
    ) -> Context {
        let limits = &config.limits;
        let policy = |subprotocols: Vec<String>| {
            Rc::new(Policy {
                protocols: vec![Protocol::WebSocket],
                subprotocols,
                origins: config.upgrade.origins.clone(),
                deflate: config
                    .deflate
                    .enabled
                    .then_some(deflate::Policy { client_context_takeover: config.deflate.client_context_takeover }),
            })
        };
        Context {
            http_limits: HttpLimits {
                head_bytes_max: limits.head_bytes_max,
                fields_max: limits.fields_max,
                target_bytes_max: limits.target_bytes_max,
                body_bytes_max: limits.body_bytes_max,
            },
            message_limits: MessageLimits {
                message_bytes_max: limits.message_bytes_max,
                fragments_max: u32::try_from(limits.fragments_max).unwrap_or(u32::MAX),
            },
            policy: policy(config.upgrade.subprotocols.clone()),
            client_policy: policy(SUBPROTOCOLS.map(|(name, _)| name.to_owned()).into()),
            files,
            hub: Arc::clone(hub),
            subscribers: Subscribers::new(Arc::clone(hub), worker),
            metrics,
            queue: TurnQueue::default(),
            encoder: Encoder::new(&config.deflate),
            scan: HeadScan::default(),
            scratch: Scratch::default(),
            shutting_down: false,
            now_ms: 0,
            now: Instant::now(),
            verifier: Arc::clone(verifier),
            anonymous: config.auth.anonymous,
            subscriptions_max: limits.subscriptions_max,
            // The protocol counts in seconds.
            ping_interval_s: (config.timeouts.ping_interval.as_secs() as u32).max(1),
            ping_interval_ms: config.timeouts.ping_interval.as_millis() as u32,
            handshake_ms: config.timeouts.handshake.as_millis() as u32,
            token_grace_s: config.timeouts.token_grace.as_secs(),
            reader: None,
            replies: Vec::new(),
            outbox_bytes_max: limits.outbox_bytes_max,
            answers_end: 0,
            accepts: AcceptBatch::default(),
            date: Date::default(),
        }
    }

    /// A connection is about to be served: what it is answered from here on counts against its limit.
    pub fn limit_answers(&mut self) {
        self.answers_end = self.queue.queued_bytes() + self.outbox_bytes_max;
    }

    /// Whether the connection that is being served has been answered enough, with what is not queued yet: few bytes of pipelined requests may ask
    /// for many.
    pub fn answered_enough(&self, more_bytes: usize) -> bool {
        self.queue.queued_bytes() + more_bytes >= self.answers_end
    }

    /// Gives back memory that a large message took.
    pub fn trim(&mut self) {
        self.scratch.trim();
        self.encoder.trim();
        self.replies.shrink_to(REPLIES_BYTES_KEPT);
        self.queue.clear();
    }

    /// The accept value of this key belongs at this place in [`TurnQueue::own`]'s bytes; it gets there before they are written.
    pub fn accept_later(&mut self, key: Key, place: usize) {
        self.accepts.keys.push(key);
        self.accepts.places.push(place);
    }

    /// Hashes all the keys of this turn together.
    pub fn accept_all(&mut self) {
        let AcceptBatch { keys, places } = &mut self.accepts;
        accept::hash(keys, |i, accept| self.queue.own_mut(places[i]..places[i] + ACCEPT_BYTES).copy_from_slice(accept));
        self.metrics.upgrades.add(keys.len() as u64);
        keys.clear();
        places.clear();
    }

    /// The value of Date, RFC 9110 §5.6.7.
    pub fn date(&mut self) -> String {
        if self.date.text.is_empty() || self.now_ms.wrapping_sub(self.date.made_ms) >= 1000 {
            self.date = Date { text: httpdate::fmt_http_date(SystemTime::now()), made_ms: self.now_ms };
        }
        self.date.text.clone()
    }
}
