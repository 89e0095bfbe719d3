//! The inner loops that are worth a vector unit, behind one table of functions: [`kernels`] picks the best backend that this CPU has,
//! once. Callers never name a backend. Every backend gives the answers of `scalar`, which is the reference and stays for ever: one test
//! suite is mounted on all that the CPU can run.
//!
//! What the backends share is beside them: `head` and `sha1` hold each algorithm once, over the vector operations that a backend brings.
//! Imports nothing of this crate.

mod head;
pub(crate) mod mask;
mod scalar;
mod sha1;
pub(crate) mod utf8;

#[cfg(target_arch = "aarch64")]
#[path = "aarch64/mod.rs"]
mod arch;
#[cfg(target_arch = "x86_64")]
#[path = "x86_64/mod.rs"]
mod arch;

#[cfg(not(any(target_arch = "aarch64", target_arch = "x86_64")))]
compile_error!("Fantail is for x86_64 and aarch64");

use std::{env, fmt, sync::OnceLock};

pub(crate) use head::is_token;
pub use head::{BLOCK_BYTES, HeadCarry};

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

/// How far [`Kernels::index`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Indexed {
    /// Bytes that are described.
    pub bytes: usize,
    /// Positions that are written.
    pub marks: usize,
}

/// One backend.
pub struct Kernels {
    /// Its name, for benchmarks and logs.
    pub name: &'static str,
    /// Finds where names and lines of a head end: writes to `marks` the positions in `bytes` that [`HeadCarry`] tells, in order, for as many blocks
    /// of [`BLOCK_BYTES`] as there is room if every byte is one. `carry` is moved past the whole blocks among them; a last block that is not
    /// whole is to be given again, with what follows it. A position is at most 65,535.
    pub index: fn(bytes: &[u8], carry: &mut HeadCarry, marks: &mut [u16]) -> Indexed,
    /// XORs the payload with the masking key, RFC 6455 §5.3; the key's first byte meets the payload's first.
    pub mask: fn(payload: &mut [u8], key: [u8; 4]),
    /// Checks a run that starts at a character's boundary.
    pub utf8: fn(bytes: &[u8]) -> Utf8Run,
    /// For each 24-byte key the base64 of SHA-1 of it and the GUID of RFC 6455 §1.3; both slices have the same length.
    pub accept: fn(keys: &[[u8; 24]], accepts: &mut [[u8; 28]]),
}

/// The environment variable that forces a backend by its name, for tests and comparisons.
pub const VARIABLE: &str = "FANTAIL_SIMD";

/// [`VARIABLE`] names a backend that does not exist, or that this CPU cannot run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAvailable(String);

impl fmt::Display for NotAvailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = available().map(|kernels| kernels.name).collect();
        write!(f, "{VARIABLE} is {:?}: this CPU has {}", self.0, names.join(", "))
    }
}

impl std::error::Error for NotAvailable {}

/// The backend for this CPU, or the one that [`VARIABLE`] forces; where it cannot be had, the best, so a program asks [`choose`] at its start.
#[inline]
pub fn kernels() -> &'static Kernels {
    static CHOSEN: OnceLock<&'static Kernels> = OnceLock::new();
    CHOSEN.get_or_init(|| choose().unwrap_or_else(|_| best()))
}

/// The backend that [`kernels`] gives.
///
/// # Errors
/// [`NotAvailable`]
pub fn choose() -> Result<&'static Kernels, NotAvailable> {
    match env::var_os(VARIABLE) {
        None => Ok(best()),
        Some(forced) => {
            available().find(|kernels| *kernels.name == *forced).ok_or_else(|| NotAvailable(forced.to_string_lossy().into_owned()))
        }
    }
}

/// Every backend that this CPU can run, the best first.
pub fn available() -> impl Iterator<Item = &'static Kernels> {
    arch::available().into_iter().flatten().chain([&scalar::KERNELS])
}

fn best() -> &'static Kernels {
    available().next().unwrap_or(&scalar::KERNELS)
}

#[cfg(test)]
mod tests;
