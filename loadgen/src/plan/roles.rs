//! Which connection does what: the WebSocket publishers of a fan-out come first, then the subscribers, or whatever the scenario has. Imports nothing.

use std::borrow::Cow;

use super::{Plan, Publish};
use crate::metrics::Scenario;

impl Plan {
    /// Connections that publish.
    fn publishing(&self) -> usize {
        match (self.scenario, &self.fanout.publish) {
            (Scenario::Fanout, Publish::WebSocket { .. }) => self.fanout.publishers,
            _ => 0,
        }
    }

    /// All connections, publishers among them.
    pub fn connections_in_all(&self) -> usize {
        self.connections + self.publishing()
    }

    /// Whether the connection of this number publishes.
    pub fn is_publisher(&self, number: usize) -> bool {
        number < self.publishing()
    }

    /// Which subscriber the connection of this number is.
    pub fn subscriber_index(&self, number: usize) -> usize {
        number - self.publishing()
    }

    /// The name of the channel that the connection of this number, or the publisher over HTTP of this number, belongs to.
    pub fn channel_of(&self, number: usize) -> Cow<'_, str> {
        let fanout = &self.fanout;
        if fanout.channels == 1 {
            return Cow::Borrowed(&fanout.channel);
        }
        let index = if self.is_publisher(number) { number } else { number - self.publishing() };
        Cow::Owned(format!("{}-{}", fanout.channel, index % fanout.channels))
    }
}
