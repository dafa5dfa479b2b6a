//! `GemConfig` -> the tensors a checkpoint of it holds: the one table of paths, shapes and presence.
//!
//! `docs/checkpoint.md` prints this table; the importer checks files against it, `synth` writes files by it and the
//! graph asks it whether a tensor exists.

use std::ops::ControlFlow;

use super::super::config::{GemConfig, GeneralPath, Modules, NormPosition, Positions};
use crate::graph::NormKind;

/// A dimension, by its name in the documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dim {
    /// `hidden_size`.
    Hidden,
    /// `vocab_size`.
    Vocab,
    /// `max_position_embeddings`.
    Positions,
    /// `type_vocab_size`.
    Types,
    /// `num_attention_heads * head_dim`.
    Query,
    /// `num_key_value_heads * head_dim`.
    KeyValue,
    /// `head_dim`.
    Head,
    /// `intermediate_size`.
    General,
    /// `modules.intermediate_size`.
    Module,
    /// `modules.rank`.
    Rank,
    /// Number of domains.
    Domains,
    /// `router.clusters`.
    Clusters,
    /// `3 * hidden_size`.
    Scar,
    /// Number of labels.
    Labels,
}

/// What a row's presence may depend on besides the config.
#[derive(Clone, Copy, Debug)]
pub struct At {
    routed: bool,
    scar: bool,
}

/// One row: path below its group's prefix, shape, when it is there.
pub struct Row {
    /// Path below the prefix.
    pub path: &'static str,
    /// Row-major shape, in terms of the config.
    pub shape: &'static [Dim],
    /// When the tensor must be there, in words.
    pub when: &'static str,
    present: fn(&GemConfig, At) -> bool,
}

/// A group of rows under one prefix.
pub struct Group {
    /// Prefix with `{l}` and `{m}` to be filled in.
    pub prefix: &'static str,
    /// The tensors of the group.
    pub rows: &'static [Row],
}

macro_rules! rows {
    ($($path:literal [$($dim:ident),+] $when:literal $present:expr;)*) => {
        &[$(Row { path: $path, shape: &[$(Dim::$dim),+], when: $when, present: $present }),*]
    };
}

fn pre(c: &GemConfig) -> bool {
    c.norm_position == NormPosition::Pre
}

fn learned(c: &GemConfig) -> bool {
    c.positions == Positions::Learned
}

fn layer_norm(c: &GemConfig) -> bool {
    c.norm == NormKind::Layer
}

fn general(c: &GemConfig, at: At) -> bool {
    !at.routed || c.general_path != GeneralPath::None
}

fn mlp(c: &GemConfig) -> bool {
    matches!(c.modules, Modules::Mlp { .. })
}

fn lora(c: &GemConfig) -> bool {
    matches!(c.modules, Modules::Lora { .. })
}

/// Before the layers.
pub const EMBEDDING: Group = Group {
    prefix: "model.",
    rows: rows! {
        "embed_tokens.weight" [Vocab, Hidden] "always" |_, _| true;
        "position_embeddings.weight" [Positions, Hidden] "position_embedding = learned" |c, _| learned(c);
        "token_type_embeddings.weight" [Types, Hidden] "type_vocab_size > 0" |c, _| c.type_vocab_size > 0;
        "embed_norm.weight" [Hidden] "norm_position = post" |c, _| !pre(c);
        "embed_norm.bias" [Hidden] "norm_position = post, norm = layernorm" |c, _| !pre(c) && layer_norm(c);
    },
};

