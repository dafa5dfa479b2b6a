//! A path -> a file that may be written there, tried before the work; bytes -> the file, replaced whole or not at all.
//!
//! A link stays and its target is written. Where a file has several names, the one that was given gets the new contents.
//! What is replaced keeps its permissions; a new file gets those that the umask leaves.

use std::fs::{self, File, Permissions};
use std::io::{self, Read as _, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use gem_runtime::regular;
use tempfile::{Builder, NamedTempFile};

use super::{OutputError, Parents, failed, parent};

/// Bytes of a file that are looked at to see whether gemc wrote it.
const LOOKED_AT: u64 = 64 << 20;

/// Links that lead to links, at most.
const MOST_LINKS: usize = 40;

/// What files of some kind look like.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// What it is, with its article: `a plan`.
    pub name: &'static str,
    /// Whether a file of this content is one that gemc wrote.
    pub is: fn(&[u8]) -> bool,
}

/// A file that may be written.
#[derive(Debug)]
pub struct OutputFile {
    given: PathBuf,
    /// Behind all links; its folder exists.
    place: PathBuf,
    /// Of what it replaces.
    old: Option<fs::Metadata>,
    _parents: Parents,
}

impl OutputFile {
    /// Tries a path: makes the folders above it, refuses what is there unless it is of this kind or empty, and writes
    /// something beside it. Nothing of that remains when the result is dropped.
    ///
    /// # Errors
    /// When something else is there or could not be replaced.
    pub fn attempt(given: &Path, kind: Kind) -> Result<Self, OutputError> {
        let refuse = |what: String| Err(OutputError::refused(given, what));
        if names_folder(given) {
            return refuse("does not name a file".to_owned());
        }
        let parents = Parents::make(parent(given)).map_err(failed(given))?;
        let place = through_links(given).map_err(failed(given))?;
        if place.starts_with("/proc") {
            return refuse(format!(
                "is a file that is open already; {} needs a name of its own",
                kind.name
            ));
        }
        let old = match fs::symlink_metadata(&place) {
            Ok(meta) => Some(meta),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(failed(given)(e)),
        };
        if let Some(what) = old.as_ref().and_then(|meta| in_the_way(meta, kind)) {
            return refuse(what);
        }
        if old.as_ref().is_some_and(|meta| meta.len() > 0) {
            let bytes = beginning(&place).map_err(failed(given))?;
            if !(kind.is)(&bytes) {
                return refuse(format!(
                    "is not {} that gemc wrote, and is not replaced; choose another name",
                    kind.name
                ));
            }
        }
        temporary(parent(&place)).map_err(failed(given))?;
        Ok(Self {
            given: given.to_owned(),
            place,
            old,
            _parents: parents,
        })
    }

    /// Where it will be: the path without links.
    #[must_use]
    pub fn place(&self) -> &Path {
        &self.place
    }

    /// Whether there is a file with something in it.
    #[must_use]
    pub fn replaces(&self) -> bool {
        self.old.as_ref().is_some_and(|meta| meta.len() > 0)
    }

    /// Writes the whole beside its place.
    ///
    /// # Errors
    /// When it cannot be written; nothing of it remains then.
    pub fn write(&self, bytes: &[u8]) -> Result<CompleteFile<'_>, OutputError> {
        self.write_by(&|file| file.write_all(bytes))
    }

    /// Lets `write` write the whole beside its place.
    ///
    /// # Errors
    /// When it cannot be written; nothing of it remains then.
    pub fn write_by(
        &self,
        write: &dyn Fn(&mut dyn Write) -> io::Result<()>,
    ) -> Result<CompleteFile<'_>, OutputError> {
        let permissions = self.old.as_ref().map(fs::Metadata::permissions);
        let write = |file: &mut File| write(file).map_err(failed(&self.given));
        Ok(self.write_with(permissions, write)?.0)
    }

    /// Lets `write` write the whole beside its place, with other permissions than those that the umask leaves; also gives
    /// what `write` returns.
    ///
    /// # Errors
    /// Those of `write`, and when the system refuses; nothing of it remains then.
    pub fn write_with<T, E: From<OutputError>>(
        &self,
        permissions: Option<Permissions>,
        write: impl FnOnce(&mut File) -> Result<T, E>,
    ) -> Result<(CompleteFile<'_>, T), E> {
        let mut file = temporary(parent(&self.place)).map_err(failed(&self.given))?;
        let result = write(file.as_file_mut())?;
        let finish = || {
            if let Some(old) = &self.old {
                // Root may write for somebody else; whoever is not root owns the file already.
                let _ = fchown(file.as_file(), Some(old.uid()), Some(old.gid()));
            }
            if let Some(permissions) = permissions {
                file.as_file().set_permissions(permissions)?;
            }
            file.as_file().sync_all()
        };
        finish().map_err(failed(&self.given))?;
        Ok((CompleteFile { file, to: self }, result))
    }
}

