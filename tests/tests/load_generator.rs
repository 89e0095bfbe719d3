//! `fantail-load echo` against a server whose faults are known: what it reports is what happened.

use std::time::Duration;

use fantail_tests::{Behaviour, Fault, Faulty, Load, Report, Server, Stall, eventually};
use rustix::process::Signal;

/// Open loop, so that a message that stays away does not hold up the next; 250 messages a connection.
const OPEN_LOOP: &str = "-c 4 -R 1000 -n 1000 --warmup 0s";
const MESSAGES: u64 = 1000;

/// No connection's last message is its turn: nothing is due once all has been answered.
const EVERY: u64 = 7;

const STALL_NS: u64 = 1_000_000_000;

/// What the clock and the stall do not agree on.
const NEARLY_STALL_NS: u64 = STALL_NS * 9 / 10;

fn exact() -> Faulty {
    Faulty::start(Behaviour::default())
}

/// An open loop to a server with this fault, which is one that fails a run.
fn failed(fault: Fault) -> (Report, Faulty) {
    let server = Faulty::start(Behaviour { fault, ..Behaviour::default() });
    let report = Load::new(&format!("echo {} {OPEN_LOOP}", server.url("/echo"))).run().coded(99);
    (report, server)
}

#[test]
fn an_exact_server_has_no_faults() {
    let server = exact();
    let report = Load::new(&format!("echo {} {OPEN_LOOP}", server.url("/echo"))).run().judged(0);
    assert_eq!((report.count("sent"), report.count("received"), server.done().received), (MESSAGES, MESSAGES, MESSAGES));
    assert_eq!((report.count("connected"), report.count("failed"), report.count("unanswered")), (4, 0, 0));
    for fault in ["loss", "duplicates", "reordered", "corrupted", "negative"] {
        assert_eq!(report.count(fault), 0, "{fault}");
    }
}

#[test]
fn dropped_messages_are_lost_and_fail_the_run() {
    let (report, server) = failed(Fault::Drop(EVERY));
    assert_eq!(report.count("loss"), server.done().dropped);
    assert_eq!(report.count("received"), MESSAGES - server.done().dropped);
    assert_eq!((report.count("duplicates"), report.count("reordered"), report.count("corrupted")), (0, 0, 0));
}

#[test]
fn duplicates_are_counted_and_fail_the_run() {
    let (report, server) = failed(Fault::Duplicate(EVERY));
    assert_eq!(report.count("duplicates"), server.done().duplicated);
    assert_eq!((report.count("received"), report.count("loss"), report.count("reordered")), (MESSAGES, 0, 0));
}

#[test]
fn corrupted_messages_are_counted_and_fail_the_run() {
    let (report, server) = failed(Fault::Corrupt(EVERY));
    assert_eq!(report.count("corrupted"), server.done().corrupted);
    assert_eq!((report.count("loss"), report.count("duplicates"), report.count("reordered")), (0, 0, 0));
}

#[test]
fn swapped_messages_are_reordered_and_not_lost() {
    let server = Faulty::start(Behaviour { fault: Fault::Swap(EVERY), ..Behaviour::default() });
    let line = format!("echo {} {OPEN_LOOP}", server.url("/echo"));
    let report = Load::new(&line).run().judged(0);
    assert_eq!(report.count("reordered"), server.done().swapped);
    assert_eq!((report.count("received"), report.count("loss"), report.count("duplicates")), (MESSAGES, 0, 0));
    Load::new(&line).arg("--threshold").arg("reordered==0").run().judged(99);
}

