//! Generated crates, compiled and run: bit for bit what the interpreter gives, for prefill and single steps, one thread
//! and several, at every level this CPU has.
//!
//! The crates of a test are members of one workspace next to a driver, so that cargo builds everything once.

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

/// Checkpoints with a format each; every format, kind of module, mask and norm is among them.
const MODELS: &[(&str, Codec)] = &[
    ("cls-all-5domains-top2-fallback-flagscar", Codec::N4),
    ("cls-some-5lora-top3-fallback-domainscar", Codec::B8),
    ("lm-all-8mlp-top3-always-domainscar", Codec::L4),
    ("lm-all-2lora-top1-none-flagscar", Codec::N3),
    ("lm-dense-post-rope-layernorm", Codec::N5),
    ("lm-dense-pre-learned", Codec::L6),
    ("lm-some-5lora-top2-fallback-domainscar", Codec::N2),
];

/// How the driver runs a model: tokens of each call (the last number counts for all that follow), threads.
const MODES: &[(&str, usize)] = &[("9999", 1), ("9999", 3), ("1", 1), ("7", 2)];

/// A prompt of so many tokens, then the rest at once: around every block of rows, tile, call of 128 rows, chunk of 256
/// positions, and the context.
const PROMPTS: &[usize] = &[
    1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257, 383,
    384, 385, 511, 512, 513, 767, 768, 769, 1023, 1024,
];

