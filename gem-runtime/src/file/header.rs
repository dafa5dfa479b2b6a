//! The head of a weight file: fields <-> bytes, and every check that needs no pass over the body.

use alloc::format;
use alloc::string::{String, ToString as _};
use core::ops::Range;

use super::{
    BODY_ALIGN, Checksum, FIXED_BYTES, HEAD_DIGEST_BYTES, MAGIC, RECORD_BYTES, Record, VERSION, at,
    layout_digest, record_align, record_at,
};
use crate::error::{Error, Result};

/// What a file says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Hash of the plan they were made by.
    pub plan_hash: [u8; 32],
    /// Bytes of the body.
    pub body_bytes: u64,
}

/// A checked weight file, borrowed from its bytes.
#[derive(Clone, Copy, Debug)]
pub struct WeightFile<'a> {
    plan_hash: [u8; 32],
    layout: u64,
    table: &'a [[u8; RECORD_BYTES]],
    body_offset: usize,
    body: &'a [u8],
}

pub(super) fn damaged(what: impl Into<String>) -> Error {
    Error::WeightFile(what.into())
}

fn u32_at(bytes: &[u8; FIXED_BYTES], at: usize) -> u32 {
    let mut field = [0; 4];
    field.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(field)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut field = [0; 8];
    field.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(field)
}

impl<'a> WeightFile<'a> {
    /// Checks the bytes of a whole file, except for the contents of its body.
    ///
    /// # Errors
    /// [`Error::WeightFile`], saying what is wrong.
    pub fn parse(bytes: &'a [u8]) -> Result<Self> {
        let length = bytes.len() as u64;
        let Some((fixed, _)) = bytes.split_first_chunk::<FIXED_BYTES>() else {
            return Err(too_short(length));
        };
        check_fixed(fixed, length)?;
        // The body ends with the slice, so that its offset fits `usize`.
        let (head, body) = bytes.split_at(u64_at(fixed, at::BODY_OFFSET) as usize);
        let (covered, digest) = head.split_at(head.len() - HEAD_DIGEST_BYTES);
        let table_end =
            FIXED_BYTES as u64 + u64::from(u32_at(fixed, at::RECORDS)) * RECORD_BYTES as u64;
        let table = usize::try_from(table_end)
            .ok()
            .and_then(|end| covered.get(FIXED_BYTES..end))
            .ok_or_else(|| damaged("has a record table longer than its header"))?;
        if Checksum::of(covered) != u64_at(digest, 0) {
            return Err(damaged("has a damaged header: its checksum differs"));
        }
        let file = Self {
            plan_hash: plan_hash(fixed),
            layout: u64_at(fixed, at::LAYOUT),
            table: table.as_chunks().0,
            body_offset: head.len(),
            body,
        };
        check_records(file.records(), body.len() as u64)?;
        if layout_digest(file.records()) != file.layout {
            return Err(damaged("has a layout that does not match its records"));
        }
        Ok(file)
    }

    /// Hash of the plan they were made by.
    #[must_use]
    pub const fn plan_hash(&self) -> &[u8; 32] {
        &self.plan_hash
    }

    /// Says what stands where in the body: see [`layout_digest`].
    #[must_use]
    pub const fn layout(&self) -> u64 {
        self.layout
    }

    /// The bytes of all records, whose offsets begin here.
    #[must_use]
    pub const fn body(&self) -> &'a [u8] {
        self.body
    }

    /// Where the weights are in the file.
    #[must_use]
    pub const fn body_range(&self) -> Range<usize> {
        self.body_offset..self.body_offset + self.body.len()
    }

    /// The records, in file order.
    pub fn records(&self) -> impl ExactSizeIterator<Item = Record> + 'a {
        self.table.iter().map(decode_record)
    }

    /// A record by its place in file order.
    #[must_use]
    pub fn record(&self, index: usize) -> Option<Record> {
        self.table.get(index).map(decode_record)
    }

    /// The digest of a record's bytes when they were written, by its place in file order.
    #[must_use]
    pub fn digest(&self, index: usize) -> Option<u64> {
        let record = self.table.get(index)?;
        Some(u64_at(record, record_at::DIGEST))
    }

    /// The record with this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Record> {
        let hash = super::name_hash(name);
        self.records().find(|record| record.name_hash == hash)
    }

    /// The bytes of a record of this file.
    ///
    /// # Errors
    /// [`Error::WeightFile`] for a record of another file that does not fit this one.
    pub fn record_bytes(&self, record: &Record) -> Result<&'a [u8]> {
        let range = usize::try_from(record.offset)
            .ok()
            .zip(usize::try_from(record.bytes).ok())
            .and_then(|(offset, bytes)| Some(offset..offset.checked_add(bytes)?));
        range
            .and_then(|range| self.body.get(range))
            .ok_or_else(|| damaged("has no such record"))
    }
}

fn too_short(length: u64) -> Error {
    damaged(format!("has {length} bytes, fewer than a header"))
}

/// Checks the fixed part of a file of `length` bytes: what it is, and that it is as long as it says. Whoever reads a file
/// checks this before reserving memory for it.
///
/// # Errors
/// [`Error::WeightFile`].
pub(crate) fn check_fixed(fixed: &[u8; FIXED_BYTES], length: u64) -> Result<()> {
    if fixed[..4] != MAGIC {
        return Err(damaged("does not start with GEMW"));
    }
    let version = u32_at(fixed, at::VERSION);
    if version != VERSION {
        return Err(damaged(format!(
            "has version {version}, this program reads version {VERSION}; build both again with the same gemc"
        )));
    }
    let (offset, body) = (
        u64_at(fixed, at::BODY_OFFSET),
        u64_at(fixed, at::BODY_BYTES),
    );
    if offset == 0 || offset % BODY_ALIGN != 0 {
        return Err(damaged(format!(
            "has its body at {offset}, which is not a multiple of {BODY_ALIGN}"
        )));
    }
    let expected = offset.checked_add(body);
    if expected != Some(length) {
        return Err(damaged(format!(
            "has {length} bytes where its header says {}",
            expected.map_or_else(|| "more than 2^64".to_string(), |n| n.to_string())
        )));
    }
    Ok(())
}

fn plan_hash(fixed: &[u8; FIXED_BYTES]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(&fixed[at::PLAN_HASH..at::PLAN_HASH + 32]);
    hash
}

fn decode_record(bytes: &[u8; RECORD_BYTES]) -> Record {
    Record {
        name_hash: u64_at(bytes, record_at::NAME_HASH),
        codec: bytes[record_at::CODEC],
        layout: bytes[record_at::LAYOUT],
        offset: u64_at(bytes, record_at::OFFSET),
        bytes: u64_at(bytes, record_at::BYTES),
    }
}

/// Checks that records lie in a body of `body_bytes`, ascending, apart, aligned.
pub(super) fn check_records(records: impl Iterator<Item = Record>, body_bytes: u64) -> Result<()> {
    let mut end = 0;
    for (i, record) in records.enumerate() {
        let wrong = |what: &str| Err(damaged(format!("has record {i} {what}")));
        if record.offset < end {
            return wrong("overlapping the one before it");
        }
        if record.offset % record_align(record.bytes) != 0 {
            return wrong("at an unaligned offset");
        }
        match record.offset.checked_add(record.bytes) {
            Some(after) if after <= body_bytes => end = after,
            _ => return wrong("past its end"),
        }
    }
    Ok(())
}
