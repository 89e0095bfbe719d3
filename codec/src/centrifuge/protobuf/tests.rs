//! The bytes of named examples, put together by hand from client.proto, so that a wrong number shows; what is malformed; and properties.

use std::{collections::HashMap, ops::ControlFlow};

use proptest::{collection::vec, prelude::*};

use super::super::message::*;
use super::wire::{Field, Fields, Writer};
use super::{commands, write_ping, write_push, write_reply};

/// One command each of all kinds.
fn examples() -> Vec<(&'static [u8], Command<'static>)> {
    let position = StreamPosition { offset: 1, epoch: "e" };
    let resumed = Subscribe { recover: true, epoch: "e", offset: 5, ..Subscribe::default() };
    let connect = Connect { token: "t", data: b"{}", subs: vec![("c", resumed)], name: "js", version: "1" };
    let subscribe = Subscribe {
        channel: "c",
        token: "t",
        recover: true,
        epoch: "e",
        offset: 41,
        data: b"{}",
        positioned: true,
        recoverable: true,
        join_leave: true,
        delta: "fossil",
        flag: 3,
        kind: 2,
    };
    let examples: [(&[u8], u32, Request<'_>); 14] = [
        (b"\0", 0, Request::Pong),
        (
            // The last field is `headers`, which nobody here asks for.
            b"\x28\x08\x01\x22\x24\x0a\x01t\x12\x02{}\x1a\x0c\x0a\x01c\x12\x07\x18\x01\x32\x01e\x38\x05\x22\x02js\x2a\x011\
                \x32\x06\x0a\x01h\x12\x01v",
            1,
            Request::Connect(Box::new(connect)),
        ),
        (
            // Nor does anybody for `tf`, before `flag`, and for `phase`, the last.
            b"\x2c\x08\x02\x2a\x28\x0a\x01c\x12\x01t\x18\x01\x32\x01e\x38\x29\x42\x02{}\x48\x01\x50\x01\x58\x01\x62\x06fossil\
                \x6a\x00\x70\x03\x78\x02\x80\x01\x01",
            2,
            Request::Subscribe(Box::new(subscribe)),
        ),
        (b"\x07\x08\x03\x32\x03\x0a\x01c", 3, Request::Unsubscribe { channel: "c" }),
        (b"\x0b\x08\x04\x3a\x07\x0a\x01c\x12\x02{}", 4, Request::Publish { channel: "c", data: b"{}" }),
        (b"\x07\x08\x05\x42\x03\x0a\x01c", 5, Request::Presence { channel: "c" }),
        (b"\x07\x08\x06\x4a\x03\x0a\x01c", 6, Request::PresenceStats { channel: "c" }),
        (
            b"\x12\x08\x07\x52\x0e\x0a\x01c\x38\x0a\x42\x05\x08\x01\x12\x01e\x48\x01",
            7,
            Request::History(History { channel: "c", limit: 10, since: Some(position), reverse: true }),
        ),
        (b"\x04\x08\x08\x5a\x00", 8, Request::Ping),
        (b"\x06\x62\x04\x0a\x02{}", 0, Request::Send { data: b"{}" }),
        (b"\x0b\x08\x09\x6a\x07\x0a\x02{}\x12\x01m", 9, Request::Rpc { method: "m", data: b"{}" }),
        (b"\x07\x08\x0a\x72\x03\x0a\x01t", 10, Request::Refresh { token: "t" }),
        (b"\x0a\x08\x0b\x7a\x06\x0a\x01c\x12\x01t", 11, Request::SubRefresh { channel: "c", token: "t" }),
        (b"\x05\x08\x0c\x82\x01\x00", 12, Request::Unknown),
    ];
    examples.into_iter().map(|(bytes, id, request)| (bytes, Command { id, request })).collect()
}

/// The commands of a message, and how it ends.
fn read(message: &[u8]) -> (Vec<Command<'_>>, Result<(), Malformed>) {
    let mut read = Vec::new();
    let end = commands(message, |command| {
        read.push(command);
        ControlFlow::Continue(())
    });
    (read, end)
}

fn read_one(message: &[u8]) -> Command<'_> {
    let (mut read, end) = read(message);
    assert_eq!((read.len(), end), (1, Ok(())), "{}", message.escape_ascii());
    read.remove(0)
}

