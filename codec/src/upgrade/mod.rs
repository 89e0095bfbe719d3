//! The opening handshake of RFC 6455 as pure functions: as a server decides it, and as a [client] asks for it and judges the answer.

pub mod client;
mod server;

pub use server::{Origins, Policy, Protocol, Switch, decide, refusal_fields};
