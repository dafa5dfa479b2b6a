//! Bytes -> a checked [`Patch`].
//!
//! Invariant: a `Patch` exists only for bytes that are as they were written, whose pieces ascend, lie in parts of modules, and are
//! as long together as what follows the table. Nothing is reserved by a number that was read.

use std::ops::Range;
use std::path::Path;

use super::{DIGEST_BYTES, FIXED_BYTES, MAGIC, PIECE_BYTES, PatchFault, VERSION, at};
use crate::error::{Error, Result};
use crate::file::Checksum;

/// A module's part of the weights, to take the place of another.
///
/// ```
/// use gem_runtime::patch::Patch;
/// use gem_runtime::Error;
/// use gem_runtime::storage::Weights;
///
/// /// A model with the newest law module, of a file that stays as it is.
/// fn newest(weights: &std::path::Path, law: &std::path::Path) -> Result<Weights, Error> {
///     Weights::open_patched(weights, &[Patch::open(law)?])
/// }
///
/// assert!(Patch::parse(b"GEMP".to_vec()).is_err());
/// # assert!(newest("no.gemw".as_ref(), "no.gemp".as_ref()).is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    pub(super) bytes: Vec<u8>,
    pub(super) head: Head,
    /// Ranges of the body, ascending and apart: what is replaced.
    pub(super) pieces: Vec<Range<u64>>,
    /// The same: what belongs to modules, this one and others.
    pub(super) parts: Vec<Range<u64>>,
    /// Where the bytes of the pieces begin.
    pub(super) payload: usize,
}

/// What the fixed part says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub module: String,
    pub plan_hash: [u8; 32],
    pub layout: u64,
    pub rest: u64,
    pub before: u64,
    pub after: u64,
}

impl Patch {
    /// Reads a patch.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Patch`], each with the path.
    pub fn open(path: &Path) -> Result<Self> {
        use std::io::Read as _;
        let io = |e| Error::io(path, e);
        let mut bytes = Vec::new();
        let mut file = crate::regular::open(path).map_err(io)?;
        file.read_to_end(&mut bytes).map_err(io)?;
        let patch = checked(bytes);
        patch.map_err(|fault| fault.of(&path.display().to_string()))
    }

    /// Checks the bytes of a whole patch.
    ///
    /// # Errors
    /// [`Error::Patch`], saying what is wrong.
    pub fn parse(bytes: Vec<u8>) -> Result<Self> {
        checked(bytes).map_err(|fault| fault.of("the patch"))
    }

    /// The bytes of the file.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Name of the module that it replaces.
    #[must_use]
    pub fn module(&self) -> &str {
        &self.head.module
    }

    /// Hash of the plan of the weights that it is for.
    #[must_use]
    pub const fn plan_hash(&self) -> &[u8; 32] {
        &self.head.plan_hash
    }

    /// Bytes of the weights that it replaces.
    #[must_use]
    pub fn replaced_bytes(&self) -> u64 {
        self.pieces
            .iter()
            .map(|piece| piece.end - piece.start)
            .sum()
    }

    /// The pieces with their new bytes.
    pub(super) fn contents(&self) -> impl Iterator<Item = (&Range<u64>, &[u8])> {
        let mut at = self.payload;
        self.pieces.iter().map(move |piece| {
            // Together they are as long as what follows the table.
            let end = at + (piece.end - piece.start) as usize;
            (piece, &self.bytes[std::mem::replace(&mut at, end)..end])
        })
    }
}

impl PatchFault {
    pub(super) fn of(self, patch: &str) -> Error {
        Error::Patch {
            patch: patch.to_owned(),
            fault: self,
        }
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let field = bytes.get(at..).and_then(<[u8]>::first_chunk);
    field.map_or(0, |field| u32::from_le_bytes(*field))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let field = bytes.get(at..).and_then(<[u8]>::first_chunk);
    field.map_or(0, |field| u64::from_le_bytes(*field))
}

fn checked(bytes: Vec<u8>) -> Result<Patch, PatchFault> {
    let damaged = PatchFault::Damaged;
    if !bytes.starts_with(&MAGIC) {
        return Err(damaged("does not start with GEMP"));
    }
    if bytes.len() < FIXED_BYTES + DIGEST_BYTES {
        return Err(damaged("is shorter than a patch without pieces"));
    }
    let version = u32_at(&bytes, at::VERSION);
    if version != VERSION {
        return Err(PatchFault::Version(version));
    }
    let end = bytes.len() - DIGEST_BYTES;
    if Checksum::of(&bytes[..end]) != u64_at(&bytes, end) {
        return Err(damaged("is damaged: its checksum differs"));
    }
    let name = u32_at(&bytes, at::NAME_BYTES) as usize;
    let table = FIXED_BYTES
        .checked_add(name)
        .and_then(|end| end.checked_next_multiple_of(8));
    let [pieces, parts] = [at::PIECES, at::PARTS].map(|field| u32_at(&bytes, field) as usize);
    let payload = (pieces.checked_add(parts))
        .and_then(|ranges| ranges.checked_mul(PIECE_BYTES)?.checked_add(table?))
        .filter(|payload| *payload <= end)
        .ok_or(damaged("has a table longer than itself"))?;
    let module = std::str::from_utf8(&bytes[FIXED_BYTES..FIXED_BYTES + name])
        .map_err(|_| damaged("names a module not in UTF-8"))?
        .to_owned();
    let table = &bytes[payload - PIECE_BYTES * (pieces + parts)..payload];
    let (pieces, parts) = table.split_at(PIECE_BYTES * pieces);
    let [pieces, parts] = [pieces, parts].map(ranges);
    let (pieces, parts) = (pieces?, parts?);
    let inside = |piece: &Range<u64>| {
        let part = parts.partition_point(|part| part.end < piece.end);
        (parts.get(part)).is_some_and(|part| part.start <= piece.start && piece.end <= part.end)
    };
    if !pieces.iter().all(inside) {
        return Err(damaged("has a piece outside of modules"));
    }
    let length = |sum: u64, piece: &Range<u64>| sum.checked_add(piece.end - piece.start);
    if pieces.iter().try_fold(0, length) != Some((end - payload) as u64) {
        return Err(damaged("has pieces of another length than its bytes"));
    }
    let mut plan_hash = [0; 32];
    plan_hash.copy_from_slice(&bytes[at::PLAN_HASH..at::PLAN_HASH + 32]);
    let [layout, rest, before, after] =
        [at::LAYOUT, at::REST, at::BEFORE, at::AFTER].map(|field| u64_at(&bytes, field));
    Ok(Patch {
        head: Head {
            module,
            plan_hash,
            layout,
            rest,
            before,
            after,
        },
        pieces,
        parts,
        payload,
        bytes,
    })
}

/// Ranges of a table, ascending and apart, none empty.
fn ranges(table: &[u8]) -> Result<Vec<Range<u64>>, PatchFault> {
    let mut last = 0;
    let range = |entry: &[u8; PIECE_BYTES]| {
        let (start, bytes) = (u64_at(entry, 0), u64_at(entry, 8));
        let end = start
            .checked_add(bytes)
            .filter(|_| bytes > 0 && start >= last);
        last = end?;
        Some(start..last)
    };
    let ranges: Option<Vec<_>> = table.as_chunks().0.iter().map(range).collect();
    ranges.ok_or(PatchFault::Damaged("has pieces that do not ascend"))
}
