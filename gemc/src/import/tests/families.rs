//! Configs of every public family: what is refused, and in which words.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use super::made;
use crate::graph::Task;
use crate::import::config::KeyUse;
use crate::import::{FRONT_ENDS, Findings, Source, TensorUse, checkpoint, front_end};
use crate::inspect;
use crate::progress::Silent;
use crate::synth::synth;
use crate::tensors::TensorSource as _;
use crate::typing;

/// A small config of every family but GEM.
pub fn family_configs() -> Vec<Value> {
    FRONT_ENDS
        .iter()
        .filter(|front| front.model_type != "gem")
        .map(|front| config(front.model_type))
        .collect()
}

/// A small config.
fn config(model_type: &str) -> Value {
    let mut config = json!({
        "model_type": model_type, "vocab_size": 40, "hidden_size": 32, "intermediate_size": 48,
        "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 32,
    });
    let more = match model_type {
        "distilbert" => json!({"dim": 32, "hidden_dim": 48, "n_layers": 2, "n_heads": 4,
            "architectures": ["DistilBertForSequenceClassification"]}),
        "bert" | "roberta" | "xlm-roberta" | "modernbert" => {
            json!({"architectures": ["BertForSequenceClassification"]})
        }
        "mixtral" | "granitemoe" => json!({"num_local_experts": 4}),
        "granitemoeshared" => json!({"num_local_experts": 4, "shared_intermediate_size": 16}),
        "granitemoehybrid" => json!({"num_local_experts": 4, "shared_intermediate_size": 16,
            "layer_types": ["attention", "attention"]}),
        "qwen2_moe" | "qwen3_moe" | "olmoe" => {
            json!({"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 0})
        }
        "lfm2" => {
            json!({"layer_types": ["conv", "full_attention"], "block_auto_adjust_ff_dim": false})
        }
        "lfm2_moe" => json!({"layer_types": ["conv", "full_attention"], "num_experts": 4,
            "num_experts_per_tok": 2, "moe_intermediate_size": 16, "num_dense_layers": 1}),
        "gpt_oss" => json!({"num_local_experts": 4, "head_dim": 8, "sliding_window": 4,
            "rope_parameters": {"rope_type": "default", "rope_theta": 500.0}}),
        "gemma2" | "gemma3_text" => json!({"head_dim": 8}),
        _ => json!({}),
    };
    let encoder = more.get("architectures").is_some();
    let map = config.as_object_mut().expect("an object");
    map.extend(more.as_object().expect("an object").clone());
    if !encoder {
        map.insert("num_key_value_heads".to_owned(), json!(2));
    }
    if model_type.starts_with("qwen") && model_type.ends_with("moe") {
        map.insert("moe_intermediate_size".to_owned(), json!(16));
        map.insert("shared_expert_intermediate_size".to_owned(), json!(16));
    }
    if model_type == "qwen3_moe" {
        map.remove("shared_expert_intermediate_size");
    }
    config
}

/// What is said of a config without files.
fn told(config: &Value) -> String {
    let map = config.as_object().expect("an object");
    let mut findings = Findings::default();
    match front_end(map) {
        Err(finding) => findings.push(finding),
        Ok(front) => drop((front.build)(&mut Source::of_config(map), &mut findings)),
    }
    findings
        .into_result(())
        .err()
        .map_or(String::new(), |error| error.to_string())
}

fn with(model_type: &str, key: &str, value: Value) -> Value {
    let mut config = config(model_type);
    config[key] = value;
    config
}

#[test]
fn every_family_has_a_graph_with_types() {
    for config in family_configs() {
        assert_eq!(told(&config), "", "{config}");
        let map = config.as_object().expect("an object");
        let front = front_end(map).expect("a family");
        let built = (front.build)(&mut Source::of_config(map), &mut Findings::default());
        let graph = built.expect("a graph").graph;
        assert_ne!(graph.facts().task, Task::Embedding);
        typing::infer(graph).expect("types");
    }
}

/// What a person is told of a model of each family.
#[test]
fn every_family_is_described() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let mut told = String::new();
    for config in family_configs() {
        let dir = made(root.path(), &config);
        let checkpoint = checkpoint(&dir).expect("good");
        let report = inspect::report(&checkpoint).expect("no texts");
        assert_eq!(config["model_type"], report.family);
        assert!(report.footprint.active > 0 && report.footprint.active <= report.parameters);
        let _ = writeln!(told, "{report}");
        std::fs::remove_dir_all(dir).expect("ours");
    }
    insta::assert_snapshot!("families", told);
}

/// A factor that is null is none, and rounds nothing up.
#[test]
fn lfm2_has_a_width_without_a_factor() {
    let mut config = with("lfm2", "block_auto_adjust_ff_dim", json!(true));
    config["block_ffn_dim_multiplier"] = Value::Null;
    assert_eq!(told(&config), "");
}

#[test]
fn keys_that_change_what_others_compute_are_refused_by_name() {
    for config in family_configs() {
        let name = config["model_type"].as_str().expect("a name");
        for (key, value) in [
            ("kv_lora_rank", json!(16)),
            ("alibi", json!(true)),
            ("attn_output_gate", json!(true)),
            ("moe_layer_freq", json!(2)),
            ("n_routed_experts", json!(4)),
            ("rope_interleaved", json!(true)),
            ("depth_multiplier", json!(2.0)),
            ("router_logit_softcapping", json!(3.0)),
            ("quantization_config", json!({"quant_method": "awq"})),
            ("is_encoder_decoder", json!(true)),
            ("model_type", json!("deepseek_v3")),
        ] {
            let found = told(&with(name, key, value));
            assert!(
                found.contains(&format!("`{key}`")),
                "{name}, {key}: {found}"
            );
        }
        // What says that there is nothing special passes, and so does what has no meaning.
        for (key, value) in [
            ("kv_lora_rank", json!(null)),
            ("alibi", json!(false)),
            ("depth_multiplier", json!(0)),
            ("note_of_somebody", json!({"a": 1})),
        ] {
            assert_eq!(told(&with(name, key, value)), "", "{name}, {key}");
        }
    }
}

#[test]
fn of_a_model_with_pictures_the_text_part_is_read() {
    let text = config("gemma3_text");
    let whole = json!({
        "model_type": "gemma3", "architectures": ["Gemma3ForConditionalGeneration"], "eos_token_id": [1, 7],
        "vision_config": {"hidden_size": 8}, "mm_tokens_per_image": 4, "text_config": text,
    });
    for prefixes in [
        ["language_model.model.", "vision_tower.x"],
        ["model.language_model.", "model.vision_tower.x"],
    ] {
        let root = tempfile::tempdir().expect("a temporary folder");
        let plain = root.path().join("text.json");
        std::fs::write(&plain, text.to_string()).expect("space");
        let (one, other) = (root.path().join("one"), root.path().join("other"));
        synth(&plain, &one, 3, &Silent).expect("a good config");
        copy_renamed(&one, &other, prefixes);
        std::fs::write(other.join("config.json"), whole.to_string()).expect("space");
        let (one, other) = (
            checkpoint(&one).expect("good"),
            checkpoint(&other).expect("good"),
        );
        for (id, tensor) in one.graph().tensors() {
            assert_eq!(other.graph().tensor(id).path, tensor.path);
            assert_eq!(
                one.weights().digest(id),
                other.weights().digest(id),
                "{}",
                tensor.path
            );
        }
        let account = other.account();
        let dropped = |(name, what): &(String, TensorUse)| {
            name.ends_with("vision_tower.x") && matches!(what, TensorUse::Dropped(_))
        };
        assert!(account.tensors.iter().any(dropped));
        let of = |key: &str| {
            account
                .keys
                .iter()
                .find(|(known, _)| known == key)
                .map(|(_, becomes)| becomes.clone())
        };
        assert_eq!(of("text_config.hidden_size"), Some(KeyUse::Used));
        assert_eq!(of("eos_token_id"), Some(KeyUse::Used));
        assert!(matches!(of("vision_config"), Some(KeyUse::Ignored(_))));
        assert_eq!(other.generation_config().eos_token_ids, [1, 7]);
    }
}

/// The same tensors under the names of a part, and one of another part.
fn copy_renamed(from: &Path, to: &Path, [prefix, tower]: [&str; 2]) {
    let bytes = std::fs::read(from.join("model.safetensors")).expect("written");
    let tensors = safetensors::SafeTensors::deserialize(&bytes).expect("good");
    let mut renamed: Vec<(String, safetensors::tensor::TensorView<'_>)> = tensors
        .tensors()
        .into_iter()
        .map(|(name, view)| (name.replacen("model.", prefix, 1), view))
        .collect();
    let tower_view = renamed[0].1.clone();
    renamed.push((tower.to_owned(), tower_view));
    std::fs::create_dir(to).expect("space");
    let file = to.join("model.safetensors");
    safetensors::serialize_to_file(renamed, None, &file).expect("space");
}

#[test]
fn wrong_values_are_told_with_what_is_allowed() {
    for (name, key, value, words) in [
        ("llama", "num_key_value_heads", json!(3), "a divisor of"),
        ("llama", "hidden_act", json!("swiglu"), "\"silu\""),
        ("llama", "rms_norm_eps", json!(null), "rms_norm_eps"),
        (
            "llama",
            "architectures",
            json!(["LlamaForTokenClassification"]),
            "ForCausalLM",
        ),
        (
            "llama",
            "rope_scaling",
            json!({"type": "longrope", "factor": 2.0}),
            "no such rule",
        ),
        (
            "llama",
            "rope_scaling",
            json!({"type": "llama3", "factor": 8.0}),
            "low_freq_factor",
        ),
        (
            "llama",
            "rope_parameters",
            json!({"rope_type": "spiral"}),
            "\"yarn\"",
        ),
        (
            "qwen2",
            "layer_types",
            json!(["full_attention"]),
            "each of 2 layers",
        ),
        (
            "qwen2",
            "layer_types",
            json!(["sliding_attention", "full_attention"]),
            "no window is used",
        ),
        ("mistral", "sliding_window", json!(0), "1..="),
        (
            "mixtral",
            "num_experts_per_tok",
            json!(5),
            "1 to `num_local_experts` = 4",
        ),
        ("mixtral", "num_local_experts", json!(5000), "0..=1024"),
        ("olmoe", "clip_qkv", json!(8.0), "clip_qkv"),
        (
            "qwen2_moe",
            "mlp_only_layers",
            json!("all"),
            "a list of layers",
        ),
        (
            "granitemoehybrid",
            "layer_types",
            json!(["attention", "mamba"]),
            "state-space",
        ),
        (
            "phi3",
            "rope_parameters",
            json!({"rope_type": "longrope", "short_factor": [1.0], "long_factor": [1.0]}),
            "a list of 4",
        ),
        ("gemma3_text", "sliding_window", json!(null), "layers slide"),
        (
            "gemma2",
            "use_bidirectional_attention",
            json!(true),
            "later positions",
        ),
        (
            "bert",
            "position_embedding_type",
            json!("relative_key"),
            "\"absolute\"",
        ),
        (
            "bert",
            "architectures",
            json!(["BertModel"]),
            "modules.json",
        ),
        ("bert", "is_decoder", json!(true), "decoders"),
        (
            "roberta",
            "pad_token_id",
            json!(31),
            "positions begin behind",
        ),
        ("modernbert", "classifier_pooling", json!("max"), "\"mean\""),
        ("smollm3", "no_rope_layers", json!([0, 2]), "1 rotates"),
    ] {
        let found = told(&with(name, key, value));
        assert!(found.contains(words), "{name}, {key}: {found}");
    }
    // Null is told from absent where it means something.
    for (name, key) in [
        ("mistral", "sliding_window"),
        ("llama", "num_key_value_heads"),
        ("gemma2", "attn_logit_softcapping"),
        ("qwen3", "eos_token_id"),
    ] {
        assert_eq!(told(&with(name, key, Value::Null)), "", "{name}, {key}");
    }
}

#[test]
fn missing_and_odd_tensors_are_told_of_every_family() {
    let root = tempfile::tempdir().expect("a temporary folder");
    for config in family_configs() {
        let name = config["model_type"].as_str().expect("a name");
        let own = root.path().join(name);
        std::fs::create_dir(&own).expect("a folder");
        let dir = made(&own, &config);
        checkpoint(&dir).expect("as it was made");
        // More layers than there are, and another width.
        let (layers, width) = match name {
            "distilbert" => ("n_layers", "hidden_dim"),
            "qwen3_moe" | "qwen2_moe" => ("num_hidden_layers", "moe_intermediate_size"),
            _ => ("num_hidden_layers", "intermediate_size"),
        };
        for (key, value, words) in [
            (layers, 3, "is missing; expected shape"),
            (width, 44, "has shape"),
        ] {
            let mut other = config.clone();
            other[key] = json!(value);
            if key == layers {
                other["layer_types"] = layer_types(name, 3);
            }
            let told = damaged(&dir, &other);
            assert!(told.contains(words), "{name}, {key}: {told}");
        }
        let fewer = with_one_layer(&config, layers, name);
        let told = damaged(&dir, &fewer);
        assert!(
            told.contains("is surplus") || told.is_empty(),
            "{name}: {told}"
        );
    }
}

/// Where a family needs to be told.
fn layer_types(name: &str, layers: usize) -> Value {
    match name {
        "granitemoehybrid" => json!(vec!["attention"; layers]),
        "lfm2" | "lfm2_moe" => json!(vec!["conv"; layers]),
        _ => Value::Null,
    }
}

fn with_one_layer(config: &Value, layers: &str, name: &str) -> Value {
    let mut fewer = config.clone();
    fewer[layers] = json!(1);
    fewer["layer_types"] = layer_types(name, 1);
    fewer
}

/// What is said of a checkpoint with another config.
fn damaged(dir: &Path, config: &Value) -> String {
    std::fs::write(dir.join("config.json"), config.to_string()).expect("written");
    checkpoint(dir)
        .err()
        .map_or(String::new(), |error| error.to_string())
}
