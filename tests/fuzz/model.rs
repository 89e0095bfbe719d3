//! What one end of a WebSocket must tell of a list of frames, RFC 6455 §5: one frame at a time, nothing in pieces, nothing in place.
//! Imports the other library of `inflate`.

use fantail_codec::limits::MessageLimits;
use fantail_codec::{Event, Kind, PeerError, Role};
use fantail_tests::Frame;

use crate::inflate::Reference;

/// A frame as it is sent.
#[derive(Clone, Debug)]
pub struct Sent {
    pub frame: Frame,
    pub is_masked: bool,
    /// The length is in a longer form than it needs.
    pub is_padded: bool,
    /// The payload was compressed and then damaged, so that only a strict inflater knows what becomes of it.
    pub is_damaged: bool,
}

/// An event that owns what it tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Message(Kind, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
    Error(PeerError),
}

impl From<Event<'_>> for Told {
    fn from(event: Event<'_>) -> Told {
        match event {
            Event::Message(kind, payload) => Told::Message(kind, payload.to_vec()),
            Event::Ping(payload) => Told::Ping(payload.to_vec()),
            Event::Pong(payload) => Told::Pong(payload.to_vec()),
            Event::Close(close) => Told::Close(close.map(|(code, reason)| (code.get(), reason.to_owned()))),
        }
    }
}

/// What was agreed, and when we close.
#[derive(Clone, Debug)]
pub struct Setting {
    pub role: Role,
    /// Whether the peer keeps its context, if there is compression.
    pub deflate: Option<bool>,
    pub limits: MessageLimits,
    /// We close after so many events.
    pub close_after: usize,
}

/// What is told, and whether that is all: not so behind a damaged payload.
pub fn tell(frames: &[Sent], setting: &Setting) -> (Vec<Told>, bool) {
    let mut model = Model { setting, message: None, reference: Reference::default() };
    let mut told = Vec::new();
    for sent in frames {
        if sent.is_damaged && sent.frame.fin {
            return (told, false);
        }
        let is_closing = told.len() >= setting.close_after;
        let next = model.next(sent, is_closing).unwrap_or_else(|error| Some(Told::Error(error)));
        let is_last = matches!(next, Some(Told::Close(_) | Told::Error(_)));
        // After our close frame nothing but the peer's is of interest.
        told.extend(next.filter(|_| is_last || !is_closing));
        if is_last {
            break;
        }
    }
    (told, true)
}

struct Model<'a> {
    setting: &'a Setting,
    message: Option<Message>,
    reference: Reference,
}

struct Message {
    kind: Kind,
    is_compressed: bool,
    fragments: u32,
    payload: Vec<u8>,
}

impl Model<'_> {
    fn next(&mut self, sent: &Sent, is_closing: bool) -> Result<Option<Told>, PeerError> {
        let Frame { fin, rsv, opcode, ref payload } = sent.frame;
        self.may_come(sent)?;
        match opcode {
            Frame::PING => return Ok(Some(Told::Ping(payload.clone()))),
            Frame::PONG => return Ok(Some(Told::Pong(payload.clone()))),
            Frame::CLOSE => return close(payload).map(Some),
            _ => {}
        }
        let mut message = self.message.take().unwrap_or(Message {
            kind: if opcode == Frame::TEXT { Kind::Text } else { Kind::Binary },
            is_compressed: rsv == Frame::RSV1,
            fragments: 0,
            payload: Vec::new(),
        });
        message.fragments += 1;
        message.payload.extend(payload);
        if is_closing {
            // Of what is ignored only the frames must be sound.
            self.message = (!fin).then_some(message);
            return Ok(None);
        }
        if message.kind == Kind::Text && !message.is_compressed {
            is_text(&message.payload, fin)?;
        }
        if !fin {
            self.message = Some(message);
            return Ok(None);
        }
        if message.is_compressed {
            if self.setting.deflate != Some(true) {
                self.reference = Reference::default();
            }
            let bytes_max = self.setting.limits.message_bytes_max;
            message.payload = self.reference.message(&message.payload, bytes_max).ok_or(PeerError::MessageTooLarge)?;
            if message.kind == Kind::Text {
                is_text(&message.payload, true)?;
            }
        }
        Ok(Some(Told::Message(message.kind, message.payload)))
    }

    /// RFC 6455 §5.1, §5.2, §5.4, §5.5; RFC 7692 §6.
    fn may_come(&self, sent: &Sent) -> Result<(), PeerError> {
        let Frame { fin, rsv, opcode, ref payload } = sent.frame;
        let is_control = opcode >= Frame::CLOSE;
        let (so_far, fragments) = self.message.as_ref().map_or((0, 0), |message| (message.payload.len(), message.fragments));
        let limits = &self.setting.limits;
        let checks = [
            (rsv & 0b011 != 0, PeerError::ReservedBit),
            (matches!(opcode, 3..=7 | 11..), PeerError::ReservedOpCode),
            (is_control && (!fin || payload.len() > 125 || sent.is_padded), PeerError::ControlFrame),
            (sent.is_padded, PeerError::FrameLength),
            (sent.is_masked != (self.setting.role == Role::Server), PeerError::Masking),
            (rsv != 0 && (self.setting.deflate.is_none() || !matches!(opcode, Frame::TEXT | Frame::BINARY)), PeerError::ReservedBit),
            (!is_control && (opcode == Frame::CONTINUATION) != self.message.is_some(), PeerError::Fragmentation),
            (!is_control && so_far + payload.len() > limits.message_bytes_max, PeerError::MessageTooLarge),
            (!is_control && self.message.is_some() && fragments >= limits.fragments_max, PeerError::TooManyFragments),
        ];
        checks.into_iter().find(|(is_wrong, _)| *is_wrong).map_or(Ok(()), |(_, error)| Err(error))
    }
}

/// RFC 6455 §8.1: wrong at the first byte that no continuation could mend.
fn is_text(bytes: &[u8], is_whole: bool) -> Result<(), PeerError> {
    match std::str::from_utf8(bytes) {
        Err(error) if is_whole || error.error_len().is_some() => Err(PeerError::Utf8),
        _ => Ok(()),
    }
}

/// RFC 6455 §5.5.1, §7.4.
fn close(payload: &[u8]) -> Result<Told, PeerError> {
    match payload {
        [] => Ok(Told::Close(None)),
        [_] => Err(PeerError::CloseFrame),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
                return Err(PeerError::CloseFrame);
            }
            is_text(reason, true)?;
            Ok(Told::Close(Some((code, String::from_utf8_lossy(reason).into_owned()))))
        }
    }
}
