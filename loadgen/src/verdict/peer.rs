//! The rules about the server itself: that it is the same all along, speaks the protocol and does what was agreed. Owns the hexdump; imports
//! the verdict's terms.

use std::fmt::Write;

use super::{BadPeer, Deflate, Finding, Kind, Observed, invalid, warning};

/// As much of a bad peer's bytes as is shown: a head of a response, or some frames.
const SHOWN_BYTES: usize = 256;

pub(super) fn deflate_mismatch(seen: &Observed) -> Option<Finding> {
    let Deflate { opened, agreed } = seen.deflate.filter(|deflate| deflate.agreed < deflate.opened)?;
    let mend = "turn permessage-deflate on there, or leave --deflate out";
    Some(warning(Kind::DeflateMismatch, format!("the server agreed to compression on {agreed} of {opened} connections: {mend}")))
}

pub(super) fn server_restarted(seen: &Observed) -> Option<Finding> {
    seen.server.as_ref().filter(|server| !server.is_same)?;
    let text = "the server's process ended or was replaced: see its log for why, and repeat with it running";
    Some(invalid(Kind::ServerRestarted, text.to_owned()))
}

pub(super) fn bad_peer(seen: &Observed) -> Option<Finding> {
    let BadPeer { connections, error, bytes } = seen.bad_peer.as_ref()?;
    let dump = hexdump(&bytes[..bytes.len().min(SHOWN_BYTES)]);
    let mend = "check that it is a WebSocket server and mend it";
    let text = format!("the server broke the protocol on {connections} connections, first with: {error}; {mend}\n{dump}");
    Some(invalid(Kind::BadPeer, text.trim_end().to_owned()))
}

/// Lines of 16 bytes: place, bytes, text.
fn hexdump(bytes: &[u8]) -> String {
    let mut dump = String::new();
    for (row, line) in bytes.chunks(16).enumerate() {
        let mut hex = String::new();
        for (column, byte) in line.iter().enumerate() {
            let gap = if column == 8 { " " } else { "" };
            let _ = write!(hex, "{gap}{byte:02x} ");
        }
        let text: String = line.iter().map(|&byte| if byte.is_ascii_graphic() || byte == b' ' { char::from(byte) } else { '.' }).collect();
        let _ = writeln!(dump, "{:08x}  {hex:<49} |{text}|", 16 * row);
    }
    dump
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            ServerUse, Severity,
            tests::{calm, severity, text},
        },
        *,
    };

    #[test]
    fn compression_on_some_connections_is_told() {
        let agreed = |agreed| severity(&Observed { deflate: Some(Deflate { opened: 50, agreed }), ..calm() }, Kind::DeflateMismatch);
        assert_eq!([50, 49, 0].map(agreed), [None, Some(Severity::Warning), Some(Severity::Warning)]);
    }

    #[test]
    fn another_process_is_another_server() {
        let server = calm().server.map(|server| ServerUse { is_same: false, ..server });
        assert_eq!(severity(&Observed { server, ..calm() }, Kind::ServerRestarted), Some(Severity::Invalid));
    }

    #[test]
    fn a_bad_peer_is_shown() {
        let bad = |bytes: &[u8]| {
            let bad_peer = BadPeer { connections: 3, error: "no HTTP response".to_owned(), bytes: bytes.to_vec() };
            Observed { bad_peer: Some(bad_peer), ..calm() }
        };
        assert_eq!(severity(&bad(b"SSH"), Kind::BadPeer), Some(Severity::Invalid));
        let text_of = |bytes: &[u8]| text(&bad(bytes), Kind::BadPeer);
        assert!(text_of(b"SSH-2.0").contains("no HTTP response"));
        assert!(text_of(b"SSH-2.0").ends_with("|SSH-2.0|"));
        assert_eq!(text_of(b"").lines().count(), 1);
        assert_eq!(text_of(&[0; 1000]).lines().count(), 1 + SHOWN_BYTES / 16);
    }

    #[test]
    fn hexdumps_look_as_usual() {
        let expected = "00000000  48 54 54 50 2f 31 2e 31  20 34 30 30 0d 0a 00 ff  |HTTP/1.1 400....|\n\
                        00000010  7e                                                |~|\n";
        assert_eq!(hexdump(b"HTTP/1.1 400\r\n\x00\xff~"), expected);
        assert_eq!(hexdump(b""), "");
    }
}
