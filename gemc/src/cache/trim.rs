//! A cache that grew -> one within its bounds: what was not used for long goes, then, least recently used first, what is
//! beyond the size.
//!
//! Who writes trims; reading removes nothing. Only what has a name of an entry is ever removed: the folder may be
//! somebody's, with a `target` of theirs. What was used within [`GRACE`], is locked by whoever makes it, or belongs to
//! a build that is going on, stays, even beyond the bounds. Mapped files and running programs outlive their names.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::{Cache, CacheError};
use crate::output::OutputFolder;

/// Entries that nobody used for so long go.
const UNUSED: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// What was used within this time stays.
pub(super) const GRACE: Duration = Duration::from_secs(60 * 60);

/// How old the mark of the last use may be before it is made anew; below [`GRACE`].
const MARKED: Duration = Duration::from_secs(30 * 60);

/// Beginnings of files that nobody finished go after this time.
pub(super) const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);

/// Entries that are files; `plans` are those of earlier versions.
const FILES: &[&str] = &["digests", MATRICES, MEASURED, "plans"];

/// What was measured for plans.
pub(super) const MEASURED: &str = "measured";

/// Entries that whoever has the checkpoint makes again.
pub(super) const MATRICES: &str = "matrices";

/// Entries that are folders, each with a lock beside it; see [`OutputFolder`].
const FOLDERS: &[&str] = &[super::plans::KIND, "weights"];

/// Entries that are folders, under the lock of whoever builds; `crates` and `runtime` are those of earlier versions.
const BUILT: &[&str] = &["crates", "libraries", "programs", "runtime"];

/// What cargo builds from, under the same lock.
pub(crate) const CRATE: &str = "gemc-crate";

/// Cargo's own folder, under the same lock; it has [`CARGO_MARK`] in it.
pub(crate) const CARGO: &str = "target";

/// Empty file that tells cargo's folder from one of somebody whose folder the cache's root is.
pub(crate) const CARGO_MARK: &str = ".gemc";

/// Digits of the shortest name of an entry.
const KEY_DIGITS: usize = 32;

/// What a cache may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Entries unused for longer go.
    pub unused: Duration,
    /// Bytes of all entries.
    pub bytes: Option<u64>,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            unused: UNUSED,
            bytes: None,
        }
    }
}

impl Bounds {
    /// With the size of a text such as `20G`, `500M` or `1000000`.
    ///
    /// # Errors
    /// [`CacheError::Limit`].
    pub(super) fn parse(limit: Option<&str>) -> Result<Self, CacheError> {
        let bytes = limit.map(|text| {
            let (digits, unit) = match text.char_indices().last() {
                Some((at, 'K' | 'k')) => (&text[..at], 1 << 10),
                Some((at, 'M' | 'm')) => (&text[..at], 1 << 20),
                Some((at, 'G' | 'g')) => (&text[..at], 1 << 30),
                _ => (text, 1),
            };
            let number = digits.parse::<u64>().ok();
            let bytes = number.and_then(|number| number.checked_mul(unit));
            bytes.ok_or_else(|| CacheError::Limit(text.to_owned()))
        });
        Ok(Self {
            bytes: bytes.transpose()?,
            ..Self::default()
        })
    }
}

/// Notes that a file was used now, for the order in which entries go.
pub fn used(path: &Path) {
    let fresh = |file: &File| file.metadata().is_ok_and(|meta| age(&meta) < MARKED);
    if let Ok(file) = File::open(path)
        && !fresh(&file)
    {
        // A cache that cannot be written grows no further.
        let _ = file.set_modified(SystemTime::now());
    }
}

fn age(meta: &fs::Metadata) -> Duration {
    let modified = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    // A file from the future was just used, as far as anybody knows.
    SystemTime::now()
        .duration_since(modified)
        .unwrap_or_default()
}

/// How an entry is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    File,
    Folder,
    /// What a killed writer of a folder left.
    Partial,
    Built,
}

/// Something that goes as a whole.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) path: PathBuf,
    kind: Kind,
    pub(super) bytes: u64,
    pub(super) unused: Duration,
}

