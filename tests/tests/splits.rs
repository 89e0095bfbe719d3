//! The same bytes give the same answers however TCP cuts them: whole, byte by byte, and at random boundaries.

use fantail_tests::{Deflater, Frame, Peer, Random, Request, Server, frames, on_each_driver};

on_each_driver! {
    plain_requests,
    a_bad_request,
    a_request_too_large,
    messages_of_all_kinds,
    compressed_messages,
    a_broken_frame,
    bad_utf8,
}

/// What the server answered up to the end of the connection, without the one field that changes by itself.
fn transcript<'a>(server: &Server, pieces: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut peer = Peer::connect(server.edge);
    peer.send_pieces(pieces);
    let answer = peer.rest();
    let lines = answer.split_inclusive(|&byte| byte == b'\n');
    lines.filter(|line| !line.to_ascii_lowercase().starts_with(b"date:")).map(|line| line.escape_ascii().to_string()).collect()
}

/// The conversation must end by itself, and only at the last byte: what is sent later may find the connection closed.
fn is_the_same_however_split(driver: &str, bytes: &[u8], expected: &[&str]) {
    let server = Server::start(driver, &[]);
    let whole = transcript(&server, [bytes]);
    let mut rest = whole.as_str();
    for part in expected {
        let at = rest.find(part).unwrap_or_else(|| panic!("no {part:?} in {rest}"));
        rest = &rest[at + part.len()..];
    }
    assert_eq!(transcript(&server, bytes.chunks(1)), whole, "byte by byte");
    for seed in 0..30 {
        let pieces = Random::new(seed).split(bytes, 1 << (seed % 8));
        assert_eq!(transcript(&server, pieces), whole, "split by seed {seed}");
    }
}

/// An upgrade and what follows it.
fn upgraded(extensions: bool, sent: impl IntoIterator<Item = Frame>) -> Vec<u8> {
    let request = Request::upgrade("/echo");
    let request = if extensions { request.with("Sec-WebSocket-Extensions", "permessage-deflate") } else { request };
    [request.bytes(), frames(sent)].concat()
}

fn plain_requests(driver: &str) {
    let post = Request::get("").line("POST /nowhere HTTP/1.1");
    let requests = [
        b"\r\n".to_vec(),
        Request::get("/nowhere").bytes(),
        post.clone().with("Content-Length", "5").body("hello").bytes(),
        post.clone().chunked(b"some more").bytes(),
        post.with("Transfer-Encoding", "chunked").body("5;a=b\r\nhello\r\n0\r\nX-Trailer: 1\r\n\r\n").bytes(),
        Request::get("/echo").with("Connection", "close").bytes(),
    ];
    is_the_same_however_split(driver, &requests.concat(), &["404", "404", "404", "404", "426"]);
}

fn a_bad_request(driver: &str) {
    let start = [Request::get("/nowhere").bytes(), b"GET /nowhere HTTP/1.1\r\nHost: fantail.test\r\nX-A\0".to_vec()].concat();
    is_the_same_however_split(driver, &start, &["404", "400"]);
}

fn a_request_too_large(driver: &str) {
    let start = format!("GET /nowhere HTTP/1.1\r\nX-Padding: {}", "p".repeat(16_384));
    is_the_same_however_split(driver, &start.as_bytes()[..16_385], &["431"]);
}

fn messages_of_all_kinds(driver: &str) {
    let sent = [
        Frame::text("κόσμε 🦚"),
        Frame::binary((0..=255).collect::<Vec<u8>>()),
        Frame::text("").unfinished(),
        Frame::ping("inside"),
        Frame::continuation("🦚".repeat(40)).unfinished(),
        Frame::continuation(""),
        Frame::pong("ignored"),
        Frame::binary(vec![1; 3_000]),
        Frame::close(4000, "done"),
    ];
    is_the_same_however_split(driver, &upgraded(false, sent), &["101", "\\x8a\\x06inside", "\\x88"]);
}

fn compressed_messages(driver: &str) {
    let text = "compressed and compressed again ".repeat(30);
    let payload = Deflater::default().message(text.as_bytes());
    let (start, end) = payload.split_at(payload.len() / 2);
    let sent = [
        Frame::text(payload.as_slice()).rsv(Frame::RSV1),
        Frame::text("plain"),
        Frame::text(start).rsv(Frame::RSV1).unfinished(),
        Frame::ping("inside"),
        Frame::continuation(end),
        Frame::close(1000, ""),
    ];
    is_the_same_however_split(driver, &upgraded(true, sent), &["101", "\\x81\\x05plain", "\\x8a\\x06inside", "\\x88\\x02\\x03\\xe8"]);
}

fn a_broken_frame(driver: &str) {
    let mut bytes = upgraded(false, [Frame::text("fine"), Frame::text("started").unfinished()]);
    bytes.push(0x83);
    is_the_same_however_split(driver, &bytes, &["101", "\\x81\\x04fine", "\\x88"]);
}

fn bad_utf8(driver: &str) {
    let bytes = upgraded(false, [Frame::text("fine"), Frame::text(b"so far \xED\xA0")]);
    is_the_same_however_split(driver, &bytes, &["101", "\\x81\\x04fine", "\\x88"]);
}
