//! What gemc emits, as it is meant to be: `gemc/tests/emit_rust.rs` compares, and `GEM_BLESS=1` writes.
//!
//! Like a generated crate it is `no_std` and has no warnings.
#![no_std]
#![deny(warnings)]

pub mod small;
