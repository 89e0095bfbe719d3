use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::centrifuge::{
    ClientInfo, ConnectResult, Data, ErrorReply, ExpiryResult, HistoryResult, Publication, Push, Reply, StreamPosition, SubscribeResult,
    Target,
};

#[track_caller]
fn writes(id: u32, reply: &Reply<'_>, expected: &str) {
    let mut out = b"before".to_vec();
    write_reply(id, reply, &mut out);
    assert_eq!(str::from_utf8(&out), Ok(format!("before{expected}").as_str()));
    assert!(serde_json::from_str::<Value>(expected).is_ok());
}

const INFO: ClientInfo<'_> = ClientInfo { user: "u", client: "c1", conn_info: Some(b"{}"), chan_info: None };

fn publication(offset: u64) -> Publication<'static> {
    Publication { data: Data::Raw(b"{}"), info: None, offset, tags: &[], delta: false, time: 0, channel: "", key: "" }
}

#[test]
fn error() {
    let error = ErrorReply { code: 103, message: "permission denied", temporary: false };
    writes(4, &Reply::Error(error), r#"{"id":4,"error":{"code":103,"message":"permission denied"}}"#);
    let error = ErrorReply { code: 100, message: "", temporary: true };
    writes(4, &Reply::Error(error), r#"{"id":4,"error":{"code":100,"message":"","temporary":true}}"#);
}

#[test]
fn connect() {
    let result = ConnectResult {
        client: "uuid",
        version: "1",
        expiry: ExpiryResult { ttl: Some(600) },
        data: Some(Data::Raw(b"{}")),
        subs: vec![("a\"", SubscribeResult::default()), ("b", SubscribeResult { offset: 1, ..SubscribeResult::default() })],
        ping: 25,
        pong: true,
        session: "s",
        node: "n",
        time: -1,
    };
    writes(
        1,
        &Reply::Connect(result),
        r#"{"id":1,"connect":{"client":"uuid","version":"1","ping":25,"pong":true,"expires":true,"ttl":600,"data":{},"subs":{"a\"":{},"b":{"offset":1}},"session":"s","node":"n","time":-1}}"#,
    );
    writes(1, &Reply::Connect(ConnectResult::default()), r#"{"id":1,"connect":{"client":""}}"#);
}

#[test]
fn subscribe() {
    let result = SubscribeResult {
        expiry: ExpiryResult { ttl: Some(0) },
        recoverable: true,
        positioned: true,
        epoch: "e1",
        offset: u64::MAX,
        was_recovering: true,
        recovered: true,
        publications: vec![publication(41), publication(42)],
        data: Some(Data::Text("a\nb")),
        delta: true,
        id: Some(7),
    };
    writes(
        2,
        &Reply::Subscribe(result),
        r#"{"id":2,"subscribe":{"recoverable":true,"positioned":true,"epoch":"e1","offset":18446744073709551615,"was_recovering":true,"recovered":true,"delta":true,"id":7,"publications":[{"data":{},"offset":41},{"data":{},"offset":42}],"data":"a\nb","expires":true,"ttl":0}}"#,
    );
    writes(2, &Reply::Subscribe(SubscribeResult::default()), r#"{"id":2,"subscribe":{}}"#);
}

#[test]
fn empty_results() {
    writes(3, &Reply::Unsubscribe, r#"{"id":3,"unsubscribe":{}}"#);
    writes(4, &Reply::Publish, r#"{"id":4,"publish":{}}"#);
    writes(5, &Reply::Ping, r#"{"id":5,"ping":{}}"#);
}

#[test]
fn history() {
    let result = HistoryResult { publications: vec![], epoch: "e", offset: 9 };
    writes(5, &Reply::History(result), r#"{"id":5,"history":{"publications":[],"epoch":"e","offset":9}}"#);
    let result = HistoryResult { publications: vec![publication(9)], ..HistoryResult::default() };
    writes(5, &Reply::History(result), r#"{"id":5,"history":{"publications":[{"data":{},"offset":9}],"epoch":"","offset":0}}"#);
}

#[test]
fn presence() {
    let clients = [INFO, ClientInfo { client: "c2", ..ClientInfo::default() }];
    writes(
        6,
        &Reply::Presence(&clients),
        r#"{"id":6,"presence":{"presence":{"c1":{"user":"u","client":"c1","conn_info":{}},"c2":{"user":"","client":"c2"}}}}"#,
    );
    writes(6, &Reply::Presence(&[]), r#"{"id":6,"presence":{"presence":{}}}"#);
    let stats = Reply::PresenceStats { num_clients: 1, num_users: 0 };
    writes(7, &stats, r#"{"id":7,"presence_stats":{"num_clients":1,"num_users":0}}"#);
}

#[test]
fn rpc_and_refresh() {
    writes(8, &Reply::Rpc { data: Data::Raw(b"[1, 2]") }, r#"{"id":8,"rpc":{"data":[1, 2]}}"#);
    writes(8, &Reply::Rpc { data: Data::Raw(b"") }, r#"{"id":8,"rpc":{"data":null}}"#);
    let expiry = ExpiryResult { ttl: Some(600) };
    writes(9, &Reply::Refresh { client: "c", expiry }, r#"{"id":9,"refresh":{"client":"c","expires":true,"ttl":600}}"#);
    writes(10, &Reply::SubRefresh(expiry), r#"{"id":10,"sub_refresh":{"expires":true,"ttl":600}}"#);
    writes(10, &Reply::SubRefresh(ExpiryResult::default()), r#"{"id":10,"sub_refresh":{}}"#);
}

#[track_caller]
fn pushes(target: Target<'_>, push: &Push<'_>, expected: Value) {
    let mut out = Vec::new();
    write_push(target, push, &mut out);
    assert_eq!(serde_json::from_slice::<Value>(&out).unwrap(), expected);
}

#[test]
fn push_of_a_publication() {
    let mut out = Vec::new();
    write_push(Target::Channel("c"), &Push::Publication(publication(43)), &mut out);
    assert_eq!(str::from_utf8(&out), Ok(r#"{"push":{"channel":"c","pub":{"data":{},"offset":43}}}"#));
    let full = Publication {
        info: Some(INFO),
        data: Data::Text("\"text\""),
        tags: &[("a".into(), "1".into()), ("b\\".into(), "".into())],
        delta: true,
        time: 5,
        channel: "x",
        key: "k\"",
        ..publication(0)
    };
    let info = json!({"user": "u", "client": "c1", "conn_info": {}});
    let sent =
        json!({"data": "\"text\"", "tags": {"a": "1", "b\\": ""}, "info": info, "delta": true, "time": 5, "channel": "x", "key": "k\""});
    pushes(Target::Id(7), &Push::Publication(full), json!({"push": {"id": 7, "pub": sent}}));
}

#[test]
fn parts_stand_as_in_a_push() {
    let full = Publication { info: Some(INFO), key: "k", ..publication(43) };
    let mut push = Vec::new();
    write_push(Target::Channel(""), &Push::Publication(full.clone()), &mut push);
    let mut out = Vec::new();
    write_publication(&full, &mut out);
    assert_eq!(push, [br#"{"push":{"pub":"#, &out[..], b"}}"].concat());
    out.clear();
    write_client_info(&INFO, &mut out);
    assert_eq!(str::from_utf8(&out), Ok(r#"{"user":"u","client":"c1","conn_info":{}}"#));
}

#[test]
fn other_pushes() {
    let channel = Target::Channel("c");
    let info = json!({"user": "u", "client": "c1", "conn_info": {}});
    pushes(channel, &Push::Join(INFO), json!({"push": {"channel": "c", "join": {"info": info}}}));
    pushes(channel, &Push::Leave(INFO), json!({"push": {"channel": "c", "leave": {"info": info}}}));
    let unsubscribe = Push::Unsubscribe { code: 2500, reason: "" };
    pushes(channel, &unsubscribe, json!({"push": {"channel": "c", "unsubscribe": {"code": 2500, "reason": ""}}}));
    pushes(Target::Channel(""), &Push::Message { data: Data::Raw(b"1") }, json!({"push": {"message": {"data": 1}}}));
    let position = StreamPosition { offset: 43, epoch: "e" };
    let subscribe = Push::Subscribe { recoverable: true, positioned: true, position };
    let expected = json!({"recoverable": true, "positioned": true, "offset": 43, "epoch": "e"});
    pushes(channel, &subscribe, json!({"push": {"channel": "c", "subscribe": expected}}));
    let refresh = Push::Refresh(ExpiryResult { ttl: Some(1) });
    pushes(Target::Channel(""), &refresh, json!({"push": {"refresh": {"expires": true, "ttl": 1}}}));
    pushes(channel, &Push::Position(position), json!({"push": {"channel": "c", "position": {"offset": 43, "epoch": "e"}}}));
}

#[test]
fn ping() {
    let mut out = Vec::new();
    write_ping(&mut out);
    assert_eq!(out, b"{}");
}

proptest! {
    #[test]
    fn any_text_comes_back(text in any::<String>(), controls in "[\0-\u{7f}]{0,40}") {
        for text in [text, controls] {
            let mut out = Vec::new();
            write_push(Target::Channel(&text), &Push::Message { data: Data::Text(&text) }, &mut out);
            let push: Value = serde_json::from_slice(&out).unwrap();
            prop_assert_eq!(&push["push"]["message"]["data"], &Value::from(&*text));
            prop_assert_eq!(push["push"]["channel"].as_str().unwrap_or_default(), &text);
            prop_assert!(!out.contains(&b'\n'));
        }
    }
}
