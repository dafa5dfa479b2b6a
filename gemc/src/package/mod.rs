//! Generated sources, facts and texts -> a self-contained crate folder, and a program built from it.
//!
//! [`render`] is pure: the same package gives the same bytes on every machine, without absolute paths, dates or core
//! counts. [`write()`] puts them beside the destination and renames, so that what looks whole is whole.

pub(crate) mod api;
mod assemble;
mod better;
mod bundle;
mod cargo;
mod compile;
mod contents;
mod error;
mod folder;
mod guard;
mod kept;
#[cfg(feature = "cli")]
mod kit;
mod linkable;
mod lock;
mod manifest;
mod names;
mod program;
mod program_manifest;
mod readme;
mod requirements;
mod runtime;
mod sources;
#[cfg(test)]
mod tests;
mod text_runtime;
pub mod toolchain;

use std::collections::BTreeMap;
use std::fs::File;

use gem_runtime::ModelInfo;

pub(crate) use assemble::in_folder;
pub use better::BetterProgram;
pub use bundle::{BUNDLE, BundleError, Bundled, BundledModel, bundle};
pub(crate) use cargo::{crate_name, one_line};
pub use error::PackageError;
pub use folder::{Destination, EditedFiles};
pub use kept::{found_weights, kept_weights};
pub use linkable::{Form, HEADER, HEADER_NAME, LinkableObject};
pub use manifest::{Manifest, hash_bytes, hash_file};
pub use program::Builder;
pub use program_manifest::ProgramManifest;
pub use requirements::{Requirements, glibc_version};
pub use text_runtime::{LIBRARY, write_runtime, write_sources};
pub use toolchain::{Linkage, Toolchain};

/// Name of the weight file in a package.
pub const WEIGHTS: &str = "model.gemw";

/// Folder of the licence texts in a package.
const LICENSES: &str = "licenses";

/// Name of the manifest in a package.
pub const MANIFEST: &str = "manifest.json";

/// Where the generated crate finds `gem-runtime`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Runtime {
    /// Its sources are written into the package, as a version of their own.
    #[default]
    Embedded,
    /// A published version.
    Version(String),
    /// A folder, absolute or relative to the crate's.
    Path(String),
}

/// What a crate folder is made from.
///
/// ```
/// use gemc::package::{Runtime, render};
/// use gemc::plan::BitPlan;
/// use gemc::prepared::PreparedModel;
/// use gemc::target::Target;
/// use gemc::{Rounding, pipeline};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let loaded = pipeline::load("../examples/checkpoints/lm-dense-pre-rope".as_ref())?;
/// let plan = BitPlan::parse_bits(&loaded.graph, "4.25")?;
/// let model = PreparedModel::new(loaded, plan, Target::find("pi4")?, Rounding::Plain, None)?;
/// let files = render(&model.package(Runtime::Version("0.1.0".to_owned()))?)?;
/// assert!(files.contains_key("Cargo.toml") && files.contains_key("src/lib.rs"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Package {
    /// Facts; the crate gets its name from them.
    pub info: ModelInfo,
    /// Generated sources: path in the crate, text. `src/program.rs` declares `pub static PROGRAM`.
    pub sources: Vec<(String, String)>,
    /// Programs for CPUs that have more, the best first.
    pub better: Vec<BetterProgram>,
    /// What makes it a kit: its program measures the machine.
    pub kit: Option<KitSources>,
    /// Tokenizer files and the like, copied as they are: name, contents.
    pub texts: Vec<(String, Vec<u8>)>,
    /// Licence texts of the checkpoint: name of the file, what it says.
    pub licenses: Vec<(String, String)>,
    /// What the crate links.
    pub runtime: Runtime,
    /// SHA-256 of the files it was made from, by name, in hexadecimal.
    pub inputs: BTreeMap<String, String>,
    /// What the manifest must be, where that is fixed.
    pub locked: Option<Manifest>,
}

impl Package {
    /// Name of the crate, and of its program.
    #[must_use]
    pub fn crate_name(&self) -> String {
        cargo::crate_name(&self.info.name)
    }
}

/// What a kit's crate has beside the model.
#[derive(Clone, Debug)]
pub struct KitSources {
    /// The program of products: path in the crate, text.
    pub sources: Vec<(String, String)>,
    /// Text of `src/main.rs`.
    pub main: String,
}

