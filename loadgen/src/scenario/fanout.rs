//! Fan-out: publishers' messages reach every subscriber of their channel. One thread's part: the subscribers, and those publishers that
//! publish over a WebSocket. Imports `publications`, `publisher`, `pace`.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use memchr::memmem;

use super::{
    Counts,
    pace::Pace,
    publications::Publications,
    publisher::{Publisher, PublisherTally},
};
use crate::{
    engine::{Io, Scenario, Sent, Timeline, count},
    payload::{Found, Marker, Payloads},
    stats::{Arrival, Compact, Latency, Sequence},
};

/// One thread's part of a fan-out.
pub struct Fanout {
    payloads: Payloads,
    publications: Arc<Publications>,
    roles: Vec<Role>,
    /// Open loop alone.
    pace: Option<Pace>,
    timeline: Option<Timeline>,
    /// Subscribers that are gone.
    gone: Vec<Subscriber>,
    /// Keys of the publishers.
    publishing: Vec<usize>,
    /// Publishers that are gone, or were never there.
    absent: Vec<Publisher>,
    tally: FanoutTally,
}

/// What was measured.
#[derive(Default)]
pub struct FanoutTally {
    /// Every delivery less its intended publication.
    pub delivery: Latency,
    /// The same less handed to the kernel.
    pub service: Latency,
    /// The p99 of each subscriber.
    pub fairness: Latency,
    /// The deliveries.
    pub counts: Counts,
    /// Deliveries due.
    pub expected: u64,
    /// The publishers' part.
    pub publisher: PublisherTally,
}

/// What a connection is for, by its key.
enum Role {
    None,
    /// Over a WebSocket.
    Publisher(Box<Publisher>),
    Subscriber(Box<Subscriber>),
}

/// One subscriber.
struct Subscriber {
    channel: usize,
    acknowledged: bool,
    /// What came from each publisher of the channel.
    streams: Vec<Stream>,
    latencies: Compact,
    corrupted: u64,
    /// Bytes of the last message with a marker in it; 0 before the first.
    marked_bytes: usize,
}

/// What a subscriber had of one publisher.
#[derive(Clone)]
struct Stream {
    /// From the first publication on, as far as it is not measured.
    warm_up: Sequence,
    /// From the first that is measured on.
    measured: Option<Sequence>,
}

impl FanoutTally {
    /// Takes in another thread's.
    pub fn merge(&mut self, other: &FanoutTally) {
        self.delivery.merge(&other.delivery);
        self.service.merge(&other.service);
        self.fairness.merge(&other.fairness);
        self.counts.merge(&other.counts);
        self.expected += other.expected;
        self.publisher.merge(&other.publisher);
    }
}

impl Fanout {
    /// One thread's part.
    pub fn new(payloads: &Payloads, publications: &Arc<Publications>) -> Fanout {
        Fanout {
            payloads: payloads.clone(),
            publications: publications.clone(),
            roles: Vec::new(),
            pace: None,
            timeline: None,
            gone: Vec::new(),
            publishing: Vec::new(),
            absent: Vec::new(),
            tally: FanoutTally::default(),
        }
    }

    /// Publishes on this connection as long as something is due and the kernel takes it.
    fn publish(&mut self, key: usize, io: &mut Io) {
        loop {
            let Some(Role::Publisher(publisher)) = self.roles.get_mut(key) else { return };
            if !io.is_free(key) || io.control.is_stopped() {
                return;
            }
            let now_ns = io.now_ns();
            let Some((marker, subscribers)) = publisher.next(self.pace.as_ref(), now_ns, &self.publications) else { return };
            // Before it goes: whoever counts the deliveries must know of them.
            count(&io.progress().expected, u64::from(subscribers));
            match io.send_message(key, &marker) {
                Sent::Whole(handed_ns) => publisher.handed(handed_ns, &self.publications),
                // The engine says when the rest is gone.
                Sent::Partly(_) => {}
                Sent::Gone => return,
            }
            count(&io.progress().sent, 1);
        }
    }

