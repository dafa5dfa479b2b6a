//! A folder that appears whole or not at all: written beside its place, then renamed.

use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// Why a folder could not be written.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// Something is in the way.
    #[error("{}: exists and is not an empty folder; allowed: a new or an empty one", .0.display())]
    Occupied(PathBuf),
    /// The system refused, for instance because the disk is full.
    #[error("{}: cannot be written: {source}", path.display())]
    Io {
        /// What was to be written.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// A folder in the making; dropped without [`OutputFolder::commit`], it vanishes.
#[derive(Debug)]
pub struct OutputFolder {
    target: PathBuf,
    beside: TempDir,
}

impl OutputFolder {
    /// Begins a folder that will be at `target`, which must be absent or empty; parents are made.
    ///
    /// # Errors
    /// When something else is there or its parent cannot be written.
    pub fn create(target: &Path) -> Result<Self, OutputError> {
        refuse_occupied(target)?;
        Self::beside(target)
    }

    /// Begins a folder that replaces `target` when `ours` says that it holds nothing of anybody else.
    ///
    /// # Errors
    /// When something else is there or its parent cannot be written.
    pub fn replacing(target: &Path, ours: impl Fn(&Path) -> bool) -> Result<Self, OutputError> {
        if !(target.is_dir() && ours(target)) {
            refuse_occupied(target)?;
        }
        Self::beside(target)
    }

    fn beside(target: &Path) -> Result<Self, OutputError> {
        let io = |source| OutputError::Io {
            path: target.to_owned(),
            source,
        };
        let parent = match target.parent() {
            Some(p) if !p.as_os_str().is_empty() => p,
            _ => Path::new("."),
        };
        std::fs::create_dir_all(parent).map_err(io)?;
        let beside = tempfile::Builder::new()
            .prefix(".gemc-partial-")
            .tempdir_in(parent)
            .map_err(io)?;
        Ok(Self {
            target: target.to_owned(),
            beside,
        })
    }

    /// Where to write meanwhile.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.beside.path()
    }

    /// An error about a file of the folder, under the name it would have had.
    #[must_use]
    pub fn error(&self, file: &str, source: io::Error) -> OutputError {
        OutputError::Io {
            path: self.target.join(file),
            source,
        }
    }

    /// Puts the folder in its place.
    ///
    /// # Errors
    /// When it cannot be renamed; then nothing of it remains.
    pub fn commit(self) -> Result<(), OutputError> {
        let io = |source| OutputError::Io {
            path: self.target.clone(),
            source,
        };
        let parent = self.beside.path().parent().unwrap_or(Path::new("."));
        let aside = TempDir::with_prefix_in(".gemc-replaced-", parent).map_err(io)?;
        let old = aside.path().join("old");
        let replaces = self.target.exists();
        if replaces {
            std::fs::rename(&self.target, &old).map_err(io)?;
        }
        if let Err(e) = std::fs::rename(self.beside.path(), &self.target) {
            if replaces {
                // Best effort: the first error is the one to tell.
                let _ = std::fs::rename(&old, &self.target);
            }
            return Err(io(e));
        }
        // The folder has moved: nothing is left to remove.
        let _ = self.beside.keep();
        Ok(())
    }
}

fn refuse_occupied(target: &Path) -> Result<(), OutputError> {
    let free = match std::fs::read_dir(target) {
        Ok(mut items) => items.next().is_none(),
        Err(e) => e.kind() == io::ErrorKind::NotFound,
    };
    match free {
        true => Ok(()),
        false => Err(OutputError::Occupied(target.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_appears_only_on_commit() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let target = root.path().join("a/b");
        let folder = OutputFolder::create(&target).expect("a new folder");
        std::fs::write(folder.path().join("x"), "1").expect("written");
        assert!(!target.exists());
        folder.commit().expect("renamed");
        assert!(target.join("x").exists());
        let taken = OutputFolder::create(&target).expect_err("it is not empty");
        assert!(matches!(taken, OutputError::Occupied(_)));
        let again = OutputFolder::replacing(&target, |d| d.join("x").exists());
        drop(again.expect("it is ours"));
        assert!(target.join("x").exists(), "dropped without commit");
        let again = OutputFolder::replacing(&target, |d| d.join("x").exists()).expect("ours");
        again.commit().expect("replaced");
        assert!(!target.join("x").exists());
        assert_eq!(
            std::fs::read_dir(root.path().join("a"))
                .expect("listed")
                .count(),
            1
        );
        std::fs::write(root.path().join("file"), "").expect("written");
        assert!(OutputFolder::create(&root.path().join("file")).is_err());
        assert!(OutputFolder::create(&root.path().join("file/below")).is_err());
    }
}
