//! A message on its way to many: framed once for each encoding, and shared by all.

use std::{sync::OnceLock, time::Instant};

use fantail_codec::{
    Kind,
    frame::{FrameHeader, OpCode, write_frame},
};

use crate::encode::{Encoder, Encoding};

/// A numbered message of a channel.
#[derive(Debug)]
pub struct Publication {
    pub(super) offset: u64,
    kind: Kind,
    published: Instant,
    /// The whole frame, header and payload.
    plain: Box<[u8]>,
    header_bytes: usize,
    /// The frame in each encoding but the plain one, made by the first worker that needs it.
    encoded: [OnceLock<Box<[u8]>>; Encoding::COUNT - 1],
}

impl Publication {
    pub(super) fn new(kind: Kind, payload: &[u8]) -> Publication {
        let header = FrameHeader::whole(OpCode::from(kind), payload.len());
        let header_bytes = header.encode().1;
        let mut plain = Vec::with_capacity(header_bytes + payload.len());
        write_frame(header, payload, &mut plain);
        Publication { offset: 0, kind, published: Instant::now(), plain: plain.into(), header_bytes, encoded: Default::default() }
    }

    /// Its number in the channel.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// When it was published.
    pub fn published(&self) -> Instant {
        self.published
    }

    /// The bytes that were published.
    pub fn payload(&self) -> &[u8] {
        &self.plain[self.header_bytes..]
    }

    /// Text or binary.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What it counts against limits, in bytes.
    pub fn bytes(&self) -> usize {
        self.plain.len() + size_of::<Publication>()
    }

    /// Makes sure that [`frame`](Publication::frame) has this encoding.
    pub fn encode(&self, encoding: Encoding, encoder: &mut Encoder) {
        if let Some(frame) = Self::slot(encoding).map(|slot| &self.encoded[slot]) {
            frame.get_or_init(|| {
                let mut frame = Vec::new();
                encoder.message(self.kind, self.payload(), encoding, &mut frame);
                frame.into()
            });
        }
    }

    /// The frame in an encoding; plain where it has not been encoded, which is what every connection understands.
    pub fn frame(&self, encoding: Encoding) -> &[u8] {
        Self::slot(encoding).and_then(|slot| self.encoded[slot].get()).unwrap_or(&self.plain)
    }

    fn slot(encoding: Encoding) -> Option<usize> {
        (encoding as usize).checked_sub(Encoding::Deflated as usize)
    }
}
