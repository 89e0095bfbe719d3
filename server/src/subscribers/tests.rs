use std::collections::BTreeMap;

use fantail_codec::{Kind, centrifuge::Format};

use super::{timers::Timers, *};
use crate::{
    config,
    encode::Encoding,
    hub::{Mail, Mailbox, Message, Shape},
};

/// One worker's subscribers, and whoever publishes to them.
struct World {
    hub: Arc<Hub>,
    subscribers: Subscribers,
    encoder: Encoder,
    now: Instant,
}

const FULL: Wish =
    Wish { form: Form::new(Shape::Raw, Encoding::Plain), rate: 0, start: Start::Fresh, join_leave: false, positioned: false };

const DELTAS: Wish = Wish { form: Form::new(Shape::Push { format: Format::Json, by_id: false, delta: true }, Encoding::Plain), ..FULL };

fn at_rate(rate: u16) -> Wish {
    Wish { rate, ..FULL }
}

impl World {
    fn new(settings: &[(&str, &str)]) -> World {
        let config = config::load(settings, None, std::iter::empty(), &[]).unwrap();
        let hub = Arc::new(Hub::new(config.hub.clone(), vec![Arc::new(Mailbox::new(1 << 20))]));
        let subscribers = Subscribers::new(Arc::clone(&hub), 0);
        World { hub, subscribers, encoder: Encoder::new(&config.deflate), now: Instant::now() }
    }

    /// Joins for the connection; returns the subscription and the offsets of the snapshot.
    fn join(&mut self, connection: usize, wish: Wish) -> (u64, Vec<u64>) {
        let (subscription, snapshot) = self.subscribers.join("c", connection, wish, self.now, 0).unwrap();
        (subscription, snapshot.publications.iter().map(|publication| publication.offset()).collect())
    }

    /// Publishes what begins with its offset and is long enough for a delta.
    fn publish(&self, key: &str) {
        let next = self.hub.find("c").map_or(1, |channel| channel.position().offset + 1);
        let payload = format!("{{\"n\":{next},\"x\":\"{}\"}}", "x".repeat(60));
        let message = Message { key: key.into(), ..Message::new(Kind::Text, payload.as_bytes()) };
        assert_eq!(self.hub.publish("c", message, false, self.now).unwrap().offset, next);
    }

    /// Takes what is in the mail.
    fn arrive(&mut self, now_ms: u32) {
        let mut mail = Vec::new();
        self.hub.mailbox(0).take(&mut mail);
        for mail in mail {
            let Mail::Publication(channel, local, publication) = mail else { panic!("{mail:?}") };
            self.subscribers.arrived(&channel, local, &publication, now_ms);
        }
    }

    /// What each connection gets by now.
    fn deliver(&mut self, now_ms: u32) -> BTreeMap<u32, Vec<u8>> {
        let mut got: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
        while let Some(mut delivery) = self.subscribers.next_delivery(now_ms) {
            for subscriber in self.subscribers.subscribers(&delivery) {
                let frames = got.entry(subscriber.connection).or_default();
                delivery.to(subscriber, &mut self.encoder, |shared| frames.extend_from_slice(shared.bytes()));
            }
            self.subscribers.delivered(&delivery);
        }
        got
    }

    fn arrive_and_deliver(&mut self, now_ms: u32) -> BTreeMap<u32, Vec<u8>> {
        self.arrive(now_ms);
        self.deliver(now_ms)
    }

    fn catch_up(&mut self, subscription: u64, connection: usize) -> Vec<u8> {
        let mut frames = Vec::new();
        let bytes =
            self.subscribers.catch_up(subscription, connection, &mut self.encoder, |shared| frames.extend_from_slice(shared.bytes()));
        assert_eq!(bytes, frames.len());
        frames
    }

    fn mailbox_bytes(&self) -> usize {
        self.hub.mailbox(0).bytes()
    }
}

/// The offsets of the publications in these frames.
fn offsets(frames: &[u8]) -> Vec<u64> {
    let text = String::from_utf8_lossy(frames);
    text.split("{\"n\":").skip(1).map(|text| text[..text.find(',').unwrap()].parse().unwrap()).collect()
}

/// How many of these publications are deltas, and how many are in full.
fn deltas(frames: &[u8]) -> (usize, usize) {
    let text = String::from_utf8_lossy(frames);
    let deltas = text.matches("\"delta\":true").count();
    (deltas, text.matches("\"pub\":").count() - deltas)
}

