//! A folder that appears whole or not at all: written beside its place, then renamed.
//!
//! For a folder `out`: `.out.gemc-lock` says that somebody is at it, `.out.gemc-partial` is being written,
//! `.out.gemc-old` is what was there before. A killed run leaves some of them; the next one puts things right.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{OutputError, Parents, failed, keep, parent, through_links};

/// End of the name under which a folder is written.
const PARTIAL: &str = ".gemc-partial";

/// How often somebody looks whether a place is free.
const LOOK: Duration = Duration::from_millis(20);

/// Waiting for longer is told.
const PATIENCE: Duration = Duration::from_secs(1);

/// A folder in the making; dropped without [`OutputFolder::commit`], it vanishes.
#[derive(Debug)]
pub struct OutputFolder {
    target: PathBuf,
    partial: PathBuf,
    old: PathBuf,
    _lock: Lock,
    _parents: Parents,
}

/// A place that is nobody else's; its names.
struct Place {
    target: PathBuf,
    partial: PathBuf,
    old: PathBuf,
    lock: Lock,
    parents: Parents,
}

/// What of the folder before stays in the new one: paths in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// Never missing at the path, not for a moment: see [`super::keep`].
    pub linked: Vec<PathBuf>,
    /// Folders that can be made again: moved once the new folder is there.
    pub moved: Vec<PathBuf>,
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
        let place = Place::find(target, None)?;
        place.repair()?;
        check(&place.target)?;
        Ok(place.begin()?)
    }

    /// Begins a folder that replaces whatever is at `target`, after everybody who is at it.
    ///
    /// # Errors
    /// When the parent cannot be written.
    pub fn after_others(target: &Path) -> Result<Self, OutputError> {
        let place = Place::find(target, Some(&|| ()))?;
        place.repair()?;
        place.begin()
    }

    /// Begins a folder that replaces whatever is at `target`, after everybody who is at it; `None` when `done` says that
    /// they left nothing to do. `waiting` is called once where that takes longer than a second.
    ///
    /// # Errors
    /// When the parent cannot be written.
    pub fn in_turn(
        target: &Path,
        waiting: &dyn Fn(),
        done: impl FnOnce(&Path) -> bool,
    ) -> Result<Option<Self>, OutputError> {
        let place = Place::find(target, Some(waiting))?;
        if done(&place.target) {
            return Ok(None);
        }
        place.repair()?;
        place.begin().map(Some)
    }

    /// Removes the folder at `target`, unless somebody is at it. Killed on the way, the rest goes the next time somebody
    /// begins this folder; it is never taken for the whole.
    ///
    /// # Errors
    /// [`OutputError::Busy`], or from the system.
    pub fn remove(target: &Path) -> Result<(), OutputError> {
        let taken = Place::find(target, None)?;
        remove_tree(&taken.partial)?;
        fs::rename(&taken.target, &taken.partial).map_err(failed(target))?;
        remove_tree(&taken.partial)
    }

    /// Removes what a killed run left of the folder at `target`, unless somebody is at it.
    ///
    /// # Errors
    /// [`OutputError::Busy`], or from the system.
    pub fn clean(target: &Path) -> Result<(), OutputError> {
        Place::find(target, None)?.repair()
    }

    /// The folder that this one would have become, if it is a partial one.
    #[must_use]
    pub fn target_of_partial(path: &Path) -> Option<PathBuf> {
        let name = path.file_name()?.to_str()?;
        let target = name.strip_prefix('.')?.strip_suffix(PARTIAL)?;
        Some(path.with_file_name(target))
    }

    /// Where to write meanwhile.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.partial
    }

    /// Where it will be.
    #[must_use]
    pub fn target(&self) -> &Path {
        &self.target
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
        self.commit_with(&Keep::default())
    }

    /// Puts the folder in its place; what was there before goes, but for what is kept.
    ///
    /// # Errors
    /// When it cannot be renamed; then nothing of it remains, and what was there stays.
    pub fn commit_with(self, keep: &Keep) -> Result<(), OutputError> {
        for path in &keep.linked {
            let (from, to) = (self.target.join(path), self.partial.join(path));
            keep::link(&from, &to).map_err(failed(&from))?;
        }
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
        for path in &keep.moved {
            // What does not move is made again.
            let _ = fs::rename(self.old.join(path), self.target.join(path));
        }
        remove_tree(&self.old)
    }
}

