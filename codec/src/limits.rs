//! Every bound on what a peer controls. What a server configures is a field of [`HttpLimits`] or [`MessageLimits`]; what the protocol or the
//! code's own representation fixes is a constant. They are asserted against each other here, at compile time. Imports nothing.

/// What one HTTP/1.1 message may hold; the statuses are those with which a server answers a request beyond it.
#[derive(Clone, Debug)]
pub struct HttpLimits {
    /// Bytes of a head, from its first line to the empty one; more is answered 431. At most [`HEAD_BYTES_CEILING`].
    pub head_bytes_max: usize,
    /// Field lines in a head; more is answered 431.
    pub fields_max: usize,
    /// Bytes of the request target; more is answered 414.
    pub target_bytes_max: usize,
    /// Bytes of a body, the chunked framing counted in; more is answered 413.
    pub body_bytes_max: usize,
}

impl HttpLimits {
    /// The limits that a server starts with.
    pub const DEFAULT: HttpLimits =
        HttpLimits { head_bytes_max: 16 << 10, fields_max: 100, target_bytes_max: 8 << 10, body_bytes_max: 64 << 10 };
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What one WebSocket message may hold.
#[derive(Clone, Debug)]
pub struct MessageLimits {
    /// Bytes of a message's payload, after inflating as well as before; more closes with 1009.
    pub message_bytes_max: usize,
    /// Frames of a fragmented message, empty ones included; more closes with 1009.
    pub fragments_max: u32,
}

impl MessageLimits {
    /// The limits that a server starts with.
    pub const DEFAULT: MessageLimits = MessageLimits { message_bytes_max: 1 << 20, fragments_max: 1 << 17 };
}

impl Default for MessageLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The largest head that positions of 16 bits can describe.
pub const HEAD_BYTES_CEILING: usize = u16::MAX as usize;
/// What a request line needs beside its target: the longest method we would name in an answer, two spaces, the version, CR and LF.
pub const REQUEST_LINE_ROOM: usize = 64;
/// Bytes of one chunk-size line with its extensions, RFC 9112 §7.1.1.
pub const CHUNK_LINE_BYTES_MAX: usize = 256;
/// Hexadecimal digits of a chunk size: 64 bits.
pub const CHUNK_SIZE_DIGITS_MAX: usize = 16;
/// Payload of a control frame, RFC 6455 §5.5.
pub const CONTROL_PAYLOAD_BYTES_MAX: usize = 125;
/// Server-side subscriptions that a client may ask to recover as it connects; more begin anew.
pub const CONNECT_SUBS_MAX: usize = 10_000;
/// The longest frame header: 2 bytes, a 64-bit length and a masking key, RFC 6455 §5.2.
pub const FRAME_HEADER_BYTES_MAX: usize = 14;
/// Bytes of a close frame's reason: a control payload less the code.
pub const CLOSE_REASON_BYTES_MAX: usize = CONTROL_PAYLOAD_BYTES_MAX - 2;

const _: () = {
    let http = HttpLimits::DEFAULT;
    assert!(http.head_bytes_max <= HEAD_BYTES_CEILING);
    assert!(http.target_bytes_max + REQUEST_LINE_ROOM < http.head_bytes_max);
    assert!(CHUNK_SIZE_DIGITS_MAX + 2 < CHUNK_LINE_BYTES_MAX);
    assert!(CHUNK_LINE_BYTES_MAX < http.body_bytes_max);
    // RFC 6455 fixes no number; Autobahn's fragments of one byte and checklist 33 ask for at least this many.
    assert!(MessageLimits::DEFAULT.fragments_max >= 1 << 16);
    assert!(CONTROL_PAYLOAD_BYTES_MAX < MessageLimits::DEFAULT.message_bytes_max);
};
