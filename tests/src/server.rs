//! One `fantail` process: built once, started on free ports, watched, ended. Imports [`crate::build`], [`crate::peer`] and
//! [`crate::http`].

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use serde_json::Value;

use crate::build::build;
use crate::{PATIENCE, Peer, Request};

/// What a server holds on to for the clients it has: the same before they came and after they are gone.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    /// Descriptors the process has open.
    pub descriptors: usize,
    /// Receive operations that the kernel has not ended, where the driver has such.
    pub receive_operations: u64,
    /// Connections to the edge port, as the server counts them.
    pub connections: u64,
}

/// A running server. When it is dropped it must still be alive: whatever a test did to it, nothing may end it or make a thread panic.
pub struct Server {
    /// Where clients connect.
    pub edge: SocketAddr,
    /// Where the publish API is.
    pub internal: SocketAddr,
    /// The line that told these addresses.
    pub ready_line: String,
    child: Child,
    /// Held open: a server that logs to a closed pipe would fail for no fault of its own.
    _stdout: BufReader<ChildStdout>,
    stderr: Option<JoinHandle<String>>,
    ended: bool,
}

impl Server {
    /// Starts `fantail serve` with two workers on `driver`, and these environment variables, and waits for its ready line.
    pub fn start(driver: &str, env: &[(&str, &str)]) -> Self {
        let mut command = Command::new(binary());
        command.args(["serve", "--listen", "127.0.0.1:0", "--internal", "127.0.0.1:0", "--workers", "2"]);
        command.args(["--driver", driver]).envs(env.iter().copied());
        Self::spawn(&mut command)
    }

    /// Starts a server by a command of the test's own, and waits for its ready line.
    pub fn spawn(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let stderr = collect(child.stderr.take().expect("a pipe"));
        let mut ready_line = String::new();
        stdout.read_line(&mut ready_line).expect("UTF-8 on stdout");
        let address = |name: &str| ready_line.split_whitespace().find_map(|word| word.strip_prefix(name)?.parse().ok());
        let (Some(edge), Some(internal)) = (address("edge="), address("internal=")) else {
            let _ = child.kill();
            panic!("no ready line, but {ready_line:?} and {:?}", stderr.join());
        };
        Self { edge, internal, ready_line, child, _stdout: stdout, stderr: Some(stderr), ended: false }
    }

    /// Publishes a JSON value as text and gives its offset.
    pub fn publish(&self, channel: &str, json: &str) -> u64 {
        self.publisher().publish(channel, json)
    }

    /// A connection to the publish API, for many publications.
    pub fn publisher(&self) -> Publisher {
        Publisher(Peer::connect(self.internal))
    }

