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

LONG = {
    "rope_parameters": {
        "rope_theta": 100.0,
        "rope_type": "longrope",
        "partial_rotary_factor": 0.75,
        "short_factor": [1.0, 1.2, 1.5, 2.0, 3.0, 4.0],
        "long_factor": [2.0, 3.0, 4.0, 5.0, 6.0, 8.0],
    },
    "original_max_position_embeddings": 64,
    "max_position_embeddings": 256,
}
GRANITE = {
    "embedding_multiplier": 3.0,
    "residual_multiplier": 0.6,
    "attention_multiplier": 0.15,
    "logits_scaling": 2.0,
}
GEMMA = {
    "head_dim": 16,
    "query_pre_attn_scalar": 9,
    "sliding_window": 7,
}
BY_TYPE = {
    "rope_parameters": {
        "full_attention": {"rope_theta": 500.0, "rope_type": "linear", "factor": 2.0},
        "sliding_attention": {"rope_theta": 50.0, "rope_type": "default"},
    }
}
FAMILIES |= {
    "granite": [
        BASE | THETA | GRANITE,
        BASE | LLAMA3 | GRANITE | {"tie_word_embeddings": True, "attention_bias": True},
        BASE | LINEAR | GRANITE | {"embedding_multiplier": 12.0, "num_key_value_heads": 1, "mlp_bias": True},
        BASE | THETA | GRANITE | {"hidden_size": 48, "num_attention_heads": 3, "num_key_value_heads": 3},
        BASE | YARN | GRANITE | {"head_dim": 24, "hidden_act": "gelu"},
        BASE | THETA | GRANITE | {"num_hidden_layers": 3, "residual_multiplier": 0.22, "tie_word_embeddings": True},
    ],
    "smollm3": [
        BASE | LLAMA3 | {"num_hidden_layers": 3, "no_rope_layer_interval": 2, "mlp_bias": True},
        BASE | THETA | {"no_rope_layers": [0, 1], "attention_bias": True, "tie_word_embeddings": False},
        BASE | THETA | {"num_hidden_layers": 4, "tie_word_embeddings": True},
        BASE | THETA | {"no_rope_layers": [1, 0], "use_sliding_window": True, "sliding_window": 6},
        BASE
        | YARN
        | {
            "no_rope_layers": [1, 1],
            "use_sliding_window": True,
            "sliding_window": 9,
            "layer_types": ["sliding_attention", "full_attention"],
        },
        BASE | LINEAR | {"no_rope_layers": [0, 1], "num_key_value_heads": 1, "hidden_act": "gelu"},
    ],
    "ernie4_5": [
        BASE | THETA | {"head_dim": 16},
        BASE | THETA | {"head_dim": 32, "use_bias": True, "tie_word_embeddings": False},
        BASE | LINEAR | {"head_dim": None, "num_key_value_heads": 1},
        BASE | LLAMA3 | {"head_dim": 16, "use_bias": True, "hidden_act": "gelu"},
        BASE | YARN | {"head_dim": 24},
        BASE
        | THETA
        | {
            "head_dim": 8,
            "hidden_size": 48,
            "num_attention_heads": 6,
            "num_key_value_heads": 3,
            "tie_word_embeddings": True,
        },
    ],
    "gemma2": [
        BASE | THETA | GEMMA | {"attn_logit_softcapping": 2.0, "final_logit_softcapping": 4.0},
        BASE | THETA | GEMMA | {"attn_logit_softcapping": None, "final_logit_softcapping": 3.0},
        BASE | LINEAR | GEMMA | {"attn_logit_softcapping": 3.0, "final_logit_softcapping": None},
        BASE
        | THETA
        | GEMMA
        | {
            "attn_logit_softcapping": 5.0,
            "final_logit_softcapping": 2.0,
            "layer_types": ["full_attention", "sliding_attention"],
        },
        BASE | THETA | GEMMA | {"hidden_activation": "gelu", "num_hidden_layers": 3, "attention_bias": True},
        BASE | LLAMA3 | GEMMA | {"head_dim": 32, "num_key_value_heads": 1, "sliding_window": 20},
    ],
    "gemma3_text": [
        BASE | GEMMA | BY_TYPE | {"layer_types": ["sliding_attention", "full_attention"]},
        BASE | GEMMA | BY_TYPE | {"num_hidden_layers": 6, "intermediate_size": 32},
        BASE | GEMMA | BY_TYPE | {"layer_types": ["full_attention", "sliding_attention"], "sliding_window": 3},
        BASE
        | GEMMA
        | BY_TYPE
        | {
            "layer_types": ["full_attention", "sliding_attention"],
            "final_logit_softcapping": 3.0,
        },
        BASE
        | GEMMA
        | BY_TYPE
        | {"layer_types": ["sliding_attention", "full_attention"], "hidden_activation": "gelu", "attention_bias": True},
        BASE
        | GEMMA
        | BY_TYPE
        | {"layer_types": ["full_attention", "full_attention"], "head_dim": 32, "num_key_value_heads": 1},
    ],
    "phi3": [
        BASE | LONG,
        BASE | THETA | {"sliding_window": 9},
        BASE | LONG | {"tie_word_embeddings": True, "num_key_value_heads": 1, "hidden_act": "gelu"},
        BASE | {"rope_parameters": {"rope_theta": 500.0, "rope_type": "default", "partial_rotary_factor": 0.5}},
        BASE | LONG | {"sliding_window": 5, "num_key_value_heads": 4},
        BASE | THETA | {"hidden_size": 48, "num_attention_heads": 3, "num_key_value_heads": 3},
    ],
}

