//! A key -> bytes that were stored under it. A file is 64 bytes of header, then the payload:
//!
//! | bytes | contents |
//! |---|---|
//! | 0 | `gemcache` |
//! | 8 | key |
//! | 40 | bytes of the payload, u64 |
//! | 48 | checksum of the payload, u64 |
//! | 56 | zeros |

use std::fs;
use std::io::{self, BufWriter, Seek as _, SeekFrom, Write};
use std::ops::Deref;
use std::path::PathBuf;

use gem_runtime::file::Checksum;
use gem_runtime::{hex, regular};
use memmap2::Mmap;
use tempfile::NamedTempFile;

use super::{Cache, Key, used};

const MAGIC: &[u8; 8] = b"gemcache";
const HEADER: usize = 64;

/// A stored payload, mapped.
#[derive(Debug)]
pub struct Entry(Mmap);

impl Deref for Entry {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0[HEADER..]
    }
}

impl Cache {
    /// The payload under a key, if it is there and sound; what is not sound is removed.
    #[must_use]
    pub fn find(&self, kind: &str, key: &Key) -> Option<Entry> {
        let path = self.path(kind, key);
        let file = regular::open(&path).ok()?;
        // SAFETY: the mapping is read-only and seen as bytes alone. Entries are complete when they get their name and
        // are never written again; were one changed all the same, bytes would differ and nothing else.
        let entry = Entry(unsafe { Mmap::map(&file) }.ok()?);
        if is_sound(&entry.0, key) {
            used(&path);
            return Some(entry);
        }
        drop(entry);
        // If it stays, it is found unsound again.
        let _ = fs::remove_file(path);
        None
    }

    /// Stores what `write` writes under a key. Until then nothing is there.
    ///
    /// # Errors
    /// From the system. Whoever stores can go on without.
    pub fn store(
        &self,
        kind: &str,
        key: &Key,
        write: impl FnOnce(&mut Sink) -> io::Result<()>,
    ) -> io::Result<()> {
        let stored = self.sink(kind).and_then(|mut sink| {
            write(&mut sink)?;
            self.keep(kind, key, sink)
        });
        stored.inspect_err(|error| self.failed(error))
    }

    /// Begins a payload that [`Cache::keep`] stores; dropped, it leaves nothing.
    ///
    /// # Errors
    /// From the system.
    pub fn sink(&self, kind: &str) -> io::Result<Sink> {
        if self.is_full() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let dir = self.root().join(kind);
        fs::create_dir_all(&dir)?;
        let mut file = BufWriter::new(NamedTempFile::new_in(dir)?);
        file.write_all(&[0; HEADER])?;
        Ok(Sink {
            file,
            bytes: 0,
            sum: Checksum::default(),
        })
    }

    /// Stores a complete payload.
    ///
    /// # Errors
    /// From the system.
    pub fn keep(&self, kind: &str, key: &Key, sink: Sink) -> io::Result<()> {
        let Sink { file, bytes, sum } = sink;
        let mut file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&header(key, bytes, sum.finish()))?;
        file.persist(self.path(kind, key))?;
        Ok(())
    }

    fn path(&self, kind: &str, key: &Key) -> PathBuf {
        self.root().join(kind).join(hex(key))
    }
}

/// Takes a payload.
#[derive(Debug)]
pub struct Sink {
    file: BufWriter<NamedTempFile>,
    bytes: u64,
    sum: Checksum,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all(bytes)?;
        self.bytes += bytes.len() as u64;
        self.sum.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn header(key: &Key, bytes: u64, sum: u64) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..8].copy_from_slice(MAGIC);
    header[8..40].copy_from_slice(key);
    header[40..48].copy_from_slice(&bytes.to_le_bytes());
    header[48..56].copy_from_slice(&sum.to_le_bytes());
    header
}

fn is_sound(file: &[u8], key: &Key) -> bool {
    let Some((head, payload)) = file.split_at_checked(HEADER) else {
        return false;
    };
    // The length first, so that a file that is cut short costs no pass over it.
    head[..48] == header(key, payload.len() as u64, 0)[..48]
        && *head == header(key, payload.len() as u64, Checksum::of(payload))
}
