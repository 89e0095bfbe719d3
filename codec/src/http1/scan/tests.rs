use proptest::prelude::*;

use super::*;

const LIMITS: HttpLimits = HttpLimits { head_bytes_max: 2048, fields_max: 16, target_bytes_max: 512, body_bytes_max: 0 };

/// Method, target, minor version, and the fields as text.
type Head = (Vec<u8>, Vec<u8>, u8, Vec<(Vec<u8>, Vec<u8>)>);

fn scanned(scan: &HeadScan, bytes: &[u8]) -> Head {
    let fields = scan.fields.iter().map(|field| (field.name.of(bytes).to_vec(), field.value.of(bytes).to_vec())).collect();
    (scan.method.of(bytes).to_vec(), scan.target.of(bytes).to_vec(), scan.minor_version, fields)
}

fn scan(bytes: &[u8]) -> Result<(Progress, Head), PeerError> {
    let mut scan = HeadScan::default();
    let progress = scan.advance(bytes, &LIMITS)?;
    Ok((progress, scanned(&scan, bytes)))
}

/// The naive reference: split into lines, then at spaces and colons. `None` is an error of whatever kind.
fn reference(bytes: &[u8]) -> Option<Head> {
    let bytes = bytes.strip_prefix(b"\r\n").unwrap_or(bytes);
    let token =
        |bytes: &[u8]| !bytes.is_empty() && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte));
    let text = |bytes: &[u8]| bytes.iter().all(|&byte| byte == b'\t' || (byte >= 0x20 && byte != 0x7f));
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let mut lines = Vec::new();
    let mut rest = &bytes[..end + 2];
    while let Some(end) = rest.windows(2).position(|window| window == b"\r\n") {
        lines.push(&rest[..end]);
        rest = &rest[end + 2..];
    }
    let mut parts = lines[0].split(|&byte| byte == b' ');
    let (method, target, version) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || !text(lines[0]) || !token(method) || target.is_empty() {
        return None;
    }
    let minor = [&b"HTTP/1.0"[..], b"HTTP/1.1"].iter().position(|known| *known == version)? as u8;
    let mut fields = Vec::new();
    for line in &lines[1..] {
        let colon = line.iter().position(|&byte| byte == b':')?;
        if !token(&line[..colon]) || !text(&line[colon + 1..]) {
            return None;
        }
        fields.push((line[..colon].to_vec(), trim(&line[colon + 1..]).to_vec()));
    }
    Some((method.to_vec(), target.to_vec(), minor, fields))
}

#[test]
fn a_real_request() {
    let bytes =
        b"GET /chat?x=1 HTTP/1.1\r\nHost: server.example.com\r\nUpgrade:\twebsocket \t\r\nX-Empty:\r\nCONNECTION: Upgrade\r\n\r\n\x81\x00";
    let (progress, head) = scan(bytes).unwrap();
    assert_eq!(progress, Progress::Complete(bytes.len() - 2));
    assert_eq!(head, reference(&bytes[..bytes.len() - 2]).unwrap());
    assert_eq!(head.3[1].1, b"websocket");
}

#[test]
fn known_names_are_found_in_any_case_and_no_others() {
    let mut scan = HeadScan::default();
    let bytes = b"GET / HTTP/1.1\r\nSEC-WebSocket-KEY: a\r\nTransfer-encoding: b\r\nExpect: c\r\noRIGIN: d\r\nSec-WebSocket-Kez: e\r\n\r\n";
    scan.advance(bytes, &LIMITS).unwrap();
    let known: Vec<Name> = scan.fields.iter().map(|field| field.known).collect();
    assert_eq!(known, [Name::SecWebSocketKey, Name::TransferEncoding, Name::Expect, Name::Origin, Name::Other]);
}

#[test]
fn every_prefix_is_incomplete() {
    let bytes = b"\r\nGET /chat HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n";
    for length in 0..bytes.len() {
        assert_eq!(scan(&bytes[..length]).unwrap().0, Progress::Incomplete, "{length}");
    }
}

