//! One bad `config.json` for every way to be bad.

use std::fs;

use serde_json::{Value, json};

use super::super::{Findings, checkpoint, config};
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

/// A classifier without routed layers.
fn classifier(more: &[(&str, Value)]) -> Value {
    let off = [
        ("architectures", json!(["GemForSequenceClassification"])),
        ("domains", Value::Null),
        ("router", Value::Null),
        ("scar", Value::Null),
        ("modules", Value::Null),
    ];
    with(&[&off[..], more].concat())
}

/// What is wrong with a config, by itself.
fn findings(config: &Value) -> Vec<String> {
    let mut findings = Findings::default();
    let _ = config::read(config.as_object().expect("an object"), &mut findings);
    findings
        .into_list()
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn a_wrong_key_is_blamed_itself_and_once() {
    let yarn =
        json!({"rope_type": "yarn", "factor": 2.0, "beta_fast": 32, "attention_factor": 1.0});
    let cases = [
        (
            classifier(&[("id2label", json!({"0": "a", "2": "b"}))]),
            "`id2label`: names 2 labels, but none is \"1\"",
        ),
        (
            classifier(&[("id2label", json!(["a"]))]),
            "`id2label`: found a list of 1",
        ),
        (
            classifier(&[("id2label", json!({}))]),
            "`id2label`: names 0 labels",
        ),
        (
            classifier(&[("id2label", json!({"0": 7})), ("num_labels", json!(1))]),
            "`id2label`: names label \"0\" 7",
        ),
        (
            classifier(&[("id2label", json!({"0": "a"})), ("num_labels", json!(2))]),
            "`id2label`: names 1 label; allowed: as many as `num_labels` = 2",
        ),
        (
            classifier(&[("id2label", json!({"0": "a"})), ("num_labels", json!(0))]),
            "`num_labels`: found 0",
        ),
        (classifier(&[]), "`num_labels`: is missing"),
        (
            with(&[
                ("architectures", json!(["Llama"])),
                ("num_labels", json!(3)),
            ]),
            "`architectures`: found [\"Llama\"]",
        ),
        (
            with(&[("architectures", json!(["GemForCausalLM", "X"]))]),
            "`architectures`: found [\"GemForCausalLM\", \"X\"]",
        ),
        (
            with(&[("rope_scaling", yarn.clone())]),
            "`rope_scaling.rope_type`: found \"yarn\"",
        ),
        (
            with(&[("rope_scaling", json!({"type": "yarn", "factor": 2.0}))]),
            "`rope_scaling.type`: found \"yarn\"",
        ),
        (
            with(&[("rope_scaling", json!("linear"))]),
            "`rope_scaling`: found \"linear\"",
        ),
        (
            with(&[
                ("rope_theta", json!(0)),
                ("rope_parameters", json!({"rope_type": "default"})),
            ]),
            "`rope_theta`: found 0",
        ),
        (
            with(&[
                ("rope_scaling", yarn),
                ("rope_parameters", json!({"rope_theta": 1e4})),
            ]),
            "`rope_scaling.rope_type`: found \"yarn\"",
        ),
        (
            with(&[
                (
                    "rope_scaling",
                    json!({"rope_type": "linear", "factor": 2.0}),
                ),
                ("rope_parameters", json!([])),
            ]),
            "`rope_parameters`: found a list of 0",
        ),
        (
            with(&[
                ("torch_dtype", json!("float64")),
                ("dtype", json!("float32")),
            ]),
            "`torch_dtype`: found \"float64\"",
        ),
        (with(&[("router", json!(3))]), "`router`: found 3"),
        (
            with(&[("router", Value::Null)]),
            "`router.layers`: is empty, but `domains` and `scar.mask` and `modules.kind` are set",
        ),
        (
            with(&[
                ("router", Value::Null),
                ("domains", Value::Null),
                ("scar", Value::Null),
            ]),
            "`modules.kind`: is on, but `router.layers` is empty",
        ),
        (
            with(&[
                ("router", Value::Null),
                ("modules", Value::Null),
                ("scar", Value::Null),
            ]),
            "`domains`: names domains",
        ),
        (
            with(&[("router.layers", json!("some"))]),
            "`router.layers`: found \"some\"",
        ),
        (with(&[("domains", json!([]))]), "`domains`: is empty"),
        (
            with(&[("scar.mask", json!("on"))]),
            "`scar.mask`: found \"on\"",
        ),
        (with(&[("scar", json!(true))]), "`scar`: found true"),
        (
            with(&[("modules.kind", json!("moe"))]),
            "`modules.kind`: found \"moe\"",
        ),
        (with(&[("modules", json!(0))]), "`modules`: found 0"),
        (with(&[("hidden_size", json!(0))]), "`hidden_size`: found 0"),
        (
            with(&[("num_hidden_layers", json!(0))]),
            "`num_hidden_layers`: found 0",
        ),
        (
            with(&[("hidden_size", json!(12)), ("scar.heads", json!(1))]),
            "`num_attention_heads`: makes heads of `hidden_size` / 4 = 3 columns",
        ),
        (with(&[("head_dim", json!(0))]), "`head_dim`: found 0"),
        (
            with(&[("eos_token_id", json!("</s>"))]),
            "`eos_token_id`: found \"</s>\"",
        ),
    ];
    for (config, words) in cases {
        let found = findings(&config);
        assert_eq!(found.len(), 1, "{words}: {found:#?}");
        assert!(found[0].contains(words), "{words}: {found:#?}");
    }
}

#[test]
fn a_wrong_key_blames_no_tensor() {
    let root = folder();
    let dir = made(root.path(), &base());
    for (key, value) in [
        ("domains", json!([])),
        ("router", json!(3)),
        ("scar", json!(3)),
        ("modules", json!(3)),
        ("modules.kind", json!("x")),
    ] {
        fs::write(dir.join("config.json"), with(&[(key, value)]).to_string()).expect("written");
        let error = checkpoint(&dir).expect_err("bad");
        assert_eq!(error.findings().len(), 1, "{key}: {error}");
    }
}

/// Reasons of the keys that have no effect, and the names of those that have.
fn account(dir: &std::path::Path) -> (Vec<(String, String)>, Vec<String>) {
    let checkpoint = checkpoint(dir).expect("good");
    let (mut ignored, mut used) = (Vec::new(), Vec::new());
    for (key, becomes) in &checkpoint.account().keys {
        match becomes {
            config::KeyUse::Used => used.push(key.clone()),
            config::KeyUse::Ignored(why) => ignored.push((key.clone(), why.clone())),
        }
    }
    (ignored, used)
}

#[test]
fn the_account_says_what_has_an_effect() {
    let root = folder();
    let config = with(&[
        ("bos_token_id", json!(-1)),
        ("eos_token_id", json!([2, 9999])),
        ("pad_token_id", json!(0)),
        (
            "rope_scaling",
            json!({"rope_type": "default", "factor": 2.0}),
        ),
        ("router.renormalize", json!(true)),
        ("general_path", json!("always")),
    ]);
    let dir = made(root.path(), &config);
    let (ignored, used) = account(&dir);
    let why = |key: &str| {
        let found = ignored.iter().find(|(k, _)| k == key);
        found.map(|(_, why)| why.as_str())
    };
    // As in Hugging Face's library: without a generation_config.json, the config says what ends a text.
    assert!(used.iter().any(|k| k == "eos_token_id"), "{ignored:?}");
    let generation = checkpoint(&dir).expect("good").generation_config().clone();
    assert_eq!(
        (generation.bos_token_id, generation.eos_token_ids),
        (None, vec![2])
    );
    assert_eq!(why("pad_token_id"), Some("texts are not padded"));
    assert_eq!(why("attention_dropout"), Some("only training uses it"));
    assert_eq!(
        why("rope_scaling.factor"),
        Some("`rope_type` does not ask for it")
    );
    assert_eq!(why("router.renormalize"), None);

    fs::write(dir.join("generation_config.json"), "{\"eos_token_id\": 3}").expect("written");
    // With one, what either of them names ends it.
    let (_, used) = account(&dir);
    assert!(used.iter().any(|k| k == "eos_token_id"), "{used:?}");
    let checkpoint = checkpoint(&dir).expect("good");
    assert_eq!(checkpoint.generation_config().eos_token_ids, [2, 3]);
    let all = checkpoint.eos_token_ids();
    assert!(all.contains(&2) && all.contains(&3), "{all:?}");
}

/// What a family has where its config says nothing is no third source.
#[test]
fn ends_of_a_family_do_not_count_beside_a_generation_config() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let mut llama = serde_json::json!({
        "model_type": "llama", "vocab_size": 16, "hidden_size": 32, "intermediate_size": 64,
        "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 32
    });
    let ends = |config: &Value, generation: Option<&str>| {
        let dir = made(root.path(), config);
        if let Some(text) = generation {
            fs::write(dir.join("generation_config.json"), text).expect("written");
        }
        let checkpoint = checkpoint(&dir).expect("good");
        let ids = checkpoint.generation_config().eos_token_ids.clone();
        fs::remove_dir_all(&dir).expect("removed");
        ids
    };
    assert_eq!(ends(&llama, None), [2]);
    assert_eq!(ends(&llama, Some("{\"eos_token_id\": [9, 5]}")), [5, 9]);
    assert_eq!(ends(&llama, Some("{}")), [0; 0]);
    llama["eos_token_id"] = serde_json::json!(7);
    assert_eq!(ends(&llama, Some("{\"eos_token_id\": [9, 5]}")), [5, 7, 9]);
}

