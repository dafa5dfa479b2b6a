//! What was made before and can be used again: quantised matrices, weight files, programs.
//!
//! Entries are named by the SHA-256 of everything they were made from, written beside their place and renamed, and
//! compared with their checksum before use: one that is damaged, cut short or of something else is made anew. Losing
//! the whole folder, or being unable to write it, costs time and nothing else.
//!
//! `$GEMC_CACHE`: `matrices/KEY` (see [`entry`]), `digests/KEY` (see [`digest`]), `weights/KEY/` (weight file and
//! texts, see `backend`), `programs`, `crates`, `runtime`, `target` (see `package::Builder`).

mod digest;
mod entry;

use std::io;
use std::path::{Path, PathBuf};

pub use digest::digest_of;
pub use entry::{Entry, Sink};

/// SHA-256 of what an entry was made from.
pub type Key = [u8; 32];

/// Why there is no cache.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// No variable says where.
    #[error("no cache folder: set GEMC_CACHE, XDG_CACHE_HOME or HOME")]
    NoFolder,
    /// The folder cannot be made.
    #[error("cache folder {}: {source}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// The folder of everything that was made before.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// The user's: `$GEMC_CACHE`, else `gemc` in `$XDG_CACHE_HOME`, else `~/.cache/gemc`.
    ///
    /// # Errors
    /// When none of the variables is set, or the folder cannot be made.
    pub fn open() -> Result<Self, CacheError> {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let root = set("GEMC_CACHE")
            .map(PathBuf::from)
            .or_else(|| set("XDG_CACHE_HOME").map(|dir| PathBuf::from(dir).join("gemc")))
            .or_else(|| set("HOME").map(|dir| PathBuf::from(dir).join(".cache/gemc")))
            .ok_or(CacheError::NoFolder)?;
        Self::at(&root)
    }

    /// The one in this folder, which is made if need be.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn at(root: &Path) -> Result<Self, CacheError> {
        let made = std::fs::create_dir_all(root).and_then(|()| root.canonicalize());
        let root = made.map_err(|source| CacheError::Io {
            path: root.to_owned(),
            source,
        })?;
        Ok(Self { root })
    }

    /// The folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }
}

#[cfg(test)]
mod tests;
