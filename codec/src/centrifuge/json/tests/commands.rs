use super::*;
use crate::centrifuge::{Connect, History, StreamPosition, Subscribe};

#[test]
fn connect() {
    asks(
        r#"{"id":1,"connect":{"token":"jwt","data":{},"name":"js","version":"5","headers":{"a":"b"},"subs":{"ch":{"recover":true,"offset":5,"epoch":"x"}}}}"#,
        1,
        Request::Connect(Box::new(Connect {
            token: "jwt",
            data: b"{}",
            subs: vec![("ch", Subscribe { recover: true, offset: 5, epoch: "x", ..Subscribe::default() })],
            name: "js",
            version: "5",
        })),
    );
}

#[test]
fn subscribe() {
    asks(
        r#"{"id":2,"subscribe":{"channel":"ticker:AAPL","token":"t","data":{},"flag":1,"recover":true,"offset":41,"epoch":"e1","positioned":true,"recoverable":true,"join_leave":true,"delta":"fossil","tf":{"op":"and","nodes":[{"key":"a"},{}]},"type":2}}"#,
        2,
        Request::Subscribe(Box::new(Subscribe {
            channel: "ticker:AAPL",
            token: "t",
            recover: true,
            epoch: "e1",
            offset: 41,
            data: b"{}",
            positioned: true,
            recoverable: true,
            join_leave: true,
            delta: "fossil",
            flag: 1,
            kind: 2,
        })),
    );
}