/// For a second the server reads nothing; 4,000 messages fall due, of which the kernel takes a few hundred. The others are handed to it
/// when the stall is over: their service is short, their response is not, and the wait between is the server's.
#[test]
fn a_stall_shows_in_the_response_and_not_in_the_service_of_what_was_queued() {
    let stall = Stall { after: 4000, length: Duration::from_nanos(STALL_NS) };
    let server = Faulty::start(Behaviour { stall: Some(stall), ..Behaviour::default() });
    let ended = Load::new(&format!("echo {} -c 1 -t 1 -R 4000 -n 12000 -s 8KiB --warmup 0s", server.url("/echo"))).run();
    let report = ended.judged(0);
    let ns = |name, part| report.ns(name, part).expect("12,000 samples are enough");
    assert!(ns("response", "max") >= NEARLY_STALL_NS);
    assert!(ns("response", "p99.9") >= NEARLY_STALL_NS);
    assert!(ns("response", "p90") >= STALL_NS / 2);
    assert!(ns("service", "p90") < STALL_NS / 2);
    assert!(ns("lag.server", "max") >= STALL_NS / 2);
    assert!(ns("lag.own", "p90") < STALL_NS / 2);
}

/// The kernel takes all that falls due in the stall: nothing waits to be sent.
#[test]
fn a_stall_without_back_pressure_is_no_lag_of_sending() {
    let stall = Stall { after: 500, length: Duration::from_nanos(STALL_NS) };
    let server = Faulty::start(Behaviour { stall: Some(stall), ..Behaviour::default() });
    let report = Load::new(&format!("echo {} -c 1 -R 500 -n 1500 --warmup 0s", server.url("/echo"))).run().judged(0);
    assert!(report.ns("response", "max") >= Some(NEARLY_STALL_NS));
    assert!(report.ns("service", "max") >= Some(NEARLY_STALL_NS));
    assert!(report.ns("lag.server", "max") < Some(STALL_NS / 2));
}

#[test]
fn what_stays_unanswered_is_censored_at_its_age() {
    let stall = Stall { after: 500, length: Stall::FOR_EVER };
    let server = Faulty::start(Behaviour { stall: Some(stall), ..Behaviour::default() });
    let ended = Load::new(&format!("echo {} -c 1 -R 500 -d 2s --timeout 1s --warmup 0s", server.url("/echo"))).run();
    assert!(ended.line("response").contains('>'), "{ended:?}");
    let report = ended.report.expect("a report");
    assert!(report.count("unanswered") > 0);
    assert_eq!(report.count("received"), 500);
}

/// The stall is longer than nobody's patience but that of --timeout, which is 10 s.
#[test]
fn what_is_answered_late_is_not_lost() {
    let stall = Stall { after: 400, length: Duration::from_millis(2500) };
    let server = Faulty::start(Behaviour { stall: Some(stall), ..Behaviour::default() });
    let report = Load::new(&format!("echo {} -c 4 -R 500 -n 500 --warmup 0s", server.url("/echo"))).run().judged(0);
    assert_eq!((report.count("received"), report.count("unanswered"), report.count("loss")), (500, 0, 0));
}

#[test]
fn a_percentile_of_too_few_samples_is_not_given() {
    let server = exact();
    let ended = Load::new(&format!("echo {} -c 1 -n 50 --warmup 0s", server.url("/echo"))).run();
    assert!(ended.line("response").contains("n/a"), "{ended:?}");
    let report = ended.judged(0);
    assert!(report.ns("response", "p50").is_some());
    assert_eq!(report.ns("response", "p99"), None);
}

#[test]
fn a_count_is_kept_exactly() {
    let server = exact();
    let report = Load::new(&format!("echo {} -c 3 -R 2000 -n 1000 --warmup 0s", server.url("/echo"))).run().judged(0);
    assert_eq!((report.count("sent"), report.count("received"), server.done().received), (1000, 1000, 1000));
    Load::new(&format!("echo {} -c 1 -n 100 --repeat 3 --warmup 0s", server.url("/echo"))).run().judged(0);
    assert_eq!(server.done().received, 1300);
}

#[test]
fn warmup_is_not_measured() {
    let server = exact();
    let report = Load::new(&format!("echo {} -c 1 -R 500 -n 500 --warmup 500ms", server.url("/echo"))).run().judged(0);
    assert_eq!((report.count("sent"), report.count("received")), (500, 500));
    assert!(server.done().received > 600, "{:?}", server.done());
}

