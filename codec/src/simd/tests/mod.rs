//! One suite for every backend: each kernel against its scalar twin, exhaustively where the domain is small. A backend that this CPU lacks
//! cannot run here; `scripts/test` shows which ones ran.

mod accept;
mod head;
mod mask;
mod utf8;

use super::*;

/// Runs a test on every backend that the CPU has.
fn on_each_backend(test: impl Fn(&Kernels)) {
    let mut names = Vec::new();
    for kernels in available() {
        test(kernels);
        names.push(kernels.name);
    }
    println!("ran on {}", names.join(", "));
    assert_eq!(names.last(), Some(&"scalar"));
}

#[test]
fn a_backend_is_found_by_its_name() {
    let names: Vec<&str> = available().map(|kernels| kernels.name).collect();
    for name in &names {
        assert_eq!(names.iter().filter(|other| *other == name).count(), 1);
    }
    match env::var(VARIABLE) {
        Ok(forced) => assert_eq!(choose().map(|kernels| kernels.name.to_owned()), Ok(forced)),
        Err(_) => assert_eq!(kernels().name, names[0]),
    }
    assert_eq!(NotAvailable("sse".into()).to_string(), format!("FANTAIL_SIMD is \"sse\": this CPU has {}", names.join(", ")));
}
