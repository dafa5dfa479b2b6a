//! `gemc plan` and `gemc explain` as processes, on a small random model: what is written, what a build makes of it, and
//! what is said of texts, budgets and plans that do not do.
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
  "domains": ["law", "tales"],
  "router": {"layers": "all", "score": "softmax", "top_k": 1, "threshold": 0.1, "renormalize": false, "clusters": 0, "bias": false},
  "modules": {"kind": "mlp", "intermediate_size": 32}, "general_path": "always", "torch_dtype": "bfloat16"
}"#;

/// A checkpoint with calibration and evaluation text, made once.
fn checkpoint() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("planned-model");
        let _ = fs::remove_dir_all(&dir);
        let config = Path::new(env!("CARGO_TARGET_TMPDIR")).join("planned-config.json");
        fs::write(&config, CONFIG).expect("written");
        let made = gemc(&["synth", text(&config), "-o", text(&dir)]);
        assert!(made.status.success(), "{}", told(&made));
        for split in ["calibration", "evaluation"] {
            fs::create_dir(dir.join(split)).expect("a folder");
            for domain in ["law", "tales"] {
                fs::write(
                    dir.join(split).join(format!("{domain}.jsonl")),
                    lines(domain, 8),
                )
                .expect("written");
            }
        }
        dir
    })
}

