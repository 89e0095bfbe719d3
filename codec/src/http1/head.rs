//! What requests and responses have in common once their heads are scanned: the fields, and what they declare about the body. A view over the
//! received bytes, nothing copied. Imports `scan`.

use crate::{
    error::PeerError,
    http1::{
        eq_any_case, list,
        scan::{HeadScan, Name},
    },
};

/// The head of a message: the bytes and the positions found in them. [`Request`](super::Request) and [`ResponseHead`](super::ResponseHead) lend
/// it.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) scan: &'a HeadScan,
}

/// How the end of a body is known, RFC 9112 §6.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes; 0 where there is no body.
    Length(u64),
    /// Chunks up to an empty one.
    Chunked,
    /// The connection's end; of responses only.
    UntilClose,
}

impl<'a> Head<'a> {
    /// Whether this is HTTP/1.1; else it is HTTP/1.0.
    pub fn is_http11(&self) -> bool {
        self.scan.minor_version == 1
    }

    /// All field lines in order: name and value.
    pub fn fields(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        self.scan.fields(self.bytes)
    }

    /// The values of all lines of one field, in order.
    pub fn values(&self, name: Name) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.scan.values(self.bytes, name)
    }

    /// As [`values`](Head::values), of a field that [`Name`] need not know; the name in any case.
    pub fn values_of<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.fields().filter(move |(known, _)| known.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    /// Whether there is a line of this field.
    pub fn has(&self, name: Name) -> bool {
        self.scan.has(name)
    }

    /// The value of a field that may stand once: `Ok(None)` without it.
    ///
    /// # Errors
    /// `Err(())` where it is repeated.
    #[expect(clippy::result_unit_err, reason = "each caller knows which error a repetition is")]
    #[inline(always)]
    pub fn single(&self, name: Name) -> Result<Option<&'a [u8]>, ()> {
        self.scan.single(self.bytes, name)
    }

    /// Whether a list field names this element, given in small letters, in any case.
    #[inline]
    pub fn lists<const N: usize>(&self, name: Name, element: &[u8; N]) -> bool {
        // Nearly always it is the only one.
        matches!(self.single(name), Ok(Some(value)) if eq_any_case(value, element))
            || list(self.values(name)).any(|value| eq_any_case(value, element))
    }

    /// What the fields say about the body's end; `None` where they say nothing.
    ///
    /// # Errors
    /// What is ambiguous is refused rather than repaired, RFC 9112 §6.1 and §6.3: [`PeerError::ContentLength`],
    /// [`PeerError::TransferEncoding`], [`PeerError::TransferCoding`].
    #[inline]
    pub fn declared_framing(&self) -> Result<Option<Framing>, PeerError> {
        let length = self.single(Name::ContentLength).map_err(|()| PeerError::ContentLength)?;
        if !self.has(Name::TransferEncoding) {
            return length.map(|length| decimal(length).map(Framing::Length)).transpose();
        }
        if length.is_some() || !self.is_http11() {
            return Err(PeerError::TransferEncoding);
        }
        let chunked = |coding: &[u8]| eq_any_case(coding, b"chunked");
        let codings: Vec<&[u8]> = list(self.values(Name::TransferEncoding)).collect();
        match codings.as_slice() {
            [only] if chunked(only) => Ok(Some(Framing::Chunked)),
            [before @ .., _] if before.iter().any(|coding| chunked(coding)) => Err(PeerError::TransferEncoding),
            [] => Err(PeerError::TransferEncoding),
            _ => Err(PeerError::TransferCoding),
        }
    }

    /// Whether the connection may carry another request after this message, RFC 9112 §9.3. HTTP/1.0's own keep-alive is not spoken.
    pub fn keeps_alive(&self) -> bool {
        self.is_http11() && !self.lists(Name::Connection, b"close")
    }
}

fn decimal(value: &[u8]) -> Result<u64, PeerError> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(PeerError::ContentLength);
    }
    std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).ok_or(PeerError::ContentLength)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::HttpLimits;

    #[test]
    fn fields_by_name_and_by_text() {
        let bytes = b"GET / HTTP/1.1\r\nHost: a\r\nx-a: 1\r\nUPGRADE: b\r\nX-A: 2\r\n\r\n";
        let mut scan = HeadScan::default();
        scan.advance(bytes, &HttpLimits::DEFAULT).unwrap();
        let head = Head { bytes, scan: &scan };
        assert_eq!(head.values_of("X-A").collect::<Vec<_>>(), [b"1", b"2"]);
        assert_eq!(head.values_of("upgrade").collect::<Vec<_>>(), head.values(Name::Upgrade).collect::<Vec<_>>());
        assert_eq!(head.values_of("x").count(), 0);
        assert_eq!(head.fields().map(|(name, _)| name).collect::<Vec<_>>(), [&b"Host"[..], b"x-a", b"UPGRADE", b"X-A"]);
        assert_eq!((head.single(Name::Host), head.single(Name::Origin)), (Ok(Some(&b"a"[..])), Ok(None)));
    }
}
