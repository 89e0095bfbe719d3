//! The HTTP part of a connection's life: requests are answered in order until one of them is an upgrade.

use std::rc::Rc;

use fantail_codec::{
    Consequence, PeerError, Role, WebSocket,
    http1::{BodyReader, HeadScan, Name, Progress, Request, Response},
    upgrade::{self, Switch},
};

use super::{Connection, Ending, Stage};
use crate::{
    context::Context,
    deadlines::Deadline,
    demo::File,
    encode::Encoding,
    outbox::Queued,
    route::{self, Route},
    session::{Session, Wire},
};

/// What has arrived of a request that is not complete; between requests it holds nothing.
#[derive(Default)]
pub struct Http(Option<Box<Partial>>);

enum Partial {
    Head { bytes: Vec<u8>, scan: HeadScan },
    Body { reader: BodyReader, answer: Answer },
}

/// A response that is not yet written.
#[derive(Clone, Copy)]
struct Answer {
    status: u16,
    content: Content,
    head_only: bool,
    close: bool,
}

#[derive(Clone, Copy)]
enum Content {
    File(&'static File),
    /// A line that says what is wrong.
    Text(&'static str),
    Error(PeerError),
}

impl Http {
    /// Whether no request has begun.
    pub fn is_idle(&self) -> bool {
        self.0.is_none()
    }
}

impl Connection {
    /// Takes bytes of requests up to the end of one. Returns how many were taken, and the deadline if it changed.
    pub(super) fn request_bytes(&mut self, key: usize, bytes: &[u8], context: &mut Context) -> (usize, Option<Deadline>) {
        let Stage::Http(http) = &mut self.stage else { return (0, None) };
        match http.0.take().map(|partial| *partial) {
            None => {
                let mut scan = std::mem::take(&mut context.scan);
                scan.reset();
                match scan.advance(bytes, &context.http_limits) {
                    Ok(Progress::Incomplete) => {
                        http.0 = Some(Box::new(Partial::Head { bytes: bytes.to_vec(), scan }));
                        (bytes.len(), None)
                    }
                    result => {
                        let taken = self.head(key, bytes, &scan, result, context);
                        context.scan = scan;
                        (taken, self.deadline_after_head())
                    }
                }
            }
            Some(Partial::Head { bytes: mut head, mut scan }) => {
                let before = head.len();
                // Not more than a head may hold, so that what follows it is not copied.
                let room = context.http_limits.head_bytes_max - before;
                head.extend_from_slice(&bytes[..bytes.len().min(room)]);
                match scan.advance(&head, &context.http_limits) {
                    Ok(Progress::Incomplete) => {
                        http.0 = Some(Box::new(Partial::Head { bytes: head, scan }));
                        (bytes.len(), None)
                    }
                    result => {
                        let taken = self.head(key, &head, &scan, result, context);
                        (taken.saturating_sub(before), self.deadline_after_head())
                    }
                }
            }
            Some(Partial::Body { mut reader, answer }) => match reader.advance(bytes) {
                Ok(taken) if reader.is_done() => {
                    self.answer(answer, context);
                    (taken, Some(Deadline::Request))
                }
                Ok(taken) => {
                    http.0 = Some(Box::new(Partial::Body { reader, answer }));
                    (taken, None)
                }
                Err(error) => {
                    self.refuse(error, answer.head_only, context);
                    (bytes.len(), None)
                }
            },
        }
    }

    fn deadline_after_head(&self) -> Option<Deadline> {
        Some(match &self.stage {
            // Like a request, the first command is to come soon.
            Stage::WebSocket(_, Session::Client(_)) | Stage::Http(_) | Stage::Lingering => Deadline::Request,
            Stage::WebSocket(..) => Deadline::Ping,
        })
    }

    /// Answers a head that is complete or wrong. Returns how many bytes it has.
    fn head(&mut self, key: usize, bytes: &[u8], scan: &HeadScan, result: Result<Progress, PeerError>, context: &mut Context) -> usize {
        let length = match result {
            Ok(Progress::Complete(length)) => length,
            Ok(Progress::Incomplete) => return 0,
            Err(error) => {
                self.refuse(error, false, context);
                return bytes.len();
            }
        };
        let request = Request::new(&bytes[..length], scan);
        if let Err(error) = self.request(key, &request, context) {
            self.refuse(error, is_head(&request), context);
        }
        length
    }

    fn request(&mut self, key: usize, request: &Request<'_>, context: &mut Context) -> Result<(), PeerError> {
        request.authority()?;
        let route = Route::of(request.path()?, request.query()?, context.files);
        let framing = request.framing()?;
        let reader = BodyReader::new(framing, context.http_limits.body_bytes_max)?;
        let mut answer = Answer {
            status: 404,
            content: Content::Text("nothing is here\n"),
            head_only: is_head(request),
            // An upgrade that is not granted may be followed by bytes of the other protocol; they must not be read as requests.
            close: !request.keeps_alive() || request.has(Name::Upgrade),
        };
        match route {
            Route::Unknown => {}
            Route::File(file) if is_read(request) => (answer.status, answer.content) = (200, Content::File(file)),
            Route::File(_) => (answer.status, answer.content) = (405, Content::Error(PeerError::Method)),
            Route::Echo | Route::Raw(_) | Route::Stream(_) | Route::Client { .. } => {
                let is_client = matches!(route, Route::Client { .. });
                let policy = Rc::clone(if is_client { &context.client_policy } else { &context.policy });
                let switched = match upgrade::decide(request, &policy)? {
                    Some(switch) if !context.shutting_down => Some(self.switch(key, &switch, &route, token(request)?.as_deref(), context)),
                    Some(_) => Some(Err((503, "this server is going away\n"))),
                    None => None,
                };
                match switched {
                    Some(Ok(())) => return Ok(()),
                    Some(Err((status, text))) => (answer.status, answer.content, answer.close) = (status, Content::Text(text), true),
                    None if is_read(request) => (answer.status, answer.content) = (426, Content::Text("a WebSocket is here\n")),
                    None => (answer.status, answer.content) = (405, Content::Error(PeerError::Method)),
                }
            }
        }
        if reader.is_done() {
            self.answer(answer, context);
            return Ok(());
        }
        // RFC 9110 §10.1.1: the client waits for this before it sends the body.
        if request.is_http11() && request.lists(Name::Expect, b"100-continue") {
            context.queue.own(&mut self.queued, |out| out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n"));
        }
        self.stage = Stage::Http(Http(Some(Box::new(Partial::Body { reader, answer }))));
        Ok(())
    }

    /// Makes this a WebSocket; where its session cannot begin, says with what status and text to refuse instead.
    fn switch(
        &mut self,
        key: usize,
        switch: &Switch<'_>,
        route: &Route,
        token: Option<&str>,
        context: &mut Context,
    ) -> Result<(), (u16, &'static str)> {
        self.encoding = Encoding::agreed(switch.deflate.as_ref());
        // What the session begins with comes behind the 101.
        let mut begun = Queued::NOTHING;
        let (behind, slow_bytes_max) = (&mut self.behind, &mut self.slow_bytes_max);
        let mut wire = Wire { key, queued: &mut begun, encoding: self.encoding, behind, slow_bytes_max, context };
        let session = Session::open(route, token, switch.subprotocol, &mut wire)?;
        let place = context.queue.own(&mut self.queued, |out| switch.write(out));
        context.queue.append(&mut self.queued, begun);
        context.accept_later(switch.key, place);
        self.stage = Stage::WebSocket(WebSocket::new(Role::Server, switch.deflate.as_ref()), session);
        Ok(())
    }

    /// Answers what the peer did wrong, and ends the connection.
    fn refuse(&mut self, error: PeerError, head_only: bool, context: &mut Context) {
        context.metrics.peer_errors.add(1);
        let status = match error.consequence() {
            Consequence::Status(status) => status,
            Consequence::Close(_) => 400,
        };
        self.answer(Answer { status, content: Content::Error(error), head_only, close: true }, context);
    }

    fn answer(&mut self, answer: Answer, context: &mut Context) {
        context.metrics.plain_answers.add(1);
        let close = answer.close || context.shutting_down || context.answered_enough(0);
        let text;
        let (content_type, body) = match answer.content {
            Content::File(file) => (file.content_type, file.body),
            Content::Text(text) => ("text/plain; charset=utf-8", text.as_bytes()),
            Content::Error(error) => {
                text = format!("{error}\n");
                ("text/plain; charset=utf-8", text.as_bytes())
            }
        };
        let mut fields = vec![("Content-Type", content_type), ("X-Content-Type-Options", "nosniff")];
        fields.extend_from_slice(upgrade::refusal_fields(answer.status));
        let date = context.date();
        let response = Response { status: answer.status, fields: &fields, date: &date, body, head_only: answer.head_only, close };
        context.queue.own(&mut self.queued, |out| response.write(out));
        if close {
            self.ending = Ending::Linger;
        }
    }

    /// No request came, or not all of one.
    pub(super) fn request_expired(&mut self, context: &mut Context) -> Option<Deadline> {
        match &self.stage {
            Stage::WebSocket(..) => self.stale(context),
            Stage::Http(http) if !http.is_idle() => {
                self.refuse(PeerError::RequestTimeout, false, context);
                Some(Deadline::Close)
            }
            _ => None,
        }
    }
}

/// The token of a request: of `token` in its query, since a browser's WebSocket can send no field, or of Authorization, RFC 6750 §2.1.
fn token(request: &Request<'_>) -> Result<Option<String>, PeerError> {
    let in_query = route::fields(request.query()?).find(|(name, _)| name == "token").map(|(_, token)| token);
    let in_field = request.values_of("authorization").next().and_then(|value| {
        let (scheme, token) = str::from_utf8(value).ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_ascii().into())
    });
    Ok(in_query.or(in_field))
}

fn is_head(request: &Request<'_>) -> bool {
    request.method() == b"HEAD"
}

fn is_read(request: &Request<'_>) -> bool {
    matches!(request.method(), b"GET" | b"HEAD")
}
