//! A package -> a program, built by cargo in a content-addressed cache, so that the same package is built once.
//!
//! Cache: `programs/KEY/NAME` finished programs, `crates/KEY` sources, `runtime/KEY` sources of the runtime (shared, so
//! that models differ only in their own crate), `target` cargo's. KEY hashes everything the program depends on: the
//! sources, not the weights, and the compiler's version.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use sha2::{Digest as _, Sha256};

use super::{Files, Package, PackageError, Runtime, render};
use crate::cache::Cache;

/// Builds programs from packages.
#[derive(Clone, Debug)]
pub struct Builder {
    cache: PathBuf,
    cargo: OsString,
    triple: Option<String>,
}

impl Builder {
    /// A builder with this cache. `triple` is the Rust target; `None` builds for the host.
    #[must_use]
    pub fn new(cache: &Cache, triple: Option<String>) -> Self {
        Self {
            cache: cache.root().to_owned(),
            cargo: std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()),
            triple,
        }
    }

    /// The program of a package, if it was built before.
    ///
    /// # Errors
    /// [`PackageError::NoToolchain`]: whether one is out of date depends on the compiler.
    pub fn find(&self, package: &Package) -> Result<Option<PathBuf>, PackageError> {
        let sources = Sources::of(package)?;
        let program = self.place(&key(&sources.files, &self.toolchain()?), package);
        Ok(program.exists().then_some(program))
    }

    fn place(&self, key: &str, package: &Package) -> PathBuf {
        let programs = self.cache.join("programs");
        programs.join(key).join(package.crate_name())
    }

    /// The program of a package, built now or earlier.
    ///
    /// # Errors
    /// [`PackageError`]; with cargo's own words when it fails.
    pub fn build(&self, package: &Package) -> Result<PathBuf, PackageError> {
        let name = package.crate_name();
        let sources = Sources::of(package)?;
        let key = key(&sources.files, &self.toolchain()?);
        let program = self.place(&key, package);
        if program.exists() {
            return Ok(program);
        }
        let _lock = self.lock()?;
        // Whoever had the lock may have built it.
        if !program.exists() {
            if let Some((folder, runtime)) = &sources.runtime {
                write_tree(&self.cache.join("runtime").join(folder), runtime)?;
            }
            let dir = self.cache.join("crates").join(&key);
            write_tree(&dir, &sources.files)?;
            install(&self.cargo_build(&dir, &name)?, &program)?;
        }
        Ok(program)
    }

    /// Builds the program of a package and puts it at `dir/bin/NAME`.
    ///
    /// # Errors
    /// As [`Builder::build`].
    pub fn build_into(&self, package: &Package, dir: &Path) -> Result<PathBuf, PackageError> {
        let program = self.build(package)?;
        let to = dir.join("bin").join(package.crate_name());
        install(&program, &to)?;
        Ok(to)
    }

    /// What of the toolchain a program depends on.
    fn toolchain(&self) -> Result<String, PackageError> {
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let output = run(Command::new(&rustc).arg("-vV"), &rustc)?;
        let version = String::from_utf8_lossy(&output.stdout);
        let flags = std::env::var_os("RUSTFLAGS").unwrap_or_default();
        let triple = self.triple.as_deref().unwrap_or("host");
        Ok(format!("{version}{}\n{triple}", flags.to_string_lossy()))
    }

    /// Only one build at a time: cargo's output file has the crate's name alone.
    fn lock(&self) -> Result<File, PackageError> {
        let path = self.cache.join("lock");
        let file = File::create(&path).map_err(PackageError::io(&path))?;
        file.lock().map_err(PackageError::io(&path))?;
        Ok(file)
    }

    /// Builds the crate in `dir`; the path of its program.
    fn cargo_build(&self, dir: &Path, name: &str) -> Result<PathBuf, PackageError> {
        const ARGS: &[&str] = &["build", "--release", "--features", "cli", "--bin"];
        let mut output = self.cargo(dir, &[ARGS, &[name, "--offline"]].concat())?;
        if needs_network(&output) {
            output = self.cargo(dir, &[ARGS, &[name]].concat())?;
        }
        if !output.status.success() {
            let output = last_lines(&output.stderr);
            return Err(PackageError::Cargo { output });
        }
        let mut built = self.cache.join("target");
        if let Some(triple) = &self.triple {
            built.push(triple);
        }
        built.push("release");
        built.push(format!("{name}{}", self.suffix()));
        Ok(built)
    }

    fn suffix(&self) -> &'static str {
        match &self.triple {
            None => std::env::consts::EXE_SUFFIX,
            Some(triple) if triple.contains("-windows") => ".exe",
            Some(_) => "",
        }
    }

    fn cargo(&self, dir: &Path, args: &[&str]) -> Result<Output, PackageError> {
        let mut command = Command::new(&self.cargo);
        // No path of this machine ends up in the program.
        let remap = format!("--remap-path-prefix={}=gemc", self.cache.display());
        let flags = toml::Value::Array(vec![toml::Value::String(remap)]);
        command
            .args(args)
            .arg("--locked")
            .arg("--manifest-path")
            .arg(dir.join("Cargo.toml"))
            .args(["--config", &format!("build.rustflags = {flags}")])
            .env("CARGO_TARGET_DIR", self.cache.join("target"))
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .env_remove("RUSTC_WORKSPACE_WRAPPER")
            .current_dir(dir);
        if let Some(triple) = &self.triple {
            command.args(["--target", triple]);
        }
        run(&mut command, &self.cargo)
    }
}

