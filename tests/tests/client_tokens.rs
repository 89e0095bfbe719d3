//! Tokens of the client protocol: who connects and subscribes with them, what they bring, and how they end.

use fantail_tests::{Client, Frame, SECRET, Server, eventually, on_each_driver, seconds_from_now, token};
use serde_json::{Value, json};

on_each_driver! {
    without_a_token_101,
    a_token_opens_no_channel_for_nobody,
    a_channel_token_publishes_where_tokens_may,
    tokens_connect,
    tokens_subscribe,
    too_many_wrong_tokens_are_3509,
    many_tokens_that_have_ended_are_109,
    tokens_bring_subscriptions,
    a_token_s_subscription_that_cannot_be_had_refuses_the_connection,
    refreshed_tokens,
    an_expired_connection_is_3005,
    an_expired_subscription_is_2501,
}

const WITH_SECRET: (&str, &str) = ("FANTAIL_AUTH_HMAC_SECRET", SECRET);

fn without_a_token_101(driver: &str) {
    let server = Server::start(driver, &[WITH_SECRET, ("FANTAIL_AUTH_ANONYMOUS", "false")]);
    let mut client = Client::open(&server);
    assert_eq!(client.refused("connect", json!({})), 101);
    // An SDK sends its subscriptions right behind; they are passed over, and it comes back with a token.
    client.send("subscribe", json!({"channel": "a"}));
    client.peer.send(Frame::ping("still here"));
    client.peer.expect(Frame::pong("still here"));
    Client::connect_with_token(&server, &token(&json!({"sub": "42"})));
}

fn a_token_opens_no_channel_for_nobody(driver: &str) {
    let server = Server::start(driver, &[WITH_SECRET, ("FANTAIL_HUB_SUBSCRIBE", "nobody")]);
    let mut client = Client::connect_with_token(&server, &token(&json!({"sub": "42"})));
    let with_token = json!({"channel": "a", "token": token(&json!({"sub": "42", "channel": "a"}))});
    assert_eq!(client.refused("subscribe", with_token), 103);
}

fn a_channel_token_publishes_where_tokens_may(driver: &str) {
    let server = Server::start(driver, &[WITH_SECRET, ("FANTAIL_HUB_PUBLISH", "token")]);
    let mut client = Client::connect_with_token(&server, &token(&json!({"sub": "42"})));
    assert_eq!(client.refused("publish", json!({"channel": "a", "data": 1})), 103);
    client.ask("subscribe", json!({"channel": "a", "token": token(&json!({"sub": "42", "channel": "a"}))}));
    client.ask("publish", json!({"channel": "a", "data": 1}));
    assert_eq!(client.publication("a")["data"], 1);
}

fn tokens_connect(driver: &str) {
    let server = Server::start(driver, &[WITH_SECRET]);
    let connect = |claims: Value| {
        let mut client = Client::open(&server);
        client.send("connect", json!({"token": token(&claims)}));
        client
    };
    let connected = connect(json!({"sub": "42"})).reply();
    assert!(connected["connect"]["expires"].is_null() && connected["connect"]["ttl"].is_null(), "{connected}");
    let connected = connect(json!({"sub": "42", "exp": seconds_from_now(600)})).reply();
    assert_eq!(connected["connect"]["expires"], true, "{connected}");
    assert!(connected["connect"]["ttl"].as_u64().is_some_and(|ttl| (500..=600).contains(&ttl)), "{connected}");
    assert_eq!(connect(json!({"sub": "42", "exp": seconds_from_now(-1)})).reply()["error"]["code"], 109);
    connect(json!({"sub": "42", "channel": "a"})).expect_close(3500);
    for wrong in ["no token", &format!("{}A", token(&json!({"sub": "42"}))), "eyJhbGciOiJub25lIn0.eyJzdWIiOiI0MiJ9."] {
        let mut client = Client::open(&server);
        client.send("connect", json!({"token": wrong}));
        client.expect_close(3500);
    }
}

