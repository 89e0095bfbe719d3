//! HTTP/1.1 as bytes (RFC 9112): syntax, limits, bodies, and requests that follow one another.
//! A request that is understood goes to `/nowhere` and is answered 404, so that every other status is the parser's own.

use fantail_tests::{Frame, Peer, Request, Server, frames, on_each_driver};

on_each_driver! {
    a_leading_crlf_is_skipped,
    a_bare_cr_never_ends_a_line,
    a_bare_lf_is_a_line_end_or_an_error,
    nul_is_400,
    white_space_around_a_name_is_400,
    a_folded_line_is_400,
    a_bad_name_is_400,
    as_many_fields_as_allowed_pass_and_one_more_is_431,
    a_head_within_the_limit_passes_and_a_larger_one_is_431,
    a_head_that_never_ends_is_431,
    a_target_within_the_limit_passes_and_a_longer_one_is_414,
    a_target_that_never_ends_is_414,
    a_body_on_an_upgrade_is_never_read_as_frames,
    an_empty_body_on_an_upgrade_is_fine,
    a_bad_content_length_is_400,
    a_transfer_coding_that_is_not_chunked_is_refused,
    content_length_with_transfer_encoding_is_400,
    transfer_encoding_in_http_1_0_closes,
    bad_chunks_are_400,
    chunks_extensions_and_trailers_are_read_over,
    chunk_extensions_are_bounded,
    trailers_are_bounded,
    a_body_within_the_limit_passes_and_a_larger_one_is_413,
    plain_requests_may_be_pipelined,
    a_get_and_an_upgrade_in_one_segment_work,
    connection_close_is_obeyed,
    http_1_0_is_answered_and_closed,
    expect_100_continue_is_answered_before_the_body,
    an_expected_body_that_is_too_large_is_not_asked_for,
    the_answer_to_head_has_no_body,
    the_answer_to_a_bad_head_has_no_body_either,
    a_half_closed_connection_is_still_answered,
}

fn nowhere() -> Request {
    Request::get("/nowhere")
}

fn post() -> Request {
    nowhere().line("POST /nowhere HTTP/1.1")
}

/// These bytes are answered with one of `statuses`, and the connection ends.
fn is_final(server: &Server, bytes: impl Into<Vec<u8>>, statuses: &[u16]) {
    let bytes = bytes.into();
    let shown = bytes[..bytes.len().min(200)].escape_ascii().to_string();
    let (mut peer, response) = Peer::ask(server.edge, bytes);
    assert!(statuses.contains(&response.status), "{shown} was answered {response:?}");
    assert!(response.closes(), "{shown} was answered {response:?}");
    peer.expect_end();
}

/// These bytes are answered 404, and the next request on the connection is answered too.
fn is_understood(server: &Server, bytes: impl Into<Vec<u8>>) {
    let bytes = bytes.into();
    let shown = bytes[..bytes.len().min(200)].escape_ascii().to_string();
    let (mut peer, response) = Peer::ask(server.edge, bytes);
    assert_eq!(response.status, 404, "{shown}");
    peer.send(Request::get("/echo"));
    assert_eq!(peer.response().status, 426, "{shown}");
}

fn a_leading_crlf_is_skipped(driver: &str) {
    let server = Server::start(driver, &[]);
    is_understood(&server, [b"\r\n".to_vec(), nowhere().bytes()].concat());
    let (mut peer, response) = Peer::ask(server.edge, [b"\r\n".to_vec(), Request::upgrade("/echo").bytes()].concat());
    assert_eq!(response.status, 101);
    peer.expect_echo("hello");
}

fn a_bare_cr_never_ends_a_line(driver: &str) {
    let server = Server::start(driver, &[]);
    for request in [
        "GET /nowhere HTTP/1.1\rHost: fantail.test\r\n\r\n",
        "GET /nowhere HTTP/1.1\r\nHost: fantail.test\rX-A: 1\r\n\r\n",
        "GET /nowhere HTTP/1.1\r\nHost: fantail.test\r\r\n\r\n",
        "GET /nowhere HTTP/1.1\r\nHost: fantail.test\r\n\rX-A: 1\r\n\r\n",
        "GET /nowhere\r HTTP/1.1\r\nHost: fantail.test\r\n\r\n",
    ] {
        is_final(&server, request, &[400]);
    }
}

fn a_bare_lf_is_a_line_end_or_an_error(driver: &str) {
    let server = Server::start(driver, &[]);
    for request in ["GET /nowhere HTTP/1.1\nHost: fantail.test\n\n", "GET /nowhere HTTP/1.1\r\nHost: fantail.test\nX-A: 1\r\n\r\n"] {
        let status = Peer::ask(server.edge, request).1.status;
        assert!([404, 400].contains(&status), "{request:?} was answered {status}");
    }
}

