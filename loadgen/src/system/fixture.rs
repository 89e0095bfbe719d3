//! Files of a kernel that is not this one, for the tests of this room.

use std::{env, fs, path::PathBuf, process};

use super::Files;

pub(super) struct Tree(PathBuf);

impl Tree {
    /// `name` is the test's own: tests run at the same time.
    pub(super) fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let root = env::temp_dir().join(format!("fantail-load-{name}-{}", process::id()));
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("create");
            fs::write(path, text).expect("write");
        }
        Self(root)
    }

    pub(super) fn files(&self) -> Files<'_> {
        Files(&self.0)
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        // A tree without files was never made.
        let _ = fs::remove_dir_all(&self.0);
    }
}
