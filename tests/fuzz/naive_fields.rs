//! What the fields of an opening handshake mean, by the book and without haste: every question splits its lines anew. Imports `naive_head`.

use crate::naive_head::{is_tchar, trimmed};

/// Field lines as they are sent, in order.
#[derive(Debug, Default)]
pub struct Fields(pub Vec<(String, Vec<u8>)>);

/// One element of Sec-WebSocket-Extensions: its name, and its parameters with their values unquoted.
pub type Extension = (Vec<u8>, Vec<(Vec<u8>, Option<Vec<u8>>)>);

impl Fields {
    /// A head of these fields.
    pub fn head(&self, start_line: &str) -> Vec<u8> {
        let mut bytes = format!("{start_line}\r\n").into_bytes();
        for (name, value) in &self.0 {
            bytes.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        [&bytes[..], b"\r\n"].concat()
    }

    /// The values of all lines of this name.
    pub fn lines(&self, name: &str) -> Vec<&[u8]> {
        self.0.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| trimmed(value)).collect()
    }

    /// The elements of all lines of this name.
    pub fn list(&self, name: &str) -> Vec<&[u8]> {
        let elements = self.lines(name).into_iter().flat_map(|line| line.split(|&byte| byte == b','));
        elements.map(trimmed).filter(|element| !element.is_empty()).collect()
    }

    /// Whether the list has this element, in any case.
    pub fn names(&self, name: &str, element: &str) -> bool {
        self.list(name).iter().any(|listed| listed.eq_ignore_ascii_case(element.as_bytes()))
    }

    /// The value, where there is one line and no more.
    pub fn only(&self, name: &str) -> Option<&[u8]> {
        match self.lines(name)[..] {
            [value] => Some(value),
            _ => None,
        }
    }

    /// Whether no body is announced, RFC 9112 §6.3.
    pub fn no_body(&self) -> bool {
        let length = self.lines("Content-Length");
        let zero = |value: &[u8]| !value.is_empty() && value.iter().all(|&byte| byte == b'0');
        self.lines("Transfer-Encoding").is_empty() && (length.is_empty() || (length.len() == 1 && zero(length[0])))
    }

    /// Whether the subprotocols are tokens, RFC 6455 §4.1.
    pub fn subprotocols_are_tokens(&self) -> bool {
        self.list("Sec-WebSocket-Protocol").into_iter().all(is_token)
    }

    /// The extensions, RFC 6455 §9.1; `None` where the grammar is broken, or a line is there and none names an extension.
    pub fn extensions(&self) -> Option<Vec<Extension>> {
        // A quoted value must be a token as well, so no comma and no semicolon is ever part of a value.
        let elements = self.list("Sec-WebSocket-Extensions");
        if elements.is_empty() && !self.lines("Sec-WebSocket-Extensions").is_empty() {
            return None;
        }
        elements.into_iter().map(extension).collect()
    }
}

fn extension(element: &[u8]) -> Option<Extension> {
    let mut parts = element.split(|&byte| byte == b';').map(trimmed);
    let name = parts.next().filter(|name| is_token(name))?;
    Some((name.to_vec(), parts.map(parameter).collect::<Option<_>>()?))
}

fn parameter(part: &[u8]) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
    let mut sides = part.splitn(2, |&byte| byte == b'=').map(trimmed);
    let name = sides.next().filter(|name| is_token(name))?.to_vec();
    let value = match sides.next() {
        None => return Some((name, None)),
        Some([b'"', quoted @ .., b'"']) => unescaped(quoted)?,
        Some(value) => value.to_vec(),
    };
    is_token(&value).then_some((name, Some(value)))
}

/// Each backslash stands for the byte after it.
fn unescaped(quoted: &[u8]) -> Option<Vec<u8>> {
    let (mut value, mut bytes) = (Vec::new(), quoted.iter());
    while let Some(&byte) = bytes.next() {
        value.push(if byte == b'\\' { *bytes.next()? } else { byte });
    }
    Some(value)
}

/// RFC 9110 §5.6.2.
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().copied().all(is_tchar)
}

/// Whether this is the base64 of 16 bytes: the last digit carries two bits, the other four are zero, RFC 4648 §4.
pub fn is_key(value: &[u8]) -> bool {
    let digit = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/".contains(byte);
    value.len() == 24 && value[..22].iter().all(digit) && b"AQgw".contains(&value[21]) && value.ends_with(b"==")
}

/// The parameters of a permessage-deflate, RFC 7692 §7.1.
#[derive(Clone, Copy, Debug, Default)]
pub struct Deflate {
    pub server_no_context_takeover: bool,
    pub client_no_context_takeover: bool,
    pub server_max_window_bits: Option<u8>,
    /// 15 where it has no value.
    pub client_max_window_bits: Option<u8>,
}

/// What a permessage-deflate asks for or answers; `None` where it is another extension, or a parameter is unknown, repeated or out of range.
pub fn deflate((name, parameters): &Extension, is_offer: bool) -> Option<Deflate> {
    let mut deflate = Deflate::default();
    for (at, (name, value)) in parameters.iter().enumerate() {
        if parameters[..at].iter().any(|(before, _)| before == name) {
            return None;
        }
        let bits = || (8..=15).find(|bits| Some(bits.to_string().as_bytes()) == value.as_deref());
        match (&name[..], value) {
            (b"server_no_context_takeover", None) => deflate.server_no_context_takeover = true,
            (b"client_no_context_takeover", None) => deflate.client_no_context_takeover = true,
            (b"server_max_window_bits", Some(_)) => deflate.server_max_window_bits = Some(bits()?),
            (b"client_max_window_bits", Some(_)) => deflate.client_max_window_bits = Some(bits()?),
            (b"client_max_window_bits", None) if is_offer => deflate.client_max_window_bits = Some(15),
            _ => return None,
        }
    }
    (name == b"permessage-deflate").then_some(deflate)
}
