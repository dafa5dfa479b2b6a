//! A folder written beside its destination, then renamed: what carries the name is complete.
//!
//! For destination `out`: `.out.gemc-lock` says that somebody is at it, `.out.gemc-partial` is being written,
//! `.out.gemc-old` is what was there before. A killed run leaves some of them; the next one puts things right.

use std::fs::{self, File, TryLockError};
use std::path::{Component, Path, PathBuf};

use super::{MANIFEST, Manifest, PackageError};

/// Folders in a package that are not listed in its manifest: cargo's, and built programs.
const UNLISTED: &[&str] = &["target", "bin"];

/// A folder on its way.
#[derive(Debug)]
pub struct Staging {
    target: PathBuf,
    partial: PathBuf,
    old: PathBuf,
    lock_path: PathBuf,
    _lock: File,
}

impl Staging {
    /// Starts writing what shall become `dir`.
    ///
    /// # Errors
    /// When `dir` holds something else, or the folder above it cannot be written.
    pub fn new(dir: &Path) -> Result<Self, PackageError> {
        let target = resolved(dir)?;
        let beside = |what: &str| {
            let mut name = std::ffi::OsString::from(".");
            name.push(target.file_name().unwrap_or_default());
            name.push(what);
            target.with_file_name(name)
        };
        let lock_path = beside(".gemc-lock");
        let staging = Self {
            _lock: lock(&lock_path, &target)?,
            partial: beside(".gemc-partial"),
            old: beside(".gemc-old"),
            lock_path,
            target,
        };
        staging.repair()?;
        check_replaceable(&staging.target)?;
        fs::create_dir(&staging.partial).map_err(PackageError::io(&staging.partial))?;
        Ok(staging)
    }

    /// Puts right what a killed run left.
    fn repair(&self) -> Result<(), PackageError> {
        remove_tree(&self.partial)?;
        if self.target.exists() {
            remove_tree(&self.old)
        } else if self.old.exists() {
            fs::rename(&self.old, &self.target).map_err(PackageError::io(&self.old))
        } else {
            Ok(())
        }
    }

    /// Where a file is until the folder is complete.
    pub fn path(&self, path: &str) -> PathBuf {
        self.partial.join(path)
    }

    /// Creates a file, and the folders it is in.
    pub fn create(&self, path: &str) -> Result<File, PackageError> {
        let inside = Path::new(path)
            .components()
            .all(|c| matches!(c, Component::Normal(_)));
        let path = self.path(path);
        if !inside {
            let reason = "a file would lie outside";
            return Err(PackageError::NoFolder { path, reason });
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(PackageError::io(parent))?;
        }
        File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(PackageError::io(&path))
    }

    /// Writes a whole file.
    pub fn write(&self, path: &str, bytes: &[u8]) -> Result<(), PackageError> {
        use std::io::Write as _;
        let mut file = self.create(path)?;
        file.write_all(bytes)
            .map_err(PackageError::io(&self.path(path)))
    }

    /// Gives the folder its name; what was there before goes.
    pub fn commit(self) -> Result<(), PackageError> {
        if self.target.exists() {
            fs::rename(&self.target, &self.old).map_err(PackageError::io(&self.target))?;
        }
        if let Err(e) = fs::rename(&self.partial, &self.target) {
            if self.old.exists() {
                // The first error is the one to report.
                let _ = fs::rename(&self.old, &self.target);
            }
            return Err(PackageError::io(&self.target)(e));
        }
        remove_tree(&self.old)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // After a commit there is nothing to remove; after an error, that one is reported.
        let _ = remove_tree(&self.partial);
        let _ = fs::remove_file(&self.lock_path);
    }
}

/// The destination without links and relative parts; its parent exists then.
fn resolved(dir: &Path) -> Result<PathBuf, PackageError> {
    if dir.exists() {
        let path = dir.canonicalize().map_err(PackageError::io(dir))?;
        return match (path.is_dir(), path.file_name().is_some()) {
            (true, true) => Ok(path),
            (false, _) => Err(no_folder(dir, "it is a file")),
            (true, false) => Err(no_folder(dir, "it is the root")),
        };
    }
    let Some(name) = dir.file_name() else {
        return Err(no_folder(dir, "it has no name"));
    };
    let parent = match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent).map_err(PackageError::io(parent))?;
    let parent = parent.canonicalize().map_err(PackageError::io(parent))?;
    Ok(parent.join(name))
}

fn no_folder(path: &Path, reason: &'static str) -> PackageError {
    PackageError::NoFolder {
        path: path.to_owned(),
        reason,
    }
}

fn lock(path: &Path, target: &Path) -> Result<File, PackageError> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(PackageError::io(path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(PackageError::Busy(target.to_owned())),
        Err(TryLockError::Error(e)) => Err(PackageError::io(path)(e)),
    }
}

fn remove_tree(path: &Path) -> Result<(), PackageError> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(PackageError::io(path)(e)),
        _ => Ok(()),
    }
}

/// Refuses a folder that holds anything but a package.
fn check_replaceable(dir: &Path) -> Result<(), PackageError> {
    if !dir.exists() {
        return Ok(());
    }
    let manifest = Manifest::read(&dir.join(MANIFEST));
    let listed = |path: &str| {
        let manifest = manifest.as_ref();
        manifest.is_some_and(|m| path == MANIFEST || m.outputs.contains_key(path))
    };
    let known_folder = |path: &str| manifest.is_some() && UNLISTED.contains(&path);
    match foreign_file(dir, "", &listed, &known_folder)? {
        None => Ok(()),
        Some(file) => Err(PackageError::Occupied {
            dir: dir.to_owned(),
            file,
        }),
    }
}

/// The first file, by name, that is not listed.
fn foreign_file(
    dir: &Path,
    prefix: &str,
    listed: &dyn Fn(&str) -> bool,
    known_folder: &dyn Fn(&str) -> bool,
) -> Result<Option<String>, PackageError> {
    let mut names = Vec::new();
    for item in fs::read_dir(dir).map_err(PackageError::io(dir))? {
        let item = item.map_err(PackageError::io(dir))?;
        let name = item.file_name().to_string_lossy().into_owned();
        let is_dir = item.file_type().map_err(PackageError::io(dir))?.is_dir();
        names.push((format!("{prefix}{name}"), name, is_dir));
    }
    names.sort();
    for (path, name, is_dir) in names {
        if is_dir && !known_folder(&path) {
            let inner = foreign_file(&dir.join(name), &format!("{path}/"), listed, known_folder)?;
            if inner.is_some() {
                return Ok(inner);
            }
        } else if !is_dir && !listed(&path) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}
