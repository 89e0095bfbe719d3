//! Which parameters of permessage-deflate both sides agree to (RFC 7692 §5, §7.1), as server and as client.
//!
//! Owns the meaning of the parameters and the field's value as we write it; its grammar is in `grammar`.
//! Imports `grammar` and the window bounds.

use super::grammar::{Line, MalformedExtension, Parameter, Value};
use super::{WINDOW_BITS_MAX, WINDOW_BITS_MIN};

const NAME: &[u8] = b"permessage-deflate";

/// What the server wants.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Whether a client may refer back to its earlier messages, which costs the server an
    /// [`Inflater`](super::Inflater) per connection. If not, every answer carries `client_no_context_takeover`.
    pub client_context_takeover: bool,
}

/// What both sides agreed to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Agreement {
    /// The window of the server's compressor: 9 or 15 on our server, 8 to 15 in another server's answer.
    pub server_window_bits: u8,
    /// A bound on the window of the client's compressor: 8 to 15 as the client promised to our server, 9 to 15
    /// as our client must obey. Nothing depends on it to inflate: a window of 15 bits decodes all of them.
    pub client_window_bits: u8,
    /// The server compresses each message on its own.
    pub server_no_context_takeover: bool,
    /// The client compresses each message on its own.
    pub client_no_context_takeover: bool,
    /// The offer asked for a server window, and only then is the answer to name one.
    server_window_named: bool,
}

impl Agreement {
    /// Appends the value of `Sec-WebSocket-Extensions` that tells the client.
    ///
    /// `client_max_window_bits` is always left out, as RFC 7692 §7.1.2.2 lets us: the client may use any window.
    pub fn write_response(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(NAME);
        if self.server_no_context_takeover {
            out.extend_from_slice(b"; server_no_context_takeover");
        }
        if self.client_no_context_takeover {
            out.extend_from_slice(b"; client_no_context_takeover");
        }
        if self.server_window_named {
            out.extend_from_slice(b"; server_max_window_bits=");
            out.extend_from_slice(self.server_window_bits.to_string().as_bytes());
        }
    }
}

/// Chooses the first acceptable offer in the request's field lines, taken in their order.
///
/// `None`: the handshake goes on without compression, because nothing acceptable was offered, or there is no policy. All lines
/// are read to their end even so: a malformed one fails the handshake wherever it stands.
#[inline(always)]
pub fn negotiate<'a>(mut lines: impl Iterator<Item = &'a [u8]>, policy: Option<&Policy>) -> Result<Option<Agreement>, MalformedExtension> {
    let (first, second) = (lines.next(), lines.next());
    // Nearly every client's offer, without a look at the grammar.
    if let (Some(line), None) = (first, second)
        && let Some(offer) = common_offer(line)
    {
        return Ok(match policy {
            Some(policy) => offer.answer(policy),
            None => None,
        });
    }
    negotiate_any(first.into_iter().chain(second).chain(lines), policy)
}

fn negotiate_any<'a>(lines: impl Iterator<Item = &'a [u8]>, policy: Option<&Policy>) -> Result<Option<Agreement>, MalformedExtension> {
    let mut agreement = None;
    for_each_extension(lines, Side::Offer, |offer| {
        agreement = agreement.or_else(|| offer?.answer(policy?));
    })?;
    Ok(agreement)
}

/// Appends the value of `Sec-WebSocket-Extensions` with which our client asks for compression. It keeps no
/// context itself, and says so.
pub fn write_offer(out: &mut Vec<u8>) {
    out.extend_from_slice(NAME);
    out.extend_from_slice(b"; client_no_context_takeover; client_max_window_bits");
}

/// Judges a server's answer to [`write_offer`].
///
/// `None`: no compression. An answer that is malformed, holds what was not offered, or binds our compressor to the
/// window of 8 bits that zlib lacks, fails the connection (RFC 7692 §7.1).
pub fn accept_response<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Result<Option<Agreement>, MalformedExtension> {
    let mut answers = 0;
    let mut agreement = None;
    for_each_extension(lines, Side::Response, |answer| {
        answers += 1;
        agreement = answer.and_then(Parameters::accept);
    })?;
    match (answers, agreement) {
        (0, _) => Ok(None),
        (1, Some(agreement)) => Ok(Some(agreement)),
        _ => Err(MalformedExtension::NotOffered),
    }
}

/// What Chrome, Safari and ws offer, and Firefox.
#[inline(always)]
fn common_offer(line: &[u8]) -> Option<Parameters> {
    let client_max_window_bits = match line.strip_prefix(NAME)? {
        [] => None,
        rest if rest == b"; client_max_window_bits" => Some(WINDOW_BITS_MAX),
        _ => return None,
    };
    Some(Parameters { client_max_window_bits, ..Parameters::default() })
}

