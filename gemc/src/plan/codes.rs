//! `plan.codes`: planes of quantised units, each named by its SHA-256.
//!
//! ```text
//! 8  magic "GEMCODES"        table: per entry 32 digest, 8 offset, 8 bytes
//! 4  version                 32 SHA-256 of everything before it
//! 4  entries                 bodies, each at a multiple of 64 bytes
//! ```
//! Little-endian. A body is compared with its digest when it is asked for: what it says is then what was planned.

use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gem_runtime::regular;
use memmap2::Mmap;
use sha2::{Digest as _, Sha256};

use crate::quantise::Planes;

const MAGIC: &[u8; 8] = b"GEMCODES";
const VERSION: u32 = 1;
const ENTRY: usize = 48;
const HEAD: usize = 16;

/// SHA-256 of planes.
pub type Digest = [u8; 32];

/// What is wrong with a file of codes.
#[derive(Debug, thiserror::Error)]
pub enum CodesError {
    /// It cannot be read.
    #[error("{}: {source}; a plan's codes stand beside it and are made by `gemc plan`", path.display())]
    Io {
        /// The file of codes.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is none, or damaged.
    #[error("{}: {what}; make it again with `gemc plan`", path.display())]
    Broken {
        /// The file of codes.
        path: PathBuf,
        /// What is wrong with it, in words.
        what: &'static str,
    },
    /// It lacks what a plan names.
    #[error("{}: no codes of {unit}: the file belongs to another plan, or the plan was edited; make both again with `gemc plan`", path.display())]
    Missing {
        /// The file of codes.
        path: PathBuf,
        /// Name of the unit whose codes are missing.
        unit: String,
    },
}

/// An open file of codes.
#[derive(Debug)]
pub struct Codes {
    path: PathBuf,
    map: Mmap,
    entries: Vec<(Digest, usize, usize)>,
}

impl Codes {
    /// Opens a file and checks its table.
    ///
    /// # Errors
    /// When it cannot be read or is not whole.
    pub fn open(path: &Path) -> Result<Self, CodesError> {
        let io = |source| CodesError::Io {
            path: path.to_owned(),
            source,
        };
        let file = regular::open(path).map_err(io)?;
        // SAFETY: the file is read-only here. Were it changed by another process meanwhile, bytes would change under
        // the digests that they are compared with; weights would be wrong, but no reference is to anything but bytes.
        let map = unsafe { Mmap::map(&file) }.map_err(io)?;
        let entries = table(&map).map_err(|what| CodesError::Broken {
            path: path.to_owned(),
            what,
        })?;
        Ok(Self {
            path: path.to_owned(),
            map,
            entries,
        })
    }

    /// Whether a file begins as a file of codes; not for one that cannot be read, or is no regular file.
    #[must_use]
    pub fn are_in(path: &Path) -> bool {
        let mut start = [0; MAGIC.len()];
        regular::open(path)
            .and_then(|mut file| file.read_exact(&mut start))
            .is_ok_and(|()| is_codes(&start))
    }

    /// Number of planes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The planes that are not what their digest says, as bytes of the file.
    #[must_use]
    pub fn damage(&self) -> Vec<std::ops::Range<u64>> {
        let damaged = |(digest, _, _): &&(Digest, usize, usize)| self.planes("", digest).is_err();
        let broken = self.entries.iter().filter(damaged);
        broken
            .map(|(_, offset, bytes)| *offset as u64..(offset + bytes) as u64)
            .collect()
    }

    /// Bytes of the whole file.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        self.map.len() as u64
    }

    /// Whether there are planes with this digest.
    #[must_use]
    pub fn has(&self, digest: &Digest) -> bool {
        self.find(digest).is_some()
    }

    fn find(&self, digest: &Digest) -> Option<(usize, usize)> {
        let at = self.entries.binary_search_by(|(d, _, _)| d.cmp(digest));
        at.ok().map(|at| (self.entries[at].1, self.entries[at].2))
    }

    /// The planes with this digest, compared with it now.
    ///
    /// # Errors
    /// When there are none, or they are damaged.
    pub fn planes(&self, unit: &str, digest: &Digest) -> Result<&[u8], CodesError> {
        let Some((offset, bytes)) = self.find(digest) else {
            return Err(CodesError::Missing {
                path: self.path.clone(),
                unit: unit.to_owned(),
            });
        };
        let planes = &self.map[offset..offset + bytes];
        if Sha256::digest(planes)[..] == digest[..] {
            return Ok(planes);
        }
        Err(CodesError::Broken {
            path: self.path.clone(),
            what: "codes are damaged",
        })
    }
}

