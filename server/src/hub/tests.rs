use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use super::*;

fn hub(workers: usize, channels_max: usize, mailbox_bytes_max: usize) -> Hub {
    let defaults = ChannelOptions { flush: Duration::ZERO, client_publish: false };
    let mailboxes = (0..workers).map(|_| Arc::new(Mailbox::new(mailbox_bytes_max))).collect();
    Hub::new(HubConfig { channels_max, defaults, namespaces: Default::default() }, mailboxes)
}

/// Offsets of the publications in a worker's mailbox.
fn offsets(hub: &Hub, worker: usize) -> Vec<u64> {
    let mut mail = Vec::new();
    hub.mailboxes[worker].take(&mut mail);
    mail.iter()
        .map(|mail| match mail {
            Mail::Publication(_, publication) => publication.offset(),
            Mail::Shutdown => panic!("nobody posted a shutdown"),
        })
        .collect()
}

#[test]
fn the_snapshot_then_every_later_publication() {
    let hub = hub(2, 10, 1 << 20);
    let first = hub.publish("c", Kind::Text, b"1").unwrap();
    let (channel, snapshot) = hub.subscribe("c", 1).unwrap();
    assert_eq!((snapshot.offset, snapshot.latest.unwrap().payload()), (1, &b"1"[..]));
    assert_eq!(hub.publish("c", Kind::Text, b"2").unwrap(), Position { offset: 2, epoch: first.epoch });
    assert_eq!((offsets(&hub, 0), offsets(&hub, 1)), (vec![], vec![2]));
    hub.unsubscribe(&channel, 1);
    hub.publish("c", Kind::Text, b"3").unwrap();
    assert!(offsets(&hub, 1).is_empty());
}

#[test]
fn a_channel_without_use_is_forgotten_and_begins_a_new_epoch() {
    let hub = hub(1, 1, 1 << 20);
    let (unused, _) = hub.subscribe("a", 0).unwrap();
    assert_eq!(hub.subscribe("b", 0).map(|_| ()), Err(HubError::Channels));
    hub.unsubscribe(&unused, 0);
    assert_eq!(hub.channel_count(), 0);
    assert!(unused.join(0).is_none(), "a late subscriber must look for the channel anew");
    let (again, _) = hub.subscribe("a", 0).unwrap();
    assert_ne!(again.id(), unused.id());
    hub.publish("a", Kind::Text, b"x").unwrap();
    hub.unsubscribe(&again, 0);
    assert_eq!(hub.channel_count(), 1, "it has a last value now");
}

#[test]
fn bad_names_and_full_mailboxes() {
    let hub = hub(1, 10, 1000);
    assert_eq!(hub.publish("", Kind::Text, b""), Err(HubError::Name));
    assert_eq!(hub.publish(&"x".repeat(256), Kind::Text, b""), Err(HubError::Name));
    hub.subscribe("c", 0).unwrap();
    hub.publish("c", Kind::Binary, &[0; 1000]).unwrap();
    assert_eq!(hub.publish("c", Kind::Binary, b"x"), Err(HubError::Overloaded));
    let mut mail = Vec::new();
    hub.mailbox(0).take(&mut mail);
    let [Mail::Publication(_, publication)] = mail.as_slice() else { panic!("{mail:?}") };
    assert_eq!(hub.publish("c", Kind::Binary, b"x"), Err(HubError::Overloaded), "taken is not yet delivered");
    hub.mailbox(0).release(publication.bytes());
    assert_eq!(hub.publish("c", Kind::Binary, b"x").unwrap().offset, 2, "a refused publication uses no offset");
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
    let hub = hub(3, 10, 1 << 24);
    for worker in 0..3 {
        hub.subscribe("c", worker).unwrap();
    }
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..500).for_each(|_| assert!(hub.publish("c", Kind::Text, b"x").is_ok())));
        }
    });
    for worker in 0..3 {
        assert_eq!(offsets(&hub, worker), (1..=2000).collect::<Vec<u64>>());
    }
}
