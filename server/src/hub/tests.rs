use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use super::*;
use crate::{
    config,
    encode::{Encoder, Encoding},
};

/// A hub with these settings of `[hub]` that posts to so many workers.
fn hub(workers: usize, mailbox_bytes_max: usize, settings: &[(&str, &str)]) -> Hub {
    let config = config::load(settings, None, std::iter::empty(), &[]).unwrap();
    Hub::new(config.hub, (0..workers).map(|_| Arc::new(Mailbox::new(mailbox_bytes_max))).collect())
}

fn text(payload: &str) -> Message {
    Message::new(fantail_codec::Kind::Text, payload.as_bytes())
}

fn keyed(key: &str) -> Message {
    Message { key: key.into(), ..text(key) }
}

/// Publishes for a backend, and returns the offset.
fn publish(hub: &Hub, channel: &str, now: Instant) -> u64 {
    hub.publish(channel, text("x"), false, now).unwrap().offset
}

fn publish_all(hub: &Hub, channel: &str, count: usize, now: Instant) {
    for _ in 0..count {
        publish(hub, channel, now);
    }
}

fn offsets_of<'a>(publications: impl IntoIterator<Item = &'a Arc<Publication>>) -> Vec<u64> {
    publications.into_iter().map(|publication| publication.offset()).collect()
}

/// Offsets of the publications in a worker's mailbox, which then count no more.
fn offsets(hub: &Hub, worker: usize) -> Vec<u64> {
    let mut mail = Vec::new();
    hub.mailboxes[worker].take(&mut mail);
    let offset_of = |mail: Mail| {
        let Mail::Publication(_, _, publication) = mail else { panic!("{mail:?}") };
        hub.mailboxes[worker].release(publication.bytes());
        publication.offset()
    };
    mail.into_iter().map(offset_of).collect()
}

/// What a new subscriber on worker 0 begins with: offsets, where the channel stands, and whether that is all it asked for. Then it leaves.
fn begin(hub: &Hub, channel: &str, start: Start, now: Instant) -> (Vec<u64>, u64, bool) {
    let (joined_channel, Joined { snapshot, .. }) = hub.subscribe(channel, 0, 0, start, now).unwrap();
    hub.unsubscribe(&joined_channel, 0, now);
    (offsets_of(&snapshot.publications), snapshot.position.offset, snapshot.recovered)
}

#[test]
fn the_snapshot_then_every_later_publication() {
    let (hub, now) = (hub(2, 1 << 20, &[]), Instant::now());
    let first = hub.publish("c", text("1"), false, now).unwrap();
    let (channel, Joined { local, snapshot }) = hub.subscribe("c", 1, 7, Start::Fresh, now).unwrap();
    assert_eq!((local, snapshot.position, &*snapshot.publications[0].message().payload), (7, first, &b"1"[..]));
    assert_eq!(hub.publish("c", text("2"), false, now).unwrap(), Position { offset: 2, epoch: first.epoch });
    assert_eq!((offsets(&hub, 0), offsets(&hub, 1)), (vec![], vec![2]));
    let (_, again) = hub.subscribe("c", 1, 8, Start::Fresh, now).unwrap();
    assert_eq!((again.local, offsets_of(&again.snapshot.publications)), (7, vec![2]), "the earlier number stays");
    hub.unsubscribe(&channel, 1, now);
    hub.publish("c", text("3"), false, now).unwrap();
    assert!(offsets(&hub, 1).is_empty());
}

#[test]
fn a_channel_without_use_is_forgotten_and_begins_a_new_epoch() {
    let (hub, now) = (hub(1, 1 << 20, &[("hub.channels_max", "1")]), Instant::now());
    let (unused, _) = hub.subscribe("a", 0, 0, Start::Fresh, now).unwrap();
    assert_eq!(hub.subscribe("b", 0, 1, Start::Fresh, now).map(|_| ()), Err(HubError::Channels));
    hub.unsubscribe(&unused, 0, now);
    assert_eq!(hub.channel_count(), 0);
    assert!(unused.join(0, 0, Start::Fresh, now).is_none(), "a late subscriber must look for the channel anew");
    let (again, joined) = hub.subscribe("a", 0, 0, Start::Fresh, now).unwrap();
    assert_ne!(again.id(), unused.id());
    assert_ne!(joined.snapshot.position.epoch, unused.position().epoch);
    publish(&hub, "a", now);
    hub.unsubscribe(&again, 0, now);
    assert_eq!(hub.channel_count(), 1, "a backend gave it a last value");
}

