//! A client's end of a connection: it reads as slowly as it likes and checks each publication that it gets.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    io::{ErrorKind, Read},
    os::unix::net::UnixStream,
};

use fantail_codec::{Event, Role, Scratch, WebSocket, centrifuge::fossil, limits::MessageLimits};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{model::Channel, world::LIMIT};
use crate::config::SlowPolicy;

/// See the module.
pub struct Client {
    pub worker: usize,
    /// The connection's key; `None` once the worker has dropped it.
    pub key: Option<usize>,
    pub session: Kind,
    /// It reads whatever there is after every turn.
    pub is_fast: bool,
    /// What the server thinks that it subscribes to.
    pub subscribed: BTreeSet<usize>,
    /// What it knows to subscribe to.
    pub trackers: BTreeMap<usize, Tracker>,
    /// Commands without a reply, by rising id.
    pub pending: VecDeque<(u32, Pending)>,
    pub next_id: u32,
    /// What it reads has been delivered now.
    pub now_ms: Option<u32>,
    /// Nothing waited for it after the turn before.
    pub was_prompt: bool,
    /// It has read since the server last found its socket full.
    pub has_read: bool,
    /// It may have been so far behind that a policy took hold. Until it has everything.
    pub may_be_slow: bool,
    /// At most so many bytes are on their way to it.
    unread_bytes: usize,
    socket: UnixStream,
    websocket: WebSocket,
    handshake: Vec<u8>,
    is_open: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Raw,
    Stream,
    Client,
}

/// What a reply is to say.
pub enum Pending {
    Nothing,
    /// The channel, what it is to begin with, whether that is recovered, and the offset it is told.
    Subscribe(usize, Box<Tracker>, bool, u64),
    Unsubscribe(usize),
}

/// One subscription as its client sees it.
pub struct Tracker {
    pub life: usize,
    /// What came before the first later publication, and where the channel stood.
    pub snapshot: Vec<u64>,
    pub position: u64,
    pub last: u64,
    pub delta: bool,
    /// The channel's number in place of its name, once that is known.
    pub id: Option<i64>,
    /// It gets fewer, or did before it changed its rate.
    pub has_rate: bool,
    /// How long its publications are collected, as long as that does not change.
    pub interval_ms: Option<u32>,
    /// By key: in which interval the last of them came.
    came: HashMap<String, u32>,
    base: Option<String>,
}

impl Tracker {
    pub fn new(life: usize, snapshot: Vec<u64>, position: u64, delta: bool, interval_ms: Option<u32>) -> Tracker {
        Tracker {
            life,
            snapshot,
            position,
            last: 0,
            delta,
            id: None,
            has_rate: interval_ms.is_some(),
            interval_ms,
            came: HashMap::new(),
            base: None,
        }
    }

    /// It will get fewer, or some that were collected at the rate before.
    pub fn changes_rate(&mut self) {
        (self.has_rate, self.interval_ms) = (true, None);
    }

    fn is_due(&self, offset: u64) -> bool {
        offset > self.position || self.snapshot.contains(&offset)
    }

    /// The publications from here on are to follow `offset`.
    fn check_gap(&self, until: u64, channel: &Channel, may_be_slow: bool) {
        let (life, options) = (&channel.lives[self.life], &channel.options);
        let slow = if self.delta && options.slow == SlowPolicy::DropOldest { SlowPolicy::Conflate } else { options.slow };
        for missed in (self.last + 1..until).filter(|&missed| self.is_due(missed)) {
            let may_drop = may_be_slow && slow == SlowPolicy::DropOldest;
            let may_replace = self.has_rate || (may_be_slow && slow == SlowPolicy::Conflate);
            let context = || format!("{} of {}, after {} and before {until}", missed, channel.name, self.last);
            assert!(may_drop || may_replace, "lost: {}", context());
            assert!(may_drop || life.is_replaced(missed), "lost, and nothing took its place: {}", context());
        }
    }

    /// One of a key comes in an interval, where it is known when it came.
    fn check_rate(&mut self, offset: u64, now_ms: Option<u32>, channel: &Channel) {
        let Some((now_ms, interval_ms)) = now_ms.zip(self.interval_ms).filter(|_| offset > self.position) else { return };
        let key = &channel.lives[self.life].entry(offset).key;
        let before = self.came.insert(key.clone(), now_ms / interval_ms);
        assert!(before != Some(now_ms / interval_ms), "{offset} of {} comes too soon", channel.name);
    }

