//! The command as a process, where it writes folders: what a full disk, a kill or a foreign folder leaves behind.
#![cfg(unix)]

mod board;
mod cache;
mod doctor;
mod kit;
mod patch;
mod patch_app;
mod shells;
mod verify;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use gemc::cache::Cache;

const CHECKPOINT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../examples/checkpoints/lm-dense-pre-rope"
);

fn gemc(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gemc"));
    command.args(arguments);
    command
}

fn names(dir: &Path) -> Vec<String> {
    let items = fs::read_dir(dir).expect("a folder");
    let mut names: Vec<String> = items
        .map(|item| {
            item.expect("listed")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    names
}

fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for name in names(dir) {
        let path = dir.join(name);
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let bytes = fs::read(&path).expect("a file");
            found.push((path, bytes));
        }
    }
    found
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A limit on the size of files makes writes fail part of the way, as a full disk does.
fn with_small_files(blocks: u32, arguments: &[&str]) -> Output {
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
    Command::new("sh")
        .args(["-c", &script, "sh", env!("CARGO_BIN_EXE_gemc")])
        .args(arguments)
        .output()
        .expect("a shell")
}

#[test]
fn a_full_disk_leaves_what_was_there() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let out = root.path().join("out");
    let output = out.to_str().expect("a plain path");
    let build = ["build", CHECKPOINT, "-o", output, "--bits", "8.25"];
    // The weights take more than the 8 blocks, the sources before them fewer than the 64.
    for blocks in [0, 8, 64] {
        let failed = with_small_files(blocks, &build);
        let told = told(&failed);
        assert_eq!(failed.status.code(), Some(1), "{blocks} blocks: {told}");
        assert!(told.contains("too large"), "{told}");
        assert!(!told.contains("panicked"), "{told}");
        assert_eq!(names(root.path()), [] as [&str; 0], "{blocks} blocks");
    }
    assert!(gemc(&build).status().expect("it starts").success());
    let before = files(&out);
    let other = ["build", CHECKPOINT, "-o", output, "--bits", "4.25"];
    assert_eq!(with_small_files(8, &other).status.code(), Some(1));
    assert_eq!(names(root.path()), ["out"]);
    assert!(files(&out) == before, "the package before is untouched");
}

#[test]
fn a_killed_build_is_no_obstacle_to_the_next() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let kept = tempfile::tempdir().expect("a temporary folder");
    let out = root.path().join("out");
    let output = out.to_str().expect("a plain path");
    let build = || {
        let mut command = gemc(&["build", CHECKPOINT, "-o", output]);
        command.env("GEMC_CACHE", kept.path());
        command
    };
    for pause in [1, 5, 20, 60] {
        let mut child = build()
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        std::thread::sleep(Duration::from_millis(pause));
        child.kill().expect("it is ours");
        child.wait().expect("it ended");
        let complete = out.join("manifest.json").is_file();
        assert_eq!(out.exists(), complete, "a folder that looks whole");
        assert_eq!(halves(kept.path()), [] as [String; 0], "{pause} ms");
    }
    assert!(build().status().expect("it starts").success());
    assert_eq!(names(root.path()), ["out"], "nothing else remains");
    // Half an entry would have been seen.
    let matrices = kept.path().join("matrices");
    let mut entries = names(&matrices).into_iter();
    let name = entries.find(|name| name.len() == 64).expect("an entry");
    let file = fs::File::options().write(true).open(matrices.join(&name));
    file.and_then(|file| file.set_len(70)).expect("shorter");
    assert_eq!(halves(kept.path()), [name]);
}

/// Matrices of a cache that would be taken for whole and are not.
fn halves(cache: &Path) -> Vec<String> {
    let opened = Cache::at(cache).expect("a folder");
    let matrices = cache.join("matrices");
    let names = match matrices.exists() {
        true => names(&matrices),
        false => Vec::new(),
    };
    // Others, being written, have names of another kind.
    let entries = names.into_iter().filter(|name| name.len() == 64);
    entries
        .filter(|name| {
            let key = gem_runtime::from_hex(name);
            opened.find("matrices", &key).is_none()
        })
        .collect()
}

