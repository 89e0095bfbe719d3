//! What subscribers of the client protocol get: from where on, in which order, at which rate, and what is left out for whom.
//!
//! Half of the subscribers agree to permessage-deflate; they get the same.

use std::thread;

use fantail_tests::{Client, Frame, Peer, Publisher, Random, Server, eventually, on_each_driver};
use serde_json::{Value, json};

on_each_driver! {
    join_and_leave_need_no_presence,
    deltas_of_what_is_no_json_are_json_still,
    ten_thousand_keys_begin_a_subscription,
    nothing_is_missing_after_the_reply,
    cut_connections_recover,
    recovery_is_never_partial,
    history_ends_with_time,
    the_last_value_is_kept,
    the_last_value_is_not_kept,
    forgotten_channels_begin_anew,
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
}

/// Connects as the `index`th client: every second one compresses.
fn connect(server: &Server, index: usize) -> Client {
    if index.is_multiple_of(2) { Client::connect(server) } else { Client::open_compressing(server).connected(json!({})) }
}

fn offset(value: &Value) -> u64 {
    value["offset"].as_u64().unwrap_or_default()
}

/// The offsets of the publications of a reply.
fn offsets(reply: &Value) -> Vec<u64> {
    reply["publications"].as_array().into_iter().flatten().map(offset).collect()
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
                    let mut client = connect(server, round);
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
                let mut keeper = connect(server, 0);
                let epoch = keeper.subscribe("news")["epoch"].clone();
                let mut last = 0;
                let mut rounds = 0;
                while last < LAST {
                    let mut client = connect(server, rounds);
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
    let mut client = connect(&server, 0);
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
    let mut client = connect(&server, 0);
    let epoch = client.subscribe("news")["epoch"].clone();
    for index in 1..=3 {
        server.publish("news", &index.to_string());
        assert_eq!(offset(&client.publication("news")), index);
    }
    let everything = json!({"channel": "news", "limit": -1});
    eventually("the history is empty", || offsets(&client.ask("history", everything.clone())).is_empty());
    let at = |offset: u64| json!({"channel": "news", "recover": true, "offset": offset, "epoch": epoch});
    for (from, recovers) in [(2, Value::Null), (3, json!(true))] {
        let subscribed = connect(&server, 0).ask("subscribe", at(from));
        assert_eq!((&subscribed["recovered"], offsets(&subscribed)), (&recovers, vec![]), "{subscribed}");
    }
}

fn the_last_value_is_kept(driver: &str) {
    let server = Server::start(driver, &[]);
    server.publish("news", "1");
    server.publish("news", r#"{"big": 12345678901234567890123}"#);
    for index in 0..4 {
        let subscribed = connect(&server, index).subscribe("news");
        assert_eq!((offset(&subscribed), offsets(&subscribed)), (2, vec![2]), "{subscribed}");
    }
    // Who has it already gets nothing, who has less gets the last; both have recovered.
    let mut client = connect(&server, 0);
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
    let mut client = connect(&server, 0);
    let subscribed = client.subscribe("news");
    assert_eq!((offset(&subscribed), offsets(&subscribed)), (1, vec![]), "{subscribed}");
    server.publish("news", "2");
    assert_eq!(offset(&client.publication("news")), 2);
}

fn forgotten_channels_begin_anew(driver: &str) {
    let server = Server::start(driver, &[("FANTAIL_HUB_VALUE_TTL_MS", "100")]);
    server.publish("used", "1");
    let mut client = connect(&server, 0);
    let used = client.subscribe("used")["epoch"].clone();
    server.publish("news", "1");
    let mut visitor = connect(&server, 1);
    let epoch = visitor.subscribe("news")["epoch"].clone();
    eventually("a channel is forgotten when its last subscriber goes", || {
        visitor.ask("unsubscribe", json!({"channel": "news"}));
        let subscribed = visitor.subscribe("news");
        let is_new = subscribed["epoch"] != epoch;
        assert_eq!(offsets(&subscribed).is_empty(), is_new, "{subscribed}");
        is_new
    });
    // One that somebody subscribes to is not forgotten.
    let subscribed = connect(&server, 1).subscribe("used");
    assert_eq!((&subscribed["epoch"], offsets(&subscribed)), (&used, vec![1]));
    // Nor does a channel stay that nobody ever subscribed to.
    visitor.ask("unsubscribe", json!({"channel": "news"}));
    server.publish("nobody's", "1");
    eventually("only the channel in use is left", || server.metric("fantail_channels") == 1);
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
            let mut client = connect(server, index);
            client.subscribe(channel);
            client
        })
        .collect()
}