/// In every layer.
pub const LAYER: Group = Group {
    prefix: "model.layers.{l}.",
    rows: rows! {
        "input_norm.weight" [Hidden] "norm_position = pre" |c, _| pre(c);
        "input_norm.bias" [Hidden] "norm_position = pre, norm = layernorm" |c, _| pre(c) && layer_norm(c);
        "self_attn.q_proj.weight" [Query, Hidden] "always" |_, _| true;
        "self_attn.q_proj.bias" [Query] "attention_bias" |c, _| c.attention_bias;
        "self_attn.k_proj.weight" [KeyValue, Hidden] "always" |_, _| true;
        "self_attn.k_proj.bias" [KeyValue] "attention_bias" |c, _| c.attention_bias;
        "self_attn.v_proj.weight" [KeyValue, Hidden] "always" |_, _| true;
        "self_attn.v_proj.bias" [KeyValue] "attention_bias" |c, _| c.attention_bias;
        "self_attn.o_proj.weight" [Hidden, Query] "always" |_, _| true;
        "self_attn.o_proj.bias" [Hidden] "attention_bias" |c, _| c.attention_bias;
        "self_attn.q_norm.weight" [Head] "qk_norm" |c, _| c.qk_norm;
        "self_attn.k_norm.weight" [Head] "qk_norm" |c, _| c.qk_norm;
        "post_attention_norm.weight" [Hidden] "always" |_, _| true;
        "post_attention_norm.bias" [Hidden] "norm = layernorm" |c, _| layer_norm(c);
        "output_norm.weight" [Hidden] "norm_position = post" |c, _| !pre(c);
        "output_norm.bias" [Hidden] "norm_position = post, norm = layernorm" |c, _| !pre(c) && layer_norm(c);
        "general.gate_proj.weight" [General, Hidden] "general path, mlp_gated" |c, at| general(c, at) && c.mlp_gated;
        "general.gate_proj.bias" [General] "general path, mlp_gated, mlp_bias" |c, at| general(c, at) && c.mlp_gated && c.mlp_bias;
        "general.up_proj.weight" [General, Hidden] "general path" general;
        "general.up_proj.bias" [General] "general path, mlp_bias" |c, at| general(c, at) && c.mlp_bias;
        "general.down_proj.weight" [Hidden, General] "general path" general;
        "general.down_proj.bias" [Hidden] "general path, mlp_bias" |c, at| general(c, at) && c.mlp_bias;
    },
};

/// In every routed layer, and below `model.` for placement `final`.
pub const ROUTED: Group = Group {
    prefix: "model.layers.{l}.",
    rows: rows! {
        "router.weight" [Domains, Hidden] "always" |_, _| true;
        "router.bias" [Domains] "router.bias" |c, _| c.router.bias;
        "router.centroids" [Clusters, Hidden] "SCAR here, router.clusters > 0" |c, at| at.scar && c.router.clusters > 0;
        "scar.qkv.weight" [Scar, Hidden] "SCAR here" |_, at| at.scar;
        "scar.qkv.bias" [Scar] "SCAR here" |_, at| at.scar;
        "scar.out.weight" [Hidden, Hidden] "SCAR here" |_, at| at.scar;
        "scar.out.bias" [Hidden] "SCAR here" |_, at| at.scar;
    },
};

/// For every module of a routed layer, and below `model.modules.{m}.` for placement `final`.
pub const MODULE: Group = Group {
    prefix: "model.layers.{l}.modules.{m}.",
    rows: rows! {
        "gate_proj.weight" [Module, Hidden] "modules.kind = mlp, mlp_gated" |c, _| mlp(c) && c.mlp_gated;
        "gate_proj.bias" [Module] "modules.kind = mlp, mlp_gated, mlp_bias" |c, _| mlp(c) && c.mlp_gated && c.mlp_bias;
        "up_proj.weight" [Module, Hidden] "modules.kind = mlp" |c, _| mlp(c);
        "up_proj.bias" [Module] "modules.kind = mlp, mlp_bias" |c, _| mlp(c) && c.mlp_bias;
        "down_proj.weight" [Hidden, Module] "modules.kind = mlp" |c, _| mlp(c);
        "down_proj.bias" [Hidden] "modules.kind = mlp, mlp_bias" |c, _| mlp(c) && c.mlp_bias;
        "a.weight" [Rank, Hidden] "modules.kind = lora" |c, _| lora(c);
        "b.weight" [Hidden, Rank] "modules.kind = lora" |c, _| lora(c);
    },
};

