//! `Sec-WebSocket-Accept`, RFC 6455 §4.2.2: base64 of SHA-1 of the client's key and a GUID. Many keys at once, because the handshakes of one
//! turn are hashed together. Imports `simd` and `error`.

use crate::{error::PeerError, simd};

/// A client's `Sec-WebSocket-Key`: 24 characters that are the base64 of 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
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
    pub fn parse(value: &[u8]) -> Result<Key, PeerError> {
        let key: [u8; 24] = value.try_into().map_err(|_| PeerError::Key)?;
        let mut nonce = [0; 18];
        match base64_simd::STANDARD.decode(&key, base64_simd::Out::from_slice(&mut nonce)) {
            Ok(decoded) if decoded.len() == 16 => Ok(Key(key)),
            _ => Err(PeerError::Key),
        }
    }
}

/// How many keys are hashed before their digests are written as text: what fits on the stack and feeds the widest vector lanes.
const BATCH: usize = 64;

/// The accept value of each key, handed to `write` with the key's index, in order.
pub fn hash(keys: &[Key], mut write: impl FnMut(usize, &Accept)) {
    for (batch, keys) in keys.chunks(BATCH).enumerate() {
        let mut texts = [[0; 24]; BATCH];
        for (text, key) in texts.iter_mut().zip(keys) {
            *text = key.0;
        }
        let mut digests = [[0; 20]; BATCH];
        (simd::kernels().accept)(&texts[..keys.len()], &mut digests[..keys.len()]);
        for (i, digest) in digests[..keys.len()].iter().enumerate() {
            let mut accept = [0; ACCEPT_BYTES];
            let _ = base64_simd::STANDARD.encode(digest, base64_simd::Out::from_slice(&mut accept));
            write(batch * BATCH + i, &accept);
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
        for count in [0, 1, 63, 64, 65, 200] {
            assert_eq!(accepts(&vec!["dGhlIHNhbXBsZSBub25jZQ=="; count]), vec!["s3pPLMBiTxaQ9kYGzzhZRbK+xOo="; count]);
        }
    }

    #[test]
    fn what_is_no_key() {
        for value in ["", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25jZQ===", "dGhlIHNhbXBsZSBub25jZ*==", "dGhlIHNhbXBsZSBub25jZSEh"] {
            assert_eq!(Key::parse(value.as_bytes()), Err(PeerError::Key), "{value}");
        }
    }
}