fn who_is_slow_skips_to_the_newest(driver: &str) {
    let server = start_tight(driver, &[]);
    let (mut sleepers, mut reader) = (sleepers(&server, "news"), connect(&server, 0));
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
    let (mut sleepers, mut reader) = (sleepers(&server, "news"), connect(&server, 0));
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
            &with_history("10000")[..],
            &[("FANTAIL_HUB_SLOW", "disconnect"), ("FANTAIL_HUB_SLOW_BYTES_MAX", "65536"), ("FANTAIL_TIMEOUTS_CLOSE_MS", "60000")],
        ]
        .concat(),
    );
    let (mut sleepers, mut reader) = (sleepers(&server, "news"), connect(&server, 0));
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
        let mut again = connect(&server, index);
        let recovered = again.ask("subscribe", json!({"channel": "news", "recover": true, "offset": seen, "epoch": epoch}));
        assert_eq!((&recovered["recovered"], offsets(&recovered)), (&json!(true), (seen + 1..=MANY).collect()));
    }
}

fn only_the_conflating_channel_is_conflated(driver: &str) {
    const OTHERS: u64 = 60;
    let server =
        start_tight(driver, &[("FANTAIL_HUB_NAMESPACES_EVENTS_SLOW", "disconnect"), ("FANTAIL_HUB_NAMESPACES_LOG_SLOW", "drop_oldest")]);
    let (mut sleepers, mut reader) = (sleepers(&server, "news"), connect(&server, 0));
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
    let mut sleeper = connect(&server, 0);
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
    let (mut publisher, mut reader) = (server.publisher(), connect(&server, 0));
    reader.subscribe("first");
    let mut sleeper = connect(&server, 0);
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
            let mut client = connect(&server, index);
            let subscribed = client.ask("subscribe", json!({"channel": "news", "data": {"rate": wanted}}));
            assert_eq!(subscribed["data"], json!({"rate": granted}), "{wanted}");
            (*granted, client)
        })
        .collect();
    let mut all = connect(&server, 0);
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
    let mut client = connect(&server, 0);
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
                    let mut client = connect(server, seed + round);
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
    let mut plain = connect(&server, 1);
    plain.subscribe("news");
    let mut client = connect(&server, 0);
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
    let subscribed = connect(&server, 0).ask("subscribe", json!({"channel": "news", "delta": "fossil"}));
    assert_eq!((&subscribed["delta"], &subscribed["publications"][0]["data"]), (&Value::Null, &json!(1)));
}

fn deltas_after_what_was_missed(driver: &str) {
    const LAST: u64 = 60;
    for slow in ["conflate", "drop_oldest"] {
        let server = start_tight(driver, &[WITH_DELTA, ("FANTAIL_HUB_SLOW", slow)]);
        let mut publisher = server.publisher();
        publisher.publish("news", &quote(1));
        let mut sleeper = connect(&server, 0);
        let (mut text, _) = subscribe_with_delta(&mut sleeper);
        sleeper.subscribe("flood");
        let (mut reader, mut seen) = (connect(&server, 0), 1);
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
        let mut client = connect(&server, client);
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
    let mut here = connect(&server, 0);
    here.ask("subscribe", json!({"channel": "room", "join_leave": true}));
    assert!(here.push()["join"].is_object(), "its own");
    let mut other = connect(&server, 1);
    other.subscribe("room");
    assert!(here.push()["join"].is_object());
    other.ask("unsubscribe", json!({"channel": "room"}));
    assert!(here.push()["leave"].is_object());
    assert_eq!(here.refused("presence", json!({"channel": "room"})), 108);
}

fn deltas_of_what_is_no_json_are_json_still(driver: &str) {
    let server = Server::start(driver, &[("FANTAIL_HUB_DELTA", "true"), ("FANTAIL_HUB_PUBLISH", "anyone")]);
    let mut client = connect(&server, 0);
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
    let mut client = connect(&server, 0);
    let subscribed = client.subscribe("t");
    assert_eq!((offset(&subscribed), offsets(&subscribed)), (KEYS, vec![]));
    for index in 1..=KEYS {
        let publication = client.publication("t");
        assert_eq!((offset(&publication), &publication["data"]), (index, &json!(format!("{index:0100}"))));
    }
    client.expect_no_push();
}
