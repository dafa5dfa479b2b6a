//! `examples/pipeline`, as a pipeline runs it, on a small checkpoint; and the archives of `scripts/release`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use saphyr::{LoadableYamlNode as _, Yaml};

#[path = "../../tests/needs.rs"]
mod needs;

const GEMC: &str = env!("CARGO_BIN_EXE_gemc");

/// Whether a program is installed; says so where it is not.
fn has(program: &str) -> bool {
    let mut command = Command::new(program);
    let started = command.arg("--version").stdout(Stdio::null()).status();
    let there = started.is_ok_and(|status| status.success());
    if !there {
        needs::skipped(program).expect("GEM_REQUIRE=all");
    }
    there
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("space");
    for item in fs::read_dir(from).expect("a folder") {
        let item = item.expect("listed");
        if item.path().is_file() {
            fs::copy(item.path(), to.join(item.file_name())).expect("space");
        }
    }
}

/// The example in a folder of its own, with a small checkpoint that has some text.
struct Pipeline(tempfile::TempDir);

impl Pipeline {
    fn new() -> Self {
        let root = tempfile::tempdir().expect("a temporary folder");
        copy(&needs::repository("examples/pipeline"), root.path());
        let checkpoint = root.path().join("ckpt");
        let small = "examples/checkpoints/lm-all-8mlp-top3-always-domainscar";
        copy(&needs::repository(small), &checkpoint);
        fs::create_dir(checkpoint.join("evaluation")).expect("space");
        let line = |n: usize| format!("{{\"text\": \"the quick fox {n} jumps over the dog\"}}\n");
        let text: String = (0..8).map(line).collect();
        fs::write(checkpoint.join("evaluation/law.jsonl"), text).expect("space");
        Self(root)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn make(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("make");
        command
            .arg(format!("GEMC={GEMC}"))
            .arg("CKPT=ckpt")
            .arg("BACKEND=fake");
        command.args(arguments).current_dir(self.0.path());
        // A makefile that runs these tests is none of its business.
        for variable in ["MAKEFLAGS", "MAKELEVEL", "MFLAGS", "GEMC_CACHE"] {
            command.env_remove(variable);
        }
        command.env("LC_ALL", "C").output().expect("it starts")
    }

    fn succeeds(&self, arguments: &[&str]) {
        let output = self.make(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", told(&output));
    }

    /// A target that must fail with this exit code of gemc.
    fn fails(&self, arguments: &[&str], code: i32) -> String {
        let output = self.make(arguments);
        let told = told(&output);
        assert!(!output.status.success(), "{arguments:?}: {told}");
        assert!(
            told.contains(&format!("Error {code}\n")),
            "{arguments:?}: {told}"
        );
        told
    }
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_makefile_builds_verifies_and_finds_drift() {
    if !has("make") {
        return;
    }
    let pipeline = Pipeline::new();
    let missing = pipeline.fails(&["check"], 1);
    assert!(missing.contains("is missing"), "{missing}");
    pipeline.succeeds(&["build"]);
    assert!(pipeline.path("model/manifest.json").is_file());
    assert!(
        pipeline.path("gemc-cache/matrices").is_dir(),
        "beside target/"
    );
    pipeline.succeeds(&["check"]);
    let other = pipeline.fails(&["check", "BITS=8.25"], 1);
    assert!(other.contains("model.gemw differs"), "{other}");
    let edited = pipeline.path("model/src/lib.rs");
    let text = fs::read_to_string(&edited).expect("a crate") + "// edited\n";
    fs::write(edited, text).expect("space");
    let drift = pipeline.fails(&["check"], 1);
    assert!(drift.contains("src/lib.rs differs"), "{drift}");

    let budget = |text: &str| fs::write(pipeline.path("own.toml"), text).expect("space");
    budget("bytes = \"1G\"\nkl = 99\n");
    pipeline.succeeds(&["verify", "BUDGET=own.toml"]);
    let junit = fs::read_to_string(pipeline.path("target/verify.xml")).expect("a report");
    assert!(junit.contains("failures=\"0\""), "{junit}");
    budget("kl = 0\n");
    let broken = pipeline.fails(&["verify", "BUDGET=own.toml"], 3);
    assert!(broken.contains("budget: kl is "), "{broken}");
    let junit = fs::read_to_string(pipeline.path("target/verify.xml")).expect("a report");
    assert!(junit.contains("failures=\"1\""), "{junit}");
    // The example's own budget is one: whatever this model reaches, it is judged.
    let own = pipeline.make(&["verify"]);
    assert!(
        own.status.success() || told(&own).contains("Error 3\n"),
        "{}",
        told(&own)
    );
}

#[test]
fn the_workflow_runs_what_the_makefile_has() {
    let read = |name: &str| {
        let path = needs::repository("examples/pipeline").join(name);
        fs::read_to_string(path).expect("a file of the example")
    };
    let (workflow, makefile) = (read("workflow.yml"), read("Makefile"));
    let documents = Yaml::load_from_str(&workflow).expect("YAML");
    let [workflow] = &documents[..] else {
        unreachable!("one document");
    };
    let job = &workflow["jobs"]["model"];
    let steps = job["steps"].as_sequence().expect("steps");
    let targets: Vec<&str> = steps
        .iter()
        .filter_map(|step| step.as_mapping_get("run")?.as_str())
        .filter_map(|run| run.strip_prefix("make "))
        .collect();
    assert_eq!(targets, ["check", "verify"]);
    for target in targets {
        assert!(makefile.contains(&format!("\n{target}:\n\t")), "{target}");
    }
    let cache = job["env"]["GEMC_CACHE"].as_str().expect("a variable");
    assert!(cache.ends_with("/gemc-cache") && makefile.contains("$(CURDIR)/gemc-cache"));
    let kept: Vec<&str> = steps
        .iter()
        .filter_map(|step| {
            step.as_mapping_get("with")?
                .as_mapping_get("path")?
                .as_str()
        })
        .collect();
    assert_eq!(kept, ["gemc-cache", "target/verify.xml"]);
    assert!(makefile.contains("--junit target/verify.xml"));
}

#[test]
fn an_archive_is_what_binstall_looks_for() {
    if !["bash", "tar", "gzip", "sha256sum"].into_iter().all(has) {
        return;
    }
    let root = tempfile::tempdir().expect("a temporary folder");
    let command = root.path().join("command");
    fs::write(&command, "#!/bin/sh\nexit 1\n").expect("space");
    let triple = "aarch64-unknown-linux-musl";
    let pack = |out: &str| {
        let mut script = Command::new(needs::repository("scripts/release"));
        script
            .arg("--pack")
            .arg(&command)
            .arg(triple)
            .arg(root.path().join(out));
        let output = script.env("GEMC", GEMC).output().expect("it starts");
        assert!(output.status.success(), "{}", told(&output));
    };
    pack("a");
    pack("b");
    let manifest = fs::read_to_string(needs::repository("gemc/Cargo.toml")).expect("a manifest");
    let manifest: toml::Table = manifest.parse().expect("TOML");
    let binstall = &manifest["package"]["metadata"]["binstall"];
    let filled = |key: &str| {
        let template = binstall[key].as_str().expect("a template");
        let values = [
            ("version", env!("CARGO_PKG_VERSION")),
            ("target", triple),
            ("bin", "gemc"),
            ("binary-ext", ""),
        ];
        let fill = |text: String, (name, value): (&str, &str)| {
            text.replace(&format!("{{ {name} }}"), value)
        };
        values.into_iter().fold(template.to_owned(), fill)
    };
    let url = filled("pkg-url");
    let name = url.rsplit('/').next().expect("a name");
    let [a, b] = ["a", "b"].map(|out| fs::read(root.path().join(out).join(name)).expect(name));
    assert!(a == b, "the same bytes");
    let run = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        let output = command
            .args(arguments)
            .current_dir(root.path().join("a"))
            .output();
        let output = output.expect("it starts");
        assert!(output.status.success(), "{}", told(&output));
        String::from_utf8(output.stdout).expect("a text")
    };
    run("sha256sum", &["--check", &format!("{name}.sha256")]);
    let listed = run("tar", &["-tf", name]);
    let folder = format!("gemc-{}-{triple}", env!("CARGO_PKG_VERSION"));
    for file in [
        "LICENSE-MIT",
        "LICENSE-APACHE",
        "README.md",
        "completions/gemc.zsh",
        "man/gemc-verify.1",
    ] {
        let file = format!("{folder}/{file}");
        assert!(
            listed.lines().any(|line| line == file),
            "{file} in {listed}"
        );
    }
    let inside = filled("bin-dir");
    assert!(
        listed.lines().any(|line| line == inside),
        "{inside} in {listed}"
    );
}
