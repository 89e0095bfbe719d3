//! Kernels whose io_uring is missing, forbidden or too old: left to choose, the server takes epoll and says why; told to use
//! io_uring, it says why not and ends.

use std::path::Path;
use std::process::Command;

use fantail_tests::{Peer, Server, binary};

/// `fantail serve` on a kernel that is missing io_uring, forbids it, or has an old one.
fn serve(kernel: &str, driver: &str) -> Command {
    let mut command = Command::new(Path::new(env!("CARGO_BIN_EXE_without_io_uring")));
    command.arg(kernel).arg(binary()).args(["serve", "--listen", "127.0.0.1:0", "--internal", "127.0.0.1:0", "--workers", "2"]);
    command.args(["--driver", driver]);
    command
}

/// The server works on epoll, and one line of its log names io_uring, epoll and each of `reasons`.
fn falls_back(kernel: &str, reasons: &[&str]) {
    let server = Server::spawn(&mut serve(kernel, "auto"));
    assert!(server.ready_line.contains(" driver=epoll "), "{}", server.ready_line);
    assert_eq!(server.metric("fantail_receive_operations"), 0);
    Peer::upgrade(server.edge, "/echo").expect_echo("all the same");
    let log = server.end();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("io_uring")).collect();
    let [line] = lines[..] else { panic!("{} lines about io_uring:\n{log}", lines.len()) };
    assert!(line.contains(" INFO ") || line.contains(" WARN "), "{line}");
    assert!(line.contains("epoll"), "{line}");
    for reason in reasons {
        assert!(line.contains(reason), "{reason:?} is not in {line}");
    }
}

/// The server does not start: status 2, nothing on stdout, and a line on stderr that names io_uring and each of `reasons`.
fn is_refused(kernel: &str, reasons: &[&str]) {
    let output = serve(kernel, "uring").output().expect("the launcher starts");
    let stderr = String::from_utf8(output.stderr).expect("UTF-8 on stderr");
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    let line = stderr.lines().find(|line| line.starts_with("fantail: ") && line.contains("io_uring"));
    let line = line.unwrap_or_else(|| panic!("no reason in {stderr:?}"));
    for reason in reasons {
        assert!(line.contains(reason), "{reason:?} is not in {line}");
    }
}

/// As the standard library words these errors of the kernel.
const ENOSYS: &str = "os error 38";
const EPERM: &str = "os error 1)";

#[test]
fn a_kernel_without_io_uring_is_served_by_epoll() {
    falls_back("missing", &[ENOSYS]);
}

#[test]
fn a_kernel_that_forbids_io_uring_is_served_by_epoll() {
    falls_back("forbidden", &[EPERM]);
}

#[test]
fn a_kernel_whose_io_uring_is_too_old_is_served_by_epoll() {
    falls_back("old", &["buffer"]);
}

/// What one worker has room for, many may not have.
#[test]
fn workers_that_have_too_few_descriptors_for_rings_are_served_by_epoll() {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 300 && exec \"$0\" \"$@\""]).arg(binary());
    command.args(["serve", "--listen", "127.0.0.1:0", "--internal", "127.0.0.1:0", "--workers", "64"]);
    let server = Server::spawn(&mut command);
    assert!(server.ready_line.contains(" driver=epoll "), "{}", server.ready_line);
    Peer::upgrade(server.edge, "/echo").expect_echo("all the same");
    server.end();
}

#[test]
fn io_uring_is_refused_where_there_is_none() {
    is_refused("missing", &[ENOSYS]);
}

#[test]
fn io_uring_is_refused_where_it_is_forbidden() {
    is_refused("forbidden", &[EPERM]);
}

#[test]
fn io_uring_is_refused_where_it_is_too_old() {
    is_refused("old", &["buffer"]);
}

/// The machine that tests run on must have what the other driver needs, or its tests would say nothing.
#[test]
fn this_kernel_is_served_by_io_uring() {
    let server = Server::start("auto", &[]);
    assert!(server.ready_line.contains(" driver=uring "), "{}", server.ready_line);
    server.end();
}
