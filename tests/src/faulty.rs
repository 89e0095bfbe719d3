//! A WebSocket server that is at fault on purpose and counts what it did, for tests of what a load generator says of it.
//!
//! Blocking sockets, and a thread a connection: it is made for tens of them. Owns its threads and sockets; what a connection goes
//! through is in `session`, its two directions are in `wire` and `outlet`. Imports [`crate::frame`], [`crate::accept`],
//! [`crate::deflate`] and [`crate::inflate`].
//!
//! - `/echo` sends every message back.
//! - `/raw/CHANNEL` sends every message to all who connected to the channel, its sender too.
//! - `/channels` takes `subscribe CHANNEL`, answered `subscribed CHANNEL`, and `publish CHANNEL TEXT`.
//! - `POST /publish/CHANNEL` publishes its body as text.

mod outlet;
mod session;
mod wire;

use std::collections::HashMap;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::Frame;
use outlet::Outlet;

/// What a connection's socket takes in while the server does not read: fixed, so that a sender is soon held up.
const RECEIVE_BYTES: usize = 256 * 1024;

/// What the server does to its clients. The default is no fault at all.
#[derive(Clone, Debug, Default)]
pub struct Behaviour {
    /// What an upgrade is answered.
    pub handshake: Handshake,
    /// What happens to a connection once it is open.
    pub opened: Opened,
    /// What happens to messages on their way to each connection.
    pub fault: Fault,
    /// When nothing happens at all.
    pub stall: Option<Stall>,
    /// Whether messages are sent inside of JSON, `{"data":"…"}`; they must need no escape.
    pub json: bool,
    /// Whether permessage-deflate is agreed to where it is offered: then each message is compressed, without context takeover.
    pub deflate: bool,
    /// What a publication over HTTP is answered.
    pub publishing: Publishing,
}

/// What an upgrade is answered.
#[derive(Clone, Copy, Debug, Default)]
pub enum Handshake {
    /// 101, as it should be.
    #[default]
    Proper,
    /// 101 with this field line, which ends in CRLF, beside what belongs there.
    With(&'static str),
    /// 101 whose accept value belongs to another key.
    WrongAccept,
    /// These bytes, and then the connection ends.
    Instead(&'static [u8]),
    /// Nothing, for ever.
    Silence,
}

/// What happens to a connection once it is open.
#[derive(Clone, Copy, Debug, Default)]
pub enum Opened {
    /// It is served.
    #[default]
    Served,
    /// These bytes come unasked for, and then it is served.
    Sent(&'static [u8]),
    /// It ends without a close frame.
    Ended,
    /// A close frame of this code comes, and it ends with the client's.
    Closed(u16),
    /// It is reset.
    Reset,
}

/// What happens to every n-th message on its way to a connection. A client that has published to a channel is spared there.
#[derive(Clone, Copy, Debug, Default)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// It is not sent.
    Drop(u64),
    /// It is sent twice.
    Duplicate(u64),
    /// It is sent after the next one; alone, when none comes for a while, and then it does not count.
    Swap(u64),
    /// A byte of it is changed, so that ASCII stays ASCII: by turns its last one and the one in its middle.
    Corrupt(u64),
}

/// A time in which no message is answered, and at most one more a connection is read.
#[derive(Clone, Copy, Debug)]
pub struct Stall {
    /// It begins with the message that comes after so many, over all connections.
    pub after: u64,
    /// How long it takes.
    pub length: Duration,
}

impl Stall {
    /// The server stops for good.
    pub const FOR_EVER: Duration = Duration::from_secs(3600);
}

/// What a publication over HTTP is answered.
#[derive(Clone, Copy, Debug, Default)]
pub enum Publishing {
    /// 200 with a Content-Length.
    #[default]
    Length,
    /// 200 in the chunked coding.
    Chunked,
    /// 500; nothing is published.
    Refused,
}

/// What the server did so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Done {
    /// Connections that were upgraded.
    pub upgraded: u64,
    /// Messages that clients sent, publications over HTTP among them.
    pub received: u64,
    /// Those of them that came compressed.
    pub compressed: u64,
    /// Messages that were not sent.
    pub dropped: u64,
    /// Messages that were sent twice.
    pub duplicated: u64,
    /// Messages that were sent after their successor.
    pub swapped: u64,
    /// Messages of which a byte was changed.
    pub corrupted: u64,
}

/// A running server. It ends, with all its connections, when it is dropped.
pub struct Faulty {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

impl Faulty {
    /// Starts a server.
    pub fn start(behaviour: Behaviour) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        // Connections inherit it.
        socket.set_recv_buffer_size(RECEIVE_BYTES).expect("SO_RCVBUF");
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a free port");
        socket.listen(1024).expect("a bound socket");
        let listener = TcpListener::from(socket);
        let address = listener.local_addr().expect("a bound socket");
        let shared = Arc::new(Shared { behaviour, ..Shared::default() });
        thread::spawn({
            let shared = shared.clone();
            move || shared.accept(&listener)
        });
        Self { address, shared }
    }

