//! One worker's view of the channels that its connections subscribe to: who they are, and what has arrived for them and is not delivered.

use std::{collections::HashMap, rc::Rc, sync::Arc};

use slab::Slab;

use crate::{
    config::ChannelOptions,
    encode::{Encoder, Encoding},
    hub::{Channel, Hub, HubError, Publication},
    outbox::Shared,
};

/// A connection's place among a channel's subscribers.
#[derive(Debug)]
pub struct Subscription {
    channel: u32,
    position: u32,
    /// The connection is behind: instead of what it missed it gets the latest value when it can be written to again.
    pub behind: bool,
}

/// A subscriber as its channel sees it.
#[derive(Clone, Copy, Debug)]
pub struct Subscriber {
    /// The connection's key.
    pub connection: u32,
    /// How it takes messages.
    pub encoding: Encoding,
    /// It has seen everything up to this offset in its snapshot.
    after: u64,
}

/// A channel with subscribers on this worker.
#[derive(Debug)]
pub struct LocalChannel {
    channel: Arc<Channel>,
    options: ChannelOptions,
    subscribers: Vec<Subscriber>,
    /// What has arrived since the last delivery.
    pending: Vec<Arc<Publication>>,
    /// The last that was delivered.
    latest: Option<Arc<Publication>>,
}

/// All channels with subscribers on this worker.
pub struct Subscribers {
    hub: Arc<Hub>,
    worker: usize,
    channels: Slab<LocalChannel>,
    by_name: HashMap<Box<str>, usize>,
    by_id: HashMap<u64, usize>,
    /// Channels with something pending, and when that is to be delivered.
    waiting: Vec<(u32, usize)>,
}

impl Subscribers {
    /// Nobody subscribes to anything.
    pub fn new(hub: Arc<Hub>, worker: usize) -> Subscribers {
        Subscribers { hub, worker, channels: Slab::new(), by_name: HashMap::new(), by_id: HashMap::new(), waiting: Vec::new() }
    }

    /// Subscribes a connection; also returns the channel's last value, after which it gets every later publication.
    ///
    /// # Errors
    /// [`HubError`]
    pub fn join(
        &mut self,
        name: &str,
        connection: usize,
        encoding: Encoding,
    ) -> Result<(Subscription, Option<Arc<Publication>>), HubError> {
        let known = self.by_name.get(name).and_then(|&at| Some((at, self.channels[at].channel.join(self.worker)?)));
        let (at, snapshot) = match known {
            Some(known) => known,
            None => {
                let (channel, snapshot) = self.hub.subscribe(name, self.worker)?;
                let id = channel.id();
                let at = self.channels.insert(LocalChannel {
                    channel,
                    options: self.hub.options(name),
                    subscribers: Vec::new(),
                    pending: Vec::new(),
                    latest: snapshot.latest.clone(),
                });
                self.by_name.insert(name.into(), at);
                self.by_id.insert(id, at);
                (at, snapshot)
            }
        };
        let subscribers = &mut self.channels[at].subscribers;
        let position = subscribers.len() as u32;
        subscribers.push(Subscriber { connection: connection as u32, encoding, after: snapshot.offset });
        Ok((Subscription { channel: at as u32, position, behind: false }, snapshot.latest))
    }

    /// Ends a subscription. Where another subscriber took its place, returns that one's connection and its new place.
    pub fn leave(&mut self, subscription: &Subscription) -> Option<(usize, u32)> {
        let at = subscription.channel as usize;
        let channel = &mut self.channels[at];
        channel.subscribers.swap_remove(subscription.position as usize);
        let moved = channel.subscribers.get(subscription.position as usize).map(|moved| (moved.connection as usize, subscription.position));
        if channel.subscribers.is_empty() {
            let LocalChannel { channel, pending, .. } = self.channels.remove(at);
            if !pending.is_empty() {
                self.waiting.retain(|&(_, waiting)| waiting != at);
                self.release(&pending);
            }
            self.by_name.remove(channel.name());
            self.by_id.remove(&channel.id());
            self.hub.unsubscribe(&channel, self.worker);
        }
        moved
    }