#[test]
fn what_is_malformed_is_named_with_its_place() {
    let line = |at| PeerError::RequestLine { at };
    let name = |at| PeerError::FieldName { at };
    let value = |at| PeerError::FieldValue { at };
    let cases: [(&[u8], PeerError); 19] = [
        (b"GET / HTTP/1.1\nHost: a\r\n\r\n", line(14)),
        (b"GET / HTTP/1.1\rHost: a\r\n\r\n", line(14)),
        (b"\r\n\r\nGET / HTTP/1.1\r\n\r\n", line(2)),
        (b"GET  / HTTP/1.1\r\n\r\n", line(4)),
        (b"GET / x HTTP/1.1\r\n\r\n", line(6)),
        (b"GET / HTTP/1.1 \r\n\r\n", line(6)),
        (b"GET /\r\n\r\n", line(5)),
        (b"G(T / HTTP/1.1\r\n\r\n", line(1)),
        (b" / HTTP/1.1\r\n\r\n", line(0)),
        (b"GET / http/1.1\r\n\r\n", line(6)),
        (b"GET / HTTP/1.10\r\n\r\n", line(6)),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", PeerError::HttpVersion),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", name(20)),
        (b"GET / HTTP/1.1\r\nHost\r\n\r\n", name(20)),
        (b"GET / HTTP/1.1\r\n: a\r\n\r\n", name(16)),
        (b"GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", name(25)),
        (b"GET / HTTP/1.1\r\nHost: a\0\r\n\r\n", value(23)),
        (b"GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", value(23)),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\rx", name(25)),
    ];
    for (bytes, error) in cases {
        assert_eq!(scan(bytes), Err(error), "{}", bytes.escape_ascii());
    }
}

#[test]
fn a_client_hello_is_refused_at_its_first_byte() {
    assert_eq!(scan(b"\x16\x03\x01\x02\x00\x01"), Err(PeerError::RequestLine { at: 0 }));
}

#[test]
fn limits() {
    let head = |fields: usize, target: usize, value: usize| {
        let mut bytes = format!("GET /{} HTTP/1.1\r\n", "x".repeat(target - 1)).into_bytes();
        for _ in 0..fields {
            bytes.extend_from_slice(format!("a: {}\r\n", "v".repeat(value)).as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes
    };
    assert!(matches!(scan(&head(16, 512, 10)), Ok((Progress::Complete(_), _))));
    assert_eq!(scan(&head(17, 10, 10)), Err(PeerError::TooManyFields));
    assert_eq!(scan(&head(1, 513, 10)), Err(PeerError::TargetTooLong));
    assert_eq!(scan(&[b'x'; 1000]), Err(PeerError::TargetTooLong));
    assert_eq!(scan(&head(1, 10, 2048)), Err(PeerError::HeadTooLarge));
    let exact = head(1, 10, 2048 - head(1, 10, 0).len());
    assert_eq!(scan(&exact).unwrap().0, Progress::Complete(2048));
}

fn head_like() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => Just(b"\r\n".to_vec()),
        3 => Just(b"GET / HTTP/1.1\r\n".to_vec()),
        3 => Just(b"\r\n\r\n".to_vec()),
        4 => "[A-Za-z-]{1,70}: ?[ -~]{0,90}\r\n".prop_map(String::into_bytes),
        1 => Just(b"\r".to_vec()),
        1 => Just(b"\n".to_vec()),
        1 => Just(b": \t".to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..4),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| {
        let mut bytes = b"GET /chat HTTP/1.1\r\n".to_vec();
        bytes.extend(pieces.concat());
        bytes
    })
}

proptest! {
    #[test]
    fn the_scan_agrees_with_the_reference(bytes in head_like()) {
        match scan(&bytes) {
            Ok((Progress::Complete(length), head)) => prop_assert_eq!(Some(head), reference(&bytes[..length])),
            Ok((Progress::Incomplete, _)) => prop_assert!(!bytes.windows(4).any(|window| window == b"\r\n\r\n")),
            Err(PeerError::TooManyFields | PeerError::HeadTooLarge | PeerError::TargetTooLong) => {}
            // An error is seen before the head's end; whatever completes the head, the reference refuses it too.
            Err(_) => prop_assert_eq!(reference(&[&bytes[..], b"\r\n\r\n"].concat()), None),
        }
    }

    #[test]
    fn any_split_gives_the_same(bytes in head_like(), cuts in prop::collection::vec(0..400usize, 0..20)) {
        let whole = scan(&bytes);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).chain([bytes.len()]).collect();
        cuts.sort_unstable();
        let mut scan = HeadScan::default();
        let mut last = Ok(Progress::Incomplete);
        for cut in cuts {
            last = scan.advance(&bytes[..cut], &LIMITS);
            if last != Ok(Progress::Incomplete) {
                break;
            }
        }
        prop_assert_eq!(last.map(|progress| (progress, scanned(&scan, &bytes))), whole);
    }
}