#[test]
fn keys_of_what_a_model_has_not_have_no_effect() {
    let ignored = |config: &Value, key: &str| {
        let mut findings = Findings::default();
        let map = config.as_object().expect("an object");
        let (_, account) = config::read(map, &mut findings);
        findings.into_result(()).expect("good");
        let found = account.iter().find(|(k, _)| k == key);
        let (_, becomes) = found.unwrap_or_else(|| panic!("{key} is not accounted for"));
        *becomes != config::KeyUse::Used
    };
    let dense = [
        ("domains", Value::Null),
        ("router.layers", json!([])),
        ("scar", Value::Null),
        ("modules", json!({})),
    ];
    let dense = with(&dense);
    for key in [
        "router.score",
        "router.top_k",
        "router.clusters",
        "general_path",
    ] {
        let mut config = dense.clone();
        set(&mut config, "general_path", json!("none"));
        assert!(ignored(&config, key), "{key}");
    }
    assert!(
        !ignored(&dense, "modules"),
        "an empty object is accounted for too"
    );
    assert!(ignored(
        &with(&[("scar.mask", json!("off"))]),
        "router.clusters"
    ));
    assert!(!ignored(&base(), "router.clusters"));
    let off = with(&[
        ("modules", json!({"kind": "off"})),
        ("router.renormalize", json!(true)),
    ]);
    assert!(ignored(&off, "router.renormalize"));
    let only = [
        ("router.layers", json!("all")),
        ("general_path", json!("none")),
        ("modules", json!({"kind": "lora", "rank": 2})),
    ];
    for key in ["intermediate_size", "hidden_act", "mlp_gated"] {
        assert!(ignored(&with(&only), key), "{key}");
        assert!(!ignored(&base(), key), "{key}");
    }
}
