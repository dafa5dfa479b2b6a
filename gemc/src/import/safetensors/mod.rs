//! safetensors files -> named, checked byte ranges of memory-mapped shards, and f32 rows of them.
//!
//! A header is believed only after every offset was compared with the file: later stages slice without checks.

mod header;
mod shards;
mod values;

pub use header::{Entry, parse as parse_header};
pub use shards::{TensorFiles, TensorPlace, parse_index, present};
pub use values::{StoredType, first_not_finite, to_f32};
