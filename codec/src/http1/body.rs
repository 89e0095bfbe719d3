//! Passes over a body, so that the next message on the connection is found. Neither the edge port nor the client reads bodies; they only have to
//! know where they end, without being tricked (RFC 9112 §6, §7.1).

use crate::{
    error::PeerError,
    http1::Framing,
    limits::{CHUNK_LINE_BYTES_MAX, CHUNK_SIZE_DIGITS_MAX},
};

/// The resumable reader of one body. [`advance`](BodyReader::advance) takes each piece once.
#[derive(Clone, Debug)]
pub struct BodyReader {
    part: Part,
    /// What the body may still take, its framing included.
    budget: usize,
}

#[derive(Clone, Copy, Debug)]
enum Part {
    /// So many bytes of a body of known length.
    Length(u64),
    ChunkSize {
        size: u64,
        digits: usize,
    },
    /// From the `;` on.
    ChunkExtension {
        size: u64,
        line_bytes: usize,
    },
    /// The LF of a chunk-size line.
    ChunkLineFeed {
        size: u64,
    },
    ChunkData {
        left: u64,
    },
    /// CR, then LF after the data.
    ChunkEnd {
        carriage_return: bool,
    },
    /// The trailer section after the last chunk: `line_bytes` since the line began.
    Trailer {
        line_bytes: usize,
        carriage_return: bool,
    },
    /// Whatever comes.
    UntilClose,
    Done,
}

impl BodyReader {
    /// The reader of a body of at most `bytes_max` bytes.
    ///
    /// # Errors
    /// [`PeerError::BodyTooLarge`] where the declared length is more.
    pub fn new(framing: Framing, bytes_max: usize) -> Result<BodyReader, PeerError> {
        let part = match framing {
            Framing::Length(0) => Part::Done,
            Framing::Length(length) if length > bytes_max as u64 => return Err(PeerError::BodyTooLarge),
            Framing::Length(length) => Part::Length(length),
            Framing::Chunked => Part::ChunkSize { size: 0, digits: 0 },
            Framing::UntilClose => Part::UntilClose,
        };
        Ok(BodyReader { part, budget: bytes_max })
    }

    /// Whether the body has ended.
    pub fn is_done(&self) -> bool {
        matches!(self.part, Part::Done)
    }

    /// Whether the body is whole if the connection ends here.
    pub fn is_whole_at_close(&self) -> bool {
        matches!(self.part, Part::Done | Part::UntilClose)
    }

    /// Takes from `bytes` what belongs to the body; returns how many bytes that was.
    ///
    /// # Errors
    /// [`PeerError::Chunk`] for malformed chunks, [`PeerError::BodyTooLarge`] beyond the limit.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<usize, PeerError> {
        let mut at = 0;
        while at < bytes.len() && !self.is_done() {
            let taken = match &mut self.part {
                Part::Length(left) | Part::ChunkData { left } => {
                    let taken = (bytes.len() - at).min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= taken as u64;
                    taken
                }
                Part::UntilClose => bytes.len() - at,
                _ => {
                    self.part = self.part.after(bytes[at])?;
                    1
                }
            };
            self.part = match self.part {
                Part::Length(0) => Part::Done,
                Part::ChunkData { left: 0 } => Part::ChunkEnd { carriage_return: false },
                part => part,
            };
            at += taken;
            self.budget = self.budget.checked_sub(taken).ok_or(PeerError::BodyTooLarge)?;
        }
        Ok(at)
    }
}