MOE = {"num_experts_per_tok": 2, "pad_token_id": None, "bos_token_id": 1, "eos_token_id": 2}
MIXTRAL = MOE | {"num_local_experts": 4, "intermediate_size": 48}
QWEN_MOE = MOE | {"num_experts": 5, "moe_intermediate_size": 40}
SHARED = {"shared_expert_intermediate_size": 56}
LFM2 = {key: value for key, value in BASE.items() if key != "rms_norm_eps"} | {
    "norm_eps": 0.1,
    "num_hidden_layers": 3,
    "tie_word_embeddings": False,
    "block_multiple_of": 16,
    "layer_types": ["conv", "full_attention", "conv"],
}
LFM2_MOE = LFM2 | MOE | {"num_experts": 5, "moe_intermediate_size": 40, "num_dense_layers": 1, "use_expert_bias": True}
GPT_OSS = MOE | {"num_local_experts": 4, "intermediate_size": 48, "head_dim": 16, "sliding_window": 8, "attention_bias": True}
FAMILIES |= {
    "lfm2": [
        LFM2 | THETA,
        LFM2 | THETA | {"conv_bias": True, "conv_L_cache": 4, "block_auto_adjust_ff_dim": False},
        LFM2 | THETA | {"tie_word_embeddings": True, "layer_types": ["conv", "conv", "full_attention"], "conv_L_cache": 2},
        LFM2 | LINEAR | {"layer_types": ["full_attention", "conv", "conv"], "num_key_value_heads": 1},
        LFM2 | YARN | {"hidden_size": 48, "num_attention_heads": 3, "num_key_value_heads": 3, "conv_bias": True},
        LFM2 | LLAMA3 | {"block_ffn_dim_multiplier": 1.3, "conv_L_cache": 7, "num_key_value_heads": 4},
    ],
    "lfm2_moe": [
        LFM2_MOE | THETA,
        LFM2_MOE | THETA | {"norm_topk_prob": False, "routed_scaling_factor": 1.5, "num_dense_layers": 0},
        LFM2_MOE | THETA | {"use_expert_bias": False, "conv_bias": True, "num_experts_per_tok": 3},
        LFM2_MOE | LINEAR | {"conv_L_cache": 4, "routed_scaling_factor": 0.5},
        LFM2_MOE | LLAMA3 | {"tie_word_embeddings": True, "num_dense_layers": 2, "num_experts_per_tok": 1},
        LFM2_MOE | YARN | {"hidden_size": 48, "num_attention_heads": 3, "num_key_value_heads": 3},
    ],
    "gpt_oss": [
        BASE | YARN | GPT_OSS,
        BASE | YARN | GPT_OSS | {"num_experts_per_tok": 1, "sliding_window": 16},
        BASE | LLAMA3 | GPT_OSS | {"attention_bias": False, "num_key_value_heads": 1},
        BASE | YARN | GPT_OSS | {"layer_types": ["full_attention", "sliding_attention"], "num_local_experts": 6},
        BASE | THETA | GPT_OSS | {"tie_word_embeddings": True, "num_experts_per_tok": 3},
        BASE | YARN | GPT_OSS | {"head_dim": 32, "sliding_window": 3, "num_key_value_heads": 4},
    ],
}
FAMILIES |= {
    "mixtral": [
        BASE | THETA | MIXTRAL,
        BASE | THETA | MIXTRAL | {"sliding_window": 8, "num_local_experts": 3, "num_experts_per_tok": 1},
        BASE | LLAMA3 | MIXTRAL | {"tie_word_embeddings": True, "num_experts_per_tok": 3},
        BASE | LINEAR | MIXTRAL | {"hidden_act": "gelu", "num_key_value_heads": 1},
        BASE | YARN | MIXTRAL | {"head_dim": 24, "num_local_experts": 6},
        BASE | THETA | MIXTRAL | {"hidden_size": 48, "num_attention_heads": 3, "num_key_value_heads": 3},
    ],
    "qwen2_moe": [
        BASE | THETA | QWEN_MOE | SHARED,
        BASE | THETA | QWEN_MOE | SHARED | {"norm_topk_prob": True, "decoder_sparse_step": 2},
        BASE | LLAMA3 | QWEN_MOE | SHARED | {"mlp_only_layers": [0], "qkv_bias": False},
        BASE
        | LINEAR
        | QWEN_MOE
        | SHARED
        | {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 2, "num_experts_per_tok": 1},
        BASE | YARN | QWEN_MOE | SHARED | {"tie_word_embeddings": True, "num_experts_per_tok": 4, "qkv_bias": True},
        BASE
        | THETA
        | QWEN_MOE
        | SHARED
        | {
            "use_sliding_window": True,
            "sliding_window": 6,
            "layer_types": ["full_attention", "sliding_attention"],
            "hidden_act": "gelu",
        },
    ],
    "qwen3_moe": [
        BASE | THETA | QWEN_MOE,
        BASE | THETA | QWEN_MOE | {"norm_topk_prob": True, "decoder_sparse_step": 2, "head_dim": 32},
        BASE | LLAMA3 | QWEN_MOE | {"mlp_only_layers": [1], "attention_bias": True},
        BASE | LINEAR | QWEN_MOE | {"use_sliding_window": True, "sliding_window": 8, "num_experts_per_tok": 1},
        BASE | YARN | QWEN_MOE | {"tie_word_embeddings": True, "num_experts_per_tok": 3, "norm_topk_prob": True},
        BASE | THETA | QWEN_MOE | {"hidden_act": "gelu", "num_key_value_heads": 1, "num_experts": 7},
    ],
    "olmoe": [
        BASE | THETA | QWEN_MOE | {"moe_intermediate_size": 0, "intermediate_size": 40},
        BASE | THETA | QWEN_MOE | {"moe_intermediate_size": 0, "intermediate_size": 40, "norm_topk_prob": True, "attention_bias": True},
        BASE | LLAMA3 | QWEN_MOE | {"moe_intermediate_size": 0, "intermediate_size": 24, "num_key_value_heads": 4},
        BASE | LINEAR | QWEN_MOE | {"moe_intermediate_size": 0, "intermediate_size": 32, "hidden_act": "gelu", "num_key_value_heads": 1},
        BASE | YARN | QWEN_MOE | {"moe_intermediate_size": 0, "intermediate_size": 40, "tie_word_embeddings": True, "num_experts_per_tok": 4},
        BASE | THETA | QWEN_MOE | {"moe_intermediate_size": 0, "intermediate_size": 40, "hidden_size": 48, "num_attention_heads": 3, "num_key_value_heads": 3},
    ],
    "granitemoe": [
        BASE | THETA | GRANITE | MIXTRAL,
        BASE | LLAMA3 | GRANITE | MIXTRAL | {"tie_word_embeddings": True, "attention_bias": True},
        BASE | LINEAR | GRANITE | MIXTRAL | {"num_experts_per_tok": 1, "num_key_value_heads": 1},
        BASE | YARN | GRANITE | MIXTRAL | {"num_local_experts": 7, "num_experts_per_tok": 3},
        BASE | THETA | GRANITE | MIXTRAL | {"hidden_act": "gelu", "residual_multiplier": 0.3},
        BASE | THETA | GRANITE | MIXTRAL | {"hidden_size": 48, "num_attention_heads": 3, "num_key_value_heads": 3},
    ],
    "granitemoeshared": [
        BASE | THETA | GRANITE | MIXTRAL | {"shared_intermediate_size": 40},
        BASE | LLAMA3 | GRANITE | MIXTRAL | {"shared_intermediate_size": 0},
        BASE | LINEAR | GRANITE | MIXTRAL | {"shared_intermediate_size": 64, "num_experts_per_tok": 1},
        BASE | YARN | GRANITE | MIXTRAL | {"shared_intermediate_size": 24, "tie_word_embeddings": True},
        BASE | THETA | GRANITE | MIXTRAL | {"shared_intermediate_size": 40, "hidden_act": "gelu"},
        BASE | THETA | GRANITE | MIXTRAL | {"shared_intermediate_size": 40, "attention_bias": True},
    ],
}
ATTENTION = {"layer_types": ["full_attention", "full_attention"], "shared_intermediate_size": 40}
DENSE = ATTENTION | {"num_local_experts": 0, "num_experts_per_tok": 0}
FAMILIES["granitemoehybrid"] = [
    BASE | THETA | GRANITE | MIXTRAL | ATTENTION | {"position_embedding_type": "rope", "attention_bias": True},
    BASE | THETA | GRANITE | MIXTRAL | ATTENTION,
    BASE | LLAMA3 | GRANITE | MOE | DENSE | {"position_embedding_type": "rope", "tie_word_embeddings": True},
    BASE | THETA | GRANITE | MOE | DENSE | {"attention_bias": True},
    BASE | LINEAR | GRANITE | MIXTRAL | ATTENTION | {"position_embedding_type": "rope", "hidden_act": "gelu"},
    BASE | YARN | GRANITE | MIXTRAL | ATTENTION | {"position_embedding_type": "rope", "num_experts_per_tok": 1},
]

