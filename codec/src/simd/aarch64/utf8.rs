//! UTF-8, by the NEON code of `simdutf8`.

use crate::simd::{Utf8Run, utf8};

pub(super) fn neon(bytes: &[u8]) -> Utf8Run {
    utf8::run(bytes, |bytes| simdutf8::basic::from_utf8(bytes).is_ok())
}
