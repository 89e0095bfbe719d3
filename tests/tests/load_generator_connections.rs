//! `fantail-load connect`, `idle` and `doctor`: connections in masses.

use fantail_tests::{Behaviour, Faulty, Load, Opened, Server, raise_descriptor_limit};

const UPGRADES: u64 = 2000;

#[test]
fn connections_are_opened_and_kept() {
    raise_descriptor_limit();
    let server = Server::start("epoll", &[]);
    let report = Load::new(&format!("connect ws://{}/echo -c {UPGRADES} --connect-rate 2000", server.edge)).run().judged(0);
    assert_eq!((report.count("connected"), report.count("failed")), (UPGRADES, 0));
    let median = |name| report.ns(name, "p50").expect("2,000 samples are enough");
    assert!(median("connect.tcp") <= median("connect.total"), "{report:?}");
    assert!(median("connect.upgrade") <= median("connect.total"), "{report:?}");
}

#[test]
fn connections_are_closed_and_opened_again() {
    let server = Server::start("epoll", &[]);
    let report = Load::new(&format!("connect ws://{}/echo -c 50 --close -n {UPGRADES} --connect-rate 2000 --warmup 0s", server.edge))
        .run()
        .judged(0);
    assert_eq!((report.count("connected"), report.count("failed")), (UPGRADES, 0));
}

/// A FIN may come in one piece with the last data, and must be seen.
#[test]
fn connections_that_the_server_ends_are_not_held() {
    for opened in [Opened::Ended, Opened::Closed(1001), Opened::Reset] {
        let server = Faulty::start(Behaviour { opened, ..Behaviour::default() });
        let line = format!("idle {} -c 50 --settle 100ms", server.url("/echo"));
        let report = Load::new(&line).run().coded(99);
        assert_eq!((report.count("connected"), report.count("failed")), (50, 50), "{opened:?}");
    }
}

#[test]
fn a_cpu_that_is_not_there_is_no_run() {
    let server = Server::start("epoll", &[]);
    Load::new(&format!("echo ws://{}/echo -c 1 --pin 1000", server.edge)).run_as_is().could_not_run(&["thread"]);
}

#[test]
fn fifteen_thousand_are_held_and_what_they_cost_is_told() {
    const HELD: u64 = 15_000;
    const BYTES_MAX: f64 = 16_384.0;
    let limit = raise_descriptor_limit();
    assert!(limit > HELD + 500, "this test needs more than {limit} descriptors a process");
    let server = Server::start("epoll", &[]);
    let line = format!("idle ws://{}/raw/idle -c {HELD} --connect-rate 5k --steps 5 --settle 200ms --pid {}", server.edge, server.id());
    let report = Load::new(&line).arg("--threshold").arg("server.rss_per_conn<16KiB").run().judged(0);
    assert_eq!((report.count("connected"), report.count("failed")), (HELD, 0));
    let each = report.number("server.rss_per_conn");
    assert!(each > 0.0 && each < BYTES_MAX, "{each} bytes a connection");
}

#[test]
fn the_doctor_names_the_limit_on_descriptors() {
    let ended = Load::new("doctor").run_as_is();
    assert!([0, 3].contains(&ended.code), "{ended:?}");
    assert!(ended.stdout.contains("nofile"), "{ended:?}");
}
