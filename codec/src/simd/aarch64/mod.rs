//! The backend of aarch64: NEON, which every such CPU has. A file a kernel.

pub(super) mod accept;
mod head;
mod mask;
mod sha;
mod utf8;

use super::Kernels;

static NEON: Kernels = Kernels { name: "neon", index: head::neon, mask: mask::neon, utf8: utf8::neon, accept: accept::neon };

/// The backends that this CPU can run, the best first.
pub(super) fn available() -> [Option<&'static Kernels>; 1] {
    [Some(&NEON)]
}
