//! Checkpoints made on the spot: good ones of many shapes, and one bad one for every way to be bad.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::graph::{Guard, Op, Site};
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
    assert_eq!(c.config().head_dim, 6);
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
    assert!(ignored("eos_token_id") && ignored("attention_dropout") && ignored("torch_dtype"));
    assert!(!ignored("router.top_k") && !ignored("hidden_size"));
    assert_eq!(
        c.tokenizer_path(),
        Some(c.dir().join("tokenizer.json").as_path())
    );
    let (id, tensor) = c
        .graph()
        .tensors()
        .find(|(_, t)| t.path.ends_with("1.router.weight"))
        .expect("routed");
    assert_eq!(tensor.shape, [3, 24]);
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

/// Every combination of the keys that decide which nodes and tensors exist.
#[test]
fn every_legal_combination_has_a_well_typed_graph_of_exactly_its_tensors() {
    let mut count = 0;
    for layers in [json!([]), json!([1]), json!("all"), json!("final")] {
        for general in ["always", "fallback", "none"] {
            for kind in ["mlp", "lora", "off"] {
                for mask in ["cluster_or_flag", "off"] {
                    for variant in 0..8 {
                        let routed = layers != json!([]);
                        if !routed && (kind != "off" || mask != "off") {
                            continue;
                        }
                        let config = combination(&layers, general, kind, mask, variant);
                        check_graph(&config);
                        count += 1;
                    }
                }
            }
        }
    }
    assert_eq!(count, 8 * 3 * (1 + 3 * 6));
}

fn combination(layers: &Value, general: &str, kind: &str, mask: &str, variant: u32) -> Value {
    let bit = |b: u32| variant >> b & 1 == 1;
    let mut config = with(&[
        ("router.layers", layers.clone()),
        ("general_path", json!(general)),
        ("modules.kind", json!(kind)),
        ("modules.rank", json!(4)),
        ("scar.mask", json!(mask)),
        ("scar.residual", json!(bit(0))),
        ("router.clusters", json!(if bit(1) { 0 } else { 5 })),
        ("norm_position", json!(if bit(0) { "pre" } else { "post" })),
        ("norm", json!(if bit(1) { "rmsnorm" } else { "layernorm" })),
        (
            "position_embedding",
            json!(if bit(1) { "learned" } else { "rope" }),
        ),
        ("mlp_gated", json!(bit(2))),
        ("mlp_bias", json!(bit(0))),
        ("attention_bias", json!(bit(1))),
        ("qk_norm", json!(bit(2))),
        ("type_vocab_size", json!(variant & 2)),
        ("tie_word_embeddings", json!(bit(2))),
    ]);
    if bit(2) ^ bit(0) {
        set(
            &mut config,
            "architectures",
            json!(["GemForSequenceClassification"]),
        );
        set(&mut config, "num_labels", json!(7));
    }
    if *layers == json!([]) {
        set(&mut config, "domains", json!([]));
        set(&mut config, "router", Value::Null);
        set(&mut config, "scar", Value::Null);
        set(&mut config, "modules", Value::Null);
    }
    config
}

fn check_graph(value: &Value) {
    let mut findings = Findings::default();
    let map = value.as_object().expect("an object");
    let (config, _) = config::read(map, &mut findings);
    findings
        .into_result(())
        .unwrap_or_else(|e| panic!("{e}\n{value}"));
    let config = config.expect("no findings");
    let graph = typing::infer(gem::graph(&config)).unwrap_or_else(|e| panic!("{e}\n{value}"));
    let mut from_graph: Vec<(String, Vec<usize>)> = graph
        .tensors()
        .map(|(_, t)| (t.path.clone(), t.shape.clone()))
        .collect();
    let mut from_table = Vec::new();
    let _ = gem::for_each(&config, &mut |path, shape| {
        from_table.push((path.to_owned(), shape.to_vec()));
        std::ops::ControlFlow::Continue(())
    });
    from_graph.sort();
    from_table.sort();
    assert_eq!(from_graph, from_table, "{value}");
    let guarded = graph
        .topo()
        .any(|(_, n)| matches!(n.guard, Guard::Fallback { .. }));
    let layers = config.router.place.clone();
    let fallback = config.general_path == config::GeneralPath::Fallback;
    assert_eq!(
        guarded,
        fallback && matches!(layers, config::RouterPlace::Layers(_)),
        "{value}"
    );
}

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

type Damage = fn(&Path);

