//! What a connection goes through: its request, its upgrade, its messages. Imports [`crate::frame`], [`crate::accept`] and
//! [`crate::inflate`].

use std::io;
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use socket2::SockRef;

use super::outlet::Outlet;
use super::wire::{Head, Reader};
use super::{Handshake, Opened, Publishing, Shared, lock};
use crate::accept::accept;
use crate::{Frame, inflate};

/// Serves a connection to its end, however that comes.
pub(super) fn serve(shared: &Shared, stream: &Arc<TcpStream>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = Reader::new(stream)?;
    let head = reader.head()?;
    match head.method.as_str() {
        "POST" => publications(shared, head, &mut reader, stream),
        _ => websocket(shared, &head, &mut reader, stream),
    }
}

fn publications(shared: &Shared, mut head: Head, reader: &mut Reader, stream: &Arc<TcpStream>) -> io::Result<()> {
    let mut outlet = Outlet::new(stream.clone(), false);
    loop {
        let length = head.field("content-length").and_then(|length| length.parse().ok());
        let body = reader.take(length.ok_or_else(|| io::Error::other("a body without a length"))?)?;
        shared.received(false);
        if !matches!(shared.behaviour.publishing, Publishing::Refused) {
            shared.publish(head.target.trim_start_matches("/publish/"), &Frame::text(body));
        }
        outlet.write(match shared.behaviour.publishing {
            Publishing::Length => b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
            Publishing::Chunked => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
            Publishing::Refused => b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
        })?;
        head = reader.head()?;
    }
}

fn websocket(shared: &Shared, head: &Head, reader: &mut Reader, stream: &Arc<TcpStream>) -> io::Result<()> {
    let offered = head.field("sec-websocket-extensions").is_some_and(|offer| offer.contains("permessage-deflate"));
    let deflate = shared.behaviour.deflate && offered;
    let outlet = Arc::new(Mutex::new(Outlet::new(stream.clone(), deflate)));
    match shared.behaviour.handshake {
        Handshake::Instead(bytes) => return lock(&outlet).write(bytes),
        Handshake::Silence => return until_the_client_leaves(reader),
        Handshake::Proper | Handshake::With(_) | Handshake::WrongAccept => {}
    }
    {
        // Nothing is published between the answer and the place in the channel.
        let mut channels = lock(&shared.channels);
        shared.done().upgraded += 1;
        lock(&outlet).write(&switching_protocols(head, shared.behaviour.handshake, deflate)?)?;
        if let Some(channel) = head.target.strip_prefix("/raw/") {
            channels.entry(channel.to_owned()).or_default().push(outlet.clone());
        }
    }
    let ended = opened(shared, &head.target, reader, stream, &outlet);
    for outlets in lock(&shared.channels).values_mut() {
        outlets.retain(|other| !Arc::ptr_eq(other, &outlet));
    }
    ended
}

fn opened(shared: &Shared, target: &str, reader: &mut Reader, stream: &TcpStream, outlet: &Arc<Mutex<Outlet>>) -> io::Result<()> {
    match shared.behaviour.opened {
        Opened::Served => messages(shared, target, reader, outlet),
        Opened::Sent(bytes) => {
            lock(outlet).write(bytes)?;
            messages(shared, target, reader, outlet)
        }
        Opened::Ended => Ok(()),
        Opened::Closed(code) => {
            lock(outlet).send(&Frame::close(code, ""))?;
            until_the_client_closes(reader)
        }
        Opened::Reset => SockRef::from(stream).set_linger(Some(Duration::ZERO)),
    }
}

fn switching_protocols(head: &Head, handshake: Handshake, deflate: bool) -> io::Result<Vec<u8>> {
    let key = head.field("sec-websocket-key").ok_or_else(|| io::Error::other("no key"))?;
    let (key, more) = match handshake {
        Handshake::WrongAccept => ("another", ""),
        Handshake::With(line) => (key, line),
        _ => (key, ""),
    };
    let extension = match deflate {
        true => "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n",
        false => "",
    };
    let accept = accept(key);
    let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
    Ok(format!("{head}Sec-WebSocket-Accept: {accept}\r\n{extension}{more}\r\n").into_bytes())
}

fn messages(shared: &Shared, target: &str, reader: &mut Reader, outlet: &Arc<Mutex<Outlet>>) -> io::Result<()> {
    loop {
        while !reader.wait()? {
            lock(outlet).release()?;
        }
        let mut frame = reader.frame()?;
        match frame.opcode {
            Frame::PING => lock(outlet).send(&Frame::pong(frame.payload))?,
            Frame::PONG => {}
            Frame::CLOSE => return lock(outlet).send(&frame),
            _ => {
                let compressed = frame.rsv == Frame::RSV1;
                if compressed {
                    frame = Frame::new(frame.opcode, inflate(&frame.payload).bytes);
                }
                shared.received(compressed);
                message(shared, target, outlet, frame)?;
            }
        }
    }
}

fn message(shared: &Shared, target: &str, outlet: &Arc<Mutex<Outlet>>, message: Frame) -> io::Result<()> {
    if let Some(channel) = target.strip_prefix("/raw/") {
        lock(outlet).spare();
        shared.publish(channel, &message);
        return Ok(());
    }
    if target != "/channels" {
        return lock(outlet).deliver(&message, shared);
    }
    let text = String::from_utf8(message.payload).map_err(io::Error::other)?;
    let mut words = text.splitn(3, ' ');
    match (words.next(), words.next(), words.next()) {
        (Some("subscribe"), Some(channel), None) => {
            // Nothing is published between the place in the channel and the answer.
            let mut channels = lock(&shared.channels);
            channels.entry(channel.to_owned()).or_default().push(outlet.clone());
            lock(outlet).send(&Frame::text(format!("subscribed {channel}")))
        }
        (Some("publish"), Some(channel), Some(text)) => {
            lock(outlet).spare();
            shared.publish(channel, &Frame::text(text));
            Ok(())
        }
        _ => Err(io::Error::other("neither subscribe nor publish")),
    }
}

fn until_the_client_closes(reader: &mut Reader) -> io::Result<()> {
    while reader.frame()?.opcode != Frame::CLOSE {}
    Ok(())
}

fn until_the_client_leaves(reader: &mut Reader) -> io::Result<()> {
    loop {
        reader.take(1)?;
    }
}
