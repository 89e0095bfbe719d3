//! The client's half of the opening handshake: our server must take every offer that our client writes, and of any response our client must
//! take what has nothing wrong with it and refuse the rest for a reason that holds.

use fantail_codec::accept::Key;
use fantail_codec::deflate;
use fantail_codec::http1::{HeadScan, Progress, Request, ResponseHead};
use fantail_codec::limits::HttpLimits;
use fantail_codec::upgrade::client::{Offer, Refusal, judge};
use fantail_codec::upgrade::{Origins, Policy, Protocol, decide};
use fantail_tests::Random;

use crate::accept::key;
use crate::failure::show;
use crate::generate::Generate;
use crate::naive_fields::{self, Fields};
use crate::upgrade::EXTENSIONS;

pub fn case(random: &mut Random) {
    let key = Key::parse(key(random).as_bytes()).expect("a sound key");
    let subprotocols: Vec<String> = ["chat", "v1.json"].into_iter().filter(|_| random.one_in(2)).map(str::to_owned).collect();
    let given = [("X-Token".to_owned(), "a b".to_owned()), ("HOST".to_owned(), "b.example".to_owned())];
    let fields = &given[..random.below(3)];
    let offer = Offer { host: "a.example", target: "/x", key, fields, subprotocols: &subprotocols, deflate: random.one_in(2) };
    our_server_takes(&offer);
    for _ in 0..4 {
        let status = *random.pick(&[&"101", &"101", &"101", &"101", &"101", &"200", &"301", &"999"]);
        judges(random, &offer, status);
    }
}

fn our_server_takes(offer: &Offer<'_>) {
    let mut request = Vec::new();
    offer.write(&mut request);
    show("offer", &request);
    let mut scan = HeadScan::default();
    assert_eq!(scan.advance(&request, &HttpLimits::DEFAULT), Ok(Progress::Complete(request.len())));
    let policy = Policy {
        protocols: vec![Protocol::WebSocket],
        subprotocols: vec!["v1.json".into()],
        origins: Origins::SameHost,
        deflate: Some(deflate::Policy { client_context_takeover: true }),
    };
    match decide(&Request::new(&request, &scan), &policy) {
        Ok(Some(switch)) => {
            assert_eq!((switch.key, switch.deflate.is_some()), (offer.key, offer.deflate));
            assert_eq!(switch.subprotocol.is_some(), offer.subprotocols.contains(&policy.subprotocols[0]));
        }
        other => panic!("{other:?}"),
    }
}

fn judges(random: &mut Random, offer: &Offer<'_>, status: &str) {
    let accept = fantail_tests::accept(offer.key.as_str());
    let fields = fields(random, &accept);
    let head = fields.head(&format!("HTTP/1.1 {status} as you like"));
    show("response", &head);
    let mut scan = HeadScan::for_response();
    assert_eq!(scan.advance(&head, &HttpLimits::DEFAULT), Ok(Progress::Complete(head.len())));

    let upgrade: Vec<_> = fields.list("Upgrade").into_iter().map(<[u8]>::to_ascii_lowercase).collect();
    let upgrades = upgrade == [b"websocket"];
    let connects = fields.names("Connection", "upgrade");
    let accepts = fields.only("Sec-WebSocket-Accept") == Some(accept.as_bytes());
    let lines = fields.lines("Sec-WebSocket-Protocol");
    let subprotocol = match lines[..] {
        [] => Some(None),
        [name] => offer.subprotocols.iter().position(|offered| offered.as_bytes() == name).map(Some),
        _ => None,
    };
    let extensions = fields.extensions().and_then(|extensions| match &extensions[..] {
        [] => Some(None),
        [only] => naive_fields::deflate(only, false).filter(|answer| offer.deflate && answer.client_max_window_bits != Some(8)).map(Some),
        _ => None,
    });
    match judge(&ResponseHead::new(&head, &scan), offer) {
        Ok(accepted) => {
            assert!(status == "101" && upgrades && connects && accepts, "a fault was overlooked");
            assert_eq!(Some(accepted.subprotocol), subprotocol);
            let agreed = accepted.deflate.map(|agreed| {
                (agreed.server_no_context_takeover, agreed.client_no_context_takeover, agreed.server_window_bits, agreed.client_window_bits)
            });
            let answer = extensions.expect("an answer to the offer").map(|answer| {
                let (server, client) = (answer.server_max_window_bits.unwrap_or(15), answer.client_max_window_bits.unwrap_or(15));
                (answer.server_no_context_takeover, answer.client_no_context_takeover, server, client)
            });
            assert_eq!(agreed, answer);
        }
        Err(refusal) => {
            let holds = match &refusal {
                Refusal::Status { status: refused, .. } => status != "101" && status == refused.to_string(),
                Refusal::Upgrade(_) => !upgrades,
                Refusal::Connection(_) => !connects,
                Refusal::Accept { expected, .. } => !accepts && expected == accept.as_bytes(),
                Refusal::Extensions { .. } => extensions.is_none(),
                Refusal::Subprotocol(_) => subprotocol.is_none(),
            };
            assert!(holds, "{refusal}");
        }
    }
}

fn fields(random: &mut Random, accept: &str) -> Fields {
    let mut fields = Vec::new();
    let lowered = accept.to_ascii_lowercase();
    let lines: [(&str, &[&str]); 6] = [
        ("Upgrade", &["websocket", "websocket", "websocket", "WebSocket", "websocket, h2c", "", "web\u{e9}"]),
        ("Connection", &["Upgrade", "Upgrade", "upgrade, x", "close", ""]),
        ("Sec-WebSocket-Accept", &[accept, accept, accept, accept, accept, &lowered, &accept[1..], ""]),
        ("Sec-WebSocket-Protocol", &["chat", "v1.json", "Chat", "", "chat, chat"]),
        ("Sec-WebSocket-Extensions", &EXTENSIONS),
        ("Location", &["wss://b.example/", "\u{1f600}"]),
    ];
    for (at, (name, values)) in lines.into_iter().enumerate() {
        let is_needed = at < 3;
        while random.one_in(3) || (is_needed && !random.one_in(20)) {
            fields.push((random.any_case(name), random.pick(values).as_bytes().to_vec()));
            if !random.one_in(20) {
                break;
            }
        }
    }
    let first = random.below(fields.len() + 1);
    fields.rotate_left(first);
    Fields(fields)
}
