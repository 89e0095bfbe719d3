//! What is sent, and how it is recognised when it comes back: markers, the filler after them, templates around them. Owns the search for a marker in
//! a message. Imports no other room.

mod marker;
mod template;

use std::sync::Arc;

use memchr::memmem::Finder;

use self::marker::{ALPHABET, MAGIC, RUN_BITS, mix};
pub use self::{
    marker::{MARKER_BYTES, Marker},
    template::{Template, Values},
};

/// Messages differ in where their filler begins in the pool: this many places. A power of two.
const FILLER_PLACES: usize = 4096;

/// What a message is compared by. Any change within one of its words of eight bytes shows; other changes go unseen once in 2⁶⁴ times.
#[inline]
pub fn fingerprint(message: &[u8]) -> u64 {
    // A bijection of the state, whatever the word, and of the word, whatever the state: states that differ once differ for ever.
    let step = |state: u64, word: u64| (state.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    // Four at a time, since each step has to wait for the one before it.
    let mut lanes = [0; 4];
    let (blocks, rest) = message.as_chunks::<32>();
    for block in blocks {
        let (words, _) = block.as_chunks();
        lanes.iter_mut().zip(words).for_each(|(lane, word)| *lane = step(*lane, u64::from_le_bytes(*word)));
    }
    let (words, rest) = rest.as_chunks();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let words = words.iter().chain([&last]).map(|word| u64::from_le_bytes(*word));
    lanes.into_iter().chain(words).fold(message.len() as u64, step)
}

/// A run's payloads: writes them ([`Payloads::write`]) and knows them again ([`Payloads::find`]). A clone shares the filler.
///
/// A payload is a marker and, up to its size, filler: characters that the seed, the sender and the sequence number decide, so that a byte that changed on
/// the way shows.
#[derive(Clone)]
pub struct Payloads {
    run: u32,
    payload_bytes: usize,
    /// Whether messages hold a marker.
    marked: bool,
    /// Bytes of filler after each marker, zero where the message is not known to hold whole payloads.
    filler_bytes: usize,
    pool: Arc<[u8]>,
    /// The magic and the run's id, together and apart.
    prefix: Finder<'static>,
    magic: Finder<'static>,
    run_id: Finder<'static>,
}

/// What a message holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// One of this run's markers and, where `${payload}` is sent, all of its filler.
    Marker(Marker),
    /// A marker that is cut off or damaged, or whose filler is.
    Corrupted,
    /// No marker of this run.
    None,
}

impl Payloads {
    /// The payloads of one run. `run` tells this run's markers from those of others on the same channel: of it the low 24 bits count. `seed` decides the
    /// filler, `message` what [`Payloads::find`] expects: with `${payload}` in it, every marker is followed by filler up to `payload_bytes`.
    pub fn new(run: u32, seed: u64, payload_bytes: usize, message: &Template) -> Payloads {
        let run = run & ((1 << RUN_BITS) - 1);
        let mut rng = fastrand::Rng::with_seed(seed);
        let pool = (0..FILLER_PLACES + payload_bytes).map(|_| ALPHABET[rng.usize(..ALPHABET.len())]).collect();
        let marker = Marker::default().encode(run);
        let (magic, run_id) = marker[..2 * MAGIC.len()].split_at(MAGIC.len());
        Payloads {
            run,
            payload_bytes,
            marked: message.has_marker() && (payload_bytes >= MARKER_BYTES || !message.has_payload()),
            filler_bytes: if message.has_payload() { payload_bytes.saturating_sub(MARKER_BYTES) } else { 0 },
            pool,
            prefix: Finder::new(&marker[..2 * MAGIC.len()]).into_owned(),
            magic: Finder::new(magic).into_owned(),
            run_id: Finder::new(run_id).into_owned(),
        }
    }

    /// Whether the run's messages hold a marker: not those of a literal template, nor payloads below [`MARKER_BYTES`].
    pub fn marked(&self) -> bool {
        self.marked
    }

    /// Appends `${payload}`: the marker and filler, or below [`MARKER_BYTES`] filler alone.
    #[inline]
    pub fn write(&self, marker: &Marker, out: &mut Vec<u8>) {
        if self.payload_bytes >= MARKER_BYTES {
            self.write_marker(marker, out);
        }
        let filler_bytes = self.payload_bytes.checked_sub(MARKER_BYTES).unwrap_or(self.payload_bytes);
        out.extend_from_slice(self.filler(marker.sender, marker.seq, filler_bytes));
    }

