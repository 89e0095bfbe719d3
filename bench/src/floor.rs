//! The floor under every fan-out: a bare `send` loop. It knows next to no HTTP and no WebSocket: it answers with bytes prepared
//! beforehand, and so shows what the kernel alone takes for as many sends.
//!
//! Owns the loop; imports the prepared bytes from `client`.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use crate::client::{ACCEPT, client_frames, server_frames};

/// The most messages that one write of the publisher carries.
const BURST_MAX: usize = 8;

/// Accepts `subscribers` connections; then, whenever the first of them sends messages, sends each of them as many, in one plain
/// non-blocking `send`. Ends when the first one does.
pub fn serve(subscribers: usize) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("listening edge={}", listener.local_addr()?);
    let mut streams = (0..subscribers).map(|_| accept(&listener)).collect::<io::Result<Vec<_>>>()?;

    // Only the wait for the publisher blocks.
    for stream in &streams[1..] {
        stream.set_nonblocking(true)?;
    }

    let mut received = client_frames(BURST_MAX);
    let message_bytes = received.len() / BURST_MAX;
    let burst = server_frames(BURST_MAX);
    let frame_bytes = burst.len() / BURST_MAX;
    loop {
        // The clients leave by a reset.
        let Ok(received_bytes @ 1..) = streams[0].read(&mut received) else {
            return Ok(());
        };
        let messages = received_bytes / message_bytes;
        for stream in &mut streams {
            stream.write_all(&burst[..frame_bytes * messages])?;
        }
    }
}

fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    let (mut stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    let mut request = BufReader::new(&stream);
    let mut line = String::new();
    while request.read_line(&mut line)? > "\r\n".len() {
        line.clear();
    }
    let answer =
        format!("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\n");
    stream.write_all(answer.as_bytes())?;
    Ok(stream)
}
