//! The frame header, RFC 6455 §5.2.

use crate::{
    error::PeerError,
    limits::{CONTROL_PAYLOAD_BYTES_MAX, FRAME_HEADER_BYTES_MAX},
};

/// What a frame is for, RFC 6455 §5.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum OpCode {
    /// A further fragment of a message.
    Continuation = 0,
    /// The first frame of a text message.
    Text = 1,
    /// The first frame of a binary message.
    Binary = 2,
    /// The sender will send nothing after this.
    Close = 8,
    /// To be answered by a pong with the same payload.
    Ping = 9,
    /// The answer to a ping, or a sign of life.
    Pong = 10,
}

impl OpCode {
    /// Whether this is a close, ping or pong, which may stand between the fragments of a message.
    pub fn is_control(self) -> bool {
        self as u8 & 8 != 0
    }
}

/// One frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Whether this frame ends its message.
    pub fin: bool,
    /// The first reserved bit: the message is compressed, RFC 7692 §6.
    pub rsv1: bool,
    /// What the frame is for.
    pub opcode: OpCode,
    /// The masking key of a client's frame.
    pub mask: Option<[u8; 4]>,
    /// Bytes of payload that follow the header.
    pub payload_bytes: u64,
}

impl FrameHeader {
    /// An unmasked header of a message in one frame.
    pub fn whole(opcode: OpCode, payload_bytes: usize) -> FrameHeader {
        FrameHeader { fin: true, rsv1: false, opcode, mask: None, payload_bytes: payload_bytes as u64 }
    }

    /// The header at the start of `bytes` and its length in bytes, or `None` while it is incomplete. What its first two bytes make wrong is an error
    /// before the rest is there.
    ///
    /// # Errors
    /// [`PeerError::ReservedBit`], [`PeerError::ReservedOpCode`], [`PeerError::ControlFrame`], [`PeerError::FrameLength`].
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<Option<(FrameHeader, usize)>, PeerError> {
        let [first, second, ref rest @ ..] = *bytes else {
            return match bytes {
                [first] => Self::check_first(*first).map(|_| None),
                _ => Ok(None),
            };
        };
        let opcode = Self::check_first(first)?;
        let fin = first & 0x80 != 0;
        let short = usize::from(second & 0x7f);
        if opcode.is_control() && (!fin || short > CONTROL_PAYLOAD_BYTES_MAX) {
            return Err(PeerError::ControlFrame);
        }
        let (payload_bytes, length_bytes) = match short {
            126 => match rest.first_chunk() {
                None => return Ok(None),
                Some(length) => (u64::from(u16::from_be_bytes(*length)), 2),
            },
            127 => match rest.first_chunk() {
                None => return Ok(None),
                Some(length) => (u64::from_be_bytes(*length), 8),
            },
            short => (short as u64, 0),
        };
        let shortest = match length_bytes {
            2 => payload_bytes > 125,
            8 => payload_bytes > 0xffff && payload_bytes >> 63 == 0,
            _ => true,
        };
        if !shortest {
            return Err(PeerError::FrameLength);
        }
        let mask = if second & 0x80 == 0 {
            None
        } else {
            match rest[length_bytes..].first_chunk() {
                None => return Ok(None),
                Some(key) => Some(*key),
            }
        };
        let header_bytes = 2 + length_bytes + if mask.is_some() { 4 } else { 0 };
        Ok(Some((FrameHeader { fin, rsv1: first & 0x40 != 0, opcode, mask, payload_bytes }, header_bytes)))
    }

    fn check_first(first: u8) -> Result<OpCode, PeerError> {
        if first & 0x30 != 0 {
            return Err(PeerError::ReservedBit);
        }
        match first & 0x0f {
            0 => Ok(OpCode::Continuation),
            1 => Ok(OpCode::Text),
            2 => Ok(OpCode::Binary),
            8 => Ok(OpCode::Close),
            9 => Ok(OpCode::Ping),
            10 => Ok(OpCode::Pong),
            _ => Err(PeerError::ReservedOpCode),
        }
    }

