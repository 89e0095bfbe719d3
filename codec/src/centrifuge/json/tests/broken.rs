use proptest::prelude::*;
use serde_json::{Value, value::RawValue};

use super::*;

/// As [`count`], with serde_json as a judge of the syntax: one that also looks into values is stricter than this crate, about halves of
/// surrogate pairs, one that skips them is laxer, about numbers beyond a double.
#[track_caller]
fn agrees(message: &[u8]) {
    let lax = |line: &[u8]| str::from_utf8(line).is_ok_and(|line| serde_json::from_str::<&RawValue>(line).is_ok());
    let strict = |line: &[u8]| serde_json::from_slice::<Value>(line).is_ok();
    let lines = || message.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    for line in lines() {
        assert_eq!(is_json(line), lax(line), "{}", line.escape_ascii());
    }
    match count(message) {
        Ok(commands) => assert!(commands == lines().count() && lines().all(lax), "{}", message.escape_ascii()),
        Err(Malformed { at: Place::Byte(at) | Place::Command(at), expected }) => {
            assert!(at <= message.len() && (expected != "JSON" || !lines().all(strict)), "{expected}: {}", message.escape_ascii());
        }
    }
}

const MESSAGE: &str = r#"{"id":2,"subscribe":{"channel":"a\u00e9\ud83d\ude00\"","data":{"x":[1.5e3,-2,true,null,"\\y"]},"offset":41,"é":[]}}
{"id":1,"connect":{"subs":{"c":{"recover":true}},"x":false}}"#;

#[test]
fn every_prefix() {
    (0..=MESSAGE.len()).for_each(|end| agrees(&MESSAGE.as_bytes()[..end]));
}

#[test]
fn every_byte_as_every_other() {
    for place in 0..MESSAGE.len() {
        for byte in 0..=u8::MAX {
            let mut message = MESSAGE.as_bytes().to_vec();
            message[place] = byte;
            agrees(&message);
        }
    }
}

proptest! {
    #[test]
    fn text_of_parts(
        text in prop_oneof![
            r#"([\[\]{}:,"\\ \n0-9.eE+-]|null|true|false|"id"|"data"|"rpc"|\\u[0-9a-f]{4}|\PC){0,80}"#,
            // Short enough that much of it is right.
            r"-?[0-9]{0,2}[.eE+0-9-]{0,4}",
            r#"\{("(id|rpc|x)":[0{}]{1,3},?){0,3}\}"#,
            r#"[\[\]{}:,"0a ]{0,9}"#,
        ],
    ) {
        agrees(text.as_bytes());
    }

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        agrees(&bytes);
    }

    #[test]
    fn bytes_lost_and_gained(cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<Option<u8>>()), 1..6)) {
        let mut message = MESSAGE.as_bytes().to_vec();
        for (at, byte) in cuts {
            let at = at.index(message.len());
            match byte {
                Some(byte) => message.insert(at, byte),
                None => drop(message.remove(at)),
            }
        }
        agrees(&message);
    }
}
