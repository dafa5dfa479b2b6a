//! Checkpoints -> generated crates in one cargo workspace with a driver, and what the driver says their logits are.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use gem_runtime::file::Checksum;
use gem_runtime::{Engine, Model as _, SessionOptions, Task};
use gem_tests::needs::repository;
use gem_tests::place;
use gemc::backend;
use gemc::package::{Package, Runtime};
use gemc::pipeline::{self, LoadedCheckpoint};
use gemc::plan::activations::Rule;
use gemc::plan::{BitPlan, KvFormat};
use gemc::prepared::PreparedModel;
use gemc::target::Target;
use gemc_format::{ActivationFormat, Codec, Rounding};

/// A checkpoint compiled for a target.
pub struct Case(pub PreparedModel);

impl Case {
    pub fn new(checkpoint: &str, codec: Codec, target: Target) -> Self {
        let dir = repository("examples/checkpoints").join(checkpoint);
        Self::of(&dir, checkpoint, codec, target)
    }

    pub fn of(dir: &Path, checkpoint: &str, codec: Codec, target: Target) -> Self {
        let loaded = pipeline::load(dir).expect("a good checkpoint");
        let plan = BitPlan::uniform(&loaded.graph, codec);
        let name = format!("{checkpoint}-{}", target.name);
        Self::named(name, loaded, plan, target)
    }

    fn named(name: String, loaded: LoadedCheckpoint, plan: BitPlan, target: Target) -> Self {
        let model = PreparedModel::new(loaded, plan, target, Rounding::Plain, None);
        let mut model = model.expect("it compiles");
        model.name = name;
        Self(model)
    }

    /// The same with all activations, keys and values in these formats.
    pub fn with_formats(self, format: ActivationFormat, kv: KvFormat) -> Self {
        let everywhere = Rule {
            units: String::new(),
            format,
        };
        let PreparedModel {
            name,
            loaded,
            plan,
            target,
            ..
        } = self.0;
        let plan = plan.with_activations(&loaded.graph, &[everywhere]);
        let plan = plan.expect("all units agree").with_kv(kv);
        let name = format!("{name}-{}-{}", format.name(), kv.name());
        Self::named(name, loaded, plan, target)
    }

    pub fn package(&self, runtime: Runtime) -> Package {
        self.0.package(runtime).expect("a readable checkpoint")
    }

    pub fn interpreted(&self) -> Engine {
        backend::interpreted(&self.0).expect("its own weights")
    }
}

/// A checksum of the logits of every position; the driver has the same lines.
pub fn checksums(engine: &Engine, ids: &[u32]) -> String {
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

const DRIVER: &str = r#"//! Reads `DIR CHUNK,CHUNK,.. THREADS ID,ID,..` lines, prints a checksum of every position's logits for each; licence
//! texts for `license` in the place of the first number.
use gem_runtime::file::Checksum;
use gem_runtime::{Engine, Model as _, SessionOptions, Task};

fn main() {
    for line in std::io::stdin().lines().map_while(Result::ok) {
        let words: Vec<&str> = line.split(' ').collect();
        let [dir, chunks, threads, ids] = words[..] else { panic!("four words") };
        if chunks == "license" {
            println!("{:?}", open(dir).license());
            continue;
        }
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
    let _ = writeln!(
        text,
        "\nfn open(dir: &str) -> Engine {{\n    let bundled = std::env::var_os({BUNDLED:?}).is_some();\n    match dir {{"
    );
    for name in names {
        let ident = name.replace('-', "_");
        let _ = writeln!(
            text,
            "        {name:?} if bundled => {ident}::Model::bundled().unwrap().into_engine(),\n        \
             {name:?} => {ident}::Model::open(dir).unwrap().into_engine(),"
        );
    }
    text.push_str("        _ => unreachable!(\"no crate {dir}\"),\n    }\n}\n");
    text
}

fn write_workspace(root: &Path, driver_name: &str, names: &[String]) {
    let list: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
    let list = list.join(", ");
    let manifest = format!(
        "[workspace]\nresolver = \"3\"\nmembers = [\"driver\", {list}]\n\n\
         [profile.dev]\nopt-level = 1\ndebug = false\n"
    );
    let runtime = toml_path(&repository("gem-runtime"));
    let mut own = format!(
        "[package]\nname = \"{driver_name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[dependencies]\n\
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

pub fn cargo(root: &Path, args: &[&str]) -> Command {
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

/// With this variable, the driver opens the models that it carries.
pub const BUNDLED: &str = "GEM_BUNDLED";

/// Crates of several cases in one workspace, and a program that runs any of them.
pub struct Workspace {
    root: PathBuf,
    /// Of the driver's package: another for every workspace, since all are compiled into one folder at the same time.
    driver: String,
    pub names: Vec<String>,
}

impl Workspace {
    /// Generates the crates.
    pub fn new(name: &str, cases: &[Case]) -> Self {
        let root = temporary(name);
        let runtime = Runtime::Path(repository("gem-runtime").display().to_string());
        let write = |case: &Case| {
            let package = case.package(runtime.clone());
            let name = package.crate_name();
            case.0
                .write(place(&root.join(&name)), &package, &mut |_| {})
                .expect("a new folder, or a package");
            name
        };
        let names: Vec<String> = cases.iter().map(write).collect();
        let driver = format!("{name}-driver");
        write_workspace(&root, &driver, &names);
        Self {
            root,
            driver,
            names,
        }
    }

    /// The folder of a crate.
    pub fn folder(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The driver, once it has run.
    pub fn program(&self) -> PathBuf {
        temporary("generated-target")
            .join("debug")
            .join(&self.driver)
    }

    /// Compiles the crates and answers lines of the driver's input with as many lines.
    pub fn run(&self, input: String) -> Vec<String> {
        let mut child = cargo(&self.root, &["run", "--quiet", "--package", &self.driver])
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

pub fn listed<T: ToString>(numbers: impl IntoIterator<Item = T>) -> String {
    let numbers: Vec<String> = numbers.into_iter().map(|n| n.to_string()).collect();
    numbers.join(",")
}
