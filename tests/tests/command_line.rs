//! The `fantail` command: what it prints, what it refuses, and how it ends.

use std::fs;
use std::io::Write;
use std::process::{Command, Output, Stdio};

use fantail_tests::{Frame, Peer, Request, Server, binary, on_each_driver};
use rustix::process::Signal;

on_each_driver! {
    the_ready_line_tells_addresses_driver_and_workers,
    a_port_in_use_is_one_line_and_status_2,
    settings_come_from_a_file,
    the_environment_overrides_the_file,
    the_command_line_overrides_both,
    sigterm_closes_clients_with_1001,
    sigint_does_the_same,
    a_second_signal_ends_at_once,
    the_demo_serves_its_page,
}

fn run(arguments: &[&str]) -> Output {
    Command::new(binary()).args(arguments).output().expect("the binary starts")
}

/// A command that was refused: status 2, nothing on stdout, and on stderr one line that contains each of `words`.
fn is_refused(command: &mut Command, words: &[&str]) {
    let output = command.output().expect("the binary starts");
    let stderr = String::from_utf8(output.stderr).expect("UTF-8 on stderr");
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    assert_eq!(stderr.trim_end().lines().count(), 1, "{stderr}");
    for word in words {
        assert!(stderr.contains(word), "{word:?} is not in {stderr:?}");
    }
}

/// Writes a configuration file, named after the test so that tests do not share one.
fn config(name: &str, toml: &str) -> String {
    let path = format!("{}/{name}.toml", env!("CARGO_TARGET_TMPDIR"));
    fs::write(&path, toml).expect("a writable target directory");
    path
}

fn serve(driver: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(["serve", "--driver", driver]).args(arguments);
    command
}

const FREE_PORTS: [&str; 4] = ["--listen", "127.0.0.1:0", "--internal", "127.0.0.1:0"];

#[test]
fn a_simd_backend_is_forced_by_its_variable_or_refused() {
    let serve = |backend: &str| {
        let mut command = Command::new(binary());
        command.args(["serve", "--listen", "127.0.0.1:0", "--internal", "127.0.0.1:0"]).env("FANTAIL_SIMD", backend);
        command
    };
    is_refused(&mut serve("sse"), &["FANTAIL_SIMD is \"sse\"", "scalar"]);
    Peer::upgrade(Server::spawn(&mut serve("scalar")).edge, "/echo").expect_echo("all the same");
}

#[test]
fn the_default_config_passes_the_check() {
    let default = run(&["default-config"]);
    assert!(default.status.success());
    let text = String::from_utf8(default.stdout).expect("UTF-8 on stdout");
    for key in ["listen", "[limits]", "message_bytes_max", "[timeouts]", "[upgrade]", "[deflate]", "[api]", "[hub]"] {
        assert!(text.contains(key), "{key} is not in the default configuration");
    }
    let check = run(&["check-config", &config("default", &text)]);
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest() {
    let check = |toml: &str, words: &[&str]| {
        is_refused(Command::new(binary()).args(["check-config", &config("unknown", toml)]), words);
    };
    check("[limits]\nmesage_bytes_max = 1\n", &["mesage_bytes_max", "message_bytes_max"]);
    check("[timeout]\nping_interval_ms = 1\n", &["timeout", "timeouts"]);
    check("[hub.namespaces.ticker]\nflush_m = 1\n", &["flush_m", "flush_ms"]);
}

#[test]
fn a_bad_value_is_refused_by_its_key() {
    let check = |toml: &str, words: &[&str]| {
        is_refused(Command::new(binary()).args(["check-config", &config("value", toml)]), words);
    };
    check("[limits]\nmessage_bytes_max = \"big\"\n", &["message_bytes_max"]);
    check("listen = \"nowhere\"\n", &["listen"]);
    check("driver = \"carrier pigeon\"\n", &["driver"]);
    is_refused(Command::new(binary()).args(["check-config", "no such file.toml"]), &["no such file.toml"]);
}

#[test]
fn bad_usage_is_status_2() {
    for arguments in [&["fly"][..], &["serve", "--lisen", "127.0.0.1:0"], &["serve", "--workers", "many"], &["check-config"]] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!output.stderr.is_empty() && output.stdout.is_empty(), "{arguments:?}");
    }
    is_refused(serve("auto", &FREE_PORTS).env("FANTAIL_WORKER", "2"), &["FANTAIL_WORKER", "FANTAIL_WORKERS"]);
    is_refused(serve("auto", &FREE_PORTS).env("FANTAIL_LIMITS_MESSAGE_BYTES_MAX", "big"), &["MESSAGE_BYTES_MAX"]);
}

#[test]
fn an_open_internal_port_needs_a_key() {
    is_refused(&mut serve("auto", &["--listen", "127.0.0.1:0", "--internal", "0.0.0.0:0"]), &["key"]);
}

const SECRET: &str = "a secret of the tests, and of nobody else";

