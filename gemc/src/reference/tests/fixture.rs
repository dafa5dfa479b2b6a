//! A small routed model with made-up weights, built by the importer from a config: no file, every kind of node.

use std::ops::Range;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::graph::{Graph, TensorId, Typed};
use crate::import::{Findings, config, gem};
use crate::tensors::TensorSource;

/// Values that depend on tensor and index alone, of a size that keeps activations near 1.
pub struct MadeUp {
    /// Centre, largest deviation and row width by tensor.
    tensors: Vec<(f32, f32, usize)>,
}

impl TensorSource for MadeUp {
    fn read_rows(&self, id: TensorId, rows: Range<usize>, out: &mut [f32]) {
        let (centre, deviation, width) = self.tensors[id.index()];
        assert_eq!(out.len(), rows.len() * width);
        for (i, x) in out.iter_mut().enumerate() {
            let index = (rows.start * width + i) as u64;
            let mut h = (index ^ (u64::from(id.0) << 40)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            h = (h ^ (h >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let unit = (h >> 40) as f32 / (1u64 << 23) as f32 - 1.0;
            *x = centre + unit * deviation;
        }
    }

    fn digest(&self, id: TensorId) -> [u8; 32] {
        let (centre, deviation, width) = self.tensors[id.index()];
        Sha256::digest(format!("{id} {centre} {deviation} {width}")).into()
    }
}

/// A decoder of two routed layers in which zero, one and two modules fire; the general path serves the rest.
pub fn decoder() -> Value {
    json!({
        "model_type": "gem", "gem_version": 1, "architectures": ["GemForCausalLM"],
        "hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "intermediate_size": 80, "vocab_size": 50, "max_position_embeddings": 300,
        "hidden_act": "silu", "mlp_gated": true, "norm": "rmsnorm", "norm_eps": 1e-5, "norm_position": "pre",
        "position_embedding": "rope", "attention_bias": true, "tie_word_embeddings": true,
        "domains": ["a", "b", "c"],
        "router": {"layers": "all", "score": "sigmoid", "top_k": 2, "threshold": 0.6,
                   "renormalize": false, "clusters": 16, "bias": false},
        "scar": {"layers": "routed", "heads": 2, "mask": "cluster_or_domain", "residual": true},
        "modules": {"kind": "mlp", "intermediate_size": 40},
        "general_path": "fallback",
    })
}

/// The same blocks as a classifier: every position sees every other.
pub fn classifier() -> Value {
    let mut config = decoder();
    config["architectures"] = json!(["GemForSequenceClassification"]);
    config["tie_word_embeddings"] = json!(false);
    config["num_labels"] = json!(5);
    config
}

/// Graph and weights of a config.
pub fn model(config: &Value) -> (Graph<Typed>, MadeUp) {
    let mut findings = Findings::default();
    let (read, _) = config::read(config.as_object().unwrap(), &mut findings);
    let read = read.unwrap_or_else(|| panic!("{findings:?}"));
    let graph = crate::typing::infer(gem::graph(&read)).unwrap();
    let tensors = graph.tensors().map(|(_, tensor)| {
        let width: usize = tensor.shape()[1..].iter().product();
        let centre = f32::from(u8::from(tensor.path.ends_with("norm.weight")));
        let uniform = (3.0 / width as f32).sqrt();
        let deviation = match &tensor.path {
            path if path.ends_with("router.weight") => 2.0 * uniform,
            path if path.ends_with("centroids") || path.contains("embed_tokens") => 1.0,
            _ if tensor.shape().len() == 1 => 0.1,
            _ => uniform,
        };
        (centre, deviation, width)
    });
    let tensors = tensors.collect();
    (graph, MadeUp { tensors })
}
