//! Checkpoints made on the spot: good ones of many shapes, and one bad one for every way to be bad.

mod damage;
mod families;
mod gguf;
mod keys;
mod quantised;
mod sentence;
mod shapes;

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::*;
pub use families::family_configs;
pub use gguf::small_gguf;

use crate::graph::{Op, Site};
use crate::progress::Silent;
use crate::synth::synth;
use crate::tensors::TensorSource as _;
use crate::typing;

/// A small routed decoder with everything switched on.
pub fn base() -> Value {
    json!({
        "model_type": "gem", "gem_version": 1, "architectures": ["GemForCausalLM"],
        "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "intermediate_size": 20, "vocab_size": 300, "max_position_embeddings": 64,
        "hidden_act": "silu", "mlp_gated": true, "norm": "layernorm", "norm_eps": 1e-5, "norm_position": "pre",
        "position_embedding": "rope", "rope_theta": 10000.0, "rope_scaling": null, "torch_dtype": "bfloat16",
        "domains": ["law", "games", "web"],
        "router": {"layers": [1], "score": "softmax", "top_k": 2, "threshold": 0.3, "clusters": 5, "bias": true},
        "scar": {"layers": "routed", "heads": 3, "mask": "cluster_or_domain", "residual": true},
        "modules": {"kind": "mlp", "intermediate_size": 12},
        "eos_token_id": 2, "attention_dropout": 0.1
    })
}

/// Sets a nested key such as `router.top_k`; null removes it.
pub fn set(config: &mut Value, path: &str, value: Value) {
    let (object, key) = match path.split_once('.') {
        Some((outer, key)) => (&mut config[outer], key),
        None => (config, path),
    };
    let map = object.as_object_mut().expect("an object");
    match value {
        Value::Null => {
            map.remove(key);
        }
        value => {
            map.insert(key.to_owned(), value);
        }
    }
}

fn with(changes: &[(&str, Value)]) -> Value {
    let mut config = base();
    for (path, value) in changes {
        set(&mut config, path, value.clone());
    }
    config
}

