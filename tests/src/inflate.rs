//! A slow and plain inflater (RFC 1951) that also tells how far back the data refers, which libraries do not. Imports nothing.

/// What a compressed message held.
pub struct Inflated {
    /// The message.
    pub bytes: Vec<u8>,
    /// The longest distance of any match: the window its sender needed.
    pub distance_max: usize,
}

/// Inflates one permessage-deflate message that refers to nothing before itself (RFC 7692 §7.2.2).
///
/// # Panics
/// If the data is not valid.
pub fn inflate(payload: &[u8]) -> Inflated {
    let data = [payload, &[0x00, 0x00, 0xFF, 0xFF]].concat();
    let mut bits = Bits { data: &data, at: 0 };
    let mut out = Inflated { bytes: Vec::new(), distance_max: 0 };
    while bits.remain() {
        let last = bits.take(1) == 1;
        match bits.take(2) {
            0 => stored(&mut bits, &mut out),
            1 => {
                let mut lengths = [8; 288];
                lengths[144..256].fill(9);
                lengths[256..280].fill(7);
                compressed(&mut bits, &mut out, &Huffman::new(&lengths), &Huffman::new(&[5; 30]));
            }
            2 => {
                let (literals, distances) = dynamic(&mut bits);
                compressed(&mut bits, &mut out, &literals, &distances);
            }
            reserved => panic!("block type {reserved}"),
        }
        if last {
            break;
        }
    }
    out
}

struct Bits<'a> {
    data: &'a [u8],
    /// In bits.
    at: usize,
}

impl Bits<'_> {
    /// Whether a whole byte is left; fewer bits than that are padding.
    fn remain(&self) -> bool {
        self.at.div_ceil(8) < self.data.len()
    }

    fn take(&mut self, count: u8) -> usize {
        (0..count).fold(0, |value, index| {
            let bit = self.data[self.at / 8] >> (self.at % 8) & 1;
            self.at += 1;
            value | usize::from(bit) << index
        })
    }
}

/// A canonical code: how many symbols there are of each length, and the symbols in order of their codes.
struct Huffman {
    counts: [usize; 16],
    symbols: Vec<usize>,
}

impl Huffman {
    fn new(lengths: &[usize]) -> Self {
        let mut counts = [0; 16];
        for &length in lengths.iter().filter(|&&length| length > 0) {
            counts[length] += 1;
        }
        let mut symbols: Vec<_> = (0..lengths.len()).filter(|&symbol| lengths[symbol] > 0).collect();
        symbols.sort_by_key(|&symbol| lengths[symbol]);
        Self { counts, symbols }
    }

    fn decode(&self, bits: &mut Bits<'_>) -> usize {
        let (mut code, mut first, mut index) = (0, 0, 0);
        for count in &self.counts[1..] {
            code |= bits.take(1);
            if code < first + count {
                return self.symbols[index + code - first];
            }
            index += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        panic!("no such code")
    }
}

fn stored(bits: &mut Bits<'_>, out: &mut Inflated) {
    bits.at = bits.at.next_multiple_of(8);
    let length = bits.take(16);
    assert_eq!(bits.take(16), !length & 0xFFFF, "LEN and NLEN disagree");
    let from = bits.at / 8;
    out.bytes.extend(&bits.data[from..from + length]);
    bits.at += length * 8;
}

fn dynamic(bits: &mut Bits<'_>) -> (Huffman, Huffman) {
    const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
    let (literals, distances, lengths) = (257 + bits.take(5), 1 + bits.take(5), 4 + bits.take(4));
    let mut code_lengths = [0; 19];
    for &symbol in &ORDER[..lengths] {
        code_lengths[symbol] = bits.take(3);
    }
    let code = Huffman::new(&code_lengths);
    let mut lengths = Vec::new();
    while lengths.len() < literals + distances {
        let (value, times) = match code.decode(bits) {
            16 => (*lengths.last().expect("a length to repeat"), 3 + bits.take(2)),
            17 => (0, 3 + bits.take(3)),
            18 => (0, 11 + bits.take(7)),
            length => (length, 1),
        };
        lengths.extend(std::iter::repeat_n(value, times));
    }
    (Huffman::new(&lengths[..literals]), Huffman::new(&lengths[literals..]))
}

fn compressed(bits: &mut Bits<'_>, out: &mut Inflated, literals: &Huffman, distances: &Huffman) {
    loop {
        match literals.decode(bits) {
            literal @ 0..256 => out.bytes.push(literal as u8),
            256 => return,
            symbol => {
                let length = match symbol - 257 {
                    short @ 0..8 => 3 + short,
                    28 => 258,
                    code => 3 + scaled(bits, code, 4),
                };
                let distance = match distances.decode(bits) {
                    short @ 0..4 => 1 + short,
                    code => 1 + scaled(bits, code, 2),
                };
                out.distance_max = out.distance_max.max(distance);
                for _ in 0..length {
                    out.bytes.push(out.bytes[out.bytes.len() - distance]);
                }
            }
        }
    }
}

/// Lengths and distances grow alike: each power of two is cut into `steps` codes, each with the extra bits that fill it.
fn scaled(bits: &mut Bits<'_>, code: usize, steps: usize) -> usize {
    let extra = code / steps - 1;
    ((steps + code % steps) << extra) + bits.take(extra as u8)
}

#[cfg(test)]
mod tests {
    use super::inflate;
    use crate::{Deflater, Random};

    /// RFC 7692 §7.2.3: the same message in one block, stored, and with BFINAL.
    #[test]
    fn the_examples_of_the_rfc() {
        let forms: [&[u8]; 3] = [
            &[0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00],
            &[0x00, 0x05, 0x00, 0xFA, 0xFF, 0x48, 0x65, 0x6C, 0x6C, 0x6F, 0x00],
            &[0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00],
        ];
        for form in forms {
            assert_eq!(inflate(form).bytes, b"Hello");
        }
    }

    #[test]
    fn what_the_deflater_makes_comes_back() {
        let mut random = Random::new(1);
        for alphabet in [1, 2, 20, 256] {
            let message: Vec<u8> = (0..40_000).map(|_| random.below(alphabet) as u8).collect();
            let inflated = inflate(&Deflater::default().message(&message));
            assert_eq!(inflated.bytes, message);
            assert!(inflated.distance_max <= 32_768);
        }
    }
}