impl Cache {
    /// Removes what is beyond the bounds. What cannot be removed stays until the next time.
    pub fn trim(&self) {
        let (mut entries, _lock) = self.removable(ABANDONED);
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.unused));
        let mut bytes: u64 = entries.iter().map(|entry| entry.bytes).sum();
        let limit = self.bounds.bytes.unwrap_or(u64::MAX);
        for entry in entries {
            let goes = entry.unused > self.bounds.unused || bytes > limit;
            if goes && entry.unused > GRACE && remove(&entry) {
                bytes -= entry.bytes;
            }
        }
    }

    /// Removes what was not used within [`GRACE`], and matrices however new: a disk is full, and they are only used
    /// where a weight file is made.
    pub fn make_room(&self) {
        let (entries, _lock) = self.removable(ABANDONED);
        for entry in entries {
            let parent = entry.path.parent().and_then(Path::file_name);
            if entry.unused > GRACE || parent.is_some_and(|parent| parent == MATRICES) {
                remove(&entry);
            }
        }
    }

    /// Entries that nobody builds at this time, and the lock that keeps it so; what is begun counts after `abandoned`.
    pub(super) fn removable(&self, abandoned: Duration) -> (Vec<Entry>, Option<File>) {
        let mut entries = self.entries(abandoned);
        let lock = self.build_lock().ok();
        let lock = lock.filter(|file| file.try_lock().is_ok());
        if lock.is_none() {
            entries.retain(|entry| entry.kind != Kind::Built);
        }
        (entries, lock)
    }

    /// All entries, and what was begun and not touched for longer than `abandoned`.
    pub(super) fn entries(&self, abandoned: Duration) -> Vec<Entry> {
        let mut entries = Vec::new();
        for kind in FILES {
            for path in listed(&self.root().join(kind)) {
                entries.extend(file(path, abandoned));
            }
        }
        for (names, kind) in [(FOLDERS, Kind::Folder), (BUILT, Kind::Built)] {
            for name in names {
                let folders = listed(&self.root().join(name)).into_iter();
                entries.extend(folders.filter_map(|path| match hidden(&path) {
                    false => is_entry(&path).then(|| folder(path, kind)),
                    true => partial(path, abandoned),
                }));
            }
        }
        let from = self.root().join(CRATE);
        if from.is_dir() {
            entries.push(folder(from, Kind::Built));
        }
        let cargo = self.root().join(CARGO);
        if cargo.join(CARGO_MARK).exists() {
            entries.push(folder(cargo, Kind::Built));
        }
        entries
    }
}

fn listed(dir: &Path) -> Vec<PathBuf> {
    let items = fs::read_dir(dir).into_iter().flatten().flatten();
    items.map(|item| item.path()).collect()
}

fn hidden(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy());
    name.is_some_and(|name| name.starts_with('.'))
}

/// Whether a name is that of an entry: a key, and an ending where files have one.
fn is_entry(path: &Path) -> bool {
    let stem = path.file_stem().unwrap_or_default().as_encoded_bytes();
    stem.len() >= KEY_DIGITS && stem.iter().all(u8::is_ascii_hexdigit)
}

/// Whether a name is one that `tempfile` gives.
fn is_temporary(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    name.as_encoded_bytes().starts_with(b".tmp")
}

/// A file; one that is being written counts once it is abandoned.
fn file(path: PathBuf, abandoned: Duration) -> Option<Entry> {
    let meta = fs::metadata(&path).ok()?;
    let unused = match hidden(&path) {
        false if is_entry(&path) => age(&meta),
        true if is_temporary(&path) && age(&meta) > abandoned => Duration::MAX,
        _ => return None,
    };
    Some(Entry {
        kind: Kind::File,
        bytes: meta.len(),
        unused,
        path,
    })
}

/// A folder was used when any file in it was.
fn folder(path: PathBuf, kind: Kind) -> Entry {
    let mut unused = fs::metadata(&path).map_or(Duration::ZERO, |meta| age(&meta));
    let mut bytes = 0;
    let mut below = vec![path.clone()];
    while let Some(dir) = below.pop() {
        for item in fs::read_dir(dir).into_iter().flatten().flatten() {
            let Ok(meta) = item.metadata() else { continue };
            unused = unused.min(age(&meta));
            if meta.is_dir() {
                below.push(item.path());
            } else {
                bytes += meta.len();
            }
        }
    }
    Entry {
        path,
        kind,
        bytes,
        unused,
    }
}

/// A folder that somebody began to write and did not finish.
fn partial(path: PathBuf, abandoned: Duration) -> Option<Entry> {
    let target = OutputFolder::target_of_partial(&path).filter(|path| is_entry(path))?;
    let entry = folder(path, Kind::Partial);
    (entry.unused > abandoned).then_some(Entry {
        path: target,
        unused: Duration::MAX,
        ..entry
    })
}

/// Whether an entry is gone.
pub(super) fn remove(entry: &Entry) -> bool {
    match entry.kind {
        Kind::File => fs::remove_file(&entry.path).is_ok(),
        Kind::Folder => OutputFolder::remove(&entry.path).is_ok(),
        Kind::Partial => OutputFolder::clean(&entry.path).is_ok(),
        Kind::Built => fs::remove_dir_all(&entry.path).is_ok(),
    }
}
