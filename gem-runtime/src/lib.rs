//! What a model compiled by `gemc` links: vector operations, weight file, memory, threads, sampling, text.
//!
//! `no_std` at its core; knows nothing of the compiler. Generated code depends on this crate alone.
//!
//! A model comes from gemc: by `gem_macros::include_model!`, `gemc::Build` in a build script, or as a generated crate. Each has
//! a type that implements [`Model`]:
//!
//! ```
//! # #[cfg(feature = "tokenizer")] {
//! use gem_runtime::{Model, Result, Sampling, SessionOptions};
//!
//! /// A text of any model, as it comes.
//! fn tell(model: &impl Model, prompt: &str) -> Result<()> {
//!     let mut session = model.session(SessionOptions::default())?;
//!     for piece in session.generate(prompt, Sampling::default()) {
//!         print!("{}", piece?.text);
//!     }
//!     Ok(())
//! }
//! # }
//! ```
#![cfg_attr(not(feature = "std"), no_std)]

#[cfg(feature = "alloc")]
extern crate alloc;

pub mod abi;
#[cfg(feature = "std")]
pub mod bundle;
pub mod c;
#[cfg(feature = "tokenizer")]
mod classify;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "tokenizer")]
mod generate;
#[doc(hidden)]
pub mod generated;
pub mod kernel;
#[cfg(feature = "cli")]
pub mod kit;
#[cfg(feature = "std")]
pub mod patch;
#[cfg(feature = "std")]
pub mod protocol;
#[cfg(feature = "std")]
pub mod regular;
pub mod simd;
#[cfg(feature = "sources")]
pub mod sources;
#[cfg(feature = "config")]
pub mod text;

/// Declares modules that need memory, hence feature `alloc`.
macro_rules! with_alloc {
    ($($item:item)*) => {
        $(#[cfg(feature = "alloc")] $item)*
    };
}

with_alloc! {
    mod cancel;
    mod error;
    pub mod file;
    mod info;
    mod license;
    pub mod memory;
    mod model;
    mod random;
    pub mod routing;
    mod sample;
    mod saturation;
    mod session;
    mod step;
    pub mod storage;
    pub mod team;

    pub use cancel::Cancel;
    pub use error::{Error, Result};
    pub use info::{Conventions, LabelScore, ModelInfo, Name, Names, Task};
    pub use license::License;
    pub use model::{Engine, Model, from_hex, hex};
    pub use saturation::{SaturatedValues, warning as saturation_warning};
    pub use sample::{REPETITION_WINDOW, Sampler, Sampling, logprob, softmax};
    pub use session::{DEFAULT_CONTEXT, MemoryUse, Session, SessionOptions};
}

#[cfg(feature = "tokenizer")]
pub use {
    classify::{Label, TokenLabel},
    generate::{Finish, Generation, Piece},
};
