//! What can go wrong between generated sources and a finished folder.

use std::path::{Path, PathBuf};

use crate::cache::CacheError;
use crate::output::OutputError;
use crate::package::toolchain::Missing;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// A file or folder cannot be used.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The output folder is not one of ours.
    #[error(
        "{dir} is not empty and holds `{file}`, which gemc did not write; choose another folder"
    )]
    Occupied {
        /// The folder.
        dir: PathBuf,
        /// A file in it.
        file: String,
    },
    /// Files of the output folder were changed by somebody.
    #[error(
        "{dir}: changed since gemc wrote it: {files}; keep what you need elsewhere and remove it here, or build with --overwrite"
    )]
    EditedFiles {
        /// The folder.
        dir: PathBuf,
        /// The files.
        files: String,
    },
    /// The output folder cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The weight file cannot be written.
    #[error(transparent)]
    Weights(#[from] gem_runtime::Error),
    /// A locked build would give something else.
    #[error(
        "{dir} is locked to what its manifest.json says, and this build differs: {differences}; build without --locked to change it"
    )]
    Locked {
        /// The folder.
        dir: PathBuf,
        /// What differs.
        differences: String,
    },
    /// There is nothing to keep to.
    #[error("--locked: {dir} has no manifest.json that gemc wrote; build once without --locked")]
    Unlocked {
        /// The folder.
        dir: PathBuf,
    },
    /// A path that leads out of the package; a defect of the compiler.
    #[error("a generated file would lie outside the package: {path}")]
    Outside {
        /// The path.
        path: String,
    },
    /// Two files of one path; a defect of the compiler.
    #[error("two generated files are called {path}")]
    Clash {
        /// The path.
        path: String,
    },
    /// A generated text is not what it should be; a defect of the compiler.
    #[error("generated {what} is malformed: {reason}")]
    Malformed {
        /// What.
        what: &'static str,
        /// Why.
        reason: String,
    },
    /// No home for what is made once.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// Cargo or rustc is not there.
    #[error(
        "cannot run {program}: {source}; a Rust toolchain (1.95 or newer) is needed to build programs"
    )]
    NoToolchain {
        /// What was called.
        program: String,
        /// Why it did not start.
        source: std::io::Error,
    },
    /// What programs of a target are made with is not all there.
    #[error(
        "programs for {triple} need more than is installed; `gemc doctor` shows all\n{}",
        lines(missing)
    )]
    Missing {
        /// The Rust target.
        triple: String,
        /// What is not there.
        missing: Vec<Missing>,
    },
    /// A system without static programs.
    #[error("--static is for Linux, with glibc or musl; {triple} has no static programs")]
    NoStatic {
        /// The Rust target.
        triple: String,
    },
    /// Cargo ran and failed.
    #[error("building the program failed; cargo says:\n{output}")]
    Cargo {
        /// The last lines it wrote.
        output: String,
    },
}

impl PackageError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Io {
            path: path.to_owned(),
            source,
        }
    }
}

fn lines(missing: &[Missing]) -> String {
    let lines: Vec<String> = missing.iter().map(Missing::to_string).collect();
    lines.join("\n")
}