impl Drop for OutputFolder {
    fn drop(&mut self) {
        // After a commit there is nothing to remove; after an error, that one is told.
        let _ = remove_tree(&self.partial);
    }
}

impl Place {
    /// Locks a folder's place, at once or, if there is somebody to be told of waiting, in turn.
    fn find(target: &Path, waiting: Option<&dyn Fn()>) -> Result<Self, OutputError> {
        let (target, parents) = resolved(target)?;
        let beside = |what: &str| {
            let mut name = OsString::from(".");
            name.push(target.file_name().unwrap_or_default());
            name.push(what);
            target.with_file_name(name)
        };
        Ok(Self {
            lock: Lock::take(beside(".gemc-lock"), &target, waiting)?,
            partial: beside(PARTIAL),
            old: beside(".gemc-old"),
            parents,
            target,
        })
    }

    /// Puts right what a killed run left. What is kept of the folder before has a name in `partial` or `target` as well,
    /// so nothing is lost with either.
    fn repair(&self) -> Result<(), OutputError> {
        if !self.old.exists() {
            return remove_tree(&self.partial);
        }
        if !self.target.exists() {
            fs::rename(&self.old, &self.target).map_err(failed(&self.target))?;
            return remove_tree(&self.partial);
        }
        // The new folder has its name already, unless it is still beside it: then this is somebody else's.
        if self.partial.exists() {
            return Err(OutputError::Interrupted {
                target: self.target.clone(),
                old: self.old.clone(),
            });
        }
        remove_tree(&self.old)
    }

    fn begin(self) -> Result<OutputFolder, OutputError> {
        fs::create_dir(&self.partial).map_err(failed(&self.target))?;
        Ok(OutputFolder {
            target: self.target,
            partial: self.partial,
            old: self.old,
            _lock: self.lock,
            _parents: self.parents,
        })
    }
}

/// A locked file that goes when it is dropped.
#[derive(Debug)]
struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    fn take(path: PathBuf, target: &Path, waiting: Option<&dyn Fn()>) -> Result<Self, OutputError> {
        let (begun, mut told) = (Instant::now(), false);
        loop {
            let file = File::options()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path)
                .map_err(failed(target))?;
            match (file.try_lock(), waiting) {
                // Whoever had it removes the file before it unlocks it: a lock counts under its name alone.
                (Ok(()), _) if is_at(&file, &path) => return Ok(Self { path, _file: file }),
                (Ok(()), _) => continue,
                (Err(TryLockError::WouldBlock), None) => {
                    return Err(OutputError::Busy(target.to_owned()));
                }
                (Err(TryLockError::WouldBlock), Some(waiting)) => {
                    if begun.elapsed() > PATIENCE && !told {
                        told = true;
                        waiting();
                    }
                }
                (Err(TryLockError::Error(e)), _) => return Err(failed(target)(e)),
            }
            std::thread::sleep(LOOK);
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Whether an open file is the one of this name.
fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(open), Ok(named)) = (file.metadata(), fs::metadata(path)) else {
        return false;
    };
    (open.dev(), open.ino()) == (named.dev(), named.ino())
}

/// The path without links and relative parts; its parent exists then.
fn resolved(target: &Path) -> Result<(PathBuf, Parents), OutputError> {
    if target.exists() {
        let path = target.canonicalize().map_err(failed(target))?;
        let device = |path: &Path| fs::metadata(path).map(|meta| meta.dev());
        if path.file_name().is_none() {
            return Err(OutputError::NoFolder(path));
        }
        let here = device(&path).map_err(failed(target))?;
        if device(parent(&path)).map_err(failed(target))? != here && path.is_dir() {
            return Err(OutputError::Mounted(path));
        }
        return Ok((path, Parents::default()));
    }
    if target.file_name().is_none() {
        return Err(OutputError::NoFolder(target.to_owned()));
    }
    let parents = Parents::make(parent(target)).map_err(failed(target))?;
    Ok((through_links(target).map_err(failed(target))?, parents))
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
mod tests;