    /// The WebSocket URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("ws://{}{path}", self.address)
    }

    /// What it did so far.
    pub fn done(&self) -> Done {
        *self.shared.done()
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        // The accepting thread waits for a connection to look up.
        let _ = TcpStream::connect(self.address);
        for socket in lock(&self.shared.sockets).iter().filter_map(Weak::upgrade) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

/// What the threads of a server share.
#[derive(Default)]
struct Shared {
    behaviour: Behaviour,
    done: Mutex<Done>,
    stalled_until: Mutex<Option<Instant>>,
    channels: Mutex<Channels>,
    /// Those that are not closed yet.
    sockets: Mutex<Vec<Weak<TcpStream>>>,
    ended: AtomicBool,
}

/// Who listens to each channel.
type Channels = HashMap<String, Vec<Arc<Mutex<Outlet>>>>;

impl Shared {
    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for stream in listener.incoming() {
            if self.ended.load(Ordering::Relaxed) {
                return;
            }
            let stream = Arc::new(stream.expect("a descriptor is left"));
            lock(&self.sockets).push(Arc::downgrade(&stream));
            let shared = self.clone();
            // A client may leave as it likes: what it reports is what is tested.
            thread::spawn(move || session::serve(&shared, &stream));
        }
    }

    fn done(&self) -> MutexGuard<'_, Done> {
        lock(&self.done)
    }

    /// Counts a message, and returns when it is time to handle it.
    fn received(&self, compressed: bool) {
        let count = {
            let mut done = self.done();
            done.received += 1;
            done.compressed += u64::from(compressed);
            done.received
        };
        if let Some(stall) = self.behaviour.stall.filter(|stall| stall.after + 1 == count) {
            *lock(&self.stalled_until) = Some(Instant::now() + stall.length);
        }
        while lock(&self.stalled_until).is_some_and(|end| Instant::now() < end) && !self.ended.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Sends a message to all who listen to a channel, and forgets those who left.
    fn publish(&self, channel: &str, message: &Frame) {
        if let Some(outlets) = lock(&self.channels).get_mut(channel) {
            outlets.retain(|outlet| lock(outlet).deliver(message, self).is_ok());
        }
    }
}

/// A thread that panicked fails its connection, which the test sees: no need to fail the others.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::time::{Duration, Instant};

    use super::{Behaviour, Fault, Faulty, Handshake, Opened, Stall};
    use crate::{Deflater, Frame, Peer, Request, eventually, frames};

    /// What comes back for the messages 1 to 6, up to the pong that follows them.
    fn echoes(fault: Fault) -> (Vec<String>, Faulty) {
        let server = Faulty::start(Behaviour { fault, ..Behaviour::default() });
        let mut peer = Peer::upgrade(server.address, "/echo");
        peer.send(frames((1..=6).map(|number| Frame::text(format!("{number}-{number}")))));
        peer.send(Frame::ping("end"));
        let received = std::iter::repeat_with(|| peer.message()).take_while(|frame| frame.opcode == Frame::TEXT);
        let texts = received.map(|frame| String::from_utf8(frame.payload).unwrap()).collect();
        (texts, server)
    }

    #[test]
    fn faults_are_done_and_counted() {
        let (texts, server) = echoes(Fault::None);
        assert_eq!(texts, ["1-1", "2-2", "3-3", "4-4", "5-5", "6-6"]);
        assert_eq!(server.done().received, 6);
        let (texts, server) = echoes(Fault::Drop(3));
        assert_eq!((texts.join(" ").as_str(), server.done().dropped), ("1-1 2-2 4-4 5-5", 2));
        let (texts, server) = echoes(Fault::Duplicate(4));
        assert_eq!((texts.join(" ").as_str(), server.done().duplicated), ("1-1 2-2 3-3 4-4 4-4 5-5 6-6", 1));
        let (texts, server) = echoes(Fault::Swap(2));
        assert_eq!((texts.join(" ").as_str(), server.done().swapped), ("1-1 3-3 2-2 5-5 4-4", 2));
        let (texts, server) = echoes(Fault::Corrupt(3));
        assert_eq!((texts.join(" ").as_str(), server.done().corrupted), ("1-1 2-2 3-2 4-4 5-5 6,6", 2));
    }

