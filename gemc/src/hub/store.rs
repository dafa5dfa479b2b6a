//! Where the files of a model lie in the hub's cache: blobs by hash, snapshots of links, revisions.

use std::fs::{self, File as Open, OpenOptions};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::HubError;
use super::listing::File;
use crate::import::hub::{HubCache, HubName};

/// The part of the cache that a model has.
#[derive(Debug)]
pub(super) struct Store {
    folder: PathBuf,
    locks: PathBuf,
}

impl Store {
    /// Makes the folders that are missing.
    pub(super) fn open(cache: &HubCache, name: &HubName) -> Result<Self, HubError> {
        let store = Self {
            folder: cache.root().join(name.folder()),
            locks: cache.root().join(".locks").join(name.folder()),
        };
        for folder in [store.folder.join("blobs"), store.locks.clone()] {
            fs::create_dir_all(&folder).map_err(failed(&folder))?;
        }
        Ok(store)
    }

    /// Where the contents of this hash are once they are whole.
    pub(super) fn blob(&self, hash: &str) -> PathBuf {
        self.folder.join("blobs").join(hash)
    }

    /// Where they are until then.
    pub(super) fn partial(&self, hash: &str) -> PathBuf {
        self.folder.join("blobs").join(format!("{hash}.incomplete"))
    }

    /// Whether a file is there.
    pub(super) fn has(&self, file: &File) -> bool {
        fs::metadata(self.blob(&file.hash)).is_ok_and(|meta| meta.len() == file.size)
    }

    /// Bytes of a file that are still to come.
    pub(super) fn missing(&self, file: &File) -> u64 {
        if self.has(file) {
            return 0;
        }
        let partial = fs::metadata(self.partial(&file.hash)).map_or(0, |meta| meta.len());
        file.size.saturating_sub(partial)
    }

    /// Waits until nobody else fetches these contents; Hugging Face's own library locks the same file.
    pub(super) fn lock(&self, hash: &str) -> Result<Open, HubError> {
        let path = self.locks.join(format!("{hash}.lock"));
        let open = || {
            let file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path)?;
            file.lock()?;
            Ok(file)
        };
        open().map_err(failed(&path))
    }

    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    /// Links the files of a commit.
    pub(super) fn link(&self, commit: &str, files: &[&File]) -> Result<(), HubError> {
        for file in files {
            let up = "../".repeat(2 + file.name.matches('/').count());
            let target = PathBuf::from(format!("{up}blobs/{}", file.hash));
            let place = self.snapshot(commit).join(&file.name);
            replace(&place, |new| symlink(&target, new)).map_err(failed(&place))?;
        }
        Ok(())
    }

    /// Says which commit a revision is.
    pub(super) fn refer(&self, revision: &str, commit: &str) -> Result<(), HubError> {
        let place = self.folder.join("refs").join(revision);
        replace(&place, |new| fs::write(new, commit)).map_err(failed(&place))
    }
}

/// Puts what `make` makes at a place, whole or not at all.
fn replace(place: &Path, make: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let folder = place.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let new = folder.join(format!(".gemc-{}", std::process::id()));
    let _ = fs::remove_file(&new);
    let made = make(&new).and_then(|()| fs::rename(&new, place));
    if made.is_err() {
        let _ = fs::remove_file(&new);
    }
    made
}

pub(super) fn failed(path: &Path) -> impl Fn(io::Error) -> HubError + '_ {
    |source| HubError::writing(path.to_owned(), &path.display().to_string(), 0, source)
}