    /// Appends `${marker}`.
    #[inline]
    pub fn write_marker(&self, marker: &Marker, out: &mut Vec<u8>) {
        out.extend_from_slice(&marker.encode(self.run));
    }

    /// The first marker in `message`, wherever it stands.
    #[inline]
    pub fn find(&self, message: &[u8]) -> Found {
        self.find_next(message, &mut 0)
    }

    /// The first marker at or after `at`, which moves past it; after the last one, [`Found::None`]. For servers that put several publications into one
    /// message.
    #[inline]
    pub fn find_next(&self, message: &[u8], at: &mut usize) -> Found {
        let rest = message.get(*at..).unwrap_or_default();
        if !self.marked || rest.is_empty() {
            return Found::None;
        }
        // Most servers send what they got as it came.
        let place = if rest.starts_with(self.prefix.needle()) { Some(0) } else { self.prefix.find(rest) };
        let Some(place) = place else {
            *at = message.len();
            return if self.holds_damaged_prefix(rest) { Found::Corrupted } else { Found::None };
        };
        // Past no more than the prefix where the rest is damaged: the next marker may stand where this one's filler should.
        *at += place + self.prefix.needle().len();
        let Some(marker) = self.whole(&rest[place..]) else { return Found::Corrupted };
        *at += MARKER_BYTES - self.prefix.needle().len() + self.filler_bytes;
        Found::Marker(marker)
    }

    /// The marker at the start of `bytes`, if it is right and so is its filler.
    #[inline]
    fn whole(&self, bytes: &[u8]) -> Option<Marker> {
        let (marker, rest) = bytes.split_first_chunk()?;
        let (_, marker) = Marker::decode(marker)?;
        rest.starts_with(self.filler(marker.sender, marker.seq, self.filler_bytes)).then_some(marker)
    }

    /// Whether one half of a prefix of ours stands in a message that does not hold the whole. After the magic, a right checksum tells another run's
    /// marker; after the run's id, it tells ours from four characters that happen to be the same.
    #[cold]
    fn holds_damaged_prefix(&self, message: &[u8]) -> bool {
        let is_marker = |place: usize| message[place..].first_chunk().and_then(Marker::decode).is_some();
        self.magic.find_iter(message).any(|place| !is_marker(place))
            || self.run_id.find_iter(message).any(|place| place.checked_sub(MAGIC.len()).is_some_and(is_marker))
    }