    fn take(&mut self, offset: u64, data: &str, is_delta: bool, channel: &Channel, may_be_slow: bool) {
        assert!(offset > self.last, "{offset} of {} after {}", channel.name, self.last);
        assert!(self.is_due(offset), "{offset} of {} is not of the snapshot", channel.name);
        self.check_gap(offset, channel, may_be_slow);
        let payload = match &self.base {
            Some(base) if is_delta => {
                String::from_utf8(fossil::apply(base.as_bytes(), data.as_bytes(), 1 << 20).expect("a delta applies")).unwrap()
            }
            _ => {
                assert!(!is_delta, "a delta without a base");
                data.to_owned()
            }
        };
        assert!(payload == channel.lives[self.life].entry(offset).payload, "another payload at {offset} of {}", channel.name);
        self.last = offset;
        self.base = self.delta.then_some(payload);
    }
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(default)]
    id: u32,
    #[serde(borrow)]
    push: Option<Push<'a>>,
    #[serde(borrow)]
    subscribe: Option<Subscribed<'a>>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Push<'a> {
    channel: Option<&'a str>,
    id: Option<i64>,
    #[serde(borrow, rename = "pub")]
    publication: Option<Publication<'a>>,
}

#[derive(Deserialize)]
struct Publication<'a> {
    #[serde(borrow)]
    data: &'a RawValue,
    offset: u64,
    #[serde(default)]
    delta: bool,
}

#[derive(Deserialize)]
struct Subscribed<'a> {
    #[serde(default)]
    epoch: &'a str,
    #[serde(default)]
    offset: u64,
    #[serde(default)]
    recovered: bool,
    #[serde(default)]
    delta: bool,
    id: Option<i64>,
    #[serde(borrow, default)]
    publications: Vec<Publication<'a>>,
}

#[derive(Deserialize)]
struct Streamed<'a> {
    stream: &'a str,
    #[serde(borrow)]
    data: &'a RawValue,
}

impl Client {
    pub fn new(worker: usize, key: usize, session: Kind, is_fast: bool, socket: UnixStream) -> Client {
        Client {
            worker,
            key: Some(key),
            session,
            is_fast,
            subscribed: BTreeSet::new(),
            trackers: BTreeMap::new(),
            pending: VecDeque::new(),
            next_id: 0,
            now_ms: None,
            was_prompt: false,
            has_read: true,
            may_be_slow: false,
            unread_bytes: 0,
            socket,
            websocket: WebSocket::new(Role::Client, None),
            handshake: Vec::new(),
            is_open: false,
        }
    }

    /// At most so many bytes more are on their way.
    pub fn expect_bytes(&mut self, bytes: usize) {
        self.unread_bytes += bytes;
        self.may_be_slow |= self.unread_bytes > LIMIT * 3 / 4;
    }

    /// Reads up to so many bytes, until there are no more. Whether the connection still stands.
    pub fn read(&mut self, mut bytes: usize, channels: &[Channel], serials: &[(usize, u64)]) -> bool {
        let mut buffer = [0; 16 << 10];
        while bytes > 0 {
            let room = buffer.len().min(bytes);
            let length = match self.socket.read(&mut buffer[..room]) {
                Ok(length) if length > 0 => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // It did not read its close frame in time.
                Ok(_) if self.may_be_closed(channels) => return false,
                ended => panic!("the server ended without a close: {ended:?}"),
            };
            self.has_read = true;
            bytes -= length;
            if !self.take(&mut buffer[..length], channels, serials) {
                return false;
            }
        }
        if bytes > 0 && self.has_everything(channels) {
            (self.unread_bytes, self.may_be_slow) = (0, false);
        }
        true
    }

    /// Whether nothing is on its way.
    pub fn has_everything(&self, channels: &[Channel]) -> bool {
        let at_top = |(&channel, tracker): (&usize, &Tracker)| tracker.last.max(tracker.position) == channels[channel].life().1.top();
        self.is_open
            && self.pending.is_empty()
            && self.trackers.keys().eq(&self.subscribed)
            && self.trackers.iter().all(at_top)
            && self.trackers.values().all(|tracker| tracker.snapshot.last().is_none_or(|&last| tracker.last >= last))
    }

    /// Whether it is too slow for one of its channels.
    fn may_be_closed(&self, channels: &[Channel]) -> bool {
        let is_strict = |&channel: &usize| channels[channel].options.slow == SlowPolicy::Disconnect;
        self.may_be_slow && (self.subscribed.iter().any(is_strict) || self.trackers.keys().any(is_strict))
    }

    /// It has read everything: what it has not got, it was not to get.
    pub fn check_end(&self, channels: &[Channel]) {
        assert!(self.is_open && self.pending.is_empty() && self.trackers.keys().eq(&self.subscribed), "a reply is missing");
        for (&channel, tracker) in &self.trackers {
            tracker.check_gap(channels[channel].life().1.top() + 1, &channels[channel], self.may_be_slow);
        }
    }

