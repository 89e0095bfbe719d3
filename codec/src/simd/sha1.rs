//! SHA-1 (FIPS 180-4 §6.1) of one kind of message: a client's 24-byte key and the GUID of RFC 6455 §1.3, 60 bytes. With its padding it is
//! two blocks of which only the first six words vary.
//!
//! What the other words come to is computed when this is compiled: the second block's whole schedule, and in the first block's the terms
//! that no key touches. [`digests`] has the rounds once for all vectors, a message a lane; CPUs with instructions for SHA-1 have the tables
//! from here.

/// The hash value that a digest begins with.
pub(super) const INITIAL: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];

/// The round constants, each for 20 rounds.
pub(super) const ROUND: [u32; 4] = [0x5a82_7999, 0x6ed9_eba1, 0x8f1b_bcdc, 0xca62_c1d6];

/// Words of the first block that are the key's.
pub(super) const KEY_WORDS: usize = 6;

/// The first block's 16 words, of which the key's are zero.
pub(super) const FIRST: [u32; 16] = {
    let guid = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    let mut words = [0; 16];
    let mut i = 0;
    while i < guid.len() {
        words[KEY_WORDS + i / 4] |= (guid[i] as u32) << (24 - i % 4 * 8);
        i += 1;
    }
    words[15] = 1 << 31;
    words
};

/// The second block's schedule: its 16 words are zero but for the message's length in bits.
pub(super) const SECOND: [u32; 80] = {
    let mut words = [0u32; 80];
    words[15] = 60 * 8;
    let mut t = 16;
    while t < 80 {
        words[t] = (words[t - 3] ^ words[t - 8] ^ words[t - 14] ^ words[t - 16]).rotate_left(1);
        t += 1;
    }
    words
};

/// A schedule's words with their rounds' constants added.
pub(super) const fn with_constants<const N: usize>(mut words: [u32; N]) -> [u32; N] {
    let mut t = 0;
    while t < N {
        words[t] = words[t].wrapping_add(ROUND[t / 20]);
        t += 1;
    }
    words
}

/// A word of each of several messages.
pub(super) trait Lanes: Copy {
    fn splat(word: u32) -> Self;
    fn add(self, other: Self) -> Self;
    fn xor(self, other: Self) -> Self;
    /// Rotates by `LEFT` bits; `RIGHT` is 32 less `LEFT`.
    fn rotate<const LEFT: i32, const RIGHT: i32>(self) -> Self;
    /// The same, of which the compiler does not know how it was made, so that it keeps the order of additions.
    fn opaque(self) -> Self;
    /// The bits of `c` where `b` has a bit, else those of `d`.
    fn choose(b: Self, c: Self, d: Self) -> Self;
    fn parity(b: Self, c: Self, d: Self) -> Self;
    fn majority(b: Self, c: Self, d: Self) -> Self;
}

/// The digests of the messages with these keys, all as big-endian words.
#[inline(always)]
pub(super) fn digests<V: Lanes>(key: [V; KEY_WORDS]) -> [V; 5] {
    let mut words = FIRST.map(V::splat);
    words[..KEY_WORDS].copy_from_slice(&key);
    // Of the schedule the last 16 words are kept. The rounds are all unrolled, so that these stay in registers and what is the same for
    // every key is folded.
    let first = |t: usize| {
        if t >= 16 {
            let [a, b, c, d] = [3, 8, 14, 16].map(|back| words[(t - back) % 16]);
            words[t % 16] = a.xor(b).xor(c).xor(d).rotate::<1, 31>();
        }
        words[t % 16].add(V::splat(ROUND[t / 20]))
    };
    const SCHEDULE: [u32; 80] = with_constants(SECOND);
    block(block(INITIAL.map(V::splat), first), |t| V::splat(SCHEDULE[t]))
}

/// Hashes one block, of which `word` gives the schedule with the round constants added.
#[inline(always)]
fn block<V: Lanes>(before: [V; 5], mut word: impl FnMut(usize) -> V) -> [V; 5] {
    let mut state = before;
    macro_rules! rounds {
        ($function:path: $($first:literal)*) => { $(state = five_rounds::<V, $first>(state, $function, &mut word);)* };
    }
    rounds!(V::choose: 0 5 10 15);
    rounds!(V::parity: 20 25 30 35);
    rounds!(V::majority: 40 45 50 55);
    rounds!(V::parity: 60 65 70 75);
    [0, 1, 2, 3, 4].map(|i| before[i].add(state[i]))
}

#[inline(always)]
fn five_rounds<V: Lanes, const FIRST: usize>(
    mut state: [V; 5],
    function: impl Fn(V, V, V) -> V,
    word: &mut impl FnMut(usize) -> V,
) -> [V; 5] {
    for t in FIRST..FIRST + 5 {
        let [a, b, c, d, e] = state;
        // The rotation of `a` is added last, because `a` is what the round before was slowest to give.
        let early = e.add(word(t)).add(function(b, c, d)).opaque();
        state = [early.add(a.rotate::<5, 27>()), a, b.rotate::<30, 2>(), c, d];
    }
    state
}
