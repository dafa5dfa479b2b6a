//! The arguments that name a checkpoint, a device and formats -> the compiled model, and somebody who answers for it.
//! Every verb that compiles takes this way.

use std::path::{Path, PathBuf};
use std::time::Instant;

use gem_runtime::Engine;
use gem_runtime::format::Rounding;
use gem_runtime::protocol::{Peer, Server};

use super::choices::{Device, Formats};
use super::{Failure, Ui};
use crate::backend::{self, Program, Served};
use crate::cache::Cache;
use crate::package::Parts;
use crate::pipeline::{self, Compiled, Loaded};
use crate::plan::BitPlan;
use crate::target::Target;

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
        let target = self.device.find()?;
        let loaded = pipeline::load(&self.checkpoint)?;
        let plan = self.formats.plan(&loaded.graph)?;
        let compiled = pipeline::compile(&loaded.graph, &plan, &target)?;
        Ok(Model {
            name: folder_name(&self.checkpoint),
            loaded,
            compiled,
            plan,
            target,
            rounding: self.formats.rounding(),
            cache: Cache::open().ok(),
        })
    }
}

/// A compiled model with all it was made from.
#[derive(Debug)]
pub struct Model {
    pub name: String,
    pub loaded: Loaded,
    pub compiled: Compiled,
    pub plan: BitPlan,
    pub target: Target,
    pub rounding: Rounding,
    /// Nothing but programs needs one.
    pub cache: Option<Cache>,
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
    /// What packages and programs are made from.
    pub fn parts(&self) -> Parts<'_> {
        Parts {
            name: &self.name,
            loaded: &self.loaded,
            compiled: &self.compiled,
            plan: &self.plan,
            target: &self.target,
            rounding: self.rounding,
            cache: self.cache.as_ref(),
        }
    }

    /// The model in this process; for [`Backend::Rust`], which is another, as machine code.
    pub fn engine(&self, backend: Backend, ui: &Ui) -> Result<Engine, Failure> {
        let parts = self.parts();
        Ok(match backend {
            Backend::Interp => backend::interpreted(&parts)?,
            Backend::Jit | Backend::Rust => backend::jitted(&parts, ui)?,
        })
    }

    /// The model as a program, compiled now or earlier.
    pub fn program(&self, ui: &Ui) -> Result<Program, Failure> {
        Ok(backend::program(&self.parts(), &Cache::open()?, ui)?)
    }

    /// Asks the model, newly started.
    pub fn answer<T>(
        &self,
        backend: Backend,
        ui: &Ui,
        ask: impl FnOnce(&mut dyn Peer) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        match backend {
            Backend::Rust => {
                let program = self.program(ui)?;
                ask(&mut Served::start(&program)?.client)
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

/// The name a model gets from its folder.
fn folder_name(dir: &Path) -> String {
    let real = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    real.file_name().map_or_else(
        || "model".to_owned(),
        |name| name.to_string_lossy().into_owned(),
    )
}
