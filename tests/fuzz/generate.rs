//! What the cases are made of, beside what [`Random`] gives. Imports nothing.

use fantail_tests::Random;

/// Choices, lengths and damage.
pub trait Generate {
    /// True once in so many times.
    fn one_in(&mut self, times: usize) -> bool;
    /// One of these.
    fn pick<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T;
    /// A length up to `max`: mostly small, often beside a power of two or where a frame's header grows.
    fn length(&mut self, max: usize) -> usize;
    /// The lengths of pieces that make up `total`: single bytes, a few large ones, or anything between.
    fn pieces(&mut self, total: usize) -> Vec<usize>;
    /// The text with each letter's case left to chance.
    fn any_case(&mut self, text: &str) -> String;
    /// Characters of one to four bytes.
    fn unicode(&mut self, characters: usize) -> String;
    /// Damages the bytes at a few places: changed, removed, inserted, repeated, cut off.
    fn damage(&mut self, bytes: &mut Vec<u8>);
}

impl Generate for Random {
    fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    fn pick<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        choices[self.below(choices.len())]
    }

    fn length(&mut self, max: usize) -> usize {
        let length = match self.below(8) {
            0..3 => self.below(16),
            3..5 => self.below(150),
            5 => ((1 << self.below(18)) + self.below(3)).saturating_sub(1),
            6 => 124 + self.below(4),
            _ => self.below(max + 1),
        };
        length.min(max)
    }

    fn pieces(&mut self, total: usize) -> Vec<usize> {
        let piece_bytes_max = *self.pick(&[&1, &2, &8, &70, &700, &(total + 1)]);
        self.split(&vec![0; total], piece_bytes_max.max(total / 500 + 1)).into_iter().map(<[u8]>::len).collect()
    }

    fn any_case(&mut self, text: &str) -> String {
        match self.below(4) {
            0 => {
                text.chars().map(|letter| if self.one_in(2) { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() }).collect()
            }
            1 => text.to_ascii_lowercase(),
            _ => text.to_owned(),
        }
    }

    fn unicode(&mut self, characters: usize) -> String {
        let ascii_only = self.one_in(2);
        let mut character = || match if ascii_only { 0 } else { self.below(6) } {
            0..3 => char::from(self.below(128) as u8),
            3 => char::from_u32(self.below(0x800) as u32).unwrap_or('é'),
            4 => char::from_u32(self.below(0x1_0000) as u32).unwrap_or('€'),
            _ => char::from_u32(self.below(0x11_0000) as u32).unwrap_or('😀'),
        };
        (0..characters).map(|_| character()).collect()
    }

    fn damage(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len() + 1);
            let end = (at + self.below(9)).min(bytes.len());
            match self.below(6) {
                0 if at < end => bytes[at] ^= 1 << self.below(8),
                1 if at < end => bytes[at] = self.below(256) as u8,
                2 => drop(bytes.drain(at..end)),
                3 => bytes.insert(at, *self.pick(&[&b'\r', &b'\n', &0, &0xff, &b' ', &b':', &b'\t', &b',', &0x80])),
                4 => {
                    let again = bytes[at..end].to_vec();
                    bytes.splice(at..at, again);
                }
                5 if self.one_in(2) => bytes.truncate(at),
                _ => {}
            }
        }
    }
}
