//! Making the target of its base and a delta, as a client does. Nothing in a delta is believed before it is checked. Imports the checksum.

use std::fmt;

use super::checksum;

/// A delta is none, or none for this base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MalformedDelta {
    /// The byte of the delta at which it is wrong, or behind its end.
    pub at: usize,
    /// What belongs there.
    pub expected: &'static str,
}

impl fmt::Display for MalformedDelta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {} of the delta: expected {}", self.at, self.expected)
    }
}

impl std::error::Error for MalformedDelta {}

/// Makes the target of `base` and its delta. The target has at most `target_bytes_max` bytes, and nothing is allocated but that.
pub fn apply(base: &[u8], delta: &[u8], target_bytes_max: usize) -> Result<Vec<u8>, MalformedDelta> {
    let mut reader = Reader { base, delta, at: 0 };
    let target_bytes = reader.number()?;
    if target_bytes > target_bytes_max {
        return Err(MalformedDelta { at: 0, expected: "a size of the target that is accepted here" });
    }
    reader.expect(b'\n', "LF behind the size of the target")?;

    // What a peer declares is not allocated before the rest of the delta bears it out.
    let pieces_at = reader.at;
    let mut left = target_bytes;
    let sum = loop {
        let at = reader.at;
        match reader.piece()? {
            Piece::Bytes(bytes) => {
                left = left.checked_sub(bytes.len()).ok_or(MalformedDelta { at, expected: "no more than the target's size in all" })?;
            }
            Piece::Checksum(_) if left > 0 => return Err(MalformedDelta { at, expected: "as much as the target's size in all" }),
            Piece::Checksum(_) if reader.at < delta.len() => {
                return Err(MalformedDelta { at: reader.at, expected: "nothing behind the checksum" });
            }
            Piece::Checksum(sum) => break (at, sum),
        }
    };

    let mut target = Vec::with_capacity(target_bytes);
    reader.at = pieces_at;
    while let Piece::Bytes(bytes) = reader.piece()? {
        target.extend_from_slice(bytes);
    }
    if checksum(&target) as usize != sum.1 {
        return Err(MalformedDelta { at: sum.0, expected: "the checksum of the target: is this its base?" });
    }
    Ok(target)
}

pub(super) enum Piece<'a> {
    Bytes(&'a [u8]),
    Checksum(usize),
}

pub(super) struct Reader<'a> {
    pub(super) base: &'a [u8],
    pub(super) delta: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn piece(&mut self) -> Result<Piece<'a>, MalformedDelta> {
        let start = self.at;
        let number = self.number()?;
        let operator = self.delta.get(self.at);
        self.at += 1;
        match operator {
            Some(b'@') => {
                let offset = self.number()?;
                self.expect(b',', "`,` behind a copy")?;
                let copied = self.base.get(offset..).and_then(|base| base.get(..number));
                copied.map(Piece::Bytes).ok_or(MalformedDelta { at: start, expected: "a copy of bytes that the base has" })
            }
            Some(b':') => {
                let inserted = self.delta.get(self.at..).and_then(|delta| delta.get(..number));
                let inserted = inserted.ok_or(MalformedDelta { at: start, expected: "an insert of bytes that the delta has" })?;
                self.at += number;
                Ok(Piece::Bytes(inserted))
            }
            Some(b';') => Ok(Piece::Checksum(number)),
            _ => Err(MalformedDelta { at: self.at - 1, expected: "`@`, `:` or `;` behind a number" }),
        }
    }

    pub(super) fn number(&mut self) -> Result<usize, MalformedDelta> {
        let (start, expected) = (self.at, "a number of 32 bits in base 64");
        let mut number = 0u64;
        while let Some(digit) = self.delta.get(self.at).and_then(|&byte| digit(byte)) {
            number = number << 6 | digit;
            if number > u64::from(u32::MAX) {
                return Err(MalformedDelta { at: start, expected });
            }
            self.at += 1;
        }
        if self.at == start { Err(MalformedDelta { at: start, expected }) } else { Ok(number as usize) }
    }

    fn expect(&mut self, byte: u8, expected: &'static str) -> Result<(), MalformedDelta> {
        if self.delta.get(self.at) != Some(&byte) {
            return Err(MalformedDelta { at: self.at, expected });
        }
        self.at += 1;
        Ok(())
    }
}

fn digit(byte: u8) -> Option<u64> {
    Some(u64::from(match byte {
        b'0'..=b'9' => byte - b'0',
        b'A'..=b'Z' => byte - b'A' + 10,
        b'_' => 36,
        b'a'..=b'z' => byte - b'a' + 37,
        b'~' => 63,
        _ => return None,
    }))
}
