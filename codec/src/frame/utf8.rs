//! UTF-8 validation of text that arrives in pieces, failing at the first wrong byte, RFC 6455 §8.1.

use crate::{
    error::PeerError,
    simd::{self, Utf8Run},
};

/// Texts up to this length, less than a block of the kernels, are looked at in line first: most are short and ASCII, and a call through the
/// kernels' table would cost more than the work.
const INLINE_BYTES: usize = 63;

/// Texts up to this length are decoded in a register, which is faster than anything for a word or two.
const WORD_BYTES: usize = 8;

/// Validates one text in any number of pieces: [`push`](Utf8::push) each, then [`finish`](Utf8::finish).
#[derive(Clone, Copy, Debug, Default)]
pub struct Utf8 {
    /// The start of a character whose end has not arrived.
    open: [u8; 4],
    open_bytes: u8,
}

impl Utf8 {
    /// Validates a whole text.
    ///
    /// # Errors
    /// [`PeerError::Utf8`]
    #[inline]
    pub fn check(text: &[u8]) -> Result<(), PeerError> {
        let is_valid = match text.len() {
            ..=INLINE_BYTES if simd::utf8::short_is_ascii(text) => true,
            ..=WORD_BYTES => simd::utf8::is_valid_word(text),
            _ => (simd::kernels().utf8)(text) == Utf8Run::Valid,
        };
        if is_valid { Ok(()) } else { Err(PeerError::Utf8) }
    }

    /// Validates a further piece.
    ///
    /// # Errors
    /// [`PeerError::Utf8`] as soon as no continuation could make the text valid.
    pub fn push(&mut self, mut piece: &[u8]) -> Result<(), PeerError> {
        while self.open_bytes > 0 {
            let [first, rest @ ..] = piece else { return Ok(()) };
            piece = rest;
            self.open[usize::from(self.open_bytes)] = *first;
            self.open_bytes += 1;
            match (simd::kernels().utf8)(&self.open[..usize::from(self.open_bytes)]) {
                Utf8Run::Valid => self.open_bytes = 0,
                Utf8Run::Incomplete(_) => {}
                Utf8Run::Invalid => return Err(PeerError::Utf8),
            }
        }
        match (simd::kernels().utf8)(piece) {
            Utf8Run::Valid => Ok(()),
            Utf8Run::Incomplete(at) => {
                let open = &piece[at..];
                self.open[..open.len()].copy_from_slice(open);
                self.open_bytes = open.len() as u8;
                Ok(())
            }
            Utf8Run::Invalid => Err(PeerError::Utf8),
        }
    }

    /// The text ends here.
    ///
    /// # Errors
    /// [`PeerError::Utf8`] where it ends inside a character.
    pub fn finish(self) -> Result<(), PeerError> {
        if self.open_bytes == 0 { Ok(()) } else { Err(PeerError::Utf8) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn in_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<(), PeerError> {
        let mut utf8 = Utf8::default();
        for piece in pieces {
            utf8.push(piece)?;
        }
        utf8.finish()
    }

    #[test]
    fn fails_at_the_first_wrong_byte() {
        // The text, and how many of its bytes could still be the start of something valid.
        let cases: [(&[u8], usize); 7] = [
            (b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90", 12),
            (b"\xc0\x80", 0),
            (b"\xe0\x80\x80", 1),
            (b"\xed\xa0\x80", 1),
            (b"\xf0\x80\x80\x80", 1),
            (b"a\xf5", 1),
            (b"\xe2\x82a", 2),
        ];
        for (text, good) in cases {
            let mut utf8 = Utf8::default();
            for (i, byte) in text.chunks(1).enumerate() {
                assert_eq!(utf8.push(byte).is_ok(), i < good, "{}", text.escape_ascii());
                if i >= good {
                    break;
                }
            }
        }
    }

    #[test]
    fn nul_bom_and_noncharacters_are_text() {
        assert_eq!(Utf8::check("\0\u{feff}\u{ffff}\u{10ffff}".as_bytes()), Ok(()));
    }

    proptest! {
        #[test]
        fn as_std_in_any_pieces(text in prop_oneof![any::<String>().prop_map(String::into_bytes), prop::collection::vec(any::<u8>(), 0..12)], step in 1..9usize) {
            let expected = std::str::from_utf8(&text).is_ok();
            prop_assert_eq!(Utf8::check(&text).is_ok(), expected);
            prop_assert_eq!(in_pieces(text.chunks(step)).is_ok(), expected);
        }
    }
}
