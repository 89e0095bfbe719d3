//! The backends of x86_64: AVX2, and AVX-512 with its byte permutations (VBMI, VBMI2), as of Ice Lake and Zen 4. A file a kernel, both backends in it.
//! Every function here that needs a CPU feature is reached through a table that [`available`] gives out only where the CPU has it.

pub(super) mod accept;
mod base64;
mod head;
mod mask;
mod sha_ni;
mod utf8;

use super::Kernels;

static AVX512: Kernels = Kernels { name: "avx512", index: head::avx512, mask: mask::avx512, utf8: utf8::avx512, accept: accept::avx512 };

static AVX2: Kernels = Kernels { name: "avx2", index: head::avx2, mask: mask::avx2, utf8: utf8::avx2, accept: accept::avx2 };

/// The backends that this CPU can run, the best first.
pub(super) fn available() -> [Option<&'static Kernels>; 2] {
    let avx2 = is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("popcnt");
    let avx512 = avx2
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vbmi")
        && is_x86_feature_detected!("avx512vbmi2");
    [avx512.then_some(&AVX512), avx2.then_some(&AVX2)]
}
