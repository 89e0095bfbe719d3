//! A line of JSON as simd-json's tape, and a cursor over it that knows where in the message each value stands. Imports `message`.
//!
//! simd-json unescapes strings in place, and it reads in blocks, so that it needs some bytes behind the line that are its own. So the message is
//! copied once, with the padding behind it (without it simd-json makes such a copy itself), strings are unescaped in the copy, and
//! the raw bytes of a value are lent from the message.
//!
//! Where a value begins and ends is told by the structural indexes of simd-json's first pass: the places of all brackets, colons, commas and
//! first bytes of values. The tape has a node for each value and key, in the same order, so the cursor moves along both.

use std::{ops::Range, slice};

use simd_json::{Buffers, ErrorType, INPUT_PADDING, Node, StaticNode, Tape};

use crate::centrifuge::{Malformed, Place};

/// Deeper values are refused: serde_json, with which a backend may read what a client published, has this limit too.
const DEPTH_MAX: usize = 128;

/// What is kept between messages: beyond it, buffers are given back.
const TEXT_BYTES_KEPT: usize = 64 << 10;
const NODES_KEPT: usize = 4 << 10;

/// The buffers of a parse; [`load`](Parser::load) a message, then [`parse`](Parser::parse) its lines.
pub(super) struct Parser {
    text: Vec<u8>,
    buffers: Buffers,
    tape: Tape<'static>,
}

impl Default for Parser {
    fn default() -> Parser {
        Parser { text: Vec::new(), buffers: Buffers::with_max_depth(0, DEPTH_MAX), tape: Tape(Vec::new()) }
    }
}

impl Parser {
    /// Begins with another message.
    pub(super) fn load(&mut self, message: &[u8]) {
        self.text.clear();
        self.text.reserve(message.len() + INPUT_PADDING);
        self.text.extend_from_slice(message);
        self.text.resize(message.len() + INPUT_PADDING, b' ');
    }

    /// Gives memory back after a large message.
    pub(super) fn trim(&mut self) {
        // The structural indexes are about as many as the nodes.
        if self.text.capacity() > TEXT_BYTES_KEPT || self.tape.0.capacity() > NODES_KEPT {
            *self = Parser::default();
        }
    }

    /// Parses the JSON value that is this part of the message, and hands it over.
    pub(super) fn parse<T>(
        &mut self,
        message: &[u8],
        line: Range<usize>,
        mut read: impl for<'a> FnMut(Cursor<'a>) -> T,
    ) -> Result<T, Malformed> {
        match self.attempt(message, line.clone(), &mut read) {
            // JavaScript cuts strings between surrogates, and its JSON then has a half of a pair as an escape. That is legal, and simd-json
            // refuses it.
            Err(_) if self.without_lone_surrogates(message, line.clone()) => self.attempt(message, line, &mut read),
            result => result,
        }
    }

    fn attempt<T>(&mut self, message: &[u8], line: Range<usize>, read: &mut impl for<'a> FnMut(Cursor<'a>) -> T) -> Result<T, Malformed> {
        let mut tape = std::mem::replace(&mut self.tape, Tape(Vec::new())).reset();
        let parsed = simd_json::fill_tape_padded(&mut self.text[line.start..], line.len(), &mut self.buffers, &mut tape);
        let result = match parsed {
            Ok(()) => Ok(read(Cursor {
                message: &message[..line.end],
                line_at: line.start,
                nodes: tape.0.iter(),
                starts: self.buffers.structural_indexes().iter(),
            })),
            Err(error) => {
                // Not every error knows its place.
                let at = if error.character().is_some() { Place::Byte(line.start + error.index()) } else { Place::Command(line.start) };
                let expected = if matches!(error.error(), ErrorType::DepthLimitExceeded) { "at most 128 levels" } else { "JSON" };
                Err(Malformed { at, expected })
            }
        };
        self.tape = tape.reset();
        result
    }

    /// Copies the line anew with each lone surrogate replaced by U+FFFD; whether there was one.
    fn without_lone_surrogates(&mut self, message: &[u8], line: Range<usize>) -> bool {
        let text = &mut self.text[line.clone()];
        text.copy_from_slice(&message[line]);
        let (mut at, mut replaced) = (0, false);
        while let Some(backslash) = memchr::memchr(b'\\', &text[at..]) {
            at += backslash;
            at += match (surrogate(&text[at..]), text.get(at + 6..).and_then(surrogate)) {
                (Some(HIGH), Some(LOW)) => 12,
                (Some(_), _) => {
                    text[at..at + 6].copy_from_slice(b"\\ufffd");
                    replaced = true;
                    6
                }
                // Of two backslashes the second begins no escape.
                (None, _) => 2,
            };
            at = at.min(text.len());
        }
        replaced
    }
}

const HIGH: u16 = 0xd800;
const LOW: u16 = 0xdc00;

/// Which half of a pair is escaped at the start of this.
fn surrogate(text: &[u8]) -> Option<u16> {
    let digits = str::from_utf8(text.strip_prefix(b"\\u")?.get(..4)?).ok()?;
    let half = u16::from_str_radix(digits, 16).ok()? & 0xfc00;
    (half == HIGH || half == LOW).then_some(half)
}

