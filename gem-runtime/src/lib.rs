//! What a model compiled by `gemc` links: vector operations, weight file, memory, threads, sampling, text.
//!
//! `no_std` at its core; knows nothing of the compiler. Generated code depends on this crate alone.
#![cfg_attr(not(feature = "std"), no_std)]

#[cfg(feature = "alloc")]
extern crate alloc;

pub mod abi;
#[cfg(feature = "alloc")]
pub mod format;
pub mod kernel;
pub mod simd;
