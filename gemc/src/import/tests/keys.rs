//! One bad `config.json` for every way to be bad.

use std::fs;

use serde_json::{Value, json};

use super::super::checkpoint;
use super::{base, expect_finding, folder, made, set, with};

/// Key, value (null: absent) and words of the one finding.
fn bad_keys() -> Vec<(&'static str, Value, &'static [&'static str])> {
    vec![
        (
            "num_attention_heads",
            json!(0),
            &["num_attention_heads", "found 0", "1..=4096"],
        ),
        (
            "num_hidden_layers",
            json!(1u64 << 60),
            &["num_hidden_layers", "1152921504606846976", "1..=1024"],
        ),
        (
            "hidden_size",
            json!(1u64 << 40),
            &["hidden_size", "1..=65536"],
        ),
        ("vocab_size", json!(-3), &["vocab_size", "found -3"]),
        ("vocab_size", json!(12.5), &["vocab_size", "found 12.5"]),
        (
            "max_position_embeddings",
            json!("many"),
            &["max_position_embeddings", "\"many\""],
        ),
        (
            "intermediate_size",
            Value::Null,
            &["intermediate_size", "is missing"],
        ),
        (
            "gem_version",
            json!(2),
            &["gem_version", "found 2", "1..=1"],
        ),
        (
            "architectures",
            json!(["LlamaForCausalLM"]),
            &["architectures", "LlamaForCausalLM", "GemForCausalLM"],
        ),
        ("architectures", json!([]), &["architectures"]),
        (
            "hidden_act",
            json!("swish"),
            &["hidden_act", "\"swish\"", "\"silu\""],
        ),
        ("mlp_gated", json!(1), &["mlp_gated", "true or false"]),
        ("norm_eps", json!(-1.0), &["norm_eps", "-1"]),
        (
            "num_key_value_heads",
            json!(3),
            &["num_key_value_heads", "divisor", "4"],
        ),
        (
            "num_attention_heads",
            json!(10),
            &["num_attention_heads", "head_dim"],
        ),
        ("head_dim", json!(5), &["head_dim", "even"]),
        ("rope_theta", json!(0), &["rope_theta", "above 0"]),
        (
            "rope_scaling",
            json!({"rope_type": "yarn", "factor": 2}),
            &["rope_scaling.rope_type", "yarn", "llama3"],
        ),
        (
            "rope_scaling",
            json!({"rope_type": "linear"}),
            &["rope_scaling.factor", "missing"],
        ),
        (
            "rope_scaling",
            json!({"type": "linear", "rope_type": "llama3", "factor": 2}),
            &["rope_scaling.type"],
        ),
        (
            "rope_parameters",
            json!({"rope_theta": 5e5}),
            &["rope_parameters", "disagrees with `rope_theta`"],
        ),
        ("dtype", json!("float32"), &["dtype", "disagrees"]),
        (
            "qk_nrom",
            json!(true),
            &["qk_nrom", "did you mean `qk_norm`"],
        ),
        (
            "sliding_window",
            json!(4),
            &["sliding_window", "known keys"],
        ),
        ("\u{1b}[31m", json!(4), &["\\u{1b}[31m"]),
        ("domains", json!([]), &["domains", "is empty"]),
        (
            "domains",
            json!(["law", "law", "web"]),
            &["domains", "\"law\" twice"],
        ),
        ("domains", json!(["law", "", "web"]), &["domains", "names"]),
        ("router.layers", json!([2]), &["router.layers", "[2]"]),
        (
            "router.layers",
            json!([1, 1]),
            &["router.layers", "ascending"],
        ),
        (
            "router.layers",
            json!("some"),
            &["router.layers", "\"final\""],
        ),
        ("router.top_k", json!(4), &["router.top_k", "1..=3"]),
        ("router.top_k", json!(0), &["router.top_k", "1..=3"]),
        (
            "router.threshold",
            json!(1.0),
            &["router.threshold", "[0, 1)"],
        ),
        (
            "router.threshold",
            json!("NaN"),
            &["router.threshold", "\"NaN\""],
        ),
        (
            "router.treshold",
            json!(0.5),
            &["router.treshold", "did you mean `threshold`"],
        ),
        ("router", json!(3), &["`router`", "an object"]),
        (
            "scar.heads",
            json!(5),
            &["scar.heads", "divisor of `hidden_size` = 24"],
        ),
        ("scar.layers", json!([0]), &["scar.layers", "routed"]),
        ("scar.mask", json!("on"), &["scar.mask", "cluster_or_flag"]),
        (
            "modules.intermediate_size",
            json!(0),
            &["modules.intermediate_size", "found 0"],
        ),
        (
            "modules.intermediate_size",
            Value::Null,
            &["modules.intermediate_size", "missing"],
        ),
        (
            "general_path",
            json!("sometimes"),
            &["general_path", "fallback"],
        ),
        (
            "model_type",
            json!("llama9"),
            &["model_type", "llama9", "\"gem\""],
        ),
        ("model_type", Value::Null, &["model_type", "is missing"]),
    ]
}

#[test]
fn bad_config_values_are_named_with_what_is_allowed() {
    let root = folder();
    let dir = made(root.path(), &base());
    for (key, value, words) in bad_keys() {
        let config = match value {
            Value::Null => with(&[(key, Value::Null)]),
            value => with(&[(key, value)]),
        };
        fs::write(dir.join("config.json"), config.to_string()).expect("written");
        expect_finding(&dir, key, words);
    }
}

#[test]
fn config_and_tensor_findings_are_reported_together() {
    let root = folder();
    let dir = made(root.path(), &base());
    let config = with(&[
        ("qk_nrom", json!(true)),
        ("attention_bias", json!(true)),
        ("hidden_size", json!(32)),
    ]);
    let config = {
        let mut config = config;
        set(&mut config, "scar.heads", json!(4));
        config
    };
    fs::write(dir.join("config.json"), config.to_string()).expect("written");
    let text = checkpoint(&dir).expect_err("bad").to_string();
    for words in [
        "did you mean `qk_norm`",
        "self_attn.q_proj.bias`: is missing",
        "has shape [300, 24]; allowed: [300, 32]",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
}
