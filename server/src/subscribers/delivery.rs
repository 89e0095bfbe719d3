//! What a feed's subscribers get at once, made into bytes once for each form.

use std::{rc::Rc, sync::Arc};

use crate::{
    encode::Encoder,
    hub::{Channel, Form, Publication},
    outbox::Shared,
    subscribers::feed::{Next, Subscriber},
};

/// What one feed's subscribers get at once.
pub struct Delivery {
    /// The feed.
    pub feed: u32,
    /// Its channel.
    pub channel: Arc<Channel>,
    /// The publications, oldest first.
    pub publications: Vec<Arc<Publication>>,
    /// They count against the mailbox until they are delivered.
    pub counts: bool,
    /// What was delivered before them.
    pub base: Option<Arc<Publication>>,
    frames: Vec<Frames>,
}

/// All publications of a delivery in a form.
struct Frames {
    form: Form,
    /// The first may be a delta.
    has_base: bool,
    pieces: Rc<[Rc<Shared>]>,
}

/// Publications up to this size are copied together, so that a subscriber gets a burst as one slice.
const JOINED_BYTES_MAX: usize = 16 << 10;

impl Delivery {
    /// Publications of a channel that follow `base`.
    pub fn new(
        feed: u32,
        channel: Arc<Channel>,
        publications: Vec<Arc<Publication>>,
        base: Option<Arc<Publication>>,
        counts: bool,
    ) -> Delivery {
        Delivery { feed, channel, publications, counts, base, frames: Vec::new() }
    }

    /// Hands each piece that this subscriber is to get to `queue`; returns how many publications that was. From then on the subscriber has them.
    pub fn to(&mut self, subscriber: &mut Subscriber, encoder: &mut Encoder, mut queue: impl FnMut(&Rc<Shared>)) -> usize {
        let seen = self.publications.partition_point(|publication| publication.offset() <= subscriber.after);
        let count = self.publications.len() - seen;
        let Some(last) = self.publications.last().filter(|_| count > 0) else { return 0 };
        let last = last.offset();
        let before = if seen == 0 { self.base.as_ref() } else { self.publications.get(seen - 1) };
        let has_base = subscriber.next == Next::Delta
            && subscriber.form.takes_deltas()
            && before.is_some_and(|base| base.offset() == subscriber.after);
        if seen == 0 {
            self.frames(subscriber.form, has_base, encoder).iter().for_each(queue);
        } else {
            // It subscribed, or caught up, while these were on their way.
            self.join(seen, subscriber.form, has_base, encoder).iter().for_each(&mut queue);
        }
        subscriber.has_seen(last, true);
        count
    }

    fn frames(&mut self, form: Form, has_base: bool, encoder: &mut Encoder) -> Rc<[Rc<Shared>]> {
        if let Some(known) = self.frames.iter().find(|known| (known.form, known.has_base) == (form, has_base)) {
            return Rc::clone(&known.pieces);
        }
        let pieces: Rc<[_]> = self.join(0, form, has_base, encoder).into();
        self.frames.push(Frames { form, has_base, pieces: Rc::clone(&pieces) });
        pieces
    }

    /// The frames from this publication on, small ones joined.
    fn join(&self, from: usize, form: Form, has_base: bool, encoder: &mut Encoder) -> Vec<Rc<Shared>> {
        let mut base = if from == 0 { self.base.as_deref() } else { Some(&*self.publications[from - 1]) }.filter(|_| has_base);
        let publications = &self.publications[from..];
        let mut pieces = Vec::new();
        let (mut joined, mut first, mut count) = (Vec::new(), 0, 0);
        for publication in publications {
            let frame = publication.frame(&self.channel, form, base, encoder);
            base = Some(&**publication).filter(|_| form.takes_deltas());
            if publications.len() > 1 && joined.len() + frame.len() <= JOINED_BYTES_MAX {
                first = if count == 0 { publication.offset() } else { first };
                joined.extend_from_slice(&frame);
                count += 1;
                continue;
            }
            if !joined.is_empty() {
                pieces.push(Rc::new(Shared::new(std::mem::take(&mut joined).into(), first, std::mem::take(&mut count))));
            }
            pieces.push(Rc::new(Shared::new(frame, publication.offset(), 1)));
        }
        if !joined.is_empty() {
            pieces.push(Rc::new(Shared::new(joined.into(), first, count)));
        }
        pieces
    }
}
