//! `gemc plan --prune`, `gemc inspect --calib` and `gemc explain` as processes, on a small model with a dead layer: what is
//! named and left out, and that programs do without it. And texts for a checkpoint without any.
#![cfg(unix)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

const CONFIG: &str = r#"{
  "model_type": "gem", "gem_version": 1, "architectures": ["GemForCausalLM"], "hidden_size": 64, "num_hidden_layers": 2,
  "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32, "intermediate_size": 64, "vocab_size": 320,
  "max_position_embeddings": 256, "norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": true,
  "hidden_act": "silu", "mlp_gated": true, "norm": "rmsnorm", "norm_position": "pre", "position_embedding": "rope",
  "domains": ["law", "tales", "cookery"],
  "router": {"layers": "all", "score": "softmax", "top_k": 2, "threshold": 0.1, "renormalize": false, "clusters": 0, "bias": false},
  "modules": {"kind": "mlp", "intermediate_size": 32}, "general_path": "always", "torch_dtype": "bfloat16"
}"#;

/// What of layer 1 gives zero.
const DEAD: [&str; 2] = ["model.layers.1.general", "model.layers.1.modules.1"];

/// A checkpoint without texts, made once.
fn checkpoint() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("dead-model");
        let _ = fs::remove_dir_all(&dir);
        let config = Path::new(env!("CARGO_TARGET_TMPDIR")).join("dead-config.json");
        fs::write(&config, CONFIG).expect("written");
        let made = gemc(&["synth", text(&config), "-o", text(&dir)]);
        assert!(made.status.success(), "{}", told(&made));
        let file = dir.join("model.safetensors");
        let mut bytes = fs::read(&file).expect("written");
        let header = u64::from_le_bytes(bytes[..8].try_into().expect("eight")) as usize + 8;
        let tensors: serde_json::Value = serde_json::from_slice(&bytes[8..header]).expect("JSON");
        for branch in DEAD {
            let name = format!("{branch}.down_proj.weight");
            let range = &tensors[&name]["data_offsets"];
            let at = |end: usize| header + range[end].as_u64().expect(&name) as usize;
            bytes[at(0)..at(1)].fill(0);
        }
        fs::write(&file, bytes).expect("written");
        dir
    })
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

fn gemc(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gemc"))
        .args(arguments)
        .output()
        .expect("it starts")
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What a verb prints where it succeeds.
fn said(arguments: &[&str]) -> String {
    let output = gemc(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", told(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn what_is_dead_is_named_left_out_and_done_without() {
    let inspected = said(&["inspect", text(checkpoint()), "--calib"]);
    assert!(
        inspected.contains("measured on packaged default text, SHA-256 "),
        "{inspected}"
    );
    for branch in DEAD {
        let line = inspected.lines().find(|line| line.contains(branch));
        assert!(
            line.is_some_and(|line| line.contains("  dead  ")),
            "{branch}: {inspected}"
        );
    }
    let dead = inspected
        .lines()
        .filter(|line| line.contains("  dead  "))
        .count();
    assert_eq!(dead, DEAD.len(), "{inspected}");

    let dir = tempfile::tempdir().expect("a folder");
    let plan = |name: &str, more: &[&str]| {
        let file = dir.path().join(name);
        let mut all = vec![
            "plan",
            text(checkpoint()),
            "--effort",
            "low",
            "-o",
            text(&file),
        ];
        all.extend(more);
        said(&all);
        (file.clone(), fs::read_to_string(&file).expect("written"))
    };
    let page = dir.path().join("page.html");
    let (whole, before) = plan("whole.toml", &[]);
    let (pruned, after) = plan("pruned.toml", &["--prune", "1e-4", "--report", text(&page)]);
    assert!(
        !before.contains("dead") && before.contains("packaged default text"),
        "{before}"
    );
    let units = |plan: &str| plan.matches("[[unit]]").count();
    assert_eq!(units(&before) - units(&after), 2 * DEAD.len());
    assert_eq!(
        after.matches("dropped = true").count(),
        DEAD.len(),
        "{after}"
    );
    let explained = said(&["explain", text(&pruned)]);
    let html = fs::read_to_string(&page).expect("written");
    for branch in DEAD {
        assert!(!after.contains(&format!("{branch}.down_proj")), "{after}");
        assert!(
            explained.contains(branch) && html.contains(branch),
            "{explained}"
        );
    }
    assert!(html.contains("Dead weight") && explained.contains("left out"));

    // Without them the model is the same, and smaller.
    let compared = |plan: &Path, backend: &str| {
        let out = said(&[
            "verify",
            text(checkpoint()),
            "--plan",
            text(plan),
            "--backend",
            backend,
            "--tokens",
            "300",
            "--json",
        ]);
        let json: serde_json::Value = serde_json::from_str(&out).expect("one value");
        let number = |value: &serde_json::Value| value.as_f64().expect("a number");
        (number(&json["kl_mean"]), number(&json["weight_bytes"]))
    };
    let (kl, bytes) = compared(&whole, "interp");
    let (pruned_kl, pruned_bytes) = compared(&pruned, "interp");
    assert!(pruned_bytes < bytes, "{pruned_bytes} {bytes}");
    assert!(
        (pruned_kl - kl).abs() < 0.2 * kl.max(1e-3),
        "{pruned_kl} {kl}"
    );
    let (machine_kl, _) = compared(&pruned, "jit");
    assert!(
        (machine_kl - pruned_kl).abs() < 1e-9,
        "{machine_kl} {pruned_kl}"
    );
    let answer = said(&[
        "run",
        text(checkpoint()),
        "--plan",
        text(&pruned),
        "--prompt",
        "law",
        "-n",
        "4",
        "--temp",
        "0",
    ]);
    assert!(!answer.is_empty());
}

#[test]
fn plain_text_calibrates_and_is_named() {
    let dir = tempfile::tempdir().expect("a folder");
    let (prose, file) = (dir.path().join("prose.txt"), dir.path().join("plan.toml"));
    let paragraph =
        "It was the best of times, it was the worst of times, it was the age of wisdom. ".repeat(4);
    fs::write(&prose, [paragraph.as_str(); 40].join("\n\n")).expect("written");
    let plan = |calib: &Path| {
        gemc(&[
            "plan",
            text(checkpoint()),
            "--effort",
            "low",
            "-o",
            text(&file),
            "--calib",
            text(calib),
        ])
    };
    let made = plan(&prose);
    assert!(made.status.success(), "{}", told(&made));
    let written = fs::read_to_string(&file).expect("written");
    assert!(
        written.contains("calibration_text = \"prose.txt, given\""),
        "{written}"
    );
    let binary = dir.path().join("data.txt");
    fs::write(&binary, b"\xff\xfa\x00").expect("written");
    for (path, words) in [
        (&binary, "is not UTF-8"),
        (&dir.path().join("gone"), "no folder or file of texts"),
    ] {
        let refused = plan(path);
        assert_eq!(refused.status.code(), Some(1));
        assert!(told(&refused).contains(words), "{}", told(&refused));
    }
}