/// `fantail token` with a secret in the environment.
fn token(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.arg("token").args(arguments).env("FANTAIL_AUTH_HMAC_SECRET", SECRET);
    command
}

/// What a command that succeeds prints: one line, and nothing on stderr.
fn line(command: &mut Command) -> String {
    let output = command.output().expect("the binary starts");
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("UTF-8 on stdout");
    let line = text.strip_suffix('\n').expect("a whole line");
    assert!(!line.contains('\n'), "{line:?}");
    line.to_owned()
}

#[test]
fn a_token_that_is_minted_passes_the_check() {
    let connection =
        line(&mut token(&["connection", "--user", "42", "--channel", "a", "--channel", "b", "--info", "{\"n\":1}", "--ttl", "0"]));
    let claims = line(&mut token(&["check", &connection]));
    for claim in ["\"sub\":\"42\"", "\"channels\":[\"a\",\"b\"]", "\"info\":{\"n\":1}", "\"iat\":"] {
        assert!(claims.contains(claim), "{claim} is not in {claims}");
    }
    assert!(!claims.contains("\"exp\"") && !claims.contains(SECRET), "{claims}");

    let subscription = line(&mut token(&["subscription", "--channel", "news"]));
    let mut check = token(&["check", "-"]);
    let mut child = check.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the binary starts");
    writeln!(child.stdin.take().expect("a pipe"), "{subscription}").expect("a token is shorter than a pipe");
    let output = child.wait_with_output().expect("the binary ends");
    let claims = String::from_utf8(output.stdout).expect("UTF-8 on stdout");
    assert!(output.status.success() && claims.contains("\"channel\":\"news\"") && claims.contains("\"exp\":"), "{claims}");
}

#[test]
fn a_token_that_is_not_valid_is_refused() {
    let minted = line(&mut token(&["connection"]));
    is_refused(token(&["check", &minted]).env("FANTAIL_AUTH_HMAC_SECRET", "another"), &["the token is invalid", "signature"]);
    is_refused(token(&["check", &minted]).env_remove("FANTAIL_AUTH_HMAC_SECRET"), &["the token is invalid", "no key for HS256"]);
    is_refused(token(&["check", &minted]).env("FANTAIL_AUTH_AUDIENCE", "x"), &["the token is invalid", "`aud`"]);
    is_refused(&mut token(&["check", "a.b.c"]), &["the token is invalid", "header"]);
    is_refused(token(&["connection"]).env_remove("FANTAIL_AUTH_HMAC_SECRET"), &["auth.hmac_secret"]);
    is_refused(&mut token(&["connection", "--info", "{"]), &["--info"]);
    is_refused(&mut token(&["connection", "--private-key", "no such file.pem"]), &["cannot read the private key"]);
}

/// Made for these tests.
const PRIVATE_KEY: &str = "\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgHmFYTGCT7sEhA9E7
orPZCKtksxNEdK6wntiBgDgRlQahRANCAAQc70hNQN2yQktx66cOZ/gGWf+zPnZB
Lvy5Ob7xl2wlyLyeelrTIPnJmgDI4Hl7HfkD6417cwJpJPU1RjyfHvwJ
-----END PRIVATE KEY-----
";
/// Of [`PRIVATE_KEY`].
const PUBLIC_KEY: &str = "\
-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEHO9ITUDdskJLceunDmf4Bln/sz52
QS78uTm+8ZdsJci8nnpa0yD5yZoAyOB5ex35A+uNe3MCaST1NUY8nx78CQ==
-----END PUBLIC KEY-----
";

#[test]
fn a_private_key_signs_for_its_public_key() {
    let file = |name: &str, text: &str| {
        let path = format!("{}/{name}", env!("CARGO_TARGET_TMPDIR"));
        fs::write(&path, text).expect("a writable target directory");
        path
    };
    let private = file("private.pem", PRIVATE_KEY);
    let config = config("token", &format!("[auth]\necdsa_public_key = \"\"\"{PUBLIC_KEY}\"\"\"\naudience = \"tests\"\n"));
    let minted = line(&mut token(&["connection", "--user", "42", "--private-key", &private, "--config", &config]));
    assert!(line(&mut token(&["check", &minted, "--config", &config])).contains("\"aud\":\"tests\""));
    is_refused(&mut token(&["check", &minted]), &["no key for ES256"]);
    let public = file("public.pem", PUBLIC_KEY);
    is_refused(&mut token(&["connection", "--private-key", &public]), &["private key"]);
}

#[test]
fn a_key_that_cannot_serve_does_not_pass_the_check() {
    let toml = "[auth]\nrsa_public_key = \"very secret\"\n";
    is_refused(Command::new(binary()).args(["check-config", &config("key", toml)]), &["auth.rsa_public_key", "PEM"]);
}

fn the_ready_line_tells_addresses_driver_and_workers(driver: &str) {
    let server = Server::start(driver, &[]);
    let (edge, internal) = (server.edge, server.internal);
    assert_eq!(server.ready_line, format!("listening edge={edge} internal={internal} driver={driver} workers=2\n"));
    assert!(edge.port() != 0 && internal.port() != 0 && edge != internal);
}

