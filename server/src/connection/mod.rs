//! What sits on one socket: HTTP first, then a WebSocket with a session on it. It turns received bytes into what is queued for this connection, into
//! publications and subscriptions; when it is written to, and when it goes, the worker decides. A connection at rest holds no buffer.

mod http;
mod websocket;

use std::net::TcpStream;

use fantail_codec::{CloseCode, WebSocket};

pub use http::Http;

use crate::{
    context::Context,
    deadlines::{Deadline, Link},
    encode::Encoding,
    outbox::{Backlog, Queued},
    subscribers::Subscription,
};

/// One connection of a worker.
pub struct Connection {
    /// The socket, non-blocking.
    pub socket: TcpStream,
    /// Its place among the deadlines.
    pub link: Link,
    /// What this turn has queued for it.
    pub queued: Queued,
    /// What the kernel would not take in earlier turns.
    pub backlog: Option<Box<Backlog>>,
    /// The kernel takes nothing until the driver says that it is writable.
    pub blocked: bool,
    /// Nothing is received: what it sent before waits to be answered.
    pub paused: bool,
    /// It is on the worker's list for the end of the turn.
    pub touched: bool,
    /// What happens once everything queued is written.
    pub ending: Ending,
    encoding: Encoding,
    stage: Stage,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Not yet.
    No,
    /// The socket is closed.
    Close,
    /// Our side is shut, and what the peer still sends is thrown away until it closes: closing at once would reset the connection and could take
    /// our answer with it, RFC 9112 §9.6.
    Linger,
}

enum Stage {
    Http(Http),
    WebSocket(WebSocket, Session),
    /// Our side is shut.
    Lingering,
}

/// What a message means, chosen by path at the upgrade.
#[derive(Debug)]
pub enum Session {
    /// It is sent back.
    Echo,
    /// It is published, if the channel allows that; the channel's publications come as they are.
    Raw(Subscription),
}

impl Connection {
    /// A connection that has just been accepted.
    pub fn new(socket: TcpStream) -> Connection {
        Connection {
            socket,
            link: Link::NONE,
            queued: Queued::NOTHING,
            backlog: None,
            blocked: false,
            paused: false,
            touched: false,
            ending: Ending::No,
            encoding: Encoding::Plain,
            stage: Stage::Http(Http::default()),
        }
    }

    /// Takes what was received, which may be changed. Returns the deadline that holds from now on, if that changed.
    pub fn received(&mut self, key: usize, mut bytes: &mut [u8], context: &mut Context) -> Option<Deadline> {
        context.metrics.bytes_in.add(bytes.len() as u64);
        context.limit_answers();
        let mut deadline = None;
        while !bytes.is_empty() && self.ending == Ending::No {
            match &mut self.stage {
                Stage::Http(_) => {
                    let (taken, changed) = self.request_bytes(key, bytes, context);
                    deadline = changed.or(deadline);
                    bytes = &mut bytes[taken..];
                }
                Stage::WebSocket(..) => {
                    deadline = self.frame_bytes(bytes, context).or(deadline);
                    break;
                }
                Stage::Lingering => break,
            }
        }
        if self.ending == Ending::No { deadline } else { Some(Deadline::Close) }
    }

    /// The peer sends nothing more. What is due to it is still written.
    pub fn ended(&mut self) {
        self.ending = Ending::Close;
    }

    /// Everything queued is written and the connection is to linger. Whether it may: the socket is still usable.
    pub fn linger(&mut self) -> bool {
        self.ending = Ending::No;
        self.socket.shutdown(std::net::Shutdown::Write).is_ok()
    }

    /// Ends whatever goes on above the socket; what is received from now on is thrown away. The subscription, if there was one, is to be left.
    pub fn end_session(&mut self) -> Option<Subscription> {
        match std::mem::replace(&mut self.stage, Stage::Lingering) {
            Stage::WebSocket(_, Session::Raw(subscription)) => Some(subscription),
            _ => None,
        }
    }

    /// Ends the connection from our side, as a server that goes away does. Returns the deadline for the peer's answer.
    pub fn go_away(&mut self, context: &mut Context) -> Deadline {
        match &mut self.stage {
            _ if self.ending != Ending::No => {}
            Stage::WebSocket(websocket, _) => {
                context.queue.own(&mut self.queued, |out| websocket.write_close(Some(CloseCode::GOING_AWAY), "", None, out));
            }
            Stage::Http(http) if http.is_idle() => self.ending = Ending::Close,
            // A request that has begun may be completed; its answer closes.
            Stage::Http(_) | Stage::Lingering => {}
        }
        Deadline::Close
    }

    /// Its time is up. Returns the next deadline; `None` where it is to be dropped.
    pub fn expired(&mut self, kind: Deadline, context: &mut Context) -> Option<Deadline> {
        match kind {
            Deadline::Request => self.request_expired(context),
            Deadline::Ping => self.ping(context),
            Deadline::Message => self.message_expired(context),
            Deadline::Pong | Deadline::Close => None,
        }
    }

    /// The subscription of its session.
    pub fn subscription(&mut self) -> Option<&mut Subscription> {
        match &mut self.stage {
            Stage::WebSocket(_, Session::Raw(subscription)) => Some(subscription),
            _ => None,
        }
    }

    /// The subscription, while publications may still be sent: nothing may follow a close frame.
    pub fn open_subscription(&mut self) -> Option<&mut Subscription> {
        match &mut self.stage {
            Stage::WebSocket(websocket, Session::Raw(subscription)) if websocket.is_open() => Some(subscription),
            _ => None,
        }
    }
}
