//! The workspace's binaries, built from the sources as they stand. Imports nothing.

use std::env;
use std::path::PathBuf;
use std::process::Command;

/// Builds the binary that has its package's name, in the profile this test was built in, so that no test runs against an old one.
pub(crate) fn build(package: &str) -> PathBuf {
    // A test executable is <target>/<profile directory>/deps/<name>.
    let executable = env::current_exe().expect("a path");
    let profile_directory = executable.ancestors().nth(2).expect("deps lies in a profile's directory");
    let target = profile_directory.parent().expect("a profile's directory lies in target");
    let profile = match profile_directory.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--package", package, "--profile", profile, "--target-dir"])
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .expect("cargo starts");
    assert!(built.success(), "{package} does not build");
    profile_directory.join(package)
}
