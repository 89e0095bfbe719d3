//! The inner loops that are worth a vector unit, behind one table of functions: [`kernels`] picks the best backend that this CPU has,
//! once. Callers never name a backend. Every backend gives the answers of [`scalar`], which is the reference and stays for ever.
//! Imports nothing of this crate.

mod scalar;

/// What a request's bytes are, 64 at a time: bit `i` of each map speaks of byte `i` of the block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bitmaps {
    /// No tchar (RFC 9110 §5.6.2), so a field name ends here.
    pub not_token: u64,
    /// A control character other than HTAB (RFC 9110 §5.5), so a field value ends here.
    pub not_value: u64,
}

/// Bytes that one [`Bitmaps`] describes.
pub const BLOCK_BYTES: usize = 64;

/// How far a run of bytes is UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Utf8Run {
    /// All of it.
    Valid,
    /// All of it but for a sequence that begins at this byte and may yet be completed.
    Incomplete(usize),
    /// No continuation makes it valid.
    Invalid,
}

/// One backend.
pub struct Kernels {
    /// Its name, for benchmarks and logs.
    pub name: &'static str,
    /// Describes the bytes block by block, as many as there are maps for; bits past the last byte are clear. Returns the bytes described.
    pub classify: fn(bytes: &[u8], maps: &mut [Bitmaps]) -> usize,
    /// XORs the payload with the masking key, RFC 6455 §5.3; the key's first byte meets the payload's first.
    pub mask: fn(payload: &mut [u8], key: [u8; 4]),
    /// Checks a run that starts at a character's boundary.
    pub utf8: fn(bytes: &[u8]) -> Utf8Run,
    /// SHA-1 of each 24-byte key followed by the GUID of RFC 6455 §1.3; both slices have the same length.
    pub accept: fn(keys: &[[u8; 24]], digests: &mut [[u8; 20]]),
}

/// The backend for this CPU.
#[inline]
pub fn kernels() -> &'static Kernels {
    &scalar::KERNELS
}