#[test]
fn thresholds_pass_fail_or_cannot_be_judged() {
    let server = exact();
    let judged = |count: &str, thresholds: &[&str]| {
        let line = format!("echo {} -c 2 -R 1000 -n {count} --warmup 0s", server.url("/echo"));
        thresholds.iter().fold(Load::new(&line), |load, threshold| load.arg("--threshold").arg(threshold)).run()
    };
    judged("500", &["response.p90<10s", "loss==0", "rate>=100"]).judged(0);
    judged("500", &["loss==0", "response.p50<1ns"]).judged(99);
    judged("50", &["response.p99<10s"]).coded(3);
}

#[test]
fn a_marker_is_found_inside_of_json() {
    let server = Faulty::start(Behaviour { json: true, ..Behaviour::default() });
    for message in ["", " -m id=${conn}-${seq}:${marker}-${rand:9}"] {
        let line = format!("echo {} -c 2 -R 1000 -n 500 --warmup 0s{message}", server.url("/echo"));
        let report = Load::new(&line).run().judged(0);
        assert_eq!((report.count("received"), report.count("corrupted")), (500, 0), "{message}");
    }
}

/// Its answer is recognised by what it is.
#[test]
fn a_message_too_small_for_a_marker_is_measured_too() {
    for (fault, code, corrupted) in [(Fault::None, 0, 0), (Fault::Corrupt(100), 99, 5)] {
        let server = Faulty::start(Behaviour { fault, ..Behaviour::default() });
        let report = Load::new(&format!("echo {} -c 1 -R 1000 -n 510 -s 16 --warmup 0s", server.url("/echo"))).run().judged(code);
        assert_eq!((report.count("received"), report.count("corrupted")), (510 - corrupted, corrupted));
    }
}

#[test]
fn messages_are_compressed_where_the_server_agrees() {
    let server = Faulty::start(Behaviour { deflate: true, ..Behaviour::default() });
    let report = Load::new(&format!("echo {} -c 1 -n 200 -s 1KiB --deflate --warmup 0s", server.url("/echo"))).run().judged(0);
    assert_eq!((report.count("received"), report.count("corrupted"), server.done().compressed), (200, 0, 200));
    assert!(!report.findings().contains(&"deflate-mismatch".to_owned()));
}

#[test]
fn a_server_that_does_not_compress_is_told_of() {
    let server = exact();
    let ended = Load::new(&format!("echo {} -c 2 -n 200 --deflate --warmup 0s", server.url("/echo"))).run();
    let report = ended.report.expect("a report");
    assert_eq!(report.count("received"), 200);
    assert!(report.findings().contains(&"deflate-mismatch".to_owned()), "{report:?}");
}

#[test]
fn a_mebibyte_comes_back_whole() {
    let server = Server::start("epoll", &[]);
    let report = Load::new(&format!("echo ws://{}/echo -c 1 -n 20 -s 1MiB --warmup 0s", server.edge)).run().judged(0);
    assert_eq!((report.count("received"), report.count("corrupted")), (20, 0));
}

#[test]
fn the_servers_and_its_own_cpu_and_memory_are_measured() {
    let server = Server::start("epoll", &[]);
    let line = format!("echo ws://{}/echo -c 4 -R 2000 -d 1s --warmup 0s --pid {}", server.edge, server.id());
    let report = Load::new(&line).arg("--threshold").arg("server.cpu_us_per_msg<1000000").run().judged(0);
    assert!(report.number("server.cpu") > 0.0 && report.number("generator.cpu") > 0.0, "{report:?}");
    assert!(report.number("server.rss") > 1e6 && report.number("generator.rss") > 1e6, "{report:?}");
}

#[test]
fn an_interrupted_run_writes_what_it_has() {
    let server = exact();
    let loading = Load::new(&format!("echo {} -c 2 -R 1000 -d 60s --warmup 0s", server.url("/echo"))).start();
    eventually("messages come", || server.done().received > 500);
    loading.signal(Signal::INT);
    let ended = loading.wait();
    assert!(!ended.line("response").is_empty());
    let report = ended.coded(130);
    assert!(report.count("received") > 0);
    assert_eq!(report.count("loss"), 0);
}
