//! A message published to the outboxes of so many subscribers, all in memory: through the hub, a worker's mailbox, its subscribers and the
//! turn's queue to one write for each. The peers are tokio's broadcast channel and a queue of `Bytes` for each, both drained into the same
//! writes.

use std::{
    collections::VecDeque,
    hint::black_box,
    io::{self, IoSlice, Write},
    iter,
    sync::Arc,
    time::Instant,
};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput};
use fantail::{
    config,
    encode::{Encoder, Encoding},
    hub::{Form, Hub, Mail, Mailbox, Message, Shape, Start},
    outbox::{self, Queued, TurnQueue},
    subscribers::{Subscribers, Wish},
};
use fantail_bench::client::{PAYLOAD, server_frames};
use fantail_codec::{
    Kind,
    frame::{FrameHeader, OpCode, write_frame},
};
use tokio::sync::broadcast;

use crate::parameters;

const CHANNEL: &str = "prices";

pub fn suite(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fanout");
    let payload = PAYLOAD.as_slice();
    let frame_bytes = server_frames(1).len();
    for count in parameters(&[1, 100, 1_000, 10_000], &[1, 1_000]) {
        group.throughput(Throughput::Elements(count as u64));

        let mut worker = Worker::new(count);
        group.bench_function(BenchmarkId::new("fantail", count), |bencher| {
            bencher.iter(|| {
                let mut socket = Socket(0);
                worker.publish(black_box(payload), &mut socket);
                assert_eq!(socket.0, count * frame_bytes);
            });
        });

        let sender = broadcast::Sender::<Bytes>::new(16);
        let mut receivers: Vec<_> = iter::repeat_with(|| sender.subscribe()).take(count).collect();
        group.bench_function(BenchmarkId::new("broadcast", count), |bencher| {
            bencher.iter(|| {
                let mut socket = Socket(0);
                sender.send(frame(black_box(payload))).unwrap();
                for receiver in &mut receivers {
                    socket.write_all(&receiver.try_recv().unwrap()).unwrap();
                }
                assert_eq!(socket.0, count * frame_bytes);
            });
        });

        let mut queues = vec![VecDeque::with_capacity(16); count];
        group.bench_function(BenchmarkId::new("bytes", count), |bencher| {
            bencher.iter(|| {
                let mut socket = Socket(0);
                let frame = frame(black_box(payload));
                queues.iter_mut().for_each(|queue| queue.push_back(frame.clone()));
                for frame in queues.iter_mut().filter_map(VecDeque::pop_front) {
                    socket.write_all(&frame).unwrap();
                }
                assert_eq!(socket.0, count * frame_bytes);
            });
        });
    }
}

fn frame(payload: &[u8]) -> Bytes {
    let mut frame = Vec::new();
    write_frame(FrameHeader::whole(OpCode::Text, payload.len()), payload, &mut frame);
    frame.into()
}

/// What the server's worker has of this way, in its order.
struct Worker {
    hub: Arc<Hub>,
    subscribers: Subscribers,
    encoder: Encoder,
    queue: TurnQueue,
    mail: Vec<Mail>,
    connections: Vec<Queued>,
}

impl Worker {
    fn new(count: usize) -> Worker {
        let config = config::load(&[], None, iter::empty(), &[]).unwrap();
        let hub = Arc::new(Hub::new(config.hub, vec![Arc::new(Mailbox::new(1 << 20))]));
        let mut subscribers = Subscribers::new(Arc::clone(&hub), 0);
        for connection in 0..count {
            let form = Form::new(Shape::Raw, Encoding::Plain);
            let wish = Wish { form, rate: 0, start: Start::Fresh, join_leave: false, positioned: false };
            subscribers.join(CHANNEL, connection, wish, Instant::now(), 0).unwrap();
        }
        let (encoder, queue) = (Encoder::new(&config.deflate), TurnQueue::default());
        Worker { hub, subscribers, encoder, queue, mail: vec![], connections: vec![Queued::NOTHING; count] }
    }

    fn publish(&mut self, payload: &[u8], socket: &mut Socket) {
        self.hub.publish(CHANNEL, Message::new(Kind::Text, payload), false, Instant::now()).unwrap();
        self.hub.mailbox(0).take(&mut self.mail);
        for mail in self.mail.drain(..) {
            let Mail::Publication(channel, local, publication) = mail else { panic!("nobody posts anything else") };
            self.subscribers.arrived(&channel, local, &publication, 0);
        }
        while let Some(mut delivery) = self.subscribers.next_delivery(0) {
            for subscriber in self.subscribers.subscribers(&delivery) {
                let (queued, subscription) = (&mut self.connections[subscriber.connection as usize], subscriber.subscription);
                delivery.to(subscriber, &mut self.encoder, |shared| self.queue.shared(queued, shared, subscription));
            }
            self.subscribers.delivered(&delivery);
        }
        for connection in &mut self.connections {
            let queued = std::mem::replace(connection, Queued::NOTHING);
            outbox::write(socket, &mut None, &self.queue, queued, None).unwrap();
        }
        self.queue.clear();
    }
}

/// Counts what it takes, which is all.
struct Socket(usize);

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += black_box(bytes).len();
        Ok(bytes.len())
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        slices.iter().map(|slice| self.write(slice)).sum()
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
