//! `src` -> `GEMC_FORMAT`: a hash of everything that decides what weights become in a format, so that two versions of it never
//! share what they have cached.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{Error, Result};
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() -> Result<()> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("src");
    println!("cargo::rerun-if-changed={}", root.display());
    let mut files = Vec::new();
    collect(&root, &mut files)?;
    files.sort();
    if files.is_empty() {
        return Err(Error::other("there are no sources"));
    }
    let mut hasher = DefaultHasher::new();
    for path in &files {
        path.strip_prefix(&root).unwrap_or(path).hash(&mut hasher);
        fs::read(path)?.hash(&mut hasher);
    }
    let level = env::var("OPT_LEVEL").unwrap_or_default();
    println!("cargo::rustc-env=GEMC_FORMAT_OPT_LEVEL={level}");
    println!("cargo::rustc-env=GEMC_FORMAT={:016x}", hasher.finish());
    Ok(())
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for item in fs::read_dir(dir)? {
        let path = item?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|end| end == "rs") {
            files.push(path);
        }
    }
    Ok(())
}
