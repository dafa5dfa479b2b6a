//! Backends that need Cranelift: a verified program to machine code. Rust is emitted by `gemc_kernels::rust`.

pub mod cranelift;
