//! A package -> a program, built by cargo in a content-addressed cache, so that the same package is built once; and the
//! runtime alone -> a static library.
//!
//! Cache: `programs/KEY/NAME` finished programs, `libraries/KEY` libraries, `crate` the sources of whatever was built last,
//! `target` cargo's. KEY hashes everything the program depends on: the sources, not the weights, the compiler's version
//! and how it is linked.
//!
//! The same inputs give the same bytes wherever the cache, the home and cargo's registry are, and no path of this machine
//! is among them. Cargo hashes where a crate lies in its workspace into symbols and type ids, so all crates are built in
//! one folder, with the runtime inside; rustc writes paths into messages, so each that may occur is replaced.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::toolchain::{Linkage, Toolchain, linker_variable};
use super::{
    Files, MANIFEST, Package, PackageError, ProgramManifest, Runtime, guard, render, text_runtime,
};
use crate::cache::{self, CRATE, Cache};

/// Folder of the cache with finished programs.
const PROGRAMS: &str = "programs";

/// Folder of the cache with finished libraries.
const LIBRARIES: &str = "libraries";

/// Builds programs from packages.
#[derive(Clone, Debug)]
pub struct Builder {
    cache: Cache,
    cargo: OsString,
    triple: Option<String>,
    linkage: Linkage,
}