    /// The channel of a subscription, and what the configuration says of it.
    pub fn channel(&self, subscription: &Subscription) -> (&Arc<Channel>, &ChannelOptions) {
        let channel = &self.channels[subscription.channel as usize];
        (&channel.channel, &channel.options)
    }

    /// The newest publication that is here, for a subscriber that was behind; what it is delivered next follows that one.
    pub fn catch_up(&mut self, subscription: &Subscription) -> Option<Arc<Publication>> {
        let channel = &mut self.channels[subscription.channel as usize];
        let newest = channel.pending.last().or(channel.latest.as_ref())?;
        // Forward past what is pending; or back, where its snapshot was newer than anything that has arrived here.
        channel.subscribers[subscription.position as usize].after = newest.offset();
        Some(Arc::clone(newest))
    }

    /// Takes a publication in. It is delivered at the end of this turn, or at the next multiple of the channel's `flush_ms`, so that channels with
    /// the same wait are delivered together.
    pub fn arrived(&mut self, channel: &Channel, publication: Arc<Publication>, now_ms: u32) {
        // The worker may have left the channel while this was in the mail.
        let Some(&at) = self.by_id.get(&channel.id()) else { return self.release(&[publication]) };
        let channel = &mut self.channels[at];
        if channel.pending.is_empty() {
            let flush_ms = channel.options.flush.as_millis() as u32;
            let due_ms = now_ms.checked_div(flush_ms).map_or(now_ms, |multiple| (multiple + 1).wrapping_mul(flush_ms));
            self.waiting.push((due_ms, at));
        }
        channel.pending.push(publication);
    }

    /// When the next delivery is due.
    pub fn next_due_ms(&self) -> Option<u32> {
        self.waiting.iter().map(|&(due_ms, _)| due_ms).min()
    }

    /// A delivery that is due now.
    pub fn next_delivery(&mut self, now_ms: u32) -> Option<Delivery> {
        let next = self.waiting.iter().position(|&(due_ms, _)| now_ms.wrapping_sub(due_ms) as i32 >= 0)?;
        let (_, at) = self.waiting.swap_remove(next);
        let channel = &mut self.channels[at];
        let publications = std::mem::take(&mut channel.pending);
        channel.latest = publications.last().cloned();
        Some(Delivery { channel: at, publications, frames: Default::default() })
    }

    /// The subscribers that a delivery goes to, by position.
    pub fn subscriber(&self, delivery: &Delivery, position: usize) -> Option<Subscriber> {
        self.channels[delivery.channel].subscribers.get(position).copied()
    }

    /// The delivery is done; its publications no longer count against the mailbox.
    pub fn delivered(&self, delivery: &Delivery) {
        self.release(&delivery.publications);
    }

    fn release(&self, publications: &[Arc<Publication>]) {
        self.hub.mailbox(self.worker).release(publications.iter().map(|publication| publication.bytes()).sum());
    }
}

impl Subscription {
    /// Another subscriber left, and this one took its place.
    pub fn moved(&mut self, position: u32) {
        self.position = position;
    }
}

/// What one channel's subscribers get at once. Made into bytes once for each encoding.
pub struct Delivery {
    channel: usize,
    publications: Vec<Arc<Publication>>,
    frames: [Vec<Rc<Shared>>; Encoding::COUNT],
}

/// Publications up to this size are copied together, so that a subscriber gets a burst as one slice.
const JOINED_BYTES_MAX: usize = 16 << 10;

impl Delivery {
    /// The publications, oldest first.
    pub fn publications(&self) -> &[Arc<Publication>] {
        &self.publications
    }

