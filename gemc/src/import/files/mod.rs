//! Files of weights, safetensors or GGUF -> named, checked byte ranges of mapped memory, and f32 values of them.
//!
//! A header is believed only after every offset was compared with the file: later stages slice without checks.

mod blocks;
pub mod gguf;
mod safetensors;
mod scaled;
mod stored;
mod table;

pub use self::safetensors::{Entry, parse as parse_header};
pub use scaled::{Scales, Scheme};
pub use stored::{StoredType, first_not_finite, to_f32};
pub use table::{TensorFiles, TensorPlace, parse_index, present};
