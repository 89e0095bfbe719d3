//! `fantail-load fanout` against a hub whose faults are known, and against Fantail.

use std::time::Duration;

use fantail_tests::{Behaviour, Fault, Faulty, Load, Publishing, Report, Server, Stall};

const SUBSCRIBERS: u64 = 8;
const PUBLICATIONS: u64 = 200;
const DELIVERIES: u64 = SUBSCRIBERS * PUBLICATIONS;

/// One publisher, so that all subscribers are to get all publications.
const OPEN_LOOP: &str = "-c 8 --publishers 1 -R 200 -n 200 --warmup 0s";

/// No subscriber's last delivery is its turn: nothing is due once all has been delivered.
const EVERY: u64 = 7;

fn hub(behaviour: Behaviour) -> (Faulty, String) {
    let server = Faulty::start(behaviour);
    let line = format!("fanout {} {OPEN_LOOP}", server.url("/raw/news"));
    (server, line)
}

/// A fan-out of a hub with this fault, which is one that fails a run.
fn failed(fault: Fault) -> (Report, Faulty) {
    let (server, line) = hub(Behaviour { fault, ..Behaviour::default() });
    (Load::new(&line).run().coded(99), server)
}

/// All was delivered, to everybody, once.
fn complete(report: &Report) {
    assert_eq!((report.count("sent"), report.count("received")), (PUBLICATIONS, DELIVERIES));
    assert!((report.number("reach") - 1.0).abs() < 1e-9, "{report:?}");
    for fault in ["loss", "duplicates", "reordered", "corrupted", "negative", "unanswered"] {
        assert_eq!(report.count(fault), 0, "{fault}");
    }
}

#[test]
fn an_exact_hub_has_no_faults() {
    let (_server, line) = hub(Behaviour::default());
    let report = Load::new(&line).run().judged(0);
    complete(&report);
    let median = |name| report.ns(name, "p50").expect("200 samples are enough");
    assert!(median("delivery.first") <= median("delivery.median"), "{report:?}");
    assert!(median("delivery.median") <= median("delivery.last"), "{report:?}");
}

#[test]
fn dropped_deliveries_are_lost_and_fail_the_run() {
    let (report, server) = failed(Fault::Drop(EVERY));
    let dropped = server.done().dropped;
    assert_eq!((report.count("loss"), report.count("received")), (dropped, DELIVERIES - dropped));
    let reached = (DELIVERIES - dropped) as f64 / DELIVERIES as f64;
    assert!((report.number("reach") - reached).abs() < 1e-3, "{report:?}");
}

#[test]
fn duplicate_deliveries_are_counted_once_and_fail_the_run() {
    let (report, server) = failed(Fault::Duplicate(EVERY));
    assert_eq!(report.count("duplicates"), server.done().duplicated);
    assert_eq!((report.count("received"), report.count("loss")), (DELIVERIES, 0));
}

#[test]
fn corrupted_deliveries_are_counted_and_fail_the_run() {
    let (report, server) = failed(Fault::Corrupt(EVERY));
    assert_eq!(report.count("corrupted"), server.done().corrupted);
    assert_eq!((report.count("loss"), report.count("duplicates"), report.count("reordered")), (0, 0, 0));
}

#[test]
fn swapped_deliveries_are_reordered_and_not_lost() {
    let (server, line) = hub(Behaviour { fault: Fault::Swap(EVERY), ..Behaviour::default() });
    let report = Load::new(&line).arg("--threshold").arg("reordered==0").run().judged(99);
    assert_eq!(report.count("reordered"), server.done().swapped);
    assert_eq!((report.count("received"), report.count("loss")), (DELIVERIES, 0));
}

#[test]
fn a_stall_shows_in_the_deliveries() {
    let stall = Stall { after: 50, length: Duration::from_secs(1) };
    let (_server, line) = hub(Behaviour { stall: Some(stall), ..Behaviour::default() });
    let report = Load::new(&line).run().judged(0);
    complete(&report);
    assert!(report.ns("delivery", "max") >= Some(900_000_000), "{report:?}");
    assert!(report.ns("delivery.last", "max") >= Some(900_000_000), "{report:?}");
}

#[test]
fn a_marker_is_found_inside_of_json() {
    let (_server, line) = hub(Behaviour { json: true, ..Behaviour::default() });
    complete(&Load::new(&line).run().judged(0));
}

#[test]
fn subscriptions_are_sent_and_waited_for() {
    let server = Faulty::start(Behaviour::default());
    let arguments = ["--subscribe", "subscribe ${channel}", "--subscribe-ack", "subscribed", "--publish", "publish ${channel} ${payload}"];
    let load = Load::new(&format!("fanout {} {OPEN_LOOP}", server.url("/channels")));
    complete(&arguments.iter().fold(load, |load, argument| load.arg(argument)).run().judged(0));
}

#[test]
fn a_subscription_that_is_never_acknowledged_is_no_run() {
    let server = Faulty::start(Behaviour::default());
    let load = Load::new(&format!("fanout {} {OPEN_LOOP} --timeout 500ms", server.url("/channels")));
    let arguments = ["--subscribe", "subscribe ${channel}", "--subscribe-ack", "welcome", "--publish", "publish ${channel} ${payload}"];
    arguments.iter().fold(load, |load, argument| load.arg(argument)).run_as_is().could_not_run(&[]);
}

#[test]
fn publications_go_out_over_http() {
    for publishing in [Publishing::Length, Publishing::Chunked] {
        let (server, line) = hub(Behaviour { publishing, ..Behaviour::default() });
        let report = Load::new(&format!("{line} --publish-http http://{}/publish/news", server.address)).run().judged(0);
        complete(&report);
        assert!(report.ns("publish.answer", "p50").is_some(), "{report:?}");
    }
}

#[test]
fn publications_that_are_refused_are_no_run() {
    let (server, line) = hub(Behaviour { publishing: Publishing::Refused, ..Behaviour::default() });
    let ended = Load::new(&format!("{line} --publish-http http://{}/publish/news", server.address)).run_as_is();
    ended.could_not_run(&["500"]);
}

/// Both URLs name a channel, but nobody can subscribe to the second.
#[test]
fn a_channel_that_nobody_hears_is_no_run() {
    let server = Faulty::start(Behaviour::default());
    let refused = "ws://127.0.0.1:9/raw/${channel}";
    let line = format!("fanout {0} {refused} --publish-url {0} -c 2 --channels 2 -n 10 --warmup 0s", server.url("/raw/${channel}"));
    Load::new(&line).run_as_is().could_not_run(&["channel", "no subscriber"]);
}

/// Four subscribers and one publisher a channel: half of the deliveries there would be with one channel.
#[test]
fn channels_are_apart() {
    let server = Faulty::start(Behaviour::default());
    let line = format!("fanout {} -c 8 --publishers 2 --channels 2 -R 200 -n 200 --warmup 0s", server.url("/raw/${channel}"));
    let report = Load::new(&line).run().judged(0);
    assert_eq!((report.count("received"), report.count("loss")), (DELIVERIES / 2, 0));
    assert!((report.number("reach") - 1.0).abs() < 1e-9, "{report:?}");
}

#[test]
fn fantail_reaches_everybody() {
    let server = Server::start("epoll", &[("FANTAIL_HUB_PUBLISH", "anyone")]);
    complete(&Load::new(&format!("fanout ws://{}/raw/news {OPEN_LOOP}", server.edge)).run().judged(0));
    let line = format!("fanout ws://{} {OPEN_LOOP} --preset fantail --publish-http http://{}/api/publish", server.edge, server.internal);
    complete(&Load::new(&line).run().judged(0));
}
