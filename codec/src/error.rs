//! What a peer can do wrong, and what that becomes on the wire: [`PeerError::consequence`] is the only place that knows. Imports
//! nothing but the close codes.

use std::fmt;

use crate::frame::CloseCode;

/// A peer broke its protocol, a limit or the policy. The text says what was wrong, where, and what was expected instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerError {
    /// The request line is not `method SP target SP version`, RFC 9112 §3; `at` counts bytes from the head's start.
    RequestLine {
        /// The byte that broke it.
        at: usize,
    },
    /// A response's first line is not `version SP status [SP reason]`, RFC 9112 §4; `at` counts bytes from the head's start.
    StatusLine {
        /// The byte that broke it, or where the part begins that is wrong.
        at: usize,
    },
    /// The target is not a path or an absolute http URI, RFC 9112 §3.2.
    Target,
    /// The version is well-formed but not HTTP/1.0 or HTTP/1.1.
    HttpVersion,
    /// A field name is empty, holds a byte that is no tchar, or has no colon after it, RFC 9110 §5.1.
    FieldName {
        /// The byte that broke it.
        at: usize,
    },
    /// A field value holds a control character, or its line does not end in CR LF, RFC 9110 §5.5.
    FieldValue {
        /// The byte that broke it.
        at: usize,
    },
    /// The head is larger than the limit.
    HeadTooLarge,
    /// The head has more fields than the limit.
    TooManyFields,
    /// The target is longer than the limit.
    TargetTooLong,
    /// Host is missing, repeated, or no host, RFC 9112 §3.2.
    Host,
    /// Content-Length is no number, or repeated, RFC 9110 §8.6.
    ContentLength,
    /// Transfer-Encoding beside Content-Length, in HTTP/1.0, or not ending in one `chunked`, RFC 9112 §6.1.
    TransferEncoding,
    /// A transfer coding other than chunked.
    TransferCoding,
    /// A chunk's size, extension or line end is malformed, RFC 9112 §7.1.
    Chunk,
    /// The body is larger than the limit.
    BodyTooLarge,
    /// The head or the body did not arrive in time.
    RequestTimeout,
    /// The resource does not allow this method.
    Method,
    /// Sec-WebSocket-Key is missing, repeated, or not the base64 of 16 bytes, RFC 6455 §4.1.
    Key,
    /// Sec-WebSocket-Version is not 13, RFC 6455 §4.4.
    WebSocketVersion,
    /// An upgrade request carries a body.
    UpgradeBody,
    /// The origin is not allowed here, RFC 6455 §10.2.
    Origin,
    /// Sec-WebSocket-Extensions or Sec-WebSocket-Protocol is malformed, RFC 6455 §4.1, §9.1.
    Negotiation,

    /// RSV2, RSV3, or RSV1 where no extension gives it a meaning, RFC 6455 §5.2.
    ReservedBit,
    /// An opcode that RFC 6455 reserves.
    ReservedOpCode,
    /// A client's frame without a mask or a server's with one, RFC 6455 §5.1.
    Masking,
    /// A length that a shorter form could have carried, or one with its top bit set, RFC 6455 §5.2.
    FrameLength,
    /// A control frame that is fragmented or longer than 125 bytes, RFC 6455 §5.5.
    ControlFrame,
    /// A continuation without a message, or a new message inside a fragmented one, RFC 6455 §5.4.
    Fragmentation,
    /// A close frame of one byte, or with a code that may not be sent, RFC 6455 §7.4.
    CloseFrame,
    /// Text that is not UTF-8, RFC 6455 §8.1.
    Utf8,
    /// Compressed data that is not DEFLATE, RFC 7692 §7.2.2.
    Deflate,
    /// The message is larger than the limit.
    MessageTooLarge,
    /// The message has more fragments than the limit.
    TooManyFragments,
    /// The message did not arrive in time.
    MessageTimeout,
}

/// What an error becomes on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consequence {
    /// An HTTP status code.
    Status(u16),
    /// A WebSocket close code.
    Close(CloseCode),
}