/// Files by path, with `/` between folders.
pub type Files = BTreeMap<String, Vec<u8>>;

/// All files of a package but the weights and the manifest.
///
/// # Errors
/// When two parts claim one path, or a generated source does not parse.
pub fn render(package: &Package) -> Result<Files, PackageError> {
    let name = package.crate_name();
    let own = [
        ("Cargo.toml", cargo::manifest(package)),
        ("Cargo.lock", lock::lock(&name, &package.runtime)),
        ("README.md", readme::text(package)),
        ("src/lib.rs", sources::lib(package)?),
        ("src/main.rs", sources::main(package)),
    ];
    let own = own.map(|(path, text)| (path.to_owned(), text));
    let runtime = match package.runtime {
        Runtime::Embedded => runtime::files(Some(&name))?,
        Runtime::Version(_) | Runtime::Path(_) => Vec::new(),
    };
    let runtime = runtime
        .into_iter()
        .map(|(path, text)| (format!("gem-runtime/{path}"), text));
    let better = package.better.iter().flat_map(|b| &b.sources);
    let kit = package.kit.iter().flat_map(|kit| &kit.sources);
    let sources = package.sources.iter().chain(better).chain(kit).cloned();
    let own = own.into_iter().chain(sources).map(readme::marked);
    let texts = own.chain(runtime);
    let texts = texts.map(|(path, text)| (path, text.into_bytes()));
    let copied = package.texts.iter().cloned();
    files(texts.chain(copied).chain(license_files(&package.licenses)))
}

/// The files that carry licence texts.
fn license_files(licenses: &[(String, String)]) -> impl Iterator<Item = (String, Vec<u8>)> {
    let file = |(name, text): &(String, String)| {
        let path = format!("{LICENSES}/{name}");
        (path, text.clone().into_bytes())
    };
    licenses.iter().map(file)
}

/// Files of different paths.
///
/// # Errors
/// [`PackageError::Clash`].
fn files(all: impl IntoIterator<Item = (String, Vec<u8>)>) -> Result<Files, PackageError> {
    let mut files = Files::new();
    for (path, bytes) in all {
        if files.insert(path.clone(), bytes).is_some() {
            return Err(PackageError::Clash { path });
        }
    }
    Ok(files)
}

/// What the manifest says of a folder beside its files.
#[derive(Clone, Copy, Debug)]
struct About<'a> {
    info: &'a ModelInfo,
    inputs: &'a BTreeMap<String, String>,
    licenses: &'a [(String, String)],
    locked: Option<&'a Manifest>,
}

/// Writes a package to a folder. `weights` writes the weight file.
///
/// A previous package there is replaced, once the new one is complete.
///
/// # Errors
/// [`PackageError`]; nothing is left behind then.
pub fn write<E>(
    to: Destination,
    package: &Package,
    weights: impl FnOnce(&mut File) -> Result<(), E>,
) -> Result<Manifest, E>
where
    E: From<PackageError>,
{
    let about = About {
        info: &package.info,
        inputs: &package.inputs,
        licenses: &package.licenses,
        locked: package.locked.as_ref(),
    };
    write_files(to, about, &render(package)?, weights)
}

/// Writes a folder for C programs, as [`write()`] writes a crate.
///
/// # Errors
/// As there.
pub fn write_linkable<E>(
    to: Destination,
    linkable: &LinkableObject,
    weights: impl FnOnce(&mut File) -> Result<(), E>,
) -> Result<Manifest, E>
where
    E: From<PackageError>,
{
    write_files(to, linkable.about(), &linkable.render()?, weights)
}

fn write_files<E>(
    to: Destination,
    about: About<'_>,
    files: &Files,
    weights: impl FnOnce(&mut File) -> Result<(), E>,
) -> Result<Manifest, E>
where
    E: From<PackageError>,
{
    for (path, bytes) in files {
        to.write(path, bytes)?;
    }
    weights(&mut to.create(WEIGHTS)?)?;
    let manifest = Manifest::new(about, files, &to.path(WEIGHTS))?;
    if let Some(locked) = about.locked {
        manifest.check(locked, to.target())?;
    }
    to.write(MANIFEST, manifest.to_json().as_bytes())?;
    to.commit(&manifest)?;
    Ok(manifest)
}