    /// The header's bytes, in the shortest form, and how many of them count.
    #[inline]
    pub fn encode(&self) -> ([u8; FRAME_HEADER_BYTES_MAX], usize) {
        let first = u8::from(self.fin) << 7 | u8::from(self.rsv1) << 6 | self.opcode as u8;
        let (short, length, length_bytes) = match self.payload_bytes {
            short @ 0..=125 => (short as u8, 0, 0),
            middle @ 126..=0xffff => (126, u64::from((middle as u16).swap_bytes()), 2),
            long => (127, long.swap_bytes(), 8),
        };
        let (masked, key) = match self.mask {
            None => (0, 0),
            Some(key) => (0x80, u32::from_le_bytes(key)),
        };
        // A number with the first byte lowest, built in registers: a CPU waits for bytes written one by one and read together soon.
        let key_at = 2 + length_bytes;
        let header = u128::from(first) | u128::from(masked | short) << 8 | u128::from(length) << 16 | u128::from(key) << (key_at * 8);
        let [bytes @ .., _, _] = header.to_le_bytes();
        (bytes, key_at + if self.mask.is_some() { 4 } else { 0 })
    }

    /// Appends the header to `out`.
    #[inline]
    pub fn write(&self, out: &mut Vec<u8>) {
        let (bytes, length) = self.encode();
        out.extend_from_slice(&bytes[..length]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 6455 §5.7: an unmasked "Hello", a masked one, 256 bytes, 64 KiB.
    #[test]
    fn the_rfc_s_examples() {
        let cases: [(&[u8], FrameHeader); 4] = [
            (b"\x81\x05", FrameHeader::whole(OpCode::Text, 5)),
            (b"\x81\x85\x37\xfa\x21\x3d", FrameHeader { mask: Some([0x37, 0xfa, 0x21, 0x3d]), ..FrameHeader::whole(OpCode::Text, 5) }),
            (b"\x82\x7e\x01\x00", FrameHeader::whole(OpCode::Binary, 256)),
            (b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00", FrameHeader::whole(OpCode::Binary, 65536)),
        ];
        for (bytes, header) in cases {
            assert_eq!(FrameHeader::parse(bytes), Ok(Some((header, bytes.len()))));
            for length in 0..bytes.len() {
                assert_eq!(FrameHeader::parse(&bytes[..length]), Ok(None));
            }
        }
    }

    #[test]
    fn errors_are_seen_at_the_first_byte_that_shows_them() {
        let cases: [(&[u8], PeerError); 12] = [
            (b"\xa1", PeerError::ReservedBit),
            (b"\x91", PeerError::ReservedBit),
            (b"\x83", PeerError::ReservedOpCode),
            (b"\x87", PeerError::ReservedOpCode),
            (b"\x8b", PeerError::ReservedOpCode),
            (b"\x8f", PeerError::ReservedOpCode),
            (b"\x08\x80", PeerError::ControlFrame),
            (b"\x89\xfe", PeerError::ControlFrame),
            (b"\x81\xfe\x00\x7d", PeerError::FrameLength),
            (b"\x81\xff\x00\x00\x00\x00\x00\x00\xff\xff", PeerError::FrameLength),
            (b"\x81\xff\x80\x00\x00\x00\x00\x00\x00\x00", PeerError::FrameLength),
            (b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff", PeerError::FrameLength),
        ];
        for (bytes, error) in cases {
            assert_eq!(FrameHeader::parse(bytes), Err(error), "{}", bytes.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn encode_then_parse(fin: bool, rsv1: bool, opcode in 0..3usize, mask: Option<[u8; 4]>, bits in 0..63u32, low: u64) {
            let opcode = [OpCode::Continuation, OpCode::Text, OpCode::Binary][opcode];
            let header = FrameHeader { fin, rsv1, opcode, mask, payload_bytes: low & ((1 << bits) - 1) };
            let (bytes, length) = header.encode();
            prop_assert_eq!(FrameHeader::parse(&bytes), Ok(Some((header, length))));
        }
    }
}
