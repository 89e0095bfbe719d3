//! The harness of the integration tests: it runs the real `fantail` binary and talks to it over plain TCP sockets.
//!
//! It also runs the real `fantail-load`, against that server and against one that is at fault on purpose.
//!
//! It is an independent witness: frames, HTTP messages and DEFLATE are encoded and read here by naive code of its own, so that a
//! mistake in the codec cannot hide behind itself. It imports nothing of Fantail (the codec that this package depends on is for `fuzz/`, which
//! holds it against this code), and no test waits by sleeping for a guessed time.
//!
//! - [`Server`]: one process, its addresses, its metrics, memory and descriptors; it must outlive the test.
//! - [`Held`]: what it holds on to, to be compared before and after.
//! - [`accept()`], [`Deflater`], [`inflate()`]: the handshake's hash and DEFLATE.
//! - [`Random`]: contents and boundaries that are the same in each run.
//! - [`Peer`]: one connection, exact bytes out, answers and frames in.
//! - [`Request`], [`Response`], [`Frame`]: what goes over it.
//! - [`Client`], [`token()`]: a client of the protocol of the SDKs, and the token that it brings.
//! - [`Faulty`]: a server of this harness, with faults that it counts.
//! - [`Load`], [`Report`]: one run of `fantail-load`, and what it measured.
//! - [`on_each_driver!`]: mounts the same test bodies on every driver.

mod accept;
mod build;
mod client;
mod deflate;
mod faulty;
mod frame;
mod http;
mod inflate;
mod load;
mod peer;
mod random;
mod server;
mod token;

pub use client::{CLIENT_PATH, Client, offset, offsets};
pub use deflate::Deflater;
pub use faulty::{Behaviour, Done, Fault, Faulty, Handshake, Opened, Publishing, Stall};
pub use frame::{Frame, frames};
pub use http::{Request, Response};
pub use inflate::{Inflated, inflate};
pub use load::{Ended, Load, Loading, Report};
pub use peer::Peer;
pub use random::Random;
pub use server::{Held, Publisher, Server, binary, eventually, raise_descriptor_limit};
pub use token::{SECRET, seconds_from_now, token};

use std::time::Duration;

/// What `Sec-WebSocket-Accept` must say to this key.
pub fn accept(key: &str) -> String {
    accept::accept(key)
}

/// How long a test waits before it calls the server hung. No test asserts anything about time beyond this.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Mounts test bodies, `fn name(driver: &str)`, as one `#[test]` per driver.
///
/// The bodies are named in a list instead of being written inside the macro so that rustfmt sees them; one that was forgotten
/// in the list is reported by the compiler as dead code. A new driver is one more `mod` here.
#[macro_export]
macro_rules! on_each_driver {
    ($($body:ident),+ $(,)?) => {
        mod epoll {
            $(
                #[test]
                fn $body() {
                    super::$body("epoll");
                }
            )+
        }

        mod uring {
            $(
                #[test]
                fn $body() {
                    super::$body("uring");
                }
            )+
        }
    };
}
