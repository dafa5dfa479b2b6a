"""Configurations of every family: small models that make each feature count.

`KEYS` says for each family which keys have an effect, with another value for each: `make.py` checks that the exchange moves
transformers' logits, so that a key which gemc ignores cannot pass. Keys that only name sizes or token ids are left out.
"""

BASE = {
    "vocab_size": 64,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "rms_norm_eps": 0.1,
}

THETA = {"rope_parameters": {"rope_theta": 500.0, "rope_type": "default"}}
LLAMA3 = {
    "rope_parameters": {
        "rope_theta": 500.0,
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 16,
    }
}
LINEAR = {"rope_parameters": {"rope_theta": 100.0, "rope_type": "linear", "factor": 4.0}}
DYNAMIC = {"rope_parameters": {"rope_theta": 100.0, "rope_type": "dynamic", "factor": 4.0}}
YARN = {
    "rope_parameters": {
        "rope_theta": 100.0,
        "rope_type": "yarn",
        "factor": 4.0,
        "original_max_position_embeddings": 32,
        "beta_fast": 3.0,
        "beta_slow": 0.2,
        "truncate": False,
    }
}
# What a rule that was not read leaves.
NO_RULE = {"rope_parameters": {"rope_theta": 500.0, "rope_type": "default"}}

FAMILIES = {
    "llama": [
        BASE | THETA,
        BASE | LLAMA3 | {"attention_bias": True, "mlp_bias": True, "num_key_value_heads": 4},
        BASE | YARN | {"head_dim": 24, "num_key_value_heads": 1},
        BASE | LINEAR | {"tie_word_embeddings": True, "hidden_act": "gelu"},
        BASE | DYNAMIC | {"hidden_size": 48, "num_attention_heads": 3, "num_key_value_heads": 3, "mlp_bias": True},
        BASE | LLAMA3 | {"hidden_size": 80, "num_attention_heads": 5, "num_key_value_heads": 1, "attention_bias": True},
    ],
    "mistral": [
        BASE | THETA | {"sliding_window": 8},
        BASE | THETA | {"sliding_window": None, "head_dim": 32},
        BASE | YARN | {"sliding_window": 16, "num_key_value_heads": 1},
        BASE | LINEAR | {"sliding_window": 1, "hidden_act": "gelu_pytorch_tanh"},
        BASE | LLAMA3 | {"sliding_window": 20, "tie_word_embeddings": True},
        BASE | THETA | {"sliding_window": 3, "hidden_size": 48, "num_attention_heads": 3, "num_key_value_heads": 3},
    ],
    "qwen2": [
        BASE | THETA,
        BASE | THETA | {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1},
        BASE | YARN | {"use_sliding_window": False, "sliding_window": 4, "tie_word_embeddings": True},
        BASE
        | LINEAR
        | {
            "use_sliding_window": True,
            "sliding_window": 12,
            "layer_types": ["sliding_attention", "full_attention"],
        },
        BASE | LLAMA3 | {"head_dim": 32, "hidden_act": "gelu"},
        BASE | THETA | {"hidden_size": 48, "num_attention_heads": 3, "num_key_value_heads": 1},
    ],
    "qwen3": [
        BASE | THETA | {"head_dim": 16},
        BASE | THETA | {"head_dim": 32, "attention_bias": True},
        BASE | YARN | {"head_dim": 16, "use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1},
        BASE | LINEAR | {"head_dim": 24, "tie_word_embeddings": True, "hidden_act": "gelu"},
        BASE
        | LLAMA3
        | {
            "head_dim": 16,
            "use_sliding_window": True,
            "sliding_window": 5,
            "layer_types": ["sliding_attention", "full_attention"],
        },
        BASE | THETA | {"head_dim": 8, "hidden_size": 48, "num_attention_heads": 6, "num_key_value_heads": 3},
    ],
}

ROPE_KEYS = {
    "rope_parameters.rope_theta": 50.0,
    "rope_parameters.factor": 2.0,
    "rope_parameters.rope_type": "default",
    "rope_parameters.low_freq_factor": 2.0,
    "rope_parameters.high_freq_factor": 8.0,
    "rope_parameters.original_max_position_embeddings": 64,
    "rope_parameters.beta_fast": 1.0,
    "rope_parameters.beta_slow": 1.0,
    "rope_parameters.truncate": True,
}
COMMON_KEYS = {"rms_norm_eps": 0.3, "hidden_act": "relu", "tie_word_embeddings": False} | ROPE_KEYS

KEYS = {
    "llama": COMMON_KEYS | {"attention_bias": False, "mlp_bias": False},
    "mistral": COMMON_KEYS | {"sliding_window": 2},
    "qwen2": COMMON_KEYS | {"sliding_window": 2, "use_sliding_window": False, "max_window_layers": 0, "layer_types": None},
    "qwen3": COMMON_KEYS
    | {
        "attention_bias": False,
        "sliding_window": 2,
        "use_sliding_window": False,
        "max_window_layers": 0,
        "layer_types": None,
    },
}