#[test]
fn who_catches_up_between_deliveries_gets_the_newest_once() {
    let mut world = World::new(&[("hub.flush_ms", "10")]);
    world.publish("");
    world.join(0, FULL);
    world.publish("");
    world.arrive(0);
    // Its snapshot is pending here, and so is the newest.
    let (second, snapshot) = world.join(1, FULL);
    assert_eq!((snapshot, world.catch_up(second, 1)), (vec![2], vec![]), "it is not behind");
    world.subscribers.rewind(second, 1, 1);
    let frames = world.catch_up(second, 1);
    assert_eq!((offsets(&frames), world.catch_up(second, 1)), (vec![2], vec![]));
    let got = world.deliver(10);
    assert_eq!((offsets(&got[&0]), offsets(&got[&1])), (vec![2], vec![]));
    world.publish("");
    // Its snapshot is still in the mail.
    assert_eq!(world.join(2, FULL).1, [3]);
    let got = world.arrive_and_deliver(20);
    assert!(got.is_empty(), "not before the next multiple");
    let got = world.deliver(30);
    assert_eq!([0, 1, 2].map(|connection| offsets(&got[&connection])), [vec![3], vec![3], vec![]]);
}

#[test]
fn feeds_of_one_channel_collect_by_their_rates() {
    let mut world = World::new(&[]);
    for (connection, rate) in [0, 4, 10, 10].into_iter().enumerate() {
        world.join(connection, at_rate(rate));
    }
    let mut got: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    for now_ms in (0..1000).step_by(20) {
        world.publish("");
        for (connection, frames) in world.arrive_and_deliver(now_ms) {
            got.entry(connection).or_default().extend(offsets(&frames));
        }
    }
    assert_eq!(got[&0], (1..=50).collect::<Vec<u64>>());
    assert_eq!(got[&1], [14, 26, 39], "the newest at each multiple of 250 ms");
    assert_eq!(got[&2], (1..10).map(|multiple| multiple * 5 + 1).collect::<Vec<u64>>());
    assert_eq!(got[&2], got[&3]);
    assert_eq!((offsets(&world.deliver(1000)[&1]), world.mailbox_bytes()), (vec![50], 0));
}

#[test]
fn a_feed_with_a_rate_gives_the_newest_of_each_key() {
    let mut world = World::new(&[("hub.keys_max", "3")]);
    world.join(0, at_rate(1));
    ["a", "b", "a", "c", "b"].iter().for_each(|key| world.publish(key));
    world.arrive(0);
    assert_eq!(offsets(&world.deliver(1000)[&0]), [3, 4, 5]);
}

#[test]
fn publications_count_against_the_mailbox_until_they_are_delivered_or_dropped() {
    let mut world = World::new(&[("hub.flush_ms", "10")]);
    let (all, _) = world.join(0, FULL);
    let (slow, _) = world.join(1, at_rate(1));
    world.publish("");
    let one = world.mailbox_bytes();
    world.arrive(0);
    assert_eq!(world.mailbox_bytes(), one, "the newest, for who has a rate, is the channel's anyway");
    (0..2).for_each(|_| world.publish(""));
    world.arrive(0);
    assert_eq!(world.mailbox_bytes(), 3 * one);
    world.deliver(10);
    assert_eq!(world.mailbox_bytes(), 0);
    world.subscribers.leave(slow, world.now);
    assert!(world.deliver(1000).is_empty(), "nobody waits for it");
    world.publish("");
    world.arrive(20);
    world.publish("");
    world.subscribers.leave(all, world.now);
    world.join(0, FULL);
    world.arrive(20);
    // What was in the mail has come to the new feed, which has seen it.
    assert!(world.deliver(30).values().all(Vec::is_empty));
    assert_eq!(world.mailbox_bytes(), 0);
    let (last, _) = world.join(2, FULL);
    world.publish("");
    world.subscribers.leave(last, world.now);
    assert_eq!(offsets(&world.arrive_and_deliver(40).remove(&0).unwrap_or_default()), Vec::<u64>::new());
    assert_eq!(offsets(&world.deliver(50)[&0]), [6]);
    assert_eq!(world.mailbox_bytes(), 0);
}

