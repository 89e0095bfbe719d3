//! The delta format of Fossil (its `www/delta_format.wiki`), in which a client of Centrifuge receives a publication as its difference
//! from the one before. Owns the search for what two publications share; `apply` is what a client does. Imports nothing else.
//!
//! A delta is the target's size and LF; then in the order of the target `<bytes>@<offset>,`, a copy out of the base, and
//! `<bytes>:` with that many bytes to insert; last a checksum of the target and `;`. All numbers are unsigned, of 32 bits, in base 64.
//!
//! From one publication to the next, most often a few fields of the same JSON change. So the search takes what both have in common in
//! front and behind, and in between goes on beside the last copy, at about the same distance between base and target. Only where that
//! fails does it index the base, and look up the target in it as LZ77 would.
//!
//! In JSON a delta travels as a string. So no insert begins or ends within a character of a target that is UTF-8; copies are made
//! shorter for that, as the bytes they are cut from do not travel.

use std::iter;

mod apply;

pub use apply::{MalformedDelta, apply};

/// The least that is looked for beside the last copy. Less would hardly pay for the copy and for the head of the insert behind it.
const RUN_BYTES: usize = 10;
/// How much of the target may have changed before the search beside the last copy fails.
const NEAR_BYTES: usize = 32;
/// By how much a changed field may have grown or shrunk.
const SHIFT_BYTES_MAX: usize = 4;
/// A block of the base is found by this many bytes from its start, so that anything of `WINDOW_BYTES + BLOCK_BYTES - 1` bytes is found.
const WINDOW_BYTES: usize = 8;
const BLOCK_BYTES: usize = 4;
/// JSON repeats its keys: of so many blocks with the same hash the one is taken that goes on longest.
const CANDIDATES_MAX: usize = 8;
/// How many copies in a row may be looked for beside the last one before the index is asked. Each uses up one, and each so many bytes
/// that it is long give one back: short ones may be the keys of another row.
const TRUST_MAX: usize = 8;
const TRUST_BYTES: usize = 32;
/// The index of a base of up to 64 KiB is kept, some 128 KiB.
const BLOCKS_KEPT: usize = (64 << 10) / BLOCK_BYTES;
const NO_BLOCK: u32 = u32::MAX;
/// JavaScript clients pass each copy and insert as the arguments of one call, of which JavaScriptCore takes 65,536 and V8 some 120,000.
const PIECE_BYTES_MAX: usize = 32 << 10;

const DIGITS: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~";

/// Makes deltas. The memory of its index is reused; what a large base took is given back.
#[derive(Default)]
pub struct Differ {
    /// By hash: the first block of the base that has it. Empty as long as nothing was looked up.
    heads: Vec<u32>,
    /// By block: the next one of the same hash.
    next: Vec<u32>,
}

impl Differ {
    /// Appends to `out` the delta that makes `target` of `base`. Where that would not be smaller than `target`, it appends nothing and
    /// answers `false`: the caller sends the target.
    #[must_use]
    pub fn delta(&mut self, base: &[u8], target: &[u8], out: &mut Vec<u8>) -> bool {
        let start = out.len();
        // The format has no larger numbers.
        if u32::try_from(base.len().max(target.len())).is_ok() {
            self.write(base, target, out);
        }
        let smaller = (1..target.len()).contains(&(out.len() - start));
        if !smaller {
            out.truncate(start);
        }
        smaller
    }

    fn write(&mut self, base: &[u8], target: &[u8], out: &mut Vec<u8>) {
        let mut writer = Writer::new(target, out);
        let prefix = common_prefix(base, target);
        let suffix = common_suffix(&base[prefix..], &target[prefix..]);
        writer.copy_if_worthwhile(Shared { base_at: 0, target_at: 0, bytes: prefix });

        let middle_end = target.len() - suffix;
        let (mut base_at, mut target_at, mut trust) = (prefix, prefix, TRUST_MAX);
        self.heads.clear();
        while target_at + WINDOW_BYTES <= middle_end {
            let middle = &target[..middle_end];
            let beside = if trust > 0 { beside(base, middle, base_at, target_at) } else { None };
            let (is_beside, shared) = match beside.and_then(|shared| writer.worthwhile(shared)) {
                Some(shared) => (true, shared),
                None => match self.anywhere(base, middle, target_at, &writer) {
                    Some(shared) => (false, shared),
                    None => break,
                },
            };
            writer.copy(shared);
            (base_at, target_at) = (shared.base_at + shared.bytes, shared.target_at + shared.bytes);
            trust = TRUST_MAX.min(if is_beside { trust - 1 } else { 0 } + shared.bytes / TRUST_BYTES);
        }

        writer.copy_if_worthwhile(Shared { base_at: base.len() - suffix, target_at: middle_end, bytes: suffix });
        writer.finish();
        if self.next.capacity() > BLOCKS_KEPT {
            *self = Self::default();
        }
    }

