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
    http1::{BodyReader, HeadScan, Progress, ResponseHead},
    limits::HttpLimits,
};

use super::{
    pace::Pace,
    publications::Publications,
    publisher::{Publisher, PublisherTally},
};
use crate::{
    engine::{Control, Timeline, Trouble, addresses},
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
    /// Its path and query, which may name the channel.
    pub target: Template,
    /// Fields of each request.
    pub fields: Vec<(String, String)>,
}

/// How long a publisher that has nothing to do waits before it looks again, unless it is woken.
const WAIT_MAX: Duration = Duration::from_millis(20);
/// The most of an answer's body that is read.
const BODY_BYTES_MAX: usize = 16 << 20;

impl HttpPublisher {
    /// Publishes until the run's end. An answer that is no success, and a connection that breaks, are troubles; the publisher goes on.
    ///
    /// # Errors
    /// The URL does not resolve.
    pub fn run(self, number: usize) -> Result<(PublisherTally, Trouble), String> {
        let addresses = addresses(&self.url)?;
        let (mut publisher, mut trouble) = (Publisher::new(number, None), Trouble::default());
        let mut connection = None;
        let Some(timeline) = self.timeline() else { return Ok((publisher.tally, trouble)) };
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
            let posted = self.post(&mut connection, &addresses, &request);
            progress.sent.fetch_add(1, Relaxed);
            match posted {
                Ok((handed_ns, answered_ns, status)) => {
                    publisher.handed(handed_ns, &self.publications);
                    publisher.answered(handed_ns, answered_ns);
                    if !(200..300).contains(&status) {
                        trouble.count(&format!("{}: the answer to a publication was {status}", self.url));
                    }
                }
                Err(error) => {
                    connection = None;
                    publisher.handed(now_ns, &self.publications);
                    trouble.count(&format!("{}: cannot publish: {error}", self.url));
                    // A server that refuses connections is asked again, not stormed.
                    thread::park_timeout(WAIT_MAX);
                }
            }
        }
        self.control.http_publisher_done();
        // Deliveries are still on their way.
        while !self.control.is_closing() {
            thread::park_timeout(WAIT_MAX);
        }
        publisher.finish(pace.as_ref(), &self.publications, self.control.clock.now_ns());
        Ok((publisher.tally, trouble))
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

    /// Sends a request and reads its answer; gives when it was handed to the kernel, when the answer was whole, and the status.
    fn post(&self, connection: &mut Option<TcpStream>, addresses: &[SocketAddr], request: &[u8]) -> io::Result<(u64, u64, u16)> {
        let mut stream = match connection.take() {
            Some(stream) => stream,
            None => self.connect(addresses)?,
        };
        let handed_ns = self.control.clock.now_ns();
        stream.write_all(request)?;
        let (status, keep) = read_answer(&mut stream)?;
        if keep {
            *connection = Some(stream);
        }
        Ok((handed_ns, self.control.clock.now_ns(), status))
    }

    fn connect(&self, addresses: &[SocketAddr]) -> io::Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&addresses[0], self.plan.timeout)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(self.plan.timeout))?;
        stream.set_write_timeout(Some(self.plan.timeout))?;
        Ok(stream)
    }
}

/// Reads one answer; gives its status, and whether the connection can be used again.
fn read_answer(stream: &mut TcpStream) -> io::Result<(u16, bool)> {
    let broken = |error: fantail_codec::PeerError| io::Error::new(ErrorKind::InvalidData, error.to_string());
    let (mut scan, mut bytes, mut buffer) = (HeadScan::for_response(), Vec::new(), [0; 4096]);
    let head_bytes = loop {
        if let Progress::Complete(length) = scan.advance(&bytes, &HttpLimits::DEFAULT).map_err(broken)? {
            break length;
        }
        bytes.extend_from_slice(read_some(stream, &mut buffer)?);
    };
    let head = ResponseHead::new(&bytes[..head_bytes], &scan);
    let (status, keep) = (head.status(), head.keeps_alive());
    let mut body = BodyReader::new(head.framing().map_err(broken)?, BODY_BYTES_MAX).map_err(broken)?;
    body.advance(&bytes[head_bytes..]).map_err(broken)?;
    while !body.is_done() {
        match read_some(stream, &mut buffer) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof && body.is_whole_at_close() => return Ok((status, false)),
            piece => body.advance(piece?).map_err(broken)?,
        };
    }
    Ok((status, keep))
}

fn read_some<'b>(stream: &mut TcpStream, buffer: &'b mut [u8]) -> io::Result<&'b [u8]> {
    match stream.read(buffer) {
        Ok(0) => Err(io::Error::new(ErrorKind::UnexpectedEof, "the server closed the connection")),
        Ok(count) => Ok(&buffer[..count]),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Err(io::Error::new(ErrorKind::TimedOut, "no answer in time")),
        Err(error) => Err(error),
    }
}
