//! Subscribers that must all get the same bytes: the first one's messages are read and checked, the others' compared byte for byte. Owns
//! the few commands of the client protocol that are needed; imports `client`.

use std::io;
use std::net::SocketAddr;

use serde_json::Value;

use crate::client::{COMPRESSED_TEXT, Client, Offer, WINDOW, client_frame};

/// The path of the client protocol.
const CLIENT_PATH: &str = "/connection/websocket";

/// Subscribers, at least one.
pub struct Crowd {
    first: Client,
    others: Vec<Client>,
    offer: Offer,
    /// What the first one received and the others have not yet.
    frames: Vec<u8>,
}

impl Crowd {
    /// `count` subscribers in raw mode.
    pub fn raw(edge: SocketAddr, channel: &str, count: usize, offer: Offer) -> io::Result<Self> {
        Self::of(Client::open_many_offering(edge, &format!("/raw/{channel}"), count, offer)?, offer)
    }

    /// `count` clients, each subscribed to these channels, with these `data` unless they are empty.
    pub fn clients(edge: SocketAddr, channels: &[String], data: &str, count: usize, offer: Offer) -> io::Result<Self> {
        let mut clients = Client::open_many_offering(edge, CLIENT_PATH, count, offer)?;
        let commands = client_frame(format!("{CONNECT}\n{}", subscribe(channels, data)).as_bytes());
        for window in clients.chunks_mut(WINDOW) {
            window.iter_mut().try_for_each(|client| client.send(&commands))?;
            for client in window {
                expect_results(client, 1 + channels.len())?;
            }
        }
        Self::of(clients, offer)
    }

    fn of(mut clients: Vec<Client>, offer: Offer) -> io::Result<Self> {
        let first = clients.pop().ok_or_else(|| io::Error::other("no subscribers"))?;
        Ok(Self { first, others: clients, offer, frames: Vec::new() })
    }

    /// Gives the first one's messages to `take` until that returns true, then waits until all others have got the same.
    pub fn receive(&mut self, mut take: impl FnMut(&[u8]) -> io::Result<bool>) -> io::Result<()> {
        self.frames.clear();
        while !take(&self.first.message(&mut self.frames)?)? {}
        if (self.frames[0] == COMPRESSED_TEXT) != (self.offer == Offer::Deflate) {
            return Err(unexpected("compression, or none", &self.frames));
        }
        self.others.iter_mut().try_for_each(|other| other.expect(&self.frames))
    }

    /// Checks that nobody has got anything more.
    pub fn expect_nothing(&mut self) -> io::Result<()> {
        self.first.expect_nothing()?;
        self.others.iter_mut().try_for_each(Client::expect_nothing)
    }
}

/// The first command of every client.
const CONNECT: &str = r#"{"id":1,"connect":{}}"#;

/// One connected client that subscribes to nothing yet.
pub fn connect(edge: SocketAddr) -> io::Result<Client> {
    let mut client = Client::open_many(edge, CLIENT_PATH, 1)?.remove(0);
    client.send(&client_frame(CONNECT.as_bytes()))?;
    expect_results(&mut client, 1)?;
    Ok(client)
}