/// After the layers.
pub const HEAD: Group = Group {
    prefix: "",
    rows: rows! {
        "model.final_norm.weight" [Hidden] "norm_position = pre" |c, _| pre(c);
        "model.final_norm.bias" [Hidden] "norm_position = pre, norm = layernorm" |c, _| pre(c) && layer_norm(c);
        "lm_head.weight" [Vocab, Hidden] "GemForCausalLM, not tie_word_embeddings" |c, _| c.causal() && !c.tie_word_embeddings;
        "classifier.weight" [Labels, Hidden] "GemForSequenceClassification" |c, _| !c.causal();
        "classifier.bias" [Labels] "GemForSequenceClassification" |c, _| !c.causal();
    },
};

/// Calls `visit` with path and shape of every tensor, in the order a forward pass meets them, until it breaks.
pub fn for_each(
    c: &GemConfig,
    visit: &mut dyn FnMut(&str, &[usize]) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let none = At {
        routed: false,
        scar: false,
    };
    group(c, &EMBEDDING, "model.", none, visit)?;
    for l in 0..c.num_hidden_layers {
        let at = At {
            routed: c.is_routed(l),
            scar: c.has_scar(l),
        };
        let prefix = format!("model.layers.{l}.");
        group(c, &LAYER, &prefix, at, visit)?;
        if at.routed {
            routed(c, &prefix, at, visit)?;
        }
    }
    if c.final_routed() {
        let at = At {
            routed: true,
            scar: c.final_scar(),
        };
        routed(c, "model.", at, visit)?;
    }
    group(c, &HEAD, "", none, visit)
}

fn routed(
    c: &GemConfig,
    prefix: &str,
    at: At,
    visit: &mut dyn FnMut(&str, &[usize]) -> ControlFlow<()>,
) -> ControlFlow<()> {
    group(c, &ROUTED, prefix, at, visit)?;
    for m in 0..c.domains.len() {
        group(c, &MODULE, &format!("{prefix}modules.{m}."), at, visit)?;
    }
    ControlFlow::Continue(())
}

fn group(
    c: &GemConfig,
    group: &Group,
    prefix: &str,
    at: At,
    visit: &mut dyn FnMut(&str, &[usize]) -> ControlFlow<()>,
) -> ControlFlow<()> {
    for row in group.rows {
        if (row.present)(c, at) {
            let shape: Vec<usize> = row.shape.iter().map(|d| size(c, *d)).collect();
            visit(&format!("{prefix}{}", row.path), &shape)?;
        }
    }
    ControlFlow::Continue(())
}

/// The size of a dimension; products of two fit `u64` by the config's caps.
fn size(c: &GemConfig, dim: Dim) -> usize {
    match dim {
        Dim::Hidden => c.hidden_size,
        Dim::Vocab => c.vocab_size,
        Dim::Positions => c.max_position_embeddings,
        Dim::Types => c.type_vocab_size,
        Dim::Query => c.num_attention_heads * c.head_dim,
        Dim::KeyValue => c.num_key_value_heads * c.head_dim,
        Dim::Head => c.head_dim,
        Dim::General => c.intermediate_size,
        Dim::Module => match c.modules {
            Modules::Mlp { intermediate_size } => intermediate_size,
            Modules::Off | Modules::Lora { .. } => 0,
        },
        Dim::Rank => match c.modules {
            Modules::Lora { rank } => rank,
            Modules::Off | Modules::Mlp { .. } => 0,
        },
        Dim::Domains => c.domains.len(),
        Dim::Clusters => c.router.clusters,
        Dim::Scar => 3 * c.hidden_size,
        Dim::Labels => c.labels.len(),
    }
}
