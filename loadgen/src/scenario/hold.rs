//! `connect` and `idle`: connections that are opened and held, on which nothing is sent. Imports nothing but the engine's contract.

use crate::engine::{Io, Scenario, Timeline};

/// Holds connections.
pub struct Hold;

impl Scenario for Hold {
    type Tally = ();

    fn opened(&mut self, key: usize, io: &mut Io) {
        io.settle(key);
    }

    fn message(&mut self, _key: usize, _payload: &[u8], _io: &mut Io) {}

    fn handed(&mut self, _key: usize, _at_ns: u64, _io: &mut Io) {}

    fn ended(&mut self, _key: usize, _io: &mut Io) {}

    fn begin(&mut self, _timeline: &Timeline, _io: &mut Io) {}

    fn due_ns(&self) -> Option<u64> {
        None
    }

    fn turn(&mut self, _io: &mut Io) {}

    fn finish(&mut self, _quiet: bool, _io: &mut Io) {}
}
