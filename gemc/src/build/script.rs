//! A model -> files in `OUT_DIR`, for `build.rs`: the module, its weight file, and what cargo is to watch.

use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::TokenStream;

use super::{Build, BuildError, WeightsIn, inputs, module, weights};
use crate::cache::Cache;
use crate::package::{PackageError, WEIGHTS};
use crate::pipeline;

/// What a build script made.
#[derive(Clone, Debug)]
pub struct Built {
    /// Name of the module, for `include_built!`.
    pub name: String,
    /// The weight file.
    pub weights: PathBuf,
}

impl Build {
    /// Writes the module to `OUT_DIR`, from where `gem_runtime::include_built!` takes it, and tells cargo when to do so again:
    /// when a file of the checkpoint or the plan changes, or one comes into its folder.
    ///
    /// The target is that of cargo's `--target`, unless [`Build::target`] names others.
    ///
    /// # Errors
    /// As of [`Build::module`], without a limit for inputs; outside of a build script.
    pub fn compile(&self) -> Result<Built, BuildError> {
        let variable =
            |name: &'static str| std::env::var(name).map_err(|_| BuildError::NotCargo(name));
        let out = PathBuf::from(variable("OUT_DIR")?);
        let architecture = variable("CARGO_CFG_TARGET_ARCH")?;
        let located = self.located();
        println!("cargo::rerun-if-changed={}", located.path.display());
        let loaded = pipeline::load(&located.path)?;
        let reference = inputs::reference(&located)?;
        for input in inputs::of(&loaded, &self.formats)?.iter().chain(&reference) {
            println!("cargo::rerun-if-changed={}", inputs::text(&input.path)?);
        }
        let known = super::programs::named().any(|named| named == architecture);
        let has = |arch: &str| {
            if known {
                arch == architecture
            } else {
                arch.is_empty()
            }
        };
        let caches = [Cache::if_possible()?, Cache::at(&out.join("gemc")).ok()];
        let mut made = self.made(loaded, &has, false, &mut |prepared| {
            weights::kept(
                prepared,
                &self.formats,
                caches.clone().into_iter().flatten(),
            )
        })?;
        let folder = out.join(&made.name);
        let weights = match &made.weights {
            Some(kept) => copied(kept, &folder)?,
            None => return Err(BuildError::Internal("there is no weight file".into())),
        };
        if self.weights == WeightsIn::File {
            // Beside the weight file, where `Model::open` looks for them.
            for (name, from) in &made.texts {
                let to = folder.join(name);
                let parent = to.parent().unwrap_or(&folder);
                fs::create_dir_all(parent).map_err(PackageError::io(parent))?;
                fs::copy(from, &to).map_err(PackageError::io(&to))?;
            }
        }
        made.weights = Some(weights.clone());
        made.unoptimised = matches!(std::env::var("OPT_LEVEL").as_deref(), Ok("0" | "1"));
        let text = formatted(module::module(&made, &TokenStream::new())?)?;
        let file = folder.join("module.rs");
        fs::write(&file, text).map_err(PackageError::io(&file))?;
        if self.weights == WeightsIn::File {
            let name = made.name.to_uppercase();
            println!("cargo::rustc-env={name}_WEIGHTS={}", weights.display());
        }
        Ok(Built {
            name: made.name,
            weights,
        })
    }
}

/// The weight file beside the module: a build must not depend on what a cache still has. Linked where that is possible.
fn copied(kept: &Path, folder: &Path) -> Result<PathBuf, BuildError> {
    fs::create_dir_all(folder).map_err(PackageError::io(folder))?;
    let to = folder.join(WEIGHTS);
    let beside = folder.join("model.partial");
    let _ = fs::remove_file(&beside);
    if fs::hard_link(kept, &beside).is_err() {
        fs::copy(kept, &beside).map_err(PackageError::io(&beside))?;
    }
    fs::rename(&beside, &to).map_err(PackageError::io(&to))?;
    // A link to the same file: renaming does nothing then.
    let _ = fs::remove_file(&beside);
    Ok(to)
}

fn formatted(module: TokenStream) -> Result<String, BuildError> {
    let file = syn::parse2(module);
    let file =
        file.map_err(|e| BuildError::Internal(format!("generated code does not parse: {e}")))?;
    Ok(prettyplease::unparse(&file))
}