/// Hands each extension of the list to `take`: the parameters of a permessage-deflate, or `None` if it is another
/// extension or its parameters are to be declined.
#[inline]
fn for_each_extension<'a>(
    lines: impl Iterator<Item = &'a [u8]>,
    side: Side,
    mut take: impl FnMut(Option<Parameters>),
) -> Result<(), MalformedExtension> {
    let mut empty = None;
    for bytes in lines {
        empty.get_or_insert(true);
        let mut line = Line::new(bytes);
        while let Some(name) = line.extension()? {
            empty = Some(false);
            let mut parameters = (name == NAME).then(Parameters::default);
            while let Some(parameter) = line.parameter()? {
                parameters = parameters.and_then(|known| known.with(parameter, side));
            }
            take(parameters);
        }
    }
    // The list is `1#extension`: a field that is there names at least one.
    if empty == Some(true) {
        return Err(MalformedExtension::Grammar { at: 0, expected: "an extension" });
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Offer,
    Response,
}

/// The parameters of one permessage-deflate element, each at most once and valid.
#[derive(Clone, Copy, Default)]
struct Parameters {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    client_max_window_bits: Option<u8>,
}

impl Parameters {
    /// `None` declines the element: the parameter is unknown, there already, or its value does not fit.
    fn with(mut self, parameter: Parameter<'_>, side: Side) -> Option<Self> {
        let repeated = match (parameter.name, parameter.value) {
            (b"server_no_context_takeover", None) => std::mem::replace(&mut self.server_no_context_takeover, true),
            (b"client_no_context_takeover", None) => std::mem::replace(&mut self.client_no_context_takeover, true),
            (b"server_max_window_bits", Some(value)) => {
                let bits = window_bits(value)?;
                self.server_max_window_bits.replace(bits).is_some()
            }
            (b"client_max_window_bits", Some(value)) => {
                let bits = window_bits(value)?;
                self.client_max_window_bits.replace(bits).is_some()
            }
            // Without a value an offer says that the client understands the parameter, and bounds nothing.
            (b"client_max_window_bits", None) if side == Side::Offer => self.client_max_window_bits.replace(WINDOW_BITS_MAX).is_some(),
            _ => return None,
        };
        (!repeated).then_some(self)
    }

    /// The server's answer to this offer; `None` declines it.
    #[inline(always)]
    fn answer(self, policy: &Policy) -> Option<Agreement> {
        let server_window_bits = match self.server_max_window_bits {
            None | Some(WINDOW_BITS_MAX) => WINDOW_BITS_MAX,
            // Any smaller window gets the smallest one, so that a publication is compressed for two windows at most.
            Some(WINDOW_BITS_MIN..) => WINDOW_BITS_MIN,
            Some(_) => return None,
        };
        Some(Agreement {
            server_window_bits,
            client_window_bits: self.client_max_window_bits.unwrap_or(WINDOW_BITS_MAX),
            server_no_context_takeover: true,
            client_no_context_takeover: self.client_no_context_takeover || !policy.client_context_takeover,
            server_window_named: self.server_max_window_bits.is_some(),
        })
    }

    /// What our client makes of these parameters in a response; `None` if it cannot obey them.
    fn accept(self) -> Option<Agreement> {
        let client_window_bits = self.client_max_window_bits.unwrap_or(WINDOW_BITS_MAX);
        (client_window_bits >= WINDOW_BITS_MIN).then_some(Agreement {
            server_window_bits: self.server_max_window_bits.unwrap_or(WINDOW_BITS_MAX),
            client_window_bits,
            server_no_context_takeover: self.server_no_context_takeover,
            client_no_context_takeover: self.client_no_context_takeover,
            server_window_named: self.server_max_window_bits.is_some(),
        })
    }
}

/// A decimal number from 8 to 15 without leading zeros (RFC 7692 §7.1.2.1, §7.1.2.2).
fn window_bits(value: Value<'_>) -> Option<u8> {
    let mut digits = value.bytes();
    match (digits.next(), digits.next(), digits.next()) {
        (Some(digit @ b'8'..=b'9'), None, _) => Some(digit - b'0'),
        (Some(b'1'), Some(digit @ b'0'..=b'5'), None) => Some(10 + digit - b'0'),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    const STRICT: Policy = Policy { client_context_takeover: false };
    const BARE: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

    /// The response to these field lines; `None` where it is a 101 without the extension.
    fn answered(lines: &[&str], policy: &Policy) -> Option<String> {
        let agreement = negotiate(lines.iter().map(|line| line.as_bytes()), Some(policy)).unwrap()?;
        let mut out = Vec::new();
        agreement.write_response(&mut out);
        Some(String::from_utf8(out).unwrap())
    }

    fn answer(line: &str) -> Option<String> {
        answered(&[line], &STRICT)
    }

    fn accepted(lines: &[&str]) -> Result<Option<Agreement>, MalformedExtension> {
        accept_response(lines.iter().map(|line| line.as_bytes()))
    }

    #[test]
    fn checklist_23_unknown_extensions_are_left_out_and_malformed_fields_fail() {
        for unknown in ["foo", "constructor; __proto__=1", "x-webkit-deflate-frame", "bar; permessage-deflate"] {
            assert_eq!(answer(unknown), None);
            assert_eq!(answer(&format!("{unknown}, permessage-deflate")).as_deref(), Some(BARE));
        }
        assert_eq!(answered(&[], &STRICT), None);
        for malformed in [
            &[""][..],
            &[" , ", ""],
            &["permessage-deflate;"],
            &["permessage-deflate; server_max_window_bits=\"10"],
            &["permessage-deflate", "foo bar"],
            &["permessage-deflate foo"],
        ] {
            let lines = malformed.iter().map(|line| line.as_bytes());
            assert!(matches!(negotiate(lines, Some(&STRICT)), Err(MalformedExtension::Grammar { .. })), "{malformed:?}");
        }
    }

    #[test]
    fn common_offers_are_what_the_grammar_makes_of_them() {
        for offer in [&b"permessage-deflate; client_max_window_bits"[..], b"permessage-deflate"] {
            assert!(common_offer(offer).is_some());
            // White space that the shortcut does not know.
            let spelled = [b"\t", offer].concat();
            assert!(common_offer(&spelled).is_none());
            assert_eq!(negotiate([offer].into_iter(), Some(&STRICT)), negotiate([&spelled[..]].into_iter(), Some(&STRICT)));
            assert!(negotiate([offer].into_iter(), Some(&STRICT)).unwrap().is_some());
        }
    }

    #[test]
    fn checklist_25_offers_are_declined_not_refused() {
        for parameters in [
            "unknown",
            "unknown=1",
            "Server_no_context_takeover",
            "server_no_context_takeover; server_no_context_takeover",
            "client_no_context_takeover; client_no_context_takeover",
            "client_max_window_bits; client_max_window_bits",
            "client_max_window_bits=10; client_max_window_bits",
            "server_max_window_bits=10; server_max_window_bits=10",
            "server_no_context_takeover=1",
            "client_no_context_takeover=true",
            "server_max_window_bits",
            "server_max_window_bits=7",
            "server_max_window_bits=16",
            "server_max_window_bits=0",
            "server_max_window_bits=010",
            "server_max_window_bits=09",
            "server_max_window_bits=100",
            "server_max_window_bits=256",
            "server_max_window_bits=4294967306",
            "server_max_window_bits=-9",
            "server_max_window_bits=+9",
            "server_max_window_bits=1a",
            "server_max_window_bits=abc",
            "client_max_window_bits=7",
            "client_max_window_bits=16",
            "client_max_window_bits=08",
            "client_max_window_bits=\"1x\"",
        ] {
            let offer = format!("permessage-deflate; {parameters}");
            assert_eq!(answer(&offer), None, "{offer}");
            // The next offer is tried, on the same line and on the next.
            let next = answer(&format!("{offer}, permessage-deflate"));
            assert_eq!(next.as_deref(), Some(BARE), "{offer}");
            let next = answered(&[&offer, "foo", "permessage-deflate"], &STRICT);
            assert_eq!(next.as_deref(), Some(BARE), "{offer}");
        }
    }

    #[test]
    fn checklist_25_the_name_matches_exactly() {
        for name in ["Permessage-Deflate", "permessage-deflate2", "permessage", "x-permessage-deflate"] {
            assert_eq!(answer(name), None);
        }
    }

    #[test]
    fn checklist_26_server_parameters_are_echoed_and_obeyed() {
        assert_eq!(answer("permessage-deflate").as_deref(), Some(BARE));
        let echoed = answer("permessage-deflate; server_no_context_takeover");
        assert_eq!(echoed.as_deref(), Some(BARE));
        for (asked, bits) in [(15, 15), (14, 9), (12, 9), (10, 9), (9, 9)] {
            for offer in [
                format!("permessage-deflate; server_max_window_bits={asked}"),
                format!("permessage-deflate; server_max_window_bits=\"{asked}\""),
            ] {
                let agreement = negotiate([offer.as_bytes()].into_iter(), Some(&STRICT)).unwrap();
                assert_eq!(agreement.unwrap().server_window_bits, bits);
                let expected = format!("{BARE}; server_max_window_bits={bits}");
                assert_eq!(answer(&offer), Some(expected));
            }
        }
    }

    #[test]
    fn checklist_26_client_max_window_bits_is_understood_and_left_out() {
        for (offer, bits) in [
            ("permessage-deflate", 15),
            ("permessage-deflate; client_max_window_bits", 15),
            ("permessage-deflate; client_max_window_bits=15", 15),
            ("permessage-deflate; client_max_window_bits=8", 8),
        ] {
            let agreement = negotiate([offer.as_bytes()].into_iter(), Some(&STRICT)).unwrap();
            assert_eq!(agreement.unwrap().client_window_bits, bits);
            assert_eq!(answer(offer).as_deref(), Some(BARE));
        }
    }

    #[test]
    fn checklist_27_a_server_window_of_8_bits_is_declined() {
        let offer = "permessage-deflate; server_max_window_bits=8";
        assert_eq!(answer(offer), None);
        let next = answer(&format!("{offer}, permessage-deflate"));
        assert_eq!(next.as_deref(), Some(BARE));
    }

    #[test]
    fn the_client_keeps_its_context_only_if_both_sides_want_it() {
        let takeover = Policy { client_context_takeover: true };
        let kept = answered(&["permessage-deflate"], &takeover);
        assert_eq!(kept.as_deref(), Some("permessage-deflate; server_no_context_takeover"));
        let offer = "permessage-deflate; client_no_context_takeover";
        assert_eq!(answered(&[offer], &takeover).as_deref(), Some(BARE));
    }

    #[test]
    fn the_first_acceptable_offer_wins() {
        let lines = ["permessage-deflate; server_max_window_bits=8, permessage-deflate; server_max_window_bits=10", "permessage-deflate"];
        let expected = format!("{BARE}; server_max_window_bits=9");
        assert_eq!(answered(&lines, &STRICT), Some(expected));
    }

    /// CVE-2020-7662, CVE-2021-32640: these took minutes where a quoted string or its escapes were scanned twice.
    #[test]
    fn cve_2020_7662_long_quoted_strings_and_lists_take_linear_time() {
        let started = Instant::now();
        for line in [
            format!("a; b=\"{}\"", "\\x".repeat(1_000_000)),
            format!("a; b=\"{}", "\\c".repeat(1_000_000)),
            format!("a; b=\"{}", "\\\\".repeat(1_000_000)),
            format!("a{}b", " ".repeat(2_000_000)),
            ",".repeat(2_000_000),
            "permessage-deflate; x, ".repeat(100_000),
            format!("permessage-deflate{}", "; x".repeat(700_000)),
        ] {
            let agreement = negotiate([line.as_bytes()].into_iter(), Some(&STRICT));
            assert!(!matches!(agreement, Ok(Some(_))));
        }
        // Linear is some 100 ms in a debug build; quadratic would be hours.
        assert!(started.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn our_server_takes_our_client_s_offer_and_our_client_its_answer() {
        let mut offer = Vec::new();
        write_offer(&mut offer);
        let agreed = negotiate([&offer[..]].into_iter(), Some(&STRICT)).unwrap();
        let mut response = Vec::new();
        agreed.unwrap().write_response(&mut response);
        assert_eq!(accept_response([&response[..]].into_iter()), Ok(agreed));
    }

    #[test]
    fn the_client_takes_every_answer_that_rfc7692_7_1_allows() {
        assert_eq!(accepted(&[]), Ok(None));
        let full = accepted(&[
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=8; client_max_window_bits=9",
        ]);
        let bare = accepted(&["permessage-deflate"]);
        assert_eq!(
            [full, bare],
            [(8, 9, true), (15, 15, false)].map(|(server, client, no_takeover)| {
                Ok(Some(Agreement {
                    server_window_bits: server,
                    client_window_bits: client,
                    server_no_context_takeover: no_takeover,
                    client_no_context_takeover: no_takeover,
                    server_window_named: no_takeover,
                }))
            })
        );
    }

    #[test]
    fn the_client_refuses_what_does_not_answer_its_offer() {
        for lines in [
            &["foo"][..],
            &["permessage-deflate, foo"],
            &["permessage-deflate, permessage-deflate"],
            &["permessage-deflate", "permessage-deflate"],
            &["permessage-deflate; unknown"],
            &["permessage-deflate; client_max_window_bits"],
            &["permessage-deflate; client_max_window_bits=8"],
            &["permessage-deflate; client_max_window_bits=16"],
            &["permessage-deflate; server_max_window_bits"],
            &["permessage-deflate; server_no_context_takeover=1"],
            &["permessage-deflate; server_no_context_takeover; server_no_context_takeover"],
        ] {
            assert_eq!(accepted(lines), Err(MalformedExtension::NotOffered), "{lines:?}");
        }
        assert!(matches!(accepted(&["permessage-deflate;"]), Err(MalformedExtension::Grammar { at: 19, .. })));
    }
}