#[test]
fn mail_for_a_channel_that_was_left_is_thrown_away() {
    let mut world = World::new(&[]);
    let (subscription, _) = world.join(0, FULL);
    world.publish("");
    world.subscribers.leave(subscription, world.now);
    let (other, _) = world.subscribers.join("other", 0, FULL, world.now, 0).unwrap();
    world.arrive(0);
    assert!(world.deliver(0).is_empty());
    assert_eq!(world.mailbox_bytes(), 0);
    world.subscribers.leave(other, world.now);
    assert_eq!(world.subscribers.sizes(), [0; 3]);
}

#[test]
fn places_follow_who_leaves() {
    let mut world = World::new(&[]);
    let joined: Vec<u64> =
        [0, 4, 0, 4, 0].into_iter().enumerate().map(|(connection, rate)| world.join(connection, at_rate(rate)).0).collect();
    for gone in [0, 3] {
        world.subscribers.leave(joined[gone], world.now);
        assert!(world.subscribers.subscriber(joined[gone], gone).is_none());
    }
    for (connection, &subscription) in joined.iter().enumerate().filter(|(connection, _)| ![0, 3].contains(connection)) {
        assert_eq!(world.subscribers.subscriber(subscription, connection).unwrap().subscription, subscription);
        assert!(world.subscribers.subscriber(subscription, connection + 1).is_none(), "it is another connection's");
        assert_eq!(world.subscribers.channel(subscription).name(), "c");
    }
    [1, 4, 2].iter().for_each(|&left| world.subscribers.leave(joined[left], world.now));
    assert_eq!((world.subscribers.sizes(), world.hub.channel_count()), ([0; 3], 0));
}

#[test]
fn who_comes_and_goes_leaves_no_timer() {
    let mut world = World::new(&[("hub.flush_ms", "10"), ("hub.heartbeat_ms", "3600000")]);
    let (stays, _) = world.subscribers.join("other", 9, FULL, world.now, 0).unwrap();
    for _ in 0..3 {
        let (subscription, _) = world.join(0, Wish { positioned: true, ..FULL });
        world.publish("");
        world.arrive(0);
        assert_eq!(world.subscribers.next_due_ms(), Some(10));
        world.subscribers.leave(subscription, world.now);
        assert_eq!((world.subscribers.next_due_ms(), world.mailbox_bytes()), (None, 0));
    }
    world.subscribers.leave(stays, world.now);
    assert_eq!(world.subscribers.sizes(), [0; 3]);
}

#[test]
fn another_rate_loses_nothing_that_is_newest() {
    let mut world = World::new(&[]);
    let (subscription, _) = world.join(0, at_rate(1));
    (0..3).for_each(|_| world.publish(""));
    world.arrive(0);
    world.subscribers.change_rate(subscription, 0);
    let frames = world.catch_up(subscription, 0);
    assert_eq!(offsets(&frames), [3], "what waited in the feed that it left");
    world.publish("");
    assert_eq!(offsets(&world.arrive_and_deliver(1)[&0]), [4]);
    world.subscribers.change_rate(subscription, 0);
    assert!(world.catch_up(subscription, 0).is_empty(), "nothing has changed");
    world.subscribers.change_rate(subscription, 4);
    world.publish("");
    assert!(world.arrive_and_deliver(2).is_empty());
    assert_eq!(offsets(&world.deliver(250)[&0]), [5]);
    assert_eq!((world.subscribers.sizes(), world.mailbox_bytes()), ([2, 0, 1], 0));
}

#[test]
fn a_delta_only_for_who_has_its_base() {
    let mut world = World::new(&[("hub.delta", "true")]);
    world.publish("");
    world.join(0, DELTAS);
    world.join(1, Wish { start: Start::After(1, None), ..DELTAS });
    world.publish("");
    let got = world.arrive_and_deliver(0);
    // The first of a feed is sent in full: nothing was delivered before it. So is any to who has no base.
    assert_eq!((deltas(&got[&0]), deltas(&got[&1])), ((0, 1), (0, 1)));
    world.join(2, Wish { start: Start::After(2, None), ..DELTAS });
    (0..2).for_each(|_| world.publish(""));
    let got = world.arrive_and_deliver(0);
    assert_eq!((deltas(&got[&0]), deltas(&got[&1]), deltas(&got[&2])), ((2, 0), (2, 0), (1, 1)));
}

