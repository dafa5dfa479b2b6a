//! The arguments that name a checkpoint, a device and formats -> the compiled model, and a `Peer` that runs it. Every verb
//! that compiles starts here.

use std::path::PathBuf;
use std::time::Instant;

use gem_runtime::Engine;
use gem_runtime::protocol::{Peer, Server};

use super::choices::{Device, Formats};
use super::{Failure, Ui};
use crate::backend::{self, ProgramFiles, ServedProgram};
use crate::cache::Cache;
use crate::emit::cranelift::Effort;
use crate::pipeline::{self, LoadedCheckpoint};
use crate::plan::BitPlan;
use crate::prepared;
pub use crate::prepared::PreparedModel as Model;

/// What is compiled, for which device, in which formats.
#[derive(clap::Args, Debug)]
pub struct ModelArgs {
    /// Folder with config.json and model.safetensors
    #[arg(value_name = "CKPT")]
    pub checkpoint: PathBuf,
    #[command(flatten)]
    pub device: Device,
    #[command(flatten)]
    pub formats: Formats,
}

impl ModelArgs {
    /// Loads, plans, lowers and verifies.
    ///
    /// # Errors
    /// When target, checkpoint or formats are at fault.
    pub fn compile(&self) -> Result<Model, Failure> {
        let loaded = pipeline::load(&self.checkpoint)?;
        let (loaded, plan) = self.formats.apply(loaded)?;
        self.compile_with(loaded, plan)
    }

    /// As [`ModelArgs::compile`], and says what was taken; when nothing is said of formats, that is the plan made last for
    /// this checkpoint and target, if it still fits.
    ///
    /// # Errors
    /// As [`ModelArgs::compile`].
    pub fn compile_as_planned(&self, ui: &Ui) -> Result<Model, Failure> {
        let target = self.device.find()?.name;
        let kept = match (self.formats.open(), Cache::if_possible()?) {
            (true, Some(cache)) => self.as_kept(&cache, &target),
            _ => Ok(None),
        };
        let (loaded, plan) = match kept {
            Ok(Some((loaded, plan))) => {
                ui.note(&format!(
                    "the plan made last for this checkpoint and {target}; --bits and --plan choose others"
                ));
                (loaded, plan.with_kv(self.formats.kv()))
            }
            other => {
                let loaded = pipeline::load(&self.checkpoint)?;
                if let Err(error) = other {
                    ui.note(&format!("the plan made last is not used: {error}"));
                }
                ui.note(&format!("{} for {target}", self.formats.shown()));
                self.formats.apply(loaded)?
            }
        };
        self.compile_with(loaded, plan)
    }

    /// The checkpoint as it is now, with the plan made last for it; or in words why that does not do.
    fn as_kept(
        &self,
        cache: &Cache,
        target: &str,
    ) -> Result<Option<(LoadedCheckpoint, BitPlan)>, String> {
        // A checkpoint that cannot be read is told where it is read without a plan.
        let Ok(loaded) = pipeline::load(&self.checkpoint) else {
            return Ok(None);
        };
        let kept = cache.kept_plan(loaded.checkpoint.path(), target);
        let Some(path) = kept.map_err(|e| e.to_string())? else {
            return Ok(None);
        };
        let applied = prepared::Formats::File(path).apply(loaded);
        applied.map(Some).map_err(|e| e.to_string())
    }

    fn compile_with(&self, loaded: LoadedCheckpoint, plan: BitPlan) -> Result<Model, Failure> {
        let target = self.device.find()?;
        let (rounding, cache) = (self.formats.rounding(), Cache::if_possible()?);
        Ok(Model::new(loaded, plan, target, rounding, cache)?)
    }
}

/// What runs the kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Backend {
    /// The generated crate, compiled once and cached
    Rust,
    /// Machine code made in this process, without a Rust toolchain
    Jit,
    /// The interpreter: slow, and checks every access
    Interp,
}

impl Backend {
    /// Its name on the command line and in results.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Jit => "jit",
            Self::Interp => "interp",
        }
    }
}

impl Model {
    /// The model in this process; for [`Backend::Rust`], which is another, as machine code.
    pub(super) fn engine(&self, backend: Backend, ui: &Ui) -> Result<Engine, Failure> {
        Ok(match backend {
            Backend::Interp => backend::interpreted(self)?,
            Backend::Jit | Backend::Rust => backend::jitted(self, Effort::default(), ui)?,
        })
    }

    /// The model as a program, compiled now or earlier.
    pub(super) fn program(&self, ui: &Ui) -> Result<ProgramFiles, Failure> {
        Ok(backend::program(self, &Cache::open()?, ui)?)
    }

    /// Asks the model, newly started.
    pub(super) fn answer<T>(
        &self,
        backend: Backend,
        ui: &Ui,
        ask: impl FnOnce(&mut dyn Peer) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        match backend {
            Backend::Rust => {
                let program = self.program(ui)?;
                ask(&mut ServedProgram::start(&program)?.client)
            }
            Backend::Jit | Backend::Interp => {
                let began = Instant::now();
                let engine = self.engine(backend, ui)?;
                let load_ns = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
                ask(&mut Server::new(&engine, load_ns))
            }
        }
    }
}
