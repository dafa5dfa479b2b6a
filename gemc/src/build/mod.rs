//! A checkpoint -> a module of somebody's app: what the macro `include_model!` and build scripts give, by one function.
//!
//! The module has the interface of a generated crate. It holds the kernels of every level of the architecture that it is
//! compiled for, chosen when the model is opened, over one weight file, which is part of the program or lies in a file.

mod check;
mod error;
mod inputs;
mod installed;
mod module;
mod programs;
mod rewrite;
mod script;
#[cfg(test)]
mod tests;
mod weights;

use std::path::PathBuf;

use gemc_format::Rounding;
use proc_macro2::TokenStream;
use quote::quote;

pub use check::Rustc;
pub use error::BuildError;
pub use script::Built;

use crate::cache::Cache;
use crate::import::hub::{Located, locate};
use crate::pipeline;
use crate::plan::DEFAULT_BITS;
use crate::prepared::{Formats, PreparedModel};

/// Where a model's weights are when the program runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WeightsIn {
    /// In the program: `Model::embedded()`. Weight files of at most 16 MB.
    #[default]
    Program,
    /// In a file that `Model::open` is given; `WEIGHT_FILE` says where it is on the machine that builds.
    File,
}

/// A model that is to become a module. See the guide, `docs/apps.md`.
///
/// In the `main` of a `build.rs`:
///
/// ```no_run
/// let built = gemc::Build::new("models/gem-lm").plan("models/plan.toml").compile();
/// built.unwrap_or_else(|error| gemc::build::fail(&error));
/// ```
///
/// and in the crate `gem_runtime::include_built!("gem_lm");`.
#[derive(Clone, Debug)]
pub struct Build {
    /// What a relative path of the checkpoint begins at.
    root: PathBuf,
    checkpoint: PathBuf,
    formats: Formats,
    targets: Vec<String>,
    name: Option<String>,
    weights: WeightsIn,
    text: bool,
    rounding: Rounding,
    /// Path of gem-runtime where the module stands.
    runtime: TokenStream,
}

impl Build {
    /// The checkpoint in this folder, in the default format, for the levels of the architecture. In place of a folder
    /// `org/name`, where the cache of the Hugging Face hub holds that model: `gemc pull org/name` fetches it.
    #[must_use]
    pub fn new(checkpoint: impl Into<PathBuf>) -> Self {
        Self {
            root: PathBuf::new(),
            checkpoint: checkpoint.into(),
            formats: Formats::Bits(DEFAULT_BITS.to_owned()),
            targets: Vec::new(),
            name: None,
            weights: WeightsIn::default(),
            text: true,
            rounding: Rounding::Search,
            runtime: quote!(::gem_runtime),
        }
    }

    /// What a relative path of the checkpoint begins at; the current folder unless given.
    #[must_use]
    pub fn relative_to(self, root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        Self { root, ..self }
    }

    /// Where the checkpoint is.
    fn located(&self) -> Located {
        locate(&self.root, &self.checkpoint)
    }

    /// A uniform format by its name for `--bits`, `4.25` for instance.
    #[must_use]
    pub fn bits(self, bits: impl Into<String>) -> Self {
        let formats = Formats::Bits(bits.into());
        Self { formats, ..self }
    }

    /// A plan made by `gemc plan`; its codes stand beside it.
    #[must_use]
    pub fn plan(self, file: impl Into<PathBuf>) -> Self {
        let formats = Formats::File(file.into());
        Self { formats, ..self }
    }

    /// For this target alone: a name of `gemc targets` or the path of a target file. Called again, for more of the same
    /// architecture; the first that the CPU runs is taken.
    #[must_use]
    pub fn target(mut self, target: impl Into<String>) -> Self {
        self.targets.push(target.into());
        self
    }

    /// Name of the module; that of the checkpoint's folder unless given.
    #[must_use]
    pub fn name(self, name: impl Into<String>) -> Self {
        let name = Some(name.into());
        Self { name, ..self }
    }

    /// Where weights are when the program runs.
    #[must_use]
    pub fn weights(self, weights: WeightsIn) -> Self {
        Self { weights, ..self }
    }

