//! What was made before and can be used again: quantised matrices, weight files, programs.
//!
//! Entries are named by the SHA-256 of everything they were made from, written beside their place and renamed, and
//! compared with their checksum before use: one that is damaged, cut short or of something else is made anew. Losing
//! the whole folder, or being unable to write it, costs time and nothing else.
//!
//! `$GEMC_CACHE`: `matrices/KEY` (see [`entry`]), `measured/KEY` (see `sensitivity::Journal`), `digests/KEY` (see [`digest`]), `planned/KEY/` (see `plans`), `weights/KEY/` (weight file and
//! texts, sealed, see `package::kept_weights`), `programs`, `libraries`, `gemc-crate`, `target` (see `package::Builder`). Whatever nobody
//! used for 30 days goes; with `$GEMC_CACHE_LIMIT`, also what is beyond that size; on a full disk, what can be spared
//! (see [`trim`]). `gemc cache` shows and removes it (see [`contents`]); every process that has a [`Cache`] holds a shared
//! lock, so that nothing is removed under it (see [`users`]).

mod contents;
mod digest;
mod entry;
mod plans;
mod seal;
mod trim;
mod users;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub use contents::{Cleared, Contents, Kept, KindContents};
pub use digest::digest_of;
pub use entry::{Entry, Sink};
pub use plans::DamagedPlan;
pub use seal::{SEAL, is_sealed, seal};
pub use trim::{Bounds, used};
pub(crate) use trim::{CARGO, CARGO_MARK, CRATE};

use crate::output::is_full;

/// SHA-256 of what an entry was made from.
pub type Key = [u8; 32];

/// File that is locked while programs are built.
const BUILD_LOCK: &str = "lock";

/// Why there is no cache.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// No variable says where.
    #[error("no cache folder: set GEMC_CACHE, XDG_CACHE_HOME or HOME")]
    NoFolder,
    /// The folder cannot be made.
    #[error("cache folder {}: {source}", path.display())]
    Io {
        /// The folder that was to be made.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The size is none.
    #[error(
        "GEMC_CACHE_LIMIT is `{0}`; allowed: bytes as a number, or with K, M or G behind it, such as 20G"
    )]
    Limit(String),
}

/// The folder of everything that was made before.
///
/// ```
/// use gemc::cache::Cache;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let folder = tempfile::tempdir()?;
/// let cache = Cache::at(folder.path())?;
/// assert_eq!(cache.contents().entries, 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
    bounds: Bounds,
    /// Held as long as entries may be in use.
    user: users::User,
    /// The disk was full: this process stores no more matrices.
    full: Arc<AtomicBool>,
}

impl Cache {
    /// The user's: `$GEMC_CACHE`, else `gemc` in `$XDG_CACHE_HOME`, else `~/.cache/gemc`; of at most
    /// `$GEMC_CACHE_LIMIT` bytes, if that is set.
    ///
    /// # Errors
    /// When none of the variables is set, the folder cannot be made, or the size is none.
    pub fn open() -> Result<Self, CacheError> {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let root = set("GEMC_CACHE")
            .map(PathBuf::from)
            .or_else(|| set("XDG_CACHE_HOME").map(|dir| PathBuf::from(dir).join("gemc")))
            .or_else(|| set("HOME").map(|dir| PathBuf::from(dir).join(".cache/gemc")))
            .ok_or(CacheError::NoFolder)?;
        let limit = set("GEMC_CACHE_LIMIT");
        let limit = limit.as_ref().map(|limit| limit.to_string_lossy());
        let bounds = Bounds::parse(limit.as_deref())?;
        Ok(Self::at(&root)?.with_bounds(bounds))
    }

    /// The user's, or none where there can be none.
    ///
    /// # Errors
    /// [`CacheError::Limit`].
    pub fn if_possible() -> Result<Option<Self>, CacheError> {
        match Self::open() {
            Ok(cache) => Ok(Some(cache)),
            Err(CacheError::NoFolder | CacheError::Io { .. }) => Ok(None),
            Err(error @ CacheError::Limit(_)) => Err(error),
        }
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
        Ok(Self {
            user: users::User::of(&root),
            root,
            bounds: Bounds::default(),
            full: Arc::default(),
        })
    }

    /// Hears why something could not be written. When the disk is full, the cache gives back what it can, and takes no
    /// more matrices from this process; a plan or weights it still tries to keep.
    pub fn failed(&self, error: &io::Error) {
        if is_full(error) && !self.full.swap(true, Ordering::Relaxed) {
            self.make_room();
        }
    }

    fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// The same cache, kept within other bounds of age and size.
    #[must_use]
    pub fn with_bounds(self, bounds: Bounds) -> Self {
        Self { bounds, ..self }
    }

    /// The file that is locked while programs are built, open. Whatever is in it stays: the folder may be somebody's.
    ///
    /// # Errors
    /// From the system.
    pub(crate) fn build_lock(&self) -> io::Result<File> {
        let mut options = File::options();
        options.create(true).truncate(false).write(true);
        options.open(self.root.join(BUILD_LOCK))
    }

    /// The folder of what was measured for plans, where there is one.
    #[must_use]
    pub fn measurements(&self) -> Option<PathBuf> {
        let folder = self.root.join(trim::MEASURED);
        std::fs::create_dir_all(&folder).is_ok().then_some(folder)
    }

    /// The folder that everything in it lies under.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }
}

#[cfg(test)]
mod tests;
