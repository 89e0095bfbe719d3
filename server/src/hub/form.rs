//! The forms in which sessions take publications, and the message that each form makes of one.

use std::sync::Arc;

use fantail_codec::{
    Kind,
    centrifuge::{self, Data, Format, Push, StreamPosition, Target, fossil::Differ, json},
};

use crate::{
    encode::{Encoder, Encoding},
    hub::{Channel, ClientInfo, Position, Publication, publication::Source},
};

/// What a publication is made into for a subscriber: the message, a [`Shape`], and the frame around it, an [`Encoding`]; in a byte, because
/// every subscriber has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form(u8);

/// The message that a session makes of a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// The payload as it is.
    Raw,
    /// JSON with the channel's name beside the payload.
    Stream,
    /// A push of the client protocol.
    Push {
        /// Its format.
        format: Format,
        /// The channel goes by its number.
        by_id: bool,
        /// The data are text, in full or as a delta.
        delta: bool,
    },
}

/// The bits of a [`Form`]: two of the encoding, and these.
const STREAM: u8 = 1 << 2;
const PUSH: u8 = 2 << 2;
const PROTOBUF: u8 = 1 << 4;
const BY_ID: u8 = 1 << 5;
const DELTA: u8 = 1 << 6;

impl Form {
    /// The form of this shape and encoding.
    pub const fn new(shape: Shape, encoding: Encoding) -> Form {
        let shape = match shape {
            Shape::Raw => 0,
            Shape::Stream => STREAM,
            Shape::Push { format, by_id, delta } => {
                let format = if matches!(format, Format::Protobuf) { PROTOBUF } else { 0 };
                PUSH | format | if by_id { BY_ID } else { 0 } | if delta { DELTA } else { 0 }
            }
        };
        Form(shape | encoding as u8)
    }

    fn shape(self) -> Shape {
        let has = |bit| self.0 & bit != 0;
        if has(PUSH) {
            let format = if has(PROTOBUF) { Format::Protobuf } else { Format::Json };
            return Shape::Push { format, by_id: has(BY_ID), delta: has(DELTA) };
        }
        if has(STREAM) { Shape::Stream } else { Shape::Raw }
    }

    pub(super) fn encoding(self) -> Encoding {
        match self.0 & 3 {
            0 => Encoding::Plain,
            1 => Encoding::Deflated,
            _ => Encoding::DeflatedSmallWindow,
        }
    }

    /// Appends the message of this form, and says of which kind it is.
    pub(super) fn write(
        self,
        publication: &Publication,
        channel: &Channel,
        base: Option<&Publication>,
        differ: &mut Differ,
        out: &mut Vec<u8>,
    ) -> Kind {
        let message = publication.message();
        match self.shape() {
            Shape::Raw => {
                out.extend_from_slice(&message.payload);
                message.kind
            }
            Shape::Stream => {
                out.extend_from_slice(b"{\"stream\":");
                // Writing to memory does not fail.
                let _ = serde_json::to_writer(&mut *out, publication.source().map_or(channel.name(), Source::channel));
                out.extend_from_slice(b",\"data\":");
                json::write_data(&message.payload, message.kind == Kind::Text, out);
                out.push(b'}');
                Kind::Text
            }
            Shape::Push { format, by_id, delta } => {
                let mut made = Vec::new();
                let publication = lend(publication, format, base, delta, differ, &mut made);
                format.write_push(target(channel, by_id), &Push::Publication(publication), out);
                kind(format)
            }
        }
    }

    /// The frame that tells where the channel stands.
    pub fn position(self, channel: &Channel, position: Position, encoder: &mut Encoder) -> Arc<[u8]> {
        let epoch = position.epoch.to_string();
        self.push(channel, &Push::Position(StreamPosition { offset: position.offset, epoch: &epoch }), encoder)
    }

    /// The frame that tells of somebody who comes or goes.
    pub fn presence(self, channel: &Channel, info: &ClientInfo, comes: bool, encoder: &mut Encoder) -> Arc<[u8]> {
        self.push(channel, &if comes { Push::Join(info.lend()) } else { Push::Leave(info.lend()) }, encoder)
    }

    /// A frame with a push; empty for subscribers who get publications alone.
    fn push(self, channel: &Channel, push: &Push<'_>, encoder: &mut Encoder) -> Arc<[u8]> {
        let Shape::Push { format, by_id, .. } = self.shape() else { return Arc::default() };
        let frame = encoder.frame(self.encoding(), |_, message| {
            format.write_push(target(channel, by_id), push, message);
            kind(format)
        });
        frame.into()
    }

    /// Whether publications may be deltas.
    pub fn takes_deltas(self) -> bool {
        self.0 & DELTA != 0
    }
}

/// A publication as the client protocol has it. With `as_text` its data are text, the delta to `base` where that is smaller; `made` is where data are
/// that had to be made.
pub fn lend<'a>(
    publication: &'a Publication,
    format: Format,
    base: Option<&Publication>,
    as_text: bool,
    differ: &mut Differ,
    made: &'a mut Vec<u8>,
) -> centrifuge::Publication<'a> {
    let message = publication.message();
    let payload = &message.payload[..];
    if format == Format::Json && !as_text {
        json::write_data(payload, message.kind == Kind::Text, made);
        return whole(publication, Data::Raw(made), false);
    }
    // In JSON a delta is between texts, which clients parse.
    let takes_deltas = |bytes| format == Format::Protobuf || json::is_json(bytes);
    let is_fit = takes_deltas(payload);
    let base = base.map(|base| &base.message().payload[..]).filter(|base| is_fit && takes_deltas(base));
    let delta = base.is_some_and(|base| differ.delta(base, payload, made));
    if !is_fit {
        json::write_data(payload, message.kind == Kind::Text, made);
    }
    let bytes = if made.is_empty() { payload } else { made };
    let text = str::from_utf8(bytes).ok().filter(|_| format == Format::Json);
    whole(publication, text.map_or(Data::Raw(bytes), Data::Text), delta)
}

fn whole<'a>(publication: &'a Publication, data: Data<'a>, delta: bool) -> centrifuge::Publication<'a> {
    let message = publication.message();
    centrifuge::Publication {
        data,
        info: message.publisher.as_deref().map(ClientInfo::lend),
        offset: publication.source().map_or(publication.offset(), |source| source.offset),
        tags: &message.tags,
        delta,
        time: 0,
        channel: publication.source().map_or("", Source::channel),
        key: &message.key,
    }
}

fn target(channel: &Channel, by_id: bool) -> Target<'_> {
    if by_id { Target::Id(channel.id() as i64) } else { Target::Channel(channel.name()) }
}

/// The kind of a message in this format.
pub fn kind(format: Format) -> Kind {
    match format {
        Format::Json => Kind::Text,
        Format::Protobuf => Kind::Binary,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_holds_every_form() {
        let bits = [false, true];
        let pushes = [Format::Json, Format::Protobuf].into_iter().flat_map(|format| {
            bits.into_iter().flat_map(move |by_id| bits.into_iter().map(move |delta| Shape::Push { format, by_id, delta }))
        });
        for shape in [Shape::Raw, Shape::Stream].into_iter().chain(pushes) {
            for encoding in [Encoding::Plain, Encoding::Deflated, Encoding::DeflatedSmallWindow] {
                let form = Form::new(shape, encoding);
                assert_eq!((form.shape(), form.encoding()), (shape, encoding));
                assert_eq!(form.takes_deltas(), matches!(shape, Shape::Push { delta: true, .. }));
            }
        }
    }
}
