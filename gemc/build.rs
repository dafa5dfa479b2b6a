//! `gem-runtime/src` -> a table of (path, text), so that `gemc` writes self-contained crates without its own sources.
//!
//! Paths in the table are relative and sorted.

use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Result;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// Files and folders that generated crates do not need: what only `cfg(test)` reads, and what only gemc itself links.
const LEFT_OUT: &[&str] = &["tests.rs", "tests", "testing.rs", "toy.rs", "toy", "micro"];

fn main() -> Result<()> {
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let root = manifest.join("../gem-runtime/src").canonicalize()?;
    println!("cargo::rerun-if-changed={}", root.display());
    let mut files = Vec::new();
    collect(&root, &root, &mut files)?;
    files.sort();
    let mut table = String::from("&[\n");
    for (name, path) in &files {
        // Writing to a string cannot fail.
        let _ = writeln!(
            table,
            "    ({name:?}, include_str!({:?})),",
            path.display().to_string()
        );
    }
    table.push(']');
    fingerprint(&manifest, &files)?;
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    fs::write(out.join("runtime_sources.rs"), table)
}

/// `GEMC_PACKING`: a hash of the sources that decide what weights become, so that another gemc takes nothing of this one's
/// from the cache.
fn fingerprint(manifest: &Path, runtime: &[(String, PathBuf)]) -> Result<()> {
    let pack = manifest.join("src/pack");
    println!("cargo::rerun-if-changed={}", pack.display());
    let mut files = Vec::new();
    collect(&pack, &pack, &mut files)?;
    files.sort();
    let formats = runtime.iter().filter(|(name, _)| {
        let folder = name.split('/').next().unwrap_or_default();
        ["format", "file"].contains(&folder)
    });
    let mut hasher = DefaultHasher::new();
    for (name, path) in formats.chain(&files) {
        name.hash(&mut hasher);
        fs::read(path)?.hash(&mut hasher);
    }
    println!("cargo::rustc-env=GEMC_PACKING={:016x}", hasher.finish());
    Ok(())
}

fn collect(root: &Path, dir: &Path, files: &mut Vec<(String, PathBuf)>) -> Result<()> {
    for item in fs::read_dir(dir)? {
        let path = item?.path();
        let name = path
            .file_name()
            .and_then(|n| n.to_str())
            .unwrap_or_default();
        if LEFT_OUT.contains(&name) {
            continue;
        }
        if path.is_dir() {
            collect(root, &path, files)?;
        } else if name.ends_with(".rs") {
            let relative = path.strip_prefix(root).unwrap_or(&path);
            let parts: Vec<_> = relative.iter().map(|p| p.to_string_lossy()).collect();
            files.push((parts.join("/"), path.clone()));
        }
    }
    Ok(())
}
