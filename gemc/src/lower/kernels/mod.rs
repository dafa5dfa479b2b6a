//! Kernel definitions: each file writes one kind of kernel in IR, once, for every target.
//!
//! A kernel's name says operation, shape and format, and is its key: equal kernels are shared by all layers.

pub mod attention;
pub mod codes;
pub mod dispatch;
pub mod dot;
pub mod embed;
pub mod matmul;
pub mod norm;
pub mod quantise;
pub mod rope;
pub mod route;
#[cfg(test)]
mod tests;
pub mod vector;
