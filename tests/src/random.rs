//! A seeded source of numbers (SplitMix64), so that a test that fails fails again. Imports nothing.

/// A reproducible sequence of numbers.
pub struct Random(u64);

impl Random {
    /// The sequence that belongs to `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number in `0..bound`; `bound` is small, so the bias of the remainder does not matter.
    pub fn below(&mut self, bound: usize) -> usize {
        self.next() as usize % bound
    }

    /// So many bytes of any value.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend(self.next().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }

    /// So many bytes of ASCII that can be read.
    pub fn text(&mut self, length: usize) -> Vec<u8> {
        let mut text = self.bytes(length);
        text.iter_mut().for_each(|byte| *byte = b'0' + (*byte & 0x3F));
        text
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Cuts `bytes` into pieces of 1 to `piece_bytes_max` bytes.
    pub fn split<'a>(&mut self, mut bytes: &'a [u8], piece_bytes_max: usize) -> Vec<&'a [u8]> {
        let mut pieces = Vec::new();
        while !bytes.is_empty() {
            let (piece, rest) = bytes.split_at((1 + self.below(piece_bytes_max)).min(bytes.len()));
            pieces.push(piece);
            bytes = rest;
        }
        pieces
    }
}