impl Builder {
    /// A builder with this cache. `triple` is the Rust target; `None` builds for the host.
    #[must_use]
    pub fn new(cache: &Cache, triple: Option<String>) -> Self {
        Self {
            cache: cache.clone(),
            cargo: std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()),
            triple,
            linkage: Linkage::default(),
        }
    }

    /// With programs linked so; a library is linked later, by others.
    #[must_use]
    pub fn linked(self, linkage: Linkage) -> Self {
        Self { linkage, ..self }
    }

    /// What programs are built with. Tells before any work whether they can be.
    ///
    /// # Errors
    /// As of [`Toolchain::find`].
    pub fn toolchain(&self) -> Result<Toolchain, PackageError> {
        Toolchain::find(self.triple.as_deref(), self.linkage)
    }

    /// The program of a package, if it was built before.
    ///
    /// # Errors
    /// As of [`Builder::toolchain`]: whether one is out of date depends on the compiler.
    pub fn find(&self, package: &Package) -> Result<Option<PathBuf>, PackageError> {
        let key = key(&sources(package)?, &circumstance(&self.toolchain()?));
        let program = self.place(&key, &program(package));
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
        self.product(&sources(package)?, &program(package))
    }

    /// The library that C programs link for text and threads, built now or earlier.
    ///
    /// # Errors
    /// As [`Builder::build`].
    pub fn runtime_library(&self) -> Result<PathBuf, PackageError> {
        let product = Product {
            kind: LIBRARIES,
            name: text_runtime::LIBRARY.to_owned(),
            arguments: vec!["--lib".to_owned()],
            built: text_runtime::BUILT.to_owned(),
        };
        let runtime = Runtime::Path(text_runtime::RUNTIME.to_owned());
        let mut files = text_runtime::files(&runtime);
        let runtime = super::runtime::files()?.into_iter();
        files.extend(runtime.map(|(path, text)| {
            let path = format!("{}/{path}", text_runtime::RUNTIME);
            (path, text.into_bytes())
        }));
        self.product(&alone(files), &product)
    }

    fn product(&self, sources: &Files, product: &Product) -> Result<PathBuf, PackageError> {
        let toolchain = self.toolchain()?;
        let key = key(sources, &circumstance(&toolchain));
        let place = self.place(&key, product);
        if is_whole(&place, &key) {
            return Ok(place);
        }
        let lock = self.lock()?;
        // Whoever had the lock may have built it.
        if !is_whole(&place, &key) {
            write_tree(&self.cache.root().join(CRATE), sources)?;
            self.mark_target()?;
            let mut built = self.cargo_build(&toolchain, product)?;
            if product.kind == LIBRARIES {
                built = stripped(&toolchain, built);
            }
            keep(&built, &place, &key)?;
            drop(lock);
            self.cache.trim();
        }
        Ok(place)
    }

    /// Builds the program of a package and puts it at `dir/bin/NAME`, with a manifest beside it; gives both.
    ///
    /// # Errors
    /// As [`Builder::build`].
    pub fn build_into(
        &self,
        package: &Package,
        dir: &Path,
    ) -> Result<(PathBuf, ProgramManifest), PackageError> {
        let program = self.build(package)?;
        let name = package.crate_name();
        let bin = dir.join("bin");
        let to = bin.join(&name);
        install(&program, &to)?;
        let about = ProgramManifest::new(&name, &to, &self.toolchain()?)?;
        let path = bin.join(MANIFEST);
        fs::write(&path, about.to_json()).map_err(PackageError::io(&path))?;
        Ok((to, about))
    }

    /// Only one build at a time: cargo's output file has the crate's name alone.
    fn lock(&self) -> Result<File, PackageError> {
        let root = self.cache.root();
        let file = self.cache.build_lock().map_err(PackageError::io(root))?;
        file.lock().map_err(PackageError::io(root))?;
        Ok(file)
    }

    /// Marks cargo's folder as one that may be removed.
    fn mark_target(&self) -> Result<(), PackageError> {
        let target = self.cache.root().join(cache::CARGO);
        let mark = target.join(cache::CARGO_MARK);
        let marked = match target.exists() {
            // Somebody else's, or an earlier version's.
            true => Ok(()),
            false => fs::create_dir(&target).and_then(|()| fs::write(&mark, "")),
        };
        marked.map_err(PackageError::io(&mark))
    }

    /// Builds the crate that was written; the path of what cargo made.
    fn cargo_build(
        &self,
        toolchain: &Toolchain,
        product: &Product,
    ) -> Result<PathBuf, PackageError> {
        let flags = self.flags(toolchain)?;
        let triple = &toolchain.triple;
        // Everything is there now. `--target` keeps the flags from what runs here: build scripts and macros.
        let mut command = self.cargo(toolchain, "rustc");
        command
            .args(["--release", "--offline", "--target", triple])
            .args(&product.arguments)
            // Over whatever cargo's own configuration says of what is shipped.
            .args(["--config", "profile.release.strip = true"])
            .args(["--config", "profile.release.debug = false"])
            .env("CARGO_TARGET_DIR", self.cache.root().join("target"))
            .env("CARGO_INCREMENTAL", "0")
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join(SEPARATOR.as_ref()));
        if let Some(linker) = toolchain.linker.as_ref().and_then(|linker| linker.told()) {
            command.env(linker_variable(triple), linker);
        }
        // Only what links must know; so static programs share all else with others.
        if toolchain.linkage == Linkage::Static {
            command.args(["--", "-C", "target-feature=+crt-static"]);
        }
        let output = run(&command, &self.cargo)?;
        if !output.status.success() {
            let output = last_lines(&output.stderr);
            return Err(PackageError::Cargo { output });
        }
        let suffix = match product.kind {
            PROGRAMS if triple.contains("-windows") => ".exe",
            _ => "",
        };
        let folder = self.cache.root().join("target").join(triple);
        Ok(folder
            .join("release")
            .join(format!("{}{suffix}", product.built)))
    }

    /// Flags of rustc: the user's, then what replaces paths of this machine.
    fn flags(&self, toolchain: &Toolchain) -> Result<Vec<OsString>, PackageError> {
        let mut paths = vec![(self.cache.root().to_owned(), "gemc".to_owned())];
        let folders = self.crates(toolchain)?.into_iter();
        paths.extend(folders.map(|folder| (folder, "crates".to_owned())));
        paths.extend(toolchain.rustc.library_sources());
        let replaced = paths.into_iter().map(|(from, to)| {
            let mut flag = OsString::from("--remap-path-prefix=");
            flag.push(from);
            flag.push(format!("={to}"));
            flag
        });
        let given = user_flags();
        let given = given.split_whitespace().map(OsString::from);
        let linux = toolchain.triple.contains("-linux-");
        let random = linux.then(|| RANDOM.into());
        Ok(given.chain(random).chain(replaced).collect())
    }

    /// The folders that the crates of the lock file lie in, after they were downloaded, unless they are there.
    fn crates(&self, toolchain: &Toolchain) -> Result<BTreeSet<PathBuf>, PackageError> {
        let metadata = |offline: &[&str]| {
            let mut command = self.cargo(toolchain, "metadata");
            command.args(["--format-version", "1"]).args(offline);
            for triple in [toolchain.rustc.host(), &toolchain.triple] {
                command.args(["--filter-platform", triple]);
            }
            run(&command, &self.cargo)
        };
        let mut output = metadata(&["--offline"])?;
        if needs_network(&output) {
            output = metadata(&[])?;
        }
        if !output.status.success() {
            let output = last_lines(&output.stderr);
            return Err(PackageError::Cargo { output });
        }
        folders_of_crates(&output.stdout)
    }

    fn cargo(&self, toolchain: &Toolchain, verb: &str) -> Command {
        let dir = self.cache.root().join(CRATE);
        let mut command = Command::new(&self.cargo);
        command
            .args([verb, "--locked", "--manifest-path"])
            .arg(dir.join("Cargo.toml"))
            .env("RUSTC", &toolchain.rustc.program)
            .env_remove("RUSTC_WORKSPACE_WRAPPER")
            .current_dir(dir);
        command
    }
}

/// What of the toolchain a program depends on.
fn circumstance(toolchain: &Toolchain) -> String {
    let Toolchain {
        rustc,
        triple,
        linkage,
        ..
    } = toolchain;
    let flags = user_flags();
    format!(
        "{}{flags}\n{triple}\n{linkage:?}\n{RANDOM}",
        rustc.version()
    )
}

/// A library without the debug information of Rust's standard library, which cargo's profile does not reach. Where there
/// is nothing that removes it, it stays: it holds paths of Rust's makers only.
fn stripped(toolchain: &Toolchain, library: PathBuf) -> PathBuf {
    let Some(linker) = &toolchain.linker else {
        return library;
    };
    let to = library.with_extension("stripped");
    let status = Command::new(linker.strip())
        .args(["--strip-debug", "--enable-deterministic-archives", "-o"])
        .arg(&to)
        .arg(&library)
        .output();
    match status {
        Ok(output) if output.status.success() => to,
        _ => library,
    }
}

