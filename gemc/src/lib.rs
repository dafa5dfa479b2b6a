//! Compiles a routed language model (a GEM checkpoint) into a small specialised Rust crate.
//!
//! The pipeline is [`pipeline`]; each stage is one module that turns one value into the next (see `ARCHITECTURE.md`).

pub mod graph;
mod ids;
pub mod import;
pub mod kernel;
pub mod lower;
#[cfg(feature = "calibrate")]
pub mod metrics;
pub mod pack;
pub mod plan;
#[cfg(feature = "calibrate")]
pub mod reference;
pub mod target;
pub mod tensors;
pub mod typing;