/// Thread counts for them.
const THREADS: &[usize] = &[1, 2, 3, 5];

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
        Self::of(&dir, checkpoint, codec, target)
    }

    fn of(dir: &Path, checkpoint: &str, codec: Codec, target: Target) -> Self {
        let loaded = pipeline::load(dir).expect("a good checkpoint");
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
            cache: None,
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

/// A checksum of the logits of every position; the driver has the same lines.
fn checksums(engine: &Engine, ids: &[u32]) -> String {
    let options = SessionOptions {
        context: None,
        threads: Some(1),
    };
    let mut session = engine.session(options).expect("small");
    let mut sums = Vec::new();
    let mut add = |logits: &[f32]| sums.push(checksum(logits));
    match engine.info().task {
        Task::CausalLm => session
            .forward_all(ids, |_, logits| add(logits))
            .expect("it fits"),
        _ => add(session.classify_ids(ids).expect("it fits")),
    }
    sums.join(" ")
}

fn checksum(logits: &[f32]) -> String {
    let mut sum = Checksum::default();
    logits.iter().for_each(|x| sum.update(&x.to_le_bytes()));
    format!("{:016x}", sum.finish())
}

const DRIVER: &str = r#"//! Reads `DIR CHUNK,CHUNK,.. THREADS ID,ID,..` lines, prints a checksum of every position's logits for each.
use gem_runtime::file::Checksum;
use gem_runtime::{Engine, Model as _, SessionOptions, Task};

fn main() {
    for line in std::io::stdin().lines().map_while(Result::ok) {
        let words: Vec<&str> = line.split(' ').collect();
        let [dir, chunks, threads, ids] = words[..] else { panic!("four words") };
        let numbers = |list: &str| list.split(',').map(|n| n.parse().unwrap()).collect::<Vec<u32>>();
        println!("{}", checksums(&open(dir), &numbers(ids), &numbers(chunks), threads.parse().unwrap()));
    }
}

fn checksums(engine: &Engine, mut ids: &[u32], chunks: &[u32], threads: usize) -> String {
    let options = SessionOptions { context: None, threads: Some(threads) };
    let mut session = engine.session(options).unwrap();
    let mut sums = Vec::new();
    let mut add = |logits: &[f32]| sums.push(checksum(logits));
    match engine.info().task {
        Task::CausalLm => {
            let mut chunks = chunks.iter();
            let mut chunk = 0;
            while !ids.is_empty() {
                chunk = chunks.next().copied().unwrap_or(chunk);
                let (now, later) = ids.split_at((chunk as usize).min(ids.len()));
                session.forward_all(now, |_, logits| add(logits)).unwrap();
                ids = later;
            }
        }
        _ => add(session.classify_ids(ids).unwrap()),
    }
    sums.join(" ")
}

fn checksum(logits: &[f32]) -> String {
    let mut sum = Checksum::default();
    logits.iter().for_each(|x| sum.update(&x.to_le_bytes()));
    format!("{:016x}", sum.finish())
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

/// Crates of several cases in one workspace, and a program that runs any of them.
struct Workspace {
    root: PathBuf,
    names: Vec<String>,
}

impl Workspace {
    /// Generates the crates.
    fn new(name: &str, cases: &[Case]) -> Self {
        let root = temporary(name);
        let runtime = Runtime::Path(repository("gem-runtime").display().to_string());
        let write = |case: &Case| {
            let package = case.package(runtime.clone());
            let name = package.crate_name();
            case.parts()
                .write(&root.join(&name), &package, &mut |_| {})
                .expect("a new folder, or a package");
            name
        };
        let names: Vec<String> = cases.iter().map(write).collect();
        write_workspace(&root, &names);
        Self { root, names }
    }

    /// Compiles the crates and answers lines of the driver's input with as many lines.
    fn run(&self, input: String) -> Vec<String> {
        let mut child = cargo(&self.root, &["run", "--quiet", "--package", "driver"])
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
        text.lines().map(str::to_owned).collect()
    }
}

fn listed<T: ToString>(numbers: impl IntoIterator<Item = T>) -> String {
    let numbers: Vec<String> = numbers.into_iter().map(|n| n.to_string()).collect();
    numbers.join(",")
}

#[test]
fn generated_crates_equal_the_interpreter_bit_for_bit() {
    let mut cases = Vec::new();
    for target in Target::all() {
        if target.runs_here() {
            let of = |(model, codec): &(&str, Codec)| Case::new(model, *codec, target.clone());
            cases.extend(MODELS.iter().map(of));
        } else {
            println!("SKIPPED: needs a CPU of level {}", target.level.name());
        }
    }
    let workspace = Workspace::new("generated", &cases);
    let (mut input, mut expected) = (String::new(), Vec::new());
    for (case, name) in cases.iter().zip(&workspace.names) {
        let engine = case.interpreted();
        let ids = ids(&engine);
        let sums = checksums(&engine, &ids);
        for (chunks, threads) in MODES {
            let _ = writeln!(input, "{name} {chunks} {threads} {}", listed(&ids));
            expected.push((format!("{name} {chunks} {threads}"), sums.clone()));
        }
    }
    let found = workspace.run(input);
    assert_eq!(found.len(), expected.len());
    for ((what, sums), found) in expected.iter().zip(&found) {
        assert_eq!(found, sums, "{what}");
    }
}

/// A trained model over its whole context: the logits of every position are those of single steps, whatever the
/// length of the prompt and the number of threads; and those of the interpreter, as far as there is time for it.
#[test]
fn prompts_of_any_length_equal_single_steps_bit_for_bit() {
    let dir = repository("examples/models/gem-lm");
    let cases = [Case::of(&dir, "gem-lm", Codec::N4, Target::host())];
    let workspace = Workspace::new("prompts", &cases);
    let engine = cases[0].interpreted();
    let info = engine.info();
    let context = info.max_positions;
    assert_eq!(PROMPTS.last(), Some(&(context as usize)));
    let ids: Vec<u32> = (0..context)
        .map(|i| (i * 37 + i * i) % info.vocab_size)
        .collect();
    let name = &workspace.names[0];
    let mut input = format!("{name} 1 1 {}\n", listed(&ids));
    let mut what = Vec::new();
    for (i, prompt) in PROMPTS.iter().enumerate() {
        // Every prompt with one number of threads, the ones at the ends of chunks with all.
        let all = prompt % 128 < 2 || prompt % 128 == 127;
        let threads = THREADS.iter().enumerate();
        for (_, threads) in threads.filter(|(t, _)| all || i % THREADS.len() == *t) {
            let _ = writeln!(
                input,
                "{name} {prompt},{context} {threads} {}",
                listed(&ids)
            );
            what.push(format!("prompt of {prompt}, {threads} threads"));
        }
    }
    let mut found = workspace.run(input).into_iter();
    let steps = found.next().expect("a line each");
    let first = &ids[..40];
    assert!(steps.starts_with(&checksums(&engine, first)), "interpreter");
    assert_eq!(found.len(), what.len());
    for (what, sums) in what.iter().zip(found) {
        assert_eq!(sums, steps, "{what}");
    }
}

/// A classifier for `portable` needs no `std`, and the same build gives the same bytes in folders of different depth.
#[test]
fn a_portable_classifier_is_no_std_and_reproducible() {
    let portable = Target::find("portable").expect("it is embedded");
    let dir = repository("examples/models/gem-cls");
    let case = Case::of(&dir, "gem-cls", Codec::N4, portable);
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
