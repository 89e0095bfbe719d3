//! Payloads that come from elsewhere, as JSON values. Imports `check` and `string`.

use super::{check::is_json, string::write_string};

/// Appends any payload as a JSON value without LF, whatever it is, so that no client stumbles over it: JSON as it stands, but for line breaks
/// between its parts; other text as a string; other bytes, text if it is not UTF-8 among them, as a string of their base64.
pub fn write_data(payload: &[u8], is_text: bool, out: &mut Vec<u8>) {
    if is_json(payload) {
        // Inside of strings JSON has escapes instead.
        if memchr::memchr2(b'\n', b'\r', payload).is_none() {
            out.extend_from_slice(payload);
        } else {
            out.extend(payload.iter().filter(|byte| !matches!(byte, b'\n' | b'\r')));
        }
    } else if is_text && let Ok(text) = simdutf8::basic::from_utf8(payload) {
        write_string(text, out);
    } else {
        out.push(b'"');
        base64_simd::STANDARD.encode_append(payload, out);
        out.push(b'"');
    }
}
