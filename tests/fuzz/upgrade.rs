//! Opening handshakes made of plausible and of broken fields: what the server switches must have nothing wrong with it and be answered to the
//! byte, what it refuses must have wrong with it what the error says, and what it calls plain must not ask for a WebSocket.

use fantail_codec::PeerError;
use fantail_codec::accept;
use fantail_codec::deflate;
use fantail_codec::http1::{HeadScan, Progress, Request};
use fantail_codec::limits::HttpLimits;
use fantail_codec::upgrade::{Origins, Policy, Protocol, decide};
use fantail_tests::Random;

use crate::accept::key;
use crate::failure::show;
use crate::generate::Generate;
use crate::naive_fields::{self, Fields, is_key};

const HOSTS: [&str; 4] = ["a.example", "a.example:8080", "[::1]:80", "127.0.0.1"];
const BROKEN_HOSTS: [&str; 5] = ["", "a b", "u@a", "[::1", "a:x"];
const SUBPROTOCOLS: [&str; 4] = ["chat", "superchat", "Chat", "v1.json"];
pub const EXTENSIONS: [&str; 22] = [
    "permessage-deflate",
    "permessage-deflate; client_max_window_bits",
    "permessage-deflate; client_max_window_bits=9; server_no_context_takeover",
    "permessage-deflate; server_max_window_bits=10",
    "permessage-deflate;server_max_window_bits=\"15\" ; client_no_context_takeover",
    "permessage-deflate; server_max_window_bits=8",
    "permessage-deflate; client_max_window_bits=8",
    "permessage-deflate; server_max_window_bits=\"1\\4\"",
    "permessage-deflate; server_max_window_bits=16",
    "permessage-deflate; server_max_window_bits=09",
    "permessage-deflate; server_max_window_bits",
    "permessage-deflate; server_no_context_takeover=1",
    "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
    "permessage-deflate; client_max_window_bits; client_max_window_bits=10",
    "Permessage-Deflate",
    "foo, permessage-deflate; x=\"y\"",
    "foo; bar=\"b,c\"",
    "foo; a=\"\"",
    "foo bar",
    "permessage-deflate;",
    " , ,",
    "foo; =1",
];

pub fn case(random: &mut Random) {
    let (method, path) = (random.pick(&["GET", "GET", "GET", "GET", "GET", "GET", "POST", "get"]), "/chat?x=1");
    let absolute = random.one_in(6).then(|| random.pick(&HOSTS));
    let target = absolute.map_or(path.to_owned(), |host| format!("http://{host}{path}"));
    let version = if random.one_in(15) { "HTTP/1.0" } else { "HTTP/1.1" };
    let fields = fields(random);
    let policy = policy(random);
    let bytes = fields.head(&format!("{method} {target} {version}"));
    show("request", &bytes);

    let mut scan = HeadScan::default();
    assert_eq!(scan.advance(&bytes, &HttpLimits::DEFAULT), Ok(Progress::Complete(bytes.len())));
    let decision = decide(&Request::new(&bytes, &scan), &policy);
    let asks = !policy.protocols.is_empty()
        && version == "HTTP/1.1"
        && fields.names("Upgrade", "websocket")
        && fields.names("Connection", "upgrade");
    let is_wrong = |error| match error {
        PeerError::Method => method != "GET",
        PeerError::UpgradeBody | PeerError::ContentLength | PeerError::TransferEncoding | PeerError::TransferCoding => !fields.no_body(),
        PeerError::WebSocketVersion => fields.only("Sec-WebSocket-Version") != Some(b"13"),
        PeerError::Key => !fields.only("Sec-WebSocket-Key").is_some_and(is_key),
        PeerError::Origin => !origin_is_allowed(&fields, absolute, &policy.origins),
        PeerError::Negotiation => !fields.subprotocols_are_tokens() || fields.extensions().is_none(),
        _ => false,
    };
    match decision {
        Ok(None) => assert!(!asks, "it asks for a WebSocket; {policy:?}"),
        Err(error) => assert!(asks && is_wrong(error), "{error:?}; {policy:?}"),
        Ok(Some(switch)) => {
            assert!(asks);
            for error in [
                PeerError::Method,
                PeerError::UpgradeBody,
                PeerError::WebSocketVersion,
                PeerError::Key,
                PeerError::Origin,
                PeerError::Negotiation,
            ] {
                assert!(!is_wrong(error), "{error:?} was overlooked; {policy:?}");
            }
            let mut response = Vec::new();
            let place = switch.write(&mut response);
            accept::hash(&[switch.key], |_, accept| response[place..place + accept.len()].copy_from_slice(accept));
            let expected = response_to(&fields, &policy);
            assert_eq!(String::from_utf8_lossy(&response), expected, "{policy:?}");
        }
    }
}