fn lines(domain: &str, count: usize) -> String {
    (0..count)
        .map(|i| {
            let words: Vec<String> = (0..40)
                .map(|w| format!("{domain} {} {}", (w * 7 + i) % 13, w % 5))
                .collect();
            format!("{{\"text\": \"{}\"}}\n", words.join(" "))
        })
        .collect()
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

fn plan(arguments: &[&str]) -> Output {
    let mut all = vec!["plan", text(checkpoint())];
    all.extend(arguments);
    gemc(&all)
}

fn refused(arguments: &[&str], code: i32, says: &[&str]) {
    let output = plan(arguments);
    let told = told(&output);
    assert_eq!(output.status.code(), Some(code), "{told}");
    assert!(!told.contains("panicked"), "{told}");
    for words in says {
        assert!(told.contains(words), "{words:?} in {told}");
    }
}

#[test]
fn a_plan_is_written_explained_built_and_verified() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("small.toml");
    let page = dir.path().join("small.html");
    let made = plan(&[
        "--bits",
        "3.5",
        "-o",
        text(&file),
        "--json",
        "--report",
        text(&page),
    ]);
    assert!(made.status.success(), "{}", told(&made));
    let json: serde_json::Value = serde_json::from_slice(&made.stdout).expect("one value");
    assert!(
        json["bits_per_weight"]
            .as_f64()
            .is_some_and(|b| b <= 3.5 && b > 3.0),
        "{json}"
    );
    assert!(dir.path().join("small.codes").is_file());
    let tokens = json["routes"]["texts"]["law"].as_u64();
    assert!(tokens.is_some_and(|n| n > 0), "{json}");
    let html = fs::read_to_string(&page).expect("a page");
    for part in ["<svg", "model.layers.1.modules.0.", "law", "3.5"] {
        assert!(html.contains(part), "{part} in the page");
    }
    let again = dir.path().join("again.toml");
    assert!(
        plan(&["--bits", "3.5", "-o", text(&again)])
            .status
            .success()
    );
    assert_eq!(
        fs::read(&file).expect("read"),
        fs::read(&again).expect("read"),
        "the same bytes"
    );

    let explained = gemc(&["explain", text(&file), "embed"]);
    let shown = String::from_utf8_lossy(&explained.stdout).into_owned();
    assert!(
        shown.contains("model.embed_tokens") && shown.contains("nats for"),
        "{shown}"
    );
    let unknown = gemc(&["explain", text(&file), "nothing"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(
        told(&unknown).contains("model.embed_tokens"),
        "{}",
        told(&unknown)
    );

    let verify = |backend: &str| -> f64 {
        let output = gemc(&[
            "verify",
            text(checkpoint()),
            "--plan",
            text(&file),
            "--backend",
            backend,
            "--routing",
            "reference",
            "--tokens",
            "512",
            "--json",
        ]);
        assert!(output.status.success(), "{}", told(&output));
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one value");
        json["kl_mean"].as_f64().expect("a number")
    };
    let (fake, jit) = (verify("fake"), verify("jit"));
    assert!((fake / jit - 1.0).abs() < 0.2, "{fake} {jit}");

    let out = dir.path().join("crate");
    let built = gemc(&[
        "build",
        text(checkpoint()),
        "--plan",
        text(&file),
        "-o",
        text(&out),
    ]);
    assert!(built.status.success(), "{}", told(&built));
    let both = gemc(&[
        "build",
        text(checkpoint()),
        "--plan",
        text(&file),
        "--bits",
        "8.25",
        "-o",
        text(&out),
    ]);
    assert_eq!(both.status.code(), Some(2), "{}", told(&both));
}

#[test]
fn activations_are_in_the_plan_and_what_runs_follows_them() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("wide.toml");
    let arguments = [
        "--effort",
        "low",
        "--activations",
        "int8-256",
        "-o",
        text(&file),
    ];
    let made = plan(&arguments);
    assert!(made.status.success(), "{}", told(&made));
    let explained = gemc(&["explain", text(&file), "down"]);
    let shown = String::from_utf8_lossy(&explained.stdout).into_owned();
    assert!(
        shown.contains("activations in int8-256") && shown.contains("rounded"),
        "{shown}"
    );
    let logits = |plan: &Path, backend: &str| {
        let output = gemc(&[
            "logits",
            text(checkpoint()),
            "--ids",
            "1,2,7",
            "--backend",
            backend,
            "--plan",
            text(plan),
            "--json",
        ]);
        assert!(output.status.success(), "{}", told(&output));
        output.stdout
    };
    assert_eq!(logits(&file, "jit"), logits(&file, "interp"));
    let written = fs::read_to_string(&file).expect("read");
    let narrow = dir.path().join("narrow.toml");
    fs::write(&narrow, written.replace("activations = \"int8-256\"\n", "")).expect("written");
    fs::copy(file.with_extension("codes"), narrow.with_extension("codes")).expect("copied");
    assert_ne!(
        logits(&file, "jit"),
        logits(&narrow, "jit"),
        "rounded another way"
    );

    let edited = dir.path().join("edited.toml");
    fs::copy(file.with_extension("codes"), edited.with_extension("codes")).expect("copied");
    let run = |from: &str, to: &str, says: &[&str]| {
        fs::write(&edited, written.replacen(from, to, 1)).expect("written");
        let output = gemc(&[
            "build",
            text(checkpoint()),
            "--plan",
            text(&edited),
            "-o",
            text(&dir.path().join("out")),
        ]);
        assert_eq!(output.status.code(), Some(1), "{}", told(&output));
        for words in says {
            assert!(
                told(&output).contains(words),
                "{words} in {}",
                told(&output)
            );
        }
    };
    run(
        "activations = \"int8-256\"",
        "activations = \"int4\"",
        &["int4", "int8, int8-256, int16", "edited.toml"],
    );
    let name = "name = \"model.layers.0.modules.0.down_proj\"\nformat = ";
    let at = written.find(name).expect("a unit") + name.len();
    let line = written[at..]
        .lines()
        .nth(1)
        .expect("the line after the format");
    assert_eq!(line, "activations = \"int8-256\"");
    let unit = &written[at - name.len()..][..name.len() + 20];
    run(
        unit,
        &unit.replace("activations", "# "),
        &["same rows", "model.layers.0.modules.1.down_proj"],
    );

    for (rule, code, says) in [
        ("64", 2, "REGEX="),
        ("x(=int16", 2, "x("),
        ("nothing=int8", 2, "nothing"),
        ("modules.0.down=int16", 2, "same rows"),
    ] {
        let output = plan(&["--activations", rule, "-o", text(&edited)]);
        assert_eq!(output.status.code(), Some(code), "{}", told(&output));
        assert!(told(&output).contains(says), "{}", told(&output));
    }
}

#[test]
fn plans_of_other_checkpoints_and_lost_codes_are_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("p.toml");
    assert!(
        plan(&["--effort", "low", "-o", text(&file)])
            .status
            .success()
    );
    let other = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../examples/checkpoints/lm-dense-pre-rope"
    );
    let run = |checkpoint: &str| {
        gemc(&[
            "logits",
            checkpoint,
            "--ids",
            "1,2",
            "--backend",
            "jit",
            "--plan",
            text(&file),
            "--json",
        ])
    };
    assert!(run(text(checkpoint())).status.success());
    let output = run(other);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        told(&output).contains("another checkpoint"),
        "{}",
        told(&output)
    );
    let codes = dir.path().join("p.codes");
    let whole = fs::read(&codes).expect("read");
    fs::write(&codes, &whole[..whole.len() / 2]).expect("written");
    let output = run(text(checkpoint()));
    assert_eq!(output.status.code(), Some(1));
    assert!(told(&output).contains("p.codes"), "{}", told(&output));
    fs::remove_file(&codes).expect("removed");
    let output = run(text(checkpoint()));
    assert!(told(&output).contains("gemc plan"), "{}", told(&output));
}