#[test]
fn a_folder_of_other_things_is_left_alone() {
    let root = tempfile::tempdir().expect("a temporary folder");
    fs::write(root.path().join("letter.txt"), "dear").expect("written");
    let output = root.path().to_str().expect("a plain path");
    let refused = gemc(&["build", CHECKPOINT, "-o", output])
        .output()
        .expect("it starts");
    assert_eq!(refused.status.code(), Some(1));
    assert!(told(&refused).contains("letter.txt"));
    assert_eq!(names(root.path()), ["letter.txt"]);
}

#[test]
fn stages_can_be_looked_at() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let out = root.path().join("out");
    let output = out.to_str().expect("a plain path");
    let build = [
        "build",
        CHECKPOINT,
        "-o",
        output,
        "--emit",
        "kernel,disasm,graph,kernel,clif",
        "--target",
        "aarch64",
    ];
    assert!(gemc(&build).status().expect("it starts").success());
    let files = ["graph.dot", "program.asm", "program.clif", "program.gemk"];
    assert_eq!(names(&out.join("emit")), files);
    let read = |file: &str| fs::read_to_string(out.join("emit").join(file)).expect("a text");
    let (clif, assembly) = (read("program.clif"), read("program.asm"));
    let kernels = |text: &str| -> Vec<String> {
        let heads = text.lines().filter(|line| line.starts_with("; k"));
        heads.map(str::to_owned).collect()
    };
    assert!(kernels(&clif).len() > 5);
    assert_eq!(kernels(&clif), kernels(&assembly));
    assert_eq!(clif.matches("function u0:").count(), kernels(&clif).len());
    assert!(clif.contains("swiden_low"), "dot products of the target");
    assert!(assembly.contains("smull"), "and their instruction");
    assert!(!assembly.contains("sdot"), "which it has not");
    let kernels = fs::read_to_string(out.join("emit/program.gemk")).expect("a text");
    gemc_kernels::ir::text::parse(&kernels).expect("its own text");
    let graph = fs::read_to_string(out.join("emit/graph.dot")).expect("a text");
    assert!(graph.contains("linear 64 -> "), "{graph}");
    assert!(gemc(&build).status().expect("it starts").success(), "again");
}

#[test]
fn objects_come_in_folders_of_their_own() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let out = root.path().join("out");
    let output = out.to_str().expect("a plain path");
    let build = |more: &[&str]| {
        let arguments = ["build", CHECKPOINT, "-o", output, "--name", "Toy 1"];
        gemc(&[&arguments, more].concat())
            .output()
            .expect("it starts")
    };
    let arm = ["--target", "aarch64", "--format"];
    let made = build(&[&arm[..], &["obj"]].concat());
    assert!(made.status.success(), "{}", told(&made));
    let expected = |code: &str| {
        let mut names = [
            "gem.h",
            "generation_config.json",
            "manifest.json",
            "model.gemw",
            "tokenizer.json",
            "tokenizer_config.json",
            code,
        ];
        names.sort_unstable();
        names.map(str::to_owned)
    };
    assert_eq!(names(&out), expected("toy-1.o"));
    let before = files(&out);
    assert!(build(&[&arm[..], &["obj"]].concat()).status.success());
    assert!(files(&out) == before, "the same bytes");
    assert!(build(&[&arm[..], &["staticlib"]].concat()).status.success());
    assert_eq!(names(&out), expected("libtoy-1.a"), "the object is gone");
    let library = fs::read(out.join("libtoy-1.a")).expect("a file");
    assert!(library.starts_with(b"!<arch>\n"));

    let before = files(&out);
    for (more, code, what) in [
        (&["--target", "portable", "--format", "obj"][..], 1, "FMA"),
        (&["--format", "obj", "--bin"], 2, "--format crate"),
        (&["--prefix", "toy"], 2, "--format obj"),
        (&["--format", "obj", "--prefix", "1toy"], 2, "digit"),
        (&["--format", "dll"], 2, "staticlib"),
    ] {
        let refused = build(more);
        let told = told(&refused);
        assert_eq!(refused.status.code(), Some(code), "{more:?}: {told}");
        assert!(told.contains(what), "{more:?}: {told}");
    }
    assert!(files(&out) == before, "what was there is untouched");
}

