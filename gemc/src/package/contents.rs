//! A folder that is to be replaced -> whose its files are: gemc's, changed or not; somebody's that stay; or foreign ones,
//! because of which nothing is replaced.

use std::fs;
use std::path::{Path, PathBuf};

use super::{MANIFEST, Manifest, PackageError, cargo, hash_file};

/// Names that version control, desktops and editors give to files and folders, and that stay even where no package was.
const OTHERS: &[&str] = &[
    ".git",
    ".gitignore",
    ".gitattributes",
    ".gitmodules",
    ".gitkeep",
    ".hg",
    ".jj",
    ".svn",
    ".DS_Store",
    "Thumbs.db",
    "desktop.ini",
];

/// Cargo's folder in a crate.
const TARGET: &str = "target";

/// Where a built program is put.
const PROGRAMS: &str = "bin";

/// What there is; paths in the folder.
#[derive(Debug, Default)]
pub struct Contents {
    /// Files of the package that are not as gemc wrote them.
    pub edited: Vec<String>,
    /// Files and folders that stay.
    pub kept: Vec<PathBuf>,
    /// Folders that stay, and can be made again.
    pub moved: Vec<PathBuf>,
}

/// Looks at a folder and the manifest that was found in it; whether files were changed is only seen when they are read.
///
/// # Errors
/// [`PackageError::Occupied`] with the first foreign file or folder, by name.
pub fn contents(
    dir: &Path,
    manifest: Option<&Manifest>,
    read: bool,
) -> Result<Contents, PackageError> {
    let mut look = Look {
        dir,
        manifest,
        read,
        found: Contents::default(),
    };
    if dir.symlink_metadata().is_ok() {
        look.folder(Path::new(""))?;
    }
    Ok(look.found)
}

struct Look<'a> {
    dir: &'a Path,
    manifest: Option<&'a Manifest>,
    read: bool,
    found: Contents,
}

impl Look<'_> {
    fn folder(&mut self, folder: &Path) -> Result<(), PackageError> {
        let full = self.dir.join(folder);
        let items = fs::read_dir(&full).map_err(PackageError::io(&full))?;
        let names = items.map(|item| item.map(|item| item.file_name()));
        let names: Result<Vec<_>, _> = names.collect();
        let mut names = names.map_err(PackageError::io(&full))?;
        names.sort();
        for name in names {
            self.item(&folder.join(name))?;
        }
        Ok(())
    }

    fn item(&mut self, path: &Path) -> Result<(), PackageError> {
        let full = self.dir.join(path);
        let meta = full.symlink_metadata().map_err(PackageError::io(&full))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let stays = match self.manifest {
            Some(_) => is_others(&name),
            None => OTHERS.contains(&&*name),
        };
        if self.is_listed(path) {
            if self.read && !(meta.is_file() && self.is_as_written(path)?) {
                self.found.edited.push(path.display().to_string());
            }
            Ok(())
        } else if stays {
            self.found.kept.push(path.to_owned());
            Ok(())
        } else if self.manifest.is_some() && meta.is_dir() && path == Path::new(TARGET) {
            self.found.moved.push(path.to_owned());
            Ok(())
        } else if meta.is_dir() && (self.is_parent(path) || !is_empty(&full)?) {
            self.folder(path)
        } else if meta.is_file() && self.is_known(path) {
            Ok(())
        } else {
            Err(PackageError::Occupied {
                dir: self.dir.to_owned(),
                file: path.display().to_string(),
            })
        }
    }

    fn is_listed(&self, path: &Path) -> bool {
        let listed = |m: &Manifest| path.to_str().is_some_and(|p| m.outputs.contains_key(p));
        self.manifest.is_some_and(listed)
    }

    /// Whether files of the package are below.
    fn is_parent(&self, path: &Path) -> bool {
        let below = |m: &Manifest| {
            m.outputs
                .keys()
                .any(|file| Path::new(file).starts_with(path))
        };
        self.manifest.is_some_and(below)
    }

    /// Whether it is a file of ours that no manifest lists: the manifest itself, and the program with its own.
    fn is_known(&self, path: &Path) -> bool {
        self.manifest.is_some_and(|manifest| {
            let program = Path::new(PROGRAMS).join(cargo::crate_name(&manifest.name));
            path == Path::new(MANIFEST)
                || path == Path::new(PROGRAMS).join(MANIFEST)
                || path == program
                || path == program.with_extension("partial")
                || path == program.with_extension("exe")
        })
    }

    fn is_as_written(&self, path: &Path) -> Result<bool, PackageError> {
        let listed = self.manifest.zip(path.to_str());
        let digest = listed.and_then(|(manifest, path)| manifest.outputs.get(path));
        Ok(digest == Some(&hash_file(&self.dir.join(path))?))
    }
}

fn is_empty(dir: &Path) -> Result<bool, PackageError> {
    let mut items = fs::read_dir(dir).map_err(PackageError::io(dir))?;
    Ok(items.next().is_none())
}

/// Whether a name in a package is one that gemc never gives and tools do: hidden, of an editor, of a desktop.
fn is_others(name: &str) -> bool {
    name.starts_with('.')
        || name.ends_with('~')
        || (name.starts_with('#') && name.ends_with('#'))
        || OTHERS.contains(&name)
}
