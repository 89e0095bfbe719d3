//! The layers of the source, checked in its text: which package may depend on which, which room of a package (a top-level module) may import
//! which, what the codec must not touch, and where unsafe code and io_uring may be.
//!
//! The orders below are those of the documentation of each package's `lib.rs`; a new room is put into both.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Rooms from the bottom up: each imports only from those before it. Those in one string need each other.
const CODEC: &[&str] = &["limits", "simd", "error frame", "http1", "accept", "centrifuge", "deflate", "upgrade", "websocket"];

/// As [`CODEC`]; the last is the binary's.
const SERVER: &[&str] = &[
    "config",
    "auth",
    "metrics",
    "demo",
    "auth",
    "encode",
    "hub",
    "outbox",
    "subscribers",
    "route",
    "context",
    "session",
    "connection deadlines",
    "worker driver",
    "api",
    "server",
    "cli",
];

/// As [`CODEC`].
const LOADGEN: &[&str] = &[
    "clock",
    "units",
    "metrics",
    "payload",
    "stats",
    "url",
    "values",
    "threshold",
    "verdict",
    "plan",
    "system",
    "net",
    "report",
    "engine",
    "scenario",
    "doctor",
    "session",
];

/// A file of a package, without what is only there for tests.
struct Source {
    path: PathBuf,
    /// Its modules from the root: empty for `lib.rs` and `main.rs`, which put the rooms together.
    module: Vec<String>,
    code: String,
}

fn sources(package_name: &str) -> Vec<Source> {
    sources_below(package_name, "src")
}

fn sources_below(package_name: &str, folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(package_name).join(folder);
    let (mut directories, mut sources) = (vec![root.clone()], Vec::new());
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).expect("a directory of the source") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
                let below = path.strip_prefix(&root).expect("a path below the root");
                let mut module: Vec<String> = below.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
                module.pop_if(|last| matches!(last.as_str(), "mod" | "lib" | "main"));
                let code = without_tests_and_comments(&fs::read_to_string(&path).expect("UTF-8"));
                sources.push(Source { path: Path::new(package_name).join(folder).join(below), module, code });
            }
        }
    }
    assert!(!sources.is_empty(), "no source in {}", root.display());
    sources
}

/// The tests of a file are its last item.
fn without_tests_and_comments(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// Whether a byte may be part of a name.
fn in_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The code after each occurrence of `word` as a word of its own.
fn after_each<'a>(code: &'a str, word: &str) -> impl Iterator<Item = &'a str> {
    code.match_indices(word).filter_map(|(at, word)| {
        let after = &code[at + word.len()..];
        let apart = !code[..at].bytes().next_back().is_some_and(in_name) && !after.bytes().next().is_some_and(in_name);
        apart.then_some(after)
    })
}

/// What is named directly below `base`: of `crate::{a::{b, c}, d}` below `crate`, `a` and `d`.
fn named_below<'a>(code: &'a str, base: &str) -> Vec<&'a str> {
    after_each(code, base).filter_map(|after| after.strip_prefix("::")).flat_map(first_names).collect()
}

fn first_names(path: &str) -> Vec<&str> {
    let name = |path: &str| path.bytes().position(|byte| !in_name(byte)).unwrap_or(path.len());
    let Some(group) = path.strip_prefix('{') else { return vec![&path[..name(path)]] };
    let (mut names, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, byte) in group.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' if depth > 0 => depth -= 1,
            b',' | b'}' if depth == 0 => {
                let item = group[start..at].trim_start();
                names.extend(Some(&item[..name(item)]).filter(|name| !name.is_empty()));
                start = at + 1;
                if byte == b'}' {
                    break;
                }
            }
            _ => {}
        }
    }
    names
}

/// What a file names of its package's top level, by `crate::` or by as many `super::` as lead there.
fn rooms_named(source: &Source) -> Vec<&str> {
    let up = vec!["super"; source.module.len()].join("::");
    ["crate", &up].into_iter().flat_map(|base| named_below(&source.code, base)).collect()
}

fn imports_point_down(package_name: &str, order: &[&str]) {
    let level = |room: &str| order.iter().position(|level| level.split(' ').any(|listed| listed == room));
    let sources = sources(package_name);
    for source in &sources {
        let Some(room) = source.module.first() else { continue };
        let path = source.path.display();
        let own = level(room).unwrap_or_else(|| panic!("{path}: {room} has no place in the order"));
        for named in rooms_named(source) {
            let other = level(named).unwrap_or_else(|| panic!("{path}: {named:?} is no room; import it from the room that it is in"));
            assert!(other <= own, "{path}: {room} is below {named} and may not import it");
        }
    }
    for room in order.iter().flat_map(|level| level.split(' ')) {
        assert!(sources.iter().any(|source| source.module.first().is_some_and(|first| first == room)), "{package_name} has no room {room}");
    }
}

