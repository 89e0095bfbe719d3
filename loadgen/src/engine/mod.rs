//! The engine: one event loop a thread, each with its share of the connections. It opens them at their pace, speaks the protocol, and hands
//! messages to the scenario, which decides what is sent when. Imports `net`, `plan` and what is below them; knows no scenario.
//!
//! A thread's turn: wait until a socket, the timer or the director has something; receive from every socket that is ready and hand the messages to
//! the scenario; open connections that are due; let the scenario send what is due. So a turn collects first and sends after, as the
//! server's does, and what that delays shows in the send lag.

mod control;
mod destination;
mod io;
mod link;
mod opener;
mod timer;
mod worker;

pub use control::{Control, Timeline, count};
pub use destination::{Destination, Destinations, addresses};
pub use io::{Io, Sent};
pub use opener::{Opened, Trouble};
pub use worker::{Outcome, Setup, run};

/// What a kind of load does with the connections of one thread. Connections are known by a key that is unique among those that stand.
pub trait Scenario {
    /// What a thread's part has come to.
    type Tally: Send;

    /// The upgrade is done and the first message, if there is one, is on its way.
    fn opened(&mut self, key: usize, io: &mut Io);

    /// A whole message, received at [`Io::received_ns`].
    fn message(&mut self, key: usize, payload: &[u8], io: &mut Io);

    /// What the kernel had not taken at once has now gone, after [`Sent::Partly`]; `at_ns` is when.
    fn handed(&mut self, key: usize, at_ns: u64, io: &mut Io);

    /// The connection is gone before its time.
    fn ended(&mut self, key: usize, io: &mut Io);

    /// The load may begin; called once.
    fn begin(&mut self, timeline: &Timeline, io: &mut Io);

    /// When the scenario next has something to send.
    fn due_ns(&self) -> Option<u64>;

    /// Sends what is due. Called at each turn's end.
    fn turn(&mut self, io: &mut Io);

    /// The end: what was measured. `quiet` says that no answer came for a while, so that none is to be expected any more.
    fn finish(&mut self, quiet: bool, io: &mut Io) -> Self::Tally;
}
