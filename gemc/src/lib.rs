//! Compiles a routed language model (a GEM checkpoint) into a small specialised Rust crate, an object for C, or machine code
//! of this process.
//!
//! In a `build.rs`, [`Build`] makes a model a module of a program. [`model`] runs a checkpoint by its path; what
//! else the command does begins with [`pipeline::load`] and [`prepared::PreparedModel`]: `docs/library.md` shows how to
//! compile, plan, verify and run, in programs of a page.
//!
//! ```
//! use gemc::{build, pipeline, target::Target};
//!
//! assert!(Target::find("pi4").is_ok());
//! assert!(pipeline::load("no/checkpoint".as_ref()).is_err());
//! assert!(gemc::Build::new("no/checkpoint").bits("4.25").module(&build::Rustc::this()).is_err());
//! ```
//!
//! The pipeline is [`pipeline`]; each stage is one module that turns one value into the next (see `ARCHITECTURE.md`). Modules
//! that are hidden here are no public surface: they may change in any version.

#[cfg(feature = "calibrate")]
#[doc(hidden)]
pub mod assign;
#[cfg(feature = "jit")]
#[doc(hidden)]
pub mod backend;
pub mod build;
pub mod cache;
#[cfg(feature = "calibrate")]
#[doc(hidden)]
pub mod calibrate;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
#[cfg(feature = "calibrate")]
pub mod dead;
#[cfg(feature = "cranelift")]
#[doc(hidden)]
pub mod emit;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod executions;
#[doc(hidden)]
pub mod facts;
#[cfg(feature = "calibrate")]
#[doc(hidden)]
pub mod fake;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
#[doc(hidden)]
pub mod graph;
#[cfg(feature = "hub")]
#[doc(hidden)]
pub mod hub;
#[doc(hidden)]
pub mod import;
#[cfg(feature = "report")]
#[doc(hidden)]
pub mod inspect;
#[cfg(feature = "jit")]
#[doc(hidden)]
pub mod jit;
#[doc(hidden)]
pub mod lower;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod measure;
#[cfg(feature = "calibrate")]
#[doc(hidden)]
pub mod metrics;
#[cfg(feature = "jit")]
pub mod model;
#[doc(hidden)]
pub mod output;
#[doc(hidden)]
pub mod pack;
pub mod package;
#[cfg(feature = "calibrate")]
pub mod patch;
pub mod pipeline;
pub mod plan;
#[cfg(feature = "calibrate")]
pub mod planner;
pub mod prepared;
#[doc(hidden)]
pub mod products;
#[doc(hidden)]
pub mod profile;
pub mod progress;
#[doc(hidden)]
pub mod quantise;
#[cfg(feature = "calibrate")]
#[doc(hidden)]
pub mod reference;
#[cfg(feature = "report")]
#[doc(hidden)]
pub mod report;
#[cfg(feature = "calibrate")]
#[doc(hidden)]
pub mod routing;
#[cfg(feature = "calibrate")]
#[doc(hidden)]
pub mod sensitivity;
#[cfg(feature = "calibrate")]
pub mod sequences;
#[cfg(any(test, feature = "report"))]
#[doc(hidden)]
pub mod synth;
pub mod target;
#[doc(hidden)]
pub mod tensors;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(feature = "cli")]
pub mod texts;
#[doc(hidden)]
pub mod typing;
#[cfg(feature = "calibrate")]
pub mod verify;
#[doc(hidden)]
pub mod work;
#[doc(hidden)]
pub mod workers;

pub use build::{Build, WeightsIn};
pub use gemc_format::{Codec, Rounding};
