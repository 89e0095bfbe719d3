//! A publisher that publishes by `POST`, one request at a time on a kept-alive connection, on a thread of its own: a publication's answer is
//! waited for, and what that delays is the server's lag. Imports `publisher` and `publications`.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    sync::atomic::Ordering::Relaxed,
    thread,
    time::Duration,
};

use fantail_codec::{
    PeerError,
    http1::{BodyReader, HeadScan, Progress, ResponseHead},
    limits::HttpLimits,
};
use mio::{Events, Interest, Poll, Token};

use super::{
    pace::Pace,
    publications::Publications,
    publisher::{Publisher, PublisherTally},
};
use crate::{
    engine::{Control, Timeline, Trouble},
    net::socket,
    payload::{Marker, Payloads, Template, Values},
    plan::Plan,
    url::Url,
};

/// What the publishers of a run have in common.
#[derive(Clone)]
pub struct HttpPublisher {
    /// What the run does.
    pub plan: Arc<Plan>,
    /// What its messages hold.
    pub payloads: Payloads,
    /// Who directs it.
    pub control: Arc<Control>,
    /// What the subscribers' threads know of the publications.
    pub publications: Arc<Publications>,
    /// Where it posts to.
    pub url: Url,
    /// What the URL's host resolved to; a connection goes to the first that accepts it.
    pub addresses: Vec<SocketAddr>,
    /// Its path and query, which may name the channel.
    pub target: Template,
    /// Fields of each request.
    pub fields: Vec<(String, String)>,
}

/// How long a publisher that has nothing to do waits before it looks again, unless it is woken.
const WAIT_MAX: Duration = Duration::from_millis(20);
/// How long one that waits for the server does so before it looks whether the time, or the run, is over.
const LOOK: Duration = Duration::from_millis(50);
/// The most of an answer's body that is read.
const BODY_BYTES_MAX: usize = 16 << 20;

/// An answer to a publication.
struct Answer {
    /// When the request was handed to the kernel.
    handed_ns: u64,
    /// When the answer was whole.
    answered_ns: u64,
    status: u16,
}

impl HttpPublisher {
    /// Publishes until the run's end. An answer that is no success, and a connection that breaks, are troubles, and what was to be published
    /// is withdrawn; the publisher goes on.
    pub fn run(self, number: usize) -> (PublisherTally, Trouble) {
        let (mut publisher, mut trouble) = (Publisher::new(number, None), Trouble::default());
        let mut connection = None;
        let Some(timeline) = self.timeline() else { return (publisher.tally, trouble) };
        publisher.begin(&timeline, &self.plan);
        let senders = self.plan.fanout.publishers;
        let mut pace = self.plan.traffic.rate.map(|rate| Pace::new(timeline.start_ns, timeline.end_ns, rate, senders, vec![(number, 0)]));
        let me = thread::current();
        self.publications.on_complete(number, move || me.unpark());
        let mut random = fastrand::Rng::with_seed(self.plan.seed ^ number as u64);
        while !self.control.is_stopped() {
            let now_ns = self.control.clock.now_ns();
            while pace.as_mut().and_then(|pace| pace.next_due(now_ns)).is_some() {
                publisher.due += 1;
            }
            if publisher.is_done(&self.publications) {
                break;
            }
            let Some((marker, subscribers)) = publisher.next(pace.as_ref(), now_ns, &self.publications) else {
                let due_ns = pace.as_ref().and_then(Pace::due_ns).unwrap_or(u64::MAX);
                thread::park_timeout(Duration::from_nanos(due_ns.saturating_sub(now_ns)).min(WAIT_MAX));
                continue;
            };
            let request = self.request(&marker, &mut random);
            let progress = &self.control.http_progress;
            progress.expected.fetch_add(u64::from(subscribers), Relaxed);
            let posted = self.post(&mut connection, &request);
            if let Some(text) = self.failure(&posted) {
                trouble.count(&text);
                // A server that refuses is asked again, not stormed; a schedule that it answers is no storm.
                if posted.is_err() || pace.is_none() {
                    thread::park_timeout(WAIT_MAX);
                }
            }
            let stands = match posted {
                Ok(Answer { handed_ns, answered_ns, status: 200..300 }) => {
                    publisher.handed(handed_ns, &self.publications);
                    publisher.answered(marker.intended_ns, handed_ns, answered_ns);
                    true
                }
                // It was given up, and the subscribers' accounts are closed with it among what they should have had.
                Err(_) if self.control.is_closing() => {
                    publisher.handed(now_ns, &self.publications);
                    true
                }
                _ => !publisher.failed(self.control.clock.now_ns(), &self.publications),
            };
            if stands {
                progress.sent.fetch_add(1, Relaxed);
            } else {
                progress.expected.fetch_sub(u64::from(subscribers), Relaxed);
            }
        }
        self.control.http_publisher_done();
        // Deliveries are still on their way.
        while !self.control.is_closing() {
            thread::park_timeout(WAIT_MAX);
        }
        // What came due while the last answer was waited for is found by the schedule.
        publisher.finish(pace.as_ref(), &self.publications, self.control.clock.now_ns());
        (publisher.tally, trouble)
    }

