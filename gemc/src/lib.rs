//! Compiles a routed language model (a GEM checkpoint) into a small specialised Rust crate.
//!
//! The pipeline is [`pipeline`]; each stage is one module that turns one value into the next (see `ARCHITECTURE.md`).

#[cfg(feature = "calibrate")]
pub mod assign;
#[cfg(feature = "jit")]
pub mod backend;
pub mod build;
pub mod cache;
#[cfg(feature = "calibrate")]
pub mod calibrate;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "calibrate")]
pub mod dead;
#[cfg(feature = "cranelift")]
pub mod emit;
#[cfg(any(test, feature = "fuzzing"))]
pub mod executions;
pub mod facts;
#[cfg(feature = "calibrate")]
pub mod fake;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod graph;
pub mod import;
#[cfg(feature = "report")]
pub mod inspect;
#[cfg(feature = "jit")]
pub mod jit;
pub mod lower;
#[cfg(feature = "calibrate")]
pub mod metrics;
#[cfg(feature = "jit")]
pub mod model;
pub mod output;
pub mod pack;
pub mod package;
pub mod pipeline;
pub mod plan;
#[cfg(feature = "calibrate")]
pub mod planner;
pub mod prepared;
pub mod progress;
pub mod quantise;
#[cfg(feature = "calibrate")]
pub mod reference;
#[cfg(feature = "report")]
pub mod report;
#[cfg(feature = "calibrate")]
pub mod routing;
#[cfg(feature = "calibrate")]
pub mod sensitivity;
#[cfg(feature = "calibrate")]
pub mod sequences;
#[cfg(any(test, feature = "report"))]
pub mod synth;
pub mod target;
pub mod tensors;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(feature = "cli")]
pub mod texts;
pub mod typing;
#[cfg(feature = "calibrate")]
pub mod verify;
pub mod workers;

pub use build::{Build, WeightsIn};
