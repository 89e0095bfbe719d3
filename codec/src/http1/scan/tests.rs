use proptest::prelude::*;

use super::*;
use crate::{http1::trim, limits::HEAD_BYTES_CEILING};

const LIMITS: HttpLimits = HttpLimits { head_bytes_max: 2048, fields_max: 16, target_bytes_max: 512, body_bytes_max: 0 };

/// The parts of the first line, minor version, and the fields as text.
type Head = (StartLine, u8, Vec<(Vec<u8>, Vec<u8>)>);

#[derive(Debug, PartialEq, Eq)]
enum StartLine {
    Request { method: Vec<u8>, target: Vec<u8> },
    Status(u16),
}

fn scanned(scan: &HeadScan, bytes: &[u8]) -> Head {
    let fields = scan.fields(bytes).map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
    let start_line = match scan.first {
        Part::StatusLine => StartLine::Status(scan.status),
        _ => StartLine::Request { method: scan.method.of(bytes).to_vec(), target: scan.target.of(bytes).to_vec() },
    };
    (start_line, scan.minor_version, fields)
}

fn scan_with(mut scan: HeadScan, bytes: &[u8]) -> Result<(Progress, Head), PeerError> {
    let progress = scan.advance(bytes, &LIMITS)?;
    Ok((progress, scanned(&scan, bytes)))
}

fn scan(bytes: &[u8]) -> Result<(Progress, Head), PeerError> {
    scan_with(HeadScan::default(), bytes)
}

fn scan_response(bytes: &[u8]) -> Result<(Progress, Head), PeerError> {
    scan_with(HeadScan::for_response(), bytes)
}

fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

fn is_text(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == b'\t' || (byte >= 0x20 && byte != 0x7f))
}

fn reference_version(version: &[u8]) -> Option<u8> {
    [&b"HTTP/1.0"[..], b"HTTP/1.1"].iter().position(|known| *known == version).map(|minor| minor as u8)
}

fn reference_request_line(line: &[u8]) -> Option<(StartLine, u8)> {
    let mut parts = line.split(|&byte| byte == b' ');
    let (method, target, version) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || !is_token(method) || target.is_empty() {
        return None;
    }
    Some((StartLine::Request { method: method.to_vec(), target: target.to_vec() }, reference_version(version)?))
}

fn reference_status_line(line: &[u8]) -> Option<(StartLine, u8)> {
    let mut parts = line.splitn(3, |&byte| byte == b' ');
    let (version, status) = (parts.next()?, std::str::from_utf8(parts.next()?).ok()?);
    let status = status.parse().ok().filter(|code: &u16| *code >= 100 && code.to_string() == status && status.len() == 3)?;
    Some((StartLine::Status(status), reference_version(version)?))
}

/// The naive reference: split into lines, then at spaces and colons. `None` is an error of whatever kind.
fn reference(bytes: &[u8]) -> Option<Head> {
    reference_with(bytes.strip_prefix(b"\r\n").unwrap_or(bytes), reference_request_line)
}

fn reference_with(bytes: &[u8], start_line: fn(&[u8]) -> Option<(StartLine, u8)>) -> Option<Head> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let mut lines = Vec::new();
    let mut rest = &bytes[..end + 2];
    while let Some(end) = rest.windows(2).position(|window| window == b"\r\n") {
        lines.push(&rest[..end]);
        rest = &rest[end + 2..];
    }
    let (start_line, minor) = start_line(lines[0]).filter(|_| is_text(lines[0]))?;
    let mut fields = Vec::new();
    for line in &lines[1..] {
        let colon = line.iter().position(|&byte| byte == b':')?;
        if !is_token(&line[..colon]) || !is_text(&line[colon + 1..]) {
            return None;
        }
        fields.push((line[..colon].to_vec(), trim(&line[colon + 1..]).to_vec()));
    }
    Some((start_line, minor, fields))
}

#[test]
fn a_real_request() {
    let bytes =
        b"GET /chat?x=1 HTTP/1.1\r\nHost: server.example.com\r\nUpgrade:\twebsocket \t\r\nX-Empty:\r\nCONNECTION: Upgrade\r\n\r\n\x81\x00";
    let (progress, head) = scan(bytes).unwrap();
    assert_eq!(progress, Progress::Complete(bytes.len() - 2));
    assert_eq!(head, reference(&bytes[..bytes.len() - 2]).unwrap());
    assert_eq!(head.2[1].1, b"websocket");
}

