//! Patched weights in a file: the old one or the new one, whenever the power fails.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::Patch;
use crate::error::{Error, Result};
use crate::storage::Weights;

/// Bytes written at a time.
const PIECE: usize = 1 << 20;

/// Writes the weights of `from` with patches applied, in this order, to `to`, which may be the same file: a program that runs
/// keeps the one it has mapped. What is at `to` is the old file or the new one at any time, nothing between, also after a
/// power cut.
///
/// # Errors
/// [`Error::Io`], [`Error::WeightFile`], [`Error::Patch`]; `to` is then as it was.
pub fn apply(from: &Path, patches: &[Patch], to: &Path) -> Result<()> {
    let weights = Weights::open_patched(from, patches)?;
    write(&mut System, to, weights.file_contents())
}

/// What of the system's files is needed: a test makes each call fail in turn.
pub(super) trait Disk {
    fn create(&mut self, path: &Path) -> io::Result<File>;
    fn write(&mut self, file: &mut File, bytes: &[u8]) -> io::Result<()>;
    fn sync(&mut self, file: &File) -> io::Result<()>;
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&mut self, path: &Path);
}

struct System;

impl Disk for System {
    fn create(&mut self, path: &Path) -> io::Result<File> {
        File::create_new(path)
    }

    fn write(&mut self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }

    fn sync(&mut self, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&mut self, path: &Path) {
        // It is of no use to anyone; that it cannot be removed is no reason to say something else than what failed before.
        let _ = fs::remove_file(path);
    }
}

/// Writes a file beside `to`, and puts it in its place when the disk has it.
pub(super) fn write(disk: &mut impl Disk, to: &Path, contents: &[u8]) -> Result<()> {
    let beside = beside(to).ok_or_else(|| Error::io(to, io::ErrorKind::InvalidInput.into()))?;
    let mut file = disk.create(&beside).map_err(|e| Error::io(&beside, e))?;
    let written = (contents.chunks(PIECE))
        .try_for_each(|piece| disk.write(&mut file, piece))
        .and_then(|()| disk.sync(&file))
        .and_then(|()| disk.rename(&beside, to));
    if let Err(e) = written {
        disk.remove(&beside);
        return Err(Error::io(to, e));
    }
    // Before this the new name may be lost in a power cut, and the old file is back.
    let folder = beside.parent().map(File::open);
    match folder {
        Some(Ok(folder)) if cfg!(unix) => disk.sync(&folder).map_err(|e| Error::io(to, e)),
        _ => Ok(()),
    }
}

/// A name in the same folder that nobody else has.
fn beside(to: &Path) -> Option<PathBuf> {
    let name = to.file_name()?.to_string_lossy();
    let folder = match to.parent()? {
        folder if folder.as_os_str().is_empty() => Path::new("."),
        folder => folder,
    };
    Some(folder.join(format!(".{name}.{}.new", std::process::id())))
}
