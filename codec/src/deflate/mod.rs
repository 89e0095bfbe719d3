//! permessage-deflate (RFC 7692): what is agreed in the opening handshake, and the compression itself.
//!
//! The server always answers `server_no_context_takeover`, so that a message compressed once serves every
//! subscriber with the same window, and no connection holds a compressor. Owns the field's grammar, the
//! negotiation of both sides, and the use of zlib; knows nothing of frames. Imports `http1` for what a token is.

#[expect(clippy::module_inception, reason = "the room is named after the extension, the file after what it does")]
mod deflate;
mod grammar;
mod inflate;
mod negotiate;

pub use deflate::Deflater;
pub use grammar::MalformedExtension;
pub use inflate::{InflateError, Inflater};
pub use negotiate::{Agreement, Policy, accept_response, negotiate, write_offer};

/// What a sync flush ends in: length and complement of an empty stored block. The sender cuts it off each
/// message and the receiver puts it back (RFC 7692 §7.2.1, §7.2.2).
const SYNC_TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// DEFLATE's largest window, and the one that holds where nothing else was agreed.
const WINDOW_BITS_MAX: u8 = 15;

/// The smallest window that zlib can compress raw DEFLATE with; RFC 7692 goes down to 8.
const WINDOW_BITS_MIN: u8 = 9;
