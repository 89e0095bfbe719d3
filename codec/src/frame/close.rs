//! Close frames, RFC 6455 §5.5.1 and §7.4.

use crate::{error::PeerError, frame::Utf8, limits::CLOSE_REASON_BYTES_MAX};

/// Why a connection ends, RFC 6455 §7.4; 3000–3999 belong to libraries, 4000–4999 to applications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseCode(u16);

#[allow(missing_docs, reason = "each is the code of its name in RFC 6455 §7.4.1 or IANA's registry")]
impl CloseCode {
    pub const NORMAL: CloseCode = CloseCode(1000);
    pub const GOING_AWAY: CloseCode = CloseCode(1001);
    pub const PROTOCOL_ERROR: CloseCode = CloseCode(1002);
    pub const INVALID_PAYLOAD: CloseCode = CloseCode(1007);
    pub const POLICY_VIOLATION: CloseCode = CloseCode(1008);
    pub const MESSAGE_TOO_BIG: CloseCode = CloseCode(1009);
    pub const INTERNAL_ERROR: CloseCode = CloseCode(1011);
    pub const TRY_AGAIN_LATER: CloseCode = CloseCode(1013);
}

impl CloseCode {
    /// The code, if it may stand in a close frame: 1005, 1006 and 1015 may not, nor what nobody has defined.
    pub fn new(code: u16) -> Option<CloseCode> {
        matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999).then_some(CloseCode(code))
    }

    /// The number on the wire.
    pub fn get(self) -> u16 {
        self.0
    }
}

/// The code and reason in a close frame's payload; `None` where it is empty.
///
/// # Errors
/// [`PeerError::CloseFrame`] for one byte or a code that may not be sent, [`PeerError::Utf8`] for a reason that is no text.
pub fn parse(payload: &[u8]) -> Result<Option<(CloseCode, &str)>, PeerError> {
    match payload {
        [] => Ok(None),
        [_] => Err(PeerError::CloseFrame),
        [high, low, reason @ ..] => {
            let code = CloseCode::new(u16::from_be_bytes([*high, *low])).ok_or(PeerError::CloseFrame)?;
            Utf8::check(reason)?;
            Ok(Some((code, std::str::from_utf8(reason).map_err(|_| PeerError::Utf8)?)))
        }
    }
}

/// The payload of a close frame; a reason that is too long is cut at a character's boundary.
pub fn payload(code: Option<CloseCode>, reason: &str) -> Vec<u8> {
    let Some(code) = code else { return Vec::new() };
    let reason = &reason.as_bytes()[..reason.floor_char_boundary(CLOSE_REASON_BYTES_MAX)];
    [&code.get().to_be_bytes(), reason].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_may_be_sent() {
        for code in 0..=u16::MAX {
            let expected = match code {
                1004..=1006 | 1015 => false,
                1000..=1014 | 3000..=4999 => true,
                _ => false,
            };
            assert_eq!(CloseCode::new(code).is_some(), expected, "{code}");
        }
    }

    #[test]
    fn payloads() {
        assert_eq!(parse(b""), Ok(None));
        assert_eq!(parse(b"\x03"), Err(PeerError::CloseFrame));
        assert_eq!(parse(b"\x03\xe8bye"), Ok(Some((CloseCode::NORMAL, "bye"))));
        assert_eq!(parse(b"\x03\xed"), Err(PeerError::CloseFrame));
        assert_eq!(parse(b"\x03\xe8\xff"), Err(PeerError::Utf8));
        assert_eq!(payload(None, "x"), b"");
        assert_eq!(parse(&payload(Some(CloseCode::GOING_AWAY), &"é".repeat(100))), Ok(Some((CloseCode::GOING_AWAY, &*"é".repeat(61)))));
    }
}