#[test]
fn what_only_clients_published_goes_with_the_last_subscriber() {
    let (hub, now) = (hub(1, 1 << 20, &[]), Instant::now());
    assert_eq!(hub.publish_as_client("c", text("x"), now).unwrap().offset, 1);
    assert_eq!(hub.channel_count(), 0, "nobody would ever ask for it");
    let (channel, _) = hub.subscribe("c", 0, 0, Start::Fresh, now).unwrap();
    hub.publish_as_client("c", text("x"), now).unwrap();
    assert_eq!(hub.channel_count(), 1);
    hub.unsubscribe(&channel, 0, now);
    assert_eq!(hub.channel_count(), 0);
}

#[test]
fn last_values_and_histories_are_forgotten_with_time() {
    let settings = [("hub.value_ttl_ms", "1000"), ("hub.history_ttl_ms", "500"), ("hub.namespaces.h.history_size", "2")];
    let (hub, now) = (hub(1, 1 << 20, &settings), Instant::now());
    let after = |ms| now + Duration::from_millis(ms);
    publish(&hub, "c", now);
    hub.publish_as_client("h:c", text("x"), now).unwrap();
    let exist = |now| {
        hub.sweep(now);
        (hub.find("c").is_some(), hub.find("h:c").is_some())
    };
    assert_eq!(exist(after(500)), (true, true));
    assert_eq!(exist(after(501)), (true, false), "what clients published lives as long as the history");
    assert_eq!(exist(after(1000)), (true, false));
    let (channel, _) = hub.subscribe("c", 0, 0, Start::Fresh, after(1000)).unwrap();
    assert_eq!(exist(after(2000)), (true, false), "not while somebody subscribes");
    hub.unsubscribe(&channel, 0, after(2000));
    assert_eq!(exist(after(2000)), (false, false));
}

#[test]
fn recovery_gives_all_after_the_position_or_says_that_it_does_not() {
    let settings = [("hub.history_size", "3"), ("hub.history_ttl_ms", "1000")];
    let (hub, now) = (hub(1, 1 << 20, &settings), Instant::now());
    (1..=5).for_each(|offset| assert_eq!(publish(&hub, "c", now), offset));
    let epoch = hub.find("c").unwrap().position().epoch;
    assert_eq!(begin(&hub, "c", Start::After(5, None), now), (vec![], 5, true));
    assert_eq!(begin(&hub, "c", Start::After(4, Some(epoch)), now), (vec![5], 5, true));
    assert_eq!(begin(&hub, "c", Start::After(2, Some(epoch)), now), (vec![3, 4, 5], 5, true));
    assert_eq!(begin(&hub, "c", Start::After(1, Some(epoch)), now), (vec![5], 5, false), "never in part");
    assert_eq!(begin(&hub, "c", Start::After(6, Some(epoch)), now), (vec![5], 5, false), "it never stood there");
    assert_eq!(begin(&hub, "c", Start::After(5, Some(Epoch::UNKNOWN)), now), (vec![5], 5, false), "another life");
    let later = now + Duration::from_millis(1000);
    assert_eq!(begin(&hub, "c", Start::After(4, None), later), (vec![5], 5, true));
    assert_eq!(begin(&hub, "c", Start::After(4, None), later + Duration::from_millis(1)), (vec![5], 5, false), "too old");
    assert_eq!(begin(&hub, "c", Start::After(5, None), later + Duration::from_millis(1)), (vec![], 5, true));
}

