//! The grammar of `Sec-WebSocket-Extensions` (RFC 6455 §9.1), the same in request and response.
//!
//! Owns which bytes are well-formed and where extensions and parameters begin and end; what they mean is
//! decided in `negotiate`. One pass, no backtracking and no allocation: this field is where CVE-2020-7662 and
//! CVE-2021-32640 were superlinear. Imports only what a token is.

use std::fmt;

use crate::http1::is_tchar;

/// Why the field fails the opening handshake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MalformedExtension {
    /// A line breaks the grammar of RFC 6455 §9.1.
    Grammar {
        /// Offset in the line of the byte that does not fit; the line's length if it ends too early.
        at: usize,
        /// What would have fitted.
        expected: &'static str,
    },
    /// A response that is well-formed, but no answer to our offer (RFC 7692 §7.1).
    NotOffered,
}

impl fmt::Display for MalformedExtension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Grammar { at, expected } => {
                write!(f, "Sec-WebSocket-Extensions, byte {at}: expected {expected}")
            }
            Self::NotOffered => {
                f.write_str("Sec-WebSocket-Extensions: expected at most one permessage-deflate, with parameters that answer the offer")
            }
        }
    }
}

impl std::error::Error for MalformedExtension {}

/// Reads one field line: [`extension`](Self::extension) for the next name, then
/// [`parameter`](Self::parameter) until it returns `None`, and so on until there is no extension.
pub(super) struct Line<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Line<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The name of the next extension. Empty list elements are skipped (RFC 9110 §5.6.1.2).
    pub(super) fn extension(&mut self) -> Result<Option<&'a [u8]>, MalformedExtension> {
        self.skip(|byte| matches!(byte, b',' | b' ' | b'\t'));
        match self.peek() {
            None => Ok(None),
            Some(_) => self.token().map(Some),
        }
    }

    /// The next parameter of the extension that was read last; `None` at its end.
    pub(super) fn parameter(&mut self) -> Result<Option<Parameter<'a>>, MalformedExtension> {
        self.skip_space();
        match self.peek() {
            None | Some(b',') => return Ok(None),
            Some(b';') => self.at += 1,
            Some(_) => return Err(self.expected("`;`, `,` or the end of the field")),
        }
        self.skip_space();
        let name = self.token()?;
        self.skip_space();
        if self.peek() != Some(b'=') {
            return Ok(Some(Parameter { name, value: None }));
        }
        self.at += 1;
        self.skip_space();
        let value = match self.peek() {
            Some(b'"') => self.quoted()?,
            _ => self.token()?,
        };
        Ok(Some(Parameter { name, value: Some(Value(value)) }))
    }

    fn token(&mut self) -> Result<&'a [u8], MalformedExtension> {
        let start = self.at;
        self.skip(is_tchar);
        if self.at == start {
            return Err(self.expected("a token"));
        }
        Ok(&self.bytes[start..self.at])
    }

    /// A quoted string, which must be a token once it is unescaped; returned as it stands between the quotes.
    fn quoted(&mut self) -> Result<&'a [u8], MalformedExtension> {
        self.at += 1;
        let start = self.at;
        while self.peek() != Some(b'"') {
            if self.peek() == Some(b'\\') {
                self.at += 1;
            }
            if !self.peek().is_some_and(is_tchar) {
                return Err(self.expected("a token and a closing quote"));
            }
            self.at += 1;
        }
        if self.at == start {
            return Err(self.expected("a token between the quotes"));
        }
        self.at += 1;
        Ok(&self.bytes[start..self.at - 1])
    }

    fn skip_space(&mut self) {
        self.skip(|byte| matches!(byte, b' ' | b'\t'));
    }

    fn skip(&mut self, skipped: impl Fn(u8) -> bool) {
        while self.peek().is_some_and(&skipped) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn expected(&self, expected: &'static str) -> MalformedExtension {
        MalformedExtension::Grammar { at: self.at, expected }
    }
}

/// `name`, or `name=value`.
#[derive(Clone, Copy)]
pub(super) struct Parameter<'a> {
    pub(super) name: &'a [u8],
    pub(super) value: Option<Value<'a>>,
}

/// A parameter's value, perhaps still with the backslashes of a quoted string.
#[derive(Clone, Copy)]
pub(super) struct Value<'a>(&'a [u8]);

impl<'a> Value<'a> {
    /// The unescaped bytes. No token contains a backslash, so each one here is an escape.
    pub(super) fn bytes(self) -> impl Iterator<Item = u8> + 'a {
        self.0.iter().copied().filter(|&byte| byte != b'\\')
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Writes back what was read, in one spelling.
    fn normalized(line: &[u8]) -> Result<String, MalformedExtension> {
        let mut out = Vec::new();
        let mut line = Line::new(line);
        while let Some(name) = line.extension()? {
            if !out.is_empty() {
                out.push(b',');
            }
            out.extend(name);
            while let Some(parameter) = line.parameter()? {
                out.push(b';');
                out.extend(parameter.name);
                if let Some(value) = parameter.value {
                    out.push(b'=');
                    out.extend(value.bytes());
                }
            }
        }
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn lists_parameters_and_quoted_values() {
        for (line, expected) in [
            ("", ""),
            (" , \t,,", ""),
            ("foo", "foo"),
            ("foo, bar; baz=2", "foo,bar;baz=2"),
            (",foo ,, bar,", "foo,bar"),
            ("foo\t; a ;b = \"c\"", "foo;a;b=c"),
            (r#"foo; a="\1\0""#, "foo;a=10"),
            ("constructor; __proto__=1", "constructor;__proto__=1"),
        ] {
            assert_eq!(normalized(line.as_bytes()).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn broken_grammar_is_named_with_its_place() {
        for (line, at) in [
            (&b";"[..], 0),
            (b"foo;", 4),
            (b"foo; ;a", 5),
            (b"foo bar", 4),
            (b"foo; a=", 7),
            (b"foo; a=,", 7),
            (b"foo; =1", 5),
            (b"foo; a=1 2", 9),
            (b"foo; a=\"\"", 8),
            (b"foo; a=\"1", 9),
            (b"foo; a=\"1\\", 10),
            (b"foo; a=\"1 2\"", 9),
            (b"foo; a=\"\\\"\"", 9),
            (b"foo; a=\"1\"2", 10),
            (b"f\x80o", 1),
            (b"foo/1", 3),
            (b"foo\0", 3),
        ] {
            match normalized(line) {
                Err(MalformedExtension::Grammar { at: found, .. }) => assert_eq!(found, at),
                other => panic!("{other:?} for {line:?}"),
            }
        }
        let error = normalized(b"foo;").unwrap_err();
        assert_eq!(error.to_string(), "Sec-WebSocket-Extensions, byte 4: expected a token");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused_and_what_is_read_reads_the_same_again(
            line in prop_oneof![
                any::<Vec<u8>>(),
                "[ab1;,=\"\\\\ \t]{0,40}".prop_map(String::into_bytes),
            ]
        ) {
            if let Ok(read) = normalized(&line) {
                prop_assert_eq!(normalized(read.as_bytes()), Ok(read.clone()));
            }
        }
    }
}
