//! What a model compiled by `gemc` links: vector operations, weight file, memory, threads, sampling, text.
//!
//! `no_std` at its core; knows nothing of the compiler. Generated code depends on this crate alone.
#![cfg_attr(not(feature = "std"), no_std)]

#[cfg(feature = "alloc")]
extern crate alloc;

pub mod abi;
#[cfg(feature = "tokenizer")]
mod classify;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "alloc")]
mod error;
#[cfg(feature = "alloc")]
pub mod file;
#[cfg(feature = "alloc")]
pub mod format;
#[cfg(feature = "tokenizer")]
mod generate;
#[cfg(feature = "alloc")]
mod info;
#[cfg(feature = "alloc")]
pub mod memory;
#[cfg(feature = "alloc")]
mod model;
#[cfg(feature = "std")]
pub mod protocol;
#[cfg(feature = "alloc")]
mod random;
#[cfg(feature = "alloc")]
pub mod routing;
#[cfg(feature = "alloc")]
mod sample;
#[cfg(feature = "alloc")]
mod session;
pub mod simd;
#[cfg(feature = "alloc")]
mod step;
#[cfg(feature = "alloc")]
pub mod storage;
#[cfg(feature = "alloc")]
pub mod team;
#[cfg(feature = "tokenizer")]
pub mod text;
#[cfg(test)]
mod toy;

#[cfg(feature = "tokenizer")]
pub use classify::Label;
#[cfg(feature = "alloc")]
pub use error::{Error, Result};
#[cfg(feature = "tokenizer")]
pub use generate::{Finish, Generation, Piece};
#[cfg(feature = "alloc")]
pub use info::{ModelInfo, Name, Names, Task};
#[cfg(feature = "alloc")]
pub use model::{Engine, Model, hex};
#[cfg(feature = "alloc")]
pub use sample::{REPETITION_WINDOW, Sampler, Sampling, logprob, softmax};
#[cfg(feature = "alloc")]
pub use session::{DEFAULT_CONTEXT, MemoryUse, Session, SessionOptions};