ENCODER = {
    "vocab_size": 64,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "layer_norm_eps": 0.1,
}
# What follows the encoder: a classifier, or what `make.py` makes of words.
CLASSIFY = {"head": "classify", "id2label": {"0": "a", "1": "b", "2": "c"}, "label2id": {"a": 0, "b": 1, "c": 2}}

BERTS = [
    ENCODER | {"head": "mean normalize"},
    ENCODER | CLASSIFY,
    ENCODER | {"head": "cls", "hidden_act": "gelu_new"},
    ENCODER | {"head": "max", "hidden_size": 48, "num_attention_heads": 3},
    ENCODER | {"head": "lasttoken normalize", "num_hidden_layers": 1, "intermediate_size": 40},
    ENCODER | CLASSIFY | {"hidden_act": "relu", "num_attention_heads": 2},
]
DISTIL = {
    "hidden_size": "dim",
    "num_hidden_layers": "n_layers",
    "num_attention_heads": "n_heads",
    "intermediate_size": "hidden_dim",
    "hidden_act": "activation",
}
STEPS = [
    ENCODER | {"head": "cls+max+mean+mean_sqrt_len_tokens+weightedmean+lasttoken dense40tanh normalize"},
    ENCODER | {"head": "weightedmean prompt3 dense24"},
    ENCODER | {"head": "mean_sqrt_len_tokens prompt5 normalize"},
    ENCODER | {"head": "cls+mean prompt2 dense48tanh dense32"},
]
TOKENS = CLASSIFY | {"head": "tokens"}
HEADS = [ENCODER | CLASSIFY | {"head": "classify pair"}, ENCODER | TOKENS]
FAMILIES |= {
    "bert": [values | {"type_vocab_size": 2} for values in BERTS + STEPS + HEADS],
    "roberta": [values | {"pad_token_id": 1, "max_position_embeddings": 60} for values in BERTS + HEADS[1:]],
    "xlm-roberta": [values | {"pad_token_id": [1, 5][i % 2]} for i, values in enumerate(BERTS + HEADS[1:])],
    "distilbert": [
        {DISTIL.get(key, key): value for key, value in values.items() if key != "layer_norm_eps"}
        for values in BERTS + HEADS[1:]
    ],
}

