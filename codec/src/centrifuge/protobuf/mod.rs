//! The protocol's Protobuf format. By hand rather than by a derive: what is read borrows from the WebSocket message, and what is written goes from
//! the session's values straight into the frame, where generated types would own a copy of every string in between.
//!
//! Field numbers stand beside the fields that they are for; those that are missing are for features that this crate does not have, and a reader
//! passes over them. `wire` knows Protobuf and no message; `read` and `write` know the messages.

mod read;
#[cfg(test)]
mod tests;
mod wire;
mod write;

pub use read::commands;
pub use write::{write_ping, write_push, write_reply};