fn tokens_subscribe(driver: &str) {
    let server =
        Server::start(driver, &[WITH_SECRET, ("FANTAIL_HUB_NAMESPACES_VIP_SUBSCRIBE", "token"), ("FANTAIL_HUB_SUBSCRIBE", "users")]);
    let mut client = Client::connect_with_token(&server, &token(&json!({"sub": "42"})));
    client.subscribe("a");
    assert_eq!(client.refused("subscribe", json!({"channel": "vip:a"})), 103);
    assert_eq!(client.refused("subscribe", json!({"channel": "vip:a", "token": token(&json!({"channel": "vip:a", "sub": "43"}))})), 103);
    let claims = json!({"channel": "vip:a", "sub": "42", "exp": seconds_from_now(600)});
    let subscribed = client.ask("subscribe", json!({"channel": "vip:a", "token": token(&claims)}));
    assert!(subscribed["expires"] == true && subscribed["ttl"].is_u64(), "{subscribed}");
    server.publish("vip:a", "1");
    assert_eq!(client.publication("vip:a")["data"], 1);
}

/// Subscribes to as many channels in one message.
fn subscribe_with(client: &mut Client, count: usize, token: &str) {
    let command = |index: usize| json!({"id": index + 1, "subscribe": {"channel": format!("c{index}"), "token": token}}).to_string();
    client.peer.send(Frame::text((0..count).map(command).collect::<Vec<_>>().join("\n")));
}

fn too_many_wrong_tokens_are_3509(driver: &str) {
    let server = Server::start(driver, &[WITH_SECRET]);
    let wrong = format!("{}A", token(&json!({"channel": "a"})));
    let mut at_once = Client::connect(&server);
    subscribe_with(&mut at_once, 1_000, &wrong);
    let mut one_by_one = Client::connect(&server);
    for _ in 0..10 {
        assert_eq!(at_once.reply()["error"]["code"], 103);
        assert_eq!(one_by_one.refused("subscribe", json!({"channel": "a", "token": wrong})), 103);
        one_by_one.subscribe("a");
        one_by_one.ask("unsubscribe", json!({"channel": "a"}));
    }
    at_once.expect_close(3509);
    one_by_one.send("subscribe", json!({"channel": "a", "token": wrong}));
    one_by_one.expect_close(3509);
}

fn many_tokens_that_have_ended_are_109(driver: &str) {
    let server = Server::start(driver, &[WITH_SECRET]);
    let mut client = Client::connect(&server);
    subscribe_with(&mut client, 1_000, &token(&json!({"channel": "a", "exp": 1})));
    (0..1_000).for_each(|_| assert_eq!(client.reply()["error"]["code"], 109));
    client.subscribe("a");
}

fn tokens_bring_subscriptions(driver: &str) {
    let with_history = ("FANTAIL_HUB_NAMESPACES_RICH_HISTORY_SIZE", "10");
    let server = Server::start(driver, &[with_history, WITH_SECRET, ("FANTAIL_HUB_SUBSCRIBE", "nobody")]);
    (1..=3).for_each(|index| assert_ne!(server.publish("rich:a", &index.to_string()), 0));
    server.publish("b", "1");
    let token = token(&json!({"sub": "42", "channels": ["rich:a", "b"]}));
    let mut client = Client::open(&server);
    let connected = client.ask("connect", json!({"token": token}));
    let subs = &connected["subs"];
    // SDKs look at what is in the reply only where it is recovered; what is not follows.
    assert!(subs["b"]["publications"].is_null(), "{connected}");
    assert_eq!((&subs["rich:a"]["offset"], &subs["rich:a"]["recoverable"]), (&json!(3), &json!(true)), "{connected}");
    let first = [client.push(), client.push()];
    for (channel, value) in [("b", 1), ("rich:a", 3)] {
        assert!(first.iter().any(|push| push["channel"] == channel && push["pub"]["data"] == value), "{first:?}");
    }
    server.publish("b", "2");
    assert_eq!(client.publication("b")["data"], 2);
    // After a cut they are recovered.
    drop(client);
    server.publish("rich:a", "4");
    let mut client = Client::open(&server);
    let known = json!({"rich:a": {"recover": true, "offset": 3, "epoch": subs["rich:a"]["epoch"]}});
    let connected = client.ask("connect", json!({"token": token, "subs": known}));
    let recovered = &connected["subs"]["rich:a"];
    assert_eq!((&recovered["recovered"], &recovered["publications"][0]["data"]), (&json!(true), &json!(4)), "{connected}");
    assert_eq!(recovered["publications"].as_array().map(Vec::len), Some(1), "{connected}");
}