    fn take(&mut self, mut bytes: &mut [u8], channels: &[Channel], serials: &[(usize, u64)]) -> bool {
        while !self.is_open {
            let [byte, rest @ ..] = bytes else { return true };
            self.handshake.push(*byte);
            bytes = rest;
            self.is_open = self.handshake.ends_with(b"\r\n\r\n");
        }
        let mut websocket = std::mem::replace(&mut self.websocket, WebSocket::new(Role::Client, None));
        let mut scratch = Scratch::default();
        loop {
            match websocket.receive(&mut bytes, &MessageLimits::DEFAULT, &mut scratch).expect("frames as they should be") {
                None => break,
                Some(Event::Message(_, payload)) => self.message(str::from_utf8(payload).unwrap(), channels, serials),
                Some(Event::Close(close)) => {
                    let code = close.map(|(code, _)| code.get());
                    assert!(code == Some(3008) && self.may_be_closed(channels), "closed: {close:?}");
                    let more = self.socket.read(&mut [0; 1]);
                    assert!(bytes.is_empty() && !matches!(more, Ok(1..)), "something follows the close frame");
                    return false;
                }
                Some(event) => panic!("{event:?}"),
            }
        }
        self.websocket = websocket;
        true
    }

    fn message(&mut self, text: &str, channels: &[Channel], serials: &[(usize, u64)]) {
        match self.session {
            Kind::Raw => drop(self.payload(text, channels, serials)),
            Kind::Stream => {
                let streamed: Streamed<'_> = serde_json::from_str(text).unwrap();
                let channel = self.payload(streamed.data.get(), channels, serials);
                assert_eq!(streamed.stream, channels[channel].name);
            }
            Kind::Client => text.split('\n').for_each(|line| self.line(line, channels)),
        }
    }

    /// A payload says by its serial number which it is.
    fn payload(&mut self, text: &str, channels: &[Channel], serials: &[(usize, u64)]) -> usize {
        let serial = text.strip_prefix("{\"n\":").and_then(|rest| rest.split(',').next()).expect("a payload");
        let (channel, offset) = serials[serial.parse::<usize>().unwrap()];
        let tracker = self.trackers.get_mut(&channel).expect("a publication of what it subscribes to");
        tracker.take(offset, text, false, &channels[channel], self.may_be_slow);
        channel
    }

    fn line(&mut self, line: &str, channels: &[Channel]) {
        let Message { id, push, subscribe, error } = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(error.is_none(), "{line}");
        if let Some(push) = push {
            let Some(publication) = push.publication else { return };
            let of = |(channel, tracker): &(&usize, &mut Tracker)| match (push.channel, push.id) {
                (Some(name), _) => tracker.id.is_none() && channels[**channel].name == name,
                (None, id) => tracker.id == id,
            };
            let (channel, tracker) = self.trackers.iter_mut().find(of).unwrap_or_else(|| panic!("it does not subscribe to this: {line}"));
            tracker.check_rate(publication.offset, self.now_ms.filter(|_| !self.may_be_slow), &channels[*channel]);
            return take(tracker, &publication, &channels[*channel], self.may_be_slow);
        }
        let (expected, pending) = self.pending.pop_front().expect("a reply to a command");
        assert_eq!(id, expected, "replies in order");
        match pending {
            Pending::Nothing => {}
            Pending::Unsubscribe(channel) => drop(self.trackers.remove(&channel).expect("a subscription")),
            Pending::Subscribe(channel, mut tracker, recovered, offset) => {
                let result = subscribe.expect("a result");
                let (life, offsets) =
                    (&channels[channel].lives[tracker.life], result.publications.iter().map(|publication| publication.offset));
                assert!(offsets.eq(tracker.snapshot.iter().copied()), "{line}: expected {:?}", tracker.snapshot);
                assert_eq!((result.epoch, result.offset), (&*life.epoch, offset));
                assert_eq!((result.recovered, result.delta), (recovered, tracker.delta), "{line}");
                tracker.id = result.id;
                result.publications.iter().for_each(|publication| take(&mut tracker, publication, &channels[channel], false));
                tracker.last = tracker.position;
                assert!(self.trackers.insert(channel, *tracker).is_none());
            }
        }
    }
}

fn take(tracker: &mut Tracker, publication: &Publication<'_>, channel: &Channel, may_be_slow: bool) {
    let text;
    let data = match tracker.delta {
        true => {
            text = serde_json::from_str::<String>(publication.data.get()).unwrap();
            &text
        }
        false => publication.data.get(),
    };
    tracker.take(publication.offset, data, publication.delta, channel, may_be_slow);
}
