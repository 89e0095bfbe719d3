//! WebSocket frames (RFC 6455 §5.2) by the book: a struct, its bytes, nothing clever. Imports nothing.

/// One frame, in the clear. Fields may hold what the protocol forbids: tests send that too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Whether this is the last fragment of its message.
    pub fin: bool,
    /// RSV1 to RSV3 as the three low bits; RSV1 is [`Frame::RSV1`].
    pub rsv: u8,
    /// The four-bit opcode.
    pub opcode: u8,
    /// The payload, unmasked.
    pub payload: Vec<u8>,
}

impl Frame {
    /// Opcode of a further fragment.
    pub const CONTINUATION: u8 = 0x0;
    /// Opcode of a text message's first fragment.
    pub const TEXT: u8 = 0x1;
    /// Opcode of a binary message's first fragment.
    pub const BINARY: u8 = 0x2;
    /// Opcode of the closing handshake.
    pub const CLOSE: u8 = 0x8;
    /// Opcode of a ping.
    pub const PING: u8 = 0x9;
    /// Opcode of a pong.
    pub const PONG: u8 = 0xA;

    /// The bit that marks a compressed message (RFC 7692 §6).
    pub const RSV1: u8 = 0b100;

    /// The masking key of RFC 6455 §5.7's examples; every frame is masked with it.
    const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

    /// A final frame of any opcode.
    pub fn new(opcode: u8, payload: impl Into<Vec<u8>>) -> Self {
        Self { fin: true, rsv: 0, opcode, payload: payload.into() }
    }

    /// A text frame, whose bytes need not be UTF-8.
    pub fn text(payload: impl Into<Vec<u8>>) -> Self {
        Self::new(Self::TEXT, payload)
    }

    /// A binary frame.
    pub fn binary(payload: impl Into<Vec<u8>>) -> Self {
        Self::new(Self::BINARY, payload)
    }

    /// The last fragment of a message.
    pub fn continuation(payload: impl Into<Vec<u8>>) -> Self {
        Self::new(Self::CONTINUATION, payload)
    }

    /// A ping.
    pub fn ping(payload: impl Into<Vec<u8>>) -> Self {
        Self::new(Self::PING, payload)
    }

    /// A pong.
    pub fn pong(payload: impl Into<Vec<u8>>) -> Self {
        Self::new(Self::PONG, payload)
    }

    /// A close frame with a code and a reason, either of which may be invalid.
    pub fn close(code: u16, reason: impl AsRef<[u8]>) -> Self {
        Self::new(Self::CLOSE, [&code.to_be_bytes(), reason.as_ref()].concat())
    }

    /// The same frame with FIN clear: more fragments follow.
    pub fn unfinished(mut self) -> Self {
        self.fin = false;
        self
    }

    /// The same frame with these reserved bits.
    pub fn rsv(mut self, rsv: u8) -> Self {
        self.rsv = rsv;
        self
    }

    /// The frame's bytes as a client must send them: masked.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head(0x80);
        bytes.extend(Self::MASK);
        bytes.extend(self.payload.iter().zip(Self::MASK.iter().cycle()).map(|(byte, key)| byte ^ key));
        bytes
    }

    /// The frame's bytes as a client must not send them.
    pub fn unmasked_bytes(&self) -> Vec<u8> {
        [self.head(0), self.payload.clone()].concat()
    }

    fn head(&self, mask_bit: u8) -> Vec<u8> {
        let mut head = vec![u8::from(self.fin) << 7 | self.rsv << 4 | self.opcode];
        match self.payload.len() {
            short @ 0..126 => head.push(mask_bit | short as u8),
            medium @ 126..=0xFFFF => {
                head.push(mask_bit | 126);
                head.extend((medium as u16).to_be_bytes());
            }
            long => {
                head.push(mask_bit | 127);
                head.extend((long as u64).to_be_bytes());
            }
        }
        head
    }
}

impl From<Frame> for Vec<u8> {
    fn from(frame: Frame) -> Self {
        frame.bytes()
    }
}

/// The masked bytes of several frames, one after the other.
pub fn frames(frames: impl IntoIterator<Item = Frame>) -> Vec<u8> {
    frames.into_iter().flat_map(|frame| frame.bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::Frame;

    /// RFC 6455 §5.7: a single-frame masked and unmasked text message.
    #[test]
    fn the_examples_of_the_rfc() {
        let hello = Frame::text("Hello");
        assert_eq!(hello.bytes(), [0x81, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58]);
        assert_eq!(hello.unmasked_bytes(), [0x81, 0x05, 0x48, 0x65, 0x6C, 0x6C, 0x6F]);
    }
}
