//! The WebSocket protocol and the HTTP/1.1 upgrade that opens it, sans-IO: bytes in, events and bytes out. There is no socket, clock, thread
//! or log in this crate, so that a server, a load generator, a fuzzer and a simulation all drive the same code.
//!
//! The order of use on a server's connection:
//!
//! 1. [`http1::HeadScan::advance`] over the bytes received so far, until it says that the head is complete; the bytes and the scan together
//!    are an [`http1::Request`], a view without copies.
//! 2. [`upgrade::decide`] judges that request. The [`upgrade::Switch`] that it grants writes its own 101 response; the accept value in it comes from
//!    [`accept::hash`], for one key or for all the keys of a turn.
//! 3. From then on every received byte goes into [`WebSocket::receive`], which lends the messages back.
//!
//! A client begins with [`upgrade::client::Offer::write`], reads the answer through [`http1::HeadScan::for_response`] as an
//! [`http1::ResponseHead`], lets [`upgrade::client::judge`] compare the two, and goes on with step 3.
//!
//! ```
//! use fantail_codec::{
//!     Event, Kind, Role, Scratch, WebSocket, accept,
//!     http1::{HeadScan, Progress, Request},
//!     limits::{HttpLimits, MessageLimits},
//!     upgrade::{self, Origins, Policy, Protocol},
//! };
//!
//! let policy = Policy { protocols: vec![Protocol::WebSocket], subprotocols: vec![], origins: Origins::SameHost, deflate: None };
//! let mut received = *b"GET /chat HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
//!     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n\
//!     \x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
//!
//! // The head, as far as it has arrived.
//! let mut scan = HeadScan::default();
//! let Ok(Progress::Complete(head_bytes)) = scan.advance(&received, &HttpLimits::DEFAULT) else { panic!("it is complete") };
//! let (head, frames) = received.split_at_mut(head_bytes);
//!
//! // The decision, and the response with its accept value.
//! let Ok(Some(switch)) = upgrade::decide(&Request::new(head, &scan), &policy) else { panic!("it is an upgrade") };
//! let mut response = Vec::new();
//! let place = switch.write(&mut response);
//! accept::hash(&[switch.key], |_, accept| response[place..place + accept.len()].copy_from_slice(accept));
//! assert!(response.windows(28).any(|value| value == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
//!
//! // The messages, lent where they lie.
//! let (mut websocket, mut scratch) = (WebSocket::new(Role::Server, switch.deflate.as_ref()), Scratch::default());
//! let mut input = frames;
//! let event = websocket.receive(&mut input, &MessageLimits::DEFAULT, &mut scratch);
//! assert_eq!(event, Ok(Some(Event::Message(Kind::Text, &mut *b"Hello".to_vec()))));
//! ```
//!
//! Modules import only from those before them: `limits` and `simd`; `error` with `frame`, whose close codes it names; `http1`, then `accept` and
//! `deflate`; then `upgrade` and `websocket`.

pub mod limits;
pub mod simd;

pub mod error;
pub mod frame;

pub mod http1;

pub mod accept;
pub mod centrifuge;
pub mod deflate;

pub mod upgrade;
pub mod websocket;

pub use error::{Consequence, PeerError};
pub use frame::{CloseCode, Kind};
pub use websocket::{Event, Role, Scratch, WebSocket};
