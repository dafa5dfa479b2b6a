//! `model.gemw`: bytes -> a checked [`WeightFile`], and records -> bytes ([`Writer`]). `docs/weight-file.md` is normative.
//!
//! Little endian throughout, fixed-width fields, no `usize`; digests are XXH64:
//!
//! | offset | field |
//! |---|---|
//! | 0 | magic `GEMW` |
//! | 4 | version, u32 |
//! | 8 | number of records, u32 |
//! | 12 | zero, u32 |
//! | 16 | offset of the body in the file, u64, a multiple of 16 KiB |
//! | 24 | bytes of the body, u64 |
//! | 32 | plan hash, 32 bytes |
//! | 64 | digest of the layout, u64 |
//! | 72 | zeros |
//! | 128 | records of 40 bytes: hash of the name u64, codec u8, layout u8, zero `[6]`, offset in the body u64, bytes u64, digest u64 |
//! | | zeros |
//! | body - 8 | digest of everything before it, u64 |
//!
//! The digest of the layout is that of what the records say but their own digests: the first 32 bytes of each.
//!
//! Invariant: a `WeightFile` exists only for bytes whose header is intact and whose records lie in the body, ascending,
//! without overlap, aligned as [`record_align`] says. Comparing the body with its digests takes a pass over all weights
//! and is done by [`WeightFile::verify_body`] only.

mod checksum;
#[cfg(feature = "std")]
mod encode;
mod header;
mod verify;
#[cfg(feature = "std")]
mod write;

#[cfg(test)]
mod tests;

pub use checksum::{BASIS, Checksum, PRIME, name_hash};
#[cfg(feature = "std")]
pub use encode::file_bytes;
#[cfg(feature = "std")]
pub(crate) use header::check_fixed;
pub use header::{Header, WeightFile};
pub use verify::Damage;
#[cfg(feature = "std")]
pub use write::Writer;

/// The first bytes of a weight file.
pub const MAGIC: [u8; 4] = *b"GEMW";

/// Version of the file format.
pub const VERSION: u32 = 3;

/// The body starts at a multiple of this many bytes, so that it can be mapped with any page size in use.
pub const BODY_ALIGN: u64 = 16 * 1024;

/// Records of at least this many bytes are aligned at [`LARGE_RECORD_ALIGN`].
pub const LARGE_RECORD: u64 = 256 * 1024;

/// Alignment of large records in the body.
pub const LARGE_RECORD_ALIGN: u64 = 16 * 1024;

/// Alignment of small records in the body.
pub const SMALL_RECORD_ALIGN: u64 = 64;

/// Bytes before the record table.
pub const FIXED_BYTES: usize = 128;

/// Bytes of a record in the table.
pub const RECORD_BYTES: usize = 40;

/// Bytes of a record that say where it stands and what it is; its digest follows.
const PLACE_BYTES: usize = 32;

/// Bytes of the digest that ends the header, directly before the body.
pub const HEAD_DIGEST_BYTES: usize = 8;

/// Where fields of the fixed part stand.
pub mod at {
    /// u32.
    pub const VERSION: usize = 4;
    /// Number of records, u32.
    pub const RECORDS: usize = 8;
    /// Offset of the body in the file, u64.
    pub const BODY_OFFSET: usize = 16;
    /// Bytes of the body, u64.
    pub const BODY_BYTES: usize = 24;
    /// 32 bytes.
    pub const PLAN_HASH: usize = 32;
    /// u64.
    pub const LAYOUT: usize = 64;
}

/// Where fields of a record stand.
pub mod record_at {
    /// u64.
    pub const NAME_HASH: usize = 0;
    /// u8.
    pub const CODEC: usize = 8;
    /// u8.
    pub const LAYOUT: usize = 9;
    /// Where it starts in the body, u64.
    pub const OFFSET: usize = 16;
    /// How long it is, u64.
    pub const BYTES: usize = 24;
    /// Digest of its bytes, u64.
    pub const DIGEST: usize = 32;
}

/// Alignment in the body of a record with so many bytes.
#[must_use]
pub const fn record_align(bytes: u64) -> u64 {
    if bytes >= LARGE_RECORD {
        LARGE_RECORD_ALIGN
    } else {
        SMALL_RECORD_ALIGN
    }
}

/// One record: a tensor or a part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// [`name_hash`] of its name.
    pub name_hash: u64,
    /// Id of its codec; 0 for plain little-endian values.
    pub codec: u8,
    /// Id of its layout; 0 for row-major values.
    pub layout: u8,
    /// Where it starts, counted from the start of the body.
    pub offset: u64,
    /// How long it is.
    pub bytes: u64,
}

impl Record {
    /// What the table says of it but its digest.
    fn place(&self) -> [u8; PLACE_BYTES] {
        let mut bytes = [0; PLACE_BYTES];
        bytes[record_at::CODEC] = self.codec;
        bytes[record_at::LAYOUT] = self.layout;
        for (at, field) in [
            (record_at::NAME_HASH, self.name_hash),
            (record_at::OFFSET, self.offset),
            (record_at::BYTES, self.bytes),
        ] {
            bytes[at..at + 8].copy_from_slice(&field.to_le_bytes());
        }
        bytes
    }
}

/// Identifies what stands where in a body: names, codecs, layouts, offsets and lengths of all records, in file order. Kernels
/// have offsets in them, so a program reads the files of one layout.
pub fn layout_digest(records: impl IntoIterator<Item = Record>) -> u64 {
    let mut sum = Checksum::default();
    for record in records {
        sum.update(&record.place());
    }
    sum.finish()
}

/// Places records of the given sizes one after the other; offsets of each, and the bytes of the body.
/// `None` when the body would not fit 64 bits.
#[must_use]
pub fn place(sizes: &[u64]) -> Option<(alloc::vec::Vec<u64>, u64)> {
    let mut end = 0_u64;
    let mut offsets = alloc::vec::Vec::with_capacity(sizes.len());
    for &bytes in sizes {
        let offset = end.checked_next_multiple_of(record_align(bytes))?;
        offsets.push(offset);
        end = offset.checked_add(bytes)?;
    }
    Some((offsets, end.checked_next_multiple_of(SMALL_RECORD_ALIGN)?))
}

/// Parses and verifies whatever is given; for fuzzing.
pub fn fuzz_weight_file(bytes: &[u8]) {
    if let Ok(file) = WeightFile::parse(bytes) {
        for record in file.records() {
            let _ = file.record_bytes(&record);
        }
        let _ = file.verify_body();
        let _ = file.damage();
    }
}
