//! The HTTP API of the internal port: every method, its answers and what it refuses. It does not depend on the driver, so it is tested on the
//! default one.

use std::thread;

use fantail_tests::{Frame, Peer, Request, Response, Server, eventually};
use serde_json::{Value, json};

const DRIVER: &str = "auto";

/// A kept-alive connection to the internal port.
struct Api(Peer);

impl Api {
    fn new(server: &Server) -> Api {
        Api(Peer::connect(server.internal))
    }

    /// The answer to a method, whose status is 200 even for errors.
    fn call(&mut self, method: &str, body: &Value) -> Value {
        let response = self.post(method, &body.to_string(), &[]);
        assert_eq!(response.status, 200, "{response:?}");
        serde_json::from_slice(&response.body).expect("JSON")
    }

    /// The result of a method that must have one.
    fn result(&mut self, method: &str, body: Value) -> Value {
        let answer = self.call(method, &body);
        answer.get("result").unwrap_or_else(|| panic!("{method} {body} was answered {answer}")).clone()
    }

    /// The code and the message of the error that a method must answer.
    fn error(&mut self, method: &str, body: &Value) -> (u64, String) {
        let answer = self.call(method, body);
        let error = answer.get("error").unwrap_or_else(|| panic!("{method} {body} was answered {answer}"));
        (error["code"].as_u64().expect("a code"), error["message"].as_str().expect("a message").to_owned())
    }

    fn post(&mut self, method: &str, body: &str, fields: &[(&str, &str)]) -> Response {
        let request = Request::get("").line(&format!("POST /api/{method} HTTP/1.1")).with("Content-Length", body.len().to_string());
        self.0.send(fields.iter().fold(request, |request, (name, value)| request.with(name, value)).body(body));
        self.0.response()
    }
}

fn start(env: &[(&str, &str)]) -> (Server, Api) {
    let server = Server::start(DRIVER, env);
    let api = Api::new(&server);
    (server, api)
}

/// A client of the Centrifuge protocol that subscribes to these channels, and its id.
fn client(server: &Server, channels: &[&str]) -> (Peer, String) {
    let mut peer = Peer::upgrade(server.edge, "/connection/websocket");
    let mut ask = |command: Value| -> Value {
        peer.send(Frame::text(command.to_string()));
        serde_json::from_slice(&peer.message().payload).expect("JSON")
    };
    let id = ask(json!({"id": 1, "connect": {}}))["connect"]["client"].as_str().expect("an id").to_owned();
    for (channel, number) in channels.iter().zip(2..) {
        let reply = ask(json!({"id": number, "subscribe": {"channel": channel}}));
        assert!(reply["subscribe"].is_object(), "{reply}");
    }
    (peer, id)
}

fn offsets(history: &Value) -> Vec<u64> {
    history["publications"].as_array().expect("publications").iter().map(|kept| kept["offset"].as_u64().expect("an offset")).collect()
}

const HISTORY: &[(&str, &str)] = &[("FANTAIL_HUB_HISTORY_SIZE", "100"), ("FANTAIL_HUB_KEYS_MAX", "10")];

#[test]
fn a_publication_has_tags_and_a_key() {
    let (_server, mut api) = start(HISTORY);
    api.result("publish", json!({"channel": "c", "data": {"a": 1}, "tags": {"b": "\"", "a": "1"}, "key": "k", "delta": true}));
    api.result("publish", json!({"channel": "c", "b64data": "AAH/"}));
    let history = api.result("history", json!({"channel": "c", "limit": 10}));
    let expected = json!([{"data": {"a": 1}, "offset": 1, "key": "k", "tags": {"a": "1", "b": "\""}}, {"data": "AAH/", "offset": 2}]);
    assert_eq!(history["publications"], expected);
    assert_eq!(history["offset"], json!(2));
}

#[test]
fn a_publication_may_skip_the_history() {
    let (_server, mut api) = start(HISTORY);
    for skip in [false, true, false] {
        api.result("publish", json!({"channel": "c", "data": 1, "skip_history": skip}));
    }
    assert_eq!(offsets(&api.result("history", json!({"channel": "c", "limit": 10}))), [1, 3]);
}