/// A file that is complete and has only to get its name; dropped, it vanishes.
#[derive(Debug)]
pub struct CompleteFile<'a> {
    file: NamedTempFile,
    to: &'a OutputFile,
}

/// Gives complete files their names, in this order.
///
/// # Errors
/// When one cannot be renamed.
pub fn place_all<const N: usize>(files: [CompleteFile<'_>; N]) -> Result<(), OutputError> {
    for CompleteFile { file, to } in files {
        let placed = file.persist(&to.place);
        placed.map_err(|e| failed(&to.given)(e.error))?;
    }
    Ok(())
}

/// The path that is written when `path` is: behind all links, in a folder without links. The last name may be absent.
///
/// # Errors
/// When a folder on the way is absent, or links lead nowhere.
pub fn through_links(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        let Some(name) = path.file_name() else {
            return Err(io::ErrorKind::IsADirectory.into());
        };
        let place = parent(&path).canonicalize()?.join(name);
        // What is open in a process is no link to follow: it may be a pipe, or a file that somebody writes.
        if !place.is_symlink() || place.starts_with("/proc") {
            return Ok(place);
        }
        path = parent(&place).join(fs::read_link(&place)?);
    }
    Err(io::Error::other("too many levels of links"))
}

/// Whether a path says by itself that it is a folder's, or nothing at all.
fn names_folder(path: &Path) -> bool {
    let bytes = path.as_os_str().as_bytes();
    path.file_name().is_none() || bytes.ends_with(b"/") || bytes.ends_with(b"/.")
}

/// What is wrong with replacing this, whatever is in it.
fn in_the_way(meta: &fs::Metadata, kind: Kind) -> Option<String> {
    let (file, name) = (meta.file_type(), kind.name);
    let is = |what: &str| Some(format!("is {what}; {name} is written to a file"));
    if file.is_dir() {
        is("a folder")
    } else if file.is_fifo() {
        is("a pipe")
    } else if file.is_char_device() || file.is_block_device() {
        is("a device")
    } else if !file.is_file() {
        is("a socket")
    } else if meta.permissions().readonly() {
        Some("is write-protected, and is not replaced".to_owned())
    } else {
        None
    }
}