impl Part {
    /// The part after one more byte of framing.
    fn after(self, byte: u8) -> Result<Part, PeerError> {
        let part = match (self, byte) {
            (Part::ChunkSize { size, digits }, byte) if byte.is_ascii_hexdigit() && digits < CHUNK_SIZE_DIGITS_MAX => {
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                Part::ChunkSize { size: size << 4 | u64::from(digit), digits: digits + 1 }
            }
            (Part::ChunkSize { size, digits: 1.. }, b'\r') => Part::ChunkLineFeed { size },
            (Part::ChunkSize { size, digits: 1.. }, b';') => Part::ChunkExtension { size, line_bytes: 0 },
            (Part::ChunkExtension { size, .. }, b'\r') => Part::ChunkLineFeed { size },
            (Part::ChunkExtension { size, line_bytes }, b'\t' | b' '..=b'~' | 0x80..) if line_bytes < CHUNK_LINE_BYTES_MAX => {
                Part::ChunkExtension { size, line_bytes: line_bytes + 1 }
            }
            (Part::ChunkLineFeed { size: 0 }, b'\n') => Part::Trailer { line_bytes: 0, carriage_return: false },
            (Part::ChunkLineFeed { size }, b'\n') => Part::ChunkData { left: size },
            (Part::ChunkEnd { carriage_return: false }, b'\r') => Part::ChunkEnd { carriage_return: true },
            (Part::ChunkEnd { carriage_return: true }, b'\n') => Part::ChunkSize { size: 0, digits: 0 },
            (Part::Trailer { line_bytes: 0, carriage_return: true }, b'\n') => Part::Done,
            (Part::Trailer { carriage_return: true, .. }, b'\n') => Part::Trailer { line_bytes: 0, carriage_return: false },
            (Part::Trailer { line_bytes, carriage_return: false }, b'\r') => Part::Trailer { line_bytes, carriage_return: true },
            (Part::Trailer { line_bytes, carriage_return: false }, b'\t' | b' '..=b'~' | 0x80..) => {
                Part::Trailer { line_bytes: line_bytes + 1, carriage_return: false }
            }
            _ => return Err(PeerError::Chunk),
        };
        Ok(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `bytes` in pieces of `step`; what was taken once the body ended, or all of it.
    fn read(framing: Framing, bytes: &[u8], step: usize) -> Result<(usize, bool), PeerError> {
        let mut reader = BodyReader::new(framing, 4096)?;
        let mut taken = 0;
        while taken < bytes.len() && !reader.is_done() {
            let piece = &bytes[taken..bytes.len().min(taken + step)];
            taken += reader.advance(piece)?;
        }
        Ok((taken, reader.is_done()))
    }

    #[test]
    fn bodies_end_where_they_should() {
        let cases: [(Framing, &[u8], usize); 5] = [
            (Framing::Length(0), b"GET", 0),
            (Framing::Length(5), b"helloGET", 5),
            (Framing::Chunked, b"5\r\nhello\r\n0\r\n\r\nGET", 15),
            (Framing::Chunked, b"5;a=\"b\";c\r\nhello\r\n000\r\nA: b\r\nC: d\r\n\r\nGET", 37),
            (Framing::Chunked, b"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", 35),
        ];
        for (framing, bytes, expected) in cases {
            for step in 1..=bytes.len() {
                assert_eq!(read(framing, bytes, step), Ok((expected, true)), "{}", bytes.escape_ascii());
            }
        }
    }

    #[test]
    fn some_bodies_end_with_the_connection() {
        let bytes = b"0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n";
        for step in 1..=bytes.len() {
            assert_eq!(read(Framing::UntilClose, bytes, step), Ok((bytes.len(), false)));
        }
        for (framing, whole) in
            [(Framing::UntilClose, true), (Framing::Length(0), true), (Framing::Length(5), false), (Framing::Chunked, false)]
        {
            assert_eq!(BodyReader::new(framing, 4096).unwrap().is_whole_at_close(), whole, "{framing:?}");
        }
        assert_eq!(read(Framing::UntilClose, &[b'x'; 5000], 100), Err(PeerError::BodyTooLarge));
    }

    #[test]
    fn malformed_chunks() {
        let cases: [&[u8]; 11] = [
            b"0x5\r\nhello",
            b"-5\r\nhello",
            b"+5\r\n",
            b"\r\n",
            b";a\r\n",
            b"5 \r\nhello",
            b"00000000000000005\r\n",
            b"5\nhello",
            b"5\rhello",
            b"5\r\nhellooo",
            b"5;\0\r\n",
        ];
        for bytes in cases {
            assert_eq!(read(Framing::Chunked, bytes, 1), Err(PeerError::Chunk), "{}", bytes.escape_ascii());
        }
        let long = [b"5;".as_slice(), &[b'x'; CHUNK_LINE_BYTES_MAX + 1]].concat();
        assert_eq!(read(Framing::Chunked, &long, long.len()), Err(PeerError::Chunk));
    }

    #[test]
    fn the_limit_counts_what_arrives() {
        assert_eq!(read(Framing::Length(4097), b"", 1), Err(PeerError::BodyTooLarge));
        let endless = b"1\r\nx\r\n".repeat(1000);
        assert_eq!(read(Framing::Chunked, &endless, 100), Err(PeerError::BodyTooLarge));
        let trailers = [b"0\r\n".to_vec(), b"a: b\r\n".repeat(1000)].concat();
        assert_eq!(read(Framing::Chunked, &trailers, 100), Err(PeerError::BodyTooLarge));
    }
}