    /// Waits for the load to begin; `None` where the run ends before.
    fn timeline(&self) -> Option<Timeline> {
        loop {
            match self.control.timeline() {
                Some(timeline) => return Some(*timeline),
                None if self.control.is_stopped() => return None,
                None => thread::park_timeout(WAIT_MAX),
            }
        }
    }

    /// Why a publication was not accepted.
    fn failure(&self, posted: &io::Result<Answer>) -> Option<String> {
        match posted {
            Ok(Answer { status: 200..300, .. }) => None,
            Ok(Answer { status, .. }) => Some(format!("{}: the answer to a publication was {status}", self.url)),
            Err(error) => Some(format!("{}: cannot publish: {error}", self.url)),
        }
    }

    fn request(&self, marker: &Marker, random: &mut fastrand::Rng) -> Vec<u8> {
        let channel = self.plan.channel_of(marker.sender as usize);
        let values = Values { marker: *marker, conn: u64::from(marker.sender), seq: marker.seq, channel: &channel };
        let (mut target, mut body) = (Vec::new(), Vec::new());
        self.target.render(&values, &self.payloads, random, &mut target);
        self.plan.traffic.message.render(&values, &self.payloads, random, &mut body);
        let target = String::from_utf8_lossy(&target);
        let mut request = format!("POST {target} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n", self.url.authority(), body.len());
        if !self.fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
            request.push_str("Content-Type: application/json\r\n");
        }
        for (name, value) in &self.fields {
            request.extend([name, ": ", value, "\r\n"]);
        }
        request.push_str("\r\n");
        [request.into_bytes(), body].concat()
    }

    /// Sends a request and reads its answer, all within the plan's timeout. A server may close a kept-alive connection at any time: then the
    /// request goes once more, on a new one.
    fn post(&self, connection: &mut Option<TcpStream>, request: &[u8]) -> io::Result<Answer> {
        let deadline_ns = self.control.clock.now_ns() + self.plan.timeout.as_nanos() as u64;
        let patience = Patience { control: &self.control, timeout: self.plan.timeout, deadline_ns };
        if let Some(kept) = connection.take() {
            let mut exchange = Exchange { stream: kept, patience, answer_begun: false };
            match self.exchange(&mut exchange, request) {
                Err(error) if is_closed(&error) && !exchange.answer_begun => {}
                answered => return keep(connection, exchange, answered),
            }
        }
        let mut exchange = Exchange { stream: self.connect(&patience)?, patience, answer_begun: false };
        let answered = self.exchange(&mut exchange, request);
        keep(connection, exchange, answered)
    }

    fn exchange(&self, exchange: &mut Exchange, request: &[u8]) -> io::Result<(Answer, bool)> {
        let handed_ns = self.control.clock.now_ns();
        exchange.send(request)?;
        let (status, keeps_alive) = exchange.read_answer()?;
        Ok((Answer { handed_ns, answered_ns: self.control.clock.now_ns(), status }, keeps_alive))
    }

    fn connect(&self, patience: &Patience) -> io::Result<TcpStream> {
        let mut failed = io::Error::new(ErrorKind::AddrNotAvailable, "no address");
        for (tried, address) in self.addresses.iter().enumerate() {
            // An address that says nothing must leave time for those after it.
            let now_ns = self.control.clock.now_ns();
            let share_ns = patience.deadline_ns.saturating_sub(now_ns) / (self.addresses.len() - tried) as u64;
            match connect(*address, &Patience { deadline_ns: now_ns + share_ns, ..*patience }) {
                Ok(stream) => return Ok(stream),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }
}

/// For how long a request may take.
#[derive(Clone, Copy)]
struct Patience<'a> {
    control: &'a Control,
    timeout: Duration,
    deadline_ns: u64,
}

