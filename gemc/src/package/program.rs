//! A package -> a program, built by cargo in a content-addressed cache, so that the same package is built once; and the
//! runtime alone -> a static library.
//!
//! Cache: `programs/KEY/NAME` finished programs, `libraries/KEY` libraries, `crates/KEY` sources, `runtime/KEY` sources of the runtime (shared, so
//! that models differ only in their own crate), `target` cargo's. KEY hashes everything the program depends on: the
//! sources, not the weights, and the compiler's version.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use sha2::{Digest as _, Sha256};

use super::{Files, Package, PackageError, Runtime, guard, render, text_runtime};
use crate::cache::{self, Cache};

/// Builds programs from packages.
#[derive(Clone, Debug)]
pub struct Builder {
    cache: Cache,
    cargo: OsString,
    triple: Option<String>,
}

impl Builder {
    /// A builder with this cache. `triple` is the Rust target; `None` builds for the host.
    #[must_use]
    pub fn new(cache: &Cache, triple: Option<String>) -> Self {
        Self {
            cache: cache.clone(),
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
        let key = key(&sources.files, &self.toolchain()?);
        let program = self.place(&key, &self.program(package));
        Ok(is_whole(&program, &key).then_some(program))
    }

    fn place(&self, key: &str, product: &Product) -> PathBuf {
        let products = self.cache.root().join(product.kind);
        products.join(key).join(&product.name)
    }

    /// The program of a package, built now or earlier.
    ///
    /// # Errors
    /// [`PackageError`]; with cargo's own words when it fails.
    pub fn build(&self, package: &Package) -> Result<PathBuf, PackageError> {
        self.product(&Sources::of(package)?, &self.program(package))
    }

    /// The library that C programs link for text and threads, built now or earlier.
    ///
    /// # Errors
    /// As [`Builder::build`].
    pub fn runtime_library(&self) -> Result<PathBuf, PackageError> {
        let product = Product {
            kind: "libraries",
            name: text_runtime::LIBRARY.to_owned(),
            arguments: vec!["--lib".to_owned()],
            built: text_runtime::BUILT.to_owned(),
        };
        self.product(&Sources::of_library()?, &product)
    }

    /// What becomes of a package.
    fn program(&self, package: &Package) -> Product {
        let name = package.crate_name();
        let arguments = ["--features", "cli", "--bin", &name];
        Product {
            kind: "programs",
            arguments: arguments.map(str::to_owned).into(),
            built: format!("{name}{}", self.suffix()),
            name,
        }
    }

    fn product(&self, sources: &Sources, product: &Product) -> Result<PathBuf, PackageError> {
        let key = key(&sources.files, &self.toolchain()?);
        let place = self.place(&key, product);
        if is_whole(&place, &key) {
            return Ok(place);
        }
        let lock = self.lock()?;
        // Whoever had the lock may have built it.
        if !is_whole(&place, &key) {
            if let Some((folder, runtime)) = &sources.runtime {
                write_tree(&self.cache.root().join("runtime").join(folder), runtime)?;
            }
            let dir = self.cache.root().join("crates").join(&key);
            write_tree(&dir, &sources.files)?;
            let built = self.cargo_build(&dir, product)?;
            keep(&built, &place, &key)?;
            drop(lock);
            self.cache.trim();
        }
        Ok(place)
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
        let asked = Command::new(&rustc).arg("-vV").output();
        let output = asked.map_err(no_toolchain(&rustc))?;
        let version = String::from_utf8_lossy(&output.stdout);
        let flags = std::env::var_os("RUSTFLAGS").unwrap_or_default();
        let triple = self.triple.as_deref().unwrap_or("host");
        Ok(format!("{version}{}\n{triple}", flags.to_string_lossy()))
    }

    /// Only one build at a time: cargo's output file has the crate's name alone.
    fn lock(&self) -> Result<File, PackageError> {
        let path = self.cache.root().join(cache::BUILD_LOCK);
        let file = File::create(&path).map_err(PackageError::io(&path))?;
        file.lock().map_err(PackageError::io(&path))?;
        Ok(file)
    }

    /// Builds the crate in `dir`; the path of what cargo made.
    fn cargo_build(&self, dir: &Path, product: &Product) -> Result<PathBuf, PackageError> {
        let arguments = product.arguments.iter().map(String::as_str);
        let build: Vec<&str> = ["build", "--release"]
            .into_iter()
            .chain(arguments)
            .collect();
        let mut output = self.cargo(dir, &[&build[..], &["--offline"]].concat())?;
        if needs_network(&output) {
            output = self.cargo(dir, &build)?;
        }
        if !output.status.success() {
            let triple = self.triple.as_deref().unwrap_or("this machine");
            let output = last_lines(&output.stderr);
            return Err(if lacks_std(&output) {
                PackageError::NoStd {
                    triple: triple.to_owned(),
                    output,
                }
            } else {
                PackageError::Cargo { output }
            });
        }
        let mut built = self.cache.root().join("target");
        if let Some(triple) = &self.triple {
            built.push(triple);
        }
        built.push("release");
        built.push(&product.built);
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
        let remap = format!("--remap-path-prefix={}=gemc", self.cache.root().display());
        let flags = toml::Value::Array(vec![toml::Value::String(remap)]);
        command
            .args(args)
            .arg("--locked")
            .arg("--manifest-path")
            .arg(dir.join("Cargo.toml"))
            .args(["--config", &format!("build.rustflags = {flags}")])
            .env("CARGO_TARGET_DIR", self.cache.root().join("target"))
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .env_remove("RUSTC_WORKSPACE_WRAPPER")
            .current_dir(dir);
        if let Some(triple) = &self.triple {
            command.args(["--target", triple]);
        }
        guard::output(&command).map_err(no_toolchain(&self.cargo))
    }
}

/// What it means that a tool does not start: it is not there, or the system starts nothing.
fn no_toolchain(program: &OsString) -> impl FnOnce(io::Error) -> PackageError + '_ {
    |source| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => PackageError::NoToolchain {
            program: program.to_string_lossy().into_owned(),
            source,
        },
        _ => PackageError::io(Path::new(program))(source),
    }
}

