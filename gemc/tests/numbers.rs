//! What is not a number, or not one that a format holds: an error or a warning in every verb, never a good figure.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

const DENSE: &str = "lm-dense-pre-rope";

const ROUTED: &str = "lm-all-8mlp-top3-always-domainscar";

/// A checkpoint in a folder of its own.
struct Changed {
    _root: tempfile::TempDir,
    path: PathBuf,
}

impl Changed {
    /// A copy of a checkpoint in which all values of one tensor are `value`.
    fn new(checkpoint: &str, tensor: &str, value: f32) -> Self {
        let from = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("../examples/checkpoints")
            .join(checkpoint);
        let root = tempfile::tempdir().expect("a temporary folder");
        let path = root.path().join("model");
        fs::create_dir(&path).expect("a new folder");
        let mut changed = 0;
        for item in fs::read_dir(from).expect("the checkpoint") {
            let item = item.expect("listed");
            let mut bytes = fs::read(item.path()).expect("a file");
            let name = item.file_name();
            let name = name.to_str().expect("plain");
            if name.starts_with("model") && name.ends_with(".safetensors") {
                changed += usize::from(fill(&mut bytes, tensor, value));
            }
            fs::write(path.join(name), bytes).expect("space");
        }
        assert_eq!(changed, 1, "{tensor} is in one shard");
        for split in ["calibration", "evaluation"] {
            let line = |n: usize| {
                format!("{{\"text\": \"the quick brown fox {n} jumps over the dog\"}}\n")
            };
            let text: String = (0..20).map(line).collect();
            fs::create_dir(path.join(split)).expect("space");
            fs::write(path.join(split).join("a.jsonl"), text).expect("space");
        }
        Self { _root: root, path }
    }

    fn gemc(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gemc"));
        let (verb, rest) = arguments.split_first().expect("a verb");
        command.arg(verb).arg(&self.path).args(rest);
        command.current_dir(self.path.parent().expect("it has one"));
        command.env("GEMC_CACHE", self.path.with_file_name("cache"));
        command.output().expect("it starts")
    }

    /// Standard output and the words on standard error of a command that must end with `code`.
    fn ends(&self, code: i32, arguments: &[&str]) -> (String, String) {
        let output = self.gemc(arguments);
        let [out, told] =
            [&output.stdout, &output.stderr].map(|b| String::from_utf8_lossy(b).into_owned());
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {told}");
        (out, told)
    }
}

/// Sets all values of a bf16 tensor; whether the file has it.
fn fill(file: &mut [u8], tensor: &str, value: f32) -> bool {
    let (length, rest) = file.split_first_chunk_mut::<8>().expect("a header");
    let (header, data) = rest.split_at_mut(u64::from_le_bytes(*length) as usize);
    let header: serde_json::Value = serde_json::from_slice(header).expect("JSON");
    let Some(entry) = header.get(tensor) else {
        return false;
    };
    assert_eq!(entry["dtype"], "BF16");
    let [from, to] = [0, 1].map(|i| entry["data_offsets"][i].as_u64().expect("a number") as usize);
    let [high, low, ..] = value.to_bits().to_be_bytes();
    for pair in data[from..to].as_chunks_mut::<2>().0 {
        *pair = [low, high];
    }
    true
}

/// A model whose first layer has values beyond f16.
fn beyond_f16() -> Changed {
    Changed::new(DENSE, "model.layers.0.self_attn.v_proj.bias", 1e5)
}

#[test]
fn logits_that_are_not_numbers_end_every_verb() {
    // In the first, logits alone overflow; in the second everything from the first layer on, routers included.
    ends_every_verb(&Changed::new(DENSE, "model.final_norm.weight", 3e38));
    ends_every_verb(&Changed::new(
        ROUTED,
        "model.layers.0.input_norm.weight",
        3e38,
    ));
}

fn ends_every_verb(model: &Changed) {
    for arguments in [
        "run --prompt abc -n 2 --bits 8.25",
        "run --prompt abc -n 2 --bits 8.25 --json --temp 1",
        "run --prompt abc -n 2 --bits 8.25 --backend interp",
        "logits --ids 1,2 --bits 8.25 --backend jit",
        "logits --ids 1,2 --bits 8.25 --backend interp",
        "logits --ids 1,2 --backend reference",
        "verify --bits 8.25 --backend jit --tokens 64",
        "verify --bits 8.25 --backend jit --tokens 64 --max-kl 0.000001",
        "verify --bits 8.25 --backend fake --tokens 64 --min-top1 0",
        "bench --bits 8.25 --backend jit -p 4 -n 2 --runs 1",
        "plan --effort low",
    ] {
        let words: Vec<&str> = arguments.split(' ').collect();
        let (out, told) = model.ends(1, &words);
        assert!(told.contains("overflow"), "{arguments}: {told}");
        assert!(!out.contains("null"), "{arguments}: {out}");
    }
    assert!(!model.path.with_file_name("plan.toml").exists());
}

#[test]
fn keys_and_values_beyond_f16_are_cut_and_told() {
    let model = beyond_f16();
    let run = [
        "run", "--prompt", "abc", "-n", "3", "--bits", "8.25", "--json",
    ];
    for backend in ["jit", "interp"] {
        let with = |kv| [&run[..], &["--backend", backend, "--kv", kv]].concat();
        let (answer, told) = model.ends(0, &with("f16"));
        assert!(
            told.contains("keys and values of layers.0 are too large for f16"),
            "{told}"
        );
        assert!(told.contains("--kv f32 or --kv int8"), "{told}");
        assert!(!answer.contains("null"), "{answer}");
        for kv in ["f32", "int8"] {
            let (_, told) = model.ends(0, &with(kv));
            assert!(!told.contains("warning"), "{kv}: {told}");
        }
    }
}

#[test]
fn what_is_cut_is_the_same_in_all_executions() {
    let model = beyond_f16();
    let ids = "5,6,7,8,9,200,31";
    let logits = |backend, kv| {
        let (out, told) = model.ends(
            0,
            &[
                "logits",
                "--ids",
                ids,
                "--bits",
                "8.25",
                "--json",
                "--backend",
                backend,
                "--kv",
                kv,
            ],
        );
        assert_eq!(told.contains("too large for f16"), kv == "f16", "{told}");
        if kv == "f16" {
            // Seven positions of one head of 16 values.
            assert!(told.contains("112 keys and values of layers.0"), "{told}");
        }
        out
    };
    assert_eq!(logits("jit", "f16"), logits("interp", "f16"));
    assert_ne!(logits("jit", "f16"), logits("jit", "f32"));
    let verify = "verify --bits 8.25 --backend jit --tokens 64 --json --kv f16 --max-kl 0.000001";
    let words: Vec<&str> = verify.split(' ').collect();
    let (report, told) = model.ends(3, &words);
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    assert!(
        report["kv_saturated"]["layers.0"].as_u64() > Some(0),
        "{report}"
    );
    assert!(report["kv_saturated"]["layers.1"].is_null(), "{report}");
    assert!(told.contains("--kv f32 or --kv int8"), "{told}");
}
