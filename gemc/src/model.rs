//! The folder of a checkpoint -> a model that answers in this process: loaded, quantised, lowered, compiled to machine
//! code. `gemc run` takes the same way.
//!
//! Invariant: code and weights live exactly as long as the model.

use std::path::{Path, PathBuf};

use gem_runtime::{Engine, License};
use gemc_format::Rounding;

use crate::backend::{self, JitEngineError};
use crate::cache::{Cache, CacheError};
pub use crate::emit::cranelift::Effort;
use crate::pipeline::{self, CompileError};
use crate::plan::{BitPlan, DEFAULT_BITS, KvFormat};
use crate::prepared::{Formats, FormatsError, PreparedModel};
use crate::progress::{Progress, Silent};
use crate::target::Target;

/// A checkpoint as machine code of this process. A program can take the checkpoint's path at run time.
///
/// It is a [`gem_runtime::Model`] like a compiled one: clones and any number of sessions on any threads share it, and its
/// memory is given back when the last of them is dropped.
///
/// ```no_run
/// use gem_runtime::{Model as _, Sampling, SessionOptions};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let model = gemc::model::Model::options().bits("5.25").open("path/to/checkpoint")?;
/// let mut session = model.session(SessionOptions::default())?;
/// for piece in session.generate("The license", Sampling::default()) {
///     print!("{}", piece?.text);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Model(Engine);

/// Threads may share a model.
const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Model>();
};

/// Why a checkpoint did not become a model.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The checkpoint cannot be read or compiled.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The name of a format, or the plan.
    #[error(transparent)]
    Formats(#[from] FormatsError),
    /// The cache cannot be used as it is set.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// Its machine code cannot run here.
    #[error(transparent)]
    Engine(#[from] JitEngineError),
}

impl Model {
    /// Opens a checkpoint in the default format, for this machine, with the user's cache.
    ///
    /// # Errors
    /// When the folder is no checkpoint, or this machine does not let code be made.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::options().open(path)
    }

    /// How to open a checkpoint in another way.
    pub fn options() -> Options {
        Options::default()
    }

    /// The model of a checkpoint that was compiled already.
    ///
    /// # Errors
    /// [`OpenError::Engine`].
    pub fn new(
        prepared: &PreparedModel,
        effort: Effort,
        progress: &dyn Progress,
    ) -> Result<Self, OpenError> {
        let license = prepared.licenses().map_err(JitEngineError::from)?;
        let license = license.into_iter().map(|(file, text)| License {
            file: file.into(),
            text: text.into(),
        });
        let engine = backend::jitted(prepared, effort, progress)?;
        let engine = engine.with_text(prepared.text());
        Ok(Self(engine.with_license(license.collect::<Vec<_>>())))
    }

    /// Program, weights and text, for those who make sessions themselves.
    #[must_use]
    pub fn into_engine(self) -> Engine {
        self.0
    }
}

impl gem_runtime::Model for Model {
    fn engine(&self) -> &Engine {
        &self.0
    }
}

/// How a checkpoint becomes a [`Model`].
#[derive(Clone, Debug)]
#[must_use]
pub struct Options {
    formats: Formats,
    target: Option<Target>,
    effort: Effort,
    rounding: Rounding,
    kv: Option<KvFormat>,
    cache: Keep,
}

/// Where quantised weights are kept.
#[derive(Clone, Debug)]
enum Keep {
    /// In the user's cache, if there is one.
    User,
    Cache(Cache),
    Nowhere,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            formats: Formats::Bits(DEFAULT_BITS.to_owned()),
            target: None,
            effort: Effort::default(),
            rounding: Rounding::Search,
            kv: None,
            cache: Keep::User,
        }
    }
}

impl Options {
    /// The same format for all weights, by its name for `--bits`: 8.25, l4, ...; else [`DEFAULT_BITS`].
    pub fn bits(mut self, bits: &str) -> Self {
        self.formats = Formats::Bits(bits.to_owned());
        self
    }

    /// The formats of a file that `gemc plan` made.
    pub fn plan_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.formats = Formats::File(path.into());
        self
    }

    /// A format for each item of the checkpoint.
    pub fn plan(mut self, plan: BitPlan) -> Self {
        self.formats = Formats::Plan(plan);
        self
    }

    /// Kernels of this target, which the machine must be able to run; else [`Target::host`].
    pub fn target(mut self, target: Target) -> Self {
        self.target = Some(target);
        self
    }

    /// How hard the code generator tries.
    pub const fn effort(mut self, effort: Effort) -> Self {
        self.effort = effort;
        self
    }

    /// How weights are rounded; by a search unless told otherwise.
    pub const fn rounding(mut self, rounding: Rounding) -> Self {
        self.rounding = rounding;
        self
    }

    /// How keys and values are kept; else as the plan says.
    pub const fn kv(mut self, kv: KvFormat) -> Self {
        self.kv = Some(kv);
        self
    }

    /// Keeps quantised weights in this cache; else in the user's, see [`Cache::open`].
    pub fn cache(mut self, cache: Cache) -> Self {
        self.cache = Keep::Cache(cache);
        self
    }

    /// Keeps nothing: weights are quantised each time, in memory.
    pub fn without_cache(mut self) -> Self {
        self.cache = Keep::Nowhere;
        self
    }

    /// Opens a checkpoint.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(&self, path: impl AsRef<Path>) -> Result<Model, OpenError> {
        self.open_with(path, &Silent)
    }

    /// [`Options::open`], telling how far it is: the first time, a large model is quantised for minutes.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open_with(
        &self,
        path: impl AsRef<Path>,
        progress: &dyn Progress,
    ) -> Result<Model, OpenError> {
        let loaded = pipeline::load(path.as_ref())?;
        let (loaded, plan) = self.formats.apply(loaded)?;
        let kv = self.kv.unwrap_or(plan.kv());
        let plan = plan.with_kv(kv);
        let target = self.target.clone().unwrap_or_else(Target::host);
        let cache = self.cache.find()?;
        let prepared = PreparedModel::new(loaded, plan, target, self.rounding, cache)?;
        Model::new(&prepared, self.effort, progress)
    }
}

impl Keep {
    fn find(&self) -> Result<Option<Cache>, CacheError> {
        match self {
            Self::User => Cache::if_possible(),
            Self::Cache(cache) => Ok(Some(cache.clone())),
            Self::Nowhere => Ok(None),
        }
    }
}