    fn delivered(&mut self, key: usize, marker: &Marker, bytes: usize, io: &Io) {
        let Some(Role::Subscriber(subscriber)) = self.roles.get_mut(key) else { return };
        subscriber.marked_bytes = bytes;
        let counts = &mut self.tally.counts;
        let publisher = marker.sender as usize;
        // The load may be on before this thread has had its turn.
        let Some(timeline) = io.control.timeline() else { return };
        let publications = &self.publications;
        let known = publications.has(publisher) && publications.channel_of(publisher) == subscriber.channel;
        if !known || marker.seq >= publications.next(publisher) {
            counts.corrupted += 1;
            return;
        }
        let stream = &mut subscriber.streams[publisher / publications.channels()];
        if marker.intended_ns < timeline.measure_ns {
            if stream.warm_up.arrive(marker.seq) != Arrival::Duplicate {
                // A closed loop goes on by it.
                publications.delivered(publisher, marker.seq, io.received_ns());
                count(&io.progress().received, 1);
            }
            return;
        }
        let Some(first) = publications.first_measured(publisher) else { return };
        match stream.measured.get_or_insert_with(|| Sequence::starting_at(first)).arrive(marker.seq) {
            Arrival::InOrder => {}
            Arrival::Early => return,
            Arrival::Late => counts.reordered += 1,
            Arrival::Duplicate => {
                counts.duplicates += 1;
                return;
            }
        }
        count(&io.progress().received, 1);
        let now_ns = io.received_ns();
        counts.answer(now_ns, timeline.end_ns);
        let handed_ns = self.publications.delivered(publisher, marker.seq, now_ns);
        let Some(latency_ns) = now_ns.checked_sub(marker.intended_ns) else {
            counts.negative += 1;
            return;
        };
        self.tally.delivery.record(latency_ns);
        subscriber.latencies.record(latency_ns);
        if let Some(handed_ns) = handed_ns {
            self.tally.service.record(now_ns.saturating_sub(handed_ns));
        }
    }

    fn acknowledged(&mut self, key: usize, io: &mut Io) {
        let Some(Role::Subscriber(subscriber)) = self.roles.get_mut(key) else { return };
        // One that is acknowledged when the load is already on has no account: it cannot be known what it should have had.
        if self.timeline.is_none() {
            subscriber.acknowledged = true;
            self.publications.subscribed(subscriber.channel);
        }
        io.settle(key);
    }

    fn corrupted(&mut self, key: usize, io: &Io) {
        if let Some(Role::Subscriber(subscriber)) = self.roles.get_mut(key) {
            // One of the warm-up must not stand for one that is missing of those measured.
            let is_measured = io.control.timeline().is_some_and(|timeline| timeline.measure_ns <= io.received_ns());
            subscriber.corrupted += u64::from(is_measured);
            self.tally.counts.corrupted += 1;
            count(&io.progress().received, 1);
        }
    }

    fn close_publisher(&mut self, mut publisher: Publisher, io: &Io) {
        publisher.finish(self.pace.as_ref(), &self.publications, io.now_ns());
        self.tally.publisher.merge(&publisher.tally);
    }

    /// Ends a subscriber's account: what it should have had and did not get.
    fn close_account(&mut self, subscriber: &Subscriber, quiet: bool, now_ns: u64) {
        let (mut missing, mut lost) = (0, 0);
        let publishers = self.publications.publishers_of(subscriber.channel);
        for (publisher, Stream { measured: sequence, .. }) in publishers.zip(&subscriber.streams) {
            let Some(first) = self.publications.first_measured(publisher) else { continue };
            let end = self.publications.next(publisher);
            // A publication that was withdrawn has a number, but nobody was to have it.
            let withdrawn = self.publications.withdrawn(publisher);
            let (expected, overtaken) = (end - first, sequence.as_ref().map_or(0, Sequence::overtaken));
            let absent = sequence.as_ref().map_or(expected, |sequence| sequence.missing(end));
            let [expected, overtaken, absent] = [expected, overtaken, absent].map(|count| count.saturating_sub(withdrawn));
            self.tally.expected += expected;
            missing += absent;
            lost += if quiet { absent } else { overtaken };
            let age_ns = |seq| Some(now_ns.saturating_sub(self.publications.intended_ns(publisher, seq)?));
            let never = Sequence::starting_at(first);
            let known = sequence.as_ref().unwrap_or(&never).absent(end).filter_map(age_ns);
            // Of what was given up long ago only the number is known.
            let ages = known.chain(std::iter::repeat(0)).take(absent as usize);
            ages.for_each(|age_ns| self.tally.delivery.censor(age_ns));
        }
        // A corrupted message is missing too, but it did come.
        self.tally.counts.unanswered += missing.saturating_sub(subscriber.corrupted);
        self.tally.counts.loss += lost.saturating_sub(subscriber.corrupted);
        if let Some(p99_ns) = subscriber.latencies.quantile(0.99) {
            self.tally.fairness.record(p99_ns);
        }
    }
}

impl Scenario for Fanout {
    type Tally = FanoutTally;

    fn opened(&mut self, key: usize, io: &mut Io) {
        if self.roles.len() <= key {
            self.roles.resize_with(key + 1, || Role::None);
        }
        let number = io.number(key);
        if io.plan.is_publisher(number) {
            self.roles[key] = Role::Publisher(Box::new(Publisher::new(number, self.timeline.as_ref())));
            self.publishing.push(key);
            return io.settle(key);
        }
        let channel = self.publications.channel_of(io.plan.subscriber_index(number));
        self.roles[key] = Role::Subscriber(Box::new(Subscriber {
            channel,
            acknowledged: false,
            streams: vec![Stream { warm_up: Sequence::starting_at(0), measured: None }; self.publications.publishers_of(channel).count()],
            latencies: Compact::new(),
            corrupted: 0,
            marked_bytes: 0,
        }));
        let plan = io.plan.clone();
        if let Some(subscribe) = &plan.fanout.subscribe {
            io.send_template(key, subscribe);
        }
        if plan.fanout.subscribe_ack.is_none() {
            self.acknowledged(key, io);
        }
    }