#[test]
fn a_broadcast_answers_for_each_channel() {
    let (server, mut api) = start(&[]);
    server.publish("b", "0");
    let result = api.result("broadcast", json!({"channels": ["a", "", "b"], "data": 7}));
    let responses = result["responses"].as_array().expect("responses");
    assert_eq!(responses.len(), 3);
    assert_eq!(responses[0]["result"]["offset"], json!(1));
    assert_eq!(responses[1]["error"]["code"], json!(107));
    assert_eq!(responses[2]["result"]["offset"], json!(2));
    for channel in ["a", "b"] {
        Peer::upgrade(server.edge, &format!("/raw/{channel}")).expect(Frame::text("7"));
    }
}

#[test]
fn a_batch_answers_each_command_in_order() {
    let (_server, mut api) = start(HISTORY);
    let commands = json!([
        {"publish": {"channel": "c", "data": 1}},
        {"publish": {"channel": "c"}},
        {"rpc": {"method": "m"}},
        {"broadcast": {"channels": ["c", "d"], "data": 2}},
        {"history": {"channel": "c", "limit": 10}},
        {"batch": {"commands": []}},
    ]);
    let answer = api.call("batch", &json!({"commands": commands, "parallel": true}));
    let replies = answer["replies"].as_array().expect("replies");
    assert_eq!(replies.len(), 6);
    assert_eq!(replies[0]["publish"]["offset"], json!(1));
    assert_eq!(replies[1]["error"]["code"], json!(107));
    assert_eq!(replies[2]["error"]["code"], json!(104));
    assert_eq!(replies[3]["broadcast"]["responses"][0]["result"]["offset"], json!(2));
    assert_eq!(offsets(&replies[4]["history"]), [1, 2]);
    assert_eq!(replies[5]["error"]["code"], json!(104));
    assert_eq!(api.call("batch", &json!({"commands": []})), json!({"replies": []}));
}

#[test]
fn a_batch_of_many_is_published_in_order() {
    const COUNT: usize = 10_000;
    let (server, mut api) = start(&[]);
    let mut peer = Peer::upgrade(server.edge, "/raw/c");
    eventually("the subscriber is there", || api.result("channels", json!({}))["channels"]["c"].is_object());
    let commands: Vec<Value> = (0..COUNT).map(|data| json!({"publish": {"channel": "c", "data": data}})).collect();
    let reader = thread::spawn(move || (0..COUNT).for_each(|data| peer.expect(Frame::text(data.to_string()))));
    let answer = api.call("batch", &json!({"commands": commands}));
    let replies = answer["replies"].as_array().expect("replies");
    assert!(replies.iter().zip(1..).all(|(reply, offset)| reply["publish"]["offset"] == json!(offset)), "{:?}", replies.last());
    assert_eq!(replies.len(), COUNT);
    reader.join().expect("every message in order");
}

#[test]
fn an_idempotency_key_publishes_once() {
    let (_server, mut api) = start(HISTORY);
    let publication = |channel: &str, key: &str| json!({"channel": channel, "data": key, "idempotency_key": key});
    let first = api.result("publish", publication("c", "k"));
    assert_eq!(api.result("publish", publication("c", "k")), first);
    assert_eq!(api.result("publish", publication("c", "l"))["offset"], json!(2));
    assert_eq!(api.result("publish", publication("d", "k"))["offset"], json!(1));
    let broadcast = api.result("broadcast", json!({"channels": ["c", "e"], "data": 0, "idempotency_key": "k"}));
    assert_eq!(broadcast["responses"][0]["result"], first);
    assert_eq!(offsets(&api.result("history", json!({"channel": "c", "limit": 10}))), [1, 2]);
}

#[test]
fn an_idempotency_key_publishes_once_when_requests_race() {
    const KEYS: usize = 100;
    let (server, mut api) = start(HISTORY);
    let offsets_of = |mut api: Api| -> Vec<Value> {
        let publish = |key: usize| json!({"channel": "c", "data": key, "idempotency_key": key.to_string()});
        (0..KEYS).map(|key| api.result("publish", publish(key))["offset"].clone()).collect()
    };
    let all: Vec<Vec<Value>> = thread::scope(|scope| {
        let racers: Vec<_> = (0..4).map(|_| scope.spawn(|| offsets_of(Api::new(&server)))).collect();
        racers.into_iter().map(|racer| racer.join().expect("no panic")).collect()
    });
    assert!(all.iter().all(|offsets| *offsets == all[0]), "{all:?}");
    assert_eq!(api.result("history", json!({"channel": "c"}))["offset"], json!(KEYS));
}

