//! Frames, RFC 6455 §5: headers, masks, text validation and close frames, each as bytes in and values out. What a frame means in its
//! connection's state is in `websocket`.

pub mod close;
pub mod header;
pub mod mask;
pub mod utf8;

pub use close::CloseCode;
pub use header::{FrameHeader, OpCode};
pub use mask::apply_mask;
pub use utf8::Utf8;

/// What a data message holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8 text.
    #[default]
    Text,
    /// Bytes.
    Binary,
}

impl From<Kind> for OpCode {
    fn from(kind: Kind) -> OpCode {
        match kind {
            Kind::Text => OpCode::Text,
            Kind::Binary => OpCode::Binary,
        }
    }
}

/// Appends a whole frame to `out`; with a mask in the header the payload is masked on its way, as a client must.
pub fn write_frame(header: FrameHeader, payload: &[u8], out: &mut Vec<u8>) {
    debug_assert_eq!(header.payload_bytes, payload.len() as u64);
    header.write(out);
    let start = out.len();
    out.extend_from_slice(payload);
    if let Some(key) = header.mask {
        apply_mask(&mut out[start..], key);
    }
}
