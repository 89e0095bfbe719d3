//! What the server has no room for or does not trust: it says so, goes on for everyone else, and takes it once there is room again.

use std::collections::VecDeque;
use std::iter::repeat_with;
use std::process::Command;

use fantail_tests::{Frame, Peer, Request, Server, binary, eventually, frames, on_each_driver};
use serde_json::Value;

on_each_driver! {
    a_full_mailbox_refuses_until_it_is_delivered,
    a_client_that_fills_the_mailbox_is_1013,
    no_more_channels_than_allowed,
    a_channel_without_a_value_goes_with_its_last_subscriber,
    a_channel_that_only_clients_published_to_goes_with_the_last_of_them,
    a_connection_beyond_the_limit_waits,
    without_a_descriptor_left_connections_wait,
    clients_leave_room_for_the_internal_port,
    a_web_page_needs_the_key_to_publish,
}

/// A mailbox of a few messages, and a wait that keeps them in it.
const SMALL_MAILBOX: [(&str, &str); 4] = [
    ("FANTAIL_LIMITS_MESSAGE_BYTES_MAX", "4096"),
    ("FANTAIL_LIMITS_MAILBOX_BYTES_MAX", "4096"),
    ("FANTAIL_HUB_FLUSH_MS", "1000"),
    ("FANTAIL_HUB_PUBLISH", "anyone"),
];

/// One of more messages than the mailbox holds.
fn filler(index: usize) -> String {
    format!("\"{index:0>1000}\"")
}

/// The code of an error, or null.
fn error_code(answer: &Value) -> &Value {
    &answer["error"]["code"]
}

fn publish_body(channel: &str, json: &str) -> String {
    format!(r#"{{"channel":"{channel}","data":{json}}}"#)
}

fn a_full_mailbox_refuses_until_it_is_delivered(driver: &str) {
    let server = Server::start(driver, &SMALL_MAILBOX);
    let mut publisher = server.publisher();
    publisher.publish("news", "0");
    let mut peer = Peer::upgrade(server.edge, "/raw/news");
    peer.expect(Frame::text("0"));
    let mut accepted = 0;
    let refusal = loop {
        let answer = publisher.call(&publish_body("news", &filler(accepted)));
        if !answer["error"].is_null() {
            break answer;
        }
        accepted += 1;
        assert!(accepted < 1_000, "a mailbox of 4096 bytes took {accepted} messages of 1000");
    };
    assert_eq!(error_code(&refusal), 111, "{refusal}");
    assert!(accepted > 0);
    // A channel that this worker has no subscriber of is not held up.
    assert_eq!(publisher.publish("unheard", "1"), 1);
    for index in 0..accepted {
        peer.expect(Frame::text(filler(index)));
    }
    // What was refused has no offset and reaches nobody.
    assert_eq!(publisher.publish("news", "\"next\""), accepted as u64 + 2);
    peer.expect(Frame::text("\"next\""));
}

fn a_client_that_fills_the_mailbox_is_1013(driver: &str) {
    let server = Server::start(driver, &SMALL_MAILBOX);
    let mut peer = Peer::upgrade(server.edge, "/raw/news");
    peer.send(frames((0..50).map(|index| Frame::text(filler(index)))));
    let close = repeat_with(|| peer.frame()).find(|frame| frame.opcode == Frame::CLOSE).expect("a close frame");
    assert_eq!(close.payload[..2], 1013_u16.to_be_bytes());
    peer.send(close);
    peer.expect_end();
}

fn no_more_channels_than_allowed(driver: &str) {
    let server = Server::start(driver, &[("FANTAIL_HUB_CHANNELS_MAX", "2")]);
    let mut publisher = server.publisher();
    publisher.publish("a", "1");
    let mut before = Peer::upgrade(server.edge, "/raw/a");
    before.expect(Frame::text("1"));
    publisher.publish("b", "1");
    let refusal = publisher.call(&publish_body("c", "1"));
    assert_eq!(error_code(&refusal), 106, "{refusal}");
    let (mut refused, response) = Peer::ask(server.edge, Request::upgrade("/raw/c"));
    assert_eq!(response.status, 503, "{response:?}");
    assert!(response.closes(), "{response:?}");
    refused.expect_end();
    // The channels that are there go on.
    let mut after = Peer::upgrade(server.edge, "/raw/a");
    after.expect(Frame::text("1"));
    assert_eq!(publisher.publish("a", "2"), 2);
    before.expect(Frame::text("2"));
    after.expect(Frame::text("2"));
}

fn a_channel_without_a_value_goes_with_its_last_subscriber(driver: &str) {
    let server = Server::start(driver, &[("FANTAIL_HUB_CHANNELS_MAX", "1")]);
    let mut publisher = server.publisher();
    // Enough to have some on each worker.
    let mut subscribers: Vec<Peer> = (0..8).map(|_| Peer::upgrade(server.edge, "/raw/silent")).collect();
    while let Some(subscriber) = subscribers.pop() {
        let refusal = publisher.call(&publish_body("news", "1"));
        assert_eq!(error_code(&refusal), 106, "{refusal}");
        drop(subscriber);
    }
    eventually("there is room for another channel", || publisher.call(&publish_body("news", "1"))["error"].is_null());
    // That one has a value, so it stays.
    let mut peer = Peer::upgrade(server.edge, "/raw/news");
    peer.expect(Frame::text("1"));
    peer.send(Frame::close(1000, ""));
    peer.expect_close(1000);
    assert_eq!(error_code(&publisher.call(&publish_body("silent", "1"))), 106);
}

fn a_connection_beyond_the_limit_waits(driver: &str) {
    let server = Server::start(driver, &[("FANTAIL_LIMITS_CONNECTIONS_MAX", "3")]);
    let mut served: VecDeque<Peer> = (0..3).map(|_| Peer::upgrade(server.edge, "/echo")).collect();
    // Several times, so that the one that leaves and the one that waits are each other's worker's too.
    for _ in 0..8 {
        let mut waiting = Peer::connect(server.edge);
        waiting.send(Request::upgrade("/echo"));
        for peer in &mut served {
            peer.expect_echo("served");
        }
        assert!(waiting.is_silent(), "the fourth connection was answered or reset");
        served.pop_front();
        assert_eq!(waiting.response().status, 101);
        waiting.expect_echo("at last");
        served.push_back(waiting);
    }
}

/// Starts a server that may have so many descriptors.
fn start_within(descriptors: usize, driver: &str) -> Server {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -n {descriptors} && exec \"$0\" \"$@\"")]).arg(binary());
    command.args(["serve", "--listen", "127.0.0.1:0", "--internal", "127.0.0.1:0", "--workers", "2", "--driver", driver]);
    Server::spawn(&mut command)
}

