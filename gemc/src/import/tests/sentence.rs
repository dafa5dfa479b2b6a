//! Files of sentence-transformers beside a decoder: what is read, and what is said of wrong ones.

use std::fs;
use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};

use super::made;
use crate::graph::{Op, Pooling, Task};
use crate::import::checkpoint;

/// Width of rows.
const WIDTH: usize = 32;

fn config() -> Value {
    json!({"model_type": "qwen3", "vocab_size": 40, "hidden_size": WIDTH, "intermediate_size": 48,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
        "max_position_embeddings": 64, "architectures": ["Qwen3ForCausalLM"]})
}

/// A decoder with pooling and a map from its rows to 5 columns.
fn encoder(root: &Path) -> std::path::PathBuf {
    let dir = made(root, &config());
    let modules = ["Transformer", "Pooling", "Dense", "Normalize"];
    let modules = modules.iter().enumerate().map(|(i, kind)| {
        let path = if i == 0 {
            String::new()
        } else {
            format!("{i}_{kind}")
        };
        json!({"idx": i, "path": path, "type": format!("sentence_transformers.models.{kind}")})
    });
    put(&dir, "modules.json", &json!(modules.collect::<Vec<_>>()));
    put(
        &dir,
        "1_Pooling/config.json",
        &json!({"pooling_mode": ["lasttoken", "mean"]}),
    );
    let dense = json!({"in_features": 2 * WIDTH, "out_features": 5, "bias": true,
        "activation_function": "torch.nn.modules.activation.Tanh"});
    put(&dir, "2_Dense/config.json", &dense);
    weights(&dir, 2 * WIDTH);
    dir
}

fn put(dir: &Path, name: &str, value: &Value) {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    fs::write(path, value.to_string()).expect("written");
}

fn weights(dir: &Path, columns: usize) {
    let bytes = vec![0; 4 * 5 * columns];
    let view = |shape: Vec<usize>, n: usize| {
        TensorView::new(Dtype::F32, shape, &bytes[..4 * n]).expect("a view")
    };
    let tensors = [
        ("linear.weight", view(vec![5, columns], 5 * columns)),
        ("linear.bias", view(vec![5], 5)),
    ];
    let file = safetensors::serialize(tensors, None).expect("serialized");
    fs::write(dir.join("2_Dense/model.safetensors"), file).expect("written");
}

/// What decides how rows are pooled is an input of the model, and part of what it is.
#[test]
fn files_beside_the_config_are_inputs() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let dir = encoder(root.path());
    let read = checkpoint(&dir).expect("read");
    let inputs = read.input_files();
    for name in [
        "modules.json",
        "1_Pooling/config.json",
        "2_Dense/config.json",
        "2_Dense/model.safetensors",
    ] {
        assert!(
            inputs.iter().any(|input| input == name),
            "{name}: {inputs:?}"
        );
    }
    put(
        &dir,
        "1_Pooling/config.json",
        &json!({"pooling_mode": ["cls", "mean"]}),
    );
    let other = checkpoint(&dir).expect("read");
    assert_ne!(read.content_hash(), other.content_hash());
    put(
        &dir,
        "sentence_bert_config.json",
        &json!({"do_lower_case": true}),
    );
    let told = checkpoint(&dir).expect_err("capitals stay").to_string();
    assert!(told.contains("do_lower_case"), "{told}");
}

#[test]
fn a_decoder_beside_modules_is_an_encoder() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let dir = encoder(root.path());
    put(
        &dir,
        "tokenizer_config.json",
        &json!({"model_max_length": 50}),
    );
    let read = checkpoint(&dir).expect("read");
    let graph = read.graph();
    let facts = graph.facts();
    assert_eq!(
        (facts.task, facts.embedding, facts.max_positions),
        (Task::Embedding, 5, 50)
    );
    let pooled = graph.topo().find_map(|(_, node)| match &node.op {
        Op::SelectOutputs { pooling } => Some(pooling.clone()),
        _ => None,
    });
    assert_eq!(pooled, Some(vec![Pooling::Last, Pooling::Mean]));
    crate::typing::infer(graph.clone()).expect("types");
    put(
        &dir,
        "sentence_bert_config.json",
        &json!({"max_seq_length": 20}),
    );
    assert_eq!(
        checkpoint(&dir)
            .expect("read")
            .graph()
            .facts()
            .max_positions,
        20
    );
}

#[test]
fn wrong_files_are_told_by_name() {
    type Damage = fn(&Path);
    let cases: &[(Damage, &[&str])] = &[
        (|d| put(d, "modules.json", &json!({})), &["modules.json"]),
        (
            |d| {
                put(
                    d,
                    "modules.json",
                    &json!([{"path": "", "type": "x.CLIPModel"}]),
                )
            },
            &["modules.json", "CLIPModel", "Transformer, Pooling"],
        ),
        (
            |d| {
                put(
                    d,
                    "modules.json",
                    &json!([{"path": "../../etc", "type": "x.Pooling"}]),
                )
            },
            &["names of folders beside it"],
        ),
        (
            |d| fs::remove_file(d.join("1_Pooling/config.json")).expect("there"),
            &["1_Pooling, which has no config.json"],
        ),
        (
            |d| {
                put(
                    d,
                    "1_Pooling/config.json",
                    &json!({"pooling_mode": "median"}),
                )
            },
            &["1_Pooling/config.json", "median"],
        ),
        (
            |d| put(d, "1_Pooling/config.json", &json!({"pooling_mode": "mean"})),
            &["2_Dense/config.json", "in_features", "32"],
        ),
        (
            |d| fs::remove_file(d.join("2_Dense/model.safetensors")).expect("there"),
            &["2_Dense/model.safetensors", "is missing"],
        ),
        (|d| weights(d, 30), &["2_Dense.linear.weight", "[5, 64]"]),
        (
            |d| {
                put(
                    d,
                    "sentence_bert_config.json",
                    &json!({"max_seq_length": -1}),
                )
            },
            &["sentence_bert_config.json", "max_seq_length"],
        ),
        (
            |d| {
                let mut config = config();
                config["architectures"] = json!(["Qwen3ForTokenClassification"]);
                put(d, "config.json", &config);
            },
            &["architectures", "ForCausalLM"],
        ),
    ];
    for (damage, words) in cases {
        let root = tempfile::tempdir().expect("a temporary folder");
        let dir = encoder(root.path());
        damage(&dir);
        let told = checkpoint(&dir).expect_err("refused").to_string();
        for word in *words {
            assert!(told.contains(word), "{word}: {told}");
        }
    }
}
