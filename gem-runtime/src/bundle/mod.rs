//! A program with models behind it, in one file -> the weights and texts of each. `docs/bundle.md` is normative.
//!
//! `gemc bundle` appends a payload to a finished program, at the first multiple of 64 KiB behind its end: pages are not
//! larger anywhere, so that weights are mapped from the program's own file. The payload begins with a head, which is
//! looked for at these multiples; what stands behind the payload, a signature for instance, does not matter.
//!
//! Little endian throughout, fixed-width fields; digests are XXH64:
//!
//! | offset | field of the head |
//! |---|---|
//! | 0 | magic, 16 bytes |
//! | 16 | version, u32 |
//! | 20 | number of records, u32 |
//! | 24 | bytes of the index, u64 |
//! | 32 | bytes of the payload, head included, u64 |
//! | 40 | bytes of the program, u64: the payload is at the next multiple of 64 KiB |
//! | 48 | digest of the index, u64 |
//! | 56 | digest of the 56 bytes before, u64 |
//!
//! The index follows: for each file, ascending by offset, 32 bytes (offset in the payload u64, bytes u64, digest u64, length
//! of the model's name u16, length of the file's name u16, zero u32), then the names.
//!
//! Invariant: a [`Bundle`] exists only for a payload that is there to its end, with an intact index whose files lie in it
//! without overlap, with one weight file at a multiple of 64 KiB for each model.

mod fault;
mod index;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub use fault::Fault;
pub use read::{Bundle, fuzz_bundle, is_bundle};
pub use write::{Part, write};

/// The first bytes of a payload.
pub const MAGIC: [u8; 16] = *b"\x89gem-bundle\r\n\x1a\n\0";

/// Version of the payload's format.
pub const VERSION: u32 = 1;

/// Payload and weight files start at multiples of this many bytes.
pub const ALIGN: u64 = 64 * 1024;

/// Bytes of the head.
pub const HEAD_BYTES: usize = 64;

/// Bytes of a record in the index, before its names.
const RECORD_BYTES: usize = 32;

/// Bytes of the index at most.
const MOST_INDEX: u64 = 1 << 20;

/// Bytes of a name at most.
const LONGEST_NAME: usize = 255;
