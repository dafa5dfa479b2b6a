//! The tables of families that differ from Llama in little: what the classes of their configs say where `config.json` does not, as in
//! transformers 5.24.

use super::keys::Defaults;
use super::llama::{Biases, Family};
use super::windows::Windows;
use crate::graph::{Activation, QkNormOver};

pub const LLAMA: Family = Family {
    model_type: "llama",
    defaults: Defaults {
        vocab_size: 32000,
        hidden_size: 4096,
        intermediate_size: 11008,
        num_hidden_layers: 32,
        num_attention_heads: 32,
        num_key_value_heads: None,
        head_dim: None,
        max_position_embeddings: 2048,
        eps: ("rms_norm_eps", 1e-6),
        act: ("hidden_act", Activation::Silu),
        rope_theta: 10_000.0,
        tie_word_embeddings: false,
        bos_token_id: Some(1),
        eos_token_id: Some(2),
    },
    biases: Biases::Keys,
    qk_norm: None,
    named_rope: false,
    windows: Windows::None,
    multipliers: false,
    unrotated: false,
    pairs: false,
};

pub const MISTRAL: Family = Family {
    model_type: "mistral",
    defaults: Defaults {
        intermediate_size: 14336,
        num_key_value_heads: Some(8),
        max_position_embeddings: 4096 * 32,
        ..LLAMA.defaults
    },
    biases: Biases::None,
    windows: Windows::All(Some(4096)),
    ..LLAMA
};

pub const QWEN2: Family = Family {
    model_type: "qwen2",
    defaults: Defaults {
        vocab_size: 151_936,
        intermediate_size: 22016,
        num_key_value_heads: Some(32),
        max_position_embeddings: 32768,
        bos_token_id: None,
        eos_token_id: None,
        ..LLAMA.defaults
    },
    biases: Biases::Qkv,
    windows: Windows::Some,
    ..LLAMA
};

pub const QWEN3: Family = Family {
    model_type: "qwen3",
    defaults: Defaults {
        head_dim: Some(128),
        ..QWEN2.defaults
    },
    biases: Biases::AttentionKey,
    qk_norm: Some(QkNormOver::HeadBeforeRope),
    ..QWEN2
};

pub const GRANITE: Family = Family {
    model_type: "granite",
    multipliers: true,
    ..LLAMA
};

pub const SMOLLM3: Family = Family {
    model_type: "smollm3",
    defaults: Defaults {
        vocab_size: 128_256,
        hidden_size: 2048,
        num_hidden_layers: 36,
        num_attention_heads: 16,
        num_key_value_heads: Some(4),
        max_position_embeddings: 32768,
        rope_theta: 2_000_000.0,
        tie_word_embeddings: true,
        bos_token_id: Some(128_000),
        eos_token_id: Some(128_001),
        ..LLAMA.defaults
    },
    windows: Windows::Unrotated,
    unrotated: true,
    ..LLAMA
};

pub const ERNIE4_5: Family = Family {
    model_type: "ernie4_5",
    defaults: Defaults {
        vocab_size: 103_424,
        hidden_size: 1024,
        intermediate_size: 3072,
        num_hidden_layers: 18,
        num_attention_heads: 16,
        num_key_value_heads: Some(2),
        head_dim: Some(128),
        max_position_embeddings: 131_072,
        eps: ("rms_norm_eps", 1e-5),
        rope_theta: 500_000.0,
        tie_word_embeddings: true,
        ..LLAMA.defaults
    },
    biases: Biases::OneKey,
    pairs: true,
    ..LLAMA
};

pub const MIXTRAL: Family = Family {
    model_type: "mixtral",
    defaults: Defaults {
        eps: ("rms_norm_eps", 1e-5),
        rope_theta: 1_000_000.0,
        ..MISTRAL.defaults
    },
    windows: Windows::All(None),
    ..MISTRAL
};

pub const QWEN2_MOE: Family = Family {
    model_type: "qwen2_moe",
    defaults: Defaults {
        hidden_size: 2048,
        intermediate_size: 5632,
        num_hidden_layers: 24,
        num_attention_heads: 16,
        num_key_value_heads: Some(16),
        ..QWEN2.defaults
    },
    biases: Biases::QkvKey,
    windows: Windows::Alternating,
    ..QWEN2
};

pub const QWEN3_MOE: Family = Family {
    model_type: "qwen3_moe",
    defaults: Defaults {
        intermediate_size: 6144,
        num_attention_heads: 32,
        num_key_value_heads: Some(4),
        ..QWEN2_MOE.defaults
    },
    windows: Windows::AllIfUsed,
    ..QWEN3
};

pub const OLMOE: Family = Family {
    model_type: "olmoe",
    defaults: Defaults {
        vocab_size: 50304,
        hidden_size: 2048,
        intermediate_size: 2048,
        num_hidden_layers: 16,
        num_attention_heads: 16,
        max_position_embeddings: 4096,
        eps: ("rms_norm_eps", 1e-5),
        bos_token_id: None,
        eos_token_id: Some(50279),
        ..LLAMA.defaults
    },
    biases: Biases::AttentionKey,
    qk_norm: Some(QkNormOver::AllHeads),
    ..LLAMA
};

pub const GRANITE_MOE: Family = Family {
    model_type: "granitemoe",
    biases: Biases::AttentionKey,
    ..GRANITE
};

pub const GRANITE_HYBRID: Family = Family {
    model_type: "granitemoehybrid",
    windows: Windows::AttentionOnly,
    named_rope: true,
    ..GRANITE_MOE
};
