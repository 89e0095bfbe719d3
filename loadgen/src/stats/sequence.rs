//! What became of one sender's messages on their way to one receiver: in order, late, twice, never. Imports nothing.

use std::ops::Range;

/// Gaps that are watched at once.
const GAPS_MAX: usize = 32;

/// The sequence numbers that came of one stream. 24 bytes while none is missing; the gaps beside it once one is.
///
/// When a thirty-third gap opens, the oldest is settled: its numbers are lost, and should one come after all, it counts as a duplicate.
#[derive(Clone, Debug)]
pub struct Sequence {
    first: u64,
    /// Above all that came. From `first` to here, all came but those in a gap.
    next: u64,
    gaps: Option<Box<Gaps>>,
}

/// How one message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// After all that came before it, perhaps leaving out some.
    InOrder,
    /// For the first time, but after a later one: reordered.
    Late,
    /// Again.
    Duplicate,
    /// It is from before the stream's first, and not counted.
    Early,
}

#[derive(Clone, Debug, Default)]
struct Gaps {
    /// In order; between two of them something came.
    open: Vec<Range<u64>>,
    /// Numbers in gaps that are settled.
    lost: u64,
}

impl Sequence {
    /// A stream of which nothing came, and nothing below `first` counts.
    pub fn starting_at(first: u64) -> Sequence {
        Sequence { first, next: first, gaps: None }
    }

    /// Takes note of a message.
    #[inline]
    pub fn arrive(&mut self, seq: u64) -> Arrival {
        if seq == self.next {
            self.next += 1;
            return Arrival::InOrder;
        }
        self.arrive_out_of_turn(seq)
    }

    /// How many from the first up to, not including, `end` did not come. Gaps that are settled count whole, so `end` is best at or above all that came.
    pub fn missing(&self, end: u64) -> u64 {
        let at_the_end = end.saturating_sub(self.next);
        let Some(gaps) = &self.gaps else { return at_the_end };
        let open: u64 = gaps.open.iter().map(|gap| gap.end.min(end).saturating_sub(gap.start)).sum();
        at_the_end + open + gaps.lost
    }

    /// How many did not come though a later one did.
    pub fn overtaken(&self) -> u64 {
        self.missing(self.next)
    }

    /// The numbers below `end` that did not come, without those in gaps that are settled.
    pub fn absent(&self, end: u64) -> impl Iterator<Item = u64> + '_ {
        let gaps = self.gaps.iter().flat_map(|gaps| gaps.open.iter().cloned());
        gaps.flatten().filter(move |&seq| seq < end).chain(self.next..end)
    }

    #[cold]
    fn arrive_out_of_turn(&mut self, seq: u64) -> Arrival {
        if seq < self.first {
            return Arrival::Early;
        }
        if seq > self.next {
            self.gaps.get_or_insert_default().open(self.next..seq);
            self.next = seq + 1;
            return Arrival::InOrder;
        }
        if self.gaps.as_mut().is_some_and(|gaps| gaps.fill(seq)) { Arrival::Late } else { Arrival::Duplicate }
    }
}

impl Gaps {
    /// Adds a gap above all others.
    fn open(&mut self, gap: Range<u64>) {
        self.open.push(gap);
        self.settle();
    }

    /// Takes `seq` out of the gap that holds it; `false` where none does.
    fn fill(&mut self, seq: u64) -> bool {
        // The newest first: what is late is mostly late by little.
        let Some(index) = self.open.iter().rposition(|gap| gap.contains(&seq)) else { return false };
        let Range { start, end } = self.open[index];
        let left = [start..seq, seq + 1..end].into_iter().filter(|gap| !gap.is_empty());
        self.open.splice(index..=index, left);
        self.settle();
        true
    }

    fn settle(&mut self) {
        if self.open.len() > GAPS_MAX {
            let oldest = self.open.remove(0);
            self.lost += oldest.end - oldest.start;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::{collection::vec, prelude::*};

    use super::*;

    #[test]
    fn small_while_in_order() {
        assert_eq!(size_of::<Sequence>(), 24);
    }

    #[test]
    fn each_kind_of_arrival() {
        let mut stream = Sequence::starting_at(10);
        let arrivals = [10, 11, 14, 12, 12, 9, 11, 15].map(|seq| stream.arrive(seq));
        use Arrival::{Duplicate, Early, InOrder, Late};
        assert_eq!(arrivals, [InOrder, InOrder, InOrder, Late, Duplicate, Early, Duplicate, InOrder]);
        assert_eq!((stream.missing(10), stream.missing(13), stream.missing(14), stream.missing(16), stream.missing(20)), (0, 0, 1, 1, 5));
    }

    #[test]
    fn the_oldest_gap_is_settled_as_lost() {
        let mut stream = Sequence::starting_at(0);
        // One gap of two numbers, then as many of one as are watched.
        stream.arrive(2);
        (0..GAPS_MAX as u64).for_each(|index| assert_eq!(stream.arrive(4 + 2 * index), Arrival::InOrder));
        let end = 5 + 2 * (GAPS_MAX as u64 - 1);
        assert_eq!(stream.missing(end), 2 + GAPS_MAX as u64);
        assert_eq!(stream.arrive(0), Arrival::Duplicate);
        assert_eq!(stream.arrive(3), Arrival::Late);
        assert_eq!(stream.missing(end), 1 + GAPS_MAX as u64);
    }

    /// The same by a set of all that is missing.
    #[derive(Default)]
    struct Naive {
        next: u64,
        missing: BTreeSet<u64>,
        lost: u64,
    }

    impl Naive {
        fn arrive(&mut self, seq: u64) -> Arrival {
            let arrival = if seq >= self.next {
                self.missing.extend(self.next..seq);
                self.next = seq + 1;
                Arrival::InOrder
            } else if self.missing.remove(&seq) {
                Arrival::Late
            } else {
                Arrival::Duplicate
            };
            let starts = self.missing.iter().filter(|&&seq| seq == 0 || !self.missing.contains(&(seq - 1))).copied().collect::<Vec<_>>();
            if starts.len() > GAPS_MAX {
                let kept = self.missing.split_off(&starts[1]);
                self.lost += self.missing.len() as u64;
                self.missing = kept;
            }
            arrival
        }
    }

    proptest! {
        #[test]
        fn as_a_set_would_tell(
            drops in vec(prop::bool::weighted(0.2), 300), duplicates in vec((0..300usize, 0..300usize), 0..20), swaps in vec((0..300usize, 0..80usize), 0..60), extra in 0..5u64,
        ) {
            let mut stream: Vec<u64> = (0..300).filter(|&seq| !drops[seq as usize]).collect();
            for (from, to) in duplicates {
                stream.insert(to % stream.len(), stream[from % stream.len()]);
            }
            for (place, far) in swaps {
                let length = stream.len();
                stream.swap(place % length, (place + far) % length);
            }
            let (mut sequence, mut naive) = (Sequence::starting_at(0), Naive::default());
            for seq in stream {
                prop_assert_eq!(sequence.arrive(seq), naive.arrive(seq), "{}", seq);
                prop_assert_eq!(sequence.missing(naive.next + extra), naive.missing.len() as u64 + naive.lost + extra);
                prop_assert_eq!(sequence.overtaken(), naive.missing.len() as u64 + naive.lost);
                prop_assert!(sequence.absent(naive.next).eq(naive.missing.iter().copied()));
            }
        }
    }
}
