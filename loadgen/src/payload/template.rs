//! Messages with variables in them: parsed once, rendered for each send. Owns the variables' names. Imports only the payloads they stand for.

use std::fmt;

use super::{Marker, Payloads};

/// The most that one `${rand:N}` gives.
const RAND_BYTES_MAX: usize = 1 << 20;

/// Characters of a template that `Display` shows.
const SHOWN_CHARS: usize = 60;

const KNOWN: &str = "${marker}, ${payload}, ${conn}, ${seq}, ${rand:N} and ${channel}";

/// A message to send, with variables: `${marker}` 32 characters that are found again, `${payload}` the same and filler up to the payload's size, `${conn}`
/// and `${seq}` numbers in decimal, `${rand:N}` N random letters and digits, `${channel}` a channel's name. `$${` stands for a literal `${`.
///
/// `Display` gives the source in one line, cut where it is long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(Vec<u8>),
    Marker,
    Payload,
    Conn,
    Seq,
    Rand(usize),
    Channel,
}

/// What the variables stand for in one message.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    /// `${marker}`, and `${payload}`'s.
    pub marker: Marker,
    /// `${conn}`.
    pub conn: u64,
    /// `${seq}`.
    pub seq: u64,
    /// `${channel}`.
    pub channel: &'a str,
}

impl Template {
    /// Parses a template's text.
    ///
    /// # Errors
    /// One line that names the byte (from 0): a variable that is not known or not ended, a length of `${rand:N}` out of range, a second marker.
    pub fn parse(text: &str) -> Result<Template, String> {
        let mut parts = Vec::new();
        let mut literal = Vec::new();
        let mut place = 0;
        while let Some(&byte) = text.as_bytes().get(place) {
            let rest = &text.as_bytes()[place..];
            if rest.starts_with(b"$${") {
                literal.extend_from_slice(b"${");
                place += 3;
            } else if rest.starts_with(b"${") {
                let Some((name, _)) = text[place + 2..].split_once('}') else {
                    return Err(format!("byte {place}: ${{ without }}; a literal ${{ is written $${{"));
                };
                let part = Part::named(name).map_err(|wrong| format!("byte {place}: {wrong}"))?;
                if part.is_marker() && parts.iter().any(Part::is_marker) {
                    return Err(format!("byte {place}: a second marker; a message holds one ${{marker}} or one ${{payload}}"));
                }
                if !literal.is_empty() {
                    parts.push(Part::Literal(std::mem::take(&mut literal)));
                }
                parts.push(part);
                place += name.len() + 3;
            } else {
                literal.push(byte);
                place += 1;
            }
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(Template { parts })
    }

    /// These bytes as they are, `${` included.
    pub fn literal(bytes: impl Into<Vec<u8>>) -> Template {
        let bytes = bytes.into();
        Template { parts: if bytes.is_empty() { Vec::new() } else { vec![Part::Literal(bytes)] } }
    }

    /// Whether it holds `${marker}` or `${payload}`.
    pub fn has_marker(&self) -> bool {
        self.parts.iter().any(Part::is_marker)
    }

    /// Whether it holds `${payload}`.
    pub fn has_payload(&self) -> bool {
        self.parts.contains(&Part::Payload)
    }

    /// Whether a message is a payload and nothing else.
    pub fn is_payload(&self) -> bool {
        self.parts == [Part::Payload]
    }

    /// Appends the message. `rng` gives what is random in it.
    pub fn render(&self, values: &Values<'_>, payloads: &Payloads, rng: &mut fastrand::Rng, out: &mut Vec<u8>) {
        for part in &self.parts {
            match part {
                Part::Literal(bytes) => out.extend_from_slice(bytes),
                Part::Marker => payloads.write_marker(&values.marker, out),
                Part::Payload => payloads.write(&values.marker, out),
                Part::Conn => decimal(values.conn, out),
                Part::Seq => decimal(values.seq, out),
                Part::Rand(bytes) => out.extend((0..*bytes).map(|_| rng.alphanumeric() as u8)),
                Part::Channel => out.extend_from_slice(values.channel.as_bytes()),
            }
        }
    }
}

impl Part {
    /// The variable of this name.
    fn named(name: &str) -> Result<Part, String> {
        match (name, name.strip_prefix("rand:")) {
            ("marker", _) => Ok(Part::Marker),
            ("payload", _) => Ok(Part::Payload),
            ("conn", _) => Ok(Part::Conn),
            ("seq", _) => Ok(Part::Seq),
            ("channel", _) => Ok(Part::Channel),
            (_, Some(bytes)) => match bytes.parse() {
                Ok(bytes) if (1..=RAND_BYTES_MAX).contains(&bytes) => Ok(Part::Rand(bytes)),
                _ => Err(format!("${{rand:N}} takes a number of characters from 1 to {RAND_BYTES_MAX}")),
            },
            _ => Err(format!("${{{}}} is not known; known are {KNOWN}; a literal ${{ is written $${{", name.escape_debug())),
        }
    }

