//! What all connections of a worker share while they work: settings, scratch memory, the turn's queue, and the way to the hub.

use std::{rc::Rc, sync::Arc, time::SystemTime};

use fantail_codec::{
    Scratch,
    accept::{self, ACCEPT_BYTES, Key},
    deflate,
    http1::HeadScan,
    limits::{HttpLimits, MessageLimits},
    upgrade::{Policy, Protocol},
};

use crate::{config::Config, demo::File, encode::Encoder, hub::Hub, metrics::Metrics, outbox::TurnQueue, subscribers::Subscribers};

/// One worker's shared state.
pub struct Context {
    /// Bounds of a request.
    pub http_limits: HttpLimits,
    /// Bounds of a message.
    pub message_limits: MessageLimits,
    /// What an upgrade may agree to.
    pub policy: Rc<Policy>,
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
    outbox_bytes_max: usize,
    /// Bytes in the turn's queue at which the connection that is being served has been answered enough.
    answers_end: usize,
    accepts: AcceptBatch,
    date: Date,
}

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
    pub fn new(config: &Config, worker: usize, hub: &Arc<Hub>, metrics: Arc<Metrics>, files: &'static [File]) -> Context {
        let limits = &config.limits;
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
            policy: Rc::new(Policy {
                protocols: vec![Protocol::WebSocket],
                subprotocols: config.upgrade.subprotocols.clone(),
                origins: config.upgrade.origins.clone(),
                deflate: config
                    .deflate
                    .enabled
                    .then_some(deflate::Policy { client_context_takeover: config.deflate.client_context_takeover }),
            }),
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
            outbox_bytes_max: limits.outbox_bytes_max,
            answers_end: 0,
            accepts: AcceptBatch::default(),
            date: Date::default(),
        }
    }

    /// A connection is about to be served: what it is answered from here on counts against its limit.
    pub fn limit_answers(&mut self) {
        self.answers_end = self.queue.own_bytes() + self.outbox_bytes_max;
    }

    /// Whether the connection that is being served has been answered enough: few bytes of pipelined requests may ask for many.
    pub fn answered_enough(&self) -> bool {
        self.queue.own_bytes() >= self.answers_end
    }

    /// Gives back memory that a large message took.
    pub fn trim(&mut self) {
        self.scratch.trim();
        self.encoder.trim();
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