/// Beside the limit that the server counts by itself there is the kernel's, which it meets where something else took the descriptors.
fn without_a_descriptor_left_connections_wait(driver: &str) {
    const LIMIT: usize = 128;
    const LEFT: usize = 20;
    let server = start_within(LIMIT, driver);
    let before = server.held();
    eventually("nothing else is open", || server.open_descriptors() == before.descriptors);
    let mut served = Peer::upgrade(server.edge, "/echo");
    let others: Vec<Peer> = (LEFT..server.descriptors_left(LIMIT)).map(|_| Peer::connect(server.internal)).collect();
    eventually("others have taken the descriptors", || server.descriptors_left(LIMIT) == LEFT);
    for _ in 0..4 {
        let mut peers: Vec<Peer> = (0..2 * LEFT).map(|_| Peer::connect(server.edge)).collect();
        peers.iter_mut().for_each(|peer| peer.send(Request::upgrade("/echo")));
        eventually("no descriptor is left", || server.descriptors_left(LIMIT) == 0);
        eventually("whoever has one is answered", || peers.iter().filter(|peer| !peer.is_silent()).count() == LEFT);
        served.expect_echo("served all the while");
        let (waiting, mut accepted): (Vec<Peer>, Vec<Peer>) = peers.into_iter().partition(Peer::is_silent);
        for peer in &mut accepted {
            assert_eq!(peer.response().status, 101);
        }
        drop(accepted);
        for mut peer in waiting {
            assert_eq!(peer.response().status, 101);
            peer.expect_echo("at last");
        }
    }
    drop((served, others));
    server.expect_held(before);
    server.end();
}

/// The descriptors that are not for clients stay free for backends and operators, however many clients come at once.
fn clients_leave_room_for_the_internal_port(driver: &str) {
    const LIMIT: usize = 300;
    let server = start_within(LIMIT, driver);
    let before = server.held();
    let mut clients: Vec<Peer> = (0..2 * LIMIT).map(|_| Peer::connect(server.edge)).collect();
    eventually("there is no more room", || server.metric("fantail_connections") + 64 + 2 * 6 >= LIMIT as u64);
    for round in 1..=3 {
        assert_eq!(server.publish("news", "1"), round);
        // Others come in their place.
        clients.drain(..50);
        let accepted = server.metric("fantail_connections_accepted_total");
        eventually("the next are accepted", || server.metric("fantail_connections_accepted_total") >= accepted.max(224 + 50 * round));
        assert!(server.descriptors_left(LIMIT) > 20, "{} descriptors are left", server.descriptors_left(LIMIT));
    }
    drop(clients);
    server.expect_held(before);
    server.end();
}

/// Publishes as a script in a web page would.
fn post_from_page(server: &Server, key: Option<&str>) -> u16 {
    let body = publish_body("news", "1");
    let request = Request::get("")
        .line("POST /api/publish HTTP/1.1")
        .with("Origin", "https://anyone.test")
        .with("Content-Type", "text/plain")
        .with("Content-Length", body.len().to_string())
        .body(body);
    Peer::ask(server.internal, key.into_iter().fold(request, |request, key| request.with("X-API-Key", key))).1.status
}

fn a_web_page_needs_the_key_to_publish(driver: &str) {
    let open = Server::start(driver, &[]);
    assert_eq!(post_from_page(&open, None), 403);
    assert_eq!(open.publish("news", "1"), 1, "the page published");
    let locked = Server::start(driver, &[("FANTAIL_API_KEY", "open-sesame")]);
    assert_eq!(post_from_page(&locked, None), 401);
    assert_eq!(post_from_page(&locked, Some("open-sesame")), 200);
}

fn a_channel_that_only_clients_published_to_goes_with_the_last_of_them(driver: &str) {
    let server = Server::start(driver, &[("FANTAIL_HUB_CHANNELS_MAX", "1"), ("FANTAIL_HUB_PUBLISH", "anyone")]);
    let before = server.open_descriptors();
    for round in 0..10 {
        let mut peer = Peer::upgrade(server.edge, &format!("/raw/room{round}"));
        peer.send(Frame::text("kept by nobody"));
        peer.expect(Frame::text("kept by nobody"));
        drop(peer);
        eventually("the client is gone", || server.open_descriptors() == before);
    }
}
