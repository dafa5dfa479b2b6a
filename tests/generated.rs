//! Generated crates of tiny checkpoints, compiled and run: bit for bit what the interpreter gives, for prefill and single
//! steps, one thread and several, at every level this CPU has.
//!
//! All crates are members of one workspace next to a driver, so that cargo builds everything once.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use gem_runtime::file::Checksum;
use gem_runtime::format::{Codec, Rounding};
use gem_runtime::{Engine, Model as _, SessionOptions, Task};
use gem_tests::needs::repository;
use gemc::package::{Package, Parts, Runtime};
use gemc::pipeline::{self, Compiled, Loaded};
use gemc::plan::BitPlan;
use gemc::target::Target;
use gemc::{backend, package};

/// Checkpoints with a format each; every kind of module, mask and norm is among them.
const MODELS: &[(&str, Codec)] = &[
    ("cls-all-5domains-top2-fallback-flagscar", Codec::N4),
    ("cls-some-5lora-top3-fallback-domainscar", Codec::B8),
    ("lm-all-8mlp-top3-always-domainscar", Codec::L4),
    ("lm-all-2lora-top1-none-flagscar", Codec::B8),
    ("lm-dense-post-rope-layernorm", Codec::N4),
    ("lm-dense-pre-learned", Codec::L4),
];

/// How the driver and the test run a model: rows at a time (0: all), threads.
const MODES: &[(usize, usize)] = &[(0, 1), (0, 3), (1, 1), (7, 2)];

/// A checkpoint compiled for a target.
struct Case {
    loaded: Loaded,
    compiled: Compiled,
    plan: BitPlan,
    target: Target,
    name: String,
}

impl Case {
    fn new(checkpoint: &str, codec: Codec, target: Target) -> Self {
        let dir = repository("examples/checkpoints").join(checkpoint);
        let loaded = pipeline::load(&dir).expect("a good checkpoint");
        let plan = BitPlan::uniform(&loaded.graph, codec);
        let compiled = pipeline::compile(&loaded.graph, &plan, &target).expect("it compiles");
        let name = format!("{checkpoint}-{}", target.name);
        Self {
            loaded,
            compiled,
            plan,
            target,
            name,
        }
    }

    fn parts(&self) -> Parts<'_> {
        Parts {
            name: &self.name,
            loaded: &self.loaded,
            compiled: &self.compiled,
            plan: &self.plan,
            target: &self.target,
            rounding: Rounding::Plain,
        }
    }

    fn package(&self, runtime: Runtime) -> Package {
        self.parts()
            .package(runtime)
            .expect("a readable checkpoint")
    }

    fn interpreted(&self) -> Engine {
        backend::interpreted(&self.parts()).expect("its own weights")
    }
}

/// Tokens beyond the first chunk of rows, where the context allows, spread over the vocabulary.
fn ids(engine: &Engine) -> Vec<u32> {
    let shape = engine.program().shape();
    let info = engine.info();
    let longest = match info.task {
        Task::CausalLm => info.max_positions.min(shape.max_rows + 9),
        _ => info.max_positions.min(shape.max_rows),
    };
    (0..longest.min(150))
        .map(|i| (i * 37 + i * i) % info.vocab_size)
        .collect()
}

/// Checksum of all logits; the driver has the same lines.
fn checksum(engine: &Engine, ids: &[u32], rows: usize, threads: usize) -> u64 {
    let options = SessionOptions {
        context: None,
        threads: Some(threads),
    };
    let mut session = engine.session(options).expect("small");
    let mut sum = Checksum::default();
    let mut add = |logits: &[f32]| logits.iter().for_each(|x| sum.update(&x.to_le_bytes()));
    match engine.info().task {
        Task::CausalLm => {
            for ids in ids.chunks(if rows == 0 { ids.len() } else { rows }) {
                session
                    .forward_all(ids, |_, logits| add(logits))
                    .expect("it fits");
            }
        }
        _ => add(session.classify_ids(ids).expect("it fits")),
    }
    sum.finish()
}

const DRIVER: &str = r#"//! Reads `DIR ROWS THREADS ID,ID,..` lines, prints a checksum of the logits for each.
use gem_runtime::file::Checksum;
use gem_runtime::{Engine, Model as _, SessionOptions, Task};

fn main() {
    for line in std::io::stdin().lines().map_while(Result::ok) {
        let mut words = line.split(' ');
        let mut word = || words.next().expect("four words");
        let (dir, rows, threads) = (word(), word().parse().unwrap(), word().parse().unwrap());
        let ids: Vec<u32> = word().split(',').map(|id| id.parse().unwrap()).collect();
        println!("{:016x}", checksum(&open(dir), &ids, rows, threads));
    }
}

fn checksum(engine: &Engine, ids: &[u32], rows: usize, threads: usize) -> u64 {
    let options = SessionOptions { context: None, threads: Some(threads) };
    let mut session = engine.session(options).unwrap();
    let mut sum = Checksum::default();
    let mut add = |logits: &[f32]| logits.iter().for_each(|x| sum.update(&x.to_le_bytes()));
    match engine.info().task {
        Task::CausalLm => {
            for ids in ids.chunks(if rows == 0 { ids.len() } else { rows }) {
                session.forward_all(ids, |_, logits| add(logits)).unwrap();
            }
        }
        _ => add(session.classify_ids(ids).unwrap()),
    }
    sum.finish()
}
"#;