impl Patience<'_> {
    /// Nothing is sent once the run has stopped.
    fn sending(&self) -> io::Result<()> {
        self.check(self.control.is_stopped(), "not sent")
    }

    /// An answer is waited for until the connections are closed.
    fn reading(&self) -> io::Result<()> {
        self.check(self.control.is_closing(), "no answer")
    }

    fn check(&self, over: bool, what: &str) -> io::Result<()> {
        if over {
            Err(io::Error::other(format!("{what} before the run's end")))
        } else if self.control.clock.now_ns() >= self.deadline_ns {
            Err(io::Error::new(ErrorKind::TimedOut, format!("{what} within {:?}", self.timeout)))
        } else {
            Ok(())
        }
    }
}

/// A connection whose reads and writes return at least every [`LOOK`].
fn connect(address: SocketAddr, patience: &Patience) -> io::Result<TcpStream> {
    let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(1));
    let mut stream = socket::connect(address, None)?;
    poll.registry().register(&mut stream, Token(0), Interest::WRITABLE)?;
    while events.is_empty() {
        patience.sending()?;
        match poll.poll(&mut events, Some(LOOK.min(patience.timeout))) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
    }
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    poll.registry().deregister(&mut stream)?;
    let stream = TcpStream::from(stream);
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(LOOK.min(patience.timeout)))?;
    stream.set_write_timeout(Some(LOOK.min(patience.timeout)))?;
    Ok(stream)
}

/// Keeps the connection of an exchange for the next, if both sides can.
fn keep(connection: &mut Option<TcpStream>, exchange: Exchange, answered: io::Result<(Answer, bool)>) -> io::Result<Answer> {
    let (answer, keeps_alive) = answered?;
    *connection = keeps_alive.then_some(exchange.stream);
    Ok(answer)
}

/// Whether the server had closed the connection.
fn is_closed(error: &io::Error) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

/// Whether a call that did nothing is to be made again, after a look at the time.
fn is_to_be_repeated(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// One request and its answer: [`send`](Exchange::send), then [`read_answer`](Exchange::read_answer).
struct Exchange<'a> {
    stream: TcpStream,
    patience: Patience<'a>,
    /// A byte of the answer came.
    answer_begun: bool,
}

