//! What somebody can get wrong in a call of `include_model!`, each told in a paragraph under the call.

use std::fs;

use serde_json::Value;

use crate::workspace::{Workspace, ours};

const LM: &str = "lm-dense-pre-learned";

/// Name of the program, arguments of the macro, what is said.
const FAULTS: &[(&str, &str, &[&str])] = &[
    (
        "no_folder",
        r#""../models/none""#,
        &["models/none", "config.json"],
    ),
    (
        "no_string",
        "4.25",
        &["the first argument is the checkpoint's folder, a string"],
    ),
    ("broken_config", r#""../models/broken""#, &["config.json"]),
    ("not_a_number", r#""../models/nan""#, &["NaN"]),
    (
        "another_plan",
        r#""../models/lm-dense-pre-learned", plan = "../models/other.toml""#,
        &["other.toml"],
    ),
    (
        "no_plan",
        r#""../models/lm-dense-pre-learned", plan = "../models/none.toml""#,
        &["none.toml"],
    ),
    (
        "bits",
        r#""../models/lm-dense-pre-learned", bits = 4.5"#,
        &["--bits 4.5: no format of that size", "4.25"],
    ),
    (
        "bits_kind",
        r#""../models/lm-dense-pre-learned", bits = true"#,
        &["`bits` is a number or a name"],
    ),
    (
        "target",
        r#""../models/lm-dense-pre-learned", target = "x86-64-v33""#,
        &["unknown target `x86-64-v33`: did you mean `x86-64-v3`?"],
    ),
    (
        "targets",
        r#""../models/lm-dense-pre-learned", target = ["aarch64", "x86-64-v3"]"#,
        &["different architectures"],
    ),
    (
        "name",
        r#""../models/lm-dense-pre-learned", name = "a-b""#,
        &["`a-b` cannot be the name of a module"],
    ),
    (
        "keyword",
        r#""../models/lm-dense-pre-learned", name = "loop""#,
        &["`loop` cannot be the name of a module"],
    ),
    (
        "unknown",
        r#""../models/lm-dense-pre-learned", bitz = 4"#,
        &["unknown argument `bitz`", "bits, plan, target"],
    ),
    (
        "twice",
        r#""../models/lm-dense-pre-learned", bits = 4.25, bits = 8.25"#,
        &["`bits` is given twice"],
    ),
    (
        "both",
        r#""../models/lm-dense-pre-learned", bits = 4.25, plan = "p.toml""#,
        &["exclude each other"],
    ),
    (
        "weights",
        r#""../models/lm-dense-pre-learned", weights = "none""#,
        &["allowed are \"embed\" and \"file\""],
    ),
    ("family", r#""../models/family""#, &["llama_of_tomorrow"]),
    (
        "embed",
        r#""../models/large", bits = 8.25"#,
        &[
            "at most 16 MB become part of a program",
            "weights = \"file\"",
            "gemc bundle",
        ],
    ),
    (
        "track",
        r#""../models/larger", weights = "file""#,
        &[
            "at most 64 MB are",
            "Use a build script",
            "gemc::Build::new",
        ],
    ),
];

#[test]
fn a_mistake_is_told_under_the_call() {
    let workspace = Workspace::new("apps-faults");
    write_models(&workspace);
    let runtime = ours(
        "gem-runtime",
        "gem-runtime",
        "gem-runtime",
        "\"std\", \"tokenizer\"",
    );
    let macros = ours("gemc-macros", "gemc-macros", "gem-macros", "");
    let sources: Vec<(String, String)> = FAULTS
        .iter()
        .map(|(name, arguments, _)| {
            let text =
                format!("// A line.\ngem_macros::include_model!({arguments});\n\nfn main() {{}}\n");
            (format!("src/bin/{name}.rs"), text)
        })
        .collect();
    let files: Vec<(&str, &str)> = sources
        .iter()
        .map(|(path, text)| (&**path, &**text))
        .collect();
    workspace.package("faults", 2024, &(runtime + &macros), &files);
    let arguments = [
        "check",
        "--package",
        "faults",
        "--bins",
        "--keep-going",
        "--message-format=json",
    ];
    let output = workspace
        .cargo(&arguments)
        .output()
        .expect("cargo runs this test");
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stdout);
    let errors: Vec<Value> = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    for (name, _, wanted) in FAULTS {
        let of = |value: &&Value| {
            value["target"]["name"] == *name && value["message"]["level"] == "error"
        };
        let messages: Vec<&Value> = errors
            .iter()
            .filter(of)
            .map(|value| &value["message"])
            .collect();
        let told = messages
            .first()
            .unwrap_or_else(|| panic!("{name}: {}", String::from_utf8_lossy(&output.stderr)));
        let words = told["message"].as_str().unwrap_or_default();
        for part in *wanted {
            assert!(words.contains(part), "{name}: {part:?} is not in {words}");
        }
        let span = &told["spans"][0];
        assert_eq!(span["line_start"], 2, "{name}: {told}");
        assert!(!words.contains("internal"), "{name}: {words}");
    }
}

fn write_models(workspace: &Workspace) {
    let good = workspace.checkpoint(LM);
    let models = workspace.root.join("models");
    let copy = |name: &str| {
        let to = models.join(name);
        fs::create_dir_all(&to).expect("space");
        for file in ["config.json", "model.safetensors"] {
            fs::copy(good.join(file), to.join(file)).expect("space");
        }
        to
    };
    fs::write(copy("broken").join("config.json"), "{").expect("space");
    let family = copy("family").join("config.json");
    let text = fs::read_to_string(&family).expect("a config");
    let text = text.replace("\"gem\"", "\"llama_of_tomorrow\"");
    fs::write(&family, text).expect("space");
    let tensors = copy("nan").join("model.safetensors");
    let mut bytes = fs::read(&tensors).expect("tensors");
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&tensors, bytes).expect("space");
    fs::write(models.join("other.toml"), "schema = 1\n").expect("space");
    for (name, vocabulary, width) in [("large", 20_000, 512), ("larger", 140_000, 256)] {
        write_large(&models.join(name), vocabulary, width);
    }
}

/// A checkpoint of random weights whose embedding is large.
fn write_large(folder: &std::path::Path, vocabulary: u32, width: u32) {
    let config = gem_tests::needs::repository("examples/checkpoints")
        .join(LM)
        .join("config.json");
    let mut config: Value =
        serde_json::from_slice(&fs::read(config).expect("a config")).expect("JSON");
    config["vocab_size"] = vocabulary.into();
    config["hidden_size"] = width.into();
    let file = folder.with_extension("json");
    fs::create_dir_all(folder.parent().expect("a folder")).expect("space");
    fs::write(&file, config.to_string()).expect("space");
    let status = gemc::cli::run(
        ["gemc", "synth"]
            .map(std::ffi::OsString::from)
            .into_iter()
            .chain([
                file.into_os_string(),
                "-o".into(),
                folder.as_os_str().to_owned(),
            ]),
        &gemc::cli::Ui::of_process(),
    );
    assert_eq!(status, 0);
}
