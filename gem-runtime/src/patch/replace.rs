//! Patched weights in a file: the old one or the new one, whenever the power fails.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::Patch;
use crate::error::{Error, Result};
use crate::storage::Weights;

/// Bytes written at a time.
const PIECE: usize = 1 << 20;

/// Files of processes with the same number that ended while they wrote, at most.
const MOST_LEFT: u32 = 1000;

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
    let (beside, mut file) = beside(disk, to).map_err(|e| Error::io(to, e))?;
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

/// A file of a name in the same folder that nobody else has, not even a process that ended in a power cut.
fn beside(disk: &mut impl Disk, to: &Path) -> io::Result<(PathBuf, File)> {
    let name = to.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let folder = match to.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let (name, process) = (name.to_string_lossy(), std::process::id());
    let mut number = 0;
    loop {
        let path = folder.join(format!(".{name}.{process}.{number}.new"));
        match disk.create(&path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && number < MOST_LEFT => number += 1,
            created => return created.map(|file| (path, file)),
        }
    }
}
