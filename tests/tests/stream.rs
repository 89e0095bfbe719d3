//! `/stream`: publications of several channels on one connection, for clients without an SDK.

use std::thread;

use fantail_tests::{Frame, Peer, Request, SECRET, Server, eventually, on_each_driver, seconds_from_now, token};
use serde_json::{Value, json};

on_each_driver! {
    each_publication_comes_with_its_channel,
    last_values_come_first,
    names_are_decoded,
    the_channels_change_while_it_runs,
    other_messages_are_1008,
    subscriptions_have_a_limit,
    refused_channels_are_403,
    refused_channels_are_1008_on_a_live_connection,
    nothing_is_missing_after_the_snapshot,
    a_slow_stream_skips_to_the_newest,
    without_a_token_401_where_one_is_needed,
    a_channel_s_token_opens_that_alone,
    a_token_ends_a_stream_too,
    a_token_that_has_ended_opens_nothing_more,
}

fn open(server: &Server, query: &str) -> Peer {
    Peer::upgrade(server.edge, &format!("/stream{query}"))
}

fn next(peer: &mut Peer) -> Value {
    let frame = peer.message();
    assert_eq!(frame.opcode, Frame::TEXT, "{}", frame.payload.escape_ascii());
    serde_json::from_slice(&frame.payload).expect("JSON")
}

fn expect(peer: &mut Peer, stream: &str, data: Value) {
    assert_eq!(next(peer), json!({"stream": stream, "data": data}));
}

/// What was sent before has been taken in, and nothing came for it.
fn expect_nothing(peer: &mut Peer) {
    peer.send(Frame::ping("?"));
    peer.expect(Frame::pong("?"));
}

