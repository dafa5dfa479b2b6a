//! Built programs on machines that have nothing: an empty folder as root, an old CPU, an emulated Arm; and that they tell
//! nothing of the machine that built them. What takes minutes is ignored here and run by `scripts/check-all`.
#![cfg(target_os = "linux")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use gem_tests::machine::ARM;
use gem_tests::needs::{repository, skipped};
use gem_tests::place;
use gemc::cache::Cache;
use gemc::package::{Builder, LIBRARY, Linkage, ProgramManifest, Requirements, Runtime};
use gemc::pipeline;
use gemc::plan::BitPlan;
use gemc::prepared::PreparedModel;
use gemc::target::Target;
use gemc_format::{Codec, Rounding};
use object::Object as _;

const CHECKPOINT: &str = "examples/checkpoints/lm-dense-pre-rope";

/// The target of this machine whose programs an older machine of its kind cannot run.
const NEWER: &str = "x86-64-v3";

fn temporary(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("elsewhere")
        .join(name);
    fs::create_dir_all(&dir).expect("space");
    dir
}

fn skip(what: &str) {
    skipped(what).expect("GEM_REQUIRE is not set");
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", told(output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn run(command: &mut Command) -> Output {
    command.output().expect("it starts")
}

fn has(tool: &str) -> bool {
    let there = Command::new(tool).arg("--version").output().is_ok();
    if !there {
        skip(tool);
    }
    there
}

/// A folder with a program for a target, its weights and its texts; the program's path and its manifest.
fn built(target: &str, linkage: Linkage, cache: &Cache) -> (PathBuf, ProgramManifest) {
    let dir = repository(CHECKPOINT);
    let target = Target::find(target).expect("an embedded target");
    let loaded = pipeline::load(&dir).expect("a good checkpoint");
    let plan = BitPlan::uniform(&loaded.graph, Codec::N4);
    let model = PreparedModel::new(loaded, plan, target.clone(), Rounding::Plain, None);
    let mut model = model.expect("it compiles");
    model.name = "toy".to_owned();
    let package = model.package(Runtime::Embedded).expect("readable");
    let folder = temporary(&format!("{}-{linkage:?}", target.name));
    model
        .write(place(&folder), &package, &mut |_| {})
        .expect("a new folder, or one of ours");
    let builder = Builder::new(cache, target.rust_triple()).linked(linkage);
    builder
        .build_into(&package, &folder)
        .expect("what it needs is there")
}

fn own_cache() -> Cache {
    Cache::open().expect("a home")
}

/// Asserts that a file holds no path of this machine.
fn tells_nothing(file: &Path, cache: &Path) {
    let bytes = fs::read(file).expect("readable");
    let home = std::env::var("HOME").unwrap_or_default();
    let cargo = std::env::var("CARGO_HOME").unwrap_or_default();
    let repository = repository("").display().to_string();
    let cache = cache.display().to_string();
    for path in [
        &*home,
        &cargo,
        &repository,
        &cache,
        "/registry/src/",
        "/.cargo",
        "/.rustup",
    ] {
        let found = path.len() > 1 && bytes.windows(path.len()).any(|w| w == path.as_bytes());
        assert!(!found, "{path} in {}", file.display());
    }
    // The names of such sections are text of the standard library, which looks for them; an archive has a section of each of
    // its members.
    if let Ok(object) = object::File::parse(&*bytes) {
        let debug = object.section_by_name(".debug_info");
        assert!(debug.is_none(), "{}", file.display());
    }
}

/// Runs a program in a folder that holds it, its weights and its tokenizer, as the root of all it can see.
fn in_empty_root(program: &Path, arguments: &[&str]) -> Option<Output> {
    let root = tempfile::tempdir().expect("a temporary folder");
    let folder = program.parent()?.parent()?;
    for file in [
        "model.gemw",
        "tokenizer.json",
        "tokenizer_config.json",
        "generation_config.json",
    ] {
        fs::copy(folder.join(file), root.path().join(file)).expect("there");
    }
    fs::copy(program, root.path().join("prog")).expect("space");
    let output = run(Command::new("chroot")
        .arg(root.path())
        .arg("/prog")
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default()));
    if told(&output).contains("cannot change root") {
        skip("root, for chroot");
        return None;
    }
    Some(output)
}

const PROMPT: [&str; 4] = ["--prompt", "a b", "-n", "3"];

