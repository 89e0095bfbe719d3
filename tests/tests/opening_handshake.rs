//! The opening handshake (RFC 6455 §4): what is upgraded, what is refused, and with which answer.
//! How the request's bytes may be laid out is `requests.rs`; what of permessage-deflate is agreed on is `deflate.rs`.

use fantail_tests::{Frame, Peer, Request, Response, Server, frames, on_each_driver};

on_each_driver! {
    the_accept_of_the_rfc,
    the_accept_of_another_key,
    the_101_carries_what_it_must_and_nothing_else,
    names_and_tokens_are_case_insensitive,
    the_method_is_case_sensitive,
    the_version_of_http_is_case_sensitive,
    connection_is_a_list,
    connection_tokens_match_whole,
    the_first_supported_protocol_is_taken,
    a_protocol_not_offered_is_not_switched_to,
    without_upgrade_the_answer_is_ordinary_http,
    without_the_connection_token_the_answer_is_ordinary_http,
    a_bad_key_is_400,
    another_version_is_426,
    a_missing_or_padded_version_names_the_right_one,
    another_method_is_405,
    http_1_0_is_not_upgraded,
    http_2_0_in_a_request_line_is_505,
    a_bad_host_is_400,
    an_absolute_target_is_upgraded,
    a_bad_target_is_400,
    frames_before_the_101_are_answered_after_it,
    a_refused_upgrade_leaves_the_connection_usable_or_closes_it,
    subprotocols_are_chosen_from_both_lists,
    an_unknown_extension_is_left_out,
    a_malformed_extension_is_400,
    an_origin_of_the_same_host_passes,
    another_origin_is_403,
    configured_origins_replace_the_same_host,
    cookies_and_high_bytes_pass,
}

fn ask(server: &Server, request: Request) -> Response {
    Peer::ask(server.edge, request).1
}

fn echo() -> Request {
    Request::upgrade("/echo")
}