    /// What is worth a copy, first in the target from `from` on, wherever in the base it is.
    fn anywhere(&mut self, base: &[u8], target: &[u8], from: usize, writer: &Writer<'_>) -> Option<Shared> {
        if self.heads.is_empty() {
            self.index(base);
        }
        let mut target_at = from;
        for misses in 0.. {
            let hash = self.hash(target.get(target_at..)?.first_chunk()?);
            let blocks = iter::successors(Some(self.heads[hash]), |&block| self.next.get(block as usize).copied());
            let longest = blocks
                .take_while(|&block| block != NO_BLOCK)
                .take(CANDIDATES_MAX)
                .map(|block| block as usize * BLOCK_BYTES)
                .map(|base_at| (common_prefix(&base[base_at..], &target[target_at..]), base_at))
                .max_by_key(|&(bytes, _)| bytes);
            if let Some((ahead, base_at)) = longest {
                let behind = common_suffix(&base[..base_at], &target[writer.written..target_at]);
                let shared = Shared { base_at: base_at - behind, target_at: target_at - behind, bytes: behind + ahead };
                if let Some(shared) = writer.worthwhile(shared) {
                    return Some(shared);
                }
            }
            // The longer nothing is found, the fewer places are tried.
            target_at += 1 + misses / 64;
        }
        None
    }

    fn index(&mut self, base: &[u8]) {
        let blocks = base.len() / BLOCK_BYTES;
        self.heads.resize(blocks.next_power_of_two().max(2), NO_BLOCK);
        self.next.clear();
        self.next.resize(blocks, NO_BLOCK);
        for block in (0..blocks).rev() {
            if let Some(window) = base[block * BLOCK_BYTES..].first_chunk() {
                let hash = self.hash(window);
                self.next[block] = self.heads[hash];
                self.heads[hash] = block as u32;
            }
        }
    }

    fn hash(&self, window: &[u8; WINDOW_BYTES]) -> usize {
        let mixed = u64::from_le_bytes(*window).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> (64 - self.heads.len().trailing_zeros())) as usize
    }
}

/// Bytes that are the same in the base and in the target.
#[derive(Clone, Copy)]
struct Shared {
    base_at: usize,
    target_at: usize,
    bytes: usize,
}

/// Where base and target run together again behind a changed field: if it kept its size, else if its size changed by little.
fn beside(base: &[u8], target: &[u8], base_at: usize, target_at: usize) -> Option<Shared> {
    let run = |base_at: usize, target_at: usize| {
        let skipped = first_run(base.get(base_at..)?, target.get(target_at..)?)?;
        Some((target_at + skipped, base_at + skipped))
    };
    let (target_at, base_at) = run(base_at, target_at).or_else(|| {
        let shifts = (1..=SHIFT_BYTES_MAX).flat_map(|shift| [run(base_at, target_at + shift), run(base_at + shift, target_at)]);
        shifts.flatten().min()
    })?;
    Some(Shared { base_at, target_at, bytes: common_prefix(&base[base_at..], &target[target_at..]) })
}

/// The first place at which both have the same `RUN_BYTES` bytes.
fn first_run(a: &[u8], b: &[u8]) -> Option<usize> {
    let mut run = 0;
    let mut places = iter::zip(a, b).take(NEAR_BYTES + RUN_BYTES);
    let last = places.position(|(a, b)| {
        run = if a == b { run + 1 } else { 0 };
        run == RUN_BYTES
    })?;
    Some(last + 1 - RUN_BYTES)
}

fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    let (a_chunks, b_chunks) = (a.as_chunks::<16>().0, b.as_chunks::<16>().0);
    let whole = 16 * iter::zip(a_chunks, b_chunks).take_while(|(a, b)| a == b).count();
    whole + iter::zip(&a[whole..], &b[whole..]).take_while(|(a, b)| a == b).count()
}

fn common_suffix(a: &[u8], b: &[u8]) -> usize {
    let (a_chunks, b_chunks) = (a.as_rchunks::<16>().1, b.as_rchunks::<16>().1);
    let whole = 16 * iter::zip(a_chunks.iter().rev(), b_chunks.iter().rev()).take_while(|(a, b)| a == b).count();
    let (a, b) = (&a[..a.len() - whole], &b[..b.len() - whole]);
    whole + iter::zip(a.iter().rev(), b.iter().rev()).take_while(|(a, b)| a == b).count()
}

/// Writes a delta; what lies between two copies becomes an insert.
struct Writer<'a> {
    target: &'a [u8],
    /// How much of the target the delta holds so far.
    written: usize,
    out: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
    fn new(target: &'a [u8], out: &'a mut Vec<u8>) -> Self {
        put_number(out, target.len());
        out.push(b'\n');
        Self { target, written: 0, out }
    }

    /// Cuts off the parts of characters, and answers what is left if a copy of it is shorter than its bytes.
    fn worthwhile(&self, shared: Shared) -> Option<Shared> {
        let end = floor_character(self.target, shared.target_at + shared.bytes);
        let skipped = (shared.target_at..end).take(3).take_while(|&at| !is_boundary(self.target, at)).count();
        let bytes = end.checked_sub(shared.target_at + skipped)?;
        let cut = Shared { base_at: shared.base_at + skipped, target_at: shared.target_at + skipped, bytes };
        // `@`, `,`, and the head of the insert that the copy divides off.
        (bytes > digits(bytes) + digits(cut.base_at) + 4).then_some(cut)
    }

    fn copy_if_worthwhile(&mut self, shared: Shared) {
        if let Some(shared) = self.worthwhile(shared) {
            self.copy(shared);
        }
    }

    fn copy(&mut self, shared: Shared) {
        self.insert_until(shared.target_at);
        let end = shared.base_at + shared.bytes;
        for at in (shared.base_at..end).step_by(PIECE_BYTES_MAX) {
            put_number(self.out, PIECE_BYTES_MAX.min(end - at));
            self.out.push(b'@');
            put_number(self.out, at);
            self.out.push(b',');
        }
        self.written += shared.bytes;
    }

    fn insert_until(&mut self, end: usize) {
        while self.written < end {
            let piece_end =
                if end - self.written > PIECE_BYTES_MAX { floor_character(self.target, self.written + PIECE_BYTES_MAX) } else { end };
            put_number(self.out, piece_end - self.written);
            self.out.push(b':');
            self.out.extend_from_slice(&self.target[self.written..piece_end]);
            self.written = piece_end;
        }
    }

    fn finish(mut self) {
        self.insert_until(self.target.len());
        put_number(self.out, checksum(self.target) as usize);
        self.out.push(b';');
    }
}

/// Whether a character may begin at `at`, or the text end.
fn is_boundary(text: &[u8], at: usize) -> bool {
    text.get(at).is_none_or(|byte| byte & 0xc0 != 0x80)
}

/// The begin of the character that `at` is in. What is no UTF-8 need not be cut anywhere else.
fn floor_character(text: &[u8], at: usize) -> usize {
    (at.saturating_sub(3)..=at).rev().find(|&at| is_boundary(text, at)).unwrap_or(at)
}

fn digits(number: usize) -> usize {
    (usize::BITS - (number | 1).leading_zeros()).div_ceil(6) as usize
}

fn put_number(out: &mut Vec<u8>, number: usize) {
    out.extend((0..digits(number)).rev().map(|digit| DIGITS[number >> (6 * digit) & 63]));
}

/// The sum of the target's big-endian words, the last one filled up with zeros.
fn checksum(target: &[u8]) -> u32 {
    let (words, rest) = target.as_chunks::<4>();
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    words.iter().map(|&word| u32::from_be_bytes(word)).fold(u32::from_be_bytes(last), u32::wrapping_add)
}

#[cfg(test)]
mod tests;
