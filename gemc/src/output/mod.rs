//! Where results go: a folder that appears whole or not at all, and a file that is replaced whole or not at all.
//!
//! Invariant: nothing is replaced or removed that gemc did not write, and a place is tried before the work that is to be
//! written there: folders above it are made, something is really written beside it, and what stands there is looked at.

mod file;
mod folder;
mod keep;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub use file::{CompleteFile, Kind, OutputFile, place_all, through_links};
pub use folder::{Keep, OutputFolder};

/// Why something could not be written.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// Something is in the way of a folder.
    #[error("{}: exists and is not an empty folder; allowed: a new or an empty one", .0.display())]
    Occupied(PathBuf),
    /// The path can never be a folder's.
    #[error("`{}` names no folder that could be written", .0.display())]
    NoFolder(PathBuf),
    /// Another file system is mounted at the path, so the folder cannot be renamed.
    #[error("{}: a file system is mounted here, so it cannot be replaced as a whole; allowed: a folder in it", .0.display())]
    Mounted(PathBuf),
    /// Another process writes the same folder.
    #[error("{}: is being written by another gemc", .0.display())]
    Busy(PathBuf),
    /// A run was killed between two renames, and since then something else took the place.
    #[error("{}: holds what was at {} before an update that was killed; move it away, or back", old.display(), target.display())]
    Interrupted {
        /// The folder.
        target: PathBuf,
        /// What was there before.
        old: PathBuf,
    },
    /// A file that must stay, or a path that is no file's.
    #[error("`{}` {what}", path.display())]
    Refused {
        /// The path as it was given.
        path: PathBuf,
        /// Why, and what is allowed.
        what: String,
    },
    /// The system refused, for instance because the disk is full.
    #[error("{}: cannot be written: {source}", path.display())]
    Io {
        /// What was to be written.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl OutputError {
    fn refused(path: &Path, what: impl Into<String>) -> Self {
        Self::Refused {
            path: path.to_owned(),
            what: what.into(),
        }
    }
}

fn failed(path: &Path) -> impl Fn(io::Error) -> OutputError + '_ {
    |source| OutputError::Io {
        path: path.to_owned(),
        source,
    }
}

/// Whether writing failed because there is no room left.
#[must_use]
pub fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Folders that were made for something to be written in them; dropped, those go in which nothing was.
#[derive(Debug, Default)]
struct Parents(Vec<PathBuf>);

impl Parents {
    /// Makes a folder and all above it.
    fn make(folder: &Path) -> io::Result<Self> {
        let mut made = Self::default();
        let missing: Vec<&Path> = folder
            .ancestors()
            .take_while(|above| !above.as_os_str().is_empty() && !above.exists())
            .collect();
        for folder in missing.into_iter().rev() {
            match fs::create_dir(folder) {
                Ok(()) => made.0.push(folder.to_owned()),
                // Somebody else did, or it is `a/..` for an `a` that was just made.
                Err(_) if folder.is_dir() => {}
                Err(e) => return Err(e),
            }
        }
        Ok(made)
    }
}

impl Drop for Parents {
    fn drop(&mut self) {
        for folder in self.0.iter().rev() {
            // One that is not empty stays, as it should.
            let _ = fs::remove_dir(folder);
        }
    }
}

/// The folder that a path's last name is in.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
