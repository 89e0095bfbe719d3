//! One thread's event loop: what is received, what becomes of connections, and when the scenario has its turn. Imports `io` and what is below it.

use std::{
    collections::VecDeque,
    io::{self as std_io, ErrorKind},
    sync::Arc,
    sync::atomic::Ordering::{Relaxed, Release},
    time::Duration,
};

use fantail_codec::{
    Event, Role, Scratch, WebSocket,
    frame::OpCode,
    http1::{Progress as HeadProgress, ResponseHead},
    limits::{HttpLimits, MessageLimits},
    upgrade::client::judge,
};
use mio::{Events, Poll, Token, Waker};

use super::{
    Scenario,
    control::{Control, Progress, count},
    destination::Destinations,
    io::{Broken, Io},
    link::{Asked, Opening, State},
    opener::{Opened, Opener},
    timer::Timer,
};
use crate::{payload::Payloads, plan::Plan, system::own::ThreadTimes, verdict::ThreadUse};

const WAKER: Token = Token(usize::MAX);
const TIMER: Token = Token(usize::MAX - 1);

/// Bytes received by one call at most.
const RECEIVE_BYTES: usize = 64 << 10;
/// Calls on one connection before the others have their turn.
const RECEIVES_MAX: usize = 16;
/// Events taken from the kernel at once.
const EVENTS_MAX: usize = 1024;
/// Connections begun before what has arrived is looked at.
const CONNECTS_MAX: usize = 64;
/// The longest wait: how old the figures that the director reads may be.
const WAIT_MAX: Duration = Duration::from_millis(50);
/// How long the closing handshakes may take in all.
const CLOSING: Duration = Duration::from_secs(1);
/// A generator takes what a server sends.
const LIMITS: MessageLimits = MessageLimits { message_bytes_max: 1 << 30, fragments_max: u32::MAX };

/// What the threads of a run have in common.
#[derive(Clone)]
pub struct Setup {
    /// What the run does.
    pub plan: Arc<Plan>,
    /// Where its connections go.
    pub destinations: Arc<Destinations>,
    /// What its messages hold.
    pub payloads: Payloads,
    /// Who directs it.
    pub control: Arc<Control>,
}

/// What a thread's part of a run came to.
pub struct Outcome<T> {
    /// The scenario's figures.
    pub tally: T,
    /// The connections'.
    pub opened: Opened,
    /// What the thread had of the CPUs while it was measured.
    pub thread: ThreadUse,
}

/// Runs one thread's part, until the director has the connections closed.
///
/// # Errors
/// The kernel refuses what the loop itself needs.
pub fn run<S: Scenario>(setup: &Setup, thread: usize, scenario: S) -> std_io::Result<Outcome<S::Tally>> {
    let poll = Poll::new()?;
    setup.control.set_waker(thread, Waker::new(poll.registry(), WAKER)?);
    let timer = Timer::new(poll.registry(), TIMER)?;
    let (plan, control) = (&setup.plan, &setup.control);
    let io = Io::new(plan.clone(), control.clone(), setup.payloads.clone(), thread, poll.registry().try_clone()?);
    let worker = Worker {
        opener: Opener::new(plan, thread),
        destinations: setup.destinations.clone(),
        poll,
        timer,
        io,
        scenario,
        began: false,
        websockets: Vec::new(),
        waiting: VecDeque::new(),
        again: Vec::new(),
        buffer: vec![0; RECEIVE_BYTES].into(),
        scratch: Scratch::default(),
    };
    worker.run()
}

struct Worker<S> {
    poll: Poll,
    timer: Timer,
    io: Io,
    scenario: S,
    began: bool,
    opener: Opener,
    destinations: Arc<Destinations>,
    /// The protocol's state of each connection, beside `io.links`, so that a message may be lent while the scenario sends.
    websockets: Vec<WebSocket>,
    /// Connections that are being opened or, with `--close`, closed, the oldest first: key, number and when it is too late.
    waiting: VecDeque<(usize, usize, u64)>,
    /// Connections with more to receive than their share of a turn.
    again: Vec<usize>,
    buffer: Box<[u8]>,
    scratch: Scratch,
}