#[test]
fn a_static_program_needs_nothing() {
    if !Target::find(NEWER).is_ok_and(|target| target.runs_here()) {
        return skip(NEWER);
    }
    let cache = own_cache();
    let (program, about) = built(NEWER, Linkage::Static, &cache);
    assert_eq!(about.requirements, Some(Requirements::default()));
    assert!(about.r#static);
    tells_nothing(&program, cache.root());
    let linked = run(Command::new("ldd").arg(&program));
    let linked = told(&linked) + &String::from_utf8_lossy(&linked.stdout);
    assert!(
        linked.contains("statically linked") || linked.contains("not a dynamic executable"),
        "{linked}"
    );
    let expected = said(&run(Command::new(&program).args(PROMPT)));
    for threads in ["1", "3"] {
        let arguments = [&PROMPT[..], &["--threads", threads]].concat();
        let Some(output) = in_empty_root(&program, &arguments) else {
            return;
        };
        assert_eq!(said(&output), expected, "the same text");
        assert!(
            told(&output).contains("/proc"),
            "it says so: {}",
            told(&output)
        );
    }
    let help = in_empty_root(&program, &["--help"]).expect("as before");
    assert!(said(&help).contains("--prompt TEXT"));
    let usage = in_empty_root(&program, &["--frobnicate"]).expect("as before");
    assert_eq!(usage.status.code(), Some(2), "{}", told(&usage));
    let lost = in_empty_root(&program, &["--prompt", "a", "--weights", "/none.gemw"]);
    let lost = lost.expect("as before");
    assert_eq!(lost.status.code(), Some(1));
    assert!(told(&lost).contains("/none.gemw"), "{}", told(&lost));
    // The CPU is asked before any instruction that an old one lacks.
    if has("qemu-x86_64-static") {
        let old = run(Command::new("qemu-x86_64-static")
            .args(["-cpu", "Nehalem"])
            .arg(&program)
            .args(PROMPT)
            .arg("--weights")
            .arg(program.parent().expect("bin").join("../model.gemw")));
        let told = told(&old);
        assert_eq!(old.status.code(), Some(1), "{told}");
        assert!(
            told.contains("this CPU lacks") && told.contains("avx2"),
            "{told}"
        );
        assert_eq!(told.trim_end().lines().count(), 1, "{told}");
    }
}

#[test]
fn a_program_says_which_glibc_it_needs() {
    let cache = own_cache();
    let (program, about) = built("portable", Linkage::Dynamic, &cache);
    tells_nothing(&program, cache.root());
    let needs = about.requirements.expect("an ELF file");
    assert!(!needs.libraries.is_empty() && !about.r#static);
    if cfg!(target_env = "gnu") {
        let version = needs.glibc.as_deref().expect("versions");
        let minor = version
            .strip_prefix("2.")
            .and_then(|v| v.parse::<u32>().ok());
        assert!(minor.is_some_and(|minor| minor >= 17), "{version}");
        assert!(
            needs
                .to_string()
                .contains(&format!("glibc {version} or newer"))
        );
    }
    let folder = program.parent().expect("bin");
    let text = fs::read_to_string(folder.join("manifest.json")).expect("a manifest");
    let written: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(
        written["requirements"]["glibc"],
        serde_json::json!(needs.glibc)
    );
    assert_eq!(written["sha256"], about.sha256);
}

#[test]
#[ignore = "minutes; scripts/check-all runs it"]
fn a_static_program_for_arm_runs_emulated() {
    let cache = own_cache();
    for machine in ARM {
        let target = Target::find(machine.target).expect("embedded");
        let builder = Builder::new(&cache, target.rust_triple()).linked(Linkage::Static);
        if let Err(error) = builder.toolchain() {
            return skip(&error.to_string());
        }
        if !has("qemu-aarch64-static") {
            return;
        }
        let (program, about) = built(machine.target, Linkage::Static, &cache);
        assert_eq!(about.requirements, Some(Requirements::default()));
        tells_nothing(&program, cache.root());
        // A program for any Arm of 64 bits holds the kernels of those with the dot product, too.
        for runner in ARM {
            if machine.target == "aarch64-dotprod" && runner.target == "aarch64" {
                continue;
            }
            let checked = run(runner.command(&program).args(["--check", "--json"]));
            let wanted = format!("\"target\":\"{}\"", runner.target);
            assert!(said(&checked).contains(&wanted), "{}", said(&checked));
            let emulated = run(runner.command(&program).args(PROMPT));
            let (here, _) = built("portable", Linkage::Dynamic, &cache);
            let expected = run(Command::new(here).args(PROMPT));
            assert_eq!(said(&emulated), said(&expected), "the same bits");
        }
    }
}

#[test]
#[ignore = "minutes; scripts/check-all runs it"]
fn libraries_tell_nothing_of_the_machine_that_built_them() {
    let cache = own_cache();
    for target in ["portable", "aarch64"] {
        let target = Target::find(target).expect("embedded");
        let builder = Builder::new(&cache, target.rust_triple());
        if let Err(error) = builder.toolchain() {
            skip(&error.to_string());
            continue;
        }
        let library = builder.runtime_library().expect("it is built");
        assert!(library.ends_with(LIBRARY));
        tells_nothing(&library, cache.root());
    }
}
