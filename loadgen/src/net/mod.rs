//! Sockets: connecting them, and one stream that is plain or under TLS. Nothing here knows of WebSockets.

pub mod socket;
pub mod stream;
pub mod tls;

pub use stream::Stream;
