//! Several compilers at once, several caches: weights are quantised once, and programs are the same bytes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::SystemTime;

use crate::workspace::{Workspace, kept, ours, temporary};

const LM: &str = "lm-dense-pre-learned";

const MAIN: &str = r#"//! A program.
gem_macros::include_model!("../models/lm-dense-pre-learned", bits = 5.25, name = "lm");

fn main() {
    println!("{}", lm::Model::embedded().is_ok());
}
"#;

fn workspace(name: &str) -> Workspace {
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

#[test]
fn eight_compilers_at_once_quantise_once() {
    let workspace = workspace("apps-races");
    // Builds what the compilers link.
    workspace.succeed(&["build", "--quiet", "--package", "raced"]);
    let first = made(&workspace.cache);
    let deps = temporary("apps-target").join("debug/deps");
    let newest = |prefix: &str, end: &str| newest(&deps, prefix, end);
    let out = workspace.root.join("out");
    let compile = |i: usize, cache: &Path| -> Child {
        Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
            .args([
                "--edition=2024",
                "--crate-name",
                "raced",
                "--emit=metadata,link",
            ])
            .arg(workspace.root.join("raced/src/main.rs"))
            .arg("--out-dir")
            .arg(out.join(i.to_string()))
            .arg("--extern")
            .arg(format!(
                "gem_macros={}",
                newest("libgem_macros-", ".so").display()
            ))
            .arg("--extern")
            .arg(format!(
                "gem_runtime={}",
                newest("libgem_runtime-", ".rlib").display()
            ))
            .arg("-L")
            .arg(format!("dependency={}", deps.display()))
            .env("CARGO_MANIFEST_DIR", workspace.root.join("raced"))
            .env("GEMC_CACHE", cache)
            .spawn()
            .expect("rustc")
    };
    let cache = temporary("apps-races-second-cache");
    let _ = fs::remove_dir_all(&cache);
    let compilers: Vec<Child> = (0..8).map(|i| compile(i, &cache)).collect();
    for mut compiler in compilers {
        assert!(compiler.wait().expect("it ends").success());
    }
    assert_eq!(kept(&cache), 1);
    let once = made(&cache);
    // And what is there is taken by the next.
    assert!(compile(8, &cache).wait().expect("it ends").success());
    assert_eq!(made(&cache), once);
    assert_eq!(made(&workspace.cache), first);
    // Matrices are kept when they are quantised: whoever came second found them, or the file.
    let programs: Vec<Vec<u8>> = (0..9)
        .map(|i| fs::read(out.join(i.to_string()).join("raced")).expect("a program"))
        .collect();
    assert!(
        programs.windows(2).all(|pair| pair[0] == pair[1]),
        "the same bytes"
    );
}

/// A file of a folder by its beginning and end, the newest.
fn newest(folder: &Path, prefix: &str, end: &str) -> PathBuf {
    let items = fs::read_dir(folder).expect("a folder").flatten();
    let named = items.filter(|item| {
        let name = item.file_name().to_string_lossy().into_owned();
        name.starts_with(prefix) && name.ends_with(end)
    });
    let time = |item: &fs::DirEntry| item.metadata().and_then(|meta| meta.modified()).ok();
    named.max_by_key(time).expect("it was built").path()
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
