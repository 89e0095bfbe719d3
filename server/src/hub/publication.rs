//! A message on its way to many: made into bytes once for each form, and shared by all who take that form.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use fantail_codec::{Kind, centrifuge};

use crate::{
    encode::Encoder,
    hub::{
        Channel, Form,
        namespace::{Counted, Namespace},
    },
};

/// What is published, before its channel has numbered it.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// Text or binary.
    pub kind: Kind,
    /// The bytes.
    pub payload: Arc<[u8]>,
    /// What it is the latest value of, in a channel with keys.
    pub key: Box<str>,
    /// Names and values beside the payload.
    pub tags: Box<[(Box<str>, Box<str>)]>,
    /// Who published it, where that was a client that says so.
    pub publisher: Option<Arc<ClientInfo>>,
}

impl Message {
    /// A payload alone.
    pub fn new(kind: Kind, payload: &[u8]) -> Message {
        Message { kind, payload: payload.into(), ..Message::default() }
    }
}

/// Who a client is, as others are told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientInfo {
    /// The user that its token names; empty for an anonymous client.
    pub user: Box<str>,
    /// The connection.
    pub client: Box<str>,
    /// JSON of the connection's token.
    pub conn_info: Option<Box<[u8]>>,
    /// JSON of the subscription's token.
    pub chan_info: Option<Box<[u8]>>,
}

impl ClientInfo {
    /// As the client protocol has it.
    pub fn lend(&self) -> centrifuge::ClientInfo<'_> {
        centrifuge::ClientInfo {
            user: &self.user,
            client: &self.client,
            conn_info: self.conn_info.as_deref(),
            chan_info: self.chan_info.as_deref(),
        }
    }
}

/// How many clients and how many users these are.
pub fn count(present: &[Arc<ClientInfo>]) -> (u32, u32) {
    let users: HashSet<&str> = present.iter().map(|info| &*info.user).collect();
    (present.len() as u32, users.len() as u32)
}

/// A numbered message of a channel.
#[derive(Debug)]
pub struct Publication {
    offset: u64,
    message: Message,
    published: Instant,
    source: Option<Box<Source>>,
    /// It is neither recovered nor in any history.
    pub(super) skip_history: bool,
    frames: Mutex<Vec<Frame>>,
    counted: Counted,
}

/// Where a pattern's publication comes from.
#[derive(Debug)]
pub struct Source {
    /// Its offset there.
    pub offset: u64,
    /// Its key in the pattern, which has the channel's name in it.
    key: Box<str>,
    channel_bytes: usize,
}

impl Source {
    /// Where it was published.
    pub fn channel(&self) -> &str {
        let start = self.key.find(':').map_or(0, |colon| colon + 1);
        &self.key[start..start + self.channel_bytes]
    }
}

/// A publication in a form.
#[derive(Debug)]
struct Frame {
    form: Form,
    /// The offset of the publication that a delta is based on; 0: it is in full.
    base: u64,
    bytes: Arc<[u8]>,
    _counted: Counted,
}

impl Publication {
    pub(super) fn new(offset: u64, message: Message, published: Instant, namespace: &Arc<Namespace>) -> Publication {
        let counted = Counted::new(&namespace.publications, Publication::bytes_of(&message));
        Publication { offset, message, published, source: None, skip_history: false, frames: Mutex::default(), counted }
    }

    /// The same as a pattern has it, which holds the newest of each channel.
    pub(super) fn forwarded(&self, offset: u64, channel: &str, namespace: &Arc<Namespace>) -> Publication {
        let source = Source { offset: self.offset, key: self.key_in_pattern(channel), channel_bytes: channel.len() };
        let bytes = self.bytes() + size_of::<Source>() + source.key.len();
        Publication {
            source: Some(source.into()),
            counted: Counted::new(&namespace.publications, bytes),
            ..Publication::new(offset, self.message.clone(), self.published, namespace)
        }
    }

    /// Its key in a pattern: each key of each channel has its own, whatever their names.
    pub(super) fn key_in_pattern(&self, channel: &str) -> Box<str> {
        format!("{}:{channel}{}", channel.len(), self.key()).into()
    }

    /// Where it comes from, if it is in a pattern.
    pub fn source(&self) -> Option<&Source> {
        self.source.as_deref()
    }

    /// Its number in the channel.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// When it was published.
    pub fn published(&self) -> Instant {
        self.published
    }

    /// What was published.
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// What it is the latest value of where it is now: [`Message::key`], or in a pattern one of the channel and that.
    pub fn key(&self) -> &str {
        self.source.as_ref().map_or(&self.message.key, |source| &source.key)
    }

    /// What it counts against limits, in bytes.
    pub fn bytes(&self) -> usize {
        self.counted.bytes()
    }

    /// What a message will count once it is numbered.
    pub(super) fn bytes_of(Message { payload, key, tags, .. }: &Message) -> usize {
        let tags: usize = tags.iter().map(|(name, value)| name.len() + value.len()).sum();
        payload.len() + key.len() + tags + size_of::<Publication>()
    }

    /// It is no longer the newest: who still needs a frame of it makes it again.
    pub(super) fn forget_frames(&self) {
        *self.frames.lock().unwrap_or_else(PoisonError::into_inner) = Vec::new();
    }

    /// The whole frame in a form; made by the first worker that needs it, and kept for others while the publication is the newest. `base` is the publication before it, where the form takes deltas.
    pub fn frame(&self, channel: &Channel, form: Form, base: Option<&Publication>, encoder: &mut Encoder) -> Arc<[u8]> {
        let based_on = base.map_or(0, |base| base.offset);
        let mut frames = self.frames.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = frames.iter().find(|known| (known.form, known.base) == (form, based_on)) {
            return Arc::clone(&known.bytes);
        }
        let frame = encoder.frame(form.encoding(), |differ, message| form.write(self, channel, base, differ, message));
        let bytes: Arc<[u8]> = frame.into();
        // Who takes a channel in every form there is gets each made anew where memory is short.
        let budget = &channel.namespace().frames;
        if budget.has_room(bytes.len()) {
            frames.push(Frame { form, base: based_on, bytes: Arc::clone(&bytes), _counted: Counted::new(budget, bytes.len()) });
        }
        bytes
    }
}
