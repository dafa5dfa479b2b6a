//! A folder that appears whole or not at all: written beside its place, then renamed.
//!
//! For a folder `out`: `.out.gemc-lock` says that somebody is at it, `.out.gemc-partial` is being written,
//! `.out.gemc-old` is what was there before. A killed run leaves some of them; the next one puts things right.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// End of the name under which a folder is written.
const PARTIAL: &str = ".gemc-partial";

/// Why a folder could not be written.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// Something is in the way.
    #[error("{}: exists and is not an empty folder; allowed: a new or an empty one", .0.display())]
    Occupied(PathBuf),
    /// The path can never be a folder's.
    #[error("{}: names no folder that could be written", .0.display())]
    NoFolder(PathBuf),
    /// Another process writes the same folder.
    #[error("{}: is being written by another gemc", .0.display())]
    Busy(PathBuf),
    /// The system refused, for instance because the disk is full.
    #[error("{}: cannot be written: {source}", path.display())]
    Io {
        /// What was to be written.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

fn failed(path: &Path) -> impl Fn(io::Error) -> OutputError + '_ {
    |source| OutputError::Io {
        path: path.to_owned(),
        source,
    }
}

/// A folder in the making; dropped without [`OutputFolder::commit`], it vanishes.
#[derive(Debug)]
pub struct OutputFolder {
    target: PathBuf,
    partial: PathBuf,
    old: PathBuf,
    /// Removed before the lock is released, so that whoever waits for it makes a new one.
    lock_path: PathBuf,
    _lock: File,
}

impl OutputFolder {
    /// Begins a folder that will be at `target`, which must be absent or empty; parents are made.
    ///
    /// # Errors
    /// When something else is there or its parent cannot be written.
    pub fn create(target: &Path) -> Result<Self, OutputError> {
        Self::replacing(target, refuse_occupied)
    }

    /// Begins a folder that replaces `target` when `check` finds nothing there that somebody may want to keep.
    ///
    /// # Errors
    /// From `check`, or when the parent cannot be written.
    pub fn replacing<E: From<OutputError>>(
        target: &Path,
        check: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<Self, E> {
        let folder = Self::locked(target)?;
        folder.repair()?;
        check(&folder.target)?;
        fs::create_dir(&folder.partial).map_err(failed(&folder.target))?;
        Ok(folder)
    }

    /// Removes the folder at `target`, unless somebody is at it. Killed on the way, the rest goes the next time somebody
    /// begins this folder; it is never taken for the whole.
    ///
    /// # Errors
    /// [`OutputError::Busy`], or from the system.
    pub fn remove(target: &Path) -> Result<(), OutputError> {
        let taken = Self::locked(target)?;
        remove_tree(&taken.partial)?;
        // What is at `partial` goes when `taken` is dropped.
        fs::rename(&taken.target, &taken.partial).map_err(failed(target))
    }

    /// Removes what a killed run left of the folder at `target`, unless somebody is at it.
    ///
    /// # Errors
    /// [`OutputError::Busy`], or from the system.
    pub fn clean(target: &Path) -> Result<(), OutputError> {
        Self::locked(target)?.repair()
    }

    /// The folder that this one would have become, if it is a partial one.
    #[must_use]
    pub fn target_of_partial(path: &Path) -> Option<PathBuf> {
        let name = path.file_name()?.to_str()?;
        let target = name.strip_prefix('.')?.strip_suffix(PARTIAL)?;
        Some(path.with_file_name(target))
    }

    /// Locks a folder's place.
    fn locked(target: &Path) -> Result<Self, OutputError> {
        let target = resolved(target)?;
        let beside = |what: &str| {
            let mut name = OsString::from(".");
            name.push(target.file_name().unwrap_or_default());
            name.push(what);
            target.with_file_name(name)
        };
        let lock_path = beside(".gemc-lock");
        Ok(Self {
            _lock: lock(&lock_path, &target)?,
            partial: beside(PARTIAL),
            old: beside(".gemc-old"),
            lock_path,
            target,
        })
    }

    /// Puts right what a killed run left.
    fn repair(&self) -> Result<(), OutputError> {
        remove_tree(&self.partial)?;
        if self.target.exists() {
            remove_tree(&self.old)
        } else if self.old.exists() {
            fs::rename(&self.old, &self.target).map_err(failed(&self.target))
        } else {
            Ok(())
        }
    }

    /// Where to write meanwhile.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.partial
    }

    /// An error about a file of the folder, under the name it would have had.
    #[must_use]
    pub fn error(&self, file: &str, source: io::Error) -> OutputError {
        failed(&self.target.join(file))(source)
    }

    /// Puts the folder in its place; what was there before goes.
    ///
    /// # Errors
    /// When it cannot be renamed; then nothing of it remains.
    pub fn commit(self) -> Result<(), OutputError> {
        let replaces = self.target.exists();
        if replaces {
            fs::rename(&self.target, &self.old).map_err(failed(&self.target))?;
        }
        if let Err(e) = fs::rename(&self.partial, &self.target) {
            if replaces {
                // Best effort: the first error is the one to tell.
                let _ = fs::rename(&self.old, &self.target);
            }
            return Err(failed(&self.target)(e));
        }
        remove_tree(&self.old)
    }
}

