//! The client protocol: commands and their replies, errors and disconnects. What subscribers get is in `channels.rs`, tokens are in
//! `client_tokens.rs`.

use fantail_tests::{CLIENT_PATH, Client, Frame, Peer, Request, SECRET, Server, eventually, on_each_driver, seconds_from_now, token};
use rustix::process::Signal;
use serde_json::{Value, json};

on_each_driver! {
    connect_comes_first,
    who_does_not_connect_is_stale,
    commands_of_one_frame_are_answered_in_one,
    id_0_is_a_bad_request,
    unknown_methods_are_104,
    malformed_json_closes_with_its_place,
    other_kinds_of_frame_are_bad_requests,
    subprotocols_select_the_format,
    protobuf_by_the_query,
    pings_and_pongs,
    native_pings,
    without_a_pong_3012,
    shutdown_is_3001,
    subscribing_is_refused,
    channels_have_numbers_for_who_wants_them,
    unrecoverable_positions_are_112_for_who_wants_that,
    subscriptions_have_a_limit,
    unsubscribing_ends_it,
    history_is_for_subscribers,
    history_in_parts,
    presence_is_for_subscribers,
    who_comes_and_goes_is_told,
    replies_come_before_what_follows_from_them,
    who_sends_in_parts_is_judged_all_the_same,
    publishing_is_allowed,
    publications_tell_of_their_publisher,
    rpc_knows_one_method,
    a_rate_for_a_name_with_escapes,
}

/// A channel with everything.
const RICH: [(&str, &str); 4] = [
    ("FANTAIL_HUB_NAMESPACES_RICH_HISTORY_SIZE", "10"),
    ("FANTAIL_HUB_NAMESPACES_RICH_PRESENCE", "true"),
    ("FANTAIL_HUB_NAMESPACES_RICH_JOIN_LEAVE", "true"),
    ("FANTAIL_HUB_NAMESPACES_RICH_PUBLISH", "users"),
];

const WITH_SECRET: (&str, &str) = ("FANTAIL_AUTH_HMAC_SECRET", SECRET);

fn send(client: &mut Client, text: &str) {
    client.peer.send(Frame::text(text));
}

