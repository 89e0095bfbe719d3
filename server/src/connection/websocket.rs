//! The WebSocket part of a connection's life: what a session does with a message, and how the connection ends.

use std::{rc::Rc, sync::Arc};

use fantail_codec::{
    CloseCode, Consequence, Event, PeerError,
    frame::{FrameHeader, OpCode, write_frame},
};

use super::{Connection, Ending, Session, Stage};
use crate::{
    context::Context,
    deadlines::Deadline,
    hub::{HubError, Publication},
    outbox::Shared,
};

/// Why we close a connection.
type Close = (CloseCode, &'static str);

impl Connection {
    pub(super) fn frame_bytes(&mut self, bytes: &mut [u8], context: &mut Context) -> Option<Deadline> {
        let Stage::WebSocket(websocket, session) = &mut self.stage else { return None };
        let was_partial = websocket.is_partial();
        let mut completed = false;
        let mut input = bytes;
        let failed = loop {
            let event = match websocket.receive(&mut input, &context.message_limits, &mut context.scratch) {
                Ok(Some(event)) => event,
                Ok(None) => break None,
                Err(error) => break Some(error),
            };
            let close = match event {
                Event::Message(kind, payload) => {
                    context.metrics.messages_in.add(1);
                    match session {
                        Session::Echo => {
                            let (encoder, encoding) = (&mut context.encoder, self.encoding);
                            context.queue.own(&mut self.queued, |out| encoder.message(kind, payload, encoding, out));
                            None
                        }
                        Session::Raw(subscription) => {
                            let (channel, options) = context.subscribers.channel(subscription);
                            if options.client_publish {
                                context.hub.publish_as_client(channel, kind, payload).err().map(refusal)
                            } else {
                                Some((CloseCode::POLICY_VIOLATION, "clients may not publish to this channel"))
                            }
                        }
                    }
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
            if let Some((code, reason)) = close {
                context.queue.own(&mut self.queued, |out| websocket.write_close(Some(code), reason, None, out));
            }
            // A control frame inside a message is no progress of that message.
            completed |= !websocket.is_in_message();
        };
        let (is_partial, is_open) = (websocket.is_partial(), websocket.is_open());
        if let Some(error) = failed {
            return self.fail(error, context);
        }
        match (was_partial, is_partial) {
            _ if !is_open => Some(Deadline::Close),
            (false, true) => Some(Deadline::Message),
            (true, true) if completed => Some(Deadline::Message),
            (true, false) => Some(Deadline::Ping),
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

    pub(super) fn ping(&mut self, context: &mut Context) -> Option<Deadline> {
        context.queue.own(&mut self.queued, |out| FrameHeader::whole(OpCode::Ping, 0).write(out));
        Some(Deadline::Pong)
    }

    pub(super) fn message_expired(&mut self, context: &mut Context) -> Option<Deadline> {
        self.fail(PeerError::MessageTimeout, context)
    }

    /// Queues one publication for this connection alone.
    pub fn queue_publication(&mut self, publication: &Arc<Publication>, context: &mut Context) {
        publication.encode(self.encoding, &mut context.encoder);
        context.queue.shared(&mut self.queued, &Rc::new(Shared::Publication(Arc::clone(publication), self.encoding)));
        context.metrics.deliveries.add(1);
    }
}

fn refusal(error: HubError) -> Close {
    match error {
        HubError::Overloaded => (CloseCode::TRY_AGAIN_LATER, "the server is behind; publish again later"),
        HubError::Name | HubError::Channels => (CloseCode::INTERNAL_ERROR, "the channel cannot be published to"),
    }
}
