//! Accept values of any number of keys at once, and what is a key at all.

use fantail_codec::accept::{Key, hash};
use fantail_tests::Random;

use crate::failure::show;
use crate::generate::Generate;
use crate::naive_fields::is_key;

pub fn case(random: &mut Random) {
    let count = random.length(140);
    let texts: Vec<String> = (0..count).map(|_| key(random)).collect();
    show("keys", texts.join(" ").as_bytes());
    let keys: Vec<Key> = texts.iter().map(|text| Key::parse(text.as_bytes()).expect("a sound key")).collect();
    let mut next = 0;
    hash(&keys, |at, accept| {
        assert_eq!((at, &accept[..]), (next, fantail_tests::accept(&texts[at]).as_bytes()), "of {count} keys");
        next += 1;
    });
    assert_eq!(next, count);

    let mut text = key(random).into_bytes();
    let at = random.below(24);
    text[at] = random.below(256) as u8;
    if random.one_in(10) {
        random.damage(&mut text);
    }
    show("perhaps a key", &text);
    assert_eq!(Key::parse(&text).is_ok(), is_key(&text));
}

/// A sound key, of any 16 bytes.
pub fn key(random: &mut Random) -> String {
    let nonce = random.bytes(16).try_into().expect("16 bytes");
    Key::from_nonce(nonce).as_str().to_owned()
}