/// At a value of the line. Each method but [`is_null`](Cursor::is_null) passes it; `null` stands for an absent value, as it does for the
/// protocol's other implementations.
pub(super) struct Cursor<'a> {
    /// Up to the end of the line.
    message: &'a [u8],
    line_at: usize,
    nodes: slice::Iter<'a, Node<'a>>,
    /// The structural indexes of the line, from the current value on.
    starts: slice::Iter<'a, u32>,
}

impl<'a> Cursor<'a> {
    pub(super) fn is_null(&self) -> bool {
        matches!(self.nodes.as_slice().first(), Some(Node::Static(StaticNode::Null)))
    }

    pub(super) fn str(&mut self) -> Result<&'a str, Malformed> {
        self.scalar("a string", "", |node| if let Node::String(text) = node { Some(*text) } else { None })
    }

    pub(super) fn bool(&mut self) -> Result<bool, Malformed> {
        self.scalar("true or false", false, |node| if let Node::Static(StaticNode::Bool(is)) = node { Some(*is) } else { None })
    }

    /// A whole number; `expected` tells its range.
    pub(super) fn integer<N: Default + TryFrom<u64> + TryFrom<i64>>(&mut self, expected: &'static str) -> Result<N, Malformed> {
        self.scalar(expected, N::default(), |node| match node {
            Node::Static(StaticNode::U64(number)) => N::try_from(*number).ok(),
            Node::Static(StaticNode::I64(number)) => N::try_from(*number).ok(),
            _ => None,
        })
    }

    /// The members of an object: `member` gets each key, with the cursor at the value, which it must pass.
    pub(super) fn object(
        &mut self,
        expected: &'static str,
        mut member: impl FnMut(&mut Self, &'a str) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        let members = self.scalar(expected, None, |node| if let Node::Object { len, .. } = node { Some(Some(*len)) } else { None })?;
        if members == Some(0) {
            self.starts.next();
        }
        for _ in 0..members.unwrap_or(0) {
            let key = self.nodes.next();
            // The key and its colon; what parts the members is passed behind each.
            self.starts.nth(1);
            if let Some(Node::String(key)) = key {
                member(self, key)?;
            }
            self.starts.next();
        }
        Ok(())
    }

    /// The bytes of any value, as the client wrote them.
    pub(super) fn raw(&mut self) -> &'a [u8] {
        let starts = self.starts.as_slice();
        let is_scalar = !matches!(self.nodes.as_slice().first(), Some(Node::Object { .. } | Node::Array { .. }));
        self.skip();
        let place = |at: &u32| self.line_at + *at as usize;
        let start = starts.first().map_or(self.message.len(), place);
        if is_scalar {
            // Its end is not told, only where the next thing begins.
            let next = self.starts.as_slice().first().map_or(self.message.len(), place);
            self.message[start..next].trim_ascii_end()
        } else {
            let passed = starts.len() - self.starts.len();
            &self.message[start..=place(&starts[passed - 1])]
        }
    }

    /// Passes any value.
    pub(super) fn skip(&mut self) {
        let nodes = match self.nodes.as_slice().first() {
            Some(Node::Object { count, .. } | Node::Array { count, .. }) => 1 + count,
            _ => 1,
        };
        let structurals = self.nodes.by_ref().take(nodes).map(|node| match node {
            Node::Object { len: 0, .. } | Node::Array { len: 0, .. } => 2,
            // Braces, colons, and commas between the members.
            Node::Object { len, .. } => 2 + len + (len - 1),
            Node::Array { len, .. } => 2 + (len - 1),
            Node::String(_) | Node::Static(_) => 1,
        });
        let structurals: usize = structurals.sum();
        self.starts.nth(structurals - 1);
    }

    /// Where the current value begins.
    fn place(&self) -> Place {
        self.starts.as_slice().first().map_or(Place::Command(self.line_at), |at| Place::Byte(self.line_at + *at as usize))
    }

    /// Passes one node and one structural.
    fn scalar<T>(&mut self, expected: &'static str, absent: T, take: impl FnOnce(&'a Node<'a>) -> Option<T>) -> Result<T, Malformed> {
        let at = self.place();
        let value = match self.nodes.next() {
            Some(Node::Static(StaticNode::Null)) => Some(absent),
            node => node.and_then(take),
        };
        self.starts.next();
        value.ok_or(Malformed { at, expected })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_back() {
        for (message, is_kept) in [("[1]".to_owned(), true), ("1".repeat(TEXT_BYTES_KEPT), false), (vec!["[]"; 5000].join(","), false)] {
            let mut parser = Parser::default();
            let message = format!("[{message}]");
            parser.load(message.as_bytes());
            let _ = parser.parse(message.as_bytes(), 0..message.len(), |_| ());
            parser.trim();
            assert_eq!(parser.text.capacity() > 0, is_kept);
        }
    }
}
