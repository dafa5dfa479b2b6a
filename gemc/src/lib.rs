//! Compiles a routed language model (a GEM checkpoint) into a small specialised Rust crate.
//!
//! The pipeline is [`pipeline`]; each stage is one module that turns one value into the next (see `ARCHITECTURE.md`).

pub mod graph;
mod ids;
pub mod import;
pub mod kernel;
#[cfg(feature = "calibrate")]
pub mod metrics;
#[cfg(feature = "calibrate")]
pub mod reference;
pub mod tensors;
pub mod typing;
pub mod lower;
pub mod pack;
pub mod plan;
pub mod target;
