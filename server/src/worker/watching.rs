//! A driver for tests, which does nothing by itself.

use std::{io, net::TcpStream, time::Duration};

use crate::{
    connection::Connection,
    driver::{Driver, Outgoing},
    outbox::Queued,
    worker::Worker,
};

/// A driver that remembers what it was asked to watch and to forget, and sends for some connections at once.
#[derive(Default)]
pub struct Watching {
    /// Connections that the kernel took not all of.
    pub watched: Vec<usize>,
    /// Connections that are gone.
    pub forgotten: Vec<usize>,
    /// What is received when it next dispatches.
    pub arriving: Vec<(usize, Vec<u8>)>,
    /// Which connections waited to be written to when it last dispatched.
    pub waiting: Vec<usize>,
}

impl Driver for Watching {
    const SENDS_AT_ONCE: usize = 2;
    const WRITES_A_LOOK: usize = 3;

    fn send(&mut self, sends: &mut [Outgoing<'_>]) -> io::Result<()> {
        for send in sends.iter_mut().filter(|send| !send.slices.is_empty()) {
            send.result = Some(rustix::io::writev(send.socket, send.slices).map_err(Into::into));
        }
        Ok(())
    }

    fn wait(&mut self, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }

    fn dispatch(&mut self, worker: &mut Worker) {
        let is_waiting = |(key, connection): (usize, &Connection)| (connection.queued != Queued::NOTHING).then_some(key);
        self.waiting = worker.connections.iter().filter_map(is_waiting).collect();
        self.arriving.drain(..).for_each(|(key, mut bytes)| worker.received(key, &mut bytes));
    }

    fn watch_writable(&mut self, key: usize, _: &TcpStream) -> io::Result<()> {
        self.watched.push(key);
        Ok(())
    }

    fn pause(&mut self, _: usize) {}

    fn resume(&mut self, _: usize) {}

    fn forget(&mut self, key: usize, _: TcpStream) {
        self.watched.retain(|&watched| watched != key);
        self.forgotten.push(key);
    }

    fn stop_accepting(&mut self) {}
}
