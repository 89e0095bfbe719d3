//! What comes from a client: requests and frames, read strictly. Imports [`crate::frame`].

use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::net::TcpStream;
use std::time::Duration;

use crate::Frame;

/// After how long without a byte [`Reader::wait`] gives up.
pub(super) const QUIET: Duration = Duration::from_millis(100);

/// A connection's receiving half.
pub(super) struct Reader<'a>(BufReader<&'a TcpStream>);

/// A request's head.
pub(super) struct Head {
    /// The method.
    pub(super) method: String,
    /// The target.
    pub(super) target: String,
    fields: Vec<(String, String)>,
}

impl Head {
    /// The value of a field, by its name in lower case.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(present, _)| present == name).map(|(_, value)| value.as_str())
    }
}

impl<'a> Reader<'a> {
    /// Reads from this socket.
    pub(super) fn new(stream: &'a TcpStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(QUIET))?;
        Ok(Self(BufReader::with_capacity(64 * 1024, stream)))
    }

    /// Waits for bytes; `false`: none came for [`QUIET`].
    pub(super) fn wait(&mut self) -> io::Result<bool> {
        match self.0.fill_buf() {
            Ok([]) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Reads a request's head.
    pub(super) fn head(&mut self) -> io::Result<Head> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.extend(self.take(1)?);
        }
        let head = String::from_utf8(head).map_err(io::Error::other)?;
        let mut lines = head.trim_end().split("\r\n");
        let mut words = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
        let (Some(method), Some(target), Some("HTTP/1.1")) = (words.next(), words.next(), words.next().as_deref()) else {
            return Err(io::Error::other("not a request line"));
        };
        let fields =
            lines.filter_map(|line| line.split_once(':')).map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
        Ok(Head { method, target, fields: fields.collect() })
    }

    /// Reads a frame, which must be masked and whole.
    pub(super) fn frame(&mut self) -> io::Result<Frame> {
        let head = self.take(2)?;
        let length = match head[1] & 0x7F {
            126 => self.take(2)?.into_iter().fold(0, |length, byte| length << 8 | usize::from(byte)),
            127 => self.take(8)?.into_iter().fold(0, |length, byte| length << 8 | usize::from(byte)),
            short => usize::from(short),
        };
        if head[0] & 0x80 == 0 || head[1] & 0x80 == 0 {
            return Err(io::Error::other("a fragment, or a frame that is not masked"));
        }
        let mask = self.take(4)?;
        let mut payload = self.take(length)?;
        for (at, byte) in payload.iter_mut().enumerate() {
            *byte ^= mask[at % 4];
        }
        Ok(Frame { fin: true, rsv: head[0] >> 4 & 0b111, opcode: head[0] & 0x0F, payload })
    }

    /// Reads exactly so many bytes, however long they take.
    pub(super) fn take(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        let mut filled = 0;
        while filled < count {
            match self.0.read(&mut bytes[filled..]) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(read) => filled += read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(bytes)
    }
}
