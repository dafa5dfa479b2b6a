//! Names of tensors and architectures in GGUF files -> those of transformers.

/// Architectures that are read.
pub const ARCHITECTURES: &[&str] = &["llama", "qwen2", "qwen3"];

/// Divisors of rotary frequencies.
pub const FREQUENCIES: &str = "rope_freqs.weight";

/// Whether rows of queries and keys stand in rotary pairs, as the files of the first Llama had them.
pub fn has_pairs(architecture: &str) -> bool {
    architecture == "llama"
}

const MODEL: &[(&str, &str)] = &[
    ("token_embd", "model.embed_tokens"),
    ("output_norm", "model.norm"),
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

/// The path of a tensor in transformers; `None` for one that has no name there.
pub fn transformers(name: &str) -> Option<String> {
    let (module, kind) = name.rsplit_once('.')?;
    let find = |list: &[(&str, &str)], module: &str| {
        let found = list.iter().find(|(gguf, _)| *gguf == module);
        found.map(|(_, path)| (*path).to_owned())
    };
    let path = match module.strip_prefix("blk.") {
        None => find(MODEL, module)?,
        Some(rest) => {
            let (layer, module) = rest.split_once('.')?;
            format!("model.layers.{layer}.{}", find(LAYER, module)?)
        }
    };
    Some(format!("{path}.{kind}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_transformers() {
        for (gguf, path) in [
            ("token_embd.weight", "model.embed_tokens.weight"),
            ("blk.3.attn_q.bias", "model.layers.3.self_attn.q_proj.bias"),
            (
                "blk.0.ffn_norm.weight",
                "model.layers.0.post_attention_layernorm.weight",
            ),
        ] {
            assert_eq!(transformers(gguf).as_deref(), Some(path));
        }
        assert_eq!(transformers("blk.0.ssm_a"), None);
        assert_eq!(transformers("output"), None);
    }
}
