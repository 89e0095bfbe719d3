//! The crate fastwebsockets, as a peer of `fantail-bench`: echo on `/echo`, as in that crate's own example, and fan-out on
//! `/raw/CHANNEL`, in its cheapest form: the publisher's task writes to all subscribers itself.
//! On the system's allocator: mimalloc nearly doubles the cost of its upgrades and its idle memory.

use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;

use fastwebsockets::upgrade::{UpgradeFut, upgrade};
use fastwebsockets::{
    FragmentCollector, FragmentCollectorRead, Frame, OpCode, Payload, Role, WebSocketError, WebSocketWrite, after_handshake_split,
};
use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime;
use tokio::sync::Mutex;
use tokio::task;

/// The subscribers of each channel. One that left is found out by the next write to it.
type Channels = Arc<Mutex<HashMap<String, Vec<WebSocketWrite<OwnedWriteHalf>>>>>;

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
        let channels = channels.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, channels.clone()));
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            // Clients leave by a reset, here and below.
            let _ = connection.with_upgrades().await;
        });
    }
}

async fn answer(mut request: Request<Incoming>, channels: Channels) -> Result<Response<Empty<Bytes>>, WebSocketError> {
    let (response, upgraded) = upgrade(&mut request)?;
    let path = request.uri().path();
    if path == "/echo" {
        tokio::spawn(task::unconstrained(echo(upgraded)));
    } else {
        tokio::spawn(subscribe(upgraded, path.to_owned(), channels));
    }
    Ok(response)
}

async fn echo(upgraded: UpgradeFut) -> Result<(), WebSocketError> {
    let mut socket = FragmentCollector::new(upgraded.await?);
    loop {
        let frame = socket.read_frame().await?;
        match frame.opcode {
            OpCode::Close => return Ok(()),
            OpCode::Text | OpCode::Binary => socket.write_frame(frame).await?,
            _ => {}
        }
    }
}

async fn subscribe(upgraded: UpgradeFut, channel: String, channels: Channels) -> Result<(), Box<dyn Error + Send + Sync>> {
    let stream = upgraded.await?.into_inner().into_inner();
    // The client speaks only when it has the answer, so that nothing is left in hyper's buffer.
    let parts = stream.downcast::<TokioIo<TcpStream>>().map_err(|_| "not the stream that was served")?;
    let (read, write) = parts.io.into_inner().into_split();
    let (read, write) = after_handshake_split(read, write, Role::Server);
    let mut read = FragmentCollectorRead::new(read);
    let mut all = channels.lock().await;
    all.entry(channel.clone()).or_default().push(write);
    drop(all);

    loop {
        // No pongs and no close: this peer's clients send neither.
        let frame = read.read_frame(&mut |_| async { Ok::<_, WebSocketError>(()) }).await?;
        if matches!(frame.opcode, OpCode::Text | OpCode::Binary) {
            publish(&frame, &channel, &channels).await;
        }
    }
}

async fn publish(frame: &Frame<'_>, channel: &str, channels: &Channels) {
    let mut channels = channels.lock().await;
    let Some(subscribers) = channels.get_mut(channel) else {
        return;
    };
    let mut index = 0;
    while index < subscribers.len() {
        let payload = Payload::Borrowed(&frame.payload);
        let copy = Frame::new(true, frame.opcode, None, payload);
        match subscribers[index].write_frame(copy).await {
            Ok(()) => index += 1,
            Err(_) => drop(subscribers.swap_remove(index)),
        }
    }
}
