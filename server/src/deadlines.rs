//! When something must have happened on a connection. Each kind of deadline has one fixed duration, so the connections that wait for one kind, in
//! the order in which they began, are in the order in which they are due: a list each, linked through the connections themselves. Setting
//! and clearing cost a few stores and no memory.

use std::time::Duration;

use slab::Slab;

use crate::connection::Connection;

/// What a connection waits for; it waits for one thing at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadline {
    /// A complete request.
    Request,
    /// Nothing: it is time for a ping.
    Ping,
    /// Any sign of life after a ping.
    Pong,
    /// The rest of a message.
    Message,
    /// The peer's end of the connection, or its close frame.
    Close,
}

const KINDS: usize = 5;
const NONE: u32 = u32::MAX;

/// A connection's place in a list.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    kind: Option<Deadline>,
    /// Milliseconds since the worker began, modulo 2³².
    due_ms: u32,
    before: u32,
    after: u32,
}

impl Link {
    /// In no list.
    pub const NONE: Link = Link { kind: None, due_ms: 0, before: NONE, after: NONE };

    /// Whether the connection waits for this.
    pub fn is(&self, kind: Deadline) -> bool {
        self.kind == Some(kind)
    }
}

/// All deadlines of a worker.
#[derive(Debug)]
pub struct Deadlines {
    durations_ms: [u32; KINDS],
    first: [u32; KINDS],
    last: [u32; KINDS],
}

impl Deadlines {
    /// No deadlines; the durations are in the order of [`Deadline`].
    pub fn new(durations: [Duration; KINDS]) -> Deadlines {
        // Half the range of 32 bits, so that differences tell before from after.
        let durations_ms = durations.map(|duration| u32::try_from(duration.as_millis()).unwrap_or(u32::MAX).min(u32::MAX / 2));
        Deadlines { durations_ms, first: [NONE; KINDS], last: [NONE; KINDS] }
    }

    /// The connection waits for this from now on and for nothing else.
    pub fn set(&mut self, connections: &mut Slab<Connection>, key: usize, kind: Deadline, now_ms: u32) {
        self.clear(connections, key);
        let list = kind as usize;
        let before = self.last[list];
        connections[key].link = Link { kind: Some(kind), due_ms: now_ms.wrapping_add(self.durations_ms[list]), before, after: NONE };
        match before {
            NONE => self.first[list] = key as u32,
            before => connections[before as usize].link.after = key as u32,
        }
        self.last[list] = key as u32;
    }

    /// The connection waits for nothing.
    pub fn clear(&mut self, connections: &mut Slab<Connection>, key: usize) {
        let link = std::mem::replace(&mut connections[key].link, Link::NONE);
        let Some(kind) = link.kind else { return };
        match link.before {
            NONE => self.first[kind as usize] = link.after,
            before => connections[before as usize].link.after = link.after,
        }
        match link.after {
            NONE => self.last[kind as usize] = link.before,
            after => connections[after as usize].link.before = link.before,
        }
    }

    /// A connection whose time is up, which then waits for nothing.
    pub fn pop_due(&mut self, connections: &mut Slab<Connection>, now_ms: u32) -> Option<(usize, Deadline)> {
        let due = self.first.iter().find(|&&first| first != NONE && until(connections[first as usize].link.due_ms, now_ms) == 0);
        let key = *due? as usize;
        let kind = connections[key].link.kind?;
        self.clear(connections, key);
        Some((key, kind))
    }

    /// How long until the next is due.
    pub fn next(&self, connections: &Slab<Connection>, now_ms: u32) -> Option<Duration> {
        let firsts = self.first.iter().filter(|&&first| first != NONE);
        firsts.map(|&first| Duration::from_millis(until(connections[first as usize].link.due_ms, now_ms).into())).min()
    }
}

/// Milliseconds until `due_ms`, 0 where that has passed.
fn until(due_ms: u32, now_ms: u32) -> u32 {
    (due_ms.wrapping_sub(now_ms) as i32).max(0) as u32
}
