//! Families of public checkpoints: config and tensors as Hugging Face transformers 5.24 writes them -> a graph.
//!
//! A family is a table of what it differs in, and the keys that only it has; [`keys`] reads what all share, [`blocks`]
//! builds the parts that layers are made of.

mod blocks;
mod decoder;
mod keys;
mod llama;
mod rope;

pub use llama::{llama, mistral, qwen2, qwen3};
