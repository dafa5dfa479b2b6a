//! The language that kernels are written in, the kernels, and the Rust that is emitted for them.
//!
//! [`ir`] is the language: one definition of a kernel, its text, its proofs, an interpreter. [`kernels`] are written in it,
//! each with a spec that is its key. [`rust`] prints a program as Rust; [`micro`] holds what was printed of the inner loops,
//! compiled, for whoever makes machine code otherwise; in an object file too, with feature `relocatable`.

pub mod choices;
pub mod functions;
mod ids;
pub mod ir;
pub mod kernels;
#[cfg(feature = "micro")]
pub mod micro;
pub mod rust;
