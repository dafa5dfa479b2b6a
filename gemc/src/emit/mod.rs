//! Backends: a verified program to something that runs.

#[cfg(feature = "cranelift")]
pub mod cranelift;
mod reach;
pub mod rust;
