//! Shared helpers of the workspace tests.

pub mod emitted;
pub mod gemk;
pub mod goldens;
pub mod machine;
pub mod needs;
pub mod sample;

/// The programs of `docs/library.md`, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../docs/library.md")]
pub struct LibraryPage;

use std::path::{Path, PathBuf};

use gemc::package::{Destination, EditedFiles};

/// Where a package goes in a test: a new folder, or one with nothing but an earlier package.
#[must_use]
pub fn place(dir: &Path) -> Destination {
    // Tests damage what an earlier run left.
    Destination::new(dir, EditedFiles::Overwritten).expect("a new folder, or one of ours")
}

/// Folders of the tiny checkpoints, sorted; each has goldens.
#[must_use]
pub fn checkpoints() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(needs::repository("examples/checkpoints"));
    let paths = entries
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    let mut dirs: Vec<PathBuf> = paths
        .filter(|path| path.join("golden.safetensors").exists())
        .collect();
    dirs.sort();
    dirs
}
