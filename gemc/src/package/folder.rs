//! Files of a package -> its folder. Replaces a previous package, and nothing that gemc did not write.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Component, Path, PathBuf};

use super::{MANIFEST, Manifest, PackageError};
use crate::output::OutputFolder;

/// Folders in a package that are not listed in its manifest: cargo's, and built programs.
const UNLISTED: &[&str] = &["target", "bin"];

/// A folder on its way.
#[derive(Debug)]
pub struct Staging(OutputFolder);

impl Staging {
    /// Starts writing what shall become `dir`.
    ///
    /// # Errors
    /// When `dir` holds something else, or the folder above it cannot be written.
    pub fn new(dir: &Path) -> Result<Self, PackageError> {
        OutputFolder::replacing(dir, check_replaceable).map(Self)
    }

    /// Where a file is until the folder is complete.
    pub fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    /// Creates a file, and the folders it is in.
    ///
    /// # Errors
    /// When the path leads outside, or the system refuses.
    pub fn create(&self, path: &str) -> Result<File, PackageError> {
        let mut parts = Path::new(path).components();
        if !parts.all(|c| matches!(c, Component::Normal(_))) {
            return Err(PackageError::Outside {
                path: path.to_owned(),
            });
        }
        let full = self.path(path);
        let parent = full.parent().unwrap_or(self.0.path());
        let file = fs::create_dir_all(parent).and_then(|()| {
            let mut options = File::options();
            options.read(true).write(true).create_new(true).open(&full)
        });
        Ok(file.map_err(|e| self.0.error(path, e))?)
    }

    /// Writes a whole file.
    ///
    /// # Errors
    /// As of [`Staging::create`].
    pub fn write(&self, path: &str, bytes: &[u8]) -> Result<(), PackageError> {
        let mut file = self.create(path)?;
        Ok(file.write_all(bytes).map_err(|e| self.0.error(path, e))?)
    }

    /// Gives the folder its name.
    ///
    /// # Errors
    /// As of [`OutputFolder::commit`].
    pub fn commit(self) -> Result<(), PackageError> {
        Ok(self.0.commit()?)
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
