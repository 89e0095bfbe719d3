//! Publishing and subscribing: what a subscriber of `/raw/<channel>` sees, and what the publish API answers.

use std::thread;

use fantail_tests::{Frame, Peer, Request, Response, Server, eventually, on_each_driver};
use serde_json::{Value, json};

on_each_driver! {
    the_last_value_comes_first,
    an_unused_channel_is_silent_until_the_first_message,
    json_comes_verbatim,
    text_stays_text_and_binary_binary,
    channels_are_apart,
    a_channel_is_percent_decoded,
    offsets_count_up_in_one_epoch,
    every_subscriber_sees_the_same_order,
    no_message_is_missing_after_the_snapshot,
    compressing_and_plain_subscribers_get_the_same,
    a_client_may_publish_where_it_is_allowed,
    a_client_that_publishes_where_it_is_not_is_1008,
    flushing_gathers_messages,
    a_subscriber_that_does_not_read_holds_up_nobody,
    killed_subscribers_are_forgotten,
    errors_name_the_field,
    the_key_is_asked_for,
    health_and_metrics_are_served,
    the_edge_has_no_api,
}

fn subscribe(server: &Server, channel: &str) -> Peer {
    Peer::upgrade(server.edge, &format!("/raw/{channel}"))
}

/// A subscriber that is known to be one: it has read the value published just before.
fn subscribe_to_value(server: &Server, channel: &str, json: &str) -> Peer {
    let mut peer = subscribe(server, channel);
    peer.expect(Frame::text(json));
    peer
}

fn the_last_value_comes_first(driver: &str) {
    let server = Server::start(driver, &[]);
    server.publish("news", "1");
    server.publish("news", "2");
    for _ in 0..8 {
        subscribe_to_value(&server, "news", "2");
    }
    server.publisher().publish_base64("news", "AAECA/8=");
    subscribe(&server, "news").expect(Frame::binary([0, 1, 2, 3, 0xFF]));
}

fn an_unused_channel_is_silent_until_the_first_message(driver: &str) {
    let server = Server::start(driver, &[]);
    let mut peer = subscribe(&server, "quiet");
    // Nothing came before the pong.
    peer.send(Frame::ping(""));
    peer.expect(Frame::pong(""));
    server.publish("quiet", "\"first\"");
    peer.expect(Frame::text("\"first\""));
}

fn json_comes_verbatim(driver: &str) {
    let server = Server::start(driver, &[]);
    server.publish("news", "0");
    let mut peer = subscribe_to_value(&server, "news", "0");
    for json in [r#"{"b": 1,   "a": [1.0, 2e3, -0]}"#, "null", "\"κόσμε \\u00e9 \\n\"", "[]", "12345678901234567890123"] {
        server.publish("news", json);
        peer.expect(Frame::text(json));
    }
}

fn text_stays_text_and_binary_binary(driver: &str) {
    let server = Server::start(driver, &[]);
    let mut publisher = server.publisher();
    publisher.publish("news", "0");
    let mut peer = subscribe_to_value(&server, "news", "0");
    publisher.publish_base64("news", "aGVsbG8=");
    publisher.publish("news", "\"hello\"");
    publisher.publish_base64("news", "AAECA/8=");
    publisher.publish_base64("news", "");
    for frame in [Frame::binary("hello"), Frame::text("\"hello\""), Frame::binary([0, 1, 2, 3, 0xFF]), Frame::binary([])] {
        peer.expect(frame);
    }
}

fn channels_are_apart(driver: &str) {
    let server = Server::start(driver, &[]);
    server.publish("a", "1");
    server.publish("b", "2");
    let mut a = subscribe_to_value(&server, "a", "1");
    let mut b = subscribe_to_value(&server, "b", "2");
    server.publish("b", "3");
    server.publish("a", "4");
    a.expect(Frame::text("4"));
    b.expect(Frame::text("3"));
}

fn a_channel_is_percent_decoded(driver: &str) {
    let server = Server::start(driver, &[]);
    for (path, channel) in [("a%20b", "a b"), ("%C3%A9t%c3%a9", "été"), ("a%2Fb", "a/b"), ("ticker:ACME", "ticker:ACME"), ("a+b", "a+b")]
    {
        server.publish(channel, "1");
        subscribe_to_value(&server, path, "1");
    }
}