#[test]
fn what_skips_the_history_is_passed_over_by_recovery() {
    let (hub, now) = (hub(1, 1 << 20, &[("hub.history_size", "9"), ("hub.last_value", "false")]), Instant::now());
    publish(&hub, "c", now);
    hub.publish("c", text("x"), true, now).unwrap();
    publish(&hub, "c", now);
    assert_eq!(begin(&hub, "c", Start::After(0, None), now), (vec![1, 3], 3, true));
    assert_eq!(begin(&hub, "c", Start::After(1, None), now), (vec![3], 3, true));
    assert_eq!(begin(&hub, "c", Start::After(2, None), now), (vec![3], 3, true));
    hub.find("c").unwrap().remove_history();
    assert_eq!(begin(&hub, "c", Start::After(2, None), now), (vec![], 3, false));
    assert_eq!(begin(&hub, "c", Start::After(3, None), now), (vec![], 3, true));
}

#[test]
fn without_a_history_the_last_value_is_what_is_recovered() {
    let settings = [("hub.namespaces.none.last_value", "false"), ("hub.namespaces.keyed.keys_max", "2")];
    let (hub, now) = (hub(1, 1 << 20, &settings), Instant::now());
    for channel in ["c", "none:c"] {
        publish_all(&hub, channel, 3, now);
    }
    ["a", "b", "a"].iter().for_each(|key| assert!(hub.publish("keyed:c", keyed(key), false, now).is_ok()));
    let start = Start::After(1, None);
    assert_eq!(begin(&hub, "c", start, now), (vec![3], 3, true));
    assert_eq!(begin(&hub, "keyed:c", start, now), (vec![2, 3], 3, true));
    assert_eq!(begin(&hub, "none:c", start, now), (vec![], 3, false));
    assert_eq!(begin(&hub, "none:c", Start::Fresh, now), (vec![], 3, false));
}

#[test]
fn a_history_is_read_from_either_end() {
    let (hub, now) = (hub(1, 1 << 20, &[("hub.history_size", "4")]), Instant::now());
    publish_all(&hub, "c", 6, now);
    let channel = hub.find("c").unwrap();
    let epoch = channel.position().epoch;
    let read = |since, limit, reverse| channel.history(since, limit, reverse, now).map(|found| offsets_of(&found.publications));
    assert_eq!(read(None, 2, false), Ok(vec![3, 4]));
    assert_eq!(read(None, 2, true), Ok(vec![6, 5]));
    assert_eq!(read(Some((2, Some(epoch))), 9, false), Ok(vec![3, 4, 5, 6]));
    assert_eq!(read(Some((5, None)), 9, true), Ok(vec![4, 3]));
    assert_eq!(read(Some((1, None)), 9, false), Err(HubError::Position));
    assert_eq!(read(Some((4, Some(Epoch::UNKNOWN))), 9, false), Err(HubError::Position));
}

#[test]
fn each_keys_newest_in_the_order_of_offsets() {
    let (hub, now) = (hub(1, 1 << 20, &[("hub.keys_max", "2")]), Instant::now());
    ["a", "b", "a", "a", "b", "a"].iter().for_each(|key| assert!(hub.publish("c", keyed(key), false, now).is_ok()));
    assert_eq!(begin(&hub, "c", Start::Fresh, now), (vec![5, 6], 6, false));
    assert_eq!(hub.publish("c", keyed("third"), false, now), Err(HubError::Keys));
    assert_eq!(hub.publish("c", keyed("b"), false, now).unwrap().offset, 7, "a refused publication uses no offset");
    let channel = hub.find("c").unwrap();
    let newest = |after| offsets_of(&channel.newest(after).publications);
    assert_eq!((newest(0), newest(5), newest(6), newest(7)), (vec![6, 7], vec![6, 7], vec![7], vec![]));
}

#[test]
fn keys_are_refused_where_there_are_none() {
    let (hub, now) = (hub(1, 1 << 20, &[]), Instant::now());
    assert_eq!(hub.publish("c", keyed("a"), false, now), Err(HubError::NotKeyed));
    publish_all(&hub, "c", 3, now);
    assert_eq!(begin(&hub, "c", Start::Fresh, now), (vec![3], 3, false));
}

