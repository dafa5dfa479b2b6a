//! Fields and record table -> the bytes before the body.

use super::header::{Header, damaged, head_checksum, target_name};
use super::{
    BODY_ALIGN, FIXED_BYTES, MAGIC, RECORD_BYTES, Record, TARGET_BYTES, VERSION, at,
};
use crate::error::Result;

/// Everything before the body, as bytes: a multiple of [`BODY_ALIGN`] long.
///
/// # Errors
/// [`Error::WeightFile`] when a field does not fit the format.
pub(super) fn encode(header: &Header, records: &[Record], body_checksum: u64) -> Result<Vec<u8>> {
    let count = u32::try_from(records.len()).map_err(|_| damaged("has too many records"))?;
    let used = FIXED_BYTES + records.len() * RECORD_BYTES;
    let mut head = vec![0; used.next_multiple_of(BODY_ALIGN as usize)];
    if header.target.len() > TARGET_BYTES {
        return Err(damaged(format!(
            "cannot hold a target name of more than {TARGET_BYTES} bytes"
        )));
    }
    let offset = head.len() as u64;
    let mut put = |at: usize, bytes: &[u8]| head[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &MAGIC);
    put(at::VERSION, &VERSION.to_le_bytes());
    put(at::RECORDS, &count.to_le_bytes());
    put(at::BODY_OFFSET, &offset.to_le_bytes());
    put(at::BODY_BYTES, &header.body_bytes.to_le_bytes());
    put(at::PLAN_HASH, &header.plan_hash);
    put(at::BODY_CHECKSUM, &body_checksum.to_le_bytes());
    put(at::TARGET, header.target.as_bytes());
    target_name(&head[at::TARGET..at::TARGET + TARGET_BYTES])?;
    for (bytes, record) in head[FIXED_BYTES..]
        .as_chunks_mut::<RECORD_BYTES>()
        .0
        .iter_mut()
        .zip(records)
    {
        *bytes = encode_record(record);
    }
    let sum = head_checksum(&head);
    head[at::CHECKSUM..FIXED_BYTES].copy_from_slice(&sum.to_le_bytes());
    Ok(head)
}

fn encode_record(record: &Record) -> [u8; RECORD_BYTES] {
    let mut bytes = [0; RECORD_BYTES];
    bytes[..8].copy_from_slice(&record.name_hash.to_le_bytes());
    bytes[8] = record.codec;
    bytes[9] = record.layout;
    bytes[16..24].copy_from_slice(&record.offset.to_le_bytes());
    bytes[24..].copy_from_slice(&record.bytes.to_le_bytes());
    bytes
}

