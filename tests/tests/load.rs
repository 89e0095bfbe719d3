//! Many clients at once on one server: none is refused, all are served, an idle one costs next to nothing, and nothing of them stays.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};

use fantail_tests::{Frame, Peer, Request, Server, on_each_driver, raise_descriptor_limit};
use socket2::{Domain, Socket, Type};

on_each_driver! {
    fifteen_thousand_subscribers_cost_little_and_are_all_served,
}

const SUBSCRIBERS: usize = 15_000;
const BATCH: usize = 500;
/// Up to here the server's tables and allocator may still be settling.
const SETTLED: usize = 5_000;
const SUBSCRIBER_BYTES_MAX: usize = 300;

/// Two tests at once would need more descriptors than this process may have.
static ALONE: Mutex<()> = Mutex::new(());

/// Connects from one of four addresses, since one alone has few more ports than are needed here.
fn connect(edge: SocketAddr, index: usize) -> Peer {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let from = Ipv4Addr::new(127, 0, 0, 1 + (index % 4) as u8);
    socket.bind(&SocketAddr::from((from, 0)).into()).expect("an address of the loopback");
    socket.connect(&edge.into()).expect("the server accepts");
    Peer::over(socket.into())
}

fn fifteen_thousand_subscribers_cost_little_and_are_all_served(driver: &str) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let limit = raise_descriptor_limit();
    assert!(limit > SUBSCRIBERS as u64 + 500, "this test needs more than {limit} descriptors a process");
    let server = Server::start(driver, &[]);
    let before = server.held();
    server.publish("news", "0");
    let request = Request::upgrade("/raw/news").bytes();
    let mut peers: Vec<Peer> = Vec::new();
    let mut settled_bytes = 0;
    while peers.len() < SUBSCRIBERS {
        // All of a batch ask before the first is answered.
        let mut batch: Vec<Peer> = (0..BATCH).map(|index| connect(server.edge, index)).collect();
        batch.iter_mut().for_each(|peer| peer.send(request.as_slice()));
        for peer in &mut batch {
            assert_eq!(peer.response().status, 101);
            peer.expect(Frame::text("0"));
        }
        peers.append(&mut batch);
        if peers.len() == SETTLED {
            settled_bytes = server.rss_bytes();
        }
    }
    let each = server.rss_bytes().saturating_sub(settled_bytes) / (SUBSCRIBERS - SETTLED);
    println!("{driver}: {each} bytes of user memory an idle subscriber");
    assert!(each <= SUBSCRIBER_BYTES_MAX, "{each} bytes of user memory an idle subscriber");
    server.publish("news", "1");
    peers.iter_mut().for_each(|peer| peer.expect(Frame::text("1")));
    // A FIN each would leave as many ports waiting.
    peers.into_iter().for_each(Peer::reset);
    server.expect_held(before);
    server.end();
}