fn offsets_count_up_in_one_epoch(driver: &str) {
    let server = Server::start(driver, &[]);
    let mut publisher = server.publisher();
    let epochs: Vec<Value> = (1..=5)
        .map(|offset| {
            let answer = publisher.call(r#"{"channel":"news","data":1}"#);
            assert_eq!(answer["result"]["offset"], json!(offset));
            answer["result"]["epoch"].clone()
        })
        .collect();
    assert!(epochs[0].as_str().is_some_and(|epoch| !epoch.is_empty()), "{epochs:?}");
    assert!(epochs.iter().all(|epoch| *epoch == epochs[0]), "{epochs:?}");
    assert_eq!(publisher.publish("other", "1"), 1);
}

fn every_subscriber_sees_the_same_order(driver: &str) {
    const PUBLISHERS: usize = 4;
    const MESSAGES: usize = 200;
    let server = Server::start(driver, &[]);
    server.publish("news", "0");
    // Enough that both workers have some.
    let mut peers: Vec<Peer> = (0..16).map(|_| subscribe_to_value(&server, "news", "0")).collect();
    thread::scope(|scope| {
        for publisher in 0..PUBLISHERS {
            let mut connection = server.publisher();
            scope.spawn(move || {
                for index in 0..MESSAGES {
                    connection.publish("news", &format!("[{publisher},{index}]"));
                }
            });
        }
    });
    let mut orders = peers.iter_mut().map(|peer| (0..PUBLISHERS * MESSAGES).map(|_| peer.message()).collect::<Vec<_>>());
    let first = orders.next().expect("a subscriber");
    assert!(orders.all(|order| order == first), "two subscribers saw different orders");
    for publisher in 0..PUBLISHERS {
        let prefix = format!("[{publisher},");
        let own: Vec<_> = first.iter().filter(|frame| frame.payload.starts_with(prefix.as_bytes())).cloned().collect();
        let sent: Vec<_> = (0..MESSAGES).map(|index| Frame::text(format!("{prefix}{index}]"))).collect();
        assert!(own == sent, "publisher {publisher}'s messages came in another order");
    }
}

fn number(frame: &Frame) -> usize {
    serde_json::from_slice(&frame.payload).expect("a number")
}

fn no_message_is_missing_after_the_snapshot(driver: &str) {
    const LAST: usize = 3_000;
    let server = Server::start(driver, &[]);
    let mut publisher = server.publisher();
    publisher.publish("news", "0");
    thread::scope(|scope| {
        scope.spawn(move || (1..=LAST).for_each(|index| assert_eq!(publisher.publish("news", &index.to_string()), index as u64 + 1)));
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..10 {
                    let mut peer = subscribe(&server, "news");
                    let snapshot = number(&peer.message());
                    // A few are followed to the end, the others long enough to join again while messages flow.
                    for expected in (snapshot + 1..=LAST).take(200) {
                        assert_eq!(number(&peer.message()), expected, "after the snapshot {snapshot}");
                    }
                }
            });
        }
    });
}

fn compressing_and_plain_subscribers_get_the_same(driver: &str) {
    let server = Server::start(driver, &[]);
    server.publish("news", "0");
    let request = Request::upgrade("/raw/news").with("Sec-WebSocket-Extensions", "permessage-deflate");
    let (mut compressing, _) = Peer::upgrade_with(server.edge, request);
    compressing.expect(Frame::text("0"));
    let mut plain = subscribe_to_value(&server, "news", "0");
    let json = format!("\"{}\"", "again and ".repeat(50));
    server.publish("news", &json);
    plain.expect(Frame::text(json.as_str()));
    let frame = compressing.frame();
    assert_eq!(frame.rsv, Frame::RSV1);
    assert_eq!(fantail_tests::inflate(&frame.payload).bytes, json.as_bytes());
    server.publish("news", "1");
    compressing.expect(Frame::text("1"));
}

fn a_client_may_publish_where_it_is_allowed(driver: &str) {
    let server = Server::start(driver, &[("FANTAIL_HUB_PUBLISH", "anyone")]);
    server.publish("room", "0");
    let mut peers: Vec<Peer> = (0..4).map(|_| subscribe_to_value(&server, "room", "0")).collect();
    peers[0].send(Frame::text("any text, not JSON"));
    peers.iter_mut().for_each(|peer| peer.expect(Frame::text("any text, not JSON")));
    subscribe_to_value(&server, "room", "any text, not JSON");
}

fn a_client_that_publishes_where_it_is_not_is_1008(driver: &str) {
    let server = Server::start(driver, &[]);
    server.publish("room", "0");
    let mut peer = subscribe_to_value(&server, "room", "0");
    peer.send(Frame::text("1"));
    peer.expect_close(1008);
    subscribe_to_value(&server, "room", "0");
}

fn flushing_gathers_messages(driver: &str) {
    let server = Server::start(driver, &[("FANTAIL_HUB_FLUSH_MS", "500")]);
    let mut publisher = server.publisher();
    publisher.publish("news", "0");
    let mut peer = subscribe_to_value(&server, "news", "0");
    for index in 1..=50 {
        publisher.publish("news", &index.to_string());
    }
    // Fifty messages are far quicker than a flush, so that they come in one, or in two if it fell among them.
    let frames_bytes = (1..=50).map(|index| 2 + index.to_string().len()).sum();
    let (mut received, mut reads) = (0, 0);
    while received < frames_bytes {
        received += peer.fill();
        reads += 1;
    }
    assert!(reads <= 2, "{reads} reads");
    (1..=50).for_each(|index| peer.expect(Frame::text(index.to_string())));
}