for family in ("smollm3", "gemma2", "gemma3_text", "phi3", "ernie4_5"):
    # Their classes name ids of larger vocabularies.
    special = {"pad_token_id": None, "bos_token_id": 1, "eos_token_id": 2}
    FAMILIES[family] = [values | special for values in FAMILIES[family]]

# Decoders that give a vector for a text, or classify it.
FAMILIES["qwen3"] += [
    BASE | THETA | {"head_dim": 16, "head": "lasttoken normalize"},
    BASE | LLAMA3 | {"head_dim": 16, "head": "mean", "is_causal": False},
    BASE
    | THETA
    | {
        "head_dim": 16,
        "head": "mean normalize",
        "is_causal": False,
        "use_sliding_window": True,
        "sliding_window": 5,
        "layer_types": ["sliding_attention", "full_attention"],
    },
    BASE | THETA | CLASSIFY | {"head_dim": 16, "pad_token_id": None},
]
FAMILIES["llama"] += [BASE | THETA | CLASSIFY | {"pad_token_id": None}]
FAMILIES["mistral"] += [BASE | THETA | {"sliding_window": 6, "head": "lasttoken normalize"}]
FAMILIES["gemma3_text"] += [
    values | {"pad_token_id": None, "bos_token_id": 1, "eos_token_id": 2, "use_bidirectional_attention": True}
    for values in (
        BASE
        | GEMMA
        | BY_TYPE
        | {"layer_types": ["sliding_attention", "full_attention"], "head": "mean dense80 dense64 normalize"},
        BASE | GEMMA | BY_TYPE | {"num_hidden_layers": 6, "intermediate_size": 32, "head": "mean", "sliding_window": 10},
    )
]

