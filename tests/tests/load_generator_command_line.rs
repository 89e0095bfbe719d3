//! `fantail-load`: what it refuses, and what it says of servers that cannot be measured. Always one line, never a hang.

use std::net::TcpListener;

use fantail_tests::{Behaviour, Fault, Faulty, Handshake, Load, Opened, Report, Stall};

/// A run that would be short if it were one.
fn ended_by(behaviour: Behaviour, words: &[&str]) {
    let server = Faulty::start(behaviour.clone());
    println!("{behaviour:?}");
    let line = format!("echo {} -c 2 -n 20 -s 256KiB --timeout 500ms --warmup 0s", server.url("/echo"));
    Load::new(&line).run_as_is().could_not_run(words);
}

fn handshake(handshake: Handshake, words: &[&str]) {
    ended_by(Behaviour { handshake, ..Behaviour::default() }, words);
}

fn opened(opened: Opened, words: &[&str]) {
    ended_by(Behaviour { opened, ..Behaviour::default() }, words);
}

#[test]
fn bad_urls_are_refused() {
    for url in ["nonsense", "ftp://127.0.0.1/", "http://127.0.0.1/", "ws://", "ws://127.0.0.1:99999/", "ws://[::1/"] {
        Load::new(&format!("echo {url} -n 1")).run_as_is().refused(&[url]);
    }
}

#[test]
fn a_thread_count_that_is_a_time_is_asked_about() {
    Load::new("echo ws://127.0.0.1:1/ -t 30s").run_as_is().refused(&["did you mean -d"]);
}

#[test]
fn a_threshold_that_cannot_be_is_refused_before_the_run() {
    let refused = |scenario: &str, threshold: &str, words: &[&str]| {
        let server = Faulty::start(Behaviour::default());
        let load = Load::new(&format!("{scenario} {} -n 1", server.url("/echo"))).arg("--threshold").arg(threshold);
        load.run_as_is().refused(words);
        assert_eq!(server.done().upgraded, 0);
    };
    refused("echo", "respons.p99<5ms", &["respons", "response"]);
    refused("echo", "delivery.p99<5ms", &["delivery", "echo"]);
    refused("fanout", "response.p99<5ms", &["response", "fanout"]);
    refused("echo", "response<5ms", &["response"]);
    refused("echo", "response.p99<5", &["5"]);
}

#[test]
fn a_template_with_an_unknown_name_is_refused() {
    Load::new("echo ws://127.0.0.1:1/ -n 1 -m ${sequence}").run_as_is().refused(&["sequence"]);
}

#[test]
fn a_refused_connection_is_said() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("a bound socket");
    Load::new(&format!("echo ws://{free}/ -c 2 -n 1")).run_as_is().could_not_run(&[&free.to_string(), "refused"]);
}

#[test]
fn a_handshake_that_fails_is_said() {
    handshake(Handshake::WrongAccept, &["Sec-WebSocket-Accept"]);
    handshake(Handshake::Instead(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"), &["503"]);
    handshake(Handshake::Instead(b"SSH-2.0-OpenSSH_9.9\r\n"), &[]);
    handshake(Handshake::Instead(b"\0\xFF\x16\x03"), &[]);
    handshake(Handshake::Instead(b""), &[]);
    handshake(Handshake::Silence, &[]);
    handshake(Handshake::With("Sec-WebSocket-Protocol: unoffered\r\n"), &["unoffered"]);
    handshake(Handshake::With("Sec-WebSocket-Extensions: permessage-deflate\r\n"), &["permessage-deflate"]);
}

#[test]
fn an_open_connection_that_fails_is_said() {
    // Masked; a reserved opcode; RSV1 without an extension; no frame at all.
    for bytes in [b"\x81\x81\x00\x00\x00\x00a".as_slice(), b"\x83\x00", b"\xC1\x01a", b"GET / HTTP/1.1\r\n\r\n"] {
        opened(Opened::Sent(bytes), &[]);
    }
    opened(Opened::Ended, &[]);
    opened(Opened::Closed(1011), &["1011"]);
    opened(Opened::Reset, &[]);
}

#[test]
fn a_server_that_never_answers_or_reads_is_said() {
    ended_by(Behaviour { fault: Fault::Drop(1), ..Behaviour::default() }, &[]);
    ended_by(Behaviour { stall: Some(Stall { after: 0, length: Stall::FOR_EVER }), ..Behaviour::default() }, &[]);
}

#[test]
fn a_report_on_stdout_is_alone_there() {
    let server = Faulty::start(Behaviour::default());
    let ended = Load::new(&format!("echo {} -c 2 -n 100 --warmup 0s --json -", server.url("/echo"))).run_as_is();
    assert_eq!(Report::parse(&ended.stdout).count("received"), 100);
    assert_eq!(ended.stderr, "", "no terminal, no progress");
}
