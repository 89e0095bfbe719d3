//! What one connection sent and has not had back. Answers come in order from a server that is well; what is overtaken is waited for a
//! while, then given up. Imports nothing.

use std::{collections::VecDeque, num::NonZeroU64};

/// A message on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outstanding {
    /// When it was to be sent.
    pub intended_ns: u64,
    /// When the kernel had it; `None` while it has not taken all.
    pub handed_ns: Option<NonZeroU64>,
    /// The whole message's.
    pub fingerprint: u64,
}

/// What an answer was.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// To this message.
    To(Outstanding),
    /// To this one, after the answer to a later one.
    Late(Outstanding),
    /// To one that was answered before, or given up.
    Again,
    /// To nobody can tell which; in order, it would be this one.
    Corrupted(Outstanding),
    /// To nothing that was sent.
    Unknown,
}

impl Answer {
    /// Whether a message less is on its way.
    pub fn settles(&self) -> bool {
        matches!(self, Answer::To(_) | Answer::Late(_) | Answer::Corrupted(_))
    }
}

/// The messages of one connection, by sequence number from 0.
#[derive(Debug)]
pub struct Window {
    /// The sequence number of the first entry.
    base: u64,
    /// Those not yet answered, and those answered after one that is not.
    entries: VecDeque<(Outstanding, bool)>,
    /// How many of the entries are answered.
    answered: usize,
    /// One above the highest number answered.
    top: u64,
}

/// Messages that may overtake one before it is given up.
const OVERTAKEN_MAX: usize = 64;

impl Default for Window {
    /// In a closed loop one message is on its way: there is no need to go round a larger ring.
    fn default() -> Window {
        Window { base: 0, entries: VecDeque::with_capacity(1), answered: 0, top: 0 }
    }
}

impl Window {
    /// The sequence number of the next message.
    pub fn next(&self) -> u64 {
        self.base + self.entries.len() as u64
    }

    /// A message was sent.
    pub fn push(&mut self, message: Outstanding) {
        self.entries.push_back((message, false));
    }

    /// The message sent last, of which the kernel has now taken all.
    pub fn handed(&mut self, at_ns: u64) -> Option<Outstanding> {
        let (message, _) = self.entries.back_mut()?;
        message.handed_ns = NonZeroU64::new(at_ns);
        Some(*message)
    }

    /// Whether all that was sent is answered or given up.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The answer to the message with this number came.
    pub fn answer(&mut self, seq: u64) -> Answer {
        let Some(index) = seq.checked_sub(self.base) else { return Answer::Again };
        match self.entries.get_mut(index as usize) {
            None => Answer::Unknown,
            Some((_, true)) => Answer::Again,
            Some((message, answered)) => {
                *answered = true;
                let (message, late) = (*message, seq < self.top);
                self.top = self.top.max(seq + 1);
                self.answered += 1;
                self.shed();
                if late { Answer::Late(message) } else { Answer::To(message) }
            }
        }
    }

    /// An answer came that is what was sent first of all that is unanswered, as nearly all are; `None` if it is not.
    #[inline]
    pub fn answer_first(&mut self, fingerprint: u64) -> Option<Answer> {
        // The first entry is never one that is answered.
        (self.entries.front()?.0.fingerprint == fingerprint).then(|| self.answer(self.base))
    }

    /// An answer came that has no marker: it is to the first unanswered message with this fingerprint.
    pub fn answer_same(&mut self, fingerprint: u64) -> Answer {
        let mut recent = self.entries.iter().take(2 * OVERTAKEN_MAX);
        let index = recent.position(|(message, answered)| !answered && message.fingerprint == fingerprint);
        index.map_or(Answer::Unknown, |index| self.answer(self.base + index as u64))
    }

    /// An answer came that nobody can tell the message of.
    pub fn answer_unknown(&mut self) -> Answer {
        let first = self.entries.iter().position(|(_, answered)| !answered);
        match first.map(|index| self.answer(self.base + index as u64)) {
            Some(Answer::To(message) | Answer::Late(message)) => Answer::Corrupted(message),
            _ => Answer::Unknown,
        }
    }

    /// The first message, if so many have overtaken it that it is given up.
    pub fn give_up(&mut self) -> Option<Outstanding> {
        if self.answered <= OVERTAKEN_MAX {
            return None;
        }
        let (message, _) = self.entries.pop_front()?;
        self.base += 1;
        self.shed();
        Some(message)
    }

    /// What is left unanswered, with whether a later answer came.
    pub fn unanswered(&self) -> impl Iterator<Item = (Outstanding, bool)> {
        let numbered = (self.base..).zip(&self.entries);
        numbered.filter(|(_, (_, answered))| !answered).map(|(seq, (message, _))| (*message, seq < self.top))
    }

    fn shed(&mut self) {
        while let Some((_, true)) = self.entries.front() {
            self.entries.pop_front();
            self.base += 1;
            self.answered -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(fingerprint: u64) -> Outstanding {
        Outstanding { intended_ns: fingerprint * 10, handed_ns: NonZeroU64::new(fingerprint * 10 + 1), fingerprint }
    }

    fn window(messages: u64) -> Window {
        let mut window = Window::default();
        (0..messages).for_each(|seq| window.push(message(seq)));
        window
    }

    #[test]
    fn in_order_late_again_and_unknown() {
        let mut window = window(4);
        assert_eq!(window.answer_first(0), Some(Answer::To(message(0))));
        assert_eq!(window.answer_first(2), None);
        assert_eq!(window.answer(2), Answer::To(message(2)));
        assert_eq!(window.answer(2), Answer::Again);
        assert_eq!(window.answer(1), Answer::Late(message(1)));
        assert_eq!(window.answer(0), Answer::Again);
        assert_eq!(window.answer(4), Answer::Unknown);
        assert_eq!(window.unanswered().collect::<Vec<_>>(), [(message(3), false)]);
        assert_eq!(window.answer(3), Answer::To(message(3)));
        assert!(window.is_empty() && window.next() == 4);
    }

    #[test]
    fn without_markers_the_first_of_that_fingerprint_is_meant() {
        let mut window = window(3);
        window.push(message(1));
        assert_eq!(window.answer_same(1), Answer::To(message(1)));
        assert_eq!(window.answer_same(1), Answer::To(message(1)));
        assert_eq!(window.answer_same(1), Answer::Unknown);
        assert_eq!(window.answer_same(0), Answer::Late(message(0)));
        assert_eq!(window.answer_unknown(), Answer::Corrupted(message(2)));
        assert_eq!(window.answer_unknown(), Answer::Unknown);
        assert!(window.is_empty());
    }

    #[test]
    fn what_many_overtook_is_given_up_and_memory_is_bounded() {
        let mut window = window(2);
        let mut given_up = 0;
        for seq in 2..1_000 {
            window.push(message(seq));
            assert_eq!(window.answer(seq), Answer::To(message(seq)));
            while window.give_up().is_some() {
                given_up += 1;
            }
            assert!(window.entries.len() <= OVERTAKEN_MAX + 2);
        }
        assert_eq!((given_up, window.is_empty()), (2, true));
    }
}