    /// Hands each piece that this subscriber is to get to `queue`; returns how many publications that was.
    pub fn to(&mut self, subscriber: &Subscriber, encoder: &mut Encoder, mut queue: impl FnMut(&Rc<Shared>)) -> usize {
        let seen = self.publications.partition_point(|publication| publication.offset() <= subscriber.after);
        if seen == 0 {
            self.frames(subscriber.encoding, encoder).iter().for_each(queue);
        } else {
            // It subscribed while these were on their way.
            for publication in &self.publications[seen..] {
                publication.encode(subscriber.encoding, encoder);
                queue(&Rc::new(Shared::Publication(Arc::clone(publication), subscriber.encoding)));
            }
        }
        self.publications.len() - seen
    }

    fn frames(&mut self, encoding: Encoding, encoder: &mut Encoder) -> &[Rc<Shared>] {
        let frames = &mut self.frames[encoding as usize];
        if frames.is_empty() {
            let (mut joined, mut count) = (Vec::new(), 0);
            for publication in &self.publications {
                publication.encode(encoding, encoder);
                let frame = publication.frame(encoding);
                if self.publications.len() > 1 && joined.len() + frame.len() <= JOINED_BYTES_MAX {
                    joined.extend_from_slice(frame);
                    count += 1;
                    continue;
                }
                if !joined.is_empty() {
                    frames.push(Rc::new(Shared::Joined(std::mem::take(&mut count), std::mem::take(&mut joined).into())));
                }
                frames.push(Rc::new(Shared::Publication(Arc::clone(publication), encoding)));
            }
            if !joined.is_empty() {
                frames.push(Rc::new(Shared::Joined(count, joined.into())));
            }
        }
        frames
    }
}

#[cfg(test)]
mod tests {
    use fantail_codec::Kind;

    use super::*;
    use crate::{config, hub::Mail};

    /// Takes what is in the mail.
    fn arrive(subscribers: &mut Subscribers, now_ms: u32) {
        let mut mail = Vec::new();
        subscribers.hub.mailbox(0).take(&mut mail);
        for mail in mail {
            let Mail::Publication(channel, publication) = mail else { panic!("nobody posted a shutdown") };
            subscribers.arrived(&channel, publication, now_ms);
        }
    }

    /// How many publications of the next delivery go to each subscriber.
    fn delivered(subscribers: &mut Subscribers, encoder: &mut Encoder, now_ms: u32) -> Vec<usize> {
        let mut delivery = subscribers.next_delivery(now_ms).unwrap();
        let all: Vec<Subscriber> = (0..).map_while(|position| subscribers.subscriber(&delivery, position)).collect();
        all.iter().map(|subscriber| delivery.to(subscriber, encoder, |_| {})).collect()
    }

    #[test]
    fn who_catches_up_between_deliveries_gets_the_newest_once() {
        let config = config::load(&[("hub.flush_ms", "10")], None, std::iter::empty(), &[]).unwrap();
        let mailbox = Arc::new(crate::hub::Mailbox::new(1 << 20));
        let hub = Arc::new(Hub::new(config.hub.clone(), vec![mailbox]));
        let mut subscribers = Subscribers::new(Arc::clone(&hub), 0);
        let mut encoder = Encoder::new(&config.deflate);
        let publish = || hub.publish("c", Kind::Text, b"x").unwrap().offset;

        publish();
        subscribers.join("c", 0, Encoding::Plain).unwrap();
        publish();
        arrive(&mut subscribers, 0);
        // Its snapshot is pending here, and so is the newest.
        let (second, _) = subscribers.join("c", 1, Encoding::Plain).unwrap();
        assert_eq!(subscribers.catch_up(&second).unwrap().offset(), 2);
        assert_eq!(delivered(&mut subscribers, &mut encoder, 10), [1, 0]);

        publish();
        // Its snapshot is still in the mail, so the newest here is older.
        let (third, snapshot) = subscribers.join("c", 2, Encoding::Plain).unwrap();
        assert_eq!(snapshot.unwrap().offset(), 3);
        assert_eq!(subscribers.catch_up(&third).unwrap().offset(), 2);
        arrive(&mut subscribers, 10);
        assert_eq!(delivered(&mut subscribers, &mut encoder, 20), [1, 1, 1]);
    }
}