    #[test]
    fn what_is_held_back_comes_when_no_other_does() {
        let server = Faulty::start(Behaviour { fault: Fault::Swap(1), ..Behaviour::default() });
        let mut peer = Peer::upgrade(server.address, "/echo");
        peer.expect_echo("alone");
        assert_eq!(server.done().swapped, 0);
    }

    #[test]
    fn a_hub_spares_who_publishes_and_no_other() {
        let server = Faulty::start(Behaviour { fault: Fault::Drop(2), json: true, ..Behaviour::default() });
        let mut publisher = Peer::upgrade(server.address, "/raw/news");
        let mut subscriber = Peer::upgrade(server.address, "/channels");
        subscriber.send(Frame::text("subscribe news"));
        subscriber.expect(Frame::text("subscribed news"));
        publisher.send(frames(["1", "2", "3"].map(Frame::text)));
        for number in ["1", "2", "3"] {
            publisher.expect(Frame::text(format!(r#"{{"data":"{number}"}}"#)));
        }
        subscriber.expect(Frame::text(r#"{"data":"1"}"#));
        subscriber.expect(Frame::text(r#"{"data":"3"}"#));
        assert_eq!(server.done().dropped, 1);
    }

    #[test]
    fn http_publishes_on_one_connection() {
        let server = Faulty::start(Behaviour::default());
        let mut subscriber = Peer::upgrade(server.address, "/raw/news");
        let mut publisher = Peer::connect(server.address);
        for text in ["one", "two"] {
            let request = Request::get("").line("POST /publish/news HTTP/1.1").with("Content-Length", text.len().to_string());
            publisher.send(request.body(text));
            assert_eq!(publisher.response().status, 200);
            subscriber.expect(Frame::text(text));
        }
    }

    #[test]
    fn a_compressed_message_is_echoed_compressed() {
        let server = Faulty::start(Behaviour { deflate: true, ..Behaviour::default() });
        let offer = Request::upgrade("/echo").with("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits");
        let (mut peer, response) = Peer::upgrade_with(server.address, offer);
        assert!(response.field("Sec-WebSocket-Extensions").is_some_and(|agreed| agreed.starts_with("permessage-deflate")));
        for _ in 0..2 {
            peer.send(Frame::text(Deflater::default().message(b"Hello")).rsv(Frame::RSV1));
            peer.expect(Frame::text("Hello"));
        }
        assert_eq!(server.done().compressed, 2);
    }

    #[test]
    fn connections_end_as_told() {
        let upgraded = |opened| {
            let server = Faulty::start(Behaviour { opened, ..Behaviour::default() });
            (Peer::upgrade(server.address, "/echo"), server)
        };
        let (mut ended, _server) = upgraded(Opened::Ended);
        ended.expect_end();
        let (mut closed, _server) = upgraded(Opened::Closed(1011));
        closed.expect_close(1011);
        let (reset, _server) = upgraded(Opened::Reset);
        let error = || reset.socket().take_error().unwrap().map(|error| error.kind());
        eventually("a reset", || error() == Some(ErrorKind::ConnectionReset));
        let (mut greeted, _server) = upgraded(Opened::Sent(b"\x81\x02Hi"));
        greeted.expect(Frame::text("Hi"));
        greeted.expect_echo("still served");
    }

    #[test]
    fn handshakes_fail_as_told() {
        let ask = |handshake| {
            let server = Faulty::start(Behaviour { handshake, ..Behaviour::default() });
            let (_, response) = Peer::ask(server.address, Request::upgrade("/echo"));
            (response.status, response.field("Sec-WebSocket-Accept").map(str::to_owned))
        };
        assert_eq!(ask(Handshake::Proper), (101, Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".into())));
        assert_ne!(ask(Handshake::WrongAccept), ask(Handshake::Proper));
        assert_eq!(ask(Handshake::Instead(b"HTTP/1.1 503 Busy\r\n\r\n")), (503, None));
    }

    #[test]
    fn a_stall_holds_up_all_connections() {
        let length = Duration::from_millis(200);
        let server = Faulty::start(Behaviour { stall: Some(Stall { after: 1, length }), ..Behaviour::default() });
        let mut peers = [0, 1].map(|_| Peer::upgrade(server.address, "/echo"));
        peers[0].expect_echo("before");
        let started = Instant::now();
        peers[0].send(Frame::text("in"));
        peers[0].expect(Frame::text("in"));
        assert!(started.elapsed() >= length);
        peers[1].expect_echo("after");
    }
}