#[test]
fn presence_tells_who_subscribes() {
    let (server, mut api) = start(&[("FANTAIL_HUB_PRESENCE", "true")]);
    let ((one, one_id), (_two, two_id)) = (client(&server, &["c"]), client(&server, &["c"]));
    let presence = api.result("presence", json!({"channel": "c"}));
    let expected = json!({one_id.as_str(): {"user": "", "client": one_id}, two_id.as_str(): {"user": "", "client": two_id}});
    assert_eq!(presence["presence"], expected);
    assert_eq!(api.result("presence_stats", json!({"channel": "c"})), json!({"num_clients": 2, "num_users": 1}));
    assert_eq!(api.result("channels", json!({}))["channels"]["c"], json!({"num_clients": 2}));
    one.reset();
    eventually("it is gone", || api.result("presence_stats", json!({"channel": "c"}))["num_clients"] == json!(1));
    assert_eq!(api.result("presence", json!({"channel": "nobody's"})), json!({"presence": {}}));
}

#[test]
fn history_is_read_by_limit_position_and_direction() {
    let (_server, mut api) = start(&[("FANTAIL_HUB_HISTORY_SIZE", "4")]);
    for data in 1..=6 {
        api.result("publish", json!({"channel": "c", "data": data}));
    }
    let epoch = api.result("history", json!({"channel": "c"}))["epoch"].clone();
    for (limit, since, reverse, expected) in [
        (None, None, false, &[][..]),
        (Some(2), None, false, &[3, 4]),
        (Some(2), None, true, &[6, 5]),
        (Some(-1), None, false, &[3, 4, 5, 6]),
        (Some(1), Some(json!({"offset": 4, "epoch": epoch})), false, &[5]),
        (Some(9), Some(json!({"offset": 2})), false, &[3, 4, 5, 6]),
        (Some(9), Some(json!({"offset": 5, "epoch": epoch})), true, &[4, 3]),
        (Some(9), Some(json!({"offset": 6, "epoch": epoch})), false, &[]),
    ] {
        let history = api.result("history", json!({"channel": "c", "limit": limit, "since": since, "reverse": reverse}));
        assert_eq!(offsets(&history), expected, "{limit:?} {since:?} {reverse}");
        assert_eq!((&history["offset"], &history["epoch"]), (&json!(6), &epoch));
    }
    for since in [json!({"offset": 1}), json!({"offset": 4, "epoch": "another"}), json!({"offset": 9})] {
        assert_eq!(api.error("history", &json!({"channel": "c", "limit": 1, "since": since})).0, 112, "{since}");
    }
    assert_eq!(api.error("history", &json!({"channel": "new", "since": {"offset": 1}})).0, 112);
    assert_eq!(api.result("history_remove", json!({"channel": "c"})), json!({}));
    let history = api.result("history", json!({"channel": "c", "limit": 9}));
    assert_eq!((offsets(&history), &history["offset"]), (vec![], &json!(6)));
}

#[test]
fn what_a_channel_does_not_have_is_not_available() {
    let (_server, mut api) = start(&[]);
    for method in ["presence", "presence_stats", "history", "history_remove"] {
        let (code, message) = api.error(method, &json!({"channel": "c"}));
        assert_eq!(code, 108, "{method}: {message}");
        assert!(message.contains("hub."), "{message}");
    }
}

#[test]
fn channels_are_found_by_a_pattern() {
    let (server, mut api) = start(&[]);
    server.publish("ticker:nobody", "1");
    let _client = client(&server, &["ticker:A", "ticker:BB", "news"]);
    for (pattern, expected) in [
        (json!(null), &["news", "ticker:A", "ticker:BB"][..]),
        (json!("*"), &["news", "ticker:A", "ticker:BB"]),
        (json!("ticker:*"), &["ticker:A", "ticker:BB"]),
        (json!("ticker:?"), &["ticker:A"]),
        (json!("news"), &["news"]),
        (json!("tick"), &[]),
    ] {
        let result = api.result("channels", json!({"pattern": pattern}));
        let mut names: Vec<_> = result["channels"].as_object().expect("channels").keys().collect();
        names.sort();
        assert_eq!(names, expected, "{pattern}");
    }
    assert_eq!(api.error("channels", &json!({"pattern": "{a,b}"})).0, 107);
}