#[test]
fn values_return_what_they_replace() {
    let mut values = Values::default();
    let namespace = Arc::new(Namespace::new(Arc::clone(hub(1, 1, &[]).options("c")), 0));
    let publication = |offset, key| Arc::new(Publication::new(offset, keyed(key), Instant::now(), &namespace));
    let mut insert = |offset, key| values.insert(publication(offset, key)).map(|replaced| replaced.offset());
    assert_eq!((insert(1, ""), insert(2, ""), insert(3, "a")), (None, Some(1), None));
    assert_eq!((insert(4, ""), insert(5, "b"), insert(6, "a")), (Some(2), None, Some(3)));
    assert_eq!((offsets_of(values.after(0)), offsets_of(values.after(4)), values.len()), (vec![4, 5, 6], vec![5, 6], 3));
    assert_eq!(["a", "", "c"].map(|key| values.get(key).map(|found| found.offset())), [Some(6), Some(4), None]);
}

#[test]
fn a_pattern_tells_keys_from_names_that_look_like_them() {
    let (hub, now) = (hub(1, 1 << 20, &[("hub.namespaces.t.keys_max", "2")]), Instant::now());
    hub.subscribe("t:*", 0, 0, Start::Fresh, now).unwrap();
    for (channel, key) in [("t:a", "b"), ("t:a\nb", ""), ("t:ab", ""), ("t:a", ""), ("t:a", "b")] {
        hub.publish(channel, keyed(key), false, now).unwrap();
    }
    let (newest, position, _) = begin(&hub, "t:*", Start::Fresh, now);
    assert_eq!((newest, position), (vec![2, 3, 4, 5], 5));
}

#[test]
fn who_is_present() {
    let (hub, now) = (hub(2, 1 << 20, &[]), Instant::now());
    let client = |user: &str, client: &str| Arc::new(ClientInfo { user: user.into(), client: client.into(), ..ClientInfo::default() });
    let (channel, _) = hub.subscribe("c", 1, 5, Start::Fresh, now).unwrap();
    hub.enter(&channel, &client("u", "1"), true);
    hub.enter(&channel, &client("u", "2"), false);
    assert_eq!(count(&channel.present()), (2, 1));
    hub.exit(&channel, "1", true);
    hub.exit(&channel, "1", true);
    assert_eq!(count(&channel.present()), (1, 1));
    hub.exit(&channel, "2", false);
    assert_eq!(count(&channel.present()), (0, 0));
    let mut mail = Vec::new();
    hub.mailbox(1).take(&mut mail);
    let told = mail.iter().map(|mail| match mail {
        Mail::Presence { local, info, comes, .. } => (*local, &*info.client, *comes),
        _ => panic!("{mail:?}"),
    });
    assert_eq!(told.collect::<Vec<_>>(), [(5, "1", true), (5, "1", false)], "once each, and only where it is to be told");
    (0..5000).for_each(|_| hub.enter(&channel, &client("u", "3"), true));
    assert_eq!(hub.mailbox(1).bytes(), 1 << 20, "nothing more is told to who cannot follow");
}

#[test]
fn a_full_namespace_takes_what_a_history_or_an_older_value_makes_room_for() {
    let settings =
        [("hub.kept_bytes_max", "1048576"), ("hub.namespaces.h.history_size", "9"), ("hub.namespaces.h.kept_bytes_max", "1048576")];
    let (hub, now) = (hub(1, 1 << 30, &settings), Instant::now());
    let of = |bytes: usize| text(&"x".repeat(bytes));
    let publish = |channel: &str, bytes| hub.publish(channel, of(bytes), false, now).map(|position| position.offset);
    assert_eq!((publish("a", 400_000), publish("b", 400_000)), (Ok(1), Ok(1)));
    assert_eq!((publish("c", 400_000), publish("c", 100_000)), (Err(HubError::Full), Ok(1)), "a refused publication uses no offset");
    assert_eq!((publish("a", 400_000), publish("a", 600_000), publish("a", 100_000)), (Ok(2), Err(HubError::Full), Ok(3)));
    assert_eq!(publish("c", 300_000), Ok(2), "the smaller value of the other left room");
    for offset in 1..=5 {
        assert_eq!(publish("h:a", 300_000), Ok(offset));
    }
    let channel = hub.find("h:a").unwrap();
    assert_eq!(offsets_of(&channel.history(None, 9, false, now).unwrap().publications), [3, 4, 5]);
    assert_eq!(publish("h:b", 300_000), Err(HubError::Full), "another channel's history stays");
    channel.remove_history();
    assert_eq!(publish("h:b", 300_000), Ok(1));
}