fn the_accept_of_the_rfc(driver: &str) {
    let server = Server::start(driver, &[]);
    let response = ask(&server, echo().with("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="));
    assert_eq!(response.field("Sec-WebSocket-Accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
}

fn the_accept_of_another_key(driver: &str) {
    let server = Server::start(driver, &[]);
    let response = ask(&server, echo().with("Sec-WebSocket-Key", " \tx3JJHMbDL1EzLkh9GBhXDw== \t"));
    assert_eq!(response.field("Sec-WebSocket-Accept"), Some("HSmrc0sMlYUkAGmm5OPpG2HaGWk="));
}

fn the_101_carries_what_it_must_and_nothing_else(driver: &str) {
    let server = Server::start(driver, &[]);
    let response = ask(&server, echo());
    assert_eq!(response.status, 101);
    assert_eq!(response.field("Upgrade"), Some("websocket"));
    assert!(response.lists("Connection", "Upgrade"));
    assert!(response.field("Sec-WebSocket-Accept").is_some());
    for absent in ["Content-Length", "Transfer-Encoding", "Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol"] {
        assert_eq!(response.field(absent), None, "{absent}");
    }
}

fn names_and_tokens_are_case_insensitive(driver: &str) {
    let server = Server::start(driver, &[]);
    let request = Request::get("/echo")
        .without("Host")
        .with("hOsT", "fantail.test")
        .with("UPGRADE", "WebSocket")
        .with("connection", "uPGRADE")
        .with("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .with("SEC-WEBSOCKET-VERSION", "13");
    Peer::upgrade_with(server.edge, request).0.expect_echo("hello");
}

fn the_method_is_case_sensitive(driver: &str) {
    let server = Server::start(driver, &[]);
    for line in ["get /echo HTTP/1.1", "Get /echo HTTP/1.1"] {
        let status = ask(&server, echo().line(line)).status;
        assert!([405, 501].contains(&status), "{line} was answered {status}");
    }
}

fn the_version_of_http_is_case_sensitive(driver: &str) {
    let server = Server::start(driver, &[]);
    for line in ["GET /echo http/1.1", "GET /echo HTTP/1.1x", "GET /echo HTTP/1", "GET /echo"] {
        assert_eq!(ask(&server, echo().line(line)).status, 400, "{line}");
    }
}

fn connection_is_a_list(driver: &str) {
    let server = Server::start(driver, &[]);
    for list in ["keep-alive, Upgrade", "keep-alive,upgrade", ",\t,Upgrade ,", "Upgrade\t,\tkeep-alive", "te, , upgrade"] {
        Peer::upgrade_with(server.edge, echo().with("Connection", list)).0.expect_echo(list);
    }
    let lines = echo().with("Connection", "keep-alive").and("X-Between", "1").and("Connection", "").and("connection", "upgrade");
    Peer::upgrade_with(server.edge, lines).0.expect_echo("over several lines");
}

fn connection_tokens_match_whole(driver: &str) {
    let server = Server::start(driver, &[]);
    for list in ["notupgrade", "upgrades", "up grade", "upgrade;q=1", "x-upgrade, keep-alive"] {
        assert_ne!(ask(&server, echo().with("Connection", list)).status, 101, "{list}");
    }
    for protocol in ["websocketx", "xwebsocket", "web socket", "websock"] {
        assert_ne!(ask(&server, echo().with("Upgrade", protocol)).status, 101, "{protocol}");
    }
}

fn the_first_supported_protocol_is_taken(driver: &str) {
    let server = Server::start(driver, &[]);
    for list in ["foo/1, websocket", "foo/1,,\twebsocket , bar", "websocket, foo/1"] {
        let (mut peer, response) = Peer::upgrade_with(server.edge, echo().with("Upgrade", list));
        assert_eq!(response.field("Upgrade"), Some("websocket"));
        peer.expect_echo(list);
    }
    Peer::upgrade_with(server.edge, echo().with("Upgrade", "foo/1").and("Upgrade", "websocket"));
}

fn a_protocol_not_offered_is_not_switched_to(driver: &str) {
    let server = Server::start(driver, &[]);
    for protocol in ["foo", "foo/1, bar", ""] {
        assert_eq!(ask(&server, echo().with("Upgrade", protocol)).status, 426, "{protocol:?}");
    }
}

fn assert_426(response: &Response) {
    assert_eq!(response.status, 426, "{response:?}");
    assert!(response.lists("Upgrade", "websocket") && response.lists("Connection", "Upgrade"), "{response:?}");
}

fn without_upgrade_the_answer_is_ordinary_http(driver: &str) {
    let server = Server::start(driver, &[]);
    assert_426(&ask(&server, echo().without("Upgrade")));
    assert_426(&ask(&server, Request::get("/echo")));
    assert_426(&ask(&server, Request::get("/raw/news")));
    assert_eq!(ask(&server, Request::get("/nowhere")).status, 404);
    assert_eq!(ask(&server, Request::upgrade("/nowhere")).status, 404);
}

fn without_the_connection_token_the_answer_is_ordinary_http(driver: &str) {
    let server = Server::start(driver, &[]);
    assert_426(&ask(&server, echo().without("Connection")));
    assert_426(&ask(&server, echo().with("Connection", "keep-alive")));
}

fn a_bad_key_is_400(driver: &str) {
    let server = Server::start(driver, &[]);
    let keys = [
        "",
        "hello",
        "dGhlIHNhbXBsZSBub25jZQ",   // no padding
        "dGhlIHNhbXBsZSBub25jZ",    // no whole number of bytes
        "dGhlIHNhbXBsZSBub24=",     // 14 bytes
        "dGhlIHNhbXBsZSBub25jZTE=", // 17 bytes
        "dGhlIHNhbXBsZSBub25jZTEy", // 18 bytes
        "dGhlIHNhbXBs-SBub25jZQ==", // another alphabet
        "dGhlIHNh XBsZSBub25jZQ==",
        "dGhlIHNhbXBsZSBub25jZQ==, dGhlIHNhbXBsZSBub25jZQ==",
    ];
    for key in keys {
        assert_eq!(ask(&server, echo().with("Sec-WebSocket-Key", key)).status, 400, "{key:?}");
    }
    assert_eq!(ask(&server, echo().without("Sec-WebSocket-Key")).status, 400);
    assert_eq!(ask(&server, echo().and("Sec-WebSocket-Key", "x3JJHMbDL1EzLkh9GBhXDw==")).status, 400);
}

fn another_version_is_426(driver: &str) {
    let server = Server::start(driver, &[]);
    for version in ["0", "8", "12", "14", "255"] {
        let response = ask(&server, echo().with("Sec-WebSocket-Version", version));
        assert_426(&response);
        assert_eq!(response.field("Sec-WebSocket-Version"), Some("13"), "{version}");
    }
}

fn a_missing_or_padded_version_names_the_right_one(driver: &str) {
    let server = Server::start(driver, &[]);
    let missing = echo().without("Sec-WebSocket-Version");
    let odd = ["013", "", "13x", "+13", "13.0", "1 3"].map(|version| echo().with("Sec-WebSocket-Version", version));
    for request in odd.into_iter().chain([missing]) {
        let response = ask(&server, request);
        assert!((400..500).contains(&response.status), "{response:?}");
        assert_eq!(response.field("Sec-WebSocket-Version"), Some("13"), "{response:?}");
    }
}

fn another_method_is_405(driver: &str) {
    let server = Server::start(driver, &[]);
    for method in ["POST", "PUT", "OPTIONS", "DELETE"] {
        let response = ask(&server, echo().line(&format!("{method} /echo HTTP/1.1")));
        assert_eq!(response.status, 405, "{method}");
        assert!(response.lists("Allow", "GET"), "{response:?}");
    }
}

fn http_1_0_is_not_upgraded(driver: &str) {
    let server = Server::start(driver, &[]);
    let (mut peer, response) = Peer::ask(server.edge, echo().line("GET /echo HTTP/1.0"));
    assert_eq!(response.status, 426);
    peer.expect_end();
}

fn http_2_0_in_a_request_line_is_505(driver: &str) {
    let server = Server::start(driver, &[]);
    for version in ["HTTP/2.0", "HTTP/3.0", "HTTP/0.9"] {
        assert_eq!(ask(&server, echo().line(&format!("GET /echo {version}"))).status, 505, "{version}");
    }
}

fn a_bad_host_is_400(driver: &str) {
    let server = Server::start(driver, &[]);
    for request in [echo(), Request::get("/nowhere")] {
        assert_eq!(ask(&server, request.clone().without("Host")).status, 400);
        assert_eq!(ask(&server, request.clone().and("Host", "fantail.test")).status, 400);
        for host in ["a b", "a/b", "user@host", "host:port", "host:80:80", "[::1", "a?b", "a#b"] {
            assert_eq!(ask(&server, request.clone().with("Host", host)).status, 400, "{host}");
        }
    }
    for host in ["localhost", "127.0.0.1:8000", "[::1]:8000", "xn--bcher-kva.example", "a_b.test"] {
        assert_eq!(ask(&server, echo().with("Host", host)).status, 101, "{host}");
    }
}

fn an_absolute_target_is_upgraded(driver: &str) {
    let server = Server::start(driver, &[]);
    for target in ["http://fantail.test/echo", "http://fantail.test:80/echo?x=1", "HTTP://fantail.test/echo"] {
        Peer::upgrade_with(server.edge, echo().line(&format!("GET {target} HTTP/1.1"))).0.expect_echo(target);
    }
}

fn a_bad_target_is_400(driver: &str) {
    let server = Server::start(driver, &[]);
    for target in ["*", "/ec ho", "/echo ", " /echo", "echo", "", "/echo\t", "/raw/%zz", "/raw/%4"] {
        assert_eq!(ask(&server, echo().line(&format!("GET {target} HTTP/1.1"))).status, 400, "{target:?}");
    }
}

fn frames_before_the_101_are_answered_after_it(driver: &str) {
    let server = Server::start(driver, &[]);
    let early = frames([Frame::text("early"), Frame::ping("there?"), Frame::text("bird")]);
    let (mut peer, response) = Peer::ask(server.edge, [echo().bytes(), early].concat());
    assert_eq!(response.status, 101);
    peer.expect(Frame::text("early"));
    peer.expect(Frame::pong("there?"));
    peer.expect(Frame::text("bird"));
    peer.expect_echo("later");
}

fn a_refused_upgrade_leaves_the_connection_usable_or_closes_it(driver: &str) {
    let server = Server::start(driver, &[]);
    let refusals = [
        echo().with("Sec-WebSocket-Version", "8"),
        echo().with("Sec-WebSocket-Key", "short"),
        echo().with("Origin", "http://elsewhere.test"),
        Request::upgrade("/nowhere"),
    ];
    for refusal in refusals {
        let (mut peer, response) = Peer::ask(server.edge, refusal);
        assert!((400..500).contains(&response.status), "{response:?}");
        if response.closes() {
            peer.expect_end();
        } else {
            peer.send(echo());
            assert_eq!(peer.response().status, 101);
            peer.expect_echo("second try");
        }
    }
}

fn subprotocols_are_chosen_from_both_lists(driver: &str) {
    let server = Server::start(driver, &[("FANTAIL_UPGRADE_SUBPROTOCOLS", "graphql-ws,chat")]);
    let chosen = |offers: &[&str]| {
        let request = offers.iter().fold(echo(), |request, offer| request.and("Sec-WebSocket-Protocol", offer));
        let (mut peer, response) = Peer::upgrade_with(server.edge, request);
        peer.expect_echo("hello");
        response.field("Sec-WebSocket-Protocol").map(str::to_owned)
    };
    assert_eq!(chosen(&[]), None);
    assert_eq!(chosen(&["mqtt, soap"]), None);
    assert_eq!(chosen(&["Chat"]), None);
    assert_eq!(chosen(&["mqtt, chat"]).as_deref(), Some("chat"));
    assert_eq!(chosen(&["chat, graphql-ws"]).as_deref(), Some("chat"));
    assert_eq!(chosen(&["mqtt", "graphql-ws"]).as_deref(), Some("graphql-ws"));
}

fn an_unknown_extension_is_left_out(driver: &str) {
    let server = Server::start(driver, &[]);
    for offer in ["x-webkit-deflate-frame", "foo; bar=\"b\"; baz, qux", "constructor", ", ,foo,"] {
        let (mut peer, response) = Peer::upgrade_with(server.edge, echo().with("Sec-WebSocket-Extensions", offer));
        assert_eq!(response.field("Sec-WebSocket-Extensions"), None, "{offer}");
        peer.expect_echo(offer);
    }
}

fn a_malformed_extension_is_400(driver: &str) {
    let server = Server::start(driver, &[]);
    for offer in ["foo bar", "foo;", "foo; =1", "foo; bar=", "foo; bar=\"open", "; foo", "f@o", "foo; b r", "permessage-deflate; \"a\""] {
        assert_eq!(ask(&server, echo().with("Sec-WebSocket-Extensions", offer)).status, 400, "{offer}");
    }
}

fn an_origin_of_the_same_host_passes(driver: &str) {
    let server = Server::start(driver, &[]);
    Peer::upgrade_with(server.edge, echo().with("Origin", "http://fantail.test"));
    Peer::upgrade_with(server.edge, echo().with("Origin", "http://fantail.test:8000").with("Host", "fantail.test:8000"));
}

fn another_origin_is_403(driver: &str) {
    let server = Server::start(driver, &[]);
    for origin in ["http://evil.test", "http://fantail.test.evil.test", "http://evil-fantail.test", "null", "http://fantail.test:81"] {
        for path in ["/echo", "/raw/news"] {
            let response = ask(&server, Request::upgrade(path).with("Origin", origin));
            assert_eq!(response.status, 403, "{origin} at {path}");
        }
    }
}

fn configured_origins_replace_the_same_host(driver: &str) {
    let server = Server::start(driver, &[("FANTAIL_UPGRADE_ORIGINS", "https://app.test")]);
    let status = |origin: &str| ask(&server, echo().with("Origin", origin)).status;
    assert_eq!(status("https://app.test"), 101);
    assert_eq!(status("http://app.test"), 403);
    assert_eq!(status("http://fantail.test"), 403);
    assert_eq!(ask(&server, echo()).status, 101);
    let open = Server::start(driver, &[("FANTAIL_UPGRADE_ORIGINS", "*")]);
    assert_eq!(ask(&open, echo().with("Origin", "https://anyone.test")).status, 101);
}

fn cookies_and_high_bytes_pass(driver: &str) {
    let server = Server::start(driver, &[]);
    let request = echo().with("Cookie", "a=1; b=\"2\"").and("Cookie", "c=3").with("X-Name", b"caf\xE9 \xFF\x80");
    Peer::upgrade_with(server.edge, request).0.expect_echo("hello");
}