impl PeerError {
    /// The HTTP status or the close code that answers this error.
    pub fn consequence(self) -> Consequence {
        use Consequence::{Close, Status};
        match self {
            Self::RequestLine { .. } | Self::Target | Self::FieldName { .. } | Self::FieldValue { .. } | Self::Host => Status(400),
            Self::ContentLength | Self::TransferEncoding | Self::Chunk => Status(400),
            Self::Key | Self::UpgradeBody | Self::Negotiation => Status(400),
            Self::Origin => Status(403),
            Self::Method => Status(405),
            Self::RequestTimeout => Status(408),
            Self::BodyTooLarge => Status(413),
            Self::TargetTooLong => Status(414),
            Self::WebSocketVersion => Status(426),
            Self::HeadTooLarge | Self::TooManyFields => Status(431),
            Self::TransferCoding => Status(501),
            // As a gateway answers whose own server spoke no HTTP to it, RFC 9110 §15.6.3.
            Self::StatusLine { .. } => Status(502),
            Self::HttpVersion => Status(505),
            Self::ReservedBit | Self::ReservedOpCode | Self::Masking | Self::FrameLength => Close(CloseCode::PROTOCOL_ERROR),
            Self::ControlFrame | Self::Fragmentation | Self::CloseFrame => Close(CloseCode::PROTOCOL_ERROR),
            Self::Utf8 | Self::Deflate => Close(CloseCode::INVALID_PAYLOAD),
            Self::MessageTimeout => Close(CloseCode::POLICY_VIOLATION),
            Self::MessageTooLarge | Self::TooManyFragments => Close(CloseCode::MESSAGE_TOO_BIG),
        }
    }
}

impl fmt::Display for PeerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match *self {
            Self::RequestLine { at } => return write!(f, "byte {at}: expected a request line, `method SP target SP HTTP/1.1 CR LF`"),
            Self::StatusLine { at } => return write!(f, "byte {at}: expected a status line, `HTTP/1.1 SP 3 digits SP reason CR LF`"),
            Self::FieldName { at } => return write!(f, "byte {at}: expected a field line, a name of token characters and a colon"),
            Self::FieldValue { at } => return write!(f, "byte {at}: expected a field value without control characters, ended by CR LF"),
            Self::Target => {
                "expected a target that is a path or an absolute http URI, in visible ASCII with %-escapes and without a fragment"
            }
            Self::HttpVersion => "expected HTTP/1.1",
            Self::HeadTooLarge => "the head is larger than is accepted here",
            Self::TooManyFields => "the head has more fields than are accepted here",
            Self::TargetTooLong => "the target is longer than is accepted here",
            Self::Host => "expected one Host field with a host and an optional port",
            Self::ContentLength => "expected one Content-Length field with a decimal number",
            Self::TransferEncoding => "expected Transfer-Encoding to end in one `chunked`, in HTTP/1.1 and without Content-Length",
            Self::TransferCoding => "expected no transfer coding but chunked",
            Self::Chunk => "expected a chunk: at most 16 hexadecimal digits, CR LF, that many bytes, CR LF",
            Self::BodyTooLarge => "the body is larger than is accepted here",
            Self::RequestTimeout => "the request did not arrive in time",
            Self::Method => "this method is not allowed here",
            Self::Key => "expected one Sec-WebSocket-Key field with the base64 of 16 bytes",
            Self::WebSocketVersion => "expected Sec-WebSocket-Version: 13",
            Self::UpgradeBody => "expected an upgrade request without a body",
            Self::Origin => "this origin is not allowed here",
            Self::Negotiation => "expected a list of tokens in Sec-WebSocket-Protocol and of extensions in Sec-WebSocket-Extensions",
            Self::ReservedBit => "a reserved bit is set that no extension gives a meaning",
            Self::ReservedOpCode => "the opcode is reserved",
            Self::Masking => "expected frames to be masked by the client and by the client only",
            Self::FrameLength => "expected the shortest form of a length below 2^63",
            Self::ControlFrame => "expected a control frame of at most 125 bytes, unfragmented",
            Self::Fragmentation => "expected continuation frames inside a fragmented message and nowhere else",
            Self::CloseFrame => "expected a close code that may be sent",
            Self::Utf8 => "expected UTF-8 in text",
            Self::Deflate => "expected DEFLATE data in a compressed message",
            Self::MessageTooLarge => "the message is larger than is accepted here",
            Self::TooManyFragments => "the message has more fragments than are accepted here",
            Self::MessageTimeout => "the message did not arrive in time",
        };
        f.write_str(text)
    }
}

impl std::error::Error for PeerError {}