    fn is_marker(&self) -> bool {
        matches!(self, Part::Marker | Part::Payload)
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Part::Literal(bytes) => {
                for chunk in bytes.utf8_chunks() {
                    for char in chunk.valid().replace("${", "$${").chars() {
                        if char.is_control() { write!(f, "{}", char.escape_default())? } else { write!(f, "{char}")? }
                    }
                    write!(f, "{}", chunk.invalid().escape_ascii())?;
                }
                Ok(())
            }
            Part::Marker => f.write_str("${marker}"),
            Part::Payload => f.write_str("${payload}"),
            Part::Conn => f.write_str("${conn}"),
            Part::Seq => f.write_str("${seq}"),
            Part::Rand(bytes) => write!(f, "${{rand:{bytes}}}"),
            Part::Channel => f.write_str("${channel}"),
        }
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source: String = self.parts.iter().map(Part::to_string).collect();
        match source.char_indices().nth(SHOWN_CHARS) {
            Some((end, _)) => write!(f, "{}…", &source[..end]),
            None => f.write_str(&source),
        }
    }
}

/// Appends `number`, without the machinery of `fmt`: this runs for every message.
fn decimal(number: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    let mut left = number;
    loop {
        start -= 1;
        digits[start] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            return out.extend_from_slice(&digits[start..]);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::Found, *};

    const VALUES: Values<'static> = Values { marker: Marker { sender: 3, seq: 5, intended_ns: 8 }, conn: 13, seq: 0, channel: "news" };

    fn rendered(template: &Template) -> (Vec<u8>, Payloads) {
        let payloads = Payloads::new(1, 2, 40, template);
        let mut out = Vec::new();
        template.render(&VALUES, &payloads, &mut fastrand::Rng::with_seed(1), &mut out);
        (out, payloads)
    }

    #[test]
    fn every_variable() {
        let template =
            Template::parse("{\"to\":\"${channel}\",\"n\":[${conn},${seq}],\"é\":\"$${x} $ ${rand:9}\",\"p\":\"${payload}\"}").unwrap();
        let (message, payloads) = rendered(&template);
        assert_eq!(payloads.find(&message), Found::Marker(VALUES.marker));
        let text = String::from_utf8(message).unwrap();
        let random = text.strip_prefix("{\"to\":\"news\",\"n\":[13,0],\"é\":\"${x} $ ").unwrap().split_once('"').unwrap().0;
        assert!(random.len() == 9 && random.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{random}");
        assert!(template.has_marker() && template.has_payload());

        let template = Template::parse("${marker}").unwrap();
        let (message, payloads) = rendered(&template);
        assert_eq!((message.len(), payloads.find(&message)), (32, Found::Marker(VALUES.marker)));
        assert!(template.has_marker() && !template.has_payload());
    }

    #[test]
    fn a_literal_is_left_alone() {
        let template = Template::literal(b"${marker} \xff".to_vec());
        assert!(!template.has_marker());
        assert_eq!(rendered(&template).0, b"${marker} \xff");
        assert_eq!(Template::literal(""), Template::parse("").unwrap());
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        for (text, says) in [
            ("ab${mark}", "byte 2: ${mark} is not known; known are ${marker}, ${payload}, ${conn}, ${seq}, ${rand:N} and ${channel}"),
            ("é${seq", "byte 2: ${ without }"),
            ("${rand:0}", "byte 0: ${rand:N} takes a number of characters from 1 to 1048576"),
            ("${rand:}", "byte 0: ${rand:N} takes"),
            ("${rand:1048577}", "byte 0: ${rand:N} takes"),
            ("${marker} ${payload}", "byte 10: a second marker"),
        ] {
            let error = Template::parse(text).unwrap_err();
            assert!(error.starts_with(says), "{text}: {error}");
        }
    }

    #[test]
    fn display_is_one_short_line() {
        assert_eq!(Template::literal(b"a\n\"\xfe${".to_vec()).to_string(), "a\\n\"\\xfe$${");
        let long = Template::parse(&format!("{}${{seq}}", "é".repeat(100))).unwrap().to_string();
        assert_eq!(long, format!("{}…", "é".repeat(60)));
    }

    proptest! {
        #[test]
        fn display_parses_to_the_same(text in "([a-z{}$ ]|\\$\\{(marker|conn|seq|channel|rand:7)\\}){0,5}") {
            if let Ok(template) = Template::parse(&text) {
                prop_assert_eq!(Template::parse(&template.to_string()), Ok(template));
            }
        }

        #[test]
        fn numbers_are_decimal(number: u64) {
            let mut out = Vec::new();
            decimal(number, &mut out);
            prop_assert_eq!(out, number.to_string().into_bytes());
        }
    }
}
