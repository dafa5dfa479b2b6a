//! Shared helpers of the workspace tests.

pub mod emitted;
pub mod gemk;
pub mod goldens;
pub mod machine;
pub mod needs;
pub mod sample;

/// The programs of `docs/library.md`, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../docs/library.md")]
pub struct LibraryPage;

use std::path::{Path, PathBuf};

use gemc::package::{Destination, EditedFiles};
use gemc::progress::Silent;
use gemc::synth;

/// Where a package goes in a test: a new folder, or one with nothing but an earlier package.
#[must_use]
pub fn place(dir: &Path) -> Destination {
    // Tests damage what an earlier run left.
    Destination::new(dir, EditedFiles::Overwritten).expect("a new folder, or one of ours")
}

/// Folders of the tiny checkpoints, sorted; each has goldens.
#[must_use]
pub fn checkpoints() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(needs::repository("examples/checkpoints"));
    let paths = entries
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    let mut dirs: Vec<PathBuf> = paths
        .filter(|path| path.join("golden.safetensors").exists())
        .collect();
    dirs.sort();
    dirs
}

/// A checkpoint of random weights for a config, made anew in a folder of the tests.
///
/// # Panics
/// When there is no space, or the config is none.
#[must_use]
pub fn synthetic(name: &str, config: &str) -> PathBuf {
    let dir = needs::repository("target/tmp").join("synthetic").join(name);
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).expect("space");
    let shape = dir.join("shape.json");
    std::fs::write(&shape, config).expect("space");
    let to = dir.join("checkpoint");
    synth::synth(&shape, &to, 5, &Silent).expect("a shape");
    to
}

/// A decoder of two layers with a window and one without.
#[must_use]
pub fn windowed(name: &str, window: u32) -> PathBuf {
    let config = format!(
        r#"{{
            "model_type": "gemma3_text", "vocab_size": 64, "hidden_size": 64, "intermediate_size": 96,
            "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
            "query_pre_attn_scalar": 2, "max_position_embeddings": 2048, "sliding_window": {window},
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]
        }}"#
    );
    synthetic(name, &config)
}

/// A decoder of two layers with short convolutions and one of attention.
#[must_use]
pub fn convolved(name: &str) -> PathBuf {
    let config = r#"{
        "model_type": "lfm2", "vocab_size": 64, "hidden_size": 64, "intermediate_size": 96,
        "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "conv_L_cache": 3,
        "conv_bias": true, "max_position_embeddings": 2048, "layer_types": ["conv", "full_attention", "conv"]
    }"#;
    synthetic(name, config)
}
