//! What a subscription takes in memory, its channel included, of which it is the only one.

use std::io;
use std::thread;

use super::Setup;
use super::crowd::{connect, expect_results, subscribe};
use crate::client::{Client, client_frame};
use crate::measure::SETTLE;

/// Channels of each connection before and after: the slope between them is free of what the connection and the server take.
const CHANNELS_BEFORE: usize = 1_000;
const CHANNELS_AFTER: usize = 10_000;
const COMMANDS_A_FRAME: usize = 100;

/// Resident bytes per subscription of `connections` with 10,000 each.
pub fn bytes_per_subscription(setup: &Setup<'_>, connections: usize) -> io::Result<Vec<f64>> {
    let (_running, edge, metered) = setup.start(setup.ours, None)?;
    let mut clients = (0..connections).map(|_| connect(edge)).collect::<io::Result<Vec<_>>>()?;
    subscribe_all(&mut clients, 0, CHANNELS_BEFORE)?;
    let before = metered.process.resident_bytes()?;
    subscribe_all(&mut clients, CHANNELS_BEFORE, CHANNELS_AFTER)?;
    let after = metered.process.resident_bytes()?;
    let count = connections * (CHANNELS_AFTER - CHANNELS_BEFORE);
    Ok(vec![(after as f64 - before as f64) / count as f64])
}

fn subscribe_all(clients: &mut [Client], from: usize, to: usize) -> io::Result<()> {
    for (connection, client) in clients.iter_mut().enumerate() {
        for start in (from..to).step_by(COMMANDS_A_FRAME) {
            let channels: Vec<String> = (start..start + COMMANDS_A_FRAME).map(|at| format!("room:{connection}-{at}")).collect();
            client.send(&client_frame(subscribe(&channels, "").as_bytes()))?;
            expect_results(client, channels.len())?;
        }
    }
    thread::sleep(SETTLE);
    Ok(())
}
