//! Architectures of GGUF files, and the names of their tensors -> families and names of transformers.

/// A kind of model as GGUF files know it.
#[derive(Debug)]
pub struct Architecture {
    /// `general.architecture`.
    pub name: &'static str,
    /// The family in transformers, and that of a model with experts where it has another name.
    pub model_type: [&'static str; 2],
    /// Whether rows of queries and keys stand in rotary pairs, as the files of the first Llama had them.
    pub pairs: bool,
    /// Whether weights of norms hold the one that the family adds to them.
    pub whole_norms: bool,
    /// Tensors of a layer that have other names than in [`LAYER`]; names behind which `=` stands are whole, with what kind of
    /// tensor it is.
    layer: &'static [(&'static str, &'static str)],
}

const PLAIN: Architecture = Architecture {
    name: "llama",
    model_type: ["llama", "mixtral"],
    pairs: true,
    whole_norms: false,
    layer: MIXTRAL,
};

/// Those that are read.
pub const ARCHITECTURES: &[Architecture] = &[
    PLAIN,
    apart("qwen2", "qwen2", &[]),
    apart("qwen2moe", "qwen2_moe", QWEN),
    apart("qwen3", "qwen3", &[]),
    apart("qwen3moe", "qwen3_moe", QWEN),
    apart("olmoe", "olmoe", QWEN),
    Architecture {
        whole_norms: true,
        ..apart("gemma2", "gemma2", GEMMA)
    },
    Architecture {
        whole_norms: true,
        ..apart("gemma3", "gemma3_text", GEMMA)
    },
    apart("lfm2", "lfm2", LFM2),
    apart("lfm2moe", "lfm2_moe", LFM2),
    Architecture {
        name: "granite",
        model_type: ["granite"; 2],
        ..PLAIN
    },
    Architecture {
        name: "granitemoe",
        model_type: ["granitemoeshared"; 2],
        layer: GRANITE,
        ..PLAIN
    },
    apart("gpt-oss", "gpt_oss", GPT_OSS),
];

/// With halves of rotary pairs apart.
const fn apart(
    name: &'static str,
    model_type: &'static str,
    layer: &'static [(&'static str, &'static str)],
) -> Architecture {
    Architecture {
        name,
        model_type: [model_type; 2],
        pairs: false,
        whole_norms: false,
        layer,
    }
}

/// Divisors of rotary frequencies.
pub const FREQUENCIES: &str = "rope_freqs.weight";

const MODEL: &[(&str, &str)] = &[
    ("token_embd", "model.embed_tokens"),
    ("output_norm", "model.norm"),
    ("token_embd_norm", "model.embedding_norm"),
    ("output", "lm_head"),
];

const LAYER: &[(&str, &str)] = &[
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("attn_q_norm", "self_attn.q_norm"),
    ("attn_k_norm", "self_attn.k_norm"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
];

const MIXTRAL: &[(&str, &str)] = &[
    ("ffn_gate_inp", "mlp.gate"),
    ("ffn_gate_exps.weight=", "mlp.experts.gate_proj"),
    ("ffn_up_exps.weight=", "mlp.experts.up_proj"),
    ("ffn_down_exps.weight=", "mlp.experts.down_proj"),
];

const QWEN: &[(&str, &str)] = &[
    ("ffn_gate_inp", "mlp.gate"),
    ("ffn_gate_exps.weight=", "mlp.experts.gate_proj"),
    ("ffn_up_exps.weight=", "mlp.experts.up_proj"),
    ("ffn_down_exps.weight=", "mlp.experts.down_proj"),
    ("ffn_gate_inp_shexp", "mlp.shared_expert_gate"),
    ("ffn_gate_shexp", "mlp.shared_expert.gate_proj"),
    ("ffn_up_shexp", "mlp.shared_expert.up_proj"),
    ("ffn_down_shexp", "mlp.shared_expert.down_proj"),
];

const GRANITE: &[(&str, &str)] = &[
    ("ffn_gate_inp", "block_sparse_moe.router"),
    (
        "ffn_gate_exps.weight=",
        "block_sparse_moe.experts.gate_proj",
    ),
    ("ffn_up_exps.weight=", "block_sparse_moe.experts.up_proj"),
    (
        "ffn_down_exps.weight=",
        "block_sparse_moe.experts.down_proj",
    ),
    ("ffn_gate_shexp", "shared_mlp.gate_proj"),
    ("ffn_up_shexp", "shared_mlp.up_proj"),
    ("ffn_down_shexp", "shared_mlp.down_proj"),
];

const GEMMA: &[(&str, &str)] = &[
    ("post_attention_norm", "post_attention_layernorm"),
    ("ffn_norm", "pre_feedforward_layernorm"),
    ("post_ffw_norm", "post_feedforward_layernorm"),
];

const LFM2: &[(&str, &str)] = &[
    ("attn_norm", "operator_norm"),
    ("attn_output", "self_attn.out_proj"),
    ("attn_q_norm", "self_attn.q_layernorm"),
    ("attn_k_norm", "self_attn.k_layernorm"),
    ("shortconv.conv", "conv.conv"),
    ("shortconv.in_proj", "conv.in_proj"),
    ("shortconv.out_proj", "conv.out_proj"),
    ("ffn_norm", "ffn_norm"),
    ("ffn_gate", "feed_forward.w1"),
    ("ffn_up", "feed_forward.w3"),
    ("ffn_down", "feed_forward.w2"),
    ("ffn_gate_inp", "feed_forward.gate"),
    ("exp_probs_b.bias=", "feed_forward.expert_bias"),
    ("ffn_gate_exps.weight=", "feed_forward.experts.gate_proj"),
    ("ffn_up_exps.weight=", "feed_forward.experts.up_proj"),
    ("ffn_down_exps.weight=", "feed_forward.experts.down_proj"),
];

const GPT_OSS: &[(&str, &str)] = &[
    ("post_attention_norm", "post_attention_layernorm"),
    ("attn_sinks.weight=", "self_attn.sinks"),
    ("ffn_gate_inp", "mlp.router"),
    ("ffn_gate_exps.weight=", "mlp.experts.gate_proj"),
    ("ffn_up_exps.weight=", "mlp.experts.up_proj"),
    ("ffn_down_exps.weight=", "mlp.experts.down_proj"),
    ("ffn_gate_exps.bias=", "mlp.experts.gate_proj_bias"),
    ("ffn_up_exps.bias=", "mlp.experts.up_proj_bias"),
    ("ffn_down_exps.bias=", "mlp.experts.down_proj_bias"),
];

impl Architecture {
    /// The one of this name, if it is read.
    pub fn find(name: &str) -> Option<&'static Self> {
        ARCHITECTURES.iter().find(|known| known.name == name)
    }

    /// The path of a tensor in transformers; `None` for one that has no name there.
    pub fn transformers(&self, name: &str) -> Option<String> {
        let (module, kind) = name.rsplit_once('.')?;
        let Some(rest) = module.strip_prefix("blk.") else {
            return Some(format!("{}.{kind}", look_up(MODEL, module)?));
        };
        let (layer, module) = rest.split_once('.')?;
        let path = match look_up(self.layer, &format!("{module}.{kind}=")) {
            Some(whole) => whole.to_owned(),
            None => {
                let found = look_up(self.layer, module).or_else(|| look_up(LAYER, module));
                format!("{}.{kind}", found?)
            }
        };
        Some(format!("model.layers.{layer}.{path}"))
    }
}

fn look_up(list: &[(&str, &'static str)], name: &str) -> Option<&'static str> {
    let found = list.iter().find(|(gguf, _)| *gguf == name);
    found.map(|(_, path)| *path)
}

/// The shape that transformers gives a tensor of this path.
pub fn shape(path: &str, shape: Vec<usize>) -> Vec<usize> {
    match shape[..] {
        [channels, taps] if path.ends_with(".conv.conv.weight") => vec![channels, 1, taps],
        [columns] if path.ends_with(".shared_expert_gate.weight") => vec![1, columns],
        _ => shape,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_transformers() {
        for (architecture, gguf, path) in [
            ("llama", "token_embd.weight", "model.embed_tokens.weight"),
            (
                "llama",
                "blk.3.attn_q.bias",
                "model.layers.3.self_attn.q_proj.bias",
            ),
            (
                "qwen3",
                "blk.0.ffn_norm.weight",
                "model.layers.0.post_attention_layernorm.weight",
            ),
            (
                "gemma3",
                "blk.0.ffn_norm.weight",
                "model.layers.0.pre_feedforward_layernorm.weight",
            ),
            (
                "lfm2",
                "blk.1.shortconv.in_proj.weight",
                "model.layers.1.conv.in_proj.weight",
            ),
            (
                "gpt-oss",
                "blk.1.ffn_up_exps.bias",
                "model.layers.1.mlp.experts.up_proj_bias",
            ),
            (
                "gpt-oss",
                "blk.1.attn_sinks.weight",
                "model.layers.1.self_attn.sinks",
            ),
        ] {
            let architecture = Architecture::find(architecture).expect("known");
            assert_eq!(architecture.transformers(gguf).as_deref(), Some(path));
        }
        assert_eq!(PLAIN.transformers("blk.0.ssm_a"), None);
        assert_eq!(PLAIN.transformers("output"), None);
    }
}
