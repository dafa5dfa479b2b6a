//! Texts of small apps -> packages of one cargo workspace, compiled into a folder that all of these tests share.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use gem_tests::needs::repository;
use gemc::cache::Cache;
use serde_json::Value;

/// Packages in a folder of their own.
pub struct Workspace {
    pub root: PathBuf,
    /// Where weights are kept.
    pub cache: PathBuf,
}

/// A dependency on a crate of the repository, as a line of TOML.
pub fn ours(name: &str, package: &str, folder: &str, features: &str) -> String {
    let path = repository(folder);
    // Named as its package, a crate is found by its library's name.
    let package = match name == package {
        true => String::new(),
        false => format!("package = \"{package}\", "),
    };
    format!(
        "{name} = {{ {package}path = '{}', default-features = false, features = [{features}] }}\n",
        path.display()
    )
}

impl Workspace {
    /// An empty one.
    pub fn new(name: &str) -> Self {
        let root = temporary(name);
        let cache = temporary(&format!("{name}-cache"));
        for folder in [&root, &cache] {
            let _ = fs::remove_dir_all(folder);
            fs::create_dir_all(folder).expect("space");
        }
        // Unoptimised, as apps are developed; macros too, since tiny models are rounded soon.
        let manifest = "[workspace]\nresolver = \"3\"\nmembers = [\"*\"]\nexclude = [\"models\"]\n\n\
            [profile.dev]\ndebug = false\n";
        fs::write(root.join("Cargo.toml"), manifest).expect("space");
        fs::copy(repository("Cargo.lock"), root.join("Cargo.lock")).expect("space");
        Self { root, cache }
    }

    /// Adds a package.
    pub fn package(&self, name: &str, edition: u32, dependencies: &str, files: &[(&str, &str)]) {
        let manifest = format!(
            "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"{edition}\"\n\n[dependencies]\n{dependencies}"
        );
        let folder = self.root.join(name);
        for (path, text) in files.iter().chain(&[("Cargo.toml", &*manifest)]) {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("space");
            fs::write(path, text).expect("space");
        }
    }

    /// A copy of a small checkpoint, in `models/`.
    pub fn checkpoint(&self, name: &str) -> PathBuf {
        let to = self.root.join("models").join(name);
        fs::create_dir_all(&to).expect("space");
        let from = repository("examples/checkpoints").join(name);
        for item in fs::read_dir(from).expect("a checkpoint") {
            let item = item.expect("a file");
            if item.path().is_dir() {
                continue;
            }
            fs::copy(item.path(), to.join(item.file_name())).expect("space");
        }
        to
    }

    /// Cargo with these arguments.
    pub fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO"));
        command
            .args(arguments)
            .arg("--offline")
            .current_dir(&self.root)
            .env("CARGO_TARGET_DIR", temporary("apps-target"))
            .env("GEMC_CACHE", &self.cache)
            // An installed gemc is none of the tests' business.
            .env("PATH", path_without_gemc());
        command
    }

    /// What cargo says; it must succeed.
    pub fn succeed(&self, arguments: &[&str]) -> String {
        let output = self
            .cargo(arguments)
            .output()
            .expect("cargo runs this test");
        told(&output)
    }

    /// Weight files that were made.
    pub fn weights_kept(&self) -> usize {
        kept(&self.cache)
    }

    /// Matrices that were quantised.
    pub fn matrices_made(&self) -> Vec<[Value; 3]> {
        made(&self.cache, "matrices")
    }
}

/// Weight files in a cache.
pub fn kept(cache: &Path) -> usize {
    made(cache, "weights").len()
}

/// What `gemc cache --json` prints of the entries of a kind: key, bytes, and when each was made. Not when it was used last,
/// which changes without anything being made.
pub fn made(cache: &Path, kind: &str) -> Vec<[Value; 3]> {
    if !cache.exists() {
        return Vec::new();
    }
    let contents = Cache::at(cache).expect("a folder").contents();
    let contents = serde_json::to_value(contents).expect("as the command writes it");
    let kept = contents["kinds"][kind]["kept"].as_array().cloned();
    let entries = kept.expect("a kind of this version").into_iter();
    entries
        .map(|entry| ["key", "bytes", "made"].map(|name| entry[name].clone()))
        .collect()
}

pub fn told(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    text
}

pub fn temporary(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

fn path_without_gemc() -> std::ffi::OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).filter(|folder| !folder.join("gemc").exists());
    std::env::join_paths(folders).expect("they were joined before")
}