#[test]
fn info_counts() {
    let (server, mut api) = start(&[]);
    let _clients: Vec<_> = (0..3).map(|_| client(&server, &["a", "b"])).collect();
    let info = api.result("info", json!({}));
    let node = &info["nodes"][0];
    assert_eq!((&node["num_clients"], &node["num_channels"]), (&json!(3), &json!(2)), "{info}");
    assert!(node["uid"].is_string() && node["name"].is_string() && node["version"].is_string() && node["uptime"].is_u64(), "{info}");
    assert_eq!(api.result("info", json!({}))["nodes"][0]["uid"], node["uid"]);
}

#[test]
fn clients_are_disconnected() {
    let (server, mut api) = start(&[]);
    let ((mut one, one_id), (mut two, _), (mut three, _)) = (client(&server, &["c"]), client(&server, &["c"]), client(&server, &["c"]));
    assert_eq!(api.result("disconnect", json!({"user": "", "client": one_id, "disconnect": {"code": 3011, "reason": ""}})), json!({}));
    one.expect_close(3011);
    api.result("disconnect", json!({"user": "nobody"}));
    server.publish("c", "1");
    let push: Value = serde_json::from_slice(&two.message().payload).expect("JSON");
    assert_eq!(push["push"]["pub"]["data"], json!(1));
    three.message();
    api.result("disconnect", json!({"user": ""}));
    two.expect_close(3503);
    three.expect_close(3503);
}

#[test]
fn clients_are_unsubscribed() {
    let (server, mut api) = start(&[]);
    let (mut peer, id) = client(&server, &["c", "d"]);
    assert_eq!(api.result("unsubscribe", json!({"user": "", "client": id, "channel": "c"})), json!({}));
    let push: Value = serde_json::from_slice(&peer.message().payload).expect("JSON");
    assert_eq!((&push["push"]["channel"], &push["push"]["unsubscribe"]["code"]), (&json!("c"), &json!(2000)), "{push}");
    server.publish("c", "1");
    server.publish("d", "2");
    let push: Value = serde_json::from_slice(&peer.message().payload).expect("JSON");
    assert_eq!(push["push"]["channel"], json!("d"));
}

#[test]
fn errors_name_their_field() {
    let (server, mut api) = start(HISTORY);
    let long = "x".repeat(256);
    for (method, body, field) in [
        ("publish", json!({"channel": "c", "data": 1, "colour": 1}), "colour"),
        ("publish", json!({"channel": null, "data": 1}), "channel:"),
        ("publish", json!({"channel": long, "data": 1}), "channel:"),
        ("publish", json!({"channel": "c", "data": 1, "tags": {"a": 1}}), "tags:"),
        ("publish", json!({"channel": "c", "data": 1, "skip_history": 1}), "skip_history:"),
        ("publish", json!({"channel": "c", "data": 1, "delta": "fossil"}), "delta:"),
        ("publish", json!({"channel": "c", "data": 1, "key": long}), "key:"),
        ("publish", json!({"channel": "c", "data": 1, "idempotency_key": 7}), "idempotency_key:"),
        ("publish", json!({"channel": "c", "data": 1, "channels": ["d"]}), "channels:"),
        ("broadcast", json!({"channels": [], "data": 1}), "channels:"),
        ("broadcast", json!({"channels": "c", "data": 1}), "channels:"),
        ("broadcast", json!({"channels": vec!["c"; 10_001], "data": 1}), "channels:"),
        ("broadcast", json!({"channels": ["c"]}), "data:"),
        ("batch", json!({"commands": 1}), "sequence"),
        ("batch", json!({"commands": [{}]}), "one method"),
        ("batch", json!({"commands": [{"info": {}, "channels": {}}]}), "one method"),
        ("batch", json!({"commands": vec![json!({"info": {}}); 10_001]}), "commands:"),
        ("history", json!({"channel": "c", "limit": "1"}), "limit:"),
        ("history", json!({"channel": "c", "since": 1}), "since:"),
        ("history", json!({"channel": "c", "since": {"offset": -1}}), "since.offset:"),
        ("history", json!({"channel": "c", "since": {"epoch": 1}}), "since.epoch:"),
        ("channels", json!({"pattern": 1}), "pattern:"),
        ("disconnect", json!({"client": "x"}), "user:"),
        ("disconnect", json!({"user": "u", "session": "s"}), "session:"),
        ("disconnect", json!({"user": "u", "whitelist": ["x"]}), "whitelist:"),
        ("disconnect", json!({"user": "u", "disconnect": {"code": 4000}}), "disconnect.code:"),
        ("disconnect", json!({"user": "u", "disconnect": {"code": 3503, "reason": "bye"}}), "disconnect.reason:"),
        ("unsubscribe", json!({"user": "u", "channel": ""}), "channel:"),
        ("unsubscribe", json!({"user": "u", "channel": "c", "session": "s"}), "session:"),
    ] {
        let (code, message) = api.error(method, &body);
        assert_eq!(code, 107, "{method}: {message}");
        assert!(message.contains(field), "{method} was answered {message:?}, not {field}");
    }
    assert_eq!(server.metric("fantail_publications_total"), 0);
}

