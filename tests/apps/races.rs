//! Several compilers at once, several caches: weights are quantised once, and programs are the same bytes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::workspace::{Workspace, kept, ours, temporary};

const LM: &str = "lm-dense-pre-learned";

const MAIN: &str = r#"//! A program.
gem_macros::include_model!("../models/lm-dense-pre-learned", bits = 5.25, name = "lm");

fn main() {
    println!("{}", lm::Model::embedded().is_ok());
}
"#;

pub fn workspace(name: &str) -> Workspace {
    let workspace = Workspace::new(name);
    workspace.checkpoint(LM);
    let runtime = ours(
        "gem-runtime",
        "gem-runtime",
        "gem-runtime",
        "\"std\", \"tokenizer\"",
    );
    let macros = ours("gemc-macros", "gemc-macros", "gem-macros", "");
    workspace.package(
        "raced",
        2024,
        &(runtime + &macros),
        &[("src/main.rs", MAIN)],
    );
    workspace
}

/// Cargo names packages by their place in their workspace: those of two workspaces that share a target folder are one to it. So they
/// are built one after the other, from a source that is newer than what was built before.
fn alone(workspace: &Workspace) -> MutexGuard<'static, ()> {
    static BUILDS: Mutex<()> = Mutex::new(());
    // A test that failed holding it has told already.
    let guard = BUILDS.lock().unwrap_or_else(PoisonError::into_inner);
    fs::write(workspace.root.join("raced/src/main.rs"), MAIN).expect("space");
    guard
}

/// When the only weight file of a cache was put there.
fn made(cache: &Path) -> SystemTime {
    let folders = fs::read_dir(cache.join("weights"))
        .expect("weights")
        .flatten();
    let folders = folders.filter(|item| item.path().join("model.gemw").is_file());
    let folders: Vec<PathBuf> = folders.map(|item| item.path()).collect();
    assert_eq!(folders.len(), 1);
    let meta = fs::metadata(folders[0].join("model.gemw")).expect("a file");
    // Its own date is long ago; when it was created is not.
    meta.created().unwrap_or(SystemTime::UNIX_EPOCH)
}

/// What compiles the program of a workspace without cargo: cargo has built what it links.
pub struct Compilers<'a> {
    workspace: &'a Workspace,
    deps: PathBuf,
    out: PathBuf,
    /// The library that macros are in, and the runtime: those that cargo linked here. Other tests build others beside them.
    linked: [(&'static str, PathBuf); 2],
}

impl<'a> Compilers<'a> {
    pub fn new(workspace: &'a Workspace) -> Self {
        let _alone = alone(workspace);
        let messages = workspace.succeed(&[
            "build",
            "--quiet",
            "--package",
            "raced",
            "--message-format=json",
        ]);
        Self {
            linked: [("gem_macros", ".so"), ("gem_runtime", ".rlib")]
                .map(|(name, end)| (name, artifact(&messages, name, end))),
            workspace,
            deps: temporary("apps-target").join("debug/deps"),
            out: workspace.root.join("out"),
        }
    }

    /// Starts one, which has a folder of its own for the program.
    pub fn start(&self, i: usize, cache: &Path) -> Child {
        let linked = self
            .linked
            .each_ref()
            .map(|(name, file)| format!("{name}={}", file.display()));
        let root = self.workspace.root.join("raced");
        Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
            .args(["--edition=2024", "--crate-name", "raced"])
            .arg("--emit=metadata,link")
            .arg(root.join("src/main.rs"))
            .arg("--out-dir")
            .arg(self.folder(i))
            .args(["--extern", &linked[0], "--extern", &linked[1]])
            .arg("-L")
            .arg(format!("dependency={}", self.deps.display()))
            .env("CARGO_MANIFEST_DIR", root)
            .env("GEMC_CACHE", cache)
            .spawn()
            .expect("rustc")
    }

    pub fn folder(&self, i: usize) -> PathBuf {
        self.out.join(i.to_string())
    }

    pub fn program(&self, i: usize) -> Vec<u8> {
        fs::read(self.folder(i).join("raced")).expect("a program")
    }
}

/// The file of a library in cargo's messages.
fn artifact(messages: &str, library: &str, end: &str) -> PathBuf {
    let file = |line: &str| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let files = message["filenames"].as_array()?.clone();
        let named = message["target"]["name"] == library;
        let found = files
            .into_iter()
            .filter_map(|file| file.as_str().map(PathBuf::from));
        let mut found = found.filter(|file| file.to_string_lossy().ends_with(end));
        found.next().filter(|_| named)
    };
    messages.lines().find_map(file).expect("it was built")
}

/// An empty folder for a cache.
pub fn empty(name: &str) -> PathBuf {
    let cache = temporary(name);
    let _ = fs::remove_dir_all(&cache);
    cache
}

#[test]
fn eight_compilers_at_once_quantise_once() {
    let workspace = workspace("apps-races");
    let compilers = Compilers::new(&workspace);
    let first = made(&workspace.cache);
    let cache = empty("apps-races-second-cache");
    let running: Vec<Child> = (0..8).map(|i| compilers.start(i, &cache)).collect();
    for mut compiler in running {
        assert!(compiler.wait().expect("it ends").success());
    }
    assert_eq!(kept(&cache), 1);
    let once = made(&cache);
    // And what is there is taken by the next.
    let mut next = compilers.start(8, &cache);
    assert!(next.wait().expect("it ends").success());
    assert_eq!(made(&cache), once);
    assert_eq!(made(&workspace.cache), first);
    // Matrices are kept when they are quantised: whoever came second found them, or the file.
    let programs: Vec<Vec<u8>> = (0..9).map(|i| compilers.program(i)).collect();
    let differs = |(i, program): &(usize, &Vec<u8>)| {
        let at = program.iter().zip(&programs[0]).position(|(a, b)| a != b);
        at.map(|at| {
            (
                *i,
                at,
                program[at..].iter().take(64).copied().collect::<Vec<u8>>(),
            )
        })
    };
    let different: Vec<_> = programs
        .iter()
        .enumerate()
        .filter_map(|one| differs(&one))
        .collect();
    let lengths: Vec<usize> = programs.iter().map(Vec::len).collect();
    assert!(
        programs.windows(2).all(|pair| pair[0] == pair[1]),
        "the same bytes: lengths {lengths:?}, differ at {different:?}"
    );
}

/// Two copies of an app, with a cache each, are the same program.
#[test]
fn two_checkouts_with_two_caches_give_the_same_program() {
    let programs = ["apps-one", "apps-other"].map(|name| {
        let workspace = workspace(name);
        let target = temporary(&format!("{name}-target"));
        let _ = fs::remove_dir_all(&target);
        let manifest = workspace.root.join("Cargo.toml");
        let text = fs::read_to_string(&manifest).expect("written before");
        fs::write(&manifest, text + "strip = true\n").expect("space");
        let macros = temporary("apps-target");
        let _alone = alone(&workspace);
        let status = workspace
            .cargo(&["build", "--quiet", "--package", "raced"])
            .env("CARGO_TARGET_DIR", &macros)
            .status();
        assert!(status.expect("cargo runs this test").success());
        assert_eq!(workspace.weights_kept(), 1);
        fs::read(macros.join("debug/raced")).expect("a program")
    });
    assert!(programs[0] == programs[1], "the same bytes");
}
