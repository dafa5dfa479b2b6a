//! A package -> a program, built by cargo in a content-addressed cache, so that the same package is built once; and the
//! runtime alone -> a static library.
//!
//! Cache: `programs/KEY/NAME` finished programs, `libraries/KEY` libraries, `gemc-crate` the sources of whatever was built
//! last, `target` cargo's. KEY hashes everything the program depends on: the sources, not the weights, the compiler's version
//! and how it is linked.
//!
//! The same inputs give the same bytes wherever the cache, the home and cargo's registry are, and no path of this machine
//! is among them. Cargo hashes where a crate lies in its workspace into symbols and type ids, so all crates are built in
//! one folder, with the runtime inside.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use sha2::{Digest as _, Sha256};

use super::compile::{Compile, circumstance, stripped};
use super::toolchain::{Linkage, Toolchain};
use super::{
    Files, MANIFEST, Package, PackageError, ProgramManifest, Runtime, render, text_runtime,
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
    /// What was found; looking for it starts compilers.
    toolchain: OnceLock<Toolchain>,
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
            toolchain: OnceLock::new(),
        }
    }

    /// With programs linked so; a library is linked later, by others.
    #[must_use]
    pub fn linked(self, linkage: Linkage) -> Self {
        Self {
            linkage,
            toolchain: OnceLock::new(),
            ..self
        }
    }

    /// What programs are built with. Tells before any work whether they can be.
    ///
    /// # Errors
    /// As of [`Toolchain::find`].
    pub fn toolchain(&self) -> Result<&Toolchain, PackageError> {
        if let Some(found) = self.toolchain.get() {
            return Ok(found);
        }
        let found = Toolchain::find(self.triple.as_deref(), self.linkage)?;
        Ok(self.toolchain.get_or_init(|| found))
    }

    /// The program of a package, if it was built before.
    ///
    /// # Errors
    /// As of [`Builder::toolchain`]: whether one is out of date depends on the compiler.
    pub fn find(&self, package: &Package) -> Result<Option<PathBuf>, PackageError> {
        let toolchain = self.toolchain()?;
        let key = key(&sources(package)?, &circumstance(toolchain));
        let program = self.place(&key, &program(package, toolchain));
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
        let toolchain = self.toolchain()?;
        let program = program(package, toolchain);
        self.product(toolchain, &sources(package)?, &program)
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
        let runtime = super::runtime::files(None)?.into_iter();
        files.extend(runtime.map(|(path, text)| {
            let path = format!("{}/{path}", text_runtime::RUNTIME);
            (path, text.into_bytes())
        }));
        self.product(self.toolchain()?, &alone(files), &product)
    }

    fn product(
        &self,
        toolchain: &Toolchain,
        sources: &Files,
        product: &Product,
    ) -> Result<PathBuf, PackageError> {
        let key = key(sources, &circumstance(toolchain));
        let place = self.place(&key, product);
        if is_whole(&place, &key) {
            return Ok(place);
        }
        let lock = self.lock()?;
        // Whoever had the lock may have built it.
        if !is_whole(&place, &key) {
            write_tree(&self.cache.root().join(CRATE), sources)?;
            let compile = Compile {
                root: self.cache.root(),
                cargo: &self.cargo,
                toolchain,
            };
            let mut built = compile.build(&product.arguments, &product.built)?;
            if product.kind == LIBRARIES {
                built = stripped(toolchain, built);
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
        let about = ProgramManifest::new(&name, &to, self.toolchain()?)?;
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
fn program(package: &Package, toolchain: &Toolchain) -> Product {
    let name = package.crate_name();
    let windows = toolchain.triple.contains("-windows");
    let arguments = ["--features", "cli", "--bin", &name];
    Product {
        kind: PROGRAMS,
        arguments: arguments.map(str::to_owned).into(),
        built: format!("{name}{}", if windows { ".exe" } else { "" }),
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
        && e.kind() != io::ErrorKind::NotFound
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
}