#[test]
fn each_command_alone_and_all_in_one_message() {
    let (bytes, expected): (Vec<&[u8]>, Vec<_>) = examples().into_iter().unzip();
    for (bytes, expected) in bytes.iter().zip(&expected) {
        assert_eq!(&read_one(bytes), expected);
    }
    assert_eq!(read(&bytes.concat()), (expected, Ok(())));
}

#[test]
fn a_request_may_be_empty_and_a_number_negative() {
    assert_eq!(read_one(b"\x04\x08\x01\x22\x00").request, Request::Connect(Box::default()));
    assert_eq!(read_one(b"\x04\x08\x01\x3a\x00").request, Request::Publish { channel: "", data: b"" });
    assert_eq!(
        read_one(b"\x0d\x52\x0b\x38\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
        Command { id: 0, request: Request::History(History { limit: -1, ..History::default() }) }
    );
    let since = Some(StreamPosition::default());
    assert_eq!(read_one(b"\x04\x52\x02\x42\x00").request, Request::History(History { since, ..History::default() }));
    let unnamed = Connect { subs: vec![("", Subscribe::default())], ..Connect::default() };
    assert_eq!(read_one(b"\x04\x22\x02\x1a\x00").request, Request::Connect(Box::new(unnamed)));
}

#[test]
fn of_several_requests_the_one_that_centrifuge_takes() {
    // Subscribe behind unsubscribe, ping behind both, rpc behind send.
    assert_eq!(read_one(b"\x06\x08\x01\x32\x00\x2a\x00").request, Request::Subscribe(Box::default()));
    assert_eq!(read_one(b"\x08\x08\x01\x32\x00\x2a\x00\x5a\x00").request, Request::Ping);
    assert_eq!(read_one(b"\x06\x08\x01\x62\x00\x6a\x00").request, Request::Rpc { method: "", data: b"" });
    // Of one that is there twice, and of a field, the last.
    assert_eq!(read_one(b"\x0a\x32\x03\x0a\x01a\x32\x03\x0a\x01b").request, Request::Unsubscribe { channel: "b" });
    assert_eq!(read_one(b"\x08\x32\x06\x0a\x01a\x0a\x01b").request, Request::Unsubscribe { channel: "b" });
}

#[test]
fn fields_of_unknown_numbers_are_passed_over_whatever_their_type() {
    let unknown = b"\x80\x7d\x05\x81\x7d12345678\x82\x7d\x02ab\x85\x7d1234";
    let mut message = vec![0, 0x08, 0x03, 0x32, 3 + unknown.len() as u8, 0x0a, 1, b'c'];
    message.extend_from_slice(unknown);
    message.extend_from_slice(unknown);
    message[0] = message.len() as u8 - 1;
    assert_eq!(read_one(&message), Command { id: 3, request: Request::Unsubscribe { channel: "c" } });
    // Nothing but such fields is nothing.
    assert_eq!(read_one(b"\x03\x80\x7d\x05").request, Request::Pong);
}

#[test]
fn what_is_malformed_is_told_with_its_byte() {
    let cases: [(&[u8], usize, &str); 14] = [
        (b"", 0, "a varint"),
        (b"\x80", 0, "a varint"),
        (b"\x02\x08\x80\x01", 2, "a varint"),
        (b"\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 2, "a varint"),
        (b"\x0c\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 2, "a varint"),
        (b"\x05\x08\x01", 0, "a length within the message"),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 0, "a length within the message"),
        // Within the WebSocket message, but not within its command.
        (b"\x04\x22\x03\x0a\x00\x00", 2, "a length within the message"),
        (b"\x02\x00\x01", 1, "a field number"),
        (b"\x01\x0b", 1, "a wire type of proto3"),
        (b"\x03\x81\x01\x00", 1, "eight bytes"),
        (b"\x02\x0a\x00", 1, "a varint field"),
        (b"\x02\x20\x01", 1, "a length-delimited field"),
        (b"\x08\x08\x03\x32\x04\x0a\x02c\xff", 8, "UTF-8"),
    ];
    for (message, at, expected) in cases {
        let malformed = Malformed { at: Place::Byte(at), expected };
        assert_eq!(read(message), (vec![], Err(malformed)), "{}", message.escape_ascii());
    }
    assert_eq!(
        read(b"\0\x01\x0b"),
        (vec![Command { id: 0, request: Request::Pong }], Err(Malformed { at: Place::Byte(2), expected: "a wire type of proto3" }))
    );
}

#[test]
fn a_prefix_holds_the_commands_that_are_complete() {
    let (bytes, expected): (Vec<&[u8]>, Vec<_>) = examples().into_iter().unzip();
    let message = bytes.concat();
    for length in 1..message.len() {
        let (commands, end) = read(&message[..length]);
        let (mut complete, mut rest) = (0, length);
        while rest >= bytes[complete].len() {
            rest -= bytes[complete].len();
            complete += 1;
        }
        assert_eq!(commands, expected[..complete], "{length}");
        assert_eq!(end.is_ok(), rest == 0, "{length}");
    }
}

#[test]
fn the_reader_stops_when_told_to() {
    let mut taken = 0;
    let end = commands(b"\0\0\0\xff", |_| {
        taken += 1;
        if taken == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert_eq!((taken, end), (2, Ok(())));
}

#[test]
fn each_reply() {
    let ends = |ttl| ExpiryResult { ttl: Some(ttl) };
    let publications = || vec![Publication { offset: 42, ..publication() }];
    let info = ClientInfo { user: "u", client: "a", ..ClientInfo::default() };
    let connect = ConnectResult {
        client: "u",
        version: "v",
        expiry: ends(600),
        data: Some(Data::Raw(b"{}")),
        subs: vec![("c", SubscribeResult { positioned: true, ..SubscribeResult::default() })],
        ping: 25,
        pong: true,
        session: "s",
        node: "n",
        time: 1,
    };
    let subscribe = SubscribeResult {
        expiry: ends(10),
        recoverable: true,
        positioned: true,
        epoch: "e",
        offset: 42,
        was_recovering: true,
        recovered: true,
        publications: publications(),
        data: Some(Data::Text("{}")),
        delta: true,
        id: Some(7),
    };
    let cases: [(u32, Reply<'_>, &[u8]); 12] = [
        (4, Reply::Error(ErrorReply { code: 103, message: "no", temporary: true }), b"\x0c\x08\x04\x12\x08\x08\x67\x12\x02no\x18\x01"),
        (
            1,
            Reply::Connect(connect),
            b"\x28\x08\x01\x2a\x24\x0a\x01u\x12\x01v\x18\x01\x20\xd8\x04\x2a\x02{}\x32\x07\x0a\x01c\x12\x02\x50\x01\x38\x19\x40\x01\
                \x4a\x01s\x52\x01n\x58\x01",
        ),
        (
            2,
            Reply::Subscribe(subscribe),
            b"\x25\x08\x02\x32\x21\x08\x01\x10\x0a\x18\x01\x32\x01e\x3a\x06\x22\x02{}\x30\x2a\x40\x01\x48\x2a\x50\x01\x5a\x02{}\x60\x01\
                \x68\x01\x70\x07",
        ),
        (3, Reply::Unsubscribe, b"\x04\x08\x03\x3a\x00"),
        (4, Reply::Publish, b"\x04\x08\x04\x42\x00"),
        (6, Reply::Presence(&[info]), b"\x11\x08\x06\x4a\x0d\x0a\x0b\x0a\x01a\x12\x06\x0a\x01u\x12\x01a"),
        (7, Reply::PresenceStats { num_clients: 2, num_users: 1 }, b"\x08\x08\x07\x52\x04\x08\x02\x10\x01"),
        (
            5,
            Reply::History(HistoryResult { publications: publications(), epoch: "e", offset: 9 }),
            b"\x11\x08\x05\x5a\x0d\x0a\x06\x22\x02{}\x30\x2a\x12\x01e\x18\x09",
        ),
        (8, Reply::Ping, b"\x04\x08\x08\x62\x00"),
        (9, Reply::Rpc { data: Data::Raw(b"{}") }, b"\x08\x08\x09\x6a\x04\x0a\x02{}"),
        (10, Reply::Refresh { client: "u", expiry: ends(10) }, b"\x0b\x08\x0a\x72\x07\x0a\x01u\x18\x01\x20\x0a"),
        (11, Reply::SubRefresh(ends(10)), b"\x08\x08\x0b\x7a\x04\x08\x01\x10\x0a"),
    ];
    for (id, reply, expected) in cases {
        let mut out = Vec::new();
        write_reply(id, &reply, &mut out);
        assert_eq!(out.escape_ascii().to_string(), expected.escape_ascii().to_string(), "{reply:?}");
    }
}

#[test]
fn each_push() {
    let info = ClientInfo { user: "u", client: "a", conn_info: Some(b"1"), chan_info: Some(b"2") };
    let user = ClientInfo { user: "u", ..ClientInfo::default() };
    let tags = [("k".into(), "v".into())];
    let full = Publication { info: Some(info), offset: 43, tags: &tags, delta: true, time: 5, channel: "d", key: "k", ..publication() };
    let position = StreamPosition { offset: 42, epoch: "e" };
    let (channel, none) = (Target::Channel("c"), Target::Channel(""));
    let cases: [(Target<'_>, Push<'_>, &[u8]); 9] = [
        (
            channel,
            Push::Publication(full),
            b"\x2d\x22\x2b\x12\x01c\x22\x26\x22\x02{}\x2a\x0c\x0a\x01u\x12\x01a\x1a\x011\x22\x012\x30\x2b\x3a\x06\x0a\x01k\x12\x01v\
                \x40\x01\x48\x05\x52\x01d\x5a\x01k",
        ),
        (Target::Id(7), Push::Publication(publication()), b"\x0a\x22\x08\x08\x07\x22\x04\x22\x02{}"),
        (channel, Push::Join(user), b"\x0c\x22\x0a\x12\x01c\x2a\x05\x0a\x03\x0a\x01u"),
        (channel, Push::Leave(user), b"\x0c\x22\x0a\x12\x01c\x32\x05\x0a\x03\x0a\x01u"),
        (channel, Push::Unsubscribe { code: 2500, reason: "no" }, b"\x0e\x22\x0c\x12\x01c\x3a\x07\x10\xc4\x13\x1a\x02no"),
        (none, Push::Message { data: Data::Raw(b"{}") }, b"\x08\x22\x06\x42\x04\x0a\x02{}"),
        (
            channel,
            Push::Subscribe { recoverable: true, positioned: true, position },
            b"\x10\x22\x0e\x12\x01c\x4a\x09\x08\x01\x22\x01e\x28\x2a\x30\x01",
        ),
        (none, Push::Refresh(ExpiryResult { ttl: Some(10) }), b"\x08\x22\x06\x62\x04\x08\x01\x10\x0a"),
        (channel, Push::Position(position), b"\x0d\x22\x0b\x12\x01c\xc2\x3e\x05\x08\x2a\x12\x01e"),
    ];
    for (target, push, expected) in cases {
        let mut out = Vec::new();
        write_push(target, &push, &mut out);
        assert_eq!(out.escape_ascii().to_string(), expected.escape_ascii().to_string(), "{push:?}");
    }
}

#[test]
fn what_is_written_is_appended() {
    let mut out = b"before".to_vec();
    write_ping(&mut out);
    write_reply(8, &Reply::Ping, &mut out);
    write_push(Target::Id(7), &Push::Publication(publication()), &mut out);
    assert_eq!(out, b"before\0\x04\x08\x08\x62\x00\x0a\x22\x08\x08\x07\x22\x04\x22\x02{}");
}

fn publication() -> Publication<'static> {
    Publication { data: Data::Raw(b"{}"), info: None, offset: 0, tags: &[], delta: false, time: 0, channel: "", key: "" }
}

/// A client's subscribe request, as a client would write it.
fn write_subscribe(w: &mut Writer<'_>, subscribe: &Subscribe<'_>) {
    w.string(1, subscribe.channel);
    w.string(2, subscribe.token);
    w.flag(3, subscribe.recover);
    w.string(6, subscribe.epoch);
    w.integer(7, subscribe.offset);
    w.bytes(8, subscribe.data);
    w.flag(9, subscribe.positioned);
    w.flag(10, subscribe.recoverable);
    w.flag(11, subscribe.join_leave);
    w.string(12, subscribe.delta);
    w.integer(14, subscribe.flag as u64);
    w.integer(15, subscribe.kind as u64);
}

proptest! {
    #[test]
    fn a_connect_is_read_as_it_was_written(
        id: u32,
        texts in vec(any::<String>(), 8),
        data in vec(any::<u8>(), 0..300),
        flags: [bool; 4],
        offset: u64,
        flag: i64,
        kind: i32,
        subs in 0..4usize,
    ) {
        let [channel, token, epoch, delta, name, version, key, other] = [0, 1, 2, 3, 4, 5, 6, 7].map(|index| texts[index].as_str());
        let [recover, positioned, recoverable, join_leave] = flags;
        let subscribe = Subscribe {
            channel, token, recover, epoch, offset, data: &data, positioned, recoverable, join_leave, delta, flag, kind
        };
        let subs = [(key, subscribe), (other, Subscribe::default()), (channel, Subscribe::default())].into_iter().take(subs).collect();
        let connect = Connect { token, data: &data, subs, name, version };
        let mut message = Vec::new();
        Writer::new(&mut message).delimited(|w| {
            w.integer(1, id.into());
            w.message(4, |w| {
                w.string(1, connect.token);
                w.bytes(2, connect.data);
                for (channel, subscribe) in &connect.subs {
                    w.message(3, |w| {
                        w.string(1, channel);
                        w.message(2, |w| write_subscribe(w, subscribe));
                    });
                }
                w.string(4, connect.name);
                w.string(5, connect.version);
            });
        });
        prop_assert_eq!(read_one(&message), Command { id, request: Request::Connect(Box::new(connect)) });
    }

    #[test]
    fn every_length_stands_for_what_follows_it(
        channel: String,
        data in vec(any::<u8>(), 0..20_000),
        offset: u64,
        time: i64,
        user in "\\PC{0,200}",
        key: String,
        tags in vec((any::<String>(), any::<String>()), 0..4),
    ) {
        let tags: Vec<(Box<str>, Box<str>)> = tags.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        let info = Some(ClientInfo { user: &user, ..ClientInfo::default() });
        let publication = Publication { data: Data::Raw(&data), info, offset, tags: &tags, time, key: &key, ..publication() };
        let mut out = Vec::new();
        write_push(Target::Channel(&channel), &Push::Publication(publication), &mut out);
        write_ping(&mut out);

        let mut messages = Fields::new(&out);
        let reply = fields(messages.delimited()?)?;
        prop_assert!(messages.delimited()?.is_empty() && messages.is_empty());
        let push = fields(reply[&4][0].message()?)?;
        prop_assert_eq!(push.get(&2).map_or(Ok(""), |field| field[0].string())?, channel);
        let publication = fields(push[&4][0].message()?)?;
        prop_assert_eq!(publication.get(&4).map_or(Ok(&[][..]), |field| field[0].bytes())?, data);
        prop_assert_eq!(publication.get(&6).map_or(Ok(0), |field| field[0].integer())?, offset);
        prop_assert_eq!(publication.get(&9).map_or(Ok(0), |field| field[0].integer())?, time as u64);
        prop_assert_eq!(publication.get(&11).map_or(Ok(""), |field| field[0].string())?, key);
        let info = fields(publication[&5][0].message()?)?;
        prop_assert_eq!(info.get(&1).map_or(Ok(""), |field| field[0].string())?, user);
        for (written, (name, value)) in publication.get(&7).into_iter().flatten().zip(&tags) {
            let tag = fields(written.message()?)?;
            prop_assert_eq!(tag.get(&1).map_or(Ok(""), |field| field[0].string())?, &**name);
            prop_assert_eq!(tag.get(&2).map_or(Ok(""), |field| field[0].string())?, &**value);
        }
        prop_assert_eq!(publication.get(&7).map_or(0, Vec::len), tags.len());
    }

    #[test]
    fn no_bytes_are_too_strange(bytes in vec(any::<u8>(), 0..64)) {
        places_are_within(&bytes)?;
    }

    #[test]
    fn nor_are_flipped_ones(flips in vec((any::<prop::sample::Index>(), 0..8u32), 1..6)) {
        let mut message = examples().into_iter().map(|(bytes, _)| bytes).collect::<Vec<_>>().concat();
        for (at, bit) in flips {
            let at = at.index(message.len());
            message[at] ^= 1 << bit;
        }
        places_are_within(&message)?;
    }
}

/// The fields of a message by their numbers.
fn fields(fields: Fields<'_>) -> Result<HashMap<u32, Vec<Field<'_>>>, Malformed> {
    let mut by_number = HashMap::<_, Vec<_>>::new();
    for field in fields {
        let field = field?;
        by_number.entry(field.number).or_default().push(field);
    }
    Ok(by_number)
}

fn places_are_within(message: &[u8]) -> Result<(), TestCaseError> {
    let (read, end) = read(message);
    prop_assert!(read.len() <= message.len());
    match end {
        Err(Malformed { at: Place::Byte(at), .. }) => prop_assert!(at <= message.len()),
        Err(Malformed { at: Place::Command(_), .. }) => prop_assert!(false, "this reader knows the byte"),
        Ok(()) => prop_assert!(!read.is_empty()),
    }
    Ok(())
}
