//! `src/{pack,quantise}` -> `GEMC_PACKING`: a hash of what decides, beside formats and the weight file's own layout, what
//! weights become, so that another gemc takes nothing of this one's from the cache. All of `src` -> `GEMC_SOURCES`, for what is
//! measured.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{Error, Result};
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() -> Result<()> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("src");
    let packing = hash(&root, &["pack", "quantise"])?;
    println!("cargo::rustc-env=GEMC_PACKING={packing:016x}");
    println!("cargo::rustc-env=GEMC_SOURCES={:016x}", hash(&root, &[""])?);
    Ok(())
}

/// A hash of all sources in folders.
fn hash(root: &Path, folders: &[&str]) -> Result<u64> {
    let mut hasher = DefaultHasher::new();
    for folder in folders {
        let folder = root.join(folder);
        println!("cargo::rerun-if-changed={}", folder.display());
        let mut files = Vec::new();
        collect(&folder, &mut files)?;
        files.sort();
        if files.is_empty() {
            let words = format!("{}: there are no sources", folder.display());
            return Err(Error::other(words));
        }
        for path in &files {
            path.strip_prefix(root).unwrap_or(path).hash(&mut hasher);
            fs::read(path)?.hash(&mut hasher);
        }
    }
    Ok(hasher.finish())
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