/// Flags that the user gives in the environment. Those of cargo's configuration files do not count: what is shipped must
/// not depend on them.
fn user_flags() -> String {
    let flags = std::env::var_os("RUSTFLAGS").unwrap_or_default();
    flags.to_string_lossy().into_owned()
}

/// Has random numbers, which hash tables of the tokenizer begin with, come from the system call alone. Else `getrandom`
/// looks for its function in the C library while the program runs, which a static one cannot, and then for `/dev/urandom`.
const RANDOM: &str = "--cfg=getrandom_backend=\"linux_getrandom\"";

/// What separates flags in `CARGO_ENCODED_RUSTFLAGS`.
const SEPARATOR: &str = "\x1f";

/// What `cargo metadata` writes, as far as it matters here.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    manifest_path: PathBuf,
    /// Nothing for the crate itself and what it brings along.
    source: Option<String>,
}

/// The folders in which crates from elsewhere lie: the registry's, or that of `cargo vendor`.
fn folders_of_crates(metadata: &[u8]) -> Result<BTreeSet<PathBuf>, PackageError> {
    let metadata: Metadata = serde_json::from_slice(metadata).map_err(|e| PackageError::Cargo {
        output: format!("cargo metadata: {e}"),
    })?;
    let others = metadata.packages.iter().filter(|p| p.source.is_some());
    let folders = others.filter_map(|p| p.manifest_path.parent()?.parent());
    Ok(folders.map(Path::to_owned).collect())
}

fn run(command: &Command, program: &OsString) -> Result<Output, PackageError> {
    guard::output(command).map_err(no_toolchain(program))
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

/// What becomes of a package.
fn program(package: &Package) -> Product {
    let name = package.crate_name();
    let arguments = ["--features", "cli", "--bin", &name];
    Product {
        kind: PROGRAMS,
        arguments: arguments.map(str::to_owned).into(),
        built: name.clone(),
        name,
    }
}

/// What cargo compiles of a package.
fn sources(package: &Package) -> Result<Files, PackageError> {
    let mut package = package.clone();
    package.texts.clear();
    Ok(alone(render(&package)?))
}

/// The crate as a workspace of its own: the cache may lie in somebody's.
fn alone(mut files: Files) -> Files {
    if let Some(manifest) = files.get_mut("Cargo.toml") {
        manifest.extend_from_slice(b"\n[workspace]\n");
    }
    files
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

/// Makes a folder hold these files and no others. Files that are as they should be keep their times, by which cargo knows
/// what to build again.
fn write_tree(dir: &Path, files: &Files) -> Result<(), PackageError> {
    remove_others(dir, "", files)?;
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

/// Removes the files of a folder that are not among these.
fn remove_others(dir: &Path, prefix: &str, files: &Files) -> Result<(), PackageError> {
    for item in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = item.path();
        let name = format!("{prefix}{}", item.file_name().to_string_lossy());
        if item.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_others(&path, &format!("{name}/"), files)?;
        } else if !files.contains_key(&name) {
            fs::remove_file(&path).map_err(PackageError::io(&path))?;
        }
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
    let kept = install(built, program)
        .and_then(|()| cache::seal(folder, key).map_err(PackageError::io(folder)));
    kept.inspect_err(|_| {
        // Half of it would only take room.
        let _ = fs::remove_dir_all(folder);
    })
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

    #[test]
    fn the_folder_of_a_crate_holds_its_files_and_no_others() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let files = |names: &[&str]| -> Files {
            let named = names.iter().map(|name| ((*name).to_owned(), b"x".to_vec()));
            named.collect()
        };
        write_tree(dir.path(), &files(&["Cargo.toml", "src/text.rs"])).expect("space");
        let before = fs::metadata(dir.path().join("Cargo.toml")).and_then(|m| m.modified());
        write_tree(dir.path(), &files(&["Cargo.toml", "src/text/mod.rs"])).expect("space");
        assert!(dir.path().join("src/text/mod.rs").is_file());
        assert!(!dir.path().join("src/text.rs").exists());
        let after = fs::metadata(dir.path().join("Cargo.toml")).and_then(|m| m.modified());
        assert_eq!(
            before.expect("a time"),
            after.expect("a time"),
            "not built again"
        );
    }

    #[test]
    fn crates_from_elsewhere_are_found() {
        let metadata = br#"{"packages": [
            {"name": "m", "source": null, "manifest_path": "/cache/crate/Cargo.toml"},
            {"name": "a", "source": "registry+x", "manifest_path": "/home/u/r/a-1.0.0/Cargo.toml"},
            {"name": "b", "source": "registry+x", "manifest_path": "/home/u/r/b-1.0.0/Cargo.toml"}
        ]}"#;
        let found = folders_of_crates(metadata).expect("JSON");
        assert_eq!(Vec::from_iter(found), [PathBuf::from("/home/u/r")]);
        assert!(folders_of_crates(b"{").is_err());
    }
}