fn each_publication_comes_with_its_channel(driver: &str) {
    let server = Server::start(driver, &[]);
    let mut peer = open(&server, "?channels=a,b&channels=c");
    for (channel, data) in [("b", json!({"x": [1, 2]})), ("a", json!("text \" \n")), ("c", Value::Null), ("a", json!(1))] {
        server.publish(channel, &data.to_string());
        expect(&mut peer, channel, data);
    }
    server.publish("d", "1");
    expect_nothing(&mut peer);
    // As they were published, to the byte.
    server.publish("a", r#"{"b":  1.50, "a": 12345678901234567890123}"#);
    peer.expect(Frame::text(r#"{"stream":"a","data":{"b":  1.50, "a": 12345678901234567890123}}"#));
    // Base64, for it is no JSON.
    server.publisher().publish_base64("a", "AAECA/8=");
    expect(&mut peer, "a", json!("AAECA/8="));
}

fn last_values_come_first(driver: &str) {
    let server = Server::start(driver, &[]);
    server.publish("a", "1");
    server.publish("c", "3");
    let mut peer = open(&server, "?channels=a,b,c,a");
    expect(&mut peer, "a", json!(1));
    expect(&mut peer, "c", json!(3));
    expect_nothing(&mut peer);
}

fn names_are_decoded(driver: &str) {
    let server = Server::start(driver, &[]);
    for (query, channel) in [
        ("a%20b", "a b"),
        ("a+b", "a b"),
        ("%C3%A9t%c3%a9", "été"),
        ("ticker:ACME", "ticker:ACME"),
        ("a%2Fb%26c", "a/b&c"),
        ("a%22b", "a\"b"),
    ] {
        server.publish(channel, "1");
        expect(&mut open(&server, &format!("?x=1&channels={query}")), channel, json!(1));
    }
}

fn the_channels_change_while_it_runs(driver: &str) {
    let server = Server::start(driver, &[]);
    server.publish("b", "0");
    let mut peer = open(&server, "");
    peer.send(Frame::text(r#"{"subscribe":["a","b"]}"#));
    expect(&mut peer, "b", json!(0));
    server.publish("a", "1");
    expect(&mut peer, "a", json!(1));
    peer.send(Frame::text(r#"{"unsubscribe":["b","never heard of"],"subscribe":["c"]}"#));
    expect_nothing(&mut peer);
    server.publish("b", "2");
    server.publish("c", "3");
    expect(&mut peer, "c", json!(3));
    // One that is there already stays as it is; one that is left and joined at once begins anew.
    peer.send(Frame::text(r#"{"subscribe":["c"]}"#));
    expect_nothing(&mut peer);
    peer.send(Frame::text(r#"{"unsubscribe":["c"],"subscribe":["c"]}"#));
    expect(&mut peer, "c", json!(3));
    peer.send(Frame::text("{}"));
    expect_nothing(&mut peer);
    server.publish("c", "4");
    expect(&mut peer, "c", json!(4));
}

fn other_messages_are_1008(driver: &str) {
    let server = Server::start(driver, &[]);
    for message in [
        "",
        "nothing",
        "[]",
        "4",
        r#"{"subscribe":"a"}"#,
        r#"{"subscribe":[1]}"#,
        r#"{"publish":{"channel":"a"}}"#,
        r#"{"subscribe":["a"]"#,
    ] {
        let mut peer = open(&server, "");
        peer.send(Frame::text(message));
        peer.expect_close(1008);
    }
    let mut peer = open(&server, "");
    peer.send(Frame::binary(r#"{"subscribe":["a"]}"#));
    peer.expect_close(1008);
}

fn status(server: &Server, query: &str) -> u16 {
    Peer::ask(server.edge, Request::upgrade(&format!("/stream{query}"))).1.status
}

fn subscriptions_have_a_limit(driver: &str) {
    let server = Server::start(driver, &[("FANTAIL_LIMITS_SUBSCRIPTIONS_MAX", "3")]);
    let before = server.held();
    assert_eq!(status(&server, "?channels=a,b,c,d"), 403);
    let mut peer = open(&server, "?channels=a,b,c,a,b");
    peer.send(Frame::text(r#"{"unsubscribe":["b"],"subscribe":["d"]}"#));
    expect_nothing(&mut peer);
    peer.send(Frame::text(r#"{"subscribe":["b"]}"#));
    peer.expect_close(1008);
    drop(peer);
    server.expect_held(before);
}

const CLOSED: [(&str, &str); 2] =
    [("FANTAIL_HUB_NAMESPACES_VIP_SUBSCRIBE", "token"), ("FANTAIL_HUB_NAMESPACES_SECRET_SUBSCRIBE", "nobody")];

fn refused_channels_are_403(driver: &str) {
    let server = Server::start(driver, &CLOSED);
    for query in ["?channels=vip:a", "?channels=secret:a", "?channels=a,vip:a"] {
        assert_eq!(status(&server, query), 403, "{query}");
    }
    assert_eq!(status(&server, &format!("?channels={}", "c".repeat(256))), 404);
    open(&server, "?channels=a");
}

fn refused_channels_are_1008_on_a_live_connection(driver: &str) {
    let server = Server::start(driver, &CLOSED);
    for channel in ["vip:a", "secret:a", "", &"c".repeat(256)] {
        let mut peer = open(&server, "?channels=a");
        peer.send(Frame::text(json!({"subscribe": [channel]}).to_string()));
        peer.expect_close(1008);
    }
}

fn nothing_is_missing_after_the_snapshot(driver: &str) {
    const LAST: u64 = 2_000;
    let server = Server::start(driver, &[]);
    let channels = ["a", "b", "c"];
    channels.iter().for_each(|channel| assert_eq!(server.publish(channel, "0"), 1));
    thread::scope(|scope| {
        for channel in channels {
            let mut publisher = server.publisher();
            scope.spawn(move || (1..=LAST).for_each(|index| assert_eq!(publisher.publish(channel, &index.to_string()), index + 1)));
        }
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..6 {
                    let mut peer = open(&server, "?channels=a,b,c");
                    let mut seen = [None; 3];
                    for _ in 0..400 {
                        if seen == [Some(LAST); 3] {
                            break;
                        }
                        let message = next(&mut peer);
                        let at = channels.iter().position(|channel| message["stream"] == *channel).expect("a channel of ours");
                        let index = message["data"].as_u64().expect("a number");
                        assert!(seen[at].is_none_or(|before| before + 1 == index), "{index} after {seen:?}");
                        seen[at] = Some(index);
                    }
                }
            });
        }
    });
}

fn a_slow_stream_skips_to_the_newest(driver: &str) {
    const LAST: u64 = 500;
    let server = Server::start(driver, &[]);
    let mut sleeper = open(&server, "?channels=a,b");
    expect_nothing(&mut sleeper);
    let mut publisher = server.publisher();
    let padding = "p".repeat(32_000);
    for index in 1..=LAST {
        for channel in ["a", "b"] {
            publisher.publish(channel, &format!(r#"{{"index":{index},"padding":"{padding}"}}"#));
        }
    }
    let mut seen = [0, 0];
    while seen != [LAST; 2] {
        let message = next(&mut sleeper);
        let place = &mut seen[usize::from(message["stream"] == "b")];
        let index = message["data"]["index"].as_u64().expect("an index");
        assert!(index > *place, "{index} came after {place}");
        *place = index;
    }
    expect_nothing(&mut sleeper);
}

fn without_a_token_401_where_one_is_needed(driver: &str) {
    let server = Server::start(driver, &[("FANTAIL_AUTH_HMAC_SECRET", SECRET), ("FANTAIL_AUTH_ANONYMOUS", "false")]);
    let token = token(&json!({"sub": "42"}));
    // One without channels yet, too.
    for path in ["/raw/a", "/stream?channels=a", "/stream"] {
        let (_, response) = Peer::ask(server.edge, Request::upgrade(path));
        assert_eq!(response.status, 401, "{path}");
        let (_, response) = Peer::ask(server.edge, Request::upgrade(path).with("Authorization", "Bearer none"));
        assert_eq!(response.status, 401, "{path}");
        Peer::upgrade_with(server.edge, Request::upgrade(path).with("Authorization", format!("Bearer {token}")));
        let separator = if path.contains('?') { '&' } else { '?' };
        Peer::upgrade(server.edge, &format!("{path}{separator}token={token}"));
    }
}

fn a_channel_s_token_opens_that_alone(driver: &str) {
    let server = Server::start(driver, &[CLOSED[0], ("FANTAIL_AUTH_HMAC_SECRET", SECRET)]);
    let token = token(&json!({"sub": "42", "channel": "vip:a"}));
    for path in ["/raw/vip:b?", "/raw/b?", "/stream?channels=vip:b&", "/stream?channels=vip:a,b&"] {
        assert_eq!(Peer::ask(server.edge, Request::upgrade(&format!("{path}token={token}"))).1.status, 401, "{path}");
    }
    // A wrong token is refused even where none is needed.
    for path in ["/raw/b?", "/stream?channels=b&", "/stream?"] {
        assert_eq!(Peer::ask(server.edge, Request::upgrade(&format!("{path}token={token}A"))).1.status, 401, "{path}");
    }
    server.publish("vip:a", "1");
    Peer::upgrade(server.edge, &format!("/raw/vip:a?token={token}")).expect(Frame::text("1"));
    for query in ["?channels=vip:a&", "?"] {
        let mut peer = open(&server, &format!("{query}token={token}"));
        peer.send(Frame::text(r#"{"subscribe":["vip:a"]}"#));
        expect(&mut peer, "vip:a", json!(1));
        peer.send(Frame::text(r#"{"subscribe":["b"]}"#));
        peer.expect_close(1008);
    }
}

fn a_token_ends_a_stream_too(driver: &str) {
    let settings =
        [("FANTAIL_AUTH_HMAC_SECRET", SECRET), ("FANTAIL_TIMEOUTS_PING_INTERVAL_MS", "100"), ("FANTAIL_TIMEOUTS_TOKEN_GRACE_MS", "1000")];
    let server = Server::start(driver, &settings);
    for path in ["/raw/a?", "/stream?channels=a&", "/stream?"] {
        let token = token(&json!({"sub": "42", "exp": seconds_from_now(2)}));
        let mut peer = Peer::upgrade(server.edge, &format!("{path}token={token}"));
        let close = loop {
            let frame = peer.message();
            if frame.opcode == Frame::CLOSE {
                break frame;
            }
            peer.send(Frame::pong(frame.payload));
        };
        assert_eq!(close.payload[..2], 3005_u16.to_be_bytes(), "{path}");
    }
}

fn a_token_that_has_ended_opens_nothing_more(driver: &str) {
    let server = Server::start(driver, &[("FANTAIL_AUTH_HMAC_SECRET", SECRET), ("FANTAIL_TIMEOUTS_TOKEN_GRACE_MS", "600000")]);
    let token = token(&json!({"sub": "42", "exp": seconds_from_now(2)}));
    let mut peer = open(&server, &format!("?channels=a&token={token}"));
    eventually("it opens nothing", || {
        peer.send(Frame::text(r#"{"unsubscribe":["b"],"subscribe":["b"]}"#));
        peer.send(Frame::ping("?"));
        let frame = peer.message();
        assert!(frame == Frame::pong("?") || frame.payload.starts_with(&1008_u16.to_be_bytes()), "{}", frame.payload.escape_ascii());
        frame.opcode == Frame::CLOSE
    });
}