    fn begin(&mut self, timeline: &Timeline, io: &mut Io) {
        self.timeline = Some(*timeline);
        let mut publishers = Vec::new();
        for &key in &self.publishing {
            if let Role::Publisher(publisher) = &mut self.roles[key] {
                publisher.begin(timeline, &io.plan);
                publishers.push((publisher.number, key));
            }
        }
        let there = |number: &usize| publishers.iter().any(|publisher| publisher.0 == *number);
        let numbers = (io.thread..io.plan.connections_in_all()).step_by(io.plan.threads).filter(|&number| io.plan.is_publisher(number));
        self.absent.extend(numbers.filter(|number| !there(number)).map(|number| Publisher::new(number, Some(timeline))));
        match io.plan.traffic.rate {
            Some(rate) => self.pace = Some(Pace::new(timeline.start_ns, timeline.end_ns, rate, io.plan.fanout.publishers, publishers)),
            None => {
                for &(number, _) in &publishers {
                    let (control, thread) = (io.control.clone(), io.thread);
                    self.publications.on_complete(number, move || control.wake(thread));
                }
            }
        }
    }

    fn due_ns(&self) -> Option<u64> {
        self.pace.as_ref().and_then(Pace::due_ns)
    }

    fn turn(&mut self, io: &mut Io) {
        if self.timeline.is_none() {
            return;
        }
        let now_ns = io.now_ns();
        if self.pace.is_some() {
            while let Some(key) = self.pace.as_mut().and_then(|pace| pace.next_due(now_ns)) {
                match self.roles.get_mut(key) {
                    Some(Role::Publisher(publisher)) => publisher.due += 1,
                    _ => continue,
                }
                self.publish(key, io);
            }
        } else {
            (0..self.publishing.len()).for_each(|index| self.publish(self.publishing[index], io));
        }
        let done = self.publishing.iter().all(|&key| match &self.roles[key] {
            Role::Publisher(publisher) => publisher.is_done(&self.publications),
            _ => true,
        });
        io.progress().done.store(done, Relaxed);
    }

    fn handed(&mut self, key: usize, at_ns: u64, io: &mut Io) {
        if let Some(Role::Publisher(publisher)) = self.roles.get_mut(key) {
            publisher.handed(at_ns, &self.publications);
            self.publish(key, io);
        }
    }

    fn message(&mut self, key: usize, payload: &[u8], io: &mut Io) {
        let Some(Role::Subscriber(subscriber)) = self.roles.get_mut(key) else { return };
        if !subscriber.acknowledged
            && let Some(ack) = &io.plan.fanout.subscribe_ack
            && memmem::find(payload, ack).is_some()
        {
            self.acknowledged(key, io);
        }
        // A server may put several publications into one message.
        let (mut at, mut markers) = (0, 0);
        loop {
            match self.payloads.find_next(payload, &mut at) {
                Found::Marker(marker) => self.delivered(key, &marker, payload.len(), io),
                Found::Corrupted => self.corrupted(key, io),
                Found::None => break,
            }
            markers += 1;
        }
        // What the server says by itself is shorter; what is as long as a publication must be one.
        if markers == 0
            && let Some(Role::Subscriber(subscriber)) = self.roles.get(key)
            && subscriber.marked_bytes != 0
            && payload.len() >= subscriber.marked_bytes
        {
            self.corrupted(key, io);
        }
    }

    fn ended(&mut self, key: usize, _io: &mut Io) {
        match self.roles.get_mut(key).map(|role| std::mem::replace(role, Role::None)) {
            Some(Role::Subscriber(subscriber)) if subscriber.acknowledged => self.gone.push(*subscriber),
            Some(Role::Publisher(publisher)) => self.absent.push(*publisher),
            _ => {}
        }
    }

    fn finish(&mut self, quiet: bool, io: &mut Io) -> FanoutTally {
        let now_ns = io.now_ns();
        for subscriber in std::mem::take(&mut self.gone) {
            self.close_account(&subscriber, true, now_ns);
        }
        for publisher in std::mem::take(&mut self.absent) {
            self.close_publisher(publisher, io);
        }
        for role in std::mem::take(&mut self.roles) {
            match role {
                Role::Subscriber(subscriber) if subscriber.acknowledged => self.close_account(&subscriber, quiet, now_ns),
                Role::Publisher(publisher) => self.close_publisher(*publisher, io),
                _ => {}
            }
        }
        std::mem::take(&mut self.tally)
    }
}