fn nul_is_400(driver: &str) {
    let server = Server::start(driver, &[]);
    is_final(&server, nowhere().with("X-A", "a\0b"), &[400]);
    is_final(&server, nowhere().with("X\0A", "b"), &[400]);
    is_final(&server, nowhere().line("GET /no\0where HTTP/1.1"), &[400]);
}

fn white_space_around_a_name_is_400(driver: &str) {
    let server = Server::start(driver, &[]);
    for line in ["X-A : 1", "X-A\t: 1", " X-A: 1", "Host : fantail.test"] {
        is_final(&server, format!("GET /nowhere HTTP/1.1\r\n{line}\r\nHost: fantail.test\r\n\r\n"), &[400]);
    }
}

fn a_folded_line_is_400(driver: &str) {
    let server = Server::start(driver, &[]);
    for fold in [" folded", "\tfolded", " ", " X-B: 2"] {
        is_final(&server, format!("GET /nowhere HTTP/1.1\r\nHost: fantail.test\r\nX-A: 1\r\n{fold}\r\n\r\n"), &[400]);
    }
}

fn a_bad_name_is_400(driver: &str) {
    let server = Server::start(driver, &[]);
    for line in ["no colon", "nocolon", ": empty", "X@A: 1", "X(A): 1", "\"X\": 1", "X A: 1", "Naïve: 1", "X\x7FA: 1"] {
        is_final(&server, format!("GET /nowhere HTTP/1.1\r\nHost: fantail.test\r\n{line}\r\n\r\n"), &[400]);
    }
    is_understood(&server, nowhere().with("!#$%&'*+-.^_`|~0Az", "every character a token may have"));
}

fn as_many_fields_as_allowed_pass_and_one_more_is_431(driver: &str) {
    let server = Server::start(driver, &[]);
    let with_fields = |count: usize| (1..count).fold(nowhere(), |request, index| request.with(&format!("X-{index}"), "1"));
    is_understood(&server, with_fields(100));
    is_final(&server, with_fields(101), &[431]);
}

fn a_head_within_the_limit_passes_and_a_larger_one_is_431(driver: &str) {
    let server = Server::start(driver, &[]);
    let with_head = |bytes: usize| {
        let rest = nowhere().with("X-Padding", "").bytes().len();
        nowhere().with("X-Padding", "p".repeat(bytes - rest))
    };
    is_understood(&server, with_head(16_384));
    is_final(&server, with_head(16_385), &[431]);
}

fn a_head_that_never_ends_is_431(driver: &str) {
    let server = Server::start(driver, &[]);
    is_final(&server, format!("GET /nowhere HTTP/1.1\r\nX-Padding: {}", "p".repeat(20_000)), &[431]);
    is_final(&server, format!("GET /nowhere HTTP/1.1\r\n{}", "n".repeat(20_000)), &[431]);
}

fn a_target_within_the_limit_passes_and_a_longer_one_is_414(driver: &str) {
    let server = Server::start(driver, &[]);
    let with_target = |bytes: usize| nowhere().line(&format!("GET /{} HTTP/1.1", "t".repeat(bytes - 1)));
    is_understood(&server, with_target(8_192));
    is_final(&server, with_target(8_193), &[414]);
}

fn a_target_that_never_ends_is_414(driver: &str) {
    let server = Server::start(driver, &[]);
    is_final(&server, format!("GET /{}", "t".repeat(20_000)), &[414]);
}

fn a_body_on_an_upgrade_is_never_read_as_frames(driver: &str) {
    let server = Server::start(driver, &[]);
    let body = Frame::text("smuggled").bytes();
    let upgrade = || Request::upgrade("/echo");
    let with_length = upgrade().with("Content-Length", body.len().to_string()).body(&body);
    for request in [with_length, upgrade().chunked(&body)] {
        let (mut peer, response) = Peer::ask(server.edge, request);
        match response.status {
            101 => peer.expect_echo("mine"),
            400 | 413 => {
                assert!(response.closes(), "{response:?}");
                peer.expect_end();
            }
            status => panic!("a body on an upgrade was answered {status}"),
        }
    }
}

fn an_empty_body_on_an_upgrade_is_fine(driver: &str) {
    let server = Server::start(driver, &[]);
    Peer::upgrade_with(server.edge, Request::upgrade("/echo").with("Content-Length", "0")).0.expect_echo("hello");
}

