use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// Any JSON value as somebody might write it.
fn value() -> impl Strategy<Value = String> {
    let string = prop_oneof![
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        // Escapes of all kinds, halves of surrogate pairs among them.
        r#""([a-zé/]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4}|\\u[dD][89abAB][0-9a-f]{2}){0,20}""#,
    ];
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|is| is.to_string()),
        r"-?(0|[1-9][0-9]{0,40})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?",
        string.clone(),
    ];
    let space = "[ \t\r]{0,2}";
    leaf.prop_recursive(6, 40, 6, move |inner| {
        let item = (space, inner.clone(), space).prop_map(|(before, item, behind)| before + &item + &behind);
        let member = (string.clone(), space, item.clone()).prop_map(|(key, space, item)| key + &space + ":" + &item);
        prop_oneof![
            prop::collection::vec(item, 0..6).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec(member, 0..6).prop_map(|members| format!("{{{}}}", members.join(","))),
        ]
    })
}

proptest! {
    #[test]
    fn comes_through_as_it_is(data in value(), other in value(), space in "[ \t\r]{0,3}") {
        let publish = format!(r#"{{"id":1,"x":{other},"publish":{{"y":{other},"data":{space}{data}{space},"channel":"c"}},"z":{other}}}"#);
        let rpc = format!(r#"{{"rpc":{{"method":"\u006d","z":[{other}],"data":{space}{data}{space}}},"id":2}}"#);
        reads(&format!("{publish}\n{rpc}"), &[
            Command { id: 1, request: Request::Publish { channel: "c", data: data.as_bytes() } },
            Command { id: 2, request: Request::Rpc { method: "m", data: data.as_bytes() } },
        ]);
        let mut out = Vec::new();
        write_data(data.as_bytes(), true, &mut out);
        prop_assert!(!out.contains(&b'\n'));
        let written: Vec<u8> = data.bytes().filter(|byte| *byte != b'\r').collect();
        prop_assert_eq!(out, written);
    }

    #[test]
    fn of_any_bytes_is_one_value(payload in prop::collection::vec(any::<u8>(), 0..60), text in any::<String>()) {
        for (payload, is_text) in [(&payload[..], false), (&payload, true), (text.as_bytes(), true), (text.as_bytes(), false)] {
            let mut out = Vec::new();
            write_data(payload, is_text, &mut out);
            let value: Value = serde_json::from_slice(&out).unwrap();
            let read_back = match (&value, serde_json::from_slice::<Value>(payload), str::from_utf8(payload)) {
                (_, Ok(json), _) => value == json,
                (Value::String(read), _, Ok(text)) if is_text => read == text,
                (Value::String(read), ..) => base64_simd::STANDARD.decode_to_vec(read).is_ok_and(|read| read == payload),
                _ => false,
            };
            prop_assert!(read_back && !out.contains(&b'\n'), "{:?}", String::from_utf8_lossy(&out));
        }
    }
}

#[test]
fn of_each_kind() {
    let written = |payload: &[u8], is_text| {
        let mut out = b"x".to_vec();
        write_data(payload, is_text, &mut out);
        String::from_utf8(out).unwrap().split_off(1)
    };
    assert_eq!(written(br#"{"a": "\n"}"#, true), r#"{"a": "\n"}"#);
    assert_eq!(written(b"{\r\n\t\"a\":\n[1]}\n", false), "{\t\"a\":[1]}");
    assert_eq!(written("he said \"\u{1}é\"\n\u{2028}".as_bytes(), true), "\"he said \\\"\\u0001é\\\"\\n\u{2028}\"");
    assert_eq!(written(b"{}\n{}", true), r#""{}\n{}""#);
    assert_eq!(written(b"", true), r#""""#);
    assert_eq!(written(b"\xff\x00", false), r#""/wA=""#);
    assert_eq!(written(b"\xff\x00", true), r#""/wA=""#);
    assert_eq!(written(b"plain", false), r#""cGxhaW4=""#);
    assert_eq!(written(b"1e999", true), "1e999");
    assert_eq!(written("[".repeat(200).as_bytes(), true), format!("\"{}\"", "[".repeat(200)));
}

#[test]
fn of_128_levels() {
    for levels in 1..300 {
        let arrays = "[".repeat(levels) + &"]".repeat(levels);
        let objects = "{\"a\":".repeat(levels) + "1" + &"}".repeat(levels);
        assert_eq!((is_json(arrays.as_bytes()), is_json(objects.as_bytes())), (levels <= 128, levels <= 128), "{levels}");
    }
    assert!(!is_json(&[b'['; 1_000_000]));
}
