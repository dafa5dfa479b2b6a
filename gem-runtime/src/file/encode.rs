//! Fields, record table and digests -> the bytes before the body.

use super::header::{Header, damaged};
use super::{
    BODY_ALIGN, Checksum, FIXED_BYTES, HEAD_DIGEST_BYTES, MAGIC, PLACE_BYTES, RECORD_BYTES, Record,
    VERSION, at, layout_digest, record_at,
};
use crate::error::Result;

/// Bytes before the body of a file with so many records: a multiple of [`BODY_ALIGN`].
pub(super) fn head_bytes(records: usize) -> usize {
    let used = FIXED_BYTES + records * RECORD_BYTES + HEAD_DIGEST_BYTES;
    used.next_multiple_of(BODY_ALIGN as usize)
}

/// Bytes of a file with so many records and a body of so many bytes.
#[must_use]
pub fn file_bytes(records: usize, body: u64) -> u64 {
    head_bytes(records) as u64 + body
}

/// Everything before the body, as bytes. `digests` are those of the records.
///
/// # Errors
/// [`Error::WeightFile`] when a field does not fit the format.
pub(super) fn encode(header: &Header, records: &[Record], digests: &[u64]) -> Result<Vec<u8>> {
    let count = u32::try_from(records.len()).map_err(|_| damaged("has too many records"))?;
    let mut head = vec![0; head_bytes(records.len())];
    let offset = head.len() as u64;
    let mut put = |at: usize, bytes: &[u8]| head[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &MAGIC);
    put(at::VERSION, &VERSION.to_le_bytes());
    put(at::RECORDS, &count.to_le_bytes());
    put(at::BODY_OFFSET, &offset.to_le_bytes());
    put(at::BODY_BYTES, &header.body_bytes.to_le_bytes());
    put(at::PLAN_HASH, &header.plan_hash);
    let layout = layout_digest(records.iter().copied());
    put(at::LAYOUT, &layout.to_le_bytes());
    let (table, _) = head[FIXED_BYTES..].as_chunks_mut::<RECORD_BYTES>();
    for ((bytes, record), digest) in table.iter_mut().zip(records).zip(digests) {
        *bytes = encode_record(record, *digest);
    }
    let (covered, digest) = head.split_at_mut(offset as usize - HEAD_DIGEST_BYTES);
    digest.copy_from_slice(&Checksum::of(covered).to_le_bytes());
    Ok(head)
}

fn encode_record(record: &Record, digest: u64) -> [u8; RECORD_BYTES] {
    let mut bytes = [0; RECORD_BYTES];
    bytes[..PLACE_BYTES].copy_from_slice(&record.place());
    bytes[record_at::DIGEST..].copy_from_slice(&digest.to_le_bytes());
    bytes
}
