//! The WebSocket part of a connection's life: what a session does with a message, and how the connection ends.

use fantail_codec::{
    CloseCode, Consequence, Event, PeerError,
    frame::{FrameHeader, OpCode, write_frame},
};

use super::{Connection, Ending, Stage};
use crate::{
    context::Context,
    deadlines::Deadline,
    session::{Close, Disconnect, Session, Wire},
};

impl Connection {
    pub(super) fn frame_bytes(&mut self, key: usize, bytes: &mut [u8], context: &mut Context) -> Option<Deadline> {
        let Stage::WebSocket(websocket, session) = &mut self.stage else { return None };
        let (was_partial, was_connected) = (websocket.is_partial(), session.is_connected());
        let mut completed = false;
        let mut input = bytes;
        // A message that does not lie whole in what was received is lent from here.
        let mut scratch = std::mem::take(&mut context.scratch);
        let failed = loop {
            let event = match websocket.receive(&mut input, &context.message_limits, &mut scratch) {
                Ok(Some(event)) => event,
                Ok(None) => break None,
                Err(error) => break Some(error),
            };
            let close = match event {
                Event::Message(kind, payload) => {
                    context.metrics.messages_in.add(1);
                    let (queued, behind, slow_bytes_max) = (&mut self.queued, &mut self.behind, &mut self.slow_bytes_max);
                    let mut wire = Wire { key, queued, encoding: self.encoding, behind, slow_bytes_max, context };
                    session.message(kind, payload, &mut wire).err()
                }
                Event::Ping(payload) => {
                    let header = FrameHeader::whole(OpCode::Pong, payload.len());
                    context.queue.own(&mut self.queued, |out| write_frame(header, payload, out));
                    None
                }
                Event::Pong(_) => None,
                Event::Close(close) => {
                    let code = close.map(|(code, _)| code);
                    context.queue.own(&mut self.queued, |out| websocket.write_close(code, "", None, out));
                    self.ending = Ending::Close;
                    None
                }
            };
            if let Some(Close { code, reason }) = close {
                context.queue.own(&mut self.queued, |out| websocket.write_close(Some(code), &reason, None, out));
            }
            // A control frame inside a message is no progress of that message.
            completed |= !websocket.is_in_message();
        };
        context.scratch = scratch;
        let (is_partial, is_open, is_connected) = (websocket.is_partial(), websocket.is_open(), session.is_connected());
        if let Some(error) = failed {
            return self.fail(error, context);
        }
        match (was_partial, is_partial) {
            _ if !is_open => Some(Deadline::Close),
            (false, true) => Some(Deadline::Message),
            (true, true) if completed => Some(Deadline::Message),
            _ if !was_connected && is_connected => Some(Deadline::Ping),
            (true, false) if is_connected => Some(Deadline::Ping),
            // Any sign of life answers a ping.
            (false, false) if self.link.is(Deadline::Pong) => Some(Deadline::Ping),
            _ => None,
        }
    }

    /// Closes for what the peer did wrong.
    fn fail(&mut self, error: PeerError, context: &mut Context) -> Option<Deadline> {
        let Stage::WebSocket(websocket, _) = &mut self.stage else { return None };
        context.metrics.peer_errors.add(1);
        let code = match error.consequence() {
            Consequence::Close(code) => code,
            Consequence::Status(_) => CloseCode::PROTOCOL_ERROR,
        };
        context.queue.own(&mut self.queued, |out| websocket.write_close(Some(code), &error.to_string(), None, out));
        self.ending = Ending::Linger;
        Some(Deadline::Close)
    }

    pub(super) fn ping(&mut self, key: usize, context: &mut Context) -> Option<Deadline> {
        if let Some((session, mut wire)) = self.session(key, context) {
            if let Err(close) = session.expire(&mut wire) {
                self.close(&close, context);
                return Some(Deadline::Close);
            }
            if let Session::Client(client) = session
                && client.ping(&mut wire)
            {
                return Some(Deadline::Pong);
            }
        }
        context.queue.own(&mut self.queued, |out| FrameHeader::whole(OpCode::Ping, 0).write(out));
        Some(Deadline::Pong)
    }

    pub(super) fn pong_expired(&mut self, context: &mut Context) -> Option<Deadline> {
        // Other clients know nothing of this code, and most likely are gone.
        matches!(self.stage, Stage::WebSocket(_, Session::Client(_))).then(|| {
            self.close(&Disconnect::NoPong.close(), context);
            Deadline::Close
        })
    }

    pub(super) fn message_expired(&mut self, context: &mut Context) -> Option<Deadline> {
        self.fail(PeerError::MessageTimeout, context)
    }

    /// A client that has not said who it is has had its time.
    pub(super) fn stale(&mut self, context: &mut Context) -> Option<Deadline> {
        self.close(&Disconnect::Stale.close(), context);
        Some(Deadline::Close)
    }
}