MODERN = ENCODER | {"norm_eps": 0.1, "pad_token_id": None, "cls_token_id": 1, "sep_token_id": 2, "local_attention": 10}
MODERN |= {"bos_token_id": 1, "eos_token_id": 2}
del MODERN["layer_norm_eps"]
SLIDING = {
    "layer_types": ["sliding_attention", "full_attention"],
    "rope_parameters": {
        "full_attention": {"rope_theta": 500.0, "rope_type": "default"},
        "sliding_attention": {"rope_theta": 50.0, "rope_type": "default"},
    },
}
FAMILIES["modernbert"] = [
    MODERN | SLIDING | {"head": "mean normalize"},
    MODERN | SLIDING | CLASSIFY | {"classifier_pooling": "cls", "norm_bias": True},
    MODERN | SLIDING | CLASSIFY | {"classifier_pooling": "mean", "classifier_bias": True, "classifier_activation": "relu"},
    MODERN | SLIDING | {"head": "cls", "attention_bias": True, "mlp_bias": True, "hidden_activation": "silu"},
    MODERN | {"head": "max", "num_hidden_layers": 4, "local_attention": 6},
    MODERN | SLIDING | {"head": "lasttoken normalize", "hidden_size": 48, "num_attention_heads": 3},
    MODERN | SLIDING | TOKENS | {"classifier_bias": True},
]

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

ENCODER_KEYS = {"layer_norm_eps": 0.5, "hidden_act": "silu"}

