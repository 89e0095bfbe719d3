//! The crate tokio-tungstenite, as a peer of `fantail-bench`: echo on `/echo`, and fan-out on `/raw/CHANNEL`, in its cheapest
//! form: the publisher's task writes to all subscribers itself.

use std::collections::HashMap;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;

use futures_util::stream::SplitSink;
use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime;
use tokio::sync::Mutex;
use tokio_tungstenite::tungstenite::handshake::server::{Callback, ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

/// The subscribers of each channel. One that left is found out by the next write to it.
type Channels = Arc<Mutex<HashMap<String, Vec<SplitSink<WebSocketStream<TcpStream>, Message>>>>>;

fn main() -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(serve())
}

async fn serve() -> io::Result<()> {
    let channels = Channels::default();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    println!("listening edge={}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(connection(stream, channels.clone()));
    }
}

async fn connection(stream: TcpStream, channels: Channels) -> Result<(), Error> {
    let mut path = String::new();
    let mut socket = accept_hdr_async(stream, TakePath(&mut path)).await?;
    if path == "/echo" {
        while let Some(message) = socket.next().await {
            socket.send(message?).await?;
        }
        return Ok(());
    }

    let (write, mut read) = socket.split();
    let mut all = channels.lock().await;
    all.entry(path.clone()).or_default().push(write);
    drop(all);
    while let Some(message) = read.next().await {
        publish(&message?, &path, &channels).await;
    }
    Ok(())
}

async fn publish(message: &Message, channel: &str, channels: &Channels) {
    let mut channels = channels.lock().await;
    let Some(subscribers) = channels.get_mut(channel) else {
        return;
    };
    let mut index = 0;
    while index < subscribers.len() {
        match subscribers[index].send(message.clone()).await {
            Ok(()) => index += 1,
            Err(_) => drop(subscribers.swap_remove(index)),
        }
    }
}

/// Keeps the path of the request that is answered.
struct TakePath<'a>(&'a mut String);

impl Callback for TakePath<'_> {
    fn on_request(self, request: &Request, response: Response) -> Result<Response, ErrorResponse> {
        request.uri().path().clone_into(self.0);
        Ok(response)
    }
}