    /// Asks the server to end, as an operator would.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the server runs");
    }

    /// Waits for the server to end by itself, and gives its status and what it logged.
    pub fn wait(mut self) -> (ExitStatus, String) {
        self.ended = true;
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child of ours") {
                return (status, self.log());
            }
            assert!(Instant::now() < deadline, "the server does not end");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends the server as an operator would. It ends well, and without an error in its log, which this gives.
    pub fn end(self) -> String {
        self.signal(Signal::TERM);
        let (status, log) = self.wait();
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(!log.contains(ERROR), "the server logged an error:\n{log}");
        log
    }

    /// Stops the process where it stands; meanwhile the kernel does for it what it does alone.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
        eventually("every thread is stopped", || self.threads_are(|state| state == 'T'));
    }

    /// Lets a frozen process go on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// The sum of a metric over all its labels.
    pub fn metric(&self, name: &str) -> u64 {
        let (_, response) = Peer::ask(self.internal, Request::get("/metrics"));
        let text = String::from_utf8(response.body).expect("UTF-8");
        let samples = text.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{'])));
        let values: Vec<u64> = samples.filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect();
        assert!(!values.is_empty(), "no metric {name} in {text}");
        values.iter().sum()
    }

    /// What the server holds on to now.
    pub fn held(&self) -> Held {
        // The descriptors first: who asks for a metric takes one for a while.
        Held {
            descriptors: self.open_descriptors(),
            receive_operations: self.metric("fantail_receive_operations"),
            connections: self.metric("fantail_connections"),
        }
    }

    /// Waits until the server holds on to no more, and no less, than it did before.
    pub fn expect_held(&self, before: Held) {
        let metric = |name: &str, before: u64| eventually(&format!("{name} is {before} again"), || self.metric(name) == before);
        eventually("every descriptor is free again", || self.open_descriptors() == before.descriptors);
        metric("fantail_connections", before.connections);
        metric("fantail_receive_operations", before.receive_operations);
    }

    /// How many descriptors below this limit the process does not have open.
    pub fn descriptors_left(&self, limit: usize) -> usize {
        let entries = fs::read_dir(self.proc("fd")).expect("a process of ours");
        let open: Vec<usize> = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
        (0..limit).filter(|number| !open.contains(number)).count()
    }

    /// The process, for who measures it.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The memory the process has in RAM.
    pub fn rss_bytes(&self) -> usize {
        self.memory("VmRSS:")
    }

    /// The memory the process has asked for, touched or not.
    pub fn virtual_bytes(&self) -> usize {
        self.memory("VmSize:")
    }

    /// How many descriptors the process has open.
    pub fn open_descriptors(&self) -> usize {
        fs::read_dir(self.proc("fd")).expect("a process of ours").count()
    }

    fn threads_are(&self, expected: impl Fn(char) -> bool) -> bool {
        let tasks = fs::read_dir(self.proc("task")).expect("a process of ours");
        // A thread that ended meanwhile has nothing to read.
        let stats = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("stat")).ok());
        // The state stands behind the name, which is in parentheses and may contain any of them.
        stats.filter_map(|stat| stat.rsplit(") ").next()?.chars().next()).all(expected)
    }

    fn memory(&self, name: &str) -> usize {
        let status = fs::read_to_string(self.proc("status")).expect("a process of ours");
        let value = status.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB"));
        value.and_then(|value| value.parse::<usize>().ok()).expect("a number of kB") * 1024
    }

    fn proc(&self, file: &str) -> PathBuf {
        Path::new("/proc").join(self.child.id().to_string()).join(file)
    }

    fn log(&mut self) -> String {
        self.stderr.take().map(|reader| reader.join().expect("UTF-8 on stderr")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let alive = matches!(self.child.try_wait(), Ok(None));
        let _ = self.child.kill();
        let _ = self.child.wait();
        let log = self.log();
        if thread::panicking() {
            eprintln!("the server's log:\n{log}");
        } else {
            assert!(alive || self.ended, "the server ended by itself:\n{log}");
            assert!(!log.contains("panicked at"), "the server panicked:\n{log}");
            assert!(!log.contains(ERROR), "the server logged an error:\n{log}");
        }
    }
}

/// The level of what must never be in the log, as it stands there.
const ERROR: &str = " ERROR ";

/// A kept-alive connection to the publish API.
pub struct Publisher(Peer);

impl Publisher {
    /// Publishes a JSON value as text and gives its offset.
    pub fn publish(&mut self, channel: &str, json: &str) -> u64 {
        self.accepted(&format!(r#"{{"channel":{},"data":{json}}}"#, Value::from(channel)))
    }

    /// Publishes bytes, given in base64, as binary and gives their offset.
    pub fn publish_base64(&mut self, channel: &str, base64: &str) -> u64 {
        self.accepted(&format!(r#"{{"channel":{},"b64data":"{base64}"}}"#, Value::from(channel)))
    }

    /// Sends any body to `/api/publish` and gives the answer, which is 200 even for errors.
    pub fn call(&mut self, body: &str) -> Value {
        let request = Request::get("").line("POST /api/publish HTTP/1.1").with("Content-Type", "application/json");
        self.0.send(request.with("Content-Length", body.len().to_string()).body(body));
        let response = self.0.response();
        assert_eq!(response.status, 200, "{response:?}");
        serde_json::from_slice(&response.body).expect("JSON")
    }

    fn accepted(&mut self, body: &str) -> u64 {
        let answer = self.call(body);
        answer["result"]["offset"].as_u64().unwrap_or_else(|| panic!("{body} was answered {answer}"))
    }
}

/// The `fantail` binary, built once a process.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| build("fantail"))
}

/// Waits until a condition holds that the server brings about in its own time.
///
/// # Panics
/// If it does not hold within [`PATIENCE`].
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never came true: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Raises this process's descriptor limit, which a server started from here inherits, as far as it goes, and gives it.
pub fn raise_descriptor_limit() -> u64 {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("the soft limit may rise to the hard one");
    maximum.unwrap_or(u64::MAX)
}

/// Reads a pipe to its end on a thread of its own, so that its writer never waits.
pub(crate) fn collect(mut pipe: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut text = String::new();
        pipe.read_to_string(&mut text).expect("UTF-8");
        text
    })
}