#[test]
fn the_codec_imports_downwards() {
    imports_point_down("codec", CODEC);
}

#[test]
fn the_server_imports_downwards() {
    imports_point_down("server", SERVER);
}

#[test]
fn the_load_generator_imports_downwards() {
    imports_point_down("loadgen", LOADGEN);
}

#[test]
fn the_codec_is_sans_io() {
    for source in sources("codec") {
        for module in ["fs", "net", "os", "process", "thread", "time"] {
            assert!(
                !named_below(&source.code, "std").contains(&module),
                "{}: the codec has no use for std::{module}",
                source.path.display()
            );
        }
    }
}

#[test]
fn unsafe_code_is_in_kernels_and_drivers() {
    for package in ["codec", "server", "loadgen", "bench", "tests"] {
        for source in sources(package) {
            let room = source.module.first().map(String::as_str);
            let may = matches!((package, room), ("codec", Some("simd")) | ("server", Some("driver")));
            assert!(may || after_each(&source.code, "unsafe").next().is_none(), "{}: unsafe code", source.path.display());
        }
    }
}

/// The worker, and with it the other driver, knows nothing of rings, so that it runs where there are none.
#[test]
fn io_uring_is_in_its_driver() {
    let mut used = Vec::new();
    for package in ["codec", "server", "loadgen", "tests"] {
        for source in sources(package) {
            let may = package == "server" && source.module.starts_with(&["driver".to_owned(), "uring".to_owned()]);
            for name in ["io_uring", "monoio"] {
                let uses = !named_below(&source.code, name).is_empty();
                assert!(may || !uses, "{}: {name} belongs into server/src/driver/uring", source.path.display());
                used.extend(uses.then_some(name));
            }
        }
    }
    assert!(used.contains(&"io_uring") && used.contains(&"monoio"), "only {used:?} are used");
}

/// The manifests' dependencies on each other, those for tests included; and the codec's on what does I/O, which is none.
#[test]
fn packages_depend_on_the_codec_only() {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--no-deps", "--offline", "--format-version", "1"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    let metadata: Value = serde_json::from_slice(&cargo.output().expect("cargo starts").stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let names = |list: &Value| -> Vec<String> {
        list.as_array().expect("a list").iter().map(|item| item["name"].as_str().expect("a name").to_owned()).collect()
    };
    let ours = names(&metadata["packages"]);
    for package in packages {
        let name = package["name"].as_str().expect("a name");
        for dependency in names(&package["dependencies"]) {
            let may = match name {
                "fantail-codec" => {
                    !["io-uring", "mio", "monoio", "rustix", "socket2", "tokio", "tracing"].contains(&dependency.as_str())
                        && !ours.contains(&dependency)
                }
                "fantail" | "fantail-load" => dependency == "fantail-codec" || !ours.contains(&dependency),
                // Its fuzz targets hold the codec against the naive code of its harness.
                "fantail-tests" => dependency == "fantail-codec" || !ours.contains(&dependency),
                // Its suites measure the parts in memory.
                "fantail-bench" => ["fantail", "fantail-codec"].contains(&dependency.as_str()) || !ours.contains(&dependency),
                _ => !ours.contains(&dependency),
            };
            assert!(may, "{name} may not depend on {dependency}");
        }
    }
    assert!(ours.iter().any(|name| name == "fantail-codec"), "{ours:?}");
}

/// What the tests expect must not come from the code under test.
#[test]
fn the_tests_are_independent_witnesses() {
    for source in sources("tests").into_iter().chain(sources_below("tests", "tests")) {
        for package in ["fantail", "fantail_codec", "fantail_load"] {
            assert!(named_below(&source.code, package).is_empty(), "{}: names {package}", source.path.display());
        }
    }
}

#[test]
fn names_are_read_from_paths_and_groups() {
    let code = "use crate::{a::{b, c}, d,\n e::*};\nlet f = crate::f::g(&mycrate::no, crate_::no);\nuse super::super::{h};";
    assert_eq!(named_below(code, "crate"), ["a", "d", "e", "f"]);
    assert_eq!(named_below(code, "super::super"), ["h"]);
    assert_eq!(without_tests_and_comments("a\n  // b\n#[cfg(test)]\nmod tests {\n c"), "a");
}