fn connect_comes_first(driver: &str) {
    let server = Server::start(driver, &[]);
    for (method, parameters) in
        [("subscribe", json!({"channel": "a"})), ("ping", json!({})), ("rpc", json!({"method": "x"})), ("nothing", json!({}))]
    {
        let mut client = Client::open(&server);
        client.send(method, parameters);
        client.expect_close(3501);
    }
    let mut client = Client::open(&server);
    send(&mut client, r#"{"send":{"data":1}}"#);
    client.expect_close(3501);
    let mut client = Client::connect(&server);
    client.send("connect", json!({}));
    client.expect_close(3501);
}

fn who_does_not_connect_is_stale(driver: &str) {
    let server = Server::start(driver, &[("FANTAIL_TIMEOUTS_HANDSHAKE_MS", "300")]);
    let mut stale = Client::open(&server);
    let mut connected = Client::connect(&server);
    stale.expect_close(3502);
    // A pong, whoever wants it, is no connect.
    let mut stale = Client::open(&server);
    send(&mut stale, "{}");
    stale.expect_close(3502);
    connected.expect_no_push();
}

fn commands_of_one_frame_are_answered_in_one(driver: &str) {
    let server = Server::start(driver, &[]);
    for text in [
        "{\"id\":1,\"connect\":{}}\n{\"id\":2,\"subscribe\":{\"channel\":\"a\"}}\n{\"id\":7,\"ping\":{}}",
        "{\"id\":1,\"connect\":{}}\n\n{\"id\":2,\"subscribe\":{\"channel\":\"a\"}}\n\n\n{\"id\":7,\"ping\":{}}\n",
        "\n{\"id\":1,\"connect\":{}}\r\n {\"id\":2, \"subscribe\":{\"channel\":\"a\"} }\n{}\n{\"send\":{\"data\":1}}\n{\"id\":7,\"ping\":{}}\n\n",
    ] {
        let mut client = Client::open(&server);
        send(&mut client, text);
        let frame = client.peer.message();
        let lines: Vec<Value> =
            frame.payload.split(|&byte| byte == b'\n').map(|line| serde_json::from_slice(line).expect("JSON")).collect();
        let ids: Vec<_> = lines.iter().map(|line| &line["id"]).collect();
        assert_eq!(ids, [&json!(1), &json!(2), &json!(7)], "{text:?}");
        assert!(lines[0]["connect"]["client"].is_string() && lines[1]["subscribe"].is_object() && lines[2]["error"].is_null(), "{lines:?}");
    }
    // What comes before the one that closes is answered.
    let mut client = Client::open(&server);
    send(&mut client, "{\"id\":1,\"connect\":{}}\n{\"id\":2,\"connect\":{}}\n{\"id\":3,\"ping\":{}}");
    assert_eq!(client.reply()["id"], 1);
    client.expect_close(3501);
    // Nothing is answered to nothing.
    let mut client = Client::connect(&server);
    send(&mut client, "\n");
    send(&mut client, "");
    client.expect_no_push();
}

fn id_0_is_a_bad_request(driver: &str) {
    let server = Server::start(driver, &[]);
    for text in [r#"{"id":0,"connect":{}}"#, r#"{"connect":{}}"#] {
        let mut client = Client::open(&server);
        send(&mut client, text);
        client.expect_close(3501);
    }
    for text in [r#"{"id":0,"subscribe":{"channel":"a"}}"#, r#"{"ping":{}}"#, r#"{"publish":{"channel":"a","data":1}}"#] {
        let mut client = Client::connect(&server);
        send(&mut client, text);
        client.expect_close(3501);
    }
}

fn unknown_methods_are_104(driver: &str) {
    let server = Server::start(driver, &[]);
    let mut client = Client::connect(&server);
    assert_eq!(client.refused("fly", json!({"to": "the moon"})), 104);
    assert_eq!(client.refused("rpc", json!({"method": "unheard of", "data": {}})), 104);
    // What is not known is passed over where something else is.
    client.ask("subscribe", json!({"channel": "a", "colour": "blue"}));
}

fn malformed_json_closes_with_its_place(driver: &str) {
    let server = Server::start(driver, &[]);
    for (text, place) in [
        ("{\"id\":2,\"ping\":{}", "16"),
        ("nothing", "0"),
        ("{\"id\":2,\"ping\":{}}\n{\"id\":}", "25"),
        ("[]", "0"),
        ("{\"id\":\"2\",\"ping\":{}}", "6"),
        ("{\"id\":2,\"subscribe\":{\"channel\":7}}", "31"),
    ] {
        let mut client = Client::connect(&server);
        send(&mut client, text);
        let close = loop {
            let frame = client.peer.frame();
            if frame.opcode == Frame::CLOSE {
                break frame.payload;
            }
        };
        let reason = String::from_utf8_lossy(&close[2..]).into_owned();
        assert_eq!(u16::from_be_bytes([close[0], close[1]]), 3501, "{text:?}: {reason}");
        assert!(reason.contains(&format!("byte {place}:")), "{text:?}: {reason}");
    }
}

fn other_kinds_of_frame_are_bad_requests(driver: &str) {
    let server = Server::start(driver, &[]);
    let mut client = Client::connect(&server);
    client.peer.send(Frame::binary(r#"{"id":2,"ping":{}}"#));
    client.expect_close(3501);
    let mut peer = Peer::upgrade(server.edge, "/connection/websocket?format=protobuf");
    peer.send(Frame::text(r#"{"id":1,"connect":{}}"#));
    peer.expect_close(3501);
}

/// `connect` with id 1 in Protobuf (client.proto: `Command.id` is field 1, `Command.connect` field 4), behind its length.
const PROTOBUF_CONNECT: &[u8] = &[4, 0x08, 1, 0x22, 0];

/// A reply to it: its length, id 1, and `connect` as field 5 with the client's id as its first.
fn expect_protobuf_connected(peer: &mut Peer) {
    peer.send(Frame::binary(PROTOBUF_CONNECT));
    let frame = peer.message();
    assert_eq!(frame.opcode, Frame::BINARY, "{frame:?}");
    let payload = &frame.payload;
    assert_eq!((usize::from(payload[0]), &payload[1..4]), (payload.len() - 1, &[0x08, 1, 0x2A][..]), "{payload:?}");
    assert_eq!(payload[5..7], [0x0A, 36], "{payload:?}");
}

fn subprotocols_select_the_format(driver: &str) {
    let server = Server::start(driver, &[]);
    let upgrade = |offered: Option<&str>| {
        let request = Request::upgrade(CLIENT_PATH);
        Peer::upgrade_with(
            server.edge,
            offered.into_iter().fold(request, |request, offered| request.with("Sec-WebSocket-Protocol", offered)),
        )
    };
    for (offered, selected) in [
        (None, None),
        (Some("centrifuge-json"), Some("centrifuge-json")),
        (Some("centrifuge-protobuf"), Some("centrifuge-protobuf")),
        (Some("chat, centrifuge-protobuf"), Some("centrifuge-protobuf")),
        (Some("chat"), None),
    ] {
        let (mut peer, response) = upgrade(offered);
        assert_eq!(response.field("Sec-WebSocket-Protocol"), selected, "{offered:?}");
        match selected {
            Some("centrifuge-protobuf") => expect_protobuf_connected(&mut peer),
            _ => drop(Client::over(peer).connected(json!({}))),
        }
    }
}

fn protobuf_by_the_query(driver: &str) {
    let server = Server::start(driver, &[]);
    for query in ["format=protobuf", "cf_protocol=protobuf", "a=b&format=protobuf"] {
        expect_protobuf_connected(&mut Peer::upgrade(server.edge, &format!("{CLIENT_PATH}?{query}")));
    }
    Client::over(Peer::upgrade(server.edge, &format!("{CLIENT_PATH}?format=json"))).connected(json!({}));
}

const QUICK_PINGS: [(&str, &str); 2] = [("FANTAIL_TIMEOUTS_PING_INTERVAL_MS", "200"), ("FANTAIL_TIMEOUTS_PONG_MS", "500")];

fn pings_and_pongs(driver: &str) {
    let server = Server::start(driver, &QUICK_PINGS);
    let mut client = Client::open(&server);
    let connected = client.ask("connect", json!({}));
    assert_eq!((&connected["ping"], &connected["pong"]), (&json!(1), &json!(true)), "{connected}");
    for _ in 0..8 {
        client.peer.expect(Frame::text("{}"));
        send(&mut client, "{}");
    }
    // One that nobody asked for does no harm.
    send(&mut client, "{}");
    client.expect_no_push();
}

fn native_pings(driver: &str) {
    let server = Server::start(driver, &QUICK_PINGS);
    let mut client = Client::over(Peer::upgrade(server.edge, &format!("{CLIENT_PATH}?cf_ws_frame_ping_pong=true")));
    let connected = client.ask("connect", json!({}));
    assert!(connected["ping"].is_null() && connected["pong"].is_null(), "{connected}");
    for _ in 0..4 {
        client.peer.expect(Frame::ping(""));
        client.peer.send(Frame::pong(""));
    }
}

fn without_a_pong_3012(driver: &str) {
    let server = Server::start(driver, &QUICK_PINGS);
    let mut client = Client::connect(&server);
    client.peer.expect(Frame::text("{}"));
    client.expect_close(3012);
}

fn shutdown_is_3001(driver: &str) {
    let server = Server::start(driver, &[]);
    let mut client = Client::connect(&server);
    client.subscribe("news");
    server.signal(Signal::TERM);
    client.expect_close(3001);
    assert_eq!(server.wait().0.code(), Some(0));
}

fn subscribing_is_refused(driver: &str) {
    let server = Server::start(
        driver,
        &[
            WITH_SECRET,
            ("FANTAIL_HUB_NAMESPACES_CLOSED_SUBSCRIBE", "nobody"),
            ("FANTAIL_HUB_NAMESPACES_TOKEN_SUBSCRIBE", "token"),
            ("FANTAIL_HUB_NAMESPACES_USERS_SUBSCRIBE", "users"),
        ],
    );
    let mut client = Client::connect(&server);
    for (parameters, code) in [
        (json!({"channel": "closed:a"}), 103),
        (json!({"channel": "token:a"}), 103),
        (json!({"channel": "users:a"}), 103),
        (json!({"channel": "token:a", "token": "no token"}), 103),
        (json!({"channel": "a", "token": "no token"}), 103),
        (json!({"channel": "token:a", "token": token(&json!({"channel": "token:b"}))}), 103),
        (json!({"channel": "token:a", "token": token(&json!({"channel": "token:a", "sub": "42"}))}), 103),
        (json!({"channel": "token:a", "token": token(&json!({"channel": "token:a", "exp": seconds_from_now(-1)}))}), 109),
        (json!({}), 107),
        (json!({"channel": ""}), 107),
        (json!({"channel": "c".repeat(256)}), 107),
        (json!({"channel": "a", "type": 1}), 108),
        (json!({"channel": "a", "data": {"rate": "often"}}), 107),
    ] {
        assert_eq!(client.refused("subscribe", parameters.clone()), code, "{parameters}");
    }
    client.subscribe("a");
    assert_eq!(client.refused("subscribe", json!({"channel": "a"})), 105);
    client.subscribe(&"c".repeat(255));
    server.publish("a", "1");
    assert_eq!(client.publication("a")["data"], 1);
}

fn channels_have_numbers_for_who_wants_them(driver: &str) {
    let server = Server::start(driver, &[]);
    let mut client = Client::connect(&server);
    let mut by_id = |channel: &str| client.ask("subscribe", json!({"channel": channel, "flag": 1}))["id"].as_u64().expect("a number");
    let numbers = [by_id("a"), by_id("b")];
    assert_ne!(numbers[0], numbers[1]);
    assert!(client.subscribe("c")["id"].is_null());
    for (channel, number) in [("b", json!(numbers[1])), ("a", json!(numbers[0])), ("c", Value::Null)] {
        server.publish(channel, "1");
        let push = client.push();
        // 0 is absent in this protocol.
        assert_eq!(push["id"].as_u64().unwrap_or(0), number.as_u64().unwrap_or(0), "{push}");
        assert_eq!(push["channel"].is_null(), channel != "c", "{push}");
        assert_ne!(number, json!(0), "a number that is left out tells nobody the channel");
    }
}

fn unrecoverable_positions_are_112_for_who_wants_that(driver: &str) {
    let server = Server::start(driver, &RICH);
    (0..20).for_each(|index| assert_ne!(server.publish("rich:a", &index.to_string()), 0));
    let mut client = Client::connect(&server);
    let epoch = client.subscribe("rich:a")["epoch"].clone();
    client.ask("unsubscribe", json!({"channel": "rich:a"}));
    let at = |offset: u64, epoch: &Value, flag: u64| json!({"channel": "rich:a", "recover": true, "offset": offset, "epoch": epoch, "flag": flag});
    assert_eq!(client.refused("subscribe", at(3, &epoch, 2)), 112);
    assert_eq!(client.refused("subscribe", at(15, &json!("ffffffff"), 2)), 112);
    // It is not subscribed by that.
    server.publish("rich:a", "20");
    client.expect_no_push();
    let refused = client.ask("subscribe", at(3, &epoch, 0));
    assert_eq!((&refused["was_recovering"], &refused["recovered"]), (&json!(true), &Value::Null), "{refused}");
    client.ask("unsubscribe", json!({"channel": "rich:a"}));
    assert_eq!(client.ask("subscribe", at(15, &epoch, 2))["recovered"], true);
}

fn subscriptions_have_a_limit(driver: &str) {
    let server = Server::start(driver, &[("FANTAIL_LIMITS_SUBSCRIPTIONS_MAX", "3")]);
    let mut client = Client::connect(&server);
    ["a", "b", "c"].iter().for_each(|channel| drop(client.subscribe(channel)));
    assert_eq!(client.refused("subscribe", json!({"channel": "d"})), 106);
    client.ask("unsubscribe", json!({"channel": "b"}));
    client.subscribe("d");
    Client::connect(&server).subscribe("d");
}

fn unsubscribing_ends_it(driver: &str) {
    let server = Server::start(driver, &[]);
    let mut client = Client::connect(&server);
    client.subscribe("a");
    client.subscribe("b");
    assert_eq!(client.ask("unsubscribe", json!({"channel": "a"})), json!({}));
    // One that there is not ends too.
    client.ask("unsubscribe", json!({"channel": "a"}));
    client.ask("unsubscribe", json!({"channel": "never heard of"}));
    server.publish("a", "1");
    server.publish("b", "2");
    assert_eq!(client.publication("b")["data"], 2);
    assert_eq!(client.subscribe("a")["publications"][0]["data"], 1);
    server.publish("a", "3");
    assert_eq!(client.publication("a")["data"], 3);
}

fn history_is_for_subscribers(driver: &str) {
    let server = Server::start(driver, &RICH);
    let mut client = Client::connect(&server);
    assert_eq!(client.refused("history", json!({"channel": "rich:a"})), 103);
    assert_eq!(client.refused("history", json!({})), 103);
    client.subscribe("poor");
    assert_eq!(client.refused("history", json!({"channel": "poor"})), 108);
}

fn history_in_parts(driver: &str) {
    let server = Server::start(driver, &RICH);
    (1..=15).for_each(|index| assert_ne!(server.publish("rich:a", &format!("\"{index}\"")), 0));
    let mut client = Client::connect(&server);
    let epoch = client.subscribe("rich:a")["epoch"].clone();
    let mut offsets = |parameters: Value| {
        let mut history = client.ask("history", parameters);
        assert_eq!((&history["offset"], &history["epoch"]), (&json!(15), &epoch), "{history}");
        // Absent where there are none.
        let publications = history["publications"].take();
        let publications = publications.as_array().cloned().unwrap_or_default();
        publications.iter().for_each(|publication| assert_eq!(publication["data"], publication["offset"].to_string(), "{publication}"));
        publications.iter().map(|publication| publication["offset"].as_u64().expect("an offset")).collect::<Vec<_>>()
    };
    let none: [u64; 0] = [];
    assert_eq!(offsets(json!({"channel": "rich:a"})), none);
    assert_eq!(offsets(json!({"channel": "rich:a", "limit": -1})), (6..=15).collect::<Vec<_>>());
    assert_eq!(offsets(json!({"channel": "rich:a", "limit": 3})), [6, 7, 8]);
    assert_eq!(offsets(json!({"channel": "rich:a", "limit": 3, "reverse": true})), [15, 14, 13]);
    assert_eq!(offsets(json!({"channel": "rich:a", "limit": 3, "since": {"offset": 10, "epoch": epoch}})), [11, 12, 13]);
    assert_eq!(offsets(json!({"channel": "rich:a", "limit": -1, "since": {"offset": 15, "epoch": epoch}})), none);
    assert_eq!(offsets(json!({"channel": "rich:a", "limit": 2, "since": {"offset": 10, "epoch": epoch}, "reverse": true})), [9, 8]);
    for since in [json!({"offset": 4, "epoch": epoch}), json!({"offset": 10, "epoch": "ffffffff"}), json!({"offset": 16, "epoch": epoch})] {
        assert_eq!(client.refused("history", json!({"channel": "rich:a", "limit": 5, "since": since})), 112, "{since}");
    }
}

fn presence_is_for_subscribers(driver: &str) {
    let [size, presence, ..] = RICH;
    let server = Server::start(driver, &[WITH_SECRET, size, presence]);
    let mut anonymous = Client::connect(&server);
    for method in ["presence", "presence_stats"] {
        assert_eq!(anonymous.refused(method, json!({"channel": "rich:a"})), 103);
        anonymous.ask("unsubscribe", json!({"channel": "poor"}));
        anonymous.subscribe("poor");
        assert_eq!(anonymous.refused(method, json!({"channel": "poor"})), 108);
    }
    anonymous.subscribe("rich:a");
    let mut users: Vec<Client> = ["42", "42", "43"]
        .iter()
        .map(|user| {
            let mut client = Client::connect_with_token(&server, &token(&json!({"sub": user, "info": {"name": "Ada"}})));
            client.subscribe("rich:a");
            client
        })
        .collect();
    assert_eq!(anonymous.ask("presence_stats", json!({"channel": "rich:a"})), json!({"num_clients": 4, "num_users": 3}));
    let mut present = anonymous.ask("presence", json!({"channel": "rich:a"}))["presence"].take();
    let present = present.as_object_mut().expect("clients by id");
    assert_eq!(present.len(), 4);
    assert!(present.iter().all(|(id, info)| info["client"] == *id), "{present:?}");
    let infos: Vec<_> = present.values().filter(|info| info["user"] == "42").map(|info| &info["conn_info"]["name"]).collect();
    assert_eq!(infos, ["Ada", "Ada"]);
    // Who goes in any way is gone.
    users[0].ask("unsubscribe", json!({"channel": "rich:a"}));
    users.pop().expect("three").peer.reset();
    drop(users.pop());
    eventually("one is left", || anonymous.ask("presence_stats", json!({"channel": "rich:a"}))["num_clients"] == 1);
}

fn who_comes_and_goes_is_told(driver: &str) {
    let server = Server::start(driver, &[&RICH[..], &[WITH_SECRET]].concat());
    let mut told = Client::connect(&server);
    told.ask("subscribe", json!({"channel": "rich:a", "join_leave": true}));
    let mut untold = Client::connect(&server);
    untold.subscribe("rich:a");
    // It may be told of its own coming, and is of the other's.
    let mut comes = |user: &str| loop {
        let push = told.push();
        assert_eq!(push["channel"], "rich:a", "{push}");
        if push["join"]["info"]["user"].as_str().unwrap_or_default() == user && push["join"].is_object() {
            return;
        }
        assert!(push["join"].is_object(), "{push}");
    };
    let mut user = Client::connect_with_token(&server, &token(&json!({"sub": "42"})));
    user.subscribe("rich:a");
    comes("42");
    user.ask("unsubscribe", json!({"channel": "rich:a"}));
    assert_eq!(told.push()["leave"]["info"]["user"], "42");
    server.publish("rich:a", "1");
    assert_eq!(untold.publication("rich:a")["data"], 1);
}

fn replies_come_before_what_follows_from_them(driver: &str) {
    let server = Server::start(driver, &[("FANTAIL_HUB_PUBLISH", "anyone")]);
    let mut peer = Peer::upgrade(server.edge, CLIENT_PATH);
    let commands = [
        json!({"id": 1, "connect": {}}),
        json!({"id": 2, "subscribe": {"channel": "a"}}),
        json!({"id": 3, "publish": {"channel": "a", "data": 1}}),
        json!({"id": 4, "rpc": {"method": "sub.rate", "data": {"channel": "a", "rate": 1}}}),
    ];
    peer.send(Frame::text(commands.map(|command| command.to_string()).join("\n")));
    let text = String::from_utf8(peer.message().payload).expect("UTF-8");
    let ids: Vec<Value> = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")["id"].clone()).collect();
    assert_eq!(ids, [1, 2, 3, 4]);
    let push: Value = serde_json::from_slice(&peer.message().payload).expect("JSON");
    assert_eq!(push["push"]["pub"]["data"], 1);
}

fn who_sends_in_parts_is_judged_all_the_same(driver: &str) {
    let server = Server::start(driver, &[("FANTAIL_TIMEOUTS_HANDSHAKE_MS", "300")]);
    let mut peer = Peer::upgrade(server.edge, CLIENT_PATH);
    let bytes = Frame::text("{}").bytes();
    // Until something comes back, or the server takes no more.
    while peer.is_silent() && peer.try_send(&bytes[..3]) && peer.try_send(&bytes[3..]) {}
    peer.expect_close(3502);
}

fn publishing_is_allowed(driver: &str) {
    let server = Server::start(
        driver,
        &[
            WITH_SECRET,
            ("FANTAIL_HUB_NAMESPACES_OPEN_PUBLISH", "anyone"),
            ("FANTAIL_HUB_NAMESPACES_USERS_PUBLISH", "users"),
            ("FANTAIL_HUB_NAMESPACES_TOKEN_PUBLISH", "token"),
        ],
    );
    let mut anonymous = Client::connect(&server);
    let mut user = Client::connect_with_token(&server, &token(&json!({"sub": "42"})));
    let publish = |client: &mut Client, channel: &str| {
        let reply = client.call("publish", json!({"channel": channel, "data": {"by": "a client"}}));
        if reply["publish"].is_object() { Ok(()) } else { Err(reply["error"]["code"].as_u64().expect("a code")) }
    };
    for (channel, anonymous_may, user_may) in
        [("a", Err(103), Err(103)), ("open:a", Ok(()), Ok(())), ("users:a", Err(103), Ok(())), ("token:a", Err(103), Err(103))]
    {
        assert_eq!(publish(&mut anonymous, channel), anonymous_may, "{channel}");
        assert_eq!(publish(&mut user, channel), user_may, "{channel}");
    }
    assert_eq!(anonymous.refused("publish", json!({"channel": "open:a"})), 107);
    // The publisher, if it subscribes, gets it too, and the reply besides.
    anonymous.subscribe("open:a");
    publish(&mut anonymous, "open:a").expect("it may");
    assert_eq!(anonymous.publication("open:a")["data"], json!({"by": "a client"}));
}

fn publications_tell_of_their_publisher(driver: &str) {
    let server = Server::start(driver, &[WITH_SECRET, ("FANTAIL_HUB_PUBLISH", "users")]);
    let mut listener = Client::connect(&server);
    listener.subscribe("a");
    let mut user = Client::connect_with_token(&server, &token(&json!({"sub": "42", "info": {"name": "Ada"}})));
    user.ask("publish", json!({"channel": "a", "data": "hello"}));
    let publication = listener.publication("a");
    assert_eq!((&publication["data"], &publication["offset"]), (&json!("hello"), &json!(1)), "{publication}");
    assert_eq!((&publication["info"]["user"], &publication["info"]["conn_info"]), (&json!("42"), &json!({"name": "Ada"})), "{publication}");
    server.publish("a", "1");
    assert!(listener.publication("a")["info"].is_null());
}

fn rpc_knows_one_method(driver: &str) {
    let server = Server::start(driver, &[]);
    let mut client = Client::connect(&server);
    let rate = |channel: &str, rate: Value| json!({"method": "sub.rate", "data": {"channel": channel, "rate": rate}});
    assert_eq!(client.refused("rpc", rate("a", json!(4))), 103);
    client.subscribe("a");
    assert_eq!(client.ask("rpc", rate("a", json!(5)))["data"], json!({"rate": 4}));
    assert_eq!(client.refused("rpc", rate("a", json!("often"))), 107);
    assert_eq!(client.refused("rpc", json!({"method": "sub.rate", "data": 4})), 107);
    assert_eq!(client.refused("rpc", json!({"method": "sub.rate"})), 107);
}

fn a_rate_for_a_name_with_escapes(driver: &str) {
    let server = Server::start(driver, &[]);
    let mut client = Client::connect(&server);
    client.subscribe("a \"quoted\" name");
    assert_eq!(
        client.ask("rpc", json!({"method": "sub.rate", "data": {"channel": "a \"quoted\" name", "rate": 10}}))["data"],
        json!({"rate": 10})
    );
}