#[test]
fn texts_that_do_not_do_are_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let out = dir.path().join("plan.toml");
    let folder = |name: &str, files: &[(&str, &[u8])]| -> PathBuf {
        let folder = dir.path().join(name);
        fs::create_dir(&folder).expect("a folder");
        for (file, bytes) in files {
            fs::write(folder.join(file), bytes).expect("written");
        }
        folder
    };
    let with = |folder: &Path, says: &[&str]| {
        refused(&["--calib", text(folder), "-o", text(&out)], 1, says)
    };
    with(&dir.path().join("nowhere"), &["nowhere"]);
    with(
        &folder("empty", &[]),
        &["to calibrate with", "<domain>.jsonl"],
    );
    with(
        &folder("hollow", &[("law.jsonl", b"{\"text\": \"\"}\n")]),
        &["to calibrate with"],
    );
    with(
        &folder("bytes", &[("law.jsonl", b"{\"text\": \"\xff\xfe\"}\n")]),
        &["law.jsonl"],
    );
    with(
        &folder("words", &[("law.jsonl", b"not json\n")]),
        &["law.jsonl"],
    );
    with(
        &folder("one", &[("law.jsonl", lines("law", 1).as_bytes())]),
        &["too few"],
    );
    let short = b"{\"text\": \"law\"}\n{\"text\": \"and\"}\n{\"text\": \"so\"}\n";
    with(
        &folder("short", &[("law.jsonl", short)]),
        &["too short", "modules."],
    );
    refused(
        &["--domains", "law,opera", "-o", text(&out)],
        2,
        &["opera", "law, tales"],
    );
    refused(&["--bits", "1.9", "-o", text(&out)], 2, &["2.25"]);
    refused(&["--size", "2K", "-o", text(&out)], 2, &["smallest"]);
    assert!(!out.exists(), "nothing was written");
    let usage = plan(&["--override", "x=Q8", "-o", text(&out)]);
    assert_eq!(usage.status.code(), Some(2));
    assert!(told(&usage).contains("B8"), "{}", told(&usage));
    let single = folder("single", &[("law.jsonl", lines("law", 8).as_bytes())]);
    let warned = plan(&["--calib", text(&single), "-o", text(&out)]);
    assert!(told(&warned).contains("one domain"), "{}", told(&warned));
}