#[test]
fn a_runtime_needs_a_toolchain_and_says_so() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let out = root.path().join("out");
    let refused = gemc(&["runtime", "-o", out.to_str().expect("a plain path")])
        .env("CARGO", "no-such-cargo")
        .env("RUSTC", "no-such-rustc")
        .env("GEMC_CACHE", root.path().join("cache"))
        .output()
        .expect("it starts");
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        told(&refused).contains("Rust toolchain"),
        "{}",
        told(&refused)
    );
    assert!(!out.exists());
}

#[test]
fn a_check_names_what_is_not_up_to_date() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("model");
    let output = out.to_str().expect("a plain path");
    let build = |more: &[&str]| {
        let mut command = gemc(&["build", CHECKPOINT, "--target", "portable", "-o", output]);
        command.args(more).output().expect("it starts")
    };
    let missing = build(&["--check"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(
        told(&missing).contains("model.gemw is missing"),
        "{}",
        told(&missing)
    );
    assert!(!out.exists(), "nothing is written");
    assert!(build(&[]).status.success());
    let before = files(&out);
    let same = build(&["--check"]);
    assert!(same.status.success(), "{}", told(&same));
    assert!(told(&same).contains("up to date"));
    let json = |output: &Output| -> serde_json::Value {
        serde_json::from_slice(&output.stdout).expect("one value")
    };
    let same = build(&["--check", "--json"]);
    assert!(same.status.success(), "{}", told(&same));
    assert_eq!(json(&same)["differing"], serde_json::json!([]));
    let other = build(&["--check", "--bits", "8.25"]);
    assert_eq!(other.status.code(), Some(1));
    assert!(
        told(&other).contains("model.gemw differs"),
        "{}",
        told(&other)
    );
    fs::remove_file(out.join("tokenizer.json")).expect("it was there");
    let lost = build(&["--check"]);
    assert!(
        told(&lost).contains("tokenizer.json is missing"),
        "{}",
        told(&lost)
    );
    let lost = build(&["--check", "--json"]);
    assert_eq!(lost.status.code(), Some(1));
    let expected = serde_json::json!([{ "file": "tokenizer.json", "is": "missing" }]);
    assert_eq!(json(&lost)["differing"], expected);
    assert_eq!(json(&lost)["output"], output);
    assert_eq!(files(&out).len() + 1, before.len(), "nothing is written");
}

#[test]
fn a_locked_build_keeps_to_its_manifest() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("model");
    let output = out.to_str().expect("a plain path");
    let build = |more: &[&str]| {
        let mut command = gemc(&["build", CHECKPOINT, "--target", "x86-64-v3", "-o", output]);
        command.args(more).output().expect("it starts")
    };
    let refused = |more: &[&str], says: &[&str]| {
        let output = build(more);
        assert_eq!(output.status.code(), Some(1), "{}", told(&output));
        for words in says {
            assert!(
                told(&output).contains(words),
                "{words} in {}",
                told(&output)
            );
        }
    };
    refused(&["--locked"], &["no manifest.json", "without --locked"]);
    assert!(!out.exists(), "nothing is written");
    assert!(build(&[]).status.success());
    let before = files(&out);
    // The manifest alone is enough, as a repository may keep it.
    for (path, _) in before
        .iter()
        .filter(|(path, _)| !path.ends_with("manifest.json"))
    {
        fs::remove_file(path).expect("it was there");
    }
    let again = build(&["--locked"]);
    assert!(again.status.success(), "{}", told(&again));
    assert!(files(&out) == before, "the same files");
    refused(&["--locked", "--bits", "8.25"], &["plan, ", "model.gemw"]);
    refused(&["--locked", "--name", "other"], &["name, ", "Cargo.toml"]);
    refused(&["--locked", "--emit", "plan"], &["emit/plan.txt"]);
    refused(&["--locked", "--format", "obj"], &["gem.h"]);
    assert!(files(&out) == before, "what was there is untouched");
}