/// Reads and checks the table: digests ascending, bodies inside the file.
fn table(file: &[u8]) -> Result<Vec<(Digest, usize, usize)>, &'static str> {
    let word = |at: usize| file.get(at..at + 4).and_then(|b| b.try_into().ok());
    if file.get(..8) != Some(MAGIC) {
        return Err("not a file of codes");
    }
    if word(8).map(u32::from_le_bytes) != Some(VERSION) {
        return Err("made by another version of gemc");
    }
    let count = word(12).map(u32::from_le_bytes).ok_or("cut short")? as usize;
    let end = HEAD + count.checked_mul(ENTRY).ok_or("cut short")?;
    let (head, rest) = file.split_at_checked(end).ok_or("cut short")?;
    if rest.get(..32) != Some(&Sha256::digest(head)[..]) {
        return Err("its table is damaged");
    }
    let mut entries: Vec<(Digest, usize, usize)> = Vec::with_capacity(count);
    for entry in head[HEAD..].as_chunks::<ENTRY>().0 {
        let (digest, place) = entry.split_at(32);
        let number = |at: usize| {
            let bytes = place[at..at + 8].try_into().unwrap_or_default();
            usize::try_from(u64::from_le_bytes(bytes)).map_err(|_| "a body lies outside the file")
        };
        let (offset, bytes) = (number(0)?, number(8)?);
        if offset.checked_add(bytes).is_none_or(|end| end > file.len()) {
            return Err("cut short");
        }
        let digest: Digest = digest.try_into().unwrap_or_default();
        if entries.last().is_some_and(|(last, _, _)| *last >= digest) {
            return Err("its table is out of order");
        }
        entries.push((digest, offset, bytes));
    }
    let last = entries
        .iter()
        .map(|(_, offset, bytes)| offset + bytes)
        .max();
    if file.len() > last.unwrap_or(end + 32) {
        return Err("it has bytes behind its end");
    }
    Ok(entries)
}

/// Whether the content of a file is that of codes, whole or not.
#[must_use]
pub fn is_codes(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// Parses a file of codes: the entry point of fuzzers.
pub fn fuzz(bytes: &[u8]) {
    let _ = table(bytes);
}

/// Writes planes, equal ones once; the same planes give the same bytes in whatever order they come.
///
/// # Errors
/// From `to`.
pub fn write(to: &mut dyn Write, planes: &[Arc<Planes>]) -> io::Result<()> {
    let mut bodies: Vec<(Digest, &[u8])> = planes
        .iter()
        .map(|planes| (planes.digest(), &*planes.bytes))
        .collect();
    bodies.sort_unstable();
    bodies.dedup();
    let mut head = Vec::new();
    head.extend_from_slice(MAGIC);
    head.extend_from_slice(&VERSION.to_le_bytes());
    head.extend_from_slice(&(bodies.len() as u32).to_le_bytes());
    let first = (HEAD + bodies.len() * ENTRY + 32).next_multiple_of(64);
    let mut offset = first;
    for (digest, body) in &bodies {
        head.extend_from_slice(digest);
        head.extend_from_slice(&(offset as u64).to_le_bytes());
        head.extend_from_slice(&(body.len() as u64).to_le_bytes());
        offset += body.len().next_multiple_of(64);
    }
    let checksum = Sha256::digest(&head);
    head.extend_from_slice(&checksum);
    head.resize(first, 0);
    to.write_all(&head)?;
    for (_, body) in &bodies {
        to.write_all(body)?;
        to.write_all(&[0; 64][..body.len().next_multiple_of(64) - body.len()])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantise::quantise;
    use gemc_format::{Codec, Inputs, Rounding, Shape};

    fn planes(seed: f32) -> Arc<Planes> {
        let shape = Shape {
            parts: vec![3],
            cols: 40,
        };
        let weights: Vec<f32> = (0..120).map(|i| (i as f32 * seed).sin()).collect();
        let inputs = Inputs::Unknown(Rounding::Plain);
        Arc::new(quantise(&weights, &shape, Codec::N4, inputs))
    }

    fn file(planes: &[Arc<Planes>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(&mut bytes, planes).expect("memory takes all");
        bytes
    }

    #[test]
    fn gives_back_what_was_written() {
        let all = [planes(0.1), planes(0.2), planes(0.1)];
        let bytes = file(&all);
        assert_eq!(
            bytes,
            file(&[all[2].clone(), all[1].clone()]),
            "order and repetition"
        );
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("plan.codes");
        std::fs::write(&path, &bytes).expect("a file");
        let codes = Codes::open(&path).expect("whole");
        for planes in &all {
            assert_eq!(
                codes.planes("u", &planes.digest()).expect("there"),
                &*planes.bytes
            );
        }
        let error = codes.planes("model.x", &[7; 32]).expect_err("not there");
        assert!(error.to_string().contains("model.x"), "{error}");
    }

    #[test]
    fn damage_is_found() {
        let bytes = file(&[planes(0.1), planes(0.2)]);
        assert!(table(&bytes).is_ok());
        for cut in [0, 7, 15, 20, 100, bytes.len() - 65] {
            assert!(table(&bytes[..cut]).is_err(), "{cut}");
        }
        for at in 0..HEAD + 2 * ENTRY + 32 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(table(&damaged).is_err(), "{at}");
        }
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("plan.codes");
        let mut damaged = bytes;
        let at = damaged.len() - 100;
        damaged[at] ^= 1;
        std::fs::write(&path, &damaged).expect("a file");
        let codes = Codes::open(&path).expect("the table is whole");
        let broken = [planes(0.1), planes(0.2)]
            .iter()
            .filter(|p| codes.planes("u", &p.digest()).is_err())
            .count();
        assert_eq!(broken, 1);
        assert!(Codes::open(&dir.path().join("none")).is_err());
    }
}