#[test]
fn run_takes_the_plan_made_last_as_long_as_it_fits() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("planned-and-run");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder");
    let (model, file, cache) = (
        folder.join("model"),
        folder.join("plan.toml"),
        folder.join("cache"),
    );
    copy(checkpoint(), &model);
    let gemc = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gemc"));
        command.env("GEMC_CACHE", &cache).args(arguments);
        command.output().expect("it starts")
    };
    let run = |more: &[&str]| {
        let mut all = vec![
            "run",
            text(&model),
            "--prompt",
            "law",
            "-n",
            "2",
            "--temp",
            "0",
        ];
        all.extend(more);
        let output = gemc(&all);
        assert!(output.status.success(), "{}", told(&output));
        (told(&output), output.stdout)
    };
    assert!(run(&[]).0.contains("uniform 4.25 bits"));
    let planned = gemc(&[
        "plan",
        text(&model),
        "--bits",
        "5",
        "--effort",
        "low",
        "-o",
        text(&file),
    ]);
    assert!(planned.status.success(), "{}", told(&planned));
    let (says, found) = run(&[]);
    assert!(says.contains("the plan made last"), "{says}");
    assert_eq!(found, run(&["--plan", text(&file)]).1);
    assert!(run(&["--bits", "8.25"]).0.contains("uniform 8.25 bits"));
    // Another model in the same place: the plan is not for it.
    let config = folder.join("config.json");
    fs::write(&config, CONFIG).expect("written");
    fs::remove_dir_all(&model).expect("it was there");
    let made = gemc(&["synth", text(&config), "--seed", "7", "-o", text(&model)]);
    assert!(made.status.success(), "{}", told(&made));
    let (says, _) = run(&[]);
    assert!(
        says.contains("not used") && says.contains("another checkpoint"),
        "{says}"
    );
    assert!(says.contains("uniform 4.25 bits"), "{says}");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for item in fs::read_dir(from).expect("a folder") {
        let item = item.expect("an item").path();
        let name = to.join(item.file_name().expect("a name"));
        if item.is_dir() {
            copy(&item, &name);
        } else {
            fs::copy(&item, &name).expect("copied");
        }
    }
}

/// Without text and without measuring: what is planned is the last plan, and predicts nothing.
#[test]
fn a_prior_plans_without_text() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("plan.toml");
    let cache = dir.path().join("cache");
    let gemc = |arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_gemc"))
            .args(arguments)
            .env("GEMC_CACHE", &cache)
            .output()
            .expect("it starts")
    };
    let prior = |more: &[&str]| {
        let all = [
            "plan",
            text(checkpoint()),
            "-o",
            text(&file),
            "--effort",
            "prior",
        ];
        gemc(&[&all[..], more].concat())
    };
    for option in [
        &["--prune", "0.1"][..],
        &["--rounding", "plain"],
        &["--latency", "3"],
    ] {
        let refused = prior(option);
        assert_eq!(
            refused.status.code(),
            Some(2),
            "{option:?}: {}",
            told(&refused)
        );
        assert!(told(&refused).contains(option[0]), "{}", told(&refused));
        assert!(!file.exists());
    }
    let made = prior(&["--bits", "3.25", "--json"]);
    assert!(made.status.success(), "{}", told(&made));
    let said: serde_json::Value = serde_json::from_slice(&made.stdout).expect("one value");
    assert!(said.get("predicted_kl").is_none() && said["measured_kl"].is_null());
    assert!(
        said["bits_per_weight"]
            .as_f64()
            .is_some_and(|bits| bits <= 3.25)
    );
    let explained = gemc(&["explain", text(&file)]);
    let explained = String::from_utf8_lossy(&explained.stdout).into_owned();
    assert!(explained.contains("nothing was measured"), "{explained}");
    let ran = gemc(&[
        "run",
        text(checkpoint()),
        "--prompt",
        "law",
        "-n",
        "1",
        "--backend",
        "interp",
    ]);
    assert!(told(&ran).contains("the plan made last"), "{}", told(&ran));
}