impl Exchange<'_> {
    fn send(&mut self, mut request: &[u8]) -> io::Result<()> {
        while !request.is_empty() {
            match self.stream.write(request) {
                Ok(taken) => request = &request[taken..],
                Err(error) if is_to_be_repeated(&error) => {}
                Err(error) => return Err(error),
            }
            if !request.is_empty() {
                self.patience.sending()?;
            }
        }
        Ok(())
    }

    /// Gives the answer's status, and whether the connection can be used again.
    fn read_answer(&mut self) -> io::Result<(u16, bool)> {
        let broken = |error: PeerError| io::Error::new(ErrorKind::InvalidData, error.to_string());
        let (mut scan, mut bytes, mut buffer) = (HeadScan::for_response(), Vec::new(), [0; 4096]);
        let (status, mut keeps_alive, framing) = loop {
            let Progress::Complete(head_bytes) = scan.advance(&bytes, &HttpLimits::DEFAULT).map_err(broken)? else {
                bytes.extend_from_slice(self.read(&mut buffer)?);
                continue;
            };
            let head = ResponseHead::new(&bytes[..head_bytes], &scan);
            let (status, keeps_alive, framing) = (head.status(), head.keeps_alive(), head.framing().map_err(broken)?);
            bytes.drain(..head_bytes);
            // RFC 9110 §15.2: any number of interim answers may come before the final one. 101 would be final, had it been asked for.
            if status >= 200 || status == 101 {
                break (status, keeps_alive, framing);
            }
            scan = HeadScan::for_response();
        };
        let mut body = BodyReader::new(framing, BODY_BYTES_MAX).map_err(broken)?;
        let mut piece = &bytes[..];
        loop {
            // What comes after the answer was not asked for, and must not be taken for the next one.
            keeps_alive &= body.advance(piece).map_err(broken)? == piece.len();
            if body.is_done() {
                return Ok((status, keeps_alive));
            }
            piece = match self.read(&mut buffer) {
                Err(error) if error.kind() == ErrorKind::UnexpectedEof && body.is_whole_at_close() => return Ok((status, false)),
                piece => piece?,
            };
        }
    }

    /// What comes next, at least a byte.
    fn read<'b>(&mut self, buffer: &'b mut [u8]) -> io::Result<&'b [u8]> {
        loop {
            // Before each read, also of a server that has a byte ready each time.
            self.patience.reading()?;
            match self.stream.read(buffer) {
                Ok(0) => return Err(io::Error::new(ErrorKind::UnexpectedEof, "the server closed the connection")),
                Ok(count) => {
                    self.answer_begun = true;
                    return Ok(&buffer[..count]);
                }
                Err(error) if is_to_be_repeated(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, time::Instant};

    use super::*;
    use crate::clock::Clock;

    /// What a publisher makes of a server that does `serve` with the connection, and how long that took it.
    fn answer(timeout: Duration, serve: impl FnOnce(TcpStream) + Send) -> (io::Result<(u16, bool)>, Duration) {
        let control = Control::new(Clock::start(), 0, 1);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::scope(|scope| {
            scope.spawn(|| serve(listener.accept().unwrap().0));
            let begun = Instant::now();
            let patience = Patience { control: &control, timeout, deadline_ns: control.clock.now_ns() + timeout.as_nanos() as u64 };
            let mut exchange = Exchange { stream: connect(address, &patience).unwrap(), patience, answer_begun: false };
            let answered = exchange.send(b"POST").and_then(|()| exchange.read_answer());
            (answered, begun.elapsed())
        })
    }

    /// Takes the request and answers it so.
    fn say(answer: &[u8]) -> impl FnOnce(TcpStream) + Send {
        move |mut stream| {
            stream.read_exact(&mut [0; 4]).unwrap();
            stream.write_all(answer).unwrap();
        }
    }

    #[test]
    fn answers_of_every_framing() {
        let ok = "HTTP/1.1 200 OK\r\n";
        for (answered, expected) in [
            (format!("{ok}Content-Length: 2\r\n\r\n{{}}"), (200, true)),
            (format!("{ok}Content-Length: 2\r\nConnection: close\r\n\r\n{{}}"), (200, false)),
            (format!("{ok}Content-Length: 2\r\n\r\n{{}}?"), (200, false)),
            (format!("{ok}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"), (200, true)),
            (format!("{ok}\r\nuntil the close"), (200, false)),
            ("HTTP/1.1 204 No Content\r\n\r\n".to_owned(), (204, true)),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n".to_owned(), (503, true)),
        ] {
            let (status_and_reuse, _) = answer(Duration::from_secs(10), say(answered.as_bytes()));
            assert_eq!(status_and_reuse.unwrap(), expected, "{answered}");
        }
    }

    #[test]
    fn an_answer_cut_short_is_an_error() {
        for cut in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab"] {
            let (answered, _) = answer(Duration::from_secs(10), say(cut.as_bytes()));
            assert_eq!(answered.unwrap_err().kind(), ErrorKind::UnexpectedEof, "{cut}");
        }
    }

    #[test]
    fn a_server_that_trickles_does_not_put_off_the_deadline() {
        let (answered, took) = answer(Duration::from_millis(200), |mut stream| {
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_secs(30) && stream.write_all(b"H").is_ok() {
                thread::sleep(Duration::from_millis(20));
            }
        });
        assert!(answered.is_err_and(|error| error.to_string() == "no answer within 200ms"));
        assert!(took < Duration::from_secs(10), "{took:?}");
    }

    #[test]
    fn a_silent_server_is_left_when_the_run_ends() {
        let control = Control::new(Clock::start(), 0, 1);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let timeout = Duration::from_secs(60);
        let patience = Patience { control: &control, timeout, deadline_ns: timeout.as_nanos() as u64 };
        let mut exchange = Exchange { stream: connect(listener.local_addr().unwrap(), &patience).unwrap(), patience, answer_begun: false };
        control.close(false);
        assert_eq!(exchange.read_answer().unwrap_err().to_string(), "no answer before the run's end");
    }
}