/// Writes a random checkpoint of this config to `root/ckpt`.
fn made(root: &Path, config: &Value) -> std::path::PathBuf {
    let (from, to) = (root.join("config.json"), root.join("ckpt"));
    fs::write(&from, config.to_string()).expect("written");
    synth(&from, &to, 1, &Silent).expect("a good config");
    to
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

#[test]
fn a_checkpoint_is_read_and_accounted_for() {
    let root = folder();
    let c = checkpoint(&made(root.path(), &base())).expect("good");
    let wide = c.graph().topo().find_map(|(_, node)| match node.op {
        Op::Attention { head_dim, .. } => Some(head_dim),
        _ => None,
    });
    assert_eq!(wide, Some(6));
    assert!(
        c.account()
            .tensors
            .iter()
            .all(|(_, u)| *u == TensorUse::Used)
    );
    let ignored = |key: &str| {
        c.account()
            .keys
            .iter()
            .any(|(k, u)| k == key && *u != config::KeyUse::Used)
    };
    assert!(ignored("attention_dropout") && ignored("torch_dtype"));
    assert!(!ignored("router.top_k") && !ignored("hidden_size"));
    let files = [
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "config.json",
    ];
    assert_eq!(c.input_files(), files);
    let (id, tensor) = c
        .graph()
        .tensors()
        .find(|(_, t)| t.path.ends_with("1.router.weight"))
        .expect("routed");
    assert_eq!(tensor.shape(), [3, 24]);
    let (mut all, mut row) = (vec![0.0; 72], vec![0.0; 24]);
    c.read_rows(id, 0..3, &mut all);
    c.read_rows(id, 1..2, &mut row);
    assert_eq!(all[24..48], row);
    assert!(all.iter().any(|v| *v != 0.0));
    assert_eq!(c.content_hash().len(), 64);
    assert_eq!(
        c.content_hash(),
        checkpoint(c.dir()).expect("good").content_hash()
    );
}

#[test]
fn routed_nodes_carry_sites_guards_and_inputs_in_order() {
    let root = folder();
    let (graph, _) = checkpoint(&made(root.path(), &base()))
        .expect("good")
        .into_parts();
    let graph = typing::infer(graph).expect("well typed");
    let routers = graph.routers();
    assert_eq!(routers.len(), 1);
    let (routing, site) = routers[0];
    assert_eq!(site, Site::Layer(1));
    let origins = |m: u32| -> Vec<&str> {
        let nodes = graph.module_nodes(routing, m);
        nodes
            .iter()
            .map(|id| graph.node(*id).origin.as_str())
            .collect()
    };
    assert_eq!(
        origins(2),
        ["gate_up", "act", "down_proj"].map(|n| format!("model.layers.1.modules.2.{n}"))
    );
    let (_, combine) = graph
        .topo()
        .find(|(_, n)| matches!(n.op, Op::Combine { base: true }))
        .expect("modules are combined");
    assert_eq!(combine.inputs[0], routing);
    let inputs: Vec<&str> = combine.inputs[1..]
        .iter()
        .map(|i| graph.node(*i).origin.as_str())
        .collect();
    assert_eq!(inputs[0], "model.layers.1.general.down_proj");
    assert_eq!(
        inputs[1..],
        [0, 1, 2].map(|m| format!("model.layers.1.modules.{m}.down_proj"))
    );
    let linear: Vec<&str> = graph
        .topo()
        .filter(|(_, n)| matches!(n.op, Op::Linear { .. }))
        .map(|(_, n)| n.origin.as_str())
        .collect();
    let mut distinct = linear.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(
        linear.len(),
        distinct.len(),
        "origins of linear nodes are unique"
    );
    assert!(
        linear.contains(&"model.layers.0.self_attn.qkv")
            && linear.contains(&"model.layers.1.scar.qkv")
    );
}

/// The error holds a line with all the words, and nothing unprintable.
fn expect_finding(dir: &Path, case: &str, words: &[&str]) {
    let Err(error) = checkpoint(dir) else {
        panic!("{case}: was accepted");
    };
    let text = error.to_string();
    let told = text
        .lines()
        .any(|line| words.iter().all(|w| line.contains(w)));
    assert!(told, "{case}: no line of {text:?} holds all of {words:?}");
    assert!(
        text.lines().all(|l| !l.chars().any(char::is_control)),
        "{text:?}"
    );
}

#[test]
fn a_tied_head_in_the_file_is_dropped_when_it_is_a_copy() {
    let root = folder();
    let dir = made(root.path(), &base());
    let tied = with(&[("tie_word_embeddings", json!(true))]);
    fs::write(dir.join("config.json"), tied.to_string()).expect("written");
    expect_finding(&dir, "another head", &["lm_head.weight", "differs"]);
    // The embedding is the first tensor of the file and the head the last; both have the same size.
    let mut bytes = fs::read(dir.join("model.safetensors")).expect("read");
    let header = u64::from_le_bytes(bytes[..8].try_into().expect("eight")) as usize;
    let (size, end) = (300 * 24 * 2, bytes.len());
    bytes.copy_within(8 + header..8 + header + size, end - size);
    fs::write(dir.join("model.safetensors"), &bytes).expect("written");
    let c = checkpoint(&dir).expect("a copy");
    let dropped: Vec<&String> = c
        .account()
        .tensors
        .iter()
        .filter(|(_, u)| *u != TensorUse::Used)
        .map(|(n, _)| n)
        .collect();
    assert_eq!(dropped, ["lm_head.weight"]);
}

#[test]
fn both_spellings_of_the_rope_keys_mean_the_same() {
    let read = |config: &Value| {
        let mut findings = Findings::default();
        let read = config::read(config.as_object().expect("an object"), &mut findings).0;
        findings
            .into_result(read)
            .expect("good")
            .expect("good")
            .positions
    };
    let scaling = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32});
    let mut parameters = scaling.clone();
    parameters["rope_theta"] = json!(5e5);
    let old = with(&[("rope_theta", json!(5e5)), ("rope_scaling", scaling)]);
    let mut both = old.clone();
    set(&mut both, "rope_parameters", parameters.clone());
    let mut new = base();
    for key in ["rope_theta", "rope_scaling"] {
        set(&mut new, key, Value::Null);
    }
    set(&mut new, "rope_parameters", parameters);
    assert_eq!(read(&old), read(&new));
    assert_eq!(read(&old), read(&both));
    assert_ne!(read(&old), read(&base()));
}

/// The committed checkpoints were written by PyTorch; between them they hold every pair of config values.
#[test]
fn every_committed_checkpoint_is_accepted() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/checkpoints");
    let mut count = 0;
    for item in fs::read_dir(folder).expect("the repository has checkpoints") {
        let dir = item.expect("an item").path();
        if !dir.is_dir() {
            continue;
        }
        let c = checkpoint(&dir).unwrap_or_else(|e| panic!("{}:\n{e}", dir.display()));
        let texts = c.texts(Split::Evaluation).unwrap_or_else(|e| panic!("{e}"));
        assert!(texts.iter().all(|(_, records)| !records.is_empty()));
        let (graph, _) = c.into_parts();
        typing::infer(graph).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
        count += 1;
    }
    assert!(count >= 24, "{count} checkpoints");
}