fn a_port_in_use_is_one_line_and_status_2(driver: &str) {
    let server = Server::start(driver, &[]);
    for (edge, internal) in [(server.edge.to_string(), "127.0.0.1:0".to_owned()), ("127.0.0.1:0".to_owned(), server.internal.to_string())] {
        let taken = if edge.ends_with(":0") { &internal } else { &edge };
        is_refused(&mut serve(driver, &["--listen", &edge, "--internal", &internal]), &[taken]);
    }
}

const NAMESPACED: &str = "workers = 1\n[limits]\nmessage_bytes_max = 1000\n[hub.namespaces.room]\npublish = 'anyone'\n";

fn settings_come_from_a_file(driver: &str) {
    let file = config(&format!("file-{driver}"), NAMESPACED);
    let server = Server::spawn(serve(driver, &["--config", &file]).args(FREE_PORTS));
    assert!(server.ready_line.ends_with("workers=1\n"), "{}", server.ready_line);
    let mut peer = Peer::upgrade(server.edge, "/echo");
    peer.send(Frame::text("a".repeat(1_001)));
    peer.expect_close(1009);
    // A namespace is what stands before the colon; other channels keep what [hub] says.
    let mut peer = Peer::upgrade(server.edge, "/raw/room:one");
    peer.expect_echo("hello");
    let mut peer = Peer::upgrade(server.edge, "/raw/rooms");
    peer.send(Frame::text("hello"));
    peer.expect_close(1008);
}

fn the_environment_overrides_the_file(driver: &str) {
    let file = config(&format!("environment-{driver}"), NAMESPACED);
    let mut command = serve(driver, &["--config", &file]);
    let server = Server::spawn(command.args(FREE_PORTS).env("FANTAIL_LIMITS_MESSAGE_BYTES_MAX", "2000"));
    let mut peer = Peer::upgrade(server.edge, "/echo");
    peer.expect_echo(&"a".repeat(2_000));
    peer.send(Frame::text("a".repeat(2_001)));
    peer.expect_close(1009);
}

fn the_command_line_overrides_both(driver: &str) {
    let file = config(&format!("arguments-{driver}"), NAMESPACED);
    let mut command = serve(driver, &["--config", &file, "--workers", "2"]);
    let server = Server::spawn(command.args(FREE_PORTS).env("FANTAIL_WORKERS", "3"));
    assert!(server.ready_line.ends_with("workers=2\n"), "{}", server.ready_line);
}

fn closes_clients_on(driver: &str, signal: Signal) {
    let server = Server::start(driver, &[("FANTAIL_TIMEOUTS_SHUTDOWN_WINDOW_MS", "200")]);
    let mut peers: Vec<Peer> =
        (0..20).map(|index| Peer::upgrade(server.edge, if index % 2 == 0 { "/echo" } else { "/raw/news" })).collect();
    let mut waiting = Peer::connect(server.edge);
    let edge = server.edge;
    server.signal(signal);
    for peer in &mut peers {
        peer.expect_close(1001);
    }
    waiting.expect_end();
    let (status, log) = server.wait();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(std::net::TcpStream::connect(edge).is_err(), "somebody still listens");
}

fn sigterm_closes_clients_with_1001(driver: &str) {
    closes_clients_on(driver, Signal::TERM);
}

fn sigint_does_the_same(driver: &str) {
    closes_clients_on(driver, Signal::INT);
}

fn a_second_signal_ends_at_once(driver: &str) {
    // Without it the server would wait a minute for this client's answer.
    let server = Server::start(driver, &[("FANTAIL_TIMEOUTS_SHUTDOWN_WINDOW_MS", "0"), ("FANTAIL_TIMEOUTS_CLOSE_MS", "60000")]);
    let mut peer = Peer::upgrade(server.edge, "/echo");
    server.signal(Signal::TERM);
    assert_eq!(peer.frame().payload[..2], 1001_u16.to_be_bytes());
    server.signal(Signal::TERM);
    server.wait();
}

fn the_demo_serves_its_page(driver: &str) {
    let mut command = Command::new(binary());
    let server = Server::spawn(command.args(["demo", "--driver", driver]).args(FREE_PORTS));
    let (_, page) = Peer::ask(server.edge, Request::get("/"));
    assert_eq!(page.status, 200);
    assert!(page.field("Content-Type").is_some_and(|kind| kind.starts_with("text/html")), "{page:?}");
    assert!(page.body.starts_with(b"<!"), "{}", page.body[..20].escape_ascii());
    let mut peer = Peer::upgrade(server.edge, "/raw/anything");
    peer.expect_echo("clients of the demo may publish");
    let plain = Server::start(driver, &[]);
    assert_eq!(Peer::ask(plain.edge, Request::get("/")).1.status, 404);
}
