//! What a subscription begins with: last values, what is recovered after a cut, and that nothing is missing between that and what follows.
//!
//! Half of the subscribers agree to permessage-deflate; they get the same.

use std::thread;

use fantail_tests::{Client, Peer, Random, Server, eventually, offset, offsets, on_each_driver};
use serde_json::{Value, json};

on_each_driver! {
    nothing_is_missing_after_the_reply,
    cut_connections_recover,
    recovery_is_never_partial,
    history_ends_with_time,
    the_last_value_is_kept,
    the_last_value_is_not_kept,
    forgotten_channels_begin_anew,
    ten_thousand_keys_begin_a_subscription,
}

fn nothing_is_missing_after_the_reply(driver: &str) {
    const PUBLISHERS: usize = 4;
    const EACH: u64 = 600;
    let server = Server::start(driver, &[]);
    thread::scope(|scope| {
        for publisher in 0..PUBLISHERS {
            let mut connection = server.publisher();
            scope.spawn(move || (0..EACH).for_each(|index| assert_ne!(connection.publish("news", &format!("[{publisher},{index}]")), 0)));
        }
        for seed in 0..4 {
            let server = &server;
            scope.spawn(move || {
                let mut random = Random::new(seed);
                for round in 0..10 {
                    let mut client = Client::connect_nth(server, round);
                    let subscribed = client.subscribe("news");
                    let mut last = offset(&subscribed);
                    assert_eq!(offsets(&subscribed), if last == 0 { vec![] } else { vec![last] }, "{subscribed}");
                    let mut next = [None; PUBLISHERS];
                    for _ in 0..random.below(300) {
                        if last == PUBLISHERS as u64 * EACH {
                            break;
                        }
                        let publication = client.publication("news");
                        last += 1;
                        assert_eq!(offset(&publication), last, "{publication}");
                        let (publisher, index) = (&publication["data"][0], publication["data"][1].as_u64().expect("an index"));
                        let next = &mut next[publisher.as_u64().expect("a publisher") as usize];
                        assert!(next.is_none_or(|next| next == index), "{publication}");
                        *next = Some(index + 1);
                    }
                }
            });
        }
    });
}

fn with_history(size: &'static str) -> [(&'static str, &'static str); 2] {
    [("FANTAIL_HUB_HISTORY_SIZE", size), ("FANTAIL_HUB_LAST_VALUE", "false")]
}

fn cut_connections_recover(driver: &str) {
    const LAST: u64 = 3_000;
    let server = Server::start(driver, &with_history("10000"));
    thread::scope(|scope| {
        let mut publisher = server.publisher();
        scope.spawn(move || (1..=LAST).for_each(|index| assert_eq!(publisher.publish("news", &index.to_string()), index)));
        for seed in 0..4 {
            let server = &server;
            scope.spawn(move || {
                let mut random = Random::new(seed);
                // Without a subscriber, a channel that nobody has published to yet would be forgotten, and begin anew.
                let mut keeper = Client::connect_nth(server, 0);
                let epoch = keeper.subscribe("news")["epoch"].clone();
                let mut last = 0;
                let mut rounds = 0;
                while last < LAST {
                    let mut client = Client::connect_nth(server, rounds);
                    rounds += 1;
                    let known = json!({"channel": "news", "recover": true, "offset": last, "epoch": epoch});
                    let subscribed = client.ask("subscribe", known);
                    assert_eq!(subscribed["recovered"], true, "{subscribed}");
                    // What it missed begins where it was.
                    let missed = offsets(&subscribed);
                    assert_eq!(offset(&subscribed), last, "{subscribed}");
                    assert_eq!(missed, (last + 1..=last + missed.len() as u64).collect::<Vec<_>>());
                    last += missed.len() as u64;
                    for _ in 0..random.below(400) {
                        if last < LAST {
                            let publication = client.publication("news");
                            last += 1;
                            assert_eq!((offset(&publication), &publication["data"]), (last, &json!(last)));
                        }
                    }
                    if seed.is_multiple_of(2) {
                        client.peer.reset();
                    }
                }
            });
        }
    });
}

fn recovery_is_never_partial(driver: &str) {
    const LAST: u64 = 20;
    const KEPT: u64 = 5;
    let server = Server::start(driver, &[("FANTAIL_HUB_HISTORY_SIZE", "5")]);
    for index in 1..=LAST {
        server.publish("news", &index.to_string());
    }
    let mut client = Client::connect_nth(&server, 0);
    let epoch = client.subscribe("news")["epoch"].clone();
    let mut recover = |offset: u64, epoch: &Value| {
        client.ask("unsubscribe", json!({"channel": "news"}));
        client.ask("subscribe", json!({"channel": "news", "recover": true, "offset": offset, "epoch": epoch}))
    };
    for from in 0..=LAST + 1 {
        for (epoch, is_ours) in [(&epoch, true), (&json!(""), true), (&json!("ffffffff"), false), (&json!("no epoch"), false)] {
            let subscribed = recover(from, epoch);
            let recovers = is_ours && (LAST - KEPT..=LAST).contains(&from);
            assert_eq!(subscribed["was_recovering"], true, "{subscribed}");
            assert_eq!(subscribed["recovered"].as_bool().unwrap_or_default(), recovers, "from {from} of {epoch}: {subscribed}");
            // Where it cannot recover it gets what everybody gets.
            assert_eq!(offsets(&subscribed), if recovers { (from + 1..=LAST).collect() } else { vec![LAST] }, "from {from}: {subscribed}");
        }
    }
}

