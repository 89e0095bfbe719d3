//! Frames for subscribers and peers, plain or compressed. Imports codec.

use fantail_codec::{
    Kind,
    centrifuge::fossil::Differ,
    deflate::{Agreement, Deflater},
    frame::{FrameHeader, OpCode, write_frame},
    limits::FRAME_HEADER_BYTES_MAX,
};

use crate::config::Deflate;

/// How a connection takes its messages. One encoding of a publication serves every connection that agreed to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// As they are.
    Plain,
    /// permessage-deflate with the full window.
    Deflated,
    /// permessage-deflate with the smallest window, for clients that asked for any smaller one.
    DeflatedSmallWindow,
}

impl Encoding {
    /// The encoding that a connection's handshake agreed to.
    pub fn agreed(deflate: Option<&Agreement>) -> Encoding {
        match deflate.map(|agreement| agreement.server_window_bits) {
            None => Encoding::Plain,
            Some(FULL_WINDOW_BITS) => Encoding::Deflated,
            Some(_) => Encoding::DeflatedSmallWindow,
        }
    }
}

const FULL_WINDOW_BITS: u8 = 15;
/// What the negotiation answers to any window smaller than the full one.
const SMALL_WINDOW_BITS: u8 = 9;

/// A buffer larger than this is given back at the end of a turn.
const BUFFER_BYTES_KEPT: usize = 256 << 10;

/// One worker's encoder. Nothing of a message stays in it.
pub struct Encoder {
    deflater: Deflater,
    deflate_bytes_min: usize,
    compressed: Vec<u8>,
    differ: Differ,
    message: Vec<u8>,
}

impl Encoder {
    /// An encoder with these settings.
    pub fn new(config: &Deflate) -> Encoder {
        Encoder {
            deflater: Deflater::new(config.level),
            deflate_bytes_min: config.bytes_min,
            compressed: Vec::new(),
            differ: Differ::default(),
            message: Vec::new(),
        }
    }

    /// Gives back memory that a large message took.
    pub fn trim(&mut self) {
        for buffer in [&mut self.compressed, &mut self.message] {
            buffer.clear();
            buffer.shrink_to(BUFFER_BYTES_KEPT);
        }
    }

    /// Lends what makes deltas.
    pub fn differ(&mut self) -> &mut Differ {
        &mut self.differ
    }

    /// One frame with the message that `write` appends to the buffer it is given.
    pub fn frame(&mut self, encoding: Encoding, write: impl FnOnce(&mut Differ, &mut Vec<u8>) -> Kind) -> Vec<u8> {
        let mut message = std::mem::take(&mut self.message);
        message.clear();
        let kind = write(&mut self.differ, &mut message);
        let mut frame = Vec::with_capacity(message.len() + FRAME_HEADER_BYTES_MAX);
        self.message(kind, &message, encoding, &mut frame);
        self.message = message;
        frame
    }

    /// Appends one message as one frame. It is compressed only where that makes it smaller.
    pub fn message(&mut self, kind: Kind, payload: &[u8], encoding: Encoding, out: &mut Vec<u8>) {
        let mut header = FrameHeader::whole(OpCode::from(kind), payload.len());
        let window_bits = match encoding {
            Encoding::Plain => return write_frame(header, payload, out),
            Encoding::Deflated => FULL_WINDOW_BITS,
            Encoding::DeflatedSmallWindow => SMALL_WINDOW_BITS,
        };
        if payload.len() < self.deflate_bytes_min {
            return write_frame(header, payload, out);
        }
        self.compressed.clear();
        self.deflater.message(window_bits, payload, &mut self.compressed);
        if self.compressed.len() >= payload.len() {
            return write_frame(header, payload, out);
        }
        header = FrameHeader { rsv1: true, payload_bytes: self.compressed.len() as u64, ..header };
        write_frame(header, &self.compressed, out);
    }
}
