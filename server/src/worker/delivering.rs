//! What comes from the hub is queued for its subscribers.

use std::{rc::Rc, sync::Arc, time::Instant};

use super::Worker;
use crate::{
    context::Context,
    hub::{Channel, ClientInfo, Form},
    outbox::Shared,
};

impl Worker {
    /// Queues every delivery that is due for its subscribers. Returns when each publication was published.
    pub(super) fn deliver(&mut self) -> Vec<Instant> {
        let mut delivered = Vec::new();
        let Context { subscribers, queue, encoder, metrics, now_ms, .. } = &mut self.context;
        while let Some(mut delivery) = subscribers.next_delivery(*now_ms) {
            let (mut deliveries, mut conflated) = (0, 0);
            for subscriber in subscribers.subscribers(&delivery) {
                let key = subscriber.connection as usize;
                let connection = &mut self.connections[key];
                if subscriber.is_behind() {
                    conflated += delivery.publications.len();
                } else if connection.is_open() {
                    let (queued, subscription) = (&mut connection.queued, subscriber.subscription);
                    deliveries += delivery.to(subscriber, encoder, |shared| queue.shared(queued, shared, subscription));
                    if !std::mem::replace(&mut connection.touched, true) {
                        self.touched.push(key);
                    }
                }
            }
            metrics.deliveries.add(deliveries as u64);
            metrics.conflated.add(conflated as u64);
            subscribers.delivered(&delivery);
            delivered.extend(delivery.publications.iter().map(|publication| publication.published()));
        }
        delivered
    }

    /// Tells the subscribers of a channel that want to know who comes or goes.
    pub(super) fn tell_presence(&mut self, channel: &Arc<Channel>, local: u32, info: &ClientInfo, comes: bool) {
        let Context { subscribers, queue, encoder, .. } = &mut self.context;
        let mut frames: Vec<(Form, Rc<Shared>)> = Vec::new();
        let mut touched = Vec::new();
        subscribers.each(channel, local, |subscriber| {
            let connection = &mut self.connections[subscriber.connection as usize];
            if !subscriber.join_leave || subscriber.is_behind() || !connection.is_open() {
                return;
            }
            let frame = shared_frame(&mut frames, subscriber.form, || subscriber.form.presence(channel, info, comes, encoder));
            queue.shared(&mut connection.queued, frame, subscriber.subscription);
            touched.push(subscriber.connection as usize);
        });
        touched.into_iter().for_each(|key| self.touch(key));
    }

    /// Tells the subscribers of quiet channels that nothing was lost.
    pub(super) fn tell_positions(&mut self) {
        let Context { subscribers, queue, encoder, now, now_ms, .. } = &mut self.context;
        let mut frames: (u64, Vec<(Form, Rc<Shared>)>) = Default::default();
        subscribers.heartbeats(*now, *now_ms, |channel, position, subscriber| {
            let connection = &mut self.connections[subscriber.connection as usize];
            if subscriber.is_behind() || !connection.is_open() {
                return;
            }
            // They come channel by channel.
            if frames.0 != channel.id() {
                frames = (channel.id(), Vec::new());
            }
            let frame = shared_frame(&mut frames.1, subscriber.form, || subscriber.form.position(channel, position, encoder));
            queue.shared(&mut connection.queued, frame, subscriber.subscription);
            if !std::mem::replace(&mut connection.touched, true) {
                self.touched.push(subscriber.connection as usize);
            }
        });
    }
}

/// The frame in a form, of which there are few, made where it is not there.
fn shared_frame(frames: &mut Vec<(Form, Rc<Shared>)>, form: Form, make: impl FnOnce() -> Arc<[u8]>) -> &Rc<Shared> {
    let known = frames.iter().position(|(known, _)| *known == form).unwrap_or_else(|| {
        frames.push((form, Rc::new(Shared::new(make(), u64::MAX, 0))));
        frames.len() - 1
    });
    &frames[known].1
}
