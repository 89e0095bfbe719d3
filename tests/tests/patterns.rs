//! Patterns of channels, such as `t:*`: who subscribes to one gets every channel that matches.

use std::{collections::BTreeMap, thread};

use fantail_tests::{Client, Frame, Peer, Server, on_each_driver};
use serde_json::{Value, json};

on_each_driver! {
    values_first_and_then_every_publication,
    whoever_comes_while_a_pattern_begins_gets_all,
    nested_patterns_double_nothing,
    patterns_have_no_place_to_recover_from,
    malformed_patterns_are_107,
    patterns_are_not_for_everyone,
    streams_name_the_channel,
    nobody_publishes_to_a_pattern,
}

const WILDCARD: (&str, &str) = ("FANTAIL_HUB_WILDCARD", "anyone");

/// What a publication of the pattern says: its channel and its data.
fn of(publication: &Value) -> (String, Value) {
    (publication["channel"].as_str().expect("the channel that was published to").into(), publication["data"].clone())
}

fn values_first_and_then_every_publication(driver: &str) {
    let server = Server::start(driver, &[WILDCARD]);
    for (channel, value) in [("t:a", "1"), ("t:b", "1"), ("t:a", "2"), ("u:a", "1"), ("t", "1")] {
        server.publish(channel, value);
    }
    let mut client = Client::connect(&server);
    let subscribed = client.subscribe("t:*");
    let values: Vec<_> = subscribed["publications"].as_array().expect("values").iter().map(of).collect();
    // In the order in which they came to the pattern, which began with all of them at once.
    assert_eq!(values.into_iter().collect::<BTreeMap<_, _>>(), BTreeMap::from([("t:a".into(), json!(2)), ("t:b".into(), json!(1))]));
    for (channel, value) in [("u:a", "2"), ("t:b", "2"), ("t:new", "1"), ("t:b", "3")] {
        server.publish(channel, value);
    }
    let got: Vec<_> = (0..3).map(|_| of(&client.publication("t:*"))).collect();
    assert_eq!(got, [("t:b".into(), json!(2)), ("t:new".into(), json!(1)), ("t:b".into(), json!(3))]);
    client.expect_no_push();
}

fn whoever_comes_while_a_pattern_begins_gets_all(driver: &str) {
    const CHANNELS: usize = 500;
    let server = Server::start(driver, &[WILDCARD]);
    (0..CHANNELS).for_each(|index| assert_eq!(server.publish(&format!("t:{index}"), &index.to_string()), 1));
    let mut clients: Vec<Client> = (0..8).map(|_| Client::connect(&server)).collect();
    for _ in 0..5 {
        thread::scope(|scope| {
            for client in &mut clients {
                scope.spawn(move || {
                    let subscribed = client.subscribe("t:*");
                    let mut values: Vec<_> = subscribed["publications"].as_array().into_iter().flatten().map(of).collect();
                    while values.len() < CHANNELS {
                        values.push(of(&client.publication("t:*")));
                    }
                    let values: BTreeMap<_, _> = values.into_iter().collect();
                    assert!((0..CHANNELS).all(|index| values[&format!("t:{index}")] == index), "{values:?}");
                    client.ask("unsubscribe", json!({"channel": "t:*"}));
                });
            }
        });
    }
}

fn nested_patterns_double_nothing(driver: &str) {
    let server = Server::start(driver, &[WILDCARD]);
    server.publish("t:a1", "1");
    let (mut narrow, mut wide) = (Client::connect(&server), Client::connect(&server));
    for (client, pattern) in [(&mut narrow, "t:a*"), (&mut wide, "t:*")] {
        let subscribed = client.subscribe(pattern);
        assert_eq!(
            subscribed["publications"].as_array().map(|values| values.iter().map(of).collect()),
            Some(vec![("t:a1".into(), json!(1))])
        );
    }
    server.publish("t:a1", "2");
    for (client, pattern) in [(&mut narrow, "t:a*"), (&mut wide, "t:*")] {
        assert_eq!(of(&client.publication(pattern)), ("t:a1".into(), json!(2)));
        client.expect_no_push();
    }
}

fn patterns_have_no_place_to_recover_from(driver: &str) {
    let server = Server::start(driver, &[WILDCARD, ("FANTAIL_HUB_HISTORY_SIZE", "10")]);
    let mut client = Client::connect(&server);
    let wish = json!({"channel": "t:*", "recoverable": true, "positioned": true, "recover": true, "offset": 1, "epoch": ""});
    let subscribed = client.ask("subscribe", wish);
    for claim in ["recoverable", "positioned", "recovered"] {
        assert!(subscribed[claim].is_null(), "{subscribed}");
    }
}

fn malformed_patterns_are_107(driver: &str) {
    let server = Server::start(driver, &[WILDCARD]);
    let mut client = Client::connect(&server);
    for malformed in ["*", "t*", "t:*x", "t*:x", "t:**"] {
        assert_eq!(client.refused("subscribe", json!({ "channel": malformed })), 107, "{malformed}");
    }
}

fn patterns_are_not_for_everyone(driver: &str) {
    let server = Server::start(driver, &[]);
    assert_eq!(Client::connect(&server).refused("subscribe", json!({"channel": "t:*"})), 103);
}

fn streams_name_the_channel(driver: &str) {
    let server = Server::start(driver, &[WILDCARD]);
    server.publish("t:a", "1");
    let mut peer = Peer::upgrade(server.edge, "/stream?channels=t:*");
    peer.expect(Frame::text(r#"{"stream":"t:a","data":1}"#));
    server.publish("t:b", "2");
    peer.expect(Frame::text(r#"{"stream":"t:b","data":2}"#));
}

fn nobody_publishes_to_a_pattern(driver: &str) {
    let server = Server::start(driver, &[WILDCARD, ("FANTAIL_HUB_PUBLISH", "anyone")]);
    let mut client = Client::connect(&server);
    assert_eq!(client.refused("publish", json!({"channel": "t:*", "data": 1})), 107);
    let answer = server.publisher().call(r#"{"channel":"t:*","data":1}"#);
    assert_eq!(answer["error"]["code"], 107, "{answer}");
}
