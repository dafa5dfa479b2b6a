//! Fields and record table -> the bytes before the body.

use super::header::{Header, damaged, head_checksum, target_name};
use super::{
    BODY_ALIGN, CHECKSUM_AT, FIXED_BYTES, MAGIC, RECORD_BYTES, Record, TARGET_BYTES, VERSION,
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
    head[..4].copy_from_slice(&MAGIC);
    head[4..8].copy_from_slice(&VERSION.to_le_bytes());
    head[8..12].copy_from_slice(&count.to_le_bytes());
    head[16..24].copy_from_slice(&offset.to_le_bytes());
    head[24..32].copy_from_slice(&header.body_bytes.to_le_bytes());
    head[32..64].copy_from_slice(&header.plan_hash);
    head[64..72].copy_from_slice(&body_checksum.to_le_bytes());
    head[72..72 + header.target.len()].copy_from_slice(header.target.as_bytes());
    target_name(&head[72..72 + TARGET_BYTES])?;
    for (bytes, record) in head[FIXED_BYTES..]
        .as_chunks_mut::<RECORD_BYTES>()
        .0
        .iter_mut()
        .zip(records)
    {
        *bytes = encode_record(record);
    }
    let sum = head_checksum(&head);
    head[CHECKSUM_AT..FIXED_BYTES].copy_from_slice(&sum.to_le_bytes());
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