KEYS = {
    "bert": ENCODER_KEYS,
    "roberta": ENCODER_KEYS | {"pad_token_id": 3},
    "xlm-roberta": ENCODER_KEYS | {"pad_token_id": 3},
    "distilbert": {"activation": "silu"},
    "modernbert": {
        "norm_eps": 0.5,
        "hidden_activation": "relu",
        "local_attention": 4,
        "layer_types": None,
        "classifier_pooling": "cls",
        "classifier_activation": "gelu",
        "rope_parameters.full_attention.rope_theta": 20.0,
        "rope_parameters.sliding_attention.rope_theta": 500.0,
    },
    "llama": COMMON_KEYS | {"attention_bias": False, "mlp_bias": False},
    "granite": COMMON_KEYS
    | {
        "attention_bias": False,
        "mlp_bias": False,
        "embedding_multiplier": 1.0,
        "residual_multiplier": 1.0,
        "attention_multiplier": 1.0,
        "logits_scaling": 1.0,
    },
    "smollm3": COMMON_KEYS
    | {
        "attention_bias": False,
        "mlp_bias": False,
        "no_rope_layers": None,
        "no_rope_layer_interval": 3,
        "use_sliding_window": False,
        "sliding_window": 2,
        "layer_types": None,
    },
    "ernie4_5": COMMON_KEYS | {"use_bias": False},
    "gemma2": {
        "rms_norm_eps": 0.3,
        "hidden_activation": "relu",
        "attention_bias": False,
        "query_pre_attn_scalar": 64,
        "sliding_window": 2,
        "layer_types": None,
        "attn_logit_softcapping": None,
        "final_logit_softcapping": None,
        "rope_parameters.rope_theta": 50.0,
    },
    "gemma3_text": {
        "rms_norm_eps": 0.3,
        "hidden_activation": "relu",
        "attention_bias": False,
        "query_pre_attn_scalar": 64,
        "sliding_window": 2,
        "layer_types": None,
        "final_logit_softcapping": None,
        "use_bidirectional_attention": False,
        "rope_parameters.full_attention.rope_theta": 50.0,
        "rope_parameters.full_attention.factor": 4.0,
        "rope_parameters.sliding_attention.rope_theta": 500.0,
    },
    "phi3": {
        "rms_norm_eps": 0.3,
        "hidden_act": "relu",
        "sliding_window": 2,
        "tie_word_embeddings": False,
        "rope_parameters.rope_theta": 50.0,
        "rope_parameters.partial_rotary_factor": 1.0,
        "rope_parameters.short_factor": [1.0] * 6,
        "rope_parameters.rope_type": "default",
        "original_max_position_embeddings": 100,
        "max_position_embeddings": 1024,
    },
    "lfm2": ROPE_KEYS
    | {
        "norm_eps": 0.3,
        "tie_word_embeddings": False,
        "layer_types": ["conv", "full_attention", "full_attention"],
    },
    "lfm2_moe": ROPE_KEYS
    | {
        "norm_eps": 0.3,
        "tie_word_embeddings": False,
        "num_experts_per_tok": 2,
        "norm_topk_prob": True,
        "routed_scaling_factor": 1.0,
        "use_expert_bias": False,
    },
    "gpt_oss": {"rms_norm_eps": 0.3, "tie_word_embeddings": False}
    | ROPE_KEYS
    | {"num_experts_per_tok": 2, "sliding_window": 2, "layer_types": None, "attention_bias": False},
    "mixtral": COMMON_KEYS | {"sliding_window": 2, "num_experts_per_tok": 4},
    "qwen2_moe": COMMON_KEYS
    | {
        "num_experts_per_tok": 2,
        "norm_topk_prob": False,
        "qkv_bias": False,
        "use_sliding_window": False,
        "sliding_window": 2,
        "max_window_layers": 0,
        "layer_types": None,
    },
    "qwen3_moe": COMMON_KEYS
    | {
        "num_experts_per_tok": 2,
        "norm_topk_prob": False,
        "attention_bias": False,
        "use_sliding_window": False,
        "sliding_window": 2,
    },
    "olmoe": COMMON_KEYS | {"num_experts_per_tok": 3, "norm_topk_prob": False, "attention_bias": False},
    "granitemoe": COMMON_KEYS
    | {
        "attention_bias": False,
        "num_experts_per_tok": 4,
        "embedding_multiplier": 1.0,
        "residual_multiplier": 1.0,
        "attention_multiplier": 1.0,
        "logits_scaling": 1.0,
    },
    "granitemoeshared": COMMON_KEYS
    | {
        "attention_bias": False,
        "num_experts_per_tok": 4,
        "embedding_multiplier": 1.0,
        "residual_multiplier": 1.0,
        "attention_multiplier": 1.0,
        "logits_scaling": 1.0,
    },
    "granitemoehybrid": COMMON_KEYS
    | {
        "attention_bias": False,
        "num_experts_per_tok": 4,
        "embedding_multiplier": 1.0,
        "residual_multiplier": 1.0,
        "attention_multiplier": 1.0,
        "logits_scaling": 1.0,
        "position_embedding_type": None,
    },
    "mistral": COMMON_KEYS | {"sliding_window": 2},
    "qwen2": COMMON_KEYS | {"sliding_window": 2, "use_sliding_window": False, "max_window_layers": 0, "layer_types": None},
    "qwen3": COMMON_KEYS
    | {
        "attention_bias": False,
        "is_causal": True,
        "sliding_window": 2,
        "use_sliding_window": False,
        "max_window_layers": 0,
        "layer_types": None,
    },
}

# What moves nothing, and why: by the end of its name.
EXEMPT = {
    "attention.self.key.bias": "adds the same to every score of a query, which the softmax takes away",
    "attention.k_lin.bias": "adds the same to every score of a query, which the softmax takes away",
    "pooler.dense.bias": "is for classifiers alone",
}