#[test]
fn frames_are_shared_while_there_is_room_and_the_publication_is_the_newest() {
    let settings = [("hub.kept_bytes_max", "1048576")];
    let (hub, now) = (hub(1, 1 << 30, &settings), Instant::now());
    let mut encoder = Encoder::new(&config::load(&settings, None, std::iter::empty(), &[]).unwrap().deflate);
    let mut is_shared = |channel: &str, shape| {
        let channel = hub.find(channel).unwrap();
        let form = Form::new(shape, Encoding::Plain);
        let newest = channel.newest(0).publications.remove(0);
        let frames = [0, 1].map(|_| newest.frame(&channel, form, None, &mut encoder));
        assert_eq!(frames[0], frames[1]);
        Arc::ptr_eq(&frames[0], &frames[1])
    };
    for channel in ["a", "b"] {
        hub.publish(channel, text(&"x".repeat(400_000)), false, now).unwrap();
    }
    assert_eq!(
        [("a", Shape::Raw), ("b", Shape::Raw), ("b", Shape::Stream)].map(|(channel, shape)| is_shared(channel, shape)),
        [true, true, false]
    );
    publish(&hub, "a", now);
    assert!(is_shared("b", Shape::Stream), "what is no longer the newest has left room");
}

#[test]
fn bad_names_and_full_mailboxes() {
    let (hub, now) = (hub(1, 1000, &[]), Instant::now());
    assert_eq!(hub.publish("", text(""), false, now), Err(HubError::Name));
    assert_eq!(hub.publish(&"x".repeat(256), text(""), false, now), Err(HubError::Name));
    hub.subscribe("c", 0, 0, Start::Fresh, now).unwrap();
    hub.publish("c", text(&"x".repeat(1000)), false, now).unwrap();
    assert_eq!(hub.publish("c", text("x"), false, now), Err(HubError::Overloaded));
    let mut mail = Vec::new();
    hub.mailbox(0).take(&mut mail);
    let [Mail::Publication(_, _, publication)] = mail.as_slice() else { panic!("{mail:?}") };
    assert_eq!(hub.publish("c", text("x"), false, now), Err(HubError::Overloaded), "taken is not yet delivered");
    hub.mailbox(0).release(publication.bytes());
    assert_eq!(publish(&hub, "c", now), 2, "a refused publication uses no offset");
}

#[test]
fn a_sleeping_worker_is_woken_once() {
    let mailbox = Mailbox::new(1 << 20);
    let woken = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&woken);
    mailbox.set_waker(move || {
        count.fetch_add(1, Ordering::SeqCst);
    });
    mailbox.post(Mail::Shutdown);
    assert!(!mailbox.may_sleep());
    mailbox.take(&mut Vec::new());
    assert!(mailbox.may_sleep());
    mailbox.post(Mail::Shutdown);
    mailbox.post(Mail::Shutdown);
    assert_eq!(woken.load(Ordering::SeqCst), 1);
}

#[test]
fn all_workers_see_one_order_whoever_publishes() {
    let (hub, now) = (hub(3, 1 << 24, &[]), Instant::now());
    for worker in 0..3 {
        hub.subscribe("c", worker, 0, Start::Fresh, now).unwrap();
    }
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| publish_all(&hub, "c", 500, now));
        }
    });
    for worker in 0..3 {
        assert_eq!(offsets(&hub, worker), (1..=2000).collect::<Vec<u64>>());
    }
}

#[test]
fn an_epoch_is_read_as_it_is_written() {
    let epoch = Epoch(Some(0xAB));
    assert_eq!((epoch.to_string().as_str(), "000000ab".parse()), ("000000ab", Ok(epoch)));
    for text in ["", "ab", "000000AB", "+00000ab", "1000000ab"] {
        assert_eq!(text.parse::<Epoch>(), Err(()), "{text}");
    }
}
