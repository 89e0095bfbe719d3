//! What subscribers of the client protocol get: in which order, at which rate, and what is left out for whom. What they begin with is in
//! `recovery.rs`.
//!
//! Half of the subscribers agree to permessage-deflate; they get the same.

use std::thread;

use fantail_tests::{Client, Frame, Peer, Publisher, Random, Server, offset, offsets, on_each_driver};
use serde_json::{Value, json};

on_each_driver! {
    join_and_leave_need_no_presence,
    deltas_of_what_is_no_json_are_json_still,
    who_is_slow_skips_to_the_newest,
    who_is_slow_loses_the_oldest,
    who_is_slow_is_disconnected_and_recovers,
    only_the_conflating_channel_is_conflated,
    no_channel_starves,
    a_subscription_is_not_held_to_what_another_missed,
    the_newest_arrives_at_any_rate,
    a_new_rate_loses_nothing_that_is_newest,
    deltas_make_the_same,
    deltas_after_what_was_missed,
    a_thousand_channels,
    publications_tell_their_key,
}

const BIG: usize = 32_000;

/// A value that is big, and does not compress.
fn big(index: u64) -> String {
    let mut random = Random::new(index);
    let padding: String = random.bytes(BIG / 2).iter().map(|byte| format!("{byte:02x}")).collect();
    format!(r#"{{"index":{index},"padding":"{padding}"}}"#)
}

/// Publishes big values to `channel` while nobody but `reader` reads; it gets all of them. The server does not hold them for the others.
fn flood(server: &Server, publisher: &mut Publisher, reader: &mut Client, channel: &str, count: u64) {
    let before = server.rss_bytes();
    for index in 1..=count {
        let body = format!(r#"{{"channel":"{channel}","data":{}}}"#, big(index));
        // A worker that is behind takes no more than its mailbox holds.
        let last = std::iter::repeat_with(|| publisher.call(&body)).find_map(|answer| answer["result"]["offset"].as_u64()).expect("room");
        // In step, so that this reader is never behind, however busy the machine is.
        let publication = reader.publication(channel);
        assert_eq!((offset(&publication), publication["data"]["index"].as_u64()), (last, Some(index)));
    }
    let growth = server.rss_bytes().saturating_sub(before);
    assert!(growth < 16 << 20, "{count} values of {BIG} bytes cost {growth} bytes");
}

/// A server of which the workers may be behind by little.
fn start_tight(driver: &str, env: &[(&str, &str)]) -> Server {
    Server::start(driver, &[env, &[("FANTAIL_LIMITS_MAILBOX_BYTES_MAX", "1048576")]].concat())
}

/// More than the sockets on the way hold.
const MANY: u64 = 600;

fn sleepers(server: &Server, channel: &str) -> Vec<Client> {
    (0..4)
        .map(|index| {
            let mut client = Client::connect_nth(server, index);
            client.subscribe(channel);
            client
        })
        .collect()
}

fn who_is_slow_skips_to_the_newest(driver: &str) {
    let server = start_tight(driver, &[]);
    let (mut sleepers, mut reader) = (sleepers(&server, "news"), Client::connect_nth(&server, 0));
    reader.subscribe("news");
    flood(&server, &mut server.publisher(), &mut reader, "news", MANY);
    for sleeper in &mut sleepers {
        let (mut seen, mut received) = (0, 0);
        while seen < MANY {
            let publication = sleeper.publication("news");
            assert!(offset(&publication) > seen, "{} after {seen}", offset(&publication));
            assert_eq!(publication["data"]["index"], publication["offset"]);
            seen = offset(&publication);
            received += 1;
        }
        assert!(received < MANY, "nothing was skipped");
        sleeper.expect_no_push();
    }
    server.publish("news", "1");
    sleepers.iter_mut().for_each(|sleeper| assert_eq!(offset(&sleeper.publication("news")), MANY + 1));
}

fn who_is_slow_loses_the_oldest(driver: &str) {
    let server = start_tight(driver, &[("FANTAIL_HUB_SLOW", "drop_oldest"), ("FANTAIL_HUB_SLOW_BYTES_MAX", "400000")]);
    let (mut sleepers, mut reader) = (sleepers(&server, "news"), Client::connect_nth(&server, 0));
    reader.subscribe("news");
    flood(&server, &mut server.publisher(), &mut reader, "news", MANY);
    for sleeper in &mut sleepers {
        let mut seen = vec![0];
        while seen.last() != Some(&MANY) {
            seen.push(offset(&sleeper.publication("news")));
        }
        assert!(seen.is_sorted_by(|before, after| before < after), "{seen:?}");
        let in_a_row = seen.windows(2).rev().take_while(|pair| pair[0] + 1 == pair[1]).count();
        assert!(seen.len() < MANY as usize, "nothing was dropped");
        // Half of the limit is left of the newest, but for one that was begun.
        assert!(in_a_row >= 3, "{in_a_row} at the end: {seen:?}");
        sleeper.expect_no_push();
    }
}

fn who_is_slow_is_disconnected_and_recovers(driver: &str) {
    let server = Server::start(
        driver,
        &[
            ("FANTAIL_HUB_HISTORY_SIZE", "10000"),
            ("FANTAIL_HUB_LAST_VALUE", "false"),
            ("FANTAIL_HUB_SLOW", "disconnect"),
            ("FANTAIL_HUB_SLOW_BYTES_MAX", "65536"),
            ("FANTAIL_TIMEOUTS_CLOSE_MS", "60000"),
        ],
    );
    let (mut sleepers, mut reader) = (sleepers(&server, "news"), Client::connect_nth(&server, 0));
    let epoch = reader.subscribe("news")["epoch"].clone();
    // The close waits for who reads nothing. What it missed fits into one reply.
    const MANY: u64 = 200;
    let mut publisher = server.publisher();
    for index in 1..=MANY {
        publisher.publish("news", &big(index));
        assert_eq!(offset(&reader.publication("news")), index);
    }
    for (index, sleeper) in sleepers.iter_mut().enumerate() {
        let mut seen = 0;
        let close = loop {
            let frame = sleeper.peer.message();
            if frame.opcode == Frame::CLOSE {
                break frame;
            }
            let push: Value = serde_json::from_slice(&frame.payload).expect("one push");
            seen += 1;
            assert_eq!(offset(&push["push"]["pub"]), seen, "before the close");
        };
        assert_eq!(close.payload[..2], 3008_u16.to_be_bytes(), "{}", close.payload.escape_ascii());
        let mut again = Client::connect_nth(&server, index);
        let recovered = again.ask("subscribe", json!({"channel": "news", "recover": true, "offset": seen, "epoch": epoch}));
        assert_eq!((&recovered["recovered"], offsets(&recovered)), (&json!(true), (seen + 1..=MANY).collect()));
    }
}

fn only_the_conflating_channel_is_conflated(driver: &str) {
    const OTHERS: u64 = 60;
    let server =
        start_tight(driver, &[("FANTAIL_HUB_NAMESPACES_EVENTS_SLOW", "disconnect"), ("FANTAIL_HUB_NAMESPACES_LOG_SLOW", "drop_oldest")]);
    let (mut sleepers, mut reader) = (sleepers(&server, "news"), Client::connect_nth(&server, 0));
    for sleeper in &mut sleepers {
        sleeper.subscribe("events:a");
        sleeper.subscribe("log:a");
    }
    reader.subscribe("news");
    let mut publisher = server.publisher();
    for index in 1..=OTHERS {
        flood(&server, &mut publisher, &mut reader, "news", MANY / OTHERS);
        assert_eq!(publisher.publish("events:a", "1"), index);
        assert_eq!(publisher.publish("log:a", "1"), index);
    }
    for sleeper in &mut sleepers {
        let mut seen = [0, 0, 0];
        while seen != [MANY, OTHERS, OTHERS] {
            let push = sleeper.push();
            let (channel, offset) = (&push["channel"], offset(&push["pub"]));
            let place = ["news", "events:a", "log:a"].iter().position(|name| channel == name).expect("a channel of ours");
            assert!(offset > seen[place], "{offset} of {channel} after {seen:?}");
            assert!(place == 0 || offset == seen[place] + 1, "{offset} of {channel} after {seen:?}");
            seen[place] = offset;
        }
    }
}

fn no_channel_starves(driver: &str) {
    const CHANNELS: usize = 40;
    const ROUNDS: u64 = 20;
    let server = Server::start(driver, &[]);
    let mut sleeper = Client::connect_nth(&server, 0);
    let name = |index: usize| format!("news{index}");
    (0..CHANNELS).for_each(|index| assert_eq!(offset(&sleeper.subscribe(&name(index))), 0));
    let mut publisher = server.publisher();
    let mut round = |round: u64| {
        for index in 0..CHANNELS {
            assert_eq!(publisher.publish(&name(index), &big(round)), round);
        }
    };
    (1..=ROUNDS).for_each(&mut round);
    // More comes while it catches up.
    let (mut seen, mut last) = ([0; CHANNELS], ROUNDS);
    while seen != [last; CHANNELS] {
        let push = sleeper.push();
        let index = (0..CHANNELS).find(|&index| push["channel"] == name(index)).expect("a channel of ours");
        let offset = offset(&push["pub"]);
        assert!(offset > seen[index], "{offset} of {index} after {}", seen[index]);
        seen[index] = offset;
        if last < 2 * ROUNDS && seen.iter().filter(|&&seen| seen == last).count() == CHANNELS / 2 {
            last += 1;
            round(last);
        }
    }
    sleeper.expect_no_push();
}

fn a_subscription_is_not_held_to_what_another_missed(driver: &str) {
    const FIRST: u64 = 180;
    let server = start_tight(driver, &[("FANTAIL_LIMITS_OUTBOX_BYTES_MAX", "4194304"), ("FANTAIL_HUB_SLOW_BYTES_MAX", "4194304")]);
    let (mut publisher, mut reader) = (server.publisher(), Client::connect_nth(&server, 0));
    reader.subscribe("first");
    let mut sleeper = Client::connect_nth(&server, 0);
    sleeper.subscribe("first");
    // So much that some of it waits for the connection, and not so much that any is left out.
    for index in 1..=FIRST {
        publisher.publish("first", &big(index));
        assert_eq!(offset(&reader.publication("first")), index);
    }
    assert_eq!(server.metric("fantail_conflated_total"), 0);
    (1..=2 * FIRST).for_each(|index| assert_eq!(publisher.publish("second", "1"), index));
    // The next subscription takes the place of the one that ends, of which frames still wait.
    sleeper.send("unsubscribe", json!({"channel": "first"}));
    let second = sleeper.send("subscribe", json!({"channel": "second"}));
    sleeper.send("subscribe", json!({"channel": "third"}));
    reader.subscribe("third");
    flood(&server, &mut publisher, &mut reader, "third", MANY);
    let replies = [sleeper.reply(), sleeper.reply(), sleeper.reply()];
    let subscribed = replies.iter().find(|reply| reply["id"] == second).expect("a reply to each");
    let mut seconds = offsets(&subscribed["subscribe"]);
    let mut thirds = 0;
    while thirds < MANY {
        let push = sleeper.push();
        match push["channel"].as_str() {
            Some("second") => seconds.push(offset(&push["pub"])),
            Some("third") => thirds = offset(&push["pub"]),
            _ => {}
        }
    }
    sleeper.ask("ping", json!({}));
    assert_eq!(seconds, [2 * FIRST]);
    sleeper.expect_no_push();
}

fn the_newest_arrives_at_any_rate(driver: &str) {
    const LAST: u64 = 200;
    let server = Server::start(driver, &[]);
    let mut clients: Vec<(u64, Client)> = [(1, 1), (4, 4), (7, 4), (10, 10), (30, 30), (1000, 30)]
        .iter()
        .enumerate()
        .map(|(index, (wanted, granted))| {
            let mut client = Client::connect_nth(&server, index);
            let subscribed = client.ask("subscribe", json!({"channel": "news", "data": {"rate": wanted}}));
            assert_eq!(subscribed["data"], json!({"rate": granted}), "{wanted}");
            (*granted, client)
        })
        .collect();
    let mut all = Client::connect_nth(&server, 0);
    all.subscribe("news");
    let mut publisher = server.publisher();
    for index in 1..=LAST {
        publisher.publish("news", &index.to_string());
    }
    (1..=LAST).for_each(|index| assert_eq!(offset(&all.publication("news")), index));
    for (rate, client) in &mut clients {
        let (mut seen, mut received) = (0, 0);
        while seen < LAST {
            let publication = client.publication("news");
            assert!(offset(&publication) > seen, "{publication} after {seen}");
            (seen, received) = (offset(&publication), received + 1);
        }
        assert!(received < LAST, "rate {rate}: nothing was left out");
    }
    // From here on the slowest gets every publication.
    let (_, client) = &mut clients[0];
    let changed = client.ask("rpc", json!({"method": "sub.rate", "data": {"channel": "news", "rate": null}}));
    assert_eq!(changed["data"], json!({"rate": 0}));
    for index in 1..=20 {
        publisher.publish("news", "1");
        assert_eq!(offset(&client.publication("news")), LAST + index);
    }
}

fn a_new_rate_loses_nothing_that_is_newest(driver: &str) {
    let server = Server::start(driver, &[]);
    let mut client = Client::connect_nth(&server, 0);
    client.ask("subscribe", json!({"channel": "news", "data": {"rate": 1}}));
    let mut publisher = server.publisher();
    for (round, rate) in [json!(30), json!(1), json!(null), json!(4)].into_iter().enumerate() {
        let last = (0..5).map(|_| publisher.publish("news", &round.to_string())).last().expect("five");
        // By its answer the publications have reached the client's worker.
        client.ask("ping", json!({}));
        client.ask("rpc", json!({"method": "sub.rate", "data": {"channel": "news", "rate": rate}}));
        while offset(&client.publication("news")) < last {}
    }
}

/// A number of a delta in Fossil's format, and the byte behind it.
fn number(delta: &mut &[u8]) -> (usize, u8) {
    const DIGITS: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~";
    let mut value = 0;
    loop {
        let (byte, rest) = delta.split_first().expect("a number ends");
        *delta = rest;
        match DIGITS.iter().position(|digit| digit == byte) {
            Some(digit) => value = value << 6 | digit,
            None => return (value, *byte),
        }
    }
}

/// What a delta makes of its base, by the book; the checksum is left to the comparison with what was published.
fn apply(base: &[u8], mut delta: &[u8]) -> Vec<u8> {
    let mut target = Vec::new();
    let (size, end) = number(&mut delta);
    assert_eq!(end, b'\n');
    loop {
        match number(&mut delta) {
            (length, b'@') => {
                let (from, end) = number(&mut delta);
                assert_eq!(end, b',');
                target.extend(&base[from..from + length]);
            }
            (length, b':') => {
                target.extend(&delta[..length]);
                delta = &delta[length..];
            }
            (_, b';') => break,
            other => panic!("{other:?} in a delta"),
        }
    }
    assert_eq!((delta.len(), target.len()), (0, size));
    target
}

/// The text of a subscription with deltas, as a client keeps it.
#[derive(Default)]
struct Text {
    text: String,
    deltas: usize,
}

impl Text {
    fn take(&mut self, publication: &Value) {
        let data = publication["data"].as_str().unwrap_or_else(|| panic!("no text: {publication}"));
        self.text = if publication["delta"] == true {
            self.deltas += 1;
            String::from_utf8(apply(self.text.as_bytes(), data.as_bytes())).expect("UTF-8")
        } else {
            data.to_owned()
        };
    }
}

const WITH_DELTA: (&str, &str) = ("FANTAIL_HUB_DELTA", "true");

/// Much that stays the same, and little that does not, some of it beyond ASCII.
fn quote(index: u64) -> String {
    let rows: Vec<String> = (0..40)
        .map(|row| format!(r#"{{"row":{row},"näme":"a \"row\" of many","price":{}}}"#, if row == index % 40 { index } else { 0 }))
        .collect();
    format!("[{}]", rows.join(", "))
}

fn subscribe_with_delta(client: &mut Client) -> (Text, u64) {
    let subscribed = client.ask("subscribe", json!({"channel": "news", "delta": "fossil"}));
    assert_eq!(subscribed["delta"], true, "{subscribed}");
    let mut text = Text::default();
    subscribed["publications"].as_array().into_iter().flatten().for_each(|publication| text.take(publication));
    (text, offset(&subscribed))
}

fn deltas_make_the_same(driver: &str) {
    const LAST: u64 = 800;
    let server = Server::start(driver, &[WITH_DELTA]);
    server.publish("news", &quote(1));
    thread::scope(|scope| {
        let mut publisher = server.publisher();
        scope.spawn(move || (2..=LAST).for_each(|index| assert_eq!(publisher.publish("news", &quote(index)), index)));
        for seed in 0..4 {
            let server = &server;
            scope.spawn(move || {
                for round in 0..5 {
                    let mut client = Client::connect_nth(server, seed + round);
                    let (mut text, mut last) = subscribe_with_delta(&mut client);
                    assert_eq!(text.text, quote(last));
                    for _ in 0..150.min(LAST - last) {
                        text.take(&client.publication("news"));
                        last += 1;
                        assert_eq!(text.text, quote(last), "at {last}");
                    }
                    assert!(last == LAST || text.deltas > 0, "no delta");
                }
            });
        }
    });
    // Who did not ask for deltas gets JSON beside those who did, and so does who asks where there are none.
    let mut plain = Client::connect_nth(&server, 1);
    plain.subscribe("news");
    let mut client = Client::connect_nth(&server, 0);
    let (mut text, _) = subscribe_with_delta(&mut client);
    server.publish("news", &quote(LAST + 1));
    text.take(&client.publication("news"));
    assert_eq!(text.text, quote(LAST + 1));
    assert!(plain.publication("news")["data"].is_array());
    // A value that has nothing of the one before it comes in full.
    server.publish("news", "\"so short\"");
    let publication = client.publication("news");
    assert_eq!((&publication["data"], &publication["delta"]), (&json!("\"so short\""), &Value::Null));
    let server = Server::start(driver, &[]);
    server.publish("news", "1");
    let subscribed = Client::connect_nth(&server, 0).ask("subscribe", json!({"channel": "news", "delta": "fossil"}));
    assert_eq!((&subscribed["delta"], &subscribed["publications"][0]["data"]), (&Value::Null, &json!(1)));
}

fn deltas_after_what_was_missed(driver: &str) {
    const LAST: u64 = 60;
    for slow in ["conflate", "drop_oldest"] {
        let server = start_tight(driver, &[WITH_DELTA, ("FANTAIL_HUB_SLOW", slow)]);
        let mut publisher = server.publisher();
        publisher.publish("news", &quote(1));
        let mut sleeper = Client::connect_nth(&server, 0);
        let (mut text, _) = subscribe_with_delta(&mut sleeper);
        sleeper.subscribe("flood");
        let (mut reader, mut seen) = (Client::connect_nth(&server, 0), 1);
        reader.subscribe("flood");
        for index in 2..=LAST {
            flood(&server, &mut publisher, &mut reader, "flood", 10);
            publisher.publish("news", &quote(index));
        }
        while seen < LAST {
            let mut push = sleeper.push();
            if push["channel"] == "news" {
                let publication = push["pub"].take();
                assert!(offset(&publication) > seen, "{publication} after {seen}");
                seen = offset(&publication);
                text.take(&publication);
                assert_eq!(text.text, quote(seen), "{slow}");
            }
        }
        // And from there on deltas again, at a rate too.
        sleeper.ask("unsubscribe", json!({"channel": "flood"}));
        sleeper.ask("rpc", json!({"method": "sub.rate", "data": {"channel": "news", "rate": 30}}));
        for index in 1..=30 {
            publisher.publish("news", &quote(LAST + index));
        }
        while seen < LAST + 30 {
            let mut push = sleeper.push();
            if push["channel"] == "news" {
                let publication = push["pub"].take();
                seen = offset(&publication);
                text.take(&publication);
                assert_eq!(text.text, quote(seen), "{slow}");
            }
        }
    }
}

fn a_thousand_channels(driver: &str) {
    const CHANNELS: usize = 1_000;
    let server = Server::start(driver, &[]);
    let name = |index: usize| format!("ticker:{index}");
    let before = server.held();
    for client in 0..2 {
        let mut client = Client::connect_nth(&server, client);
        let commands: Vec<String> =
            (0..CHANNELS).map(|index| json!({"id": 10 + index, "subscribe": {"channel": name(index)}}).to_string()).collect();
        client.peer.send(Frame::text(commands.join("\n")));
        (0..CHANNELS).for_each(|index| assert_eq!(client.reply()["id"], 10 + index));
        let mut publisher = server.publisher();
        let last = (0..CHANNELS).map(|index| publisher.publish(&name(index), &index.to_string())).last();
        let mut seen = vec![false; CHANNELS];
        for _ in 0..CHANNELS {
            let push = client.push();
            let index = push["pub"]["data"].as_u64().expect("an index") as usize;
            assert_eq!((push["channel"].as_str(), Some(offset(&push["pub"]))), (Some(&*name(index)), last));
            assert!(!std::mem::replace(&mut seen[index], true), "{index} came twice");
        }
        client.expect_no_push();
    }
    server.expect_held(before);
}

fn join_and_leave_need_no_presence(driver: &str) {
    let server = Server::start(driver, &[("FANTAIL_HUB_JOIN_LEAVE", "true")]);
    let mut here = Client::connect_nth(&server, 0);
    here.ask("subscribe", json!({"channel": "room", "join_leave": true}));
    assert!(here.push()["join"].is_object(), "its own");
    let mut other = Client::connect_nth(&server, 1);
    other.subscribe("room");
    assert!(here.push()["join"].is_object());
    other.ask("unsubscribe", json!({"channel": "room"}));
    assert!(here.push()["leave"].is_object());
    assert_eq!(here.refused("presence", json!({"channel": "room"})), 108);
}

fn deltas_of_what_is_no_json_are_json_still(driver: &str) {
    let server = Server::start(driver, &[("FANTAIL_HUB_DELTA", "true"), ("FANTAIL_HUB_PUBLISH", "anyone")]);
    let mut client = Client::connect_nth(&server, 0);
    client.ask("subscribe", json!({"channel": "a", "delta": "fossil"}));
    let mut raw = Peer::upgrade(server.edge, "/raw/a");
    for text in ["hello", "hello again", "hello again and again and again", "{\"now\":\"JSON\"}"] {
        raw.send(Frame::text(text));
        let publication = client.publication("a");
        assert!(publication["delta"].is_null(), "{publication}");
        let value: Value = serde_json::from_str(publication["data"].as_str().expect("text")).expect("JSON");
        assert_eq!(value, serde_json::from_str(text).unwrap_or_else(|_| json!(text)));
    }
}

fn publications_tell_their_key(driver: &str) {
    let server = Server::start(driver, &[("FANTAIL_HUB_KEYS_MAX", "10"), ("FANTAIL_HUB_WILDCARD", "anyone")]);
    let mut publisher = server.publisher();
    let mut publish = |key: &str| {
        let answer = publisher.call(&json!({"channel": "t:1", "data": 1, "key": key}).to_string());
        assert!(answer["result"].is_object(), "{answer}");
    };
    // One of them looks like what a pattern makes of another.
    let keys = ["a", "", "\"", "3:t:1a"];
    keys.iter().for_each(|key| publish(key));
    let expected = keys.map(|key| if key.is_empty() { Value::Null } else { json!(key) });
    for channel in ["t:1", "t:*"] {
        let mut client = Client::connect(&server);
        let begin = client.subscribe(channel);
        let told: Vec<_> = begin["publications"].as_array().expect("values").iter().map(|publication| &publication["key"]).collect();
        assert_eq!(told, expected.each_ref(), "{channel}");
        for (key, expected) in keys.iter().zip(&expected) {
            publish(key);
            assert_eq!(&client.publication(channel)["key"], expected, "{channel}");
        }
    }
}