/// The driver's text: one arm per crate.
fn driver(names: &[String]) -> String {
    let mut text = DRIVER.to_owned();
    text.push_str("\nfn open(dir: &str) -> Engine {\n    match dir {\n");
    for name in names {
        let ident = name.replace('-', "_");
        let _ = writeln!(
            text,
            "        {name:?} => {ident}::Model::open(dir).unwrap().into_engine(),"
        );
    }
    text.push_str("        _ => unreachable!(\"no crate {dir}\"),\n    }\n}\n");
    text
}

fn write_workspace(root: &Path, names: &[String]) {
    let list: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
    let list = list.join(", ");
    let manifest = format!(
        "[workspace]\nresolver = \"3\"\nmembers = [\"driver\", {list}]\n\n\
         [profile.dev]\nopt-level = 1\ndebug = false\n"
    );
    let runtime = toml_path(&repository("gem-runtime"));
    let mut own = format!(
        "[package]\nname = \"driver\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[dependencies]\n\
         gem-runtime = {{ path = {runtime}, default-features = false, features = [\"threads\"] }}\n"
    );
    for name in names {
        let _ = writeln!(
            own,
            "{name} = {{ path = \"../{name}\", default-features = false, features = [\"threads\"] }}"
        );
    }
    let files = [
        ("Cargo.toml", manifest),
        ("driver/Cargo.toml", own),
        ("driver/src/main.rs", driver(names)),
    ];
    fs::create_dir_all(root.join("driver/src")).expect("space");
    for (path, text) in files {
        fs::write(root.join(path), text).expect("space");
    }
    fs::copy(repository("Cargo.lock"), root.join("Cargo.lock")).expect("space");
}

fn toml_path(path: &Path) -> String {
    format!("'{}'", path.display())
}

fn cargo(root: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command
        .args(args)
        .arg("--offline")
        .current_dir(root)
        .env("CARGO_TARGET_DIR", temporary("generated-target"));
    command
}

fn temporary(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

#[test]
fn generated_crates_equal_the_interpreter_bit_for_bit() {
    let root = temporary("generated");
    let runtime = Runtime::Path(repository("gem-runtime").display().to_string());
    let mut cases = Vec::new();
    for target in Target::all() {
        if target.runs_here() {
            let of = |(model, codec): &(&str, Codec)| Case::new(model, *codec, target.clone());
            cases.extend(MODELS.iter().map(of));
        } else {
            println!("SKIPPED: needs a CPU of level {}", target.level.name());
        }
    }
    let (mut input, mut expected, mut names) = (String::new(), Vec::new(), Vec::new());
    for case in &cases {
        let package = case.package(runtime.clone());
        let name = package.crate_name();
        let dir = root.join(&name);
        case.parts()
            .write(&dir, &package, &mut |_| {})
            .expect("a new folder, or a package");
        let engine = case.interpreted();
        let ids = ids(&engine);
        let sum = checksum(&engine, &ids, 0, 1);
        let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
        for (rows, threads) in MODES {
            let _ = writeln!(input, "{name} {rows} {threads} {}", ids.join(","));
            expected.push((format!("{name} {rows} {threads}"), format!("{sum:016x}")));
        }
        names.push(name);
    }
    write_workspace(&root, &names);
    let mut child = cargo(&root, &["run", "--quiet", "--package", "driver"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("cargo runs this test");
    let mut stdin = child.stdin.take().expect("piped");
    let feed = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "the driver failed");
    feed.join().expect("no panic").expect("it reads all");
    let text = String::from_utf8(output.stdout).expect("digits");
    let mut found = text.lines();
    for (what, sum) in &expected {
        assert_eq!(found.next(), Some(sum.as_str()), "{what}");
    }
}

/// A classifier for `portable` needs no `std`, and the same build gives the same bytes in folders of different depth.
#[test]
fn a_portable_classifier_is_no_std_and_reproducible() {
    let (model, codec) = MODELS[0];
    let portable = Target::find("portable").expect("it is embedded");
    let case = Case::new(model, codec, portable);
    let package = case.package(Runtime::Embedded);
    let root = tempfile::tempdir().expect("a temporary folder");
    let (near, far) = (root.path().join("a"), root.path().join("b/c/d"));
    let manifest = |dir: &Path| {
        case.parts()
            .write(dir, &package, &mut |_| {})
            .expect("a new folder")
    };
    let first = manifest(&near);
    assert_eq!(first, manifest(&far));
    for (path, hash) in &first.outputs {
        let written = package::hash_file(&far.join(path)).expect("it was written");
        assert_eq!(&written, hash, "{path}");
    }
    let status = cargo(
        &near,
        &["check", "--quiet", "--locked", "--no-default-features"],
    )
    .status()
    .expect("cargo runs this test");
    assert!(status.success(), "it does not compile without std");
}
