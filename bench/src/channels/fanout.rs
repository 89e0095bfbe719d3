//! One publication at a time to many, in raw mode or to clients of the protocol, compressed or not. A raw connection publishes, so that
//! the server reads the same in all of them.

use std::io;

use serde_json::Value;

use super::Setup;
use super::crowd::{Crowd, unexpected, updates};
use crate::client::{Client, Offer, PAYLOAD, client_frame, server_frame};
use crate::measure::SUBSCRIBERS;
use crate::servers::Server;

/// Both processes fit into 20,000 descriptors each.
const MANY_SUBSCRIBERS: usize = 10_000;
const MANY_WRITES: usize = 30;
const WRITES: usize = 200;

const LARGE_PAYLOAD_BYTES: usize = 1024;

/// How subscribers take publications.
#[derive(Clone, Copy)]
pub enum Mode {
    /// As they are.
    Raw,
    /// In the client protocol.
    Client,
}

/// What is published.
#[derive(Clone, Copy)]
pub enum Payload {
    /// 64 bytes of JSON.
    Small,
    /// 1 KiB of JSON.
    Large,
}

/// One measurement; 10,000 subscribers unless it says otherwise.
pub struct Fanout {
    /// Of this server; `None`: ours.
    server: Option<Server>,
    mode: Mode,
    payload: Payload,
    offer: Offer,
    subscribers: usize,
    writes: usize,
}

impl Fanout {
    /// Ours, without compression.
    pub fn ours(mode: Mode, payload: Payload) -> Self {
        Self { server: None, mode, payload, offer: Offer::Nothing, subscribers: MANY_SUBSCRIBERS, writes: MANY_WRITES }
    }

    /// With compression agreed to by all subscribers.
    pub fn deflated(self) -> Self {
        Self { offer: Offer::Deflate, ..self }
    }

    /// 1 KiB, compressed, to 1,000 subscribers.
    pub fn beside_bun(server: Server) -> Self {
        let fanout = Self::ours(Mode::Raw, Payload::Large).deflated();
        Self { server: Some(server), subscribers: SUBSCRIBERS, writes: WRITES, ..fanout }
    }

    /// µs of server CPU per delivery.
    pub fn run(self, setup: &Setup<'_>) -> io::Result<Vec<f64>> {
        let Self { mode, offer, subscribers, writes, .. } = self;
        let (_running, edge, metered) = setup.start(self.server.unwrap_or(setup.ours), None)?;
        let mut publisher = Client::open_many(edge, "/raw/bench", 1)?.remove(0);
        let mut crowd = match mode {
            Mode::Raw => Crowd::raw(edge, "bench", subscribers, offer)?,
            Mode::Client => Crowd::clients(edge, &["bench".to_owned()], "", subscribers, offer)?,
        };
        let payload = self.payload.bytes();
        let data: Value = serde_json::from_slice(&payload)?;
        let (message, delivery) = (client_frame(&payload), server_frame(&payload));
        let mut offset = 0;
        let mut publish = |count| {
            for _ in 0..count {
                offset += 1;
                publisher.send(&message)?;
                publisher.expect(&delivery)?;
                crowd.receive(|message| {
                    let is_expected = match mode {
                        Mode::Raw => message == payload,
                        Mode::Client => matches!(&updates(message)?[..], [update] if update.offset == offset && update.data == data),
                    };
                    if is_expected { Ok(true) } else { Err(unexpected("delivery", message)) }
                })?;
            }
            Ok(())
        };
        publish(writes / 5)?;
        let cpu_us = metered.cpu_us_per_operation(writes * subscribers, || publish(writes))?;
        crowd.expect_nothing()?;
        Ok(vec![cpu_us])
    }
}

impl Payload {
    fn bytes(self) -> Vec<u8> {
        match self {
            Self::Small => PAYLOAD.to_vec(),
            Self::Large => large_payload(),
        }
    }
}

/// The last trades of a symbol, numbers that differ as such numbers do.
fn large_payload() -> Vec<u8> {
    let mut text = r#"{"symbol":"FNTL","trades":["#.to_owned();
    let mut seed = 1_u32;
    loop {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let (cents, volume) = (seed >> 24, seed >> 8 & 0x3ff);
        let trade = format!(r#"{{"price":101.{cents:03},"volume":{volume},"time":17000{seed:010}}}"#);
        if text.len() + trade.len() + "]}".len() > LARGE_PAYLOAD_BYTES {
            break;
        }
        text += &trade;
        text.push(',');
    }
    text.pop();
    text += "]";
    // White space makes up the rest.
    text.extend(std::iter::repeat_n(' ', LARGE_PAYLOAD_BYTES - 1 - text.len()));
    text.push('}');
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_json_of_their_sizes() {
        for (payload, bytes) in [(Payload::Small, 64), (Payload::Large, 1024)] {
            let payload = payload.bytes();
            assert_eq!(payload.len(), bytes);
            serde_json::from_slice::<Value>(&payload).expect("JSON");
        }
    }
}
