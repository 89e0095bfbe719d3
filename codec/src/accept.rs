//! `Sec-WebSocket-Accept`, RFC 6455 §4.2.2: base64 of SHA-1 of the client's key and a GUID. Many keys at once, because the handshakes of
//! one turn are hashed together. Imports `simd` and `error`.

use crate::{error::PeerError, simd};

/// A client's `Sec-WebSocket-Key`: 24 characters that are the base64 of 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
// Copied as three words, right after it was written as such.
#[repr(align(8))]
pub struct Key([u8; 24]);

/// The 28 characters of a `Sec-WebSocket-Accept` value.
pub type Accept = [u8; ACCEPT_BYTES];

/// Characters of an accept value: the base64 of 20 bytes.
pub const ACCEPT_BYTES: usize = 28;

impl Key {
    /// The key that a client makes of 16 random bytes, RFC 6455 §4.1.
    pub fn from_nonce(nonce: [u8; 16]) -> Key {
        let mut key = [0; 24];
        let _ = base64_simd::STANDARD.encode(&nonce, base64_simd::Out::from_slice(&mut key));
        Key(key)
    }

    /// The characters of the key.
    pub fn as_str(&self) -> &str {
        // Base64 is ASCII.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The key in a field value, without white space around it.
    ///
    /// # Errors
    /// [`PeerError::Key`] where it is not the base64 of 16 bytes.
    #[inline(always)]
    pub fn parse(value: &[u8]) -> Result<Key, PeerError> {
        let key: &[u8; 24] = value.try_into().map_err(|_| PeerError::Key)?;
        let (digits, padding) = key.split_at(22);
        // The digits as two vectors that overlap, which a compiler makes of this.
        let wrong: [bool; 16] = std::array::from_fn(|i| !is_digit(key[i]) | !is_digit(key[i + 6]));
        let all = wrong == [false; 16];
        // 16 bytes are 21 digits and two bits; the other four of the last are zero.
        let ends = matches!(digits[21], b'A' | b'Q' | b'g' | b'w') && padding == b"==";
        if all && ends { Ok(Key(*key)) } else { Err(PeerError::Key) }
    }
}

/// Whether base64 has this digit, RFC 4648 §4; without a branch.
#[inline(always)]
fn is_digit(byte: u8) -> bool {
    // The digits begin behind the slash.
    ((byte | 0x20).wrapping_sub(b'a') < 26) | (byte.wrapping_sub(b'/') < 11) | (byte == b'+')
}

/// How many keys are hashed before their accept values are written: what the widest vector takes. More would only be more bytes to clear,
/// which for one key costs as much as the hash.
const BATCH: usize = 16;

/// The accept value of each key, handed to `write` with the key's index, in order.
pub fn hash(keys: &[Key], mut write: impl FnMut(usize, &Accept)) {
    for (batch, keys) in keys.chunks(BATCH).enumerate() {
        let mut texts = [[0; 24]; BATCH];
        for (text, key) in texts.iter_mut().zip(keys) {
            *text = key.0;
        }
        let mut accepts = [[0; ACCEPT_BYTES]; BATCH];
        (simd::kernels().accept)(&texts[..keys.len()], &mut accepts[..keys.len()]);
        for (i, accept) in accepts[..keys.len()].iter().enumerate() {
            write(batch * BATCH + i, accept);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(keys: &[&str]) -> Vec<String> {
        let keys: Vec<Key> = keys.iter().map(|key| Key::parse(key.as_bytes()).unwrap()).collect();
        let mut accepts = Vec::new();
        hash(&keys, |i, accept| {
            assert_eq!(i, accepts.len());
            accepts.push(String::from_utf8(accept.to_vec()).unwrap());
        });
        accepts
    }

    #[test]
    fn the_rfc_s_example_and_another() {
        let expected = ["s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "HSmrc0sMlYUkAGmm5OPpG2HaGWk="];
        assert_eq!(accepts(&["dGhlIHNhbXBsZSBub25jZQ==", "x3JJHMbDL1EzLkh9GBhXDw=="]), expected);
    }

    #[test]
    fn a_key_from_its_nonce() {
        assert_eq!(Key::from_nonce(*b"the sample nonce").as_str(), "dGhlIHNhbXBsZSBub25jZQ==");
        let key = Key::from_nonce([0xff; 16]);
        assert_eq!(Key::parse(key.as_str().as_bytes()), Ok(key));
    }

    #[test]
    fn any_number_of_keys() {
        for count in [0, 1, 15, 16, 17, 200] {
            assert_eq!(accepts(&vec!["dGhlIHNhbXBsZSBub25jZQ=="; count]), vec!["s3pPLMBiTxaQ9kYGzzhZRbK+xOo="; count]);
        }
    }

    #[test]
    fn what_is_no_key() {
        for value in ["", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25jZQ===", "dGhlIHNhbXBsZSBub25jZ*==", "dGhlIHNhbXBsZSBub25jZSEh"] {
            assert_eq!(Key::parse(value.as_bytes()), Err(PeerError::Key), "{value}");
        }
    }

    #[test]
    fn keys_are_what_decodes_to_16_bytes() {
        let decodes = |key: &[u8]| base64_simd::STANDARD.decode_to_vec(key).is_ok_and(|nonce| nonce.len() == 16);
        for position in 0..24 {
            for byte in 0..=255 {
                let mut key = *b"dGhlIHNhbXBsZSBub25jZQ==";
                key[position] = byte;
                assert_eq!(Key::parse(&key).is_ok(), decodes(&key), "{byte:#x} at {position}");
            }
        }
    }
}