/// RFC 6455 §10.2.
fn origin_is_allowed(fields: &Fields, absolute: Option<&str>, origins: &Origins) -> bool {
    if fields.lines("Origin").is_empty() {
        return true;
    }
    let Some(origin) = fields.only("Origin").map(|origin| String::from_utf8_lossy(origin).to_ascii_lowercase()) else { return false };
    match origins {
        Origins::Any => true,
        Origins::List(list) => list.iter().any(|allowed| allowed.eq_ignore_ascii_case(&origin)),
        Origins::SameHost => {
            let host = fields.only("Host").and_then(|host| HOSTS.into_iter().find(|known| known.as_bytes() == host));
            let (_, of) = origin.split_once("://").unwrap_or_default();
            host.is_some_and(|host| absolute.unwrap_or(host) == of)
        }
    }
}

/// The 101 that this request must get.
fn response_to(fields: &Fields, policy: &Policy) -> String {
    let key = String::from_utf8_lossy(fields.only("Sec-WebSocket-Key").unwrap_or_default());
    let accept = fantail_tests::accept(&key);
    let mut text =
        format!("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n");
    let mut offered = fields.list("Sec-WebSocket-Protocol").into_iter();
    if let Some(name) = offered.find_map(|name| policy.subprotocols.iter().find(|known| known.as_bytes() == name)) {
        text += &format!("Sec-WebSocket-Protocol: {name}\r\n");
    }
    let offers = fields.extensions().unwrap_or_default();
    // We cannot compress with a window of 8 bits, and need not tell a client that it may use any.
    let offer = offers.iter().filter_map(|offer| naive_fields::deflate(offer, true)).find(|offer| offer.server_max_window_bits != Some(8));
    if let (Some(policy), Some(offer)) = (policy.deflate, offer) {
        text += "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover";
        if offer.client_no_context_takeover || !policy.client_context_takeover {
            text += "; client_no_context_takeover";
        }
        if let Some(bits) = offer.server_max_window_bits {
            text += &format!("; server_max_window_bits={}", if bits == 15 { 15 } else { 9 });
        }
        text += "\r\n";
    }
    text + "\r\n"
}

fn policy(random: &mut Random) -> Policy {
    let chosen = |random: &mut Random| SUBPROTOCOLS.iter().filter(|_| random.one_in(2)).map(|&name| name.to_owned()).collect();
    Policy {
        protocols: if random.one_in(20) { Vec::new() } else { vec![Protocol::WebSocket] },
        subprotocols: chosen(random),
        origins: match random.below(3) {
            0 => Origins::Any,
            1 => Origins::SameHost,
            _ => Origins::List(vec!["http://a.example".into(), "https://[::1]:80".into()]),
        },
        deflate: (!random.one_in(4)).then(|| deflate::Policy { client_context_takeover: random.one_in(2) }),
    }
}

fn fields(random: &mut Random) -> Fields {
    let mut fields = Vec::new();
    let key = key(random);
    // Names with how often they are there, their sound values, and broken ones.
    let lines: [(&str, usize, &[&str], &[&str]); 10] = [
        ("Host", 16, &HOSTS, &BROKEN_HOSTS),
        ("Upgrade", 16, &["websocket", "WebSocket", "h2c, websocket"], &["websocketx", "", "h2c"]),
        ("Connection", 16, &["Upgrade", "keep-alive, upgrade", ",a,\tUPGRADE ,"], &["close", "upgrade d", ""]),
        ("Sec-WebSocket-Key", 16, &[&key], &["", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25jZR==", "dGhlIHNhbXBsZSBub25jZ*=="]),
        ("Sec-WebSocket-Version", 16, &["13", " 13\t"], &["8", "013", "13, 8", "\u{b9}3", ""]),
        ("Origin", 6, &["http://a.example", "https://[::1]:80", "http://A.EXAMPLE:8080"], &["null", "", "://", "a.example"]),
        ("Sec-WebSocket-Protocol", 6, &SUBPROTOCOLS, &["x, superchat, chat", ",", "a b", "chat;q=1", "\u{e9}"]),
        ("Sec-WebSocket-Extensions", 9, &EXTENSIONS[..5], &EXTENSIONS[5..]),
        ("Content-Length", 1, &["0", "00"], &["5", "", "+0", "0, 0", "18446744073709551616"]),
        ("Transfer-Encoding", 1, &["chunked"], &["gzip, chunked", "", "identity"]),
    ];
    for (name, sixteenths, sound, broken) in lines {
        while random.below(16 + usize::from(sixteenths == 16)) < sixteenths {
            let is_broken = random.one_in(if sixteenths == 16 { 24 } else { 3 });
            let value = random.pick(if is_broken { broken } else { sound });
            fields.push((random.any_case(name), value.as_bytes().to_vec()));
            if !random.one_in(if sixteenths == 16 { 30 } else { 4 }) {
                break;
            }
        }
    }
    for _ in 0..random.length(6) {
        let length = random.length(200);
        fields.push(("X-Other".into(), random.text(length)));
    }
    for last in (1..fields.len()).rev() {
        fields.swap(last, random.below(last + 1));
    }
    // Not the host, as only those above are known to be sound.
    let any = fields.iter_mut().find(|(name, _)| !name.eq_ignore_ascii_case("Host"));
    if let (true, Some((_, value))) = (random.one_in(20), any) {
        random.damage(value);
        value.retain(|&byte| byte >= b' ' && byte != 0x7f);
    }
    Fields(fields)
}