#[test]
fn who_caught_up_gets_full_and_then_deltas_again() {
    let mut world = World::new(&[("hub.delta", "true")]);
    let (subscription, _) = world.join(0, DELTAS);
    world.join(1, DELTAS);
    (0..2).for_each(|_| world.publish(""));
    world.arrive_and_deliver(0);
    world.subscribers.rewind(subscription, 0, 0);
    (0..2).for_each(|_| world.publish(""));
    let frames = world.catch_up(subscription, 0);
    assert_eq!((deltas(&frames), String::from_utf8_lossy(&frames).contains("\"offset\":4")), ((0, 1), true));
    let got = world.arrive_and_deliver(0);
    assert_eq!((got[&0].len(), deltas(&got[&1])), (0, (2, 0)));
    world.publish("");
    let got = world.arrive_and_deliver(0);
    assert_eq!((deltas(&got[&0]), &got[&0]), ((1, 0), &got[&1]), "it has the same base again");
}

#[test]
fn a_snapshot_older_than_the_channel_stands_is_no_base() {
    let mut world = World::new(&[("hub.delta", "true"), ("hub.history_size", "9"), ("hub.last_value", "false")]);
    let (_, snapshot) = world.join(0, DELTAS);
    assert!(snapshot.is_empty());
    world.publish("");
    world.arrive_and_deliver(0);
    assert!(world.join(1, DELTAS).1.is_empty(), "a channel without a last value");
    world.publish("");
    let got = world.arrive_and_deliver(0);
    assert_eq!((deltas(&got[&0]), deltas(&got[&1])), ((1, 0), (0, 1)));
}

#[test]
fn who_is_slow_and_what_becomes_of_it() {
    let settings = [("hub.delta", "true"), ("hub.slow", "drop_oldest"), ("hub.namespaces.d.slow", "disconnect")];
    let mut world = World::new(&settings);
    let (plain, _) = world.join(0, FULL);
    let (delta, _) = world.join(0, DELTAS);
    let (strict, _) = world.subscribers.join("d:c", 0, DELTAS, world.now, 0).unwrap();
    let mut policy = |subscription, connection| world.subscribers.slow(subscription, connection).map(|(_, policy)| policy);
    assert_eq!(policy(plain, 0), Some(SlowPolicy::DropOldest));
    assert_eq!(policy(delta, 0), Some(SlowPolicy::Conflate), "a delta is of no use without its base");
    assert_eq!(policy(strict, 0), Some(SlowPolicy::Disconnect));
    assert_eq!((policy(plain, 1), policy(9, 0)), (None, None));
}

#[test]
fn timers_are_aligned_and_survive_the_wrap() {
    let mut timers = Timers::default();
    timers.add(1, 100, 250);
    timers.add(2, 100, 299);
    timers.add(3, 1000, 299);
    timers.add(4, 0, 299);
    timers.add(5, 100, 299);
    timers.remove(5, 100);
    timers.remove(4, 100);
    let due = |timers: &mut Timers, now_ms| {
        let mut due = Vec::new();
        timers.take_due(now_ms, &mut due);
        due.sort_unstable();
        due
    };
    assert_eq!((timers.next_due_ms(), due(&mut timers, 299)), (Some(299), vec![4]));
    assert_eq!((timers.next_due_ms(), due(&mut timers, 299)), (Some(300), vec![]));
    assert_eq!((due(&mut timers, 999), timers.next_due_ms(), due(&mut timers, 1000)), (vec![1, 2], Some(1000), vec![3]));
    timers.add(1, 100, 1000);
    timers.remove(1, 100);
    assert_eq!(timers.next_due_ms(), None);
    for interval_ms in [1, 10, 1000] {
        let mut timers = Timers::default();
        timers.add(5, interval_ms, u32::MAX);
        let due_ms = timers.next_due_ms().unwrap();
        assert!((1..=interval_ms).contains(&due_ms.wrapping_sub(u32::MAX)), "{due_ms}");
        assert_eq!((due(&mut timers, u32::MAX), due(&mut timers, due_ms)), (vec![], vec![5]));
    }
    // A timer that is due before the wrap comes before one that is due behind it.
    timers.add(6, 1000, u32::MAX - 10);
    timers.add(7, 0, u32::MAX - 10);
    assert_eq!((timers.next_due_ms(), due(&mut timers, u32::MAX)), (Some(u32::MAX - 10), vec![7]));
}
