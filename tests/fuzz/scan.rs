//! Heads of requests and responses, some broken, that arrive in pieces: after each piece the scan must say what a naive reader says of all
//! the bytes so far, and the positions it found must be the reader's values. One scan reads several heads.

use fantail_codec::PeerError;
use fantail_codec::http1::{Head, HeadScan, Name, Progress, Request, ResponseHead};
use fantail_codec::limits::{HEAD_BYTES_CEILING, HttpLimits};
use fantail_tests::Random;

use crate::failure::show;
use crate::generate::Generate;
use crate::naive_head::{self, NaiveHead};

/// The names that the scan knows, and what it knows them as.
const KNOWN: [(Name, &str); 12] = [
    (Name::Host, "Host"),
    (Name::Connection, "Connection"),
    (Name::Upgrade, "Upgrade"),
    (Name::Origin, "Origin"),
    (Name::Expect, "Expect"),
    (Name::ContentLength, "Content-Length"),
    (Name::TransferEncoding, "Transfer-Encoding"),
    (Name::SecWebSocketKey, "Sec-WebSocket-Key"),
    (Name::SecWebSocketAccept, "Sec-WebSocket-Accept"),
    (Name::SecWebSocketVersion, "Sec-WebSocket-Version"),
    (Name::SecWebSocketProtocol, "Sec-WebSocket-Protocol"),
    (Name::SecWebSocketExtensions, "Sec-WebSocket-Extensions"),
];

pub fn case(random: &mut Random) {
    let is_response = random.one_in(4);
    let mut scan = if is_response { HeadScan::for_response() } else { HeadScan::default() };
    for _ in 0..=random.below(2) {
        let bytes = head(random, is_response);
        let limits = match random.below(4) {
            1 => HttpLimits { head_bytes_max: HEAD_BYTES_CEILING, fields_max: 1000, target_bytes_max: 60_000, body_bytes_max: 0 },
            0 => HttpLimits {
                head_bytes_max: 1 + random.below(bytes.len() + 80),
                fields_max: random.below(12),
                target_bytes_max: random.below(100),
                body_bytes_max: 0,
            },
            _ => HttpLimits::DEFAULT,
        };
        show("head", &bytes);
        arrives_in_pieces(random, &mut scan, is_response, &bytes, &limits);
        scan.reset();
    }
}

fn arrives_in_pieces(random: &mut Random, scan: &mut HeadScan, is_response: bool, bytes: &[u8], limits: &HttpLimits) {
    let mut arrived = 0;
    for piece in random.pieces(bytes.len()) {
        arrived += piece;
        let expected = naive_head::read(&bytes[..arrived], is_response, limits);
        let progress = scan.advance(&bytes[..arrived], limits);
        match expected {
            Ok(None) => assert_eq!(progress, Ok(Progress::Incomplete), "after {arrived} bytes, {limits:?}"),
            Err(error) => {
                assert_eq!(progress, Err(error), "after {arrived} bytes, {limits:?}");
                // The limits apart, which may be seen before the error, the pieces do not matter.
                if !matches!(error, PeerError::TargetTooLong | PeerError::HeadTooLarge) {
                    assert_eq!(naive_head::read(bytes, is_response, limits), Err(error), "of all the bytes");
                }
                return;
            }
            Ok(Some((expected, length))) => {
                assert_eq!(progress, Ok(Progress::Complete(length)), "after {arrived} bytes, {limits:?}");
                agrees(scan, is_response, &bytes[..length], &expected);
                return;
            }
        }
    }
}

fn agrees(scan: &HeadScan, is_response: bool, bytes: &[u8], expected: &NaiveHead) {
    if is_response {
        let response = ResponseHead::new(bytes, scan);
        assert_eq!(Some(response.status()), expected.status);
        let _ = response.framing();
        fields_agree(&response, expected);
    } else {
        let request = Request::new(bytes, scan);
        assert_eq!(Some((request.method().to_vec(), request.target().to_vec())), expected.request);
        // These have their own target; here they only must not panic.
        let _ = (request.authority(), request.path(), request.framing());
        fields_agree(&request, expected);
    }
}