impl Drop for OutputFolder {
    fn drop(&mut self) {
        // After a commit there is nothing to remove; after an error, that one is told.
        let _ = remove_tree(&self.partial);
        let _ = fs::remove_file(&self.lock_path);
    }
}

/// Writes one file so that a reader finds the old content or the new, never a part.
///
/// # Errors
/// When the file cannot be written; the old one then stands.
pub fn replace_file(path: &Path, bytes: &[u8]) -> Result<(), OutputError> {
    use std::io::Write as _;
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let write = || {
        let mut file = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        file.as_file().set_permissions(everybody)?;
        file.persist(path).map_err(|e| e.error)
    };
    write().map(drop).map_err(failed(path))
}

/// The path without links and relative parts; its parent exists then.
fn resolved(target: &Path) -> Result<PathBuf, OutputError> {
    if target.exists() {
        let path = target.canonicalize().map_err(failed(target))?;
        return match path.file_name() {
            Some(_) => Ok(path),
            None => Err(OutputError::NoFolder(path)),
        };
    }
    let Some(name) = target.file_name() else {
        return Err(OutputError::NoFolder(target.to_owned()));
    };
    let parent = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent).map_err(failed(target))?;
    Ok(parent.canonicalize().map_err(failed(target))?.join(name))
}

fn lock(path: &Path, target: &Path) -> Result<File, OutputError> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(failed(target))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OutputError::Busy(target.to_owned())),
        Err(TryLockError::Error(e)) => Err(failed(target)(e)),
    }
}

fn remove_tree(path: &Path) -> Result<(), OutputError> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(failed(path)(e)),
        _ => Ok(()),
    }
}

fn refuse_occupied(target: &Path) -> Result<(), OutputError> {
    let free = match fs::read_dir(target) {
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

    fn beside(dir: &Path) -> usize {
        fs::read_dir(dir).expect("listed").count()
    }

    /// Allows to replace a folder that holds `x`.
    fn ours(dir: &Path) -> Result<(), OutputError> {
        match dir.join("x").exists() {
            true => Ok(()),
            false => refuse_occupied(dir),
        }
    }

    #[test]
    fn a_folder_appears_only_on_commit() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let target = root.path().join("a/b");
        let folder = OutputFolder::create(&target).expect("a new folder");
        fs::write(folder.path().join("x"), "1").expect("written");
        assert!(!target.exists());
        folder.commit().expect("renamed");
        assert!(target.join("x").exists());
        let taken = OutputFolder::create(&target).expect_err("it is not empty");
        assert!(matches!(taken, OutputError::Occupied(_)));
        drop(OutputFolder::replacing(&target, ours).expect("it is ours"));
        assert!(target.join("x").exists(), "dropped without commit");
        let again = OutputFolder::replacing(&target, ours).expect("ours");
        again.commit().expect("replaced");
        assert!(!target.join("x").exists());
        assert_eq!(beside(&root.path().join("a")), 1);
        fs::write(root.path().join("file"), "").expect("written");
        assert!(OutputFolder::create(&root.path().join("file")).is_err());
        assert!(OutputFolder::create(&root.path().join("file/below")).is_err());
        assert!(OutputFolder::create(Path::new("/")).is_err());
    }

    #[test]
    fn what_a_killed_run_left_is_put_right() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let target = root.path().join("out");
        let partial = root.path().join(".out.gemc-partial");
        let old = root.path().join(".out.gemc-old");
        fs::create_dir_all(partial.join("src")).expect("made");
        fs::create_dir(&old).expect("made");
        fs::write(old.join("x"), "1").expect("written");
        fs::write(root.path().join(".out.gemc-lock"), "").expect("written");
        drop(OutputFolder::replacing(&target, ours).expect("ours"));
        assert!(target.join("x").exists(), "what was moved aside is back");
        assert_eq!(beside(root.path()), 1);
    }

    #[test]
    fn a_folder_is_removed_unless_somebody_is_at_it() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let target = root.path().join("out");
        let making = OutputFolder::create(&target).expect("a new folder");
        making.commit().expect("renamed");
        let making = OutputFolder::create(&target).expect("it is empty");
        let busy = OutputFolder::remove(&target);
        assert!(matches!(busy, Err(OutputError::Busy(_))));
        drop(making);
        OutputFolder::remove(&target).expect("nobody is");
        assert_eq!(beside(root.path()), 0);
    }

    #[test]
    fn two_at_once_do_not_mix() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let target = root.path().join("out");
        let first = OutputFolder::create(&target).expect("a new folder");
        let second = OutputFolder::create(&target);
        assert!(matches!(second, Err(OutputError::Busy(_))));
        first.commit().expect("it was first");
    }
}