fn run(command: &mut Command, program: &OsString) -> Result<Output, PackageError> {
    command
        .output()
        .map_err(|source| PackageError::NoToolchain {
            program: program.to_string_lossy().into_owned(),
            source,
        })
}

/// Whether cargo failed only because a crate has not been downloaded yet.
fn needs_network(output: &Output) -> bool {
    !output.status.success() && String::from_utf8_lossy(&output.stderr).contains("--offline")
}

/// What cargo compiles: the crate, and the runtime in a folder that all crates share.
struct Sources {
    files: Files,
    runtime: Option<(String, Files)>,
}

impl Sources {
    fn of(package: &Package) -> Result<Self, PackageError> {
        let mut package = package.clone();
        let mut shared = None;
        if package.runtime == Runtime::Embedded {
            let text = |(path, text): (String, String)| (path, text.into_bytes());
            let runtime: Files = super::runtime::files()?.into_iter().map(text).collect();
            let folder = key(&runtime, "");
            package.runtime = Runtime::Path(format!("../../runtime/{folder}"));
            shared = Some((folder, runtime));
        }
        package.texts.clear();
        let mut files = render(&package)?;
        // The cache may lie in somebody's workspace.
        if let Some(manifest) = files.get_mut("Cargo.toml") {
            manifest.extend_from_slice(b"\n[workspace]\n");
        }
        Ok(Self {
            files,
            runtime: shared,
        })
    }
}

/// A name for these files and this circumstance.
fn key(files: &Files, circumstance: &str) -> String {
    let mut hasher = Sha256::new();
    let mut add = |bytes: &[u8]| {
        hasher.update((bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    for (path, bytes) in files {
        add(path.as_bytes());
        add(bytes);
    }
    add(circumstance.as_bytes());
    gem_runtime::hex(&hasher.finalize()[..16])
}

/// Writes files that are not there yet, or differ; what a killed run left is completed.
fn write_tree(dir: &Path, files: &Files) -> Result<(), PackageError> {
    for (path, bytes) in files {
        let path = dir.join(path);
        if fs::read(&path).is_ok_and(|found| found == *bytes) {
            continue;
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(PackageError::io(parent))?;
        }
        fs::write(&path, bytes).map_err(PackageError::io(&path))?;
    }
    Ok(())
}

/// Copies a program: beside its place first, then renamed.
fn install(from: &Path, to: &Path) -> Result<(), PackageError> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).map_err(PackageError::io(parent))?;
    }
    let partial = to.with_extension("partial");
    let copied = fs::copy(from, &partial).and_then(|_| fs::rename(&partial, to));
    copied.map_err(|e| {
        // The first error is the one to tell.
        let _ = fs::remove_file(&partial);
        PackageError::io(to)(e)
    })
}

/// The end of a long text.
fn last_lines(bytes: &[u8]) -> String {
    const LINES: usize = 60;
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}
