//! The messages of the protocol as examples, and any others against serde_json as the judge.

mod broken;
mod commands;
mod data;
mod replies;

use std::ops::ControlFlow;

use super::*;
use crate::centrifuge::{Command, Malformed, Place, Request};

/// The message holds these commands.
#[track_caller]
fn reads(message: &str, commands: &[Command<'_>]) {
    let mut expected = commands.iter();
    let result = Reader::default().commands(message.as_bytes(), |command| {
        assert_eq!(Some(&command), expected.next());
        ControlFlow::Continue(())
    });
    assert_eq!((result, expected.next()), (Ok(()), None));
}

/// The message is one command.
#[track_caller]
fn asks(message: &str, id: u32, request: Request<'_>) {
    reads(message, &[Command { id, request }]);
}

/// How many commands the message holds, whatever they are.
fn count(message: &[u8]) -> Result<usize, Malformed> {
    let mut commands = 0;
    Reader::default().commands(message, |_| {
        commands += 1;
        ControlFlow::Continue(())
    })?;
    Ok(commands)
}

#[track_caller]
fn refuses(message: &str, at: Place, expected: &'static str) {
    assert_eq!(count(message.as_bytes()), Err(Malformed { at, expected }));
}