fn a_bad_content_length_is_400(driver: &str) {
    let server = Server::start(driver, &[]);
    for length in ["", "-1", "+5", "5a", "0x5", "5 5", "5, 6", "99999999999999999999999", "١"] {
        is_final(&server, post().with("Content-Length", length).body("hello"), &[400]);
    }
    is_final(&server, post().with("Content-Length", "5").and("Content-Length", "6").body("hello!"), &[400]);
    is_understood(&server, post().with("Content-Length", "5").body("hello"));
}

fn a_transfer_coding_that_is_not_chunked_is_refused(driver: &str) {
    let server = Server::start(driver, &[]);
    let coded = |coding: &str| post().with("Transfer-Encoding", coding).body("5\r\nhello\r\n0\r\n\r\n");
    for last in ["chunked, gzip", "chunked, identity", "chunked, chunked"] {
        is_final(&server, coded(last), &[400]);
    }
    is_final(&server, coded("chunked").and("Transfer-Encoding", "chunked"), &[400]);
    for unknown in ["foo, chunked", "gzip, chunked"] {
        is_final(&server, coded(unknown), &[501]);
    }
    // Both unknown and without an end: either answer is right.
    for neither in ["foo", "chunkedx", "xchunked", "\"chunked\"", "identity"] {
        is_final(&server, coded(neither), &[400, 501]);
    }
}

fn content_length_with_transfer_encoding_is_400(driver: &str) {
    let server = Server::start(driver, &[]);
    is_final(&server, post().with("Content-Length", "5").chunked(b"hello"), &[400]);
    is_final(&server, post().chunked(b"hello").with("Content-Length", "15"), &[400]);
}

fn transfer_encoding_in_http_1_0_closes(driver: &str) {
    let server = Server::start(driver, &[]);
    let (mut peer, response) = Peer::ask(server.edge, post().line("POST /nowhere HTTP/1.0").chunked(b"hello"));
    assert!([400, 404].contains(&response.status), "{response:?}");
    peer.expect_end();
}

fn bad_chunks_are_400(driver: &str) {
    let server = Server::start(driver, &[]);
    for chunks in [
        "0x5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5g\r\nhello\r\n0\r\n\r\n",
        "00000000000000005\r\nhello\r\n0\r\n\r\n",
        "FFFFFFFFFFFFFFFFF\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        ";a=b\r\nhello\r\n0\r\n\r\n",
        "5\rhello\r\n0\r\n\r\n",
        "5;a=\rb\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\r0\r\n\r\n",
        "5\r\nhellohello\r\n0\r\n\r\n",
    ] {
        is_final(&server, post().with("Transfer-Encoding", "chunked").body(chunks), &[400]);
    }
}

fn chunks_extensions_and_trailers_are_read_over(driver: &str) {
    let server = Server::start(driver, &[]);
    for chunks in [
        "5\r\nhello\r\n0\r\n\r\n",
        "5;name=value;flag;quoted=\"a b\"\r\nhello\r\n0;last\r\n\r\n",
        "05\r\nhello\r\nA\r\nhellohello\r\n000\r\n\r\n",
        "5\r\nhello\r\n0\r\nX-Trailer: 1\r\nX-Other: 2\r\n\r\n",
        "0\r\n\r\n",
    ] {
        is_understood(&server, post().with("Transfer-Encoding", "Chunked").body(chunks));
    }
}

/// The server stops reading somewhere within these bytes, so that its answer may be lost to a reset; but what it answers is no 404.
fn is_cut_short(server: &Server, bytes: Vec<u8>) {
    let mut peer = Peer::connect(server.edge);
    peer.try_send(bytes);
    let answer = peer.rest();
    let status = answer.get(9..12);
    assert!([None, Some(&b"400"[..]), Some(b"413"), Some(b"431")].contains(&status), "{}", answer.escape_ascii());
}

fn chunk_extensions_are_bounded(driver: &str) {
    let server = Server::start(driver, &[]);
    let long = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(1 << 20));
    is_cut_short(&server, post().with("Transfer-Encoding", "chunked").body(long).bytes());
    let many = "1;extension=padding\r\nh\r\n".repeat(1 << 20);
    is_cut_short(&server, post().with("Transfer-Encoding", "chunked").body(many + "0\r\n\r\n").bytes());
}

fn trailers_are_bounded(driver: &str) {
    let server = Server::start(driver, &[]);
    let trailers = "X-Trailer: 1\r\n".repeat(100_000);
    is_cut_short(&server, post().with("Transfer-Encoding", "chunked").body(format!("0\r\n{trailers}\r\n")).bytes());
}

