//! Whether bytes are one JSON value, RFC 8259, in one pass that keeps nothing: several times as fast as a parse whose result is thrown away.
//! Imports `string`.

use super::string::plain_bytes;

/// Whether this is exactly one JSON value of at most 128 levels, which clients can be expected to parse. LF may stand between its parts.
pub fn is_json(bytes: &[u8]) -> bool {
    simdutf8::basic::from_utf8(bytes).is_ok() && Check { rest: bytes, levels: 0, objects: 0 }.document().is_some()
}

/// At a place of the text. Each method passes what it is named for, or answers `None`.
struct Check<'a> {
    rest: &'a [u8],
    /// How many objects and arrays are open.
    levels: u32,
    /// A bit for each of them, the innermost lowest: whether it is an object.
    objects: u128,
}

impl Check<'_> {
    fn document(mut self) -> Option<()> {
        loop {
            // A value: its beginning, if it is an object or array that is not empty.
            self.space();
            match self.rest {
                [b'"', ..] => self.string()?,
                [open @ (b'{' | b'['), ..] => {
                    let is_object = *open == b'{';
                    self.bytes(1);
                    self.open(is_object)?;
                    self.space();
                    if !self.is_closed() {
                        if is_object {
                            self.key()?;
                        }
                        continue;
                    }
                }
                [b't', ..] => self.literal(b"true")?,
                [b'f', ..] => self.literal(b"false")?,
                [b'n', ..] => self.literal(b"null")?,
                _ => self.number()?,
            }
            // What may follow a value, up to the next one.
            loop {
                self.space();
                if self.levels == 0 {
                    return self.rest.is_empty().then_some(());
                } else if self.rest.first() == Some(&b',') {
                    self.bytes(1);
                    if self.objects & 1 == 1 {
                        self.key()?;
                    }
                    break;
                } else if !self.is_closed() {
                    return None;
                }
            }
        }
    }

    fn open(&mut self, is_object: bool) -> Option<()> {
        self.levels += 1;
        self.objects = self.objects << 1 | u128::from(is_object);
        (self.levels <= u128::BITS).then_some(())
    }

    /// Passes the bracket that closes the innermost level, if there is one.
    fn is_closed(&mut self) -> bool {
        let closes = self.rest.first() == Some(if self.objects & 1 == 1 { &b'}' } else { &b']' });
        if closes {
            self.bytes(1);
            self.levels -= 1;
            self.objects >>= 1;
        }
        closes
    }

    fn key(&mut self) -> Option<()> {
        self.space();
        self.string()?;
        self.space();
        self.literal(b":")
    }

    fn string(&mut self) -> Option<()> {
        self.literal(b"\"")?;
        loop {
            self.bytes(plain_bytes(self.rest));
            match self.rest {
                [b'"', ..] => {
                    self.bytes(1);
                    return Some(());
                }
                [b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => self.bytes(2),
                [b'\\', b'u', digits @ ..] if digits.len() >= 4 && digits[..4].iter().all(u8::is_ascii_hexdigit) => self.bytes(6),
                _ => return None,
            }
        }
    }

    fn number(&mut self) -> Option<()> {
        let _ = self.literal(b"-");
        // Nothing follows a leading zero.
        self.literal(b"0").or_else(|| self.digits())?;
        if self.literal(b".").is_some() {
            self.digits()?;
        }
        if self.literal(b"e").or_else(|| self.literal(b"E")).is_some() {
            let _ = self.literal(b"+").or_else(|| self.literal(b"-"));
            self.digits()?;
        }
        Some(())
    }

    fn digits(&mut self) -> Option<()> {
        let digits = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.bytes(digits);
        (digits > 0).then_some(())
    }

    fn literal(&mut self, literal: &[u8]) -> Option<()> {
        self.rest = self.rest.strip_prefix(literal)?;
        Some(())
    }

    fn space(&mut self) {
        while let [b' ' | b'\t' | b'\n' | b'\r', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }

    fn bytes(&mut self, bytes: usize) {
        self.rest = &self.rest[bytes..];
    }
}
