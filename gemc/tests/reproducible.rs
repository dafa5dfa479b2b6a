//! The command as a process: the same inputs give the same program, wherever home, cache and registry are.
#![cfg(target_os = "linux")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

const CHECKPOINT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../examples/checkpoints/lm-dense-pre-rope"
);

/// Cargo's home of whoever runs the tests: what it has downloaded is used from elsewhere.
fn registry() -> PathBuf {
    let cargo = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = || std::env::home_dir().map(|home| home.join(".cargo"));
    let cargo = cargo.or_else(home).expect("cargo has a home");
    cargo.join("registry")
}

/// A program built with everything in a folder.
fn built(home: &Path) -> Vec<u8> {
    let cargo = home.join("cargo");
    fs::create_dir_all(&cargo).expect("space");
    symlink(registry(), cargo.join("registry")).expect("space");
    let out = home.join("out");
    let output = Command::new(env!("CARGO_BIN_EXE_gemc"))
        .args([
            "build", CHECKPOINT, "--bin", "--static", "--target", "portable", "-o",
        ])
        .arg(&out)
        .env("CARGO_HOME", &cargo)
        .env("GEMC_CACHE", home.join("cache"))
        // What is shipped depends on none of these.
        .env("CARGO_PROFILE_RELEASE_DEBUG", "2")
        .env("CARGO_INCREMENTAL", "1")
        .output()
        .expect("it starts");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("needs no C library"), "{said}");
    fs::read(out.join("bin/lm-dense-pre-rope")).expect("built")
}

#[test]
#[ignore = "minutes; scripts/check-all runs it"]
fn the_same_inputs_give_the_same_program_anywhere() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let near = built(&root.path().join("a"));
    let far = built(&root.path().join("somewhere/else/and deeper"));
    for path in [
        root.path().to_str().expect("plain"),
        "/registry/",
        CHECKPOINT,
    ] {
        let found = near.windows(path.len()).any(|w| w == path.as_bytes());
        assert!(!found, "{path} in the program");
    }
    assert!(near == far, "the programs differ");
}