#[test]
fn unsubscribe() {
    asks(r#"{"id":3,"unsubscribe":{"channel":"c"}}"#, 3, Request::Unsubscribe { channel: "c" });
}

#[test]
fn publish() {
    asks(r#"{"id":4,"publish":{"channel":"c","data":{}}}"#, 4, Request::Publish { channel: "c", data: b"{}" });
    asks(r#"{"id":4,"publish":{"channel":"c","data":null}}"#, 4, Request::Publish { channel: "c", data: b"null" });
}

#[test]
fn history() {
    let since = Some(StreamPosition { offset: 1, epoch: "e" });
    let history = History { channel: "c", limit: -10, since, reverse: true };
    asks(r#"{"id":5,"history":{"channel":"c","limit":-10,"since":{"offset":1,"epoch":"e"},"reverse":true}}"#, 5, Request::History(history));
    asks(
        r#"{"id":5,"history":{"channel":"c","since":{}}}"#,
        5,
        Request::History(History { channel: "c", since: Some(StreamPosition::default()), ..History::default() }),
    );
    asks(r#"{"id":5,"history":{"since":null}}"#, 5, Request::History(History::default()));
}

#[test]
fn presence() {
    asks(r#"{"id":6,"presence":{"channel":"c"}}"#, 6, Request::Presence { channel: "c" });
    asks(r#"{"id":7,"presence_stats":{"channel":"c"}}"#, 7, Request::PresenceStats { channel: "c" });
}

#[test]
fn ping_send_and_rpc() {
    asks(r#"{"ping":{},"send":{"data":[1]}}"#, 0, Request::Send { data: b"[1]" });
    asks(r#"{"id":7,"ping":{}}"#, 7, Request::Ping);
    asks(r#"{"send":{"data":[1, 2]}}"#, 0, Request::Send { data: b"[1, 2]" });
    asks(r#"{"id":8,"rpc":{"method":"m","data":"x"}}"#, 8, Request::Rpc { method: "m", data: br#""x""# });
}

#[test]
fn refresh() {
    asks(r#"{"id":9,"refresh":{"token":"t"}}"#, 9, Request::Refresh { token: "t" });
    asks(r#"{"id":10,"sub_refresh":{"channel":"c","token":"t"}}"#, 10, Request::SubRefresh { channel: "c", token: "t" });
}

#[test]
fn pong_and_unknown() {
    asks("{}", 0, Request::Pong);
    asks(" { } ", 0, Request::Pong);
    asks(r#"{"id":4294967295}"#, u32::MAX, Request::Unknown);
    asks(r#"{"id":3,"teleport":{"data":[[],{},{"a":[1,2]}]}}"#, 3, Request::Unknown);
    asks(r#"{"id":3,"ping":null}"#, 3, Request::Unknown);
}

#[test]
fn several_in_a_message() {
    let ping = |id| Command { id, request: Request::Ping };
    reads("{\"id\":1,\"ping\":{}}\n{\"id\":2,\"ping\":{}}\n\n \r\n{\"id\":3,\"ping\":{}}\n", &[ping(1), ping(2), ping(3)]);
    reads("", &[]);
    reads("\n\n", &[]);
    refuses("{}\n{\"id\":true}", Place::Byte(9), "an id from 0 to 4294967295");
}

#[test]
fn as_many_as_are_wanted() {
    let mut taken = 0;
    let result = Reader::default().commands(b"{}\n{}\nbroken", |_| {
        taken += 1;
        if taken == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert_eq!((result, taken), (Ok(()), 2));
}

#[test]
fn the_last_of_equal_keys() {
    asks(r#"{"id":1,"id":2,"ping":{},"publish":{"channel":"a","channel":"b"}}"#, 2, Request::Publish { channel: "b", data: b"" });
    let sub = |offset| Subscribe { offset, ..Subscribe::default() };
    asks(
        r#"{"connect":{"subs":{"b":{"offset":1},"a":{"offset":2},"b":{"offset":3},"b":{"offset":4}}}}"#,
        0,
        Request::Connect(Box::new(Connect { subs: vec![("a", sub(2)), ("b", sub(4))], ..Connect::default() })),
    );
}

#[test]
fn keys_and_strings_with_escapes() {
    asks(
        r#"{"\u0069d":1,"publish":{"channel":"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00é","data":"\u0041"}}"#,
        1,
        Request::Publish { channel: "\"\\/\u{8}\u{c}\n\r\té😀é", data: br#""\u0041""# },
    );
}

/// `"😀".slice(0, 1)` in JavaScript.
#[test]
fn half_a_surrogate_pair() {
    asks(
        r#"{"id":1,"publish":{"channel":"\ud83d \\ud83d \ude00\ud83d\ude00","data":"a\ud83d"}}"#,
        1,
        Request::Publish { channel: "\u{fffd} \\ud83d \u{fffd}😀", data: br#""a\ud83d""# },
    );
    refuses(r#"{"id":1,"rpc":{"data":"\ud83d"},}"#, Place::Byte(32), "JSON");
}

#[test]
fn wrong_types() {
    refuses("[]", Place::Byte(0), "a command: a JSON object");
    refuses(r#"{"id":"1"}"#, Place::Byte(6), "an id from 0 to 4294967295");
    refuses(r#"{"id":4294967296}"#, Place::Byte(6), "an id from 0 to 4294967295");
    refuses(r#"{"id":-1}"#, Place::Byte(6), "an id from 0 to 4294967295");
    refuses(r#"{"id":1,"ping":[]}"#, Place::Byte(15), "an object");
    refuses(r#"{"id":1,"publish":{"channel": 7}}"#, Place::Byte(30), "a string");
    refuses(r#"{"id":1,"subscribe":{"recover":1}}"#, Place::Byte(31), "true or false");
    refuses(r#"{"id":1,"subscribe":{"offset":18446744073709551616}}"#, Place::Byte(30), "a whole number from 0 to 18446744073709551615");
    refuses(r#"{"id":1,"subscribe":{"offset":1.5}}"#, Place::Byte(30), "a whole number from 0 to 18446744073709551615");
    refuses(r#"{"id":1,"subscribe":{"flag":9223372036854775808}}"#, Place::Byte(28), "a whole number of 64 bits");
    refuses(r#"{"id":1,"history":{"limit":2147483648}}"#, Place::Byte(27), "a whole number of 32 bits");
    refuses(r#"{"id":1,"connect":{"subs":{"a":[]}}}"#, Place::Byte(31), "an object");
    refuses("{}\n{\"id\":1", Place::Byte(9), "JSON");
    refuses("{}\n{\"id", Place::Command(3), "JSON");
}

#[test]
fn values_that_nobody_reads_have_a_depth_that_everybody_can() {
    let nested = |levels| format!(r#"{{"id":1,"rpc":{{"data":{}{}}}}}"#, "[".repeat(levels), "]".repeat(levels));
    let data = "[".repeat(120) + &"]".repeat(120);
    asks(&nested(120), 1, Request::Rpc { method: "", data: data.as_bytes() });
    assert_eq!(count(nested(200).as_bytes()).map_err(|error| error.expected), Err("at most 128 levels"));
    assert_eq!(count(nested(1_000_000).as_bytes()).map_err(|error| error.expected), Err("at most 128 levels"));
    assert!(count(&[b'['; 1_000_000]).is_err());
}
