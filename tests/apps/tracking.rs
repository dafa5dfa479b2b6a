//! What cargo compiles again, and what is quantised again; where weights are kept when there is no home.

use std::fs;
use std::path::Path;

use safetensors::SafeTensors;
use serde_json::Value;

use crate::workspace::{Workspace, kept, ours, temporary};

const LM: &str = "lm-dense-pre-learned";

const MAIN: &str = r#"//! A program.
gem_macros::include_model!("../models/lm-dense-pre-learned", bits = 4.25, name = "lm");

fn main() {
    println!("{}", lm::Model::embedded().is_ok());
}
"#;

fn workspace(name: &str, package: &str) -> Workspace {
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
        package,
        2024,
        &(runtime + &macros),
        &[("src/main.rs", MAIN)],
    );
    workspace
}

/// Whether cargo had nothing to do for a package.
fn is_fresh(workspace: &Workspace, package: &str, verb: &str) -> bool {
    let text = workspace.succeed(&[
        verb,
        "--package",
        package,
        "--message-format=json-render-diagnostics",
    ]);
    let artifacts = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut own = artifacts.filter(|value| {
        value["target"]["name"] == package && value["reason"] == "compiler-artifact"
    });
    own.next().expect("the program")["fresh"] == true
}

/// Whether something was quantised again is read from what `gemc cache --json` says was made, and when.
#[test]
fn what_changed_is_compiled_and_quantised_again_and_nothing_else() {
    let workspace = workspace("apps-tracking", "tracked");
    let build = |verb: &str| is_fresh(&workspace, "tracked", verb);
    assert!(!build("check"), "nothing was there");
    assert_eq!(workspace.weights_kept(), 0, "a check quantises nothing");
    assert!(workspace.matrices_made().is_empty());
    assert!(!build("build") && workspace.weights_kept() == 1);
    let first = workspace.matrices_made();
    assert!(!first.is_empty(), "and they are kept");
    assert!(build("build") && build("check"), "nothing changed");
    let model = workspace.root.join("models").join(LM);
    fs::write(model.join("notes.txt"), "no input").expect("space");
    assert!(build("build"), "an unrelated file");
    // Another line of the program.
    let main = workspace.root.join("tracked/src/main.rs");
    fs::write(&main, format!("//! Another line.\n{MAIN}")).expect("space");
    assert!(!build("build") && build("build"));
    assert_eq!(workspace.weights_kept(), 1, "nothing is packed for it");
    assert!(workspace.matrices_made() == first, "nor quantised");
    change_a_matrix(&model.join("model.safetensors"));
    assert!(!build("check") && !build("build"), "a tensor changed");
    assert_eq!(workspace.weights_kept(), 2);
    let second = workspace.matrices_made();
    assert!(first.iter().all(|entry| second.contains(entry)));
    assert_eq!(second.len(), first.len() + 1, "one matrix was quantised");
    // What was packed goes; matrices stay.
    fs::remove_dir_all(workspace.cache.join("weights")).expect("there");
    assert!(!build("build") && build("build"), "made again");
    assert_eq!(workspace.weights_kept(), 1);
    assert!(workspace.matrices_made() == second, "from what was kept");
}

/// Changes a number of the first matrix of a layer.
fn change_a_matrix(path: &Path) {
    let mut bytes = fs::read(path).expect("tensors");
    let at = {
        let tensors = SafeTensors::deserialize(&bytes).expect("a good file");
        let names = tensors.names().into_iter();
        let matrices = names.filter(|name| {
            let view = tensors.tensor(name).expect("listed");
            name.contains("layers.") && view.shape().len() == 2
        });
        let name = matrices.min().expect("a matrix");
        let data = tensors.tensor(name).expect("listed").data();
        data.as_ptr().addr() - bytes.as_ptr().addr() + data.len() / 2
    };
    bytes[at] ^= 0x10;
    fs::write(path, bytes).expect("space");
}

#[test]
fn without_a_home_weights_are_kept_beside_cargos_output() {
    let workspace = workspace("apps-homeless", "homeless");
    let target = temporary("apps-target");
    let folder = target.join("debug/gemc");
    let _ = fs::remove_dir_all(&folder);
    // A check needs no place at all.
    for (verb, home, count) in [("check", "/proc/nobody", 0), ("build", "/proc/nobody", 1)] {
        let status = workspace
            .cargo(&[verb, "--quiet", "--package", "homeless"])
            .env_remove("GEMC_CACHE")
            .env_remove("XDG_CACHE_HOME")
            .env("CARGO_HOME", cargo_home())
            .env("RUSTUP_HOME", rustup_home())
            .env("HOME", home)
            .status();
        assert!(status.expect("cargo runs this test").success());
        assert_eq!(kept(&folder), count, "{verb}");
    }
}

/// A macro that is compiled without optimisation asks the gemc in `PATH` to round; where that one will not, it rounds itself.
#[cfg(unix)]
#[test]
fn an_installed_gemc_is_asked_first() {
    use std::os::unix::fs::PermissionsExt as _;

    let workspace = workspace("apps-installed", "installed");
    let bin = workspace.root.with_file_name("apps-installed-bin");
    fs::create_dir_all(&bin).expect("space");
    let (log, program) = (bin.join("log"), bin.join("gemc"));
    let _ = fs::remove_file(&log);
    let script = format!("#!/bin/sh\necho \"$@\" > '{}'\nexit 1\n", log.display());
    fs::write(&program, script).expect("space");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("ours");
    let mut path = bin.into_os_string();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let output = workspace
        .cargo(&["build", "--package", "installed"])
        .env("PATH", path)
        .output()
        .expect("cargo runs this test");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let asked = fs::read_to_string(log).expect("it was asked");
    for part in ["weights ", "--packing ", "--bits 4.25", "--rounding search"] {
        assert!(asked.contains(part), "{part}: {asked}");
    }
    assert!(
        told.contains("the installed gemc does not round as this one"),
        "{told}"
    );
    assert_eq!(workspace.weights_kept(), 1);
}

fn home(name: &str) -> std::path::PathBuf {
    let home = std::env::var_os("HOME").unwrap_or_default();
    Path::new(&home).join(name)
}

fn cargo_home() -> std::path::PathBuf {
    std::env::var_os("CARGO_HOME").map_or_else(|| home(".cargo"), Into::into)
}

fn rustup_home() -> std::path::PathBuf {
    std::env::var_os("RUSTUP_HOME").map_or_else(|| home(".rustup"), Into::into)
}