impl<S: Scenario> Worker<S> {
    fn run(mut self) -> std_io::Result<Outcome<S::Tally>> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        let mut measured = Measured::begin()?;
        while !self.io.control.is_closing() {
            self.wait(&mut events)?;
            self.dispatch(&events);
            self.open();
            if !self.began
                && let Some(timeline) = self.io.control.timeline().copied()
            {
                self.began = true;
                self.scenario.begin(&timeline, &mut self.io);
            }
            self.scenario.turn(&mut self.io);
            self.bury();
            measured.turn(&self.io.control, self.io.progress(), self.io.now_ns())?;
        }
        let quiet = self.io.control.is_quiet();
        let tally = self.scenario.finish(quiet, &mut self.io);
        self.close_all(&mut events)?;
        self.io.opened.failed = self.io.progress().failed.load(Relaxed);
        let thread = measured.end()?;
        Ok(Outcome { tally, opened: self.io.opened, thread })
    }

    fn wait(&mut self, events: &mut Events) -> std_io::Result<()> {
        let now_ns = self.io.now_ns();
        let opening = self.opener.due_ns(self.io.control.target(), now_ns);
        let due = [self.scenario.due_ns(), opening, self.waiting.front().map(|waiting| waiting.2)].into_iter().flatten().min();
        let timeout = match due {
            _ if !self.again.is_empty() => Duration::ZERO,
            Some(due_ns) if due_ns <= now_ns => Duration::ZERO,
            Some(due_ns) if due_ns - now_ns < WAIT_MAX.as_nanos() as u64 => {
                self.timer.set(due_ns, now_ns)?;
                WAIT_MAX
            }
            _ => WAIT_MAX,
        };
        self.poll(events, timeout)
    }

    fn poll(&mut self, events: &mut Events, timeout: Duration) -> std_io::Result<()> {
        match self.poll.poll(events, Some(timeout)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {
                events.clear();
                Ok(())
            }
            result => result,
        }
    }

    fn dispatch(&mut self, events: &Events) {
        for key in std::mem::take(&mut self.again) {
            // The event that said whether the server has ended the connection is gone.
            self.receive(key, true);
        }
        for event in events {
            let Token(key) = event.token();
            if event.token() == WAKER || event.token() == TIMER || !self.io.links.contains(key) {
                continue;
            }
            if event.is_writable() {
                self.writable(key);
            }
            let ended = event.is_read_closed() || event.is_error();
            if event.is_readable() || ended {
                self.receive(key, ended);
            }
        }
        self.scratch.trim();
    }

    /// Begins the connections that are due, and gives up those that take too long.
    fn open(&mut self) {
        let target = self.io.control.target();
        for _ in 0..CONNECTS_MAX {
            let now_ns = self.io.now_ns();
            let measured = self.measures(now_ns);
            let Some((number, intended_ns)) = self.opener.next(target, now_ns, measured) else { break };
            let destination = self.destinations.of(&self.io.plan, number);
            match self.io.connect(destination, number, Opening { intended_ns, began_ns: now_ns, ..Opening::default() }) {
                Ok(key) => {
                    let plain = destination.tls.is_none();
                    self.waiting.push_back((key, number, now_ns + self.io.plan.timeout.as_nanos() as u64));
                    // On loopback the connection stands when connect() returns; elsewhere this finds it not yet writable.
                    if plain {
                        self.writable(key);
                    }
                }
                Err(error) => {
                    self.opener.settled();
                    self.opener.gone();
                    count(&self.io.progress().settled, 1);
                    let trouble = &mut self.io.opened.trouble;
                    // The latter from bind, where the source address is given.
                    trouble.ports_ran_out |= matches!(error.kind(), ErrorKind::AddrNotAvailable | ErrorKind::AddrInUse);
                    trouble.descriptors_ran_out |= error.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error());
                    let address = self.io.address_of(destination, number);
                    self.count_failed(&format!("cannot connect to {address}: {error}"));
                }
            }
        }
        if self.opener.is_done() {
            self.io.progress().done.store(true, Relaxed);
        }
        let now_ns = self.io.now_ns();
        while let Some(&(key, number, late_ns)) = self.waiting.front() {
            let link = self.io.links.get(key).filter(|link| link.number == number && !link.is_open());
            if link.is_some() && late_ns > now_ns {
                break;
            }
            self.waiting.pop_front();
            if let Some(link) = link {
                let (what, timeout) = (if link.is_opening() { "the upgrade" } else { "our close" }, self.io.plan.timeout);
                self.drop_late(key, &format!("no answer to {what} within {timeout:?}"));
            }
        }
    }

    /// Whether what begins at this time is measured: all but warm-up.
    fn measures(&self, began_ns: u64) -> bool {
        self.io.control.timeline().is_none_or(|timeline| began_ns >= timeline.measure_ns)
    }

    fn writable(&mut self, key: usize) {
        let Some(link) = self.io.links.get_mut(key) else { return };
        if link.is_to_ask() {
            let number = link.number;
            if let Err(error) = self.io.ask(key, self.destinations.of(&self.io.plan, number)) {
                let address = self.io.address_of(self.destinations.of(&self.io.plan, number), number);
                self.fail(key, &format!("cannot connect to {address}: {error}"));
            }
        } else if link.is_blocked() {
            let at_ns = self.io.control.clock.now_ns();
            match link.flush() {
                Ok(true) if link.is_open() => self.scenario.handed(key, at_ns, &mut self.io),
                Ok(_) => {}
                Err(error) => self.ended(key, &format!("the connection broke: {error}")),
            }
        }
    }

    /// Receives until there is no more; a short read shows that without a further call, unless the server may have ended the connection.
    fn receive(&mut self, key: usize, ended: bool) {
        for _ in 0..RECEIVES_MAX {
            let Some(link) = self.io.links.get_mut(key) else { return };
            match link.stream.read(&mut self.buffer) {
                Ok(0) => return self.ended(key, "the server closed the connection without a close frame"),
                Ok(length) => {
                    self.io.received_ns = self.io.control.clock.now_ns();
                    let short = length < self.buffer.len() && !link.stream.is_tls();
                    let mut buffer = std::mem::take(&mut self.buffer);
                    self.received(key, &mut buffer[..length]);
                    self.buffer = buffer;
                    if short && !ended {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    // TLS may have come so far that the request can go.
                    if link.is_to_ask() {
                        self.writable(key);
                    }
                    return;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return self.ended(key, &format!("the connection broke: {error}")),
            }
        }
        self.again.push(key);
    }

    fn received(&mut self, key: usize, bytes: &mut [u8]) {
        match &self.io.links[key].state {
            State::Opening(_) => self.upgrade(key, bytes),
            State::Open | State::Closing => self.messages(key, bytes),
        }
    }

    /// The response to the upgrade, as far as it came.
    fn upgrade(&mut self, key: usize, bytes: &mut [u8]) {
        let link = &mut self.io.links[key];
        let destination = self.destinations.of(&self.io.plan, link.number);
        let State::Opening(opening) = &mut link.state else { return };
        let Some(Asked { scan, head, key: asked_key, .. }) = &mut opening.asked else {
            return self.break_off(key, "the server spoke before it was asked", bytes);
        };
        let held = head.len();
        head.extend_from_slice(bytes);
        match scan.advance(head, &HttpLimits::DEFAULT) {
            Ok(HeadProgress::Incomplete) => {}
            Ok(HeadProgress::Complete(length)) => {
                let offer = destination.offer(&self.io.plan.opening, "", *asked_key);
                match judge(&ResponseHead::new(&head[..length], scan), &offer) {
                    Ok(accepted) => {
                        self.open_websocket(key, accepted.deflate);
                        self.messages(key, &mut bytes[length - held..]);
                    }
                    Err(refusal) => self.fail(key, &format!("the server refused the upgrade: {refusal}")),
                }
            }
            Err(error) => {
                let head = std::mem::take(head);
                self.break_off(key, &error.to_string(), &head);
            }
        }
    }

    fn open_websocket(&mut self, key: usize, agreement: Option<fantail_codec::deflate::Agreement>) {
        let now_ns = self.io.received_ns;
        let link = &mut self.io.links[key];
        let State::Opening(opening) = std::mem::replace(&mut link.state, State::Open) else { return };
        let asked_ns = opening.asked.map_or(now_ns, |asked| asked.at_ns);
        let connected_ns = opening.connected_ns.unwrap_or(asked_ns);
        let is_tls = link.stream.is_tls();
        if self.measures(opening.began_ns) {
            let opened = &mut self.io.opened;
            opened.tcp.record(connected_ns - opening.began_ns);
            if is_tls {
                opened.tls.record(asked_ns - connected_ns);
            }
            opened.upgrade.record(now_ns - asked_ns);
            opened.total.record(now_ns - opening.began_ns);
            opened.response.record(now_ns - opening.intended_ns);
            opened.deflated += u64::from(agreement.is_some());
            opened.last_ns = now_ns;
        }
        self.opener.settled();
        let websocket = WebSocket::new(Role::Client, agreement.as_ref());
        if self.websockets.len() <= key {
            self.websockets.resize_with(key + 1, || WebSocket::new(Role::Client, None));
            self.io.agreements.resize(key + 1, None);
        }
        self.websockets[key] = websocket;
        self.io.agreements[key] = agreement;
        count(&self.io.progress().opened, 1);
        if self.io.plan.opening.close {
            return self.io.close(key, &mut self.websockets[key]);
        }
        if let Some(first) = self.io.plan.clone().traffic.first_message.as_ref() {
            self.io.send_template(key, first);
        }
        self.scenario.opened(key, &mut self.io);
    }

    fn messages(&mut self, key: usize, bytes: &mut [u8]) {
        let mut input = &mut *bytes;
        let error = loop {
            match self.websockets[key].receive(&mut input, &LIMITS, &mut self.scratch) {
                Ok(None) => return,
                Ok(Some(Event::Message(_, payload))) => match &self.io.plan.traffic.answer {
                    _ if !self.io.links[key].is_open() => {}
                    Some((ping, pong)) if payload == ping.as_slice() => {
                        let pong = pong.clone();
                        self.io.reply(key, self.io.plan.traffic.kind.into(), &pong);
                    }
                    _ => self.scenario.message(key, payload, &mut self.io),
                },
                Ok(Some(Event::Ping(payload))) => self.io.reply(key, OpCode::Pong, payload),
                Ok(Some(Event::Pong(_))) => {}
                // The server ends the connection of a closing handshake that we began, RFC 6455 §7.1.1: its ports wait out TIME_WAIT, not ours.
                Ok(Some(Event::Close(_))) if !self.io.links[key].is_open() => {}
                Ok(Some(Event::Close(close))) => {
                    let text = match close {
                        Some((code, reason)) => format!("the server closed with {} {reason:?}", code.get()),
                        None => "the server closed without a code".into(),
                    };
                    self.io.answer_close(key, &mut self.websockets[key]);
                    return self.ended(key, &text);
                }
                Err(error) => break error.to_string(),
            }
        };
        self.break_off(key, &error, bytes);
    }

    /// The peer broke the protocol.
    fn break_off(&mut self, key: usize, text: &str, bytes: &[u8]) {
        self.io.opened.trouble.bad_peer(text, bytes);
        self.ended(key, &format!("the server broke the protocol: {text}"));
    }

    /// The connection is over; unless we close it, that is a failure.
    fn ended(&mut self, key: usize, text: &str) {
        match &self.io.links[key].state {
            State::Closing => self.drop_link(key),
            // The run is over; other threads' closing may have moved the server to close all.
            State::Open if self.io.control.is_closing() => self.drop_link(key),
            State::Open => {
                self.drop_link(key);
                self.count_failed(text);
                count(&self.io.progress().ended, 1);
                self.scenario.ended(key, &mut self.io);
            }
            State::Opening(_) => self.fail(key, &format!("the upgrade failed: {text}")),
        }
    }

    /// The server takes too long to open the connection, or to close it.
    fn drop_late(&mut self, key: usize, text: &str) {
        if self.io.links[key].is_opening() {
            return self.fail(key, text);
        }
        self.drop_link(key);
        self.count_failed(text);
    }

    /// The connection was never open.
    fn fail(&mut self, key: usize, text: &str) {
        self.drop_link(key);
        self.opener.settled();
        self.count_failed(text);
    }

    fn count_failed(&mut self, text: &str) {
        self.io.opened.trouble.count(text);
        count(&self.io.progress().failed, 1);
    }

    fn drop_link(&mut self, key: usize) {
        self.io.settle(key);
        let mut link = self.io.links.remove(key);
        self.opener.gone();
        // Closing the descriptor would do; this keeps mio's own account right.
        let _ = self.io.registry.deregister(link.stream.socket());
        if let Some(websocket) = self.websockets.get_mut(key) {
            *websocket = WebSocket::new(Role::Client, None);
        }
    }

    /// Connections that broke while the scenario sent on them.
    fn bury(&mut self) {
        for Broken { key, number, text } in std::mem::take(&mut self.io.broken) {
            if self.io.links.get(key).is_some_and(|link| link.number == number) {
                self.ended(key, &format!("the connection broke: {text}"));
            }
        }
    }

    fn close_all(&mut self, events: &mut Events) -> std_io::Result<()> {
        let keys: Vec<usize> = self.io.links.iter().map(|(key, _)| key).collect();
        for key in keys {
            if self.io.links[key].is_open() {
                self.io.close(key, &mut self.websockets[key]);
            } else if self.io.links[key].is_opening() {
                self.drop_link(key);
            }
        }
        let late_ns = self.io.now_ns() + CLOSING.as_nanos() as u64;
        while !self.io.links.is_empty() && self.io.now_ns() < late_ns {
            self.poll(events, WAIT_MAX)?;
            self.dispatch(events);
            self.bury();
        }
        Ok(())
    }
}

/// The thread's own times, read when what is measured begins and when it ends.
struct Measured {
    began: ThreadTimes,
    /// The warm-up is over, or there is none.
    warm: bool,
    ended: Option<ThreadUse>,
}

impl Measured {
    fn begin() -> std_io::Result<Measured> {
        Ok(Measured { began: ThreadTimes::of_this_thread()?, warm: false, ended: None })
    }

    fn turn(&mut self, control: &Control, progress: &Progress, now_ns: u64) -> std_io::Result<()> {
        if !self.warm && control.timeline().is_some_and(|timeline| timeline.measure_ns <= now_ns) {
            (self.began, self.warm) = (ThreadTimes::of_this_thread()?, true);
        }
        if self.ended.is_none() && control.is_stopped() {
            self.ended = Some(self.so_far()?);
            progress.stopped.store(true, Release);
        }
        Ok(())
    }

    fn end(self) -> std_io::Result<ThreadUse> {
        self.ended.map_or_else(|| self.so_far(), Ok)
    }

    fn so_far(&self) -> std_io::Result<ThreadUse> {
        let used = ThreadTimes::of_this_thread()?.since(self.began);
        Ok(ThreadUse { ran: Duration::from_nanos(used.ran_ns), waited: Duration::from_nanos(used.waited_ns) })
    }
}
