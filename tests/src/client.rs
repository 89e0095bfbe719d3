//! A client of the Centrifuge protocol in JSON, for one thread. Imports [`crate::peer`], [`crate::frame`], [`crate::http`] and [`crate::server`].

use std::collections::VecDeque;

use serde_json::{Value, json};

use crate::{Frame, Peer, Request, Server};

/// Where the client protocol is spoken.
pub const CLIENT_PATH: &str = "/connection/websocket";

/// Sends commands and reads replies and pushes, each apart from the other; answers pings.
///
/// It is strict about what the server sends: one text frame a message, no empty line, no reply that nobody waits for.
pub struct Client {
    /// The connection below.
    pub peer: Peer,
    id: u64,
    /// Lines that came with others.
    lines: VecDeque<Value>,
    /// Pushes that came before the reply that was waited for.
    pushes: VecDeque<Value>,
}

impl Client {
    /// Upgrades, and does not connect yet.
    pub fn open(server: &Server) -> Self {
        Self::over(Peer::upgrade(server.edge, CLIENT_PATH))
    }

    /// As [`Client::open`], and the server compresses what is worth it.
    pub fn open_compressing(server: &Server) -> Self {
        let request = Request::upgrade(CLIENT_PATH).with("Sec-WebSocket-Extensions", "permessage-deflate");
        Self::over(Peer::upgrade_with(server.edge, request).0)
    }

    /// Takes over an upgraded connection.
    pub fn over(peer: Peer) -> Self {
        Self { peer, id: 0, lines: VecDeque::new(), pushes: VecDeque::new() }
    }

    /// Upgrades and connects as nobody in particular.
    pub fn connect(server: &Server) -> Self {
        Self::open(server).connected(json!({}))
    }

    /// Upgrades and connects as the `index`th client: every second one compresses.
    pub fn connect_nth(server: &Server, index: usize) -> Self {
        if index.is_multiple_of(2) { Self::connect(server) } else { Self::open_compressing(server).connected(json!({})) }
    }

    /// Upgrades and connects with this token.
    pub fn connect_with_token(server: &Server, token: &str) -> Self {
        Self::open(server).connected(json!({ "token": token }))
    }

    /// Connects, which must succeed.
    pub fn connected(mut self, connect: Value) -> Self {
        let reply = self.call("connect", connect);
        assert!(reply["connect"]["client"].as_str().is_some_and(|client| !client.is_empty()), "{reply}");
        self
    }

    /// Sends one command and gives its reply, with all that is in it.
    pub fn call(&mut self, method: &str, parameters: Value) -> Value {
        let id = self.send(method, parameters);
        let reply = self.reply();
        assert_eq!(reply["id"], id, "{reply}");
        reply
    }

    /// As [`Client::call`], where it must succeed; gives the result.
    pub fn ask(&mut self, method: &str, parameters: Value) -> Value {
        let mut reply = self.call(method, parameters);
        assert!(reply[method].is_object(), "{method} was answered {reply}");
        reply[method].take()
    }

    /// As [`Client::call`], where it must fail; gives the code.
    pub fn refused(&mut self, method: &str, parameters: Value) -> u64 {
        let reply = self.call(method, parameters);
        assert!(reply["error"]["message"].as_str().is_some_and(|message| !message.is_empty()), "{method} was answered {reply}");
        reply["error"]["code"].as_u64().expect("a code")
    }

    /// Subscribes and gives the result.
    pub fn subscribe(&mut self, channel: &str) -> Value {
        self.ask("subscribe", json!({ "channel": channel }))
    }

    /// Sends one command and gives its id.
    pub fn send(&mut self, method: &str, parameters: Value) -> u64 {
        self.id += 1;
        let mut command = json!({ "id": self.id });
        command[method] = parameters;
        self.peer.send(Frame::text(command.to_string()));
        self.id
    }

    /// The next reply; pushes before it are kept.
    pub fn reply(&mut self) -> Value {
        loop {
            let message = self.message();
            if message["id"].is_u64() {
                return message;
            }
            assert!(message["push"].is_object(), "neither a reply nor a push: {message}");
            self.pushes.push_back(message);
        }
    }

    /// What the next push holds.
    pub fn push(&mut self) -> Value {
        let mut message = self.pushes.pop_front().unwrap_or_else(|| self.message());
        assert!(message["push"].is_object(), "not a push: {message}");
        message["push"].take()
    }

    /// The next push, which must be a publication of this channel.
    pub fn publication(&mut self, channel: &str) -> Value {
        let mut push = self.push();
        assert_eq!(push["channel"], channel, "{push}");
        assert!(push["pub"].is_object(), "{push}");
        push["pub"].take()
    }

    /// Asks and gets an answer: all that the server had sent before is here, and there was no push.
    pub fn expect_no_push(&mut self) {
        let id = self.send("ping", json!({}));
        let message = self.pushes.pop_front().unwrap_or_else(|| self.message());
        assert_eq!(message["id"], id, "{message}");
    }

    /// Reads the server's close frame, which must carry `code`.
    pub fn expect_close(&mut self, code: u16) {
        assert!(self.lines.is_empty(), "{:?}", self.lines);
        self.peer.expect_close(code);
    }

    /// The next message that is no ping.
    fn message(&mut self) -> Value {
        loop {
            if let Some(line) = self.lines.pop_front() {
                if line != json!({}) {
                    return line;
                }
                self.peer.send(Frame::text("{}"));
                continue;
            }
            let frame = self.peer.message();
            assert_eq!(frame.opcode, Frame::TEXT, "{}", frame.payload.escape_ascii());
            let text = str::from_utf8(&frame.payload).expect("UTF-8");
            let line = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line:?}"));
            self.lines = text.split('\n').map(line).collect();
        }
    }
}

/// The offset of a publication or a reply; 0 where it has none.
pub fn offset(value: &Value) -> u64 {
    value["offset"].as_u64().unwrap_or_default()
}

/// The offsets of the publications of a reply.
pub fn offsets(reply: &Value) -> Vec<u64> {
    reply["publications"].as_array().into_iter().flatten().map(offset).collect()
}