fn a_body_within_the_limit_passes_and_a_larger_one_is_413(driver: &str) {
    let server = Server::start(driver, &[]);
    let body = "b".repeat(65_536);
    is_understood(&server, post().with("Content-Length", "65536").body(&body));
    // What frames the chunks counts too.
    is_understood(&server, post().chunked(&body.as_bytes()[..65_536 - 16]));
    is_final(&server, post().with("Content-Length", "65537"), &[413]);
    is_final(&server, post().with("Transfer-Encoding", "chunked").body(format!("10001\r\n{body}b")), &[413]);
}

fn plain_requests_may_be_pipelined(driver: &str) {
    let server = Server::start(driver, &[]);
    let round = [nowhere().bytes(), Request::get("/echo").bytes(), post().chunked(b"hello").bytes()].concat();
    let mut peer = Peer::connect(server.edge);
    peer.send(round.repeat(50));
    for _ in 0..50 {
        assert_eq!([peer.response().status, peer.response().status, peer.response().status], [404, 426, 404]);
    }
}

fn a_get_and_an_upgrade_in_one_segment_work(driver: &str) {
    let server = Server::start(driver, &[]);
    let mut peer = Peer::connect(server.edge);
    let frames = frames([Frame::text("one"), Frame::text("two")]);
    peer.send([nowhere().bytes(), Request::upgrade("/echo").bytes(), frames].concat());
    assert_eq!([peer.response().status, peer.response().status], [404, 101]);
    peer.expect(Frame::text("one"));
    peer.expect(Frame::text("two"));
    // What follows a 101 is frames, even where it looks like a request: "GE" has RSV bits and no mask.
    peer.send(nowhere());
    peer.expect_close(1002);
}

fn connection_close_is_obeyed(driver: &str) {
    let server = Server::start(driver, &[]);
    let mut peer = Peer::connect(server.edge);
    peer.send([nowhere().with("Connection", "close").bytes(), nowhere().bytes()].concat());
    let response = peer.response();
    assert!(response.status == 404 && response.closes(), "{response:?}");
    peer.expect_end();
}

fn http_1_0_is_answered_and_closed(driver: &str) {
    let server = Server::start(driver, &[]);
    let (mut peer, response) = Peer::ask(server.edge, nowhere().line("GET /nowhere HTTP/1.0").without("Host"));
    assert_eq!(response.status, 404);
    peer.expect_end();
}

fn expect_100_continue_is_answered_before_the_body(driver: &str) {
    let server = Server::start(driver, &[]);
    for (framing, body) in [(("Content-Length", "5"), "hello"), (("Transfer-Encoding", "chunked"), "5\r\nhello\r\n0\r\n\r\n")] {
        let head = post().with(framing.0, framing.1).with("Expect", "100-Continue");
        let (mut peer, response) = Peer::ask(server.edge, head);
        assert_eq!(response.status, 100);
        peer.send(body);
        assert_eq!(peer.response().status, 404);
        peer.send(nowhere());
        assert_eq!(peer.response().status, 404);
    }
}

fn an_expected_body_that_is_too_large_is_not_asked_for(driver: &str) {
    let server = Server::start(driver, &[]);
    is_final(&server, post().with("Content-Length", "10000000").with("Expect", "100-continue"), &[413, 417]);
}

fn the_answer_to_head_has_no_body(driver: &str) {
    let server = Server::start(driver, &[]);
    let mut peer = Peer::connect(server.edge);
    peer.send([nowhere().line("HEAD /nowhere HTTP/1.1").bytes(), Request::get("/echo").bytes()].concat());
    assert_eq!(peer.response_head().status, 404);
    assert_eq!(peer.response().status, 426);
}

fn the_answer_to_a_bad_head_has_no_body_either(driver: &str) {
    let server = Server::start(driver, &[]);
    for request in [Request::upgrade("/echo").line("HEAD /echo HTTP/1.1"), nowhere().line("HEAD /nowhere HTTP/1.1").without("Host")] {
        let mut peer = Peer::connect(server.edge);
        peer.send(request.with("Connection", "close, upgrade"));
        let response = peer.response_head();
        assert!([400, 405, 426].contains(&response.status), "{response:?}");
        peer.expect_end();
    }
}

fn a_half_closed_connection_is_still_answered(driver: &str) {
    let server = Server::start(driver, &[]);
    let mut peer = Peer::connect(server.edge);
    peer.send(nowhere());
    peer.finish();
    assert_eq!(peer.response().status, 404);
    peer.expect_end();
}
