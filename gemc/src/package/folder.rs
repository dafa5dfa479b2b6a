//! Files of a package -> its folder. Replaces a previous package, and nothing that gemc did not write; what belongs to
//! version control, cargo and desktops stays in the folder.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Component, Path, PathBuf};

use super::contents::{Contents, contents};
use super::{MANIFEST, Manifest, PackageError};
use crate::output::{Keep, OutputFolder};

/// Cargo's lock file, which cargo changes: the only file of a package that somebody else may.
const LOCK: &str = "Cargo.lock";

/// What becomes of files of a previous package that were changed since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EditedFiles {
    /// Nothing is replaced then.
    Refused,
    /// The same, and `Cargo.lock` is no exception.
    RefusedWithLock,
    /// They are replaced.
    Overwritten,
}

/// A folder on its way: its place was tried and is locked.
#[derive(Debug)]
pub struct Destination {
    folder: OutputFolder,
    /// Of the package that is replaced.
    previous: Option<Manifest>,
    /// Whether its lock file is cargo's work.
    own_lock: bool,
}

impl Destination {
    /// Starts writing what shall become `dir`.
    ///
    /// # Errors
    /// When `dir` holds something else, or the folder above it cannot be written.
    pub fn new(dir: &Path, edited: EditedFiles) -> Result<Self, PackageError> {
        let (mut previous, mut own_lock) = (None, false);
        let folder = OutputFolder::replacing(dir, |dir| {
            previous = Manifest::read(&dir.join(MANIFEST));
            let mut found = contents(dir, previous.as_ref(), true)?;
            if edited == EditedFiles::Refused {
                let before = found.edited.len();
                found.edited.retain(|path| path != LOCK);
                own_lock = found.edited.len() < before;
            }
            match found.edited.as_slice() {
                _ if edited == EditedFiles::Overwritten => Ok(()),
                [] => Ok(()),
                _ => Err(PackageError::EditedFiles {
                    dir: dir.to_owned(),
                    files: found.edited.join(", "),
                }),
            }
        })?;
        Ok(Self {
            folder,
            previous,
            own_lock,
        })
    }

    /// Where it will be.
    #[must_use]
    pub fn target(&self) -> &Path {
        self.folder.target()
    }

    /// Where a file is until the folder is complete.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Creates a file, and the folders it is in.
    ///
    /// # Errors
    /// When the path leads outside, or the system refuses.
    pub(super) fn create(&self, path: &str) -> Result<File, PackageError> {
        let mut parts = Path::new(path).components();
        if !parts.all(|c| matches!(c, Component::Normal(_))) {
            return Err(PackageError::Outside {
                path: path.to_owned(),
            });
        }
        let full = self.path(path);
        let parent = full.parent().unwrap_or(self.folder.path());
        let file = fs::create_dir_all(parent).and_then(|()| {
            let mut options = File::options();
            options.read(true).write(true).create_new(true).open(&full)
        });
        Ok(file.map_err(|e| self.folder.error(path, e))?)
    }

    /// Writes a whole file.
    ///
    /// # Errors
    /// As of [`Destination::create`].
    pub(super) fn write(&self, path: &str, bytes: &[u8]) -> Result<(), PackageError> {
        let mut file = self.create(path)?;
        let written = file.write_all(bytes);
        Ok(written.map_err(|e| self.folder.error(path, e))?)
    }

    /// Gives the folder its name.
    ///
    /// # Errors
    /// As of [`OutputFolder::commit`], and when something came into the old folder meanwhile.
    pub(super) fn commit(self, manifest: &Manifest) -> Result<(), PackageError> {
        let Contents { kept, moved, .. } = contents(self.target(), self.previous.as_ref(), false)?;
        self.keep_lock(manifest)?;
        let keep = Keep {
            linked: kept,
            moved,
        };
        Ok(self.folder.commit_with(&keep)?)
    }

    /// What cargo made of the lock file stays as long as it is of the same one.
    fn keep_lock(&self, manifest: &Manifest) -> Result<(), PackageError> {
        let of = |manifest: &Manifest| manifest.outputs.get(LOCK).cloned();
        let same = self.previous.as_ref().and_then(of) == of(manifest);
        if self.own_lock && same {
            let own = self.target().join(LOCK);
            let bytes = fs::read(&own).map_err(PackageError::io(&own))?;
            let written = fs::write(self.path(LOCK), bytes);
            written.map_err(|e| self.folder.error(LOCK, e))?;
        }
        Ok(())
    }
}