fn fields_agree(head: &Head<'_>, expected: &NaiveHead) {
    assert_eq!(head.is_http11(), expected.minor_version == 1);
    let fields: Vec<_> = head.fields().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
    assert_eq!(fields, expected.fields);
    for (name, text) in KNOWN {
        let lines = || expected.fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case(text.as_bytes())).map(|(_, value)| &value[..]);
        assert!(head.values(name).eq(lines()), "{text}");
        assert!(head.values_of(text).eq(lines()), "{text}");
    }
}

/// A head as peers send it, with something wrong in it more often than they would have it, and what may follow it.
fn head(random: &mut Random, is_response: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    if random.one_in(10) {
        bytes.extend(b"\r\n");
    }
    let version = *random.pick(&[&"HTTP/1.1", &"HTTP/1.1", &"HTTP/1.1", &"HTTP/1.0", &"HTTP/2.0", &"HTTP/1.11", &"http/1.1"]);
    if is_response {
        let status = random.pick(&["101", "200", "404", "099", "1000", "2x0", ""]);
        let reason = random.pick(&["", " ", " Switching Protocols", "  two  spaces ", " caf\u{e9}\t"]);
        bytes.extend(format!("{version} {status}{reason}").bytes());
    } else {
        let method = random.pick(&["GET", "GET", "GET", "POST", "OPTIONS", "g{t", ""]);
        let length = random.length(600);
        let target = random.text(length);
        let target = random.pick(&[&b"/"[..], b"/chat?x=%20", b"http://a.example:80/b", b"*", &target]);
        bytes.extend([method.as_bytes(), b" ", target, b" ", version.as_bytes()].concat());
    }
    let line_ends = ["\r\n"; 60].into_iter().chain(["\n", "\r", "\r\r\n", "\n\r", " \r\n"]).collect::<Vec<_>>();
    bytes.extend(random.pick(&line_ends).bytes());
    // Now and then more than one window of the index, or a head that ends where positions do.
    let fields = *random.pick(&[&20, &20, &20, &20, &20, &20, &20, &20, &200, &400]);
    let long = random.one_in(60).then(|| 50_000 + random.below(15_500));
    for _ in 0..random.length(fields) {
        bytes.extend(name(random));
        bytes.extend(random.pick(&[": ", ": ", ":", ":\t ", " : "]).bytes());
        bytes.extend(value(random));
        bytes.extend(random.pick(&line_ends).bytes());
    }
    if let Some(long) = long {
        bytes.extend([b"long:", vec![b'v'; long].as_slice(), b"\r\n"].concat());
    }
    bytes.extend(b"\r\n");
    let most_behind = *random.pick(&[&40, &40, &40, &4000]);
    let behind = random.length(most_behind);
    bytes.extend(random.bytes(behind));
    if random.one_in(3) {
        random.damage(&mut bytes);
    }
    bytes
}

fn name(random: &mut Random) -> Vec<u8> {
    let known = KNOWN[random.below(KNOWN.len())].1;
    let mut name = random.any_case(known).into_bytes();
    match random.below(6) {
        // As long as a known name, and nearly it: bit 5 is the case of a letter only.
        0 => {
            let at = random.below(name.len());
            name[at] ^= *random.pick(&[&0x20, &0x20, &1]);
        }
        1 => name = vec![b'x'; random.length(140)],
        _ => {}
    }
    name
}

fn value(random: &mut Random) -> Vec<u8> {
    let length = random.length(300);
    match random.below(4) {
        0 => vec![b'v'; length],
        1 => random.unicode(length / 4).into_bytes(),
        2 => (0..length).map(|_| 0x20 + random.below(0xe0) as u8).collect(),
        _ => random.pick(&["websocket", "Upgrade", "keep-alive, Upgrade", "13", "", " \t", "a\tb \t"]).as_bytes().to_vec(),
    }
}