#[test]
fn a_channel_without_keys_takes_none() {
    let (_server, mut api) = start(&[]);
    let (code, message) = api.error("publish", &json!({"channel": "c", "data": 1, "key": "k"}));
    assert_eq!(code, 107);
    assert!(message.starts_with("key:"), "{message}");
}

#[test]
fn what_is_kept_is_bounded_in_bytes() {
    let (_server, mut api) = start(&[("FANTAIL_HUB_KEPT_BYTES_MAX", "1048576"), ("FANTAIL_HUB_NAMESPACES_NEWS_HISTORY_SIZE", "9")]);
    let message = |channel: &str| json!({"channel": channel, "data": "x".repeat(400_000)});
    for channel in ["a", "b", "a"] {
        api.result("publish", message(channel));
    }
    let refused = (106, "the namespace's channels keep as many bytes as hub.kept_bytes_max allows".to_owned());
    assert_eq!(api.error("publish", &message("c")), refused);
    // Another namespace has room of its own.
    api.result("publish", message("news:a"));
}

#[test]
fn errors_become_statuses_where_asked_for() {
    let (_server, mut api) = start(HISTORY);
    for (method, body, status, code) in [
        ("publish", r#"{"channel":"c","data":1}"#, 200, None),
        ("publish", "{}", 400, Some(107)),
        ("presence", r#"{"channel":"c"}"#, 404, Some(108)),
        ("rpc", "{}", 404, Some(104)),
        ("history", r#"{"channel":"c","since":{"offset":9}}"#, 416, Some(112)),
    ] {
        let response = api.post(method, body, &[("X-Centrifugo-Error-Mode", "transport")]);
        let answer: Value = serde_json::from_slice(&response.body).expect("JSON");
        assert_eq!((response.status, answer["error"]["code"].as_u64()), (status, code), "{method} {body}");
    }
}

#[test]
fn the_key_may_be_in_the_authorization() {
    let (_server, mut api) = start(&[("FANTAIL_API_KEY", "open-sesame")]);
    for (value, status) in [("apikey open-sesame", 200), ("ApiKey open-sesame", 200), ("apikey open", 401), ("Bearer open-sesame", 401)] {
        assert_eq!(api.post("info", "{}", &[("Authorization", value)]).status, status, "{value}");
    }
}

#[test]
fn bodies_are_bounded() {
    let (server, mut api) = start(&[("FANTAIL_LIMITS_MESSAGE_BYTES_MAX", "65536")]);
    let (code, message) = api.error("publish", &json!({"channel": "c", "data": "x".repeat(65_535)}));
    assert!(code == 107 && message.starts_with("data:"), "{message}");
    let (code, message) = api.error("publish", &json!({"channel": "c", "data": "x".repeat(65_000), "tags": {"a": "x".repeat(600)}}));
    assert!(code == 107 && message.starts_with("tags:"), "{message}");
    let long = " ".repeat(200_000);
    assert_eq!(api.post("batch", &(long.clone() + r#"{"commands":[]}"#), &[]).status, 200);
    assert_eq!(Api::new(&server).post("publish", &long, &[]).status, 413);
}

#[test]
fn what_time_made_useless_is_forgotten() {
    let (server, mut api) = start(&[("FANTAIL_HUB_VALUE_TTL_MS", "1")]);
    api.result("broadcast", json!({"channels": ["a", "b", "c"], "data": 1}));
    let _client = client(&server, &["c"]);
    eventually("only the channel with a subscriber is left", || server.metric("fantail_channels") == 1);
}