    /// Whether the tokenizer's files become part of the program; they do unless told otherwise.
    #[must_use]
    pub fn text(self, text: bool) -> Self {
        Self { text, ..self }
    }

    /// Path of gem-runtime where the module stands; `::gem_runtime` unless given.
    #[must_use]
    pub fn runtime(self, runtime: TokenStream) -> Self {
        Self { runtime, ..self }
    }

    /// The module as tokens, for a macro that `rustc` expands.
    ///
    /// # Errors
    /// For a checkpoint, plan, target or name that does not do; for weights too large to embed and inputs too large to
    /// track; where weights can be kept nowhere.
    pub fn module(&self, rustc: &Rustc) -> Result<TokenStream, BuildError> {
        let located = self.located();
        let loaded = pipeline::load(&located.path)?;
        let mut inputs = inputs::of(&loaded, &self.formats)?;
        inputs.extend(inputs::reference(&located)?);
        inputs::trackable(&inputs, loaded.checkpoint.dir())?;
        let tracked = inputs.iter().map(|input| inputs::included(&input.path));
        let tracked = tracked.collect::<Result<TokenStream, _>>()?;
        let mut made = self.made(loaded, &|_| true, rustc.is_check(), &mut |prepared| {
            let caches = [Cache::if_possible()?, rustc.beside_output()];
            weights::kept(prepared, &self.formats, caches.into_iter().flatten())
        })?;
        made.unoptimised = rustc.is_unoptimised();
        module::module(&made, &tracked)
    }

    /// Everything a module is printed from. `has` says which architectures are wanted; without kernels and weights where the
    /// code is only checked.
    fn made(
        &self,
        loaded: pipeline::LoadedCheckpoint,
        has: &dyn Fn(&str) -> bool,
        only_checked: bool,
        keep: &mut dyn FnMut(&mut PreparedModel) -> Result<PathBuf, BuildError>,
    ) -> Result<module::Made, BuildError> {
        let (loaded, plan) = self.formats.apply(loaded)?;
        let name = self.module_name(&loaded.checkpoint.name())?;
        let wanted = programs::wanted(&self.targets, has)?;
        // A check needs the facts, which are those of any program.
        let compiled = if only_checked {
            &wanted[..1]
        } else {
            &wanted[..]
        };
        let (programs, mut prepared) = programs::compile(loaded, &plan, self.rounding, compiled)?;
        let mut info = prepared.info();
        info.level = gem_runtime::simd::Level::Portable;
        info.target = programs::joined(&wanted).into();
        let texts = match self.text {
            true => weights::texts(&prepared)?,
            false => Vec::new(),
        };
        self.embeddable(&prepared)?;
        let weights = match only_checked {
            true => None,
            false => Some(keep(&mut prepared)?),
        };
        Ok(module::Made {
            name,
            info,
            programs: if only_checked { Vec::new() } else { programs },
            only: programs::only(&self.targets, &wanted),
            weights,
            weights_in: self.weights,
            texts,
            licenses: prepared.licenses()?,
            unoptimised: false,
            runtime: self.runtime.clone(),
        })
    }

    /// Refuses weights that are too large to be part of a program.
    fn embeddable(&self, prepared: &PreparedModel) -> Result<(), BuildError> {
        const LARGEST: u64 = 16 << 20;
        let bytes = prepared.compiled.layout.body_bytes();
        match self.weights {
            WeightsIn::Program if bytes > LARGEST => Err(BuildError::TooLargeToEmbed {
                checkpoint: self.checkpoint.clone(),
                megabytes: bytes.div_ceil(1 << 20),
                largest: LARGEST >> 20,
            }),
            _ => Ok(()),
        }
    }

    /// The module's name, as an identifier.
    fn module_name(&self, checkpoint: &str) -> Result<String, BuildError> {
        let Some(name) = &self.name else {
            return Ok(crate::package::crate_name(checkpoint).replace('-', "_"));
        };
        match syn::parse_str::<syn::Ident>(name) {
            Ok(_) => Ok(name.clone()),
            Err(_) => Err(BuildError::Name(name.clone())),
        }
    }
}

/// Ends a build script with an error in words.
pub fn fail(error: &BuildError) -> ! {
    for line in error.to_string().lines() {
        println!("cargo::error={line}");
    }
    std::process::exit(1)
}