fn beginning(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    regular::open(path)?
        .take(LOOKED_AT)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A file that goes when it is dropped, with the permissions that the umask leaves.
fn temporary(folder: &Path) -> io::Result<NamedTempFile> {
    let made = Builder::new()
        .prefix(".gemc-")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder);
    // What the system said, without the temporary name.
    made.map_err(|error| {
        let inner = error.get_ref().and_then(std::error::Error::source);
        let system = inner.and_then(|inner| inner.downcast_ref::<io::Error>());
        match system.and_then(io::Error::raw_os_error) {
            Some(code) => io::Error::from_raw_os_error(code),
            None => error,
        }
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const KIND: Kind = Kind {
        name: "a letter",
        is: |bytes| bytes.starts_with(b"Dear"),
    };

    fn write(path: &Path, text: &str) -> Result<(), OutputError> {
        place_all([OutputFile::attempt(path, KIND)?.write(text.as_bytes())?])
    }

    fn refused(path: &Path, says: &str) {
        let before = fs::read(path).ok();
        let error = write(path, "Dear me").expect_err("refused").to_string();
        assert!(error.contains(says), "{error}");
        assert_eq!(fs::read(path).ok(), before);
    }

    fn names(dir: &Path) -> Vec<String> {
        let items = fs::read_dir(dir).expect("a folder").flatten();
        let mut names: Vec<String> = items
            .map(|item| item.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn only_its_own_kind_is_replaced() {
        let root = tempfile::tempdir().expect("a folder");
        let at = |name: &str| root.path().join(name);
        write(&at("new"), "Dear you").expect("nothing is there");
        write(&at("new"), "Dear me").expect("a letter");
        assert_eq!(fs::read(at("new")).expect("there"), b"Dear me");
        fs::write(at("empty"), "").expect("space");
        write(&at("empty"), "Dear me").expect("nothing is lost");
        fs::write(at("bill"), "42").expect("space");
        refused(&at("bill"), "not a letter that gemc wrote");
        fs::create_dir(at("folder")).expect("space");
        refused(&at("folder"), "is a folder");
        refused(Path::new("/dev/null"), "is a device");
        assert!(OutputFile::attempt(Path::new("/dev/stdout"), KIND).is_err());
        for none in ["", ".", "..", "/", "folder/.", "new/"] {
            assert!(write(&root.path().join(none), "Dear").is_err(), "{none}");
        }
        assert!(write(Path::new(""), "Dear").is_err());
        fs::set_permissions(at("new"), Permissions::from_mode(0o444)).expect("ours");
        refused(&at("new"), "write-protected");
        assert_eq!(names(root.path()), ["bill", "empty", "folder", "new"]);
    }

    #[test]
    fn links_stay_and_lead_to_what_is_written() {
        let root = tempfile::tempdir().expect("a folder");
        let at = |name: &str| root.path().join(name);
        fs::create_dir(at("there")).expect("space");
        symlink("there/letter", at("dangling")).expect("space");
        symlink("dangling", at("twice")).expect("space");
        for text in ["Dear you", "Dear me"] {
            write(&at("twice"), text).expect("absent, then a letter");
            assert_eq!(fs::read_to_string(at("there/letter")).expect("there"), text);
        }
        assert!(at("twice").is_symlink() && at("dangling").is_symlink());
        fs::write(at("bill"), "42").expect("space");
        symlink("bill", at("to-bill")).expect("space");
        refused(&at("to-bill"), "not a letter");
        symlink("nowhere/letter", at("lost")).expect("space");
        refused(&at("lost"), "lost");
        symlink("round", at("round")).expect("space");
        refused(&at("round"), "links");
        fs::hard_link(at("there/letter"), at("other-name")).expect("space");
        write(&at("other-name"), "Dear all").expect("a letter");
        assert_eq!(fs::read(at("there/letter")).expect("there"), b"Dear me");
    }

    #[test]
    fn permissions_are_those_of_before_or_of_the_umask() {
        let root = tempfile::tempdir().expect("a folder");
        let (new, plain) = (root.path().join("new"), root.path().join("plain"));
        let mode = |path: &Path| fs::metadata(path).expect("there").mode() & 0o777;
        write(&new, "Dear me").expect("new");
        fs::File::create(&plain).expect("space");
        assert_eq!(mode(&new), mode(&plain));
        fs::set_permissions(&new, Permissions::from_mode(0o640)).expect("ours");
        write(&new, "Dear you").expect("a letter");
        assert_eq!(mode(&new), 0o640);
    }

    #[test]
    fn a_try_leaves_nothing() {
        let root = tempfile::tempdir().expect("a folder");
        let deep = root.path().join("a/b/letter");
        let tried = OutputFile::attempt(&deep, KIND).expect("folders can be made");
        assert!(deep.with_file_name("").is_dir() && !deep.exists());
        drop(tried);
        assert!(names(root.path()).is_empty());
        let tried = OutputFile::attempt(&deep, KIND).expect("as before");
        drop(tried.write(b"Dear me").expect("space"));
        assert!(!deep.exists(), "it was not placed");
        place_all([tried.write(b"Dear me").expect("space")]).expect("renamed");
        drop(tried);
        assert_eq!(names(&root.path().join("a/b")), ["letter"]);
        fs::write(root.path().join("file"), "").expect("space");
        let below = OutputFile::attempt(&root.path().join("file/letter"), KIND);
        assert!(matches!(below, Err(OutputError::Io { .. })));
    }
}