/// A change to a good checkpoint and words of the finding.
fn damages() -> Vec<(&'static str, Damage, &'static [&'static str])> {
    vec![
        (
            "no config",
            |d| remove(d, "config.json"),
            &["config.json", "cannot be read"],
        ),
        (
            "deep config",
            |d| put(d, "config.json", "[".repeat(1 << 20).as_bytes()),
            &["recursion limit"],
        ),
        (
            "NaN in config",
            |d| replace(d, "config.json", "\"threshold\":0.3", "\"threshold\":NaN"),
            &["no NaN"],
        ),
        (
            "twice",
            |d| replace(d, "config.json", "{", "{\"norm\":\"rmsnorm\","),
            &["\\\"norm\\\" appears twice"],
        ),
        (
            "no tensors",
            |d| remove(d, "model.safetensors"),
            &["neither model.safetensors nor"],
        ),
        (
            "empty tensors",
            |d| put(d, "model.safetensors", b""),
            &["model.safetensors", "truncated"],
        ),
        (
            "short tensors",
            |d| cut(d, 100),
            &["model.safetensors", "truncated"],
        ),
        (
            "cut data",
            |d| cut(d, 20_000),
            &["out of the file's", "truncated"],
        ),
        (
            "huge header",
            |d| patch(d, 0, &u64::MAX.to_le_bytes()),
            &["oversized"],
        ),
        (
            "surplus bytes",
            append,
            &["oversized", "after the last tensor"],
        ),
        (
            "missing",
            |d| replace(d, "model.safetensors", "1.scar.out.bias", "1.scar.out.bogu"),
            &["1.scar.out.bias", "missing", "[24]"],
        ),
        (
            "surplus",
            |d| replace(d, "model.safetensors", "1.scar.out.bias", "1.scar.out.bogu"),
            &["1.scar.out.bogu", "surplus"],
        ),
        (
            "type",
            |d| replace(d, "model.safetensors", "\"BF16\"", "\"Q4_0\""),
            &["model.safetensors", "Q4_0"],
        ),
        (
            "wrong type",
            |d| {
                replace(
                    d,
                    "model.safetensors",
                    "\"dtype\":\"BF16\",\"shape\":[300,24]",
                    "\"dtype\":\"U16\",\"shape\": [300,24]",
                )
            },
            &["embed_tokens.weight", "U16", "F32, F16 or BF16"],
        ),
        (
            "shape",
            |d| replace(d, "model.safetensors", "[300,24]", "[24,300]"),
            &["embed_tokens.weight", "[24, 300]", "[300, 24]"],
        ),
        (
            "NaN",
            |d| poison(d, [0xc0, 0x7f]),
            &["lm_head.weight", "NaN", "[299, 23]"],
        ),
        (
            "infinity",
            |d| poison(d, [0x80, 0xff]),
            &["lm_head.weight", "-inf", "[299, 23]"],
        ),
        (
            "index beside",
            |d| put(d, "model.safetensors.index.json", b"{}"),
            &["stands beside"],
        ),
        (
            "ids",
            |d| {
                replace(
                    d,
                    "tokenizer.json",
                    "\"<|filler_299|>\":299",
                    "\"<|filler_299|>\":300",
                )
            },
            &["tokenizer.json", "filler_299", "id 300", "300"],
        ),
        (
            "tokenizer",
            |d| put(d, "tokenizer.json", b"{\"model\":"),
            &["tokenizer.json", "not valid JSON"],
        ),
        (
            "template",
            |d| put(d, "tokenizer_config.json", b"{\"chat_template\": 3}"),
            &["chat_template", "found 3"],
        ),
        (
            "eos",
            |d| put(d, "generation_config.json", b"{\"eos_token_id\": [2, 300]}"),
            &["eos_token_id", "300"],
        ),
        (
            "top_p",
            |d| put(d, "generation_config.json", b"{\"top_p\": 7}"),
            &["top_p", "found 7"],
        ),
    ]
}

fn put(dir: &Path, name: &str, bytes: &[u8]) {
    fs::write(dir.join(name), bytes).expect("written");
}

fn remove(dir: &Path, name: &str) {
    fs::remove_file(dir.join(name)).expect("removed");
}

/// Replaces the first occurrence, which must be of the same length in a safetensors file.
fn replace(dir: &Path, name: &str, from: &str, to: &str) {
    let bytes = fs::read(dir.join(name)).expect("read");
    let at = bytes
        .windows(from.len())
        .position(|w| w == from.as_bytes())
        .expect("occurs");
    let new = [&bytes[..at], to.as_bytes(), &bytes[at + from.len()..]].concat();
    put(dir, name, &new);
}

fn cut(dir: &Path, to: usize) {
    let bytes = fs::read(dir.join("model.safetensors")).expect("read");
    put(dir, "model.safetensors", &bytes[..to]);
}

fn patch(dir: &Path, at: usize, with: &[u8]) {
    let mut bytes = fs::read(dir.join("model.safetensors")).expect("read");
    bytes[at..at + with.len()].copy_from_slice(with);
    put(dir, "model.safetensors", &bytes);
}

fn append(dir: &Path) {
    let mut bytes = fs::read(dir.join("model.safetensors")).expect("read");
    bytes.extend([0; 7]);
    put(dir, "model.safetensors", &bytes);
}

/// The last value of the file is the head's last.
fn poison(dir: &Path, value: [u8; 2]) {
    let length = fs::metadata(dir.join("model.safetensors"))
        .expect("there")
        .len();
    patch(dir, length as usize - 2, &value);
}

#[test]
fn damaged_files_give_one_clear_report() {
    let root = folder();
    let good = made(root.path(), &base());
    for (case, damage, words) in damages() {
        let copy = folder();
        for item in fs::read_dir(&good).expect("listed") {
            let path = item.expect("an item").path();
            fs::copy(&path, copy.path().join(path.file_name().expect("a name"))).expect("copied");
        }
        damage(copy.path());
        expect_finding(copy.path(), case, words);
    }
    expect_finding(
        &root.path().join("absent"),
        "no folder",
        &["absent", "is no folder"],
    );
    expect_finding(&good.join("config.json"), "a file", &["is no folder"]);
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
    put(&dir, "model.safetensors", &bytes);
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