fn history_ends_with_time(driver: &str) {
    let server = Server::start(driver, &[&with_history("10")[..], &[("FANTAIL_HUB_HISTORY_TTL_MS", "300")]].concat());
    let mut client = Client::connect_nth(&server, 0);
    let epoch = client.subscribe("news")["epoch"].clone();
    for index in 1..=3 {
        server.publish("news", &index.to_string());
        assert_eq!(offset(&client.publication("news")), index);
    }
    let everything = json!({"channel": "news", "limit": -1});
    eventually("the history is empty", || offsets(&client.ask("history", everything.clone())).is_empty());
    let at = |offset: u64| json!({"channel": "news", "recover": true, "offset": offset, "epoch": epoch});
    for (from, recovers) in [(2, Value::Null), (3, json!(true))] {
        let subscribed = Client::connect_nth(&server, 0).ask("subscribe", at(from));
        assert_eq!((&subscribed["recovered"], offsets(&subscribed)), (&recovers, vec![]), "{subscribed}");
    }
}

fn the_last_value_is_kept(driver: &str) {
    let server = Server::start(driver, &[]);
    server.publish("news", "1");
    server.publish("news", r#"{"big": 12345678901234567890123}"#);
    for index in 0..4 {
        let subscribed = Client::connect_nth(&server, index).subscribe("news");
        assert_eq!((offset(&subscribed), offsets(&subscribed)), (2, vec![2]), "{subscribed}");
    }
    // Who has it already gets nothing, who has less gets the last; both have recovered.
    let mut client = Client::connect_nth(&server, 0);
    let subscribed = client.ask("subscribe", json!({"channel": "news", "recoverable": true}));
    assert_eq!(subscribed["recoverable"], true, "{subscribed}");
    for (from, expected) in [(2, vec![]), (1, vec![2]), (0, vec![2])] {
        client.ask("unsubscribe", json!({"channel": "news"}));
        let known = json!({"channel": "news", "recover": true, "offset": from, "epoch": subscribed["epoch"]});
        let recovered = client.ask("subscribe", known);
        assert_eq!((&recovered["recovered"], offsets(&recovered)), (&json!(true), expected), "{recovered}");
    }
}

fn the_last_value_is_not_kept(driver: &str) {
    let server = Server::start(driver, &[("FANTAIL_HUB_LAST_VALUE", "false")]);
    server.publish("news", "1");
    let mut client = Client::connect_nth(&server, 0);
    let subscribed = client.subscribe("news");
    assert_eq!((offset(&subscribed), offsets(&subscribed)), (1, vec![]), "{subscribed}");
    server.publish("news", "2");
    assert_eq!(offset(&client.publication("news")), 2);
}

fn forgotten_channels_begin_anew(driver: &str) {
    let server = Server::start(driver, &[("FANTAIL_HUB_VALUE_TTL_MS", "100")]);
    server.publish("used", "1");
    let mut client = Client::connect_nth(&server, 0);
    let used = client.subscribe("used")["epoch"].clone();
    server.publish("news", "1");
    let mut visitor = Client::connect_nth(&server, 1);
    let epoch = visitor.subscribe("news")["epoch"].clone();
    eventually("a channel is forgotten when its last subscriber goes", || {
        visitor.ask("unsubscribe", json!({"channel": "news"}));
        let subscribed = visitor.subscribe("news");
        let is_new = subscribed["epoch"] != epoch;
        assert_eq!(offsets(&subscribed).is_empty(), is_new, "{subscribed}");
        is_new
    });
    // One that somebody subscribes to is not forgotten.
    let subscribed = Client::connect_nth(&server, 1).subscribe("used");
    assert_eq!((&subscribed["epoch"], offsets(&subscribed)), (&used, vec![1]));
    // Nor does a channel stay that nobody ever subscribed to.
    visitor.ask("unsubscribe", json!({"channel": "news"}));
    server.publish("nobody's", "1");
    eventually("only the channel in use is left", || server.metric("fantail_channels") == 1);
}

/// Too much for a reply: they follow it.
fn ten_thousand_keys_begin_a_subscription(driver: &str) {
    const KEYS: u64 = 10_000;
    let server = Server::start(driver, &[("FANTAIL_HUB_KEYS_MAX", "10000")]);
    let commands: Vec<Value> =
        (1..=KEYS).map(|index| json!({"publish": {"channel": "t", "key": index.to_string(), "data": format!("{index:0100}")}})).collect();
    let answers = commands.chunks(2_500).map(|commands| {
        let mut peer = Peer::connect(server.internal);
        let body = json!({ "commands": commands }).to_string();
        peer.send(format!("POST /api/batch HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
        peer.response().status
    });
    assert!(answers.into_iter().all(|status| status == 200));
    let mut client = Client::connect_nth(&server, 0);
    let subscribed = client.subscribe("t");
    assert_eq!((offset(&subscribed), offsets(&subscribed)), (KEYS, vec![]));
    for index in 1..=KEYS {
        let publication = client.publication("t");
        assert_eq!((offset(&publication), &publication["data"]), (index, &json!(format!("{index:0100}"))));
    }
    client.expect_no_push();
}