#[test]
fn a_crate_may_depend_on_a_published_runtime() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("model");
    let output = out.to_str().expect("a plain path");
    let build = |more: &[&str]| {
        let mut command = gemc(&["build", CHECKPOINT, "-o", output]);
        command.args(more).output().expect("it starts")
    };
    let built = build(&["--runtime", "0.1.7"]);
    assert!(built.status.success(), "{}", told(&built));
    let manifest = fs::read_to_string(out.join("Cargo.toml")).expect("a manifest");
    assert!(
        manifest.contains("gem-runtime = { version = \"0.1.7\""),
        "{manifest}"
    );
    assert!(!out.join("gem-runtime").exists());
    assert_eq!(build(&["--runtime", "newest"]).status.code(), Some(2));
    let object = build(&["--runtime", "0.1.7", "--format", "obj"]);
    assert_eq!(object.status.code(), Some(2), "{}", told(&object));
}

#[test]
fn plans_routes_and_rust_can_be_looked_at() {
    const TRAINED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/models/gem-lm");
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out");
    let output = out.to_str().expect("a plain path");
    let build = |checkpoint: &str, more: &[&str]| {
        let mut command = gemc(&["build", checkpoint, "-o", output, "--rounding", "plain"]);
        command.args(more).output().expect("it starts")
    };
    let emit = [
        "--emit",
        "routes,plan,rust",
        "--bits",
        "8.25",
        "--format",
        "obj",
    ];
    let built = build(TRAINED, &emit);
    assert!(built.status.success(), "{}", told(&built));
    let read = |file: &str| fs::read_to_string(out.join("emit").join(file)).expect("a text");
    let plan = read("plan.txt");
    assert!(
        plan.contains("model.embed_tokens B8 int16 rounded now"),
        "{plan}"
    );
    assert!(
        plan.contains("model.layers.5.modules.7.down_proj B8 int8 rounded now"),
        "{plan}"
    );
    assert!(read("kernels.rs").contains("extern \"C\" fn"), "kernels");
    let routes: serde_json::Value = serde_json::from_str(&read("routes.json")).expect("JSON");
    assert!(
        routes["texts"]["law"].as_u64().is_some_and(|n| n > 0),
        "{routes}"
    );
    let none = build(CHECKPOINT, &["--emit", "routes"]);
    assert_eq!(none.status.code(), Some(0), "{}", told(&none));
    assert!(
        told(&none).contains("packaged default text"),
        "{}",
        told(&none)
    );
}

/// `docs/command.md` is what the command says of itself; `GEM_BLESS=1` writes it anew.
#[test]
fn the_documented_command_is_the_one_that_runs() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/command.md");
    let help = |arguments: &[&str]| {
        let output = gemc(arguments).output().expect("it starts");
        let text = String::from_utf8(output.stdout).expect("a text");
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        lines.join("\n")
    };
    let all = help(&["--help"]);
    let mut text = format!(
        "# The command\n\nWhat `gemc --help` and `gemc VERB --help` say; a test holds this page to them.\n\n```text\n{all}\n```\n"
    );
    let verbs = all.lines().skip_while(|line| *line != "Commands:").skip(1);
    for verb in verbs.take_while(|line| !line.is_empty()) {
        let verb = verb.split_whitespace().next().expect("a name");
        if verb != "help" {
            text += &format!(
                "\n## gemc {verb}\n\n```text\n{}\n```\n",
                help(&[verb, "--help"])
            );
        }
    }
    if std::env::var_os("GEM_BLESS").is_some_and(|bless| bless == "1") {
        fs::write(path, &text).expect("a writable page");
    }
    let written = fs::read_to_string(path).unwrap_or_default();
    assert!(
        written == text,
        "docs/command.md is not what the command says; run this test with GEM_BLESS=1"
    );
}
