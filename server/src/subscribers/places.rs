//! Where each subscriber is. A subscription's number holds its place here and a serial: the place is another's in time, while frames of
//! the first may still wait; the number is not.

/// See the module.
#[derive(Debug)]
pub struct Places {
    places: Vec<Place>,
    free: Vec<u32>,
    /// Subscriptions so far, modulo 2³².
    serial: u32,
}

/// A feed, and a position in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The feed.
    pub feed: u32,
    /// The position.
    pub position: u32,
}

impl Place {
    const FREE: Place = Place { feed: u32::MAX, position: u32::MAX };
}

impl Places {
    /// No subscriptions, and address space for so many.
    pub fn with_capacity(places: usize) -> Places {
        Places { places: Vec::with_capacity(places), free: Vec::new(), serial: 0 }
    }

    /// A number that no other subscription has for long; the place that goes with it is to be [`set`](Places::set).
    pub fn add(&mut self) -> u64 {
        self.serial = self.serial.wrapping_add(1);
        let at = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place::FREE);
            self.places.len() as u32 - 1
        });
        u64::from(self.serial) << 32 | u64::from(at)
    }

    /// The subscriber is there now.
    pub fn set(&mut self, subscription: u64, place: Place) {
        self.places[subscription as u32 as usize] = place;
    }

    /// Where the subscriber is; where the subscription has ended, none or another's.
    pub fn get(&self, subscription: u64) -> Option<Place> {
        self.places.get(subscription as u32 as usize).copied().filter(|&place| place != Place::FREE)
    }

    /// Ends a subscription; returns where the subscriber was.
    pub fn remove(&mut self, subscription: u64) -> Option<Place> {
        let place = self.get(subscription)?;
        self.set(subscription, Place::FREE);
        self.free.push(subscription as u32);
        Some(place)
    }

    /// How many subscriptions there are.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }
}
