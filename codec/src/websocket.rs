//! One peer's side of a WebSocket, after the handshake: frames in, events out (RFC 6455 §5–§7, RFC 7692). Imports `frame` and `deflate`.

use crate::{
    deflate::{Agreement, InflateError, Inflater},
    error::PeerError,
    frame::{CloseCode, FrameHeader, Kind, OpCode, Utf8, apply_mask, close, mask::rotate, write_frame},
    limits::{CONTROL_PAYLOAD_BYTES_MAX, FRAME_HEADER_BYTES_MAX, MessageLimits},
};

/// Which end of the connection we are; a client masks its frames, a server does not, RFC 6455 §5.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// We accepted the connection.
    Server,
    /// We opened the connection.
    Client,
}

/// How far the closing handshake is, RFC 6455 §7.1.
///
/// ```text
///            peer's close, or an error          our close
///       ┌──────────────────────────► PeerClosed ────────────┐
///     Open                                                  ▼
///       └──────────────────────────► Closing ───────────► Closed
///                 our close                  peer's close, or an error
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// Our close frame is out; only the peer's is still of interest.
    Closing,
    /// Nothing more is read; our close frame is due.
    PeerClosed,
    Closed,
}

/// What the peer said. Payloads are lent until the next call.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A whole message: unmasked, inflated, and valid if it is text. It may be changed in place.
    Message(Kind, &'a mut [u8]),
    /// To be answered by a pong with the same payload.
    Ping(&'a [u8]),
    /// An answer to a ping, or a sign of life.
    Pong(&'a [u8]),
    /// The closing handshake, its code and reason if it has any. It is answered through [`WebSocket::write_close`].
    Close(Option<(CloseCode, &'a str)>),
}

/// Memory for one message at a time, shared by all the connections of a thread. To make one costs nothing.
#[derive(Default)]
pub struct Scratch {
    inflater: Option<Box<Inflater>>,
    assembled: Vec<u8>,
    inflated: Vec<u8>,
}

impl Scratch {
    /// Gives back memory that a large message took.
    pub fn trim(&mut self) {
        for buffer in [&mut self.assembled, &mut self.inflated] {
            buffer.clear();
            buffer.shrink_to(SCRATCH_BYTES_KEPT);
        }
    }
}

/// What [`Scratch::trim`] leaves of a buffer.
const SCRATCH_BYTES_KEPT: usize = 256 << 10;

/// The protocol state of one connection. [`receive`](WebSocket::receive) takes bytes until it returns `None`; a payload that lies whole in them is
/// lent where it lies, any other is gathered in a buffer that exists only until its message is complete. An error ends the connection:
/// answer it through [`write_close`](WebSocket::write_close); nothing after it is processed.
pub struct WebSocket {
    role: Role,
    state: State,
    deflate: bool,
    partial: Option<Box<Partial>>,
    /// The peer's window, where it may refer to earlier messages.
    inflater: Option<Box<Inflater>>,
}

/// What has arrived of a message that is not complete.
#[derive(Debug, Default)]
struct Partial {
    header: [u8; FRAME_HEADER_BYTES_MAX],
    header_bytes: usize,
    /// The frame whose payload is arriving, and how much of it has.
    frame: Option<(FrameHeader, u64)>,
    control: Vec<u8>,
    message: Option<Message>,
}

/// A data message of which at least the first frame's header is there.
#[derive(Debug)]
struct Message {
    kind: Kind,
    compressed: bool,
    fragments: u32,
    utf8: Utf8,
    payload: Vec<u8>,
}

/// What one step over the input came to.
enum Step<'i> {
    /// All input is taken.
    Starved,
    /// Something was taken; there is nothing to tell yet.
    Again,
    /// A frame that needed no copy; a data frame here is a whole message.
    InPlace(FrameHeader, &'i mut [u8]),
    /// A control frame that came in pieces, now in `Partial::control`.
    Control(OpCode),
    /// The last piece of a message arrived.
    Assembled(Message),
}

impl WebSocket {
    /// The state after a handshake that agreed to this.
    pub fn new(role: Role, deflate: Option<&Agreement>) -> WebSocket {
        let peer_keeps_context = deflate.is_some_and(|agreement| match role {
            Role::Server => !agreement.client_no_context_takeover,
            Role::Client => !agreement.server_no_context_takeover,
        });
        WebSocket { role, state: State::Open, deflate: deflate.is_some(), partial: None, inflater: peer_keeps_context.then(Box::default) }
    }

    /// Whether messages may be sent.
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Whether both close frames have been exchanged.
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Whether a frame or a message has begun and not ended.
    pub fn is_partial(&self) -> bool {
        self.partial.is_some()
    }

    /// Whether a fragmented message, or a data frame that arrives in pieces, has begun and not ended.
    pub fn is_in_message(&self) -> bool {
        self.partial.as_ref().is_some_and(|partial| partial.message.is_some())
    }

    /// Takes bytes from the front of `input` up to the next event; `None` once all are taken. The bytes may be changed.
    ///
    /// # Errors
    /// What the peer did wrong. From then on all input is ignored.
    #[inline]
    pub fn receive<'s, 'i: 's>(
        &'s mut self,
        input: &mut &'i mut [u8],
        limits: &MessageLimits,
        scratch: &'s mut Scratch,
    ) -> Result<Option<Event<'s>>, PeerError> {
        if self.state == State::Open
            && self.role == Role::Server
            && self.partial.is_none()
            && let Some((kind, payload)) = small_message(input, limits)
        {
            return self.whole(kind, payload).map(Some);
        }
        loop {
            if matches!(self.state, State::PeerClosed | State::Closed) {
                *input = &mut [];
                return Ok(None);
            }
            let step = self.step(input, limits);
            if step.is_err() {
                self.end_receiving();
            }
            match step? {
                Step::Starved => return Ok(None),
                Step::Again => {}
                // After our close frame, all but the peer's is ignored, here and below.
                Step::InPlace(header, _) if self.state == State::Closing && header.opcode != OpCode::Close => self.drop_empty_partial(),
                Step::InPlace(header, payload) => return self.in_place(header, payload, limits, scratch).map(Some),
                Step::Control(opcode) => {
                    // The frame is complete, so nothing of it needs to outlive this event.
                    scratch.assembled = self.partial.as_mut().map(|partial| std::mem::take(&mut partial.control)).unwrap_or_default();
                    self.drop_empty_partial();
                    if self.state != State::Closing || opcode == OpCode::Close {
                        return self.control(opcode, &scratch.assembled).map(Some);
                    }
                }
                Step::Assembled(message) => {
                    self.drop_empty_partial();
                    if self.state != State::Closing {
                        return self.assembled(message, limits, scratch).map(Some);
                    }
                }
            }
        }
    }

    /// Appends our close frame to `out`, once: as the start of the closing handshake, or as the answer to the peer's or to an error. `mask` is a
    /// client's fresh masking key, `None` for a server. Nothing may be sent after it.
    pub fn write_close(&mut self, code: Option<CloseCode>, reason: &str, mask: Option<[u8; 4]>, out: &mut Vec<u8>) {
        self.state = match self.state {
            State::Open => State::Closing,
            State::PeerClosed => State::Closed,
            State::Closing | State::Closed => return,
        };
        let payload = close::payload(code, reason);
        write_frame(FrameHeader { mask, ..FrameHeader::whole(OpCode::Close, payload.len()) }, &payload, out);
    }

    fn end_receiving(&mut self) {
        self.partial = None;
        self.inflater = None;
        self.state = match self.state {
            State::Open | State::PeerClosed => State::PeerClosed,
            State::Closing | State::Closed => State::Closed,
        };
    }

    fn step<'i>(&mut self, input: &mut &'i mut [u8], limits: &MessageLimits) -> Result<Step<'i>, PeerError> {
        let arriving = self.partial.as_mut().and_then(|partial| partial.frame.take());
        let (header, done) = match arriving {
            Some(frame) => frame,
            None => match self.next_header(input)? {
                None => return Ok(Step::Starved),
                Some(header) => {
                    self.admit(&header, limits)?;
                    (header, 0)
                }
            },
        };
        let left = header.payload_bytes - done;
        let here = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
        let fills = here as u64 == left;
        let (payload, rest) = std::mem::take(input).split_at_mut(here);
        *input = rest;
        if let Some(key) = header.mask {
            apply_mask(payload, rotate(key, done));
        }
        let first_of_message = self.partial.as_ref().is_none_or(|partial| partial.message.is_none());
        if fills && done == 0 && (header.opcode.is_control() || (header.fin && first_of_message)) {
            return Ok(Step::InPlace(header, payload));
        }
        let partial = self.partial.get_or_insert_default();
        partial.frame = (!fills).then_some((header, done + here as u64));
        if header.opcode.is_control() {
            partial.control.extend_from_slice(payload);
            return Ok(if fills { Step::Control(header.opcode) } else { Step::Starved });
        }
        let message = partial.message.get_or_insert_with(|| Message {
            kind: if header.opcode == OpCode::Text { Kind::Text } else { Kind::Binary },
            compressed: header.rsv1,
            fragments: 0,
            utf8: Utf8::default(),
            payload: Vec::new(),
        });
        if done == 0 && (here > 0 || fills) {
            message.fragments += 1;
        }
        message.payload.extend_from_slice(payload);
        // After our close frame a payload is ignored whether it lies whole in the input or comes in pieces.
        if message.kind == Kind::Text && !message.compressed && self.state != State::Closing {
            message.utf8.push(payload)?;
        }
        match (fills, header.fin) {
            (false, _) => Ok(Step::Starved),
            (true, false) => Ok(Step::Again),
            (true, true) => Ok(partial.message.take().map_or(Step::Again, Step::Assembled)),
        }
    }

    /// The next frame's header, which may have begun in earlier input.
    fn next_header(&mut self, input: &mut &mut [u8]) -> Result<Option<FrameHeader>, PeerError> {
        let held = self.partial.as_ref().map_or(0, |partial| partial.header_bytes);
        if held == 0 {
            if let Some((header, length)) = FrameHeader::parse(input)? {
                *input = &mut std::mem::take(input)[length..];
                return Ok(Some(header));
            }
            if input.is_empty() {
                return Ok(None);
            }
        }
        let partial = self.partial.get_or_insert_default();
        let taken = input.len().min(FRAME_HEADER_BYTES_MAX - held);
        partial.header[held..held + taken].copy_from_slice(&input[..taken]);
        match FrameHeader::parse(&partial.header[..held + taken])? {
            Some((header, length)) => {
                *input = &mut std::mem::take(input)[length - held..];
                partial.header_bytes = 0;
                Ok(Some(header))
            }
            None => {
                *input = &mut [];
                partial.header_bytes = held + taken;
                Ok(None)
            }
        }
    }

    /// Whether this frame may come now, before any of its payload is looked at.
    fn admit(&mut self, header: &FrameHeader, limits: &MessageLimits) -> Result<(), PeerError> {
        if header.mask.is_some() != (self.role == Role::Server) {
            return Err(PeerError::Masking);
        }
        let message = self.partial.as_ref().and_then(|partial| partial.message.as_ref());
        // RFC 7692 §6.1: RSV1 stands on the first frame of a message only.
        if header.rsv1 && !(self.deflate && matches!(header.opcode, OpCode::Text | OpCode::Binary)) {
            return Err(PeerError::ReservedBit);
        }
        if header.opcode.is_control() {
            return Ok(());
        }
        if (header.opcode == OpCode::Continuation) != message.is_some() {
            return Err(PeerError::Fragmentation);
        }
        let so_far = message.map_or(0, |message| message.payload.len() as u64);
        if so_far + header.payload_bytes > limits.message_bytes_max as u64 {
            return Err(PeerError::MessageTooLarge);
        }
        if message.is_some_and(|message| message.fragments >= limits.fragments_max) {
            return Err(PeerError::TooManyFragments);
        }
        Ok(())
    }

    fn drop_empty_partial(&mut self) {
        if self.partial.as_ref().is_some_and(|partial| partial.frame.is_none() && partial.message.is_none() && partial.header_bytes == 0) {
            self.partial = None;
        }
    }

    #[inline]
    fn in_place<'s>(
        &'s mut self,
        header: FrameHeader,
        payload: &'s mut [u8],
        limits: &MessageLimits,
        scratch: &'s mut Scratch,
    ) -> Result<Event<'s>, PeerError> {
        self.drop_empty_partial();
        let kind = match header.opcode {
            OpCode::Text => Kind::Text,
            OpCode::Binary => Kind::Binary,
            opcode => return self.control(opcode, payload),
        };
        if header.rsv1 {
            return self.inflated(kind, payload, limits, &mut scratch.inflater, &mut scratch.inflated);
        }
        self.whole(kind, payload)
    }

    /// A message that lies whole in the input, unmasked.
    #[inline]
    fn whole<'s>(&mut self, kind: Kind, payload: &'s mut [u8]) -> Result<Event<'s>, PeerError> {
        if kind == Kind::Text {
            Utf8::check(payload).inspect_err(|_| self.end_receiving())?;
        }
        Ok(Event::Message(kind, payload))
    }

    fn assembled<'s>(&'s mut self, message: Message, limits: &MessageLimits, scratch: &'s mut Scratch) -> Result<Event<'s>, PeerError> {
        let Message { kind, compressed, utf8, payload, .. } = message;
        if compressed {
            return self.inflated(kind, &payload, limits, &mut scratch.inflater, &mut scratch.inflated);
        }
        utf8.finish().inspect_err(|_| self.end_receiving())?;
        scratch.assembled = payload;
        Ok(Event::Message(kind, &mut scratch.assembled))
    }

    fn inflated<'s>(
        &'s mut self,
        kind: Kind,
        compressed: &[u8],
        limits: &MessageLimits,
        shared: &mut Option<Box<Inflater>>,
        out: &'s mut Vec<u8>,
    ) -> Result<Event<'s>, PeerError> {
        out.clear();
        let keeps_context = self.inflater.is_some();
        let inflater = self.inflater.as_mut().unwrap_or_else(|| shared.get_or_insert_default());
        let result = inflater.message(compressed, keeps_context, limits.message_bytes_max, out).map_err(|error| match error {
            InflateError::Corrupt => PeerError::Deflate,
            InflateError::TooLarge => PeerError::MessageTooLarge,
        });
        let result = result.and_then(|()| if kind == Kind::Text { Utf8::check(out) } else { Ok(()) });
        result.inspect_err(|_| self.end_receiving())?;
        Ok(Event::Message(kind, out))
    }

    fn control<'s>(&mut self, opcode: OpCode, payload: &'s [u8]) -> Result<Event<'s>, PeerError> {
        debug_assert!(payload.len() <= CONTROL_PAYLOAD_BYTES_MAX);
        match opcode {
            OpCode::Ping => Ok(Event::Ping(payload)),
            OpCode::Pong => Ok(Event::Pong(payload)),
            _ => {
                self.end_receiving();
                close::parse(payload).map(Event::Close)
            }
        }
    }
}

/// Takes a client's message that is whole, small and not compressed from the front of `input`, as most are, and unmasks it. Whatever else it
/// finds, right or wrong, it leaves untouched for [`WebSocket::step`].
#[inline]
fn small_message<'i>(input: &mut &'i mut [u8], limits: &MessageLimits) -> Option<(Kind, &'i mut [u8])> {
    const HEADER_BYTES: usize = 6;
    let [first, second, key @ ..] = *input.first_chunk::<HEADER_BYTES>()?;
    // FIN and the opcode, without a reserved bit.
    let kind = match first {
        0x81 => Kind::Text,
        0x82 => Kind::Binary,
        _ => return None,
    };
    // Without the mask's bit this is longer than any length that stands in one byte.
    let length = usize::from(second.wrapping_sub(0x80));
    if length > CONTROL_PAYLOAD_BYTES_MAX || length > limits.message_bytes_max || input.len() < HEADER_BYTES + length {
        return None;
    }
    let (frame, rest) = std::mem::take(input).split_at_mut(HEADER_BYTES + length);
    *input = rest;
    let payload = &mut frame[HEADER_BYTES..];
    apply_mask(payload, key);
    Some((kind, payload))
}

#[cfg(test)]
mod tests;