    #[inline]
    fn filler(&self, sender: u32, seq: u64, bytes: usize) -> &[u8] {
        let place = mix(u64::from(sender) << 36 ^ seq) as usize % FILLER_PLACES;
        &self.pool[place..place + bytes]
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const MARKER: Marker = Marker { sender: 7, seq: 12_345, intended_ns: 987_654_321 };

    fn payloads(payload_bytes: usize) -> Payloads {
        Payloads::new(1, 42, payload_bytes, &Template::parse("${payload}").unwrap())
    }

    fn written(payloads: &Payloads) -> Vec<u8> {
        let mut message = Vec::new();
        payloads.write(&MARKER, &mut message);
        message
    }

    #[test]
    fn a_payload_has_its_size() {
        for payload_bytes in [0, 1, 31, 32, 33, 64, 100_000] {
            let message = written(&payloads(payload_bytes));
            assert_eq!(message.len(), payload_bytes);
            assert!(message.iter().all(|byte| ALPHABET.contains(byte)));
        }
    }

    #[test]
    fn the_seed_decides_the_filler_and_the_run_the_marker() {
        let template = Template::parse("${payload}").unwrap();
        let [one, other_run, other_seed] = [(1, 42), (2, 42), (1, 43)].map(|(run, seed)| written(&Payloads::new(run, seed, 64, &template)));
        assert_eq!(one[MARKER_BYTES..], other_run[MARKER_BYTES..]);
        assert_ne!(one[..MARKER_BYTES], other_run[..MARKER_BYTES]);
        assert_eq!(one[..MARKER_BYTES], other_seed[..MARKER_BYTES]);
        assert_ne!(one[MARKER_BYTES..], other_seed[MARKER_BYTES..]);
    }

    #[test]
    fn found_at_every_offset_and_in_json() {
        let payloads = payloads(64);
        let payload = written(&payloads);
        for offset in 0..300 {
            let message = [&vec![b' '; offset][..], &payload, b"\"}"].concat();
            assert_eq!(payloads.find(&message), Found::Marker(MARKER), "at {offset}");
        }
        let json = serde_json::json!({ "push": { "channel": "FnT", "pub": { "data": { "text": String::from_utf8(payload).unwrap() }, "offset": 3 } } });
        assert_eq!(payloads.find(json.to_string().as_bytes()), Found::Marker(MARKER));
    }

    #[test]
    fn messages_without_a_marker_hold_none() {
        for message in ["", "F", "FnT", "{\"connect\":{\"client\":\"5e0e5a3c-0f0b-4d8e-a1c4-8f1f6c2f9d11\"}}"] {
            assert_eq!(payloads(64).find(message.as_bytes()), Found::None, "{message}");
        }
        let literal = Payloads::new(1, 42, 64, &Template::literal("ping"));
        assert!(!literal.marked());
        assert_eq!(literal.find(&written(&literal)), Found::None);
    }

    #[test]
    fn a_cut_payload_is_corrupted() {
        let payloads = payloads(64);
        let payload = written(&payloads);
        for length in MAGIC.len()..payload.len() {
            assert_eq!(payloads.find(&payload[..length]), Found::Corrupted, "{length} bytes of it");
        }
    }

    #[test]
    fn a_marker_alone_needs_nothing_after_it() {
        let payloads = Payloads::new(1, 42, 64, &Template::parse("{\"id\":\"${marker}\"}").unwrap());
        let mut message = b"{\"id\":\"".to_vec();
        payloads.write_marker(&MARKER, &mut message);
        assert_eq!(payloads.find(&message), Found::Marker(MARKER));
        assert_eq!(payloads.find(&message[..message.len() - 1]), Found::Corrupted);
    }

    #[test]
    fn another_run_s_marker_is_none_of_ours() {
        let template = Template::parse("${payload}").unwrap();
        let (ours, theirs) = (payloads(64), Payloads::new(2, 42, 64, &template));
        let mut message = written(&theirs);
        assert_eq!(ours.find(&message), Found::None);
        message.extend(written(&ours));
        assert_eq!(ours.find(&message), Found::Marker(MARKER));
    }

    #[test]
    fn several_in_one_message() {
        let payloads = payloads(40);
        let mut message = Vec::new();
        for seq in 0..4 {
            payloads.write(&Marker { seq, ..MARKER }, &mut message);
            message.push(b'\n');
        }
        // The second is cut off in its filler, the last one's filler is damaged.
        message.drain(41 + 35..41 + 41);
        *message.iter_mut().nth_back(1).unwrap() = b'.';
        let mut at = 0;
        let found: Vec<Found> =
            std::iter::from_fn(|| Some(payloads.find_next(&message, &mut at)).filter(|found| *found != Found::None)).collect();
        let marker = |seq| Found::Marker(Marker { seq, ..MARKER });
        assert_eq!(found, [marker(0), Found::Corrupted, marker(2), Found::Corrupted]);
    }

    #[test]
    fn short_payloads_are_filler_alone() {
        let payloads = payloads(31);
        assert!(!payloads.marked());
        let payload = written(&payloads);
        assert_eq!((payload.len(), payloads.find(&payload)), (31, Found::None));
    }

    proptest! {
        #[test]
        fn a_change_within_a_word_changes_the_fingerprint(message in vec(any::<u8>(), 1..200), place in 0..200usize, changes: [u8; 8]) {
            let mut changed = message.clone();
            let start = place % message.len() / 8 * 8;
            changed[start..].iter_mut().zip(changes).for_each(|(byte, change)| *byte ^= change);
            prop_assert_eq!(fingerprint(&changed) == fingerprint(&message), changed == message);
            prop_assert_ne!(fingerprint(&message), fingerprint(&[&message[..], &[0]].concat()));
        }

        #[test]
        fn any_one_wrong_byte_is_corruption(run: u32, sender in 0..1u32 << 24, seq in 0..1u64 << 36, wrapped: bool, place in 0..200usize, wrong: u8) {
            let payloads = Payloads::new(run, 42, 200, &Template::parse("${payload}").unwrap());
            let mut message = if wrapped { b"{\"text\":\"".to_vec() } else { Vec::new() };
            let start = message.len();
            payloads.write(&Marker { sender, seq, intended_ns: 5 }, &mut message);
            prop_assume!(message[start + place] != wrong);
            message[start + place] = wrong;
            prop_assert_eq!(payloads.find(&message), Found::Corrupted);
        }

        #[test]
        fn no_message_makes_it_panic(message: Vec<u8>, cut in 0..100usize) {
            let payloads = payloads(64);
            let mixed = [&message[..], &written(&payloads)[cut.min(64)..], &message].concat();
            let mut at = 0;
            while payloads.find_next(&mixed, &mut at) != Found::None {}
            prop_assert!(at <= mixed.len());
        }
    }
}