#[test]
fn a_real_response() {
    let bytes =
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nSec-WebSocket-Accept:\ts3pPLMBiTxaQ9kYGzzhZRbK+xOo= \r\n\r\n\x81\x00";
    let (progress, head) = scan_response(bytes).unwrap();
    assert_eq!(progress, Progress::Complete(bytes.len() - 2));
    assert_eq!(head, reference_with(&bytes[..bytes.len() - 2], reference_status_line).unwrap());
    assert_eq!((head.0, head.1), (StartLine::Status(101), 1));
    assert_eq!(head.2[1].1, b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

#[test]
fn status_lines() {
    let wrong = |at| Err(PeerError::StatusLine { at });
    for (line, expected) in [
        ("HTTP/1.1 200 OK", Ok((200, 1))),
        ("HTTP/1.0 599 A \t long \u{e9} one", Ok((599, 0))),
        ("HTTP/1.1 200 ", Ok((200, 1))),
        ("HTTP/1.1 200", Ok((200, 1))),
        ("HTTP/1.1 200  two spaces", Ok((200, 1))),
        ("HTTP/1.1 999", Ok((999, 1))),
        ("HTTP/2.0 200 OK", Err(PeerError::HttpVersion)),
        ("", wrong(0)),
        (" HTTP/1.1 200 OK", wrong(0)),
        ("http/1.1 200 OK", wrong(0)),
        ("SSH-2.0-OpenSSH_9.6", wrong(0)),
        ("HTTP/1.1", wrong(8)),
        ("HTTP/1.1  200 OK", wrong(8)),
        ("HTTP/1.1 20 OK", wrong(8)),
        ("HTTP/1.1 2000 OK", wrong(8)),
        ("HTTP/1.1 099 OK", wrong(8)),
        ("HTTP/1.10 200 OK", wrong(8)),
        ("HTTP/1.1 200 O\0K", wrong(14)),
    ] {
        let scanned = scan_response(format!("{line}\r\n\r\n").as_bytes());
        assert_eq!(scanned.map(|(_, head)| (head.0, head.1)), expected.map(|(status, minor)| (StartLine::Status(status), minor)), "{line}");
    }
    assert_eq!(scan_response(b"HTTP/1.1 200 OK\nHost: a\r\n\r\n"), Err(PeerError::StatusLine { at: 15 }));
}

#[test]
fn the_fields_of_a_response_obey_the_rules_of_a_request_s() {
    for (fields, error) in [
        ("Host : a\r\n", PeerError::FieldName { at: 21 }),
        ("Host: a\r\n b\r\n", PeerError::FieldName { at: 26 }),
        ("Host: a\0\r\n", PeerError::FieldValue { at: 24 }),
        (&"a: b\r\n".repeat(17), PeerError::TooManyFields),
        (&format!("a: {}\r\n", "v".repeat(2048)), PeerError::HeadTooLarge),
    ] {
        assert_eq!(scan_response(format!("HTTP/1.1 200 OK\r\n{fields}\r\n").as_bytes()), Err(error), "{fields}");
    }
    let reason = |bytes: usize| format!("HTTP/1.1 200 {}\r\n\r\n", "x".repeat(bytes));
    assert_eq!(scan_response(reason(2048 - 17).as_bytes()).unwrap().0, Progress::Complete(2048));
    assert_eq!(scan_response(reason(2048 - 16).as_bytes()), Err(PeerError::HeadTooLarge));
}

#[test]
fn a_scan_that_is_reset_reads_another_head_of_its_kind() {
    for (mut scan, bytes) in [
        (HeadScan::default(), &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..]),
        (HeadScan::for_response(), b"HTTP/1.1 204 No Content\r\nServer: a\r\n\r\n"),
    ] {
        let expected = scan_with(scan.clone(), bytes);
        for _ in 0..2 {
            let progress = scan.advance(bytes, &LIMITS);
            assert_eq!(progress.map(|progress| (progress, scanned(&scan, bytes))), expected);
            scan.reset();
        }
    }
}

#[test]
fn known_names_are_found_in_any_case_and_no_others() {
    let mut scan = HeadScan::default();
    let bytes = b"GET / HTTP/1.1\r\nSEC-WebSocket-KEY: a\r\nsec-websocket-ACCEPT: f\r\nTransfer-encoding: b\r\nExpect: c\r\noRIGIN: d\r\nSec-WebSocket-Kez: e\r\n\r\n";
    scan.advance(bytes, &LIMITS).unwrap();
    let known: Vec<Name> = scan.fields(bytes).map(|(name, _)| Name::of(name)).collect();
    assert_eq!(known, [Name::SecWebSocketKey, Name::SecWebSocketAccept, Name::TransferEncoding, Name::Expect, Name::Origin, Name::Other]);
}

#[test]
fn every_prefix_is_incomplete() {
    for (scan, bytes) in [
        (HeadScan::default(), &b"\r\nGET /chat HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n"[..]),
        (HeadScan::for_response(), b"HTTP/1.1 200 OK\r\nHost: a\r\nX: y\r\n\r\n"),
    ] {
        for length in 0..bytes.len() {
            assert_eq!(scan_with(scan.clone(), &bytes[..length]).unwrap().0, Progress::Incomplete, "{length}");
        }
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

/// More marks than one window has, and positions up to the last that there can be, at once and in pieces.
#[test]
fn the_largest_heads() {
    let limits = HttpLimits { head_bytes_max: HEAD_BYTES_CEILING, fields_max: 1000, target_bytes_max: 100, body_bytes_max: 0 };
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "Host: a\r\nX-Y:b\r\n".repeat(500));
    let line = "GET / HTTP/1.1\r\na: ";
    let longest = format!("{line}{}\r\n\r\n", "x".repeat(HEAD_BYTES_CEILING - line.len() - 4));
    for head in [many, longest] {
        let expected = reference(head.as_bytes()).unwrap();
        let behind = [head.as_bytes(), b"\r\n:\r\n".repeat(100).as_slice()].concat();
        for step in [behind.len(), 4096, 1000, 63] {
            let mut scan = HeadScan::default();
            let arrivals = (step..=behind.len()).step_by(step).chain([behind.len()]);
            let mut progress = arrivals.map(|arrived| scan.advance(&behind[..arrived], &limits).unwrap());
            assert_eq!(progress.find(|&progress| progress != Progress::Incomplete), Some(Progress::Complete(head.len())));
            drop(progress);
            assert_eq!(scanned(&scan, head.as_bytes()), expected);
        }
    }
}

/// Heads of requests or of responses, most of them with something wrong.
fn head_like(first_lines: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let first_line = prop::sample::select(first_lines).prop_map(|line| line.as_bytes().to_vec());
    let piece = prop_oneof![
        4 => Just(b"\r\n".to_vec()),
        3 => first_line.clone(),
        3 => Just(b"\r\n\r\n".to_vec()),
        4 => "[A-Za-z-]{1,70}: ?[ -~]{0,90}\r\n".prop_map(String::into_bytes),
        1 => Just(b"\r".to_vec()),
        1 => Just(b"\n".to_vec()),
        1 => Just(b": \t".to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..4),
    ];
    (first_line, prop::collection::vec(piece, 0..12)).prop_map(|(first_line, pieces)| [first_line, pieces.concat()].concat())
}

const REQUEST_LINES: &[&str] = &["GET /chat HTTP/1.1\r\n"];
const STATUS_LINES: &[&str] = &["HTTP/1.1 101 Switching Protocols\r\n", "HTTP/1.0 404\r\n", "HTTP/1.1 200 ", "HTTP/1.1 5"];

/// That the scan of all the bytes at once came to what the reference comes to.
fn agrees(
    scanned: Result<(Progress, Head), PeerError>,
    bytes: &[u8],
    reference: impl Fn(&[u8]) -> Option<Head>,
) -> Result<(), TestCaseError> {
    match scanned {
        Ok((Progress::Complete(length), head)) => prop_assert_eq!(Some(head), reference(&bytes[..length])),
        Ok((Progress::Incomplete, _)) => prop_assert!(!bytes.windows(4).any(|window| window == b"\r\n\r\n")),
        Err(PeerError::TooManyFields | PeerError::HeadTooLarge | PeerError::TargetTooLong) => {}
        // An error is seen before the head's end; whatever completes the head, the reference refuses it too.
        Err(_) => prop_assert_eq!(reference(&[bytes, b"\r\n\r\n"].concat()), None),
    }
    Ok(())
}

/// That the bytes given up to each cut in turn come to what they come to at once.
fn splits_agree(mut scan: HeadScan, bytes: &[u8], cuts: Vec<usize>) -> Result<(), TestCaseError> {
    let whole = scan_with(scan.clone(), bytes);
    let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).chain([bytes.len()]).collect();
    cuts.sort_unstable();
    let mut last = Ok(Progress::Incomplete);
    for cut in cuts {
        last = scan.advance(&bytes[..cut], &LIMITS);
        if last != Ok(Progress::Incomplete) {
            break;
        }
    }
    prop_assert_eq!(last.map(|progress| (progress, scanned(&scan, bytes))), whole);
    Ok(())
}

proptest! {
    #[test]
    fn the_scan_agrees_with_the_reference(bytes in head_like(REQUEST_LINES)) {
        agrees(scan(&bytes), &bytes, reference)?;
    }

    #[test]
    fn the_scan_of_responses_agrees_with_the_reference(bytes in head_like(STATUS_LINES)) {
        agrees(scan_response(&bytes), &bytes, |bytes| reference_with(bytes, reference_status_line))?;
    }

    #[test]
    fn any_split_gives_the_same(bytes in head_like(REQUEST_LINES), cuts in prop::collection::vec(0..400usize, 0..20)) {
        splits_agree(HeadScan::default(), &bytes, cuts)?;
    }

    #[test]
    fn any_split_of_a_response_gives_the_same(bytes in head_like(STATUS_LINES), cuts in prop::collection::vec(0..400usize, 0..20)) {
        splits_agree(HeadScan::for_response(), &bytes, cuts)?;
    }
}
