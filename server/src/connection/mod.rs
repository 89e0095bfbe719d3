//! What sits on one socket: HTTP first, then a WebSocket with a session on it. It turns received bytes into what is queued for this connection, into
//! publications and subscriptions; when it is written to, and when it goes, the worker decides. A connection at rest holds no buffer.

mod http;
mod websocket;

use std::{collections::VecDeque, net::TcpStream};

use fantail_codec::WebSocket;

pub use http::Http;

use crate::{
    context::Context,
    deadlines::{Deadline, Link},
    encode::Encoding,
    outbox::{Backlog, Queued},
    session::{Close, Session, Wire},
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
    /// Its subscriptions that are behind, the one that has waited longest first.
    #[expect(clippy::box_collection, reason = "few connections ever have any")]
    pub behind: Option<Box<VecDeque<u64>>>,
    /// Bytes that may wait for it before its subscriptions are relieved of them: the least that its channels allow.
    pub slow_bytes_max: u32,
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
            behind: None,
            slow_bytes_max: u32::MAX,
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
                    deadline = self.frame_bytes(key, bytes, context).or(deadline);
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

    /// Ends whatever goes on above the socket; what is received from now on is thrown away.
    pub fn end_session(&mut self, context: &mut Context) {
        if let Stage::WebSocket(_, session) = std::mem::replace(&mut self.stage, Stage::Lingering) {
            session.end(context);
        }
        self.behind = None;
    }

    /// Ends the connection from our side, as a server that goes away does. Returns the deadline for the peer's answer.
    pub fn go_away(&mut self, context: &mut Context) -> Deadline {
        match &mut self.stage {
            _ if self.ending != Ending::No => {}
            Stage::WebSocket(_, session) => {
                let close = session.going_away();
                self.close(&close, context);
            }
            Stage::Http(http) if http.is_idle() => self.ending = Ending::Close,
            // A request that has begun may be completed; its answer closes.
            Stage::Http(_) | Stage::Lingering => {}
        }
        Deadline::Close
    }

    /// Its time is up. Returns the next deadline; `None` where it is to be dropped.
    pub fn expired(&mut self, key: usize, kind: Deadline, context: &mut Context) -> Option<Deadline> {
        match kind {
            Deadline::Request => self.request_expired(context),
            Deadline::Ping => self.ping(key, context),
            Deadline::Message => self.message_expired(context),
            Deadline::Pong => self.pong_expired(context),
            Deadline::Close => None,
        }
    }

    /// Whether publications may be sent: nothing may follow a close frame.
    pub fn is_open(&self) -> bool {
        matches!(&self.stage, Stage::WebSocket(websocket, _) if websocket.is_open())
    }

    /// Begins to close a WebSocket for a reason of ours.
    pub fn close(&mut self, Close { code, reason }: &Close, context: &mut Context) {
        if let Stage::WebSocket(websocket, _) = &mut self.stage {
            context.queue.own(&mut self.queued, |out| websocket.write_close(Some(*code), reason, None, out));
        }
    }

    /// What goes on above an open WebSocket, and what it may touch of its connection.
    pub fn session<'a>(&'a mut self, key: usize, context: &'a mut Context) -> Option<(&'a mut Session, Wire<'a>)> {
        match &mut self.stage {
            Stage::WebSocket(websocket, session) if websocket.is_open() => {
                let (queued, behind, slow_bytes_max) = (&mut self.queued, &mut self.behind, &mut self.slow_bytes_max);
                Some((session, Wire { key, queued, encoding: self.encoding, behind, slow_bytes_max, context }))
            }
            _ => None,
        }
    }
}
