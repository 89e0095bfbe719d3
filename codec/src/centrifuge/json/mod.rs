//! The protocol in JSON: one object a command, reply or push, joined by LF; what is `bytes` in Protobuf is a JSON value here. Values of `data`
//! pass through as the bytes that they are: big numbers, spaces and escapes stay untouched. Imports `message`.
//!
//! [`Reader`] lends the commands of a message, [`write_reply`], [`write_push`] and [`write_ping`] append one object each and leave the LF between
//! them to the caller, [`write_publication`] and [`write_client_info`] append parts of such, and [`write_data`] makes a JSON value of any payload.

mod check;
mod data;
mod parse;
mod read;
mod string;
#[cfg(test)]
mod tests;
mod write;

pub use check::is_json;
pub use data::write_data;
pub use read::Reader;
pub use write::{write_client_info, write_ping, write_publication, write_push, write_reply};