/// Whether cargo failed only because a crate has not been downloaded yet.
fn needs_network(output: &Output) -> bool {
    !output.status.success() && String::from_utf8_lossy(&output.stderr).contains("--offline")
}

/// Whether cargo failed because the toolchain has no standard library for the target.
fn lacks_std(output: &str) -> bool {
    let missing = |name: &str| output.contains(&format!("can't find crate for `{name}`"));
    missing("core") || missing("std")
}

/// What cargo makes of a crate, and where it is kept.
struct Product {
    /// Folder in the cache.
    kind: &'static str,
    /// File in the cache.
    name: String,
    /// What cargo is told.
    arguments: Vec<String>,
    /// File that cargo makes.
    built: String,
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
            let (folder, runtime) = shared_runtime()?;
            package.runtime = Runtime::Path(runtime_path(&folder));
            shared = Some((folder, runtime));
        }
        package.texts.clear();
        Ok(Self::alone(render(&package)?, shared))
    }

    /// The crate around the runtime alone.
    fn of_library() -> Result<Self, PackageError> {
        let (folder, runtime) = shared_runtime()?;
        let files = text_runtime::files(&Runtime::Path(runtime_path(&folder)));
        Ok(Self::alone(files, Some((folder, runtime))))
    }

    fn alone(mut files: Files, runtime: Option<(String, Files)>) -> Self {
        // The cache may lie in somebody's workspace.
        if let Some(manifest) = files.get_mut("Cargo.toml") {
            manifest.extend_from_slice(b"\n[workspace]\n");
        }
        Self { files, runtime }
    }
}

/// The runtime's sources, and the name of their folder.
fn shared_runtime() -> Result<(String, Files), PackageError> {
    let text = |(path, text): (String, String)| (path, text.into_bytes());
    let runtime: Files = super::runtime::files()?.into_iter().map(text).collect();
    Ok((key(&runtime, ""), runtime))
}

/// Where a crate in the cache finds that folder.
fn runtime_path(folder: &str) -> String {
    format!("../../runtime/{folder}")
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

/// Whether a product is in the cache, as it was put there. It counts as used then.
fn is_whole(program: &Path, key: &str) -> bool {
    let folder = program.parent();
    let whole = program.exists() && folder.is_some_and(|folder| cache::is_sealed(folder, key));
    if whole {
        cache::used(program);
    }
    whole
}

/// Puts a product into the cache, alone in its folder.
fn keep(built: &Path, program: &Path, key: &str) -> Result<(), PackageError> {
    let Some(folder) = program.parent() else {
        return Ok(());
    };
    if let Err(e) = fs::remove_dir_all(folder)
        && e.kind() != std::io::ErrorKind::NotFound
    {
        return Err(PackageError::io(folder)(e));
    }
    install(built, program)?;
    cache::seal(folder, key).map_err(PackageError::io(folder))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_not_as_it_was_put_there_is_built_again() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let built = dir.path().join("built");
        fs::write(&built, "code").expect("space");
        let program = dir.path().join("programs/a/model");
        assert!(!is_whole(&program, "a"));
        let changes: [&dyn Fn(); 3] = [
            &|| fs::write(&program, "cod").expect("space"),
            &|| fs::write(&program, "mode").expect("space"),
            &|| fs::remove_file(&program).expect("there"),
        ];
        for change in changes {
            keep(&built, &program, "a").expect("space");
            assert!(is_whole(&program, "a") && !is_whole(&program, "b"));
            change();
            assert!(!is_whole(&program, "a"));
        }
    }
}
