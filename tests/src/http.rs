//! HTTP/1.1 messages (RFC 9112) as lists of fields, valid or not. Imports nothing.

/// The key of RFC 6455 §1.3, sent with every upgrade.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// A request, built field by field so that a test says only in what it deviates from a valid one.
#[derive(Clone, Debug)]
pub struct Request {
    line: String,
    fields: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl Request {
    /// A plain GET with a Host.
    pub fn get(path: &str) -> Self {
        Self { line: format!("GET {path} HTTP/1.1"), fields: Vec::new(), body: Vec::new() }.with("Host", "fantail.test")
    }

    /// A valid opening handshake.
    pub fn upgrade(path: &str) -> Self {
        Self::get(path)
            .with("Upgrade", "websocket")
            .with("Connection", "Upgrade")
            .with("Sec-WebSocket-Key", KEY)
            .with("Sec-WebSocket-Version", "13")
    }

    /// Replaces the request line.
    pub fn line(mut self, line: &str) -> Self {
        line.clone_into(&mut self.line);
        self
    }

    /// Replaces the field `name`, or adds it.
    pub fn with(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.without(name).and(name, value)
    }

    /// Adds a field line, whether there is one of this name already or not.
    pub fn and(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.fields.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// Removes every field of this name.
    pub fn without(mut self, name: &str) -> Self {
        self.fields.retain(|(present, _)| !present.eq_ignore_ascii_case(name));
        self
    }

    /// Bytes that follow the head, framed or not: no Content-Length is added.
    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self
    }

    /// A body in the chunked coding, as a single chunk.
    pub fn chunked(self, body: &[u8]) -> Self {
        let size = format!("{:x}\r\n", body.len());
        self.with("Transfer-Encoding", "chunked").body([size.as_bytes(), body, b"\r\n0\r\n\r\n"].concat())
    }

    /// The bytes to send.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{}\r\n", self.line).into_bytes();
        for (name, value) in &self.fields {
            bytes.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        bytes.extend(b"\r\n");
        bytes.extend(&self.body);
        bytes
    }
}

impl From<Request> for Vec<u8> {
    fn from(request: Request) -> Self {
        request.bytes()
    }
}

/// An answer, read completely.
#[derive(Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Every field, in the order it came.
    pub fields: Vec<(String, String)>,
    /// The body, without its framing.
    pub body: Vec<u8>,
}

impl Response {
    /// Reads a head, from the status line to the empty line.
    ///
    /// # Panics
    /// If it is not well formed: a server's answers are to be.
    pub fn parse_head(head: &[u8]) -> Self {
        let head = str::from_utf8(head).expect("an answer's head is ASCII");
        let mut lines = head.strip_suffix("\r\n\r\n").expect("a head ends in an empty line").split("\r\n");
        let status_line = lines.next().expect("a status line");
        let status = status_line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.split(' ').next()?.parse().ok());
        let fields = lines
            .map(|line| line.split_once(':').unwrap_or_else(|| panic!("not a field: {line:?}")))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        let status = status.unwrap_or_else(|| panic!("not a status line: {status_line:?}"));
        Self { status, fields, body: Vec::new() }
    }

    /// The field of this name.
    ///
    /// # Panics
    /// If there are several.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter(|(present, _)| present.eq_ignore_ascii_case(name));
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} comes twice in {self:?}");
        value
    }

    /// Whether the list `name`, over all of its lines, contains `token`, in any case.
    pub fn lists(&self, name: &str, token: &str) -> bool {
        let lines = self.fields.iter().filter(|(present, _)| present.eq_ignore_ascii_case(name));
        lines.flat_map(|(_, list)| list.split(',')).any(|item| item.trim().eq_ignore_ascii_case(token))
    }

    /// Whether the server says that this is its last answer on the connection.
    pub fn closes(&self) -> bool {
        self.lists("Connection", "close")
    }
}
