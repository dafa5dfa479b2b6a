//! Families of public checkpoints: config and tensors as Hugging Face transformers 5.24 writes them -> a graph.
//!
//! A family is a table of what it differs in, and the keys that only it has; [`keys`] reads what all share, [`blocks`]
//! builds the parts that layers are made of.

mod bert;
mod blocks;
mod decoder;
mod defaults;
mod encoder;
mod experts;
mod gemma;
mod gpt_oss;
mod keys;
mod lfm2;
mod llama;
mod modernbert;
mod moe;
mod phi3;
mod rope;
mod sentence;
mod windows;

pub use bert::{bert, distilbert, roberta, xlm_roberta};
pub use gemma::{gemma2, gemma3_text};
pub use gpt_oss::gpt_oss;
pub use lfm2::{lfm2, lfm2_moe};
pub use llama::{ernie4_5, granite, llama, mistral, qwen2, qwen3, smollm3};
pub use modernbert::modernbert;
pub use moe::{
    granitemoe, granitemoehybrid, granitemoeshared, mixtral, olmoe, qwen2_moe, qwen3_moe,
};
pub use phi3::phi3;
pub use sentence::weight_folders;