fn a_subscriber_that_does_not_read_holds_up_nobody(driver: &str) {
    const MESSAGES: usize = 1_000;
    let server = Server::start(driver, &[]);
    let mut publisher = server.publisher();
    publisher.publish("news", "0");
    let mut sleepers: Vec<Peer> = (0..4).map(|_| subscribe_to_value(&server, "news", "0")).collect();
    let mut reader = subscribe_to_value(&server, "news", "0");
    let before = server.rss_bytes();
    let padding = "p".repeat(32_000);
    let value = |index: usize| format!(r#"{{"padding":"{padding}","index":{index}}}"#);
    for index in 1..=MESSAGES {
        publisher.publish("news", &value(index));
        // In step, so that this reader is never behind, however busy the machine is.
        reader.expect(Frame::text(value(index)));
    }
    let growth = server.rss_bytes().saturating_sub(before);
    assert!(growth < 16 << 20, "32 MB published to those who do not read cost {growth} bytes");
    // They may have missed some, never the latest.
    for sleeper in &mut sleepers {
        let mut seen = 0;
        while seen < MESSAGES {
            let value: Value = serde_json::from_slice(&sleeper.message().payload).expect("JSON");
            let index = value["index"].as_u64().expect("an index") as usize;
            assert!(index > seen, "{index} came after {seen}");
            seen = index;
        }
    }
    publisher.publish("news", "\"awake\"");
    sleepers.iter_mut().for_each(|sleeper| sleeper.expect(Frame::text("\"awake\"")));
}

fn killed_subscribers_are_forgotten(driver: &str) {
    let server = Server::start(driver, &[]);
    let mut publisher = server.publisher();
    publisher.publish("news", "0");
    let before = server.open_descriptors();
    let peers: Vec<Peer> = (0..200).map(|_| subscribe_to_value(&server, "news", "0")).collect();
    assert_eq!(server.open_descriptors(), before + 200);
    peers.into_iter().for_each(Peer::reset);
    eventually("every descriptor is free again", || server.open_descriptors() == before);
    publisher.publish("news", "1");
    subscribe_to_value(&server, "news", "1");
}

fn errors_name_the_field(driver: &str) {
    let server = Server::start(driver, &[]);
    let mut publisher = server.publisher();
    for (body, field) in [
        (r#"{"data":1}"#, "channel"),
        (r#"{"channel":"","data":1}"#, "channel"),
        (r#"{"channel":7,"data":1}"#, "channel"),
        (r#"{"channel":"news"}"#, "data"),
        (r#"{"channel":"news","b64data":"not base64!"}"#, "b64data"),
        (r#"{"channel":"news","b64data":1}"#, "b64data"),
        (r#"{"channel":"news","data":1,"b64data":"AA=="}"#, "b64data"),
        (r#"{"channel":"news","data":"#, "JSON"),
        ("", "JSON"),
    ] {
        let error = publisher.call(body)["error"].clone();
        assert_eq!(error["code"], json!(107), "{body}");
        let message = error["message"].as_str().expect("a message");
        assert!(message.contains(field), "{body} was answered {message:?}");
    }
    assert_eq!(publisher.publish("news", "1"), 1);
}

fn post(server: &Server, key: Option<&str>) -> Response {
    let body = r#"{"channel":"news","data":1}"#;
    let request = Request::get("")
        .line("POST /api/publish HTTP/1.1")
        .with("Content-Type", "application/json")
        .with("Content-Length", body.len().to_string())
        .body(body);
    Peer::ask(server.internal, key.into_iter().fold(request, |request, key| request.with("X-API-Key", key))).1
}

fn the_key_is_asked_for(driver: &str) {
    let server = Server::start(driver, &[("FANTAIL_API_KEY", "open-sesame")]);
    assert_eq!(post(&server, None).status, 401);
    for wrong in ["", "open", "open-sesame!", "OPEN-SESAME"] {
        assert_eq!(post(&server, Some(wrong)).status, 401, "{wrong:?}");
    }
    assert_eq!(post(&server, Some("open-sesame")).status, 200);
}

fn health_and_metrics_are_served(driver: &str) {
    let server = Server::start(driver, &[]);
    let _subscriber = subscribe(&server, "news");
    let get = |path: &str| Peer::ask(server.internal, Request::get(path)).1;
    assert_eq!(get("/health").status, 200);
    assert_eq!(get("/nowhere").status, 404);
    let metrics = String::from_utf8(get("/metrics").body).expect("UTF-8");
    assert!(metrics.lines().any(|line| line.starts_with("# TYPE fantail_")), "{metrics}");
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let value = line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok());
        assert!(value.is_some(), "not a sample: {line:?}");
    }
}

fn the_edge_has_no_api(driver: &str) {
    let server = Server::start(driver, &[]);
    for path in ["/api/publish", "/health", "/metrics"] {
        assert_eq!(Peer::ask(server.edge, Request::get(path)).1.status, 404, "{path}");
    }
}