fn a_token_s_subscription_that_cannot_be_had_refuses_the_connection(driver: &str) {
    let server = Server::start(driver, &[WITH_SECRET]);
    let mut client = Client::open(&server);
    let token = token(&json!({"sub": "42", "channels": ["a", "c".repeat(256)]}));
    assert_eq!(client.refused("connect", json!({ "token": token })), 107);
    // The subscriptions that could be had have ended with it.
    eventually("nothing is subscribed to", || server.metric("fantail_channels") == 0);
}

fn refreshed_tokens(driver: &str) {
    let server = Server::start(driver, &[WITH_SECRET, ("FANTAIL_HUB_NAMESPACES_VIP_SUBSCRIBE", "token")]);
    let ends = seconds_from_now(600);
    let mut client = Client::connect_with_token(&server, &token(&json!({"sub": "42", "exp": ends})));
    let refreshed = client.ask("refresh", json!({"token": token(&json!({"sub": "42", "exp": ends + 3_000}))}));
    assert!(refreshed["expires"] == true && refreshed["ttl"].as_u64().is_some_and(|ttl| ttl > 3_000), "{refreshed}");
    let for_channel = |exp: i64| json!({"channel": "vip:a", "token": token(&json!({"sub": "42", "channel": "vip:a", "exp": exp}))});
    assert_eq!(client.refused("sub_refresh", for_channel(ends)), 103);
    client.ask("subscribe", for_channel(ends));
    let refreshed = client.ask("sub_refresh", for_channel(ends + 3_000));
    assert!(refreshed["expires"] == true && refreshed["ttl"].as_u64().is_some_and(|ttl| ttl > 3_000), "{refreshed}");
    // After an error SDKs would give up; so told, they subscribe again with a newer token.
    client.ask("sub_refresh", for_channel(1));
    let push = client.push();
    assert_eq!((&push["channel"], &push["unsubscribe"]["code"]), (&json!("vip:a"), &json!(2501)), "{push}");
    assert_eq!(client.refused("sub_refresh", for_channel(ends)), 103);
    // Another's token is none.
    client.send("refresh", json!({"token": token(&json!({"sub": "43"}))}));
    client.expect_close(3500);
    // So closed, they come back with a newer token.
    let mut late = Client::connect_with_token(&server, &token(&json!({"sub": "42", "exp": ends})));
    late.send("refresh", json!({"token": token(&json!({"sub": "42", "exp": 1}))}));
    late.expect_close(3005);
}

/// Tokens end to the second, and are looked at with each ping.
const QUICK_ENDS: [(&str, &str); 3] =
    [WITH_SECRET, ("FANTAIL_TIMEOUTS_PING_INTERVAL_MS", "100"), ("FANTAIL_TIMEOUTS_TOKEN_GRACE_MS", "1000")];

/// Answers pings until the close.
fn expect_close_after_pings(client: &mut Client, code: u16) {
    loop {
        let frame = client.peer.message();
        if frame.opcode == Frame::CLOSE {
            assert_eq!(frame.payload[..2], code.to_be_bytes(), "{}", frame.payload.escape_ascii());
            return;
        }
        assert_eq!(frame, Frame::text("{}"));
        client.peer.send(frame);
    }
}

fn an_expired_connection_is_3005(driver: &str) {
    let server = Server::start(driver, &QUICK_ENDS);
    let claims = json!({"sub": "42", "exp": seconds_from_now(2)});
    let mut client = Client::connect_with_token(&server, &token(&claims));
    let mut lasting = Client::connect_with_token(&server, &token(&json!({"sub": "42"})));
    expect_close_after_pings(&mut client, 3005);
    lasting.expect_no_push();
}

fn an_expired_subscription_is_2501(driver: &str) {
    let server = Server::start(driver, &QUICK_ENDS);
    let mut client = Client::connect_with_token(&server, &token(&json!({"sub": "42"})));
    let claims = json!({"sub": "42", "channel": "a", "exp": seconds_from_now(2)});
    client.ask("subscribe", json!({"channel": "a", "token": token(&claims)}));
    client.subscribe("b");
    let push = client.push();
    assert_eq!((&push["channel"], &push["unsubscribe"]["code"]), (&json!("a"), &json!(2501)), "{push}");
    server.publish("a", "1");
    server.publish("b", "2");
    assert_eq!(client.publication("b")["data"], 2);
    assert_eq!(client.subscribe("a")["publications"][0]["data"], 1);
}