/// Commands that subscribe to all of these, with these `data` unless they are empty.
pub fn subscribe(channels: &[String], data: &str) -> String {
    let data = if data.is_empty() { String::new() } else { format!(r#","data":{data}"#) };
    let command = |(at, channel): (usize, &String)| format!(r#"{{"id":{},"subscribe":{{"channel":"{channel}"{data}}}}}"#, at + 2);
    channels.iter().enumerate().map(command).collect::<Vec<_>>().join("\n")
}

/// Waits for so many replies in one message, none of them an error.
pub fn expect_results(client: &mut Client, count: usize) -> io::Result<()> {
    let replies = client.message(&mut Vec::new())?;
    let replies = String::from_utf8_lossy(&replies);
    if replies.lines().count() != count || replies.contains(r#""error":"#) {
        return Err(io::Error::other(format!("{count} results expected: {replies}")));
    }
    Ok(())
}

/// A publication as a client gets it.
pub struct Update {
    /// Its channel.
    pub channel: String,
    /// Its place in the channel's order.
    pub offset: u64,
    /// What was published.
    pub data: Value,
}

/// The publications in one message.
pub fn updates(message: &[u8]) -> io::Result<Vec<Update>> {
    let update = |line| -> Option<Update> {
        let push = serde_json::from_slice::<Value>(line).ok()?;
        let push = push.get("push")?;
        let publication = push.get("pub")?;
        Some(Update {
            channel: push.get("channel")?.as_str()?.to_owned(),
            offset: publication.get("offset")?.as_u64()?,
            data: publication.get("data")?.clone(),
        })
    };
    let lines = message.split(|&byte| byte == b'\n');
    lines.map(update).collect::<Option<_>>().ok_or_else(|| unexpected("publication", message))
}

/// An error that shows the message.
pub fn unexpected(what: &str, message: &[u8]) -> io::Error {
    io::Error::other(format!("unexpected {what}: {}", message.escape_ascii()))
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::{Ipv4Addr, TcpListener};
    use std::thread;

    use super::*;
    use crate::client::{ACCEPT, server_frame};

    /// What becomes of two subscribers of which the last to come, which is the first of the crowd, gets `first`, and the other one `other`.
    fn received(first: &'static [u8], other: &'static [u8]) -> (io::Result<()>, io::Result<()>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let edge = listener.local_addr().expect("an address");
        let server = thread::spawn(move || {
            let accept = |_| {
                let (mut stream, _) = listener.accept().expect("a connection");
                let head = BufReader::new(&stream).lines().map(|line| line.expect("a line")).take_while(|line| !line.is_empty());
                assert!(head.count() > 0);
                stream.write_all(format!("HTTP/1.1 101 \r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\n").as_bytes()).expect("an answer");
                stream
            };
            (0..2).map(accept).collect::<Vec<_>>()
        });
        let mut crowd = Crowd::raw(edge, "c", 2, Offer::Nothing).expect("a crowd");
        let mut streams = server.join().expect("the server");
        streams[0].write_all(other).expect("sent");
        streams[1].write_all(first).expect("sent");
        (crowd.receive(|message| Ok(message == b"b")), crowd.expect_nothing())
    }

    #[test]
    fn who_gets_something_else_or_something_more_is_noticed() {
        let both = [server_frame(b"a"), server_frame(b"b")].concat().leak();
        let swapped = [server_frame(b"b"), server_frame(b"a")].concat().leak();
        let more = [server_frame(b"a"), server_frame(b"b"), server_frame(b"b")].concat().leak();
        assert!(matches!(received(both, both), (Ok(()), Ok(()))));
        assert!(matches!(received(both, swapped), (Err(_), _)));
        assert!(matches!(received(both, more), (Ok(()), Err(_))));
        assert!(matches!(received(more, both), (Ok(()), Err(_))));
    }

    #[test]
    fn updates_are_read_and_nothing_else_is_taken_for_one() {
        let push = br#"{"push":{"channel":"c","pub":{"data":{"p":1},"offset":7}}}"#;
        let found = updates(&[push.as_slice(), push].join(&b'\n')).expect("updates");
        assert_eq!(found.iter().map(|update| (&*update.channel, update.offset)).collect::<Vec<_>>(), [("c", 7); 2]);
        assert!(updates(b"{}").is_err());
        assert!(updates(br#"{"id":1,"publish":{}}"#).is_err());
    }

    #[test]
    fn commands_stand_in_lines() {
        let channels = ["a".to_owned(), "b".to_owned()];
        assert_eq!(
            subscribe(&channels, r#"{"rate":4}"#),
            "{\"id\":2,\"subscribe\":{\"channel\":\"a\",\"data\":{\"rate\":4}}}\n{\"id\":3,\"subscribe\":{\"channel\":\"b\",\"data\":{\"rate\":4}}}"
        );
    }
}
