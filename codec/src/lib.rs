//! The WebSocket protocol and the HTTP/1.1 upgrade that opens it, sans-IO: bytes in, events and bytes out. There is no socket, clock, thread
//! or log in this crate, so that a server, a load generator, a fuzzer and a simulation all drive the same code.
//!
//! The order of use on a server's connection:
//!
//! 1. [`http1::HeadScan::advance`] over the bytes received so far, until it says that the head is complete; the bytes and the scan together
//!    are an [`http1::Request`], a view without copies.
//! 2. [`upgrade::decide`] judges that request. [`upgrade::Decision::Switch`] writes its own 101 response; the accept value in it comes from
//!    [`accept::hash`], for one key or for all the keys of a turn.
//! 3. From then on every received byte goes into [`WebSocket::receive`], which lends the messages back.
//!
//! Modules import only from those above them: `limits`, `error`, `simd`, then `http1`, `accept`, `deflate`, `frame`, then `upgrade` and `websocket`.

pub mod limits;

pub mod error;

pub mod simd;

pub mod accept;
pub mod deflate;
pub mod frame;
pub mod http1;

pub mod upgrade;
pub mod websocket;

pub use error::{Consequence, PeerError};
pub use frame::{CloseCode, Kind};
pub use websocket::{Event, Role, Scratch, WebSocket};
