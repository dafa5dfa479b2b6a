//! A loaded checkpoint, a plan and a device -> a compiled model with all it was made from. Every way to something that
//! runs starts here: the verbs of the command, and `model::Model`.
//!
//! Invariant: program and layout are those of this checkpoint, plan and target.

use std::path::{Path, PathBuf};

use gemc_format::Rounding;

use crate::cache::Cache;
use crate::pipeline::{self, CompileError, CompiledModel, LoadedCheckpoint};
use crate::plan::file::{PlanError, PlanFile};
use crate::plan::{BitPlan, OtherGraph, UnknownBits};
use crate::target::{Costs, Target};

/// Formats of the weights, as they are asked for.
#[derive(Clone, Debug)]
pub enum Formats {
    /// The same for all, by its name for `--bits`.
    Bits(String),
    /// The plan in this file, with its codes beside it.
    File(PathBuf),
    /// The formats and codes of this plan.
    Plan(BitPlan),
}

/// The name of a uniform format.
impl From<&str> for Formats {
    fn from(bits: &str) -> Self {
        Self::Bits(bits.to_owned())
    }
}

/// The path of a plan.
impl From<&Path> for Formats {
    fn from(path: &Path) -> Self {
        Self::File(path.to_owned())
    }
}

/// The path of a plan.
impl From<PathBuf> for Formats {
    fn from(path: PathBuf) -> Self {
        Self::File(path)
    }
}

impl From<BitPlan> for Formats {
    fn from(plan: BitPlan) -> Self {
        Self::Plan(plan)
    }
}

/// Why there is no plan for a checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum FormatsError {
    /// `--bits` names no format.
    #[error(transparent)]
    Bits(#[from] UnknownBits),
    /// The plan's file cannot be read.
    #[error(transparent)]
    File(#[from] PlanError),
    /// The plan is for another graph.
    #[error(transparent)]
    Plan(#[from] OtherGraph),
    /// The plan leaves out what this model does not have, or needs.
    #[error("the plan leaves out branches: {0}")]
    Dropped(Box<CompileError>),
}

impl Formats {
    /// The plan for a checkpoint, and the checkpoint without what the plan leaves out.
    ///
    /// # Errors
    /// Naming the known formats; for a plan that is damaged or of another checkpoint.
    pub fn apply(
        &self,
        loaded: LoadedCheckpoint,
    ) -> Result<(LoadedCheckpoint, BitPlan), FormatsError> {
        match self {
            Self::Bits(bits) => {
                let plan = BitPlan::parse_bits(&loaded.graph, bits)?;
                Ok((loaded, plan))
            }
            Self::File(path) => {
                let file = PlanFile::read(path)?;
                let checkpoint = loaded.checkpoint.content_hash();
                file.is_of(path, &checkpoint)?;
                let loaded = without(loaded, &file.dropped())?;
                let plan = file.plan(path, &loaded.graph, &checkpoint)?;
                Ok((loaded, plan))
            }
            Self::Plan(plan) => {
                let loaded = without(loaded, plan.dropped())?;
                plan.check(&loaded.graph)?;
                Ok((loaded, plan.clone()))
            }
        }
    }
}

/// The checkpoint without what a plan leaves out.
fn without(loaded: LoadedCheckpoint, names: &[String]) -> Result<LoadedCheckpoint, FormatsError> {
    loaded
        .without(names)
        .map_err(|error| FormatsError::Dropped(Box::new(error)))
}

/// A compiled model with all it was made from.
///
/// ```
/// use gemc::plan::BitPlan;
/// use gemc::prepared::PreparedModel;
/// use gemc::target::Target;
/// use gemc::{Rounding, pipeline};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let loaded = pipeline::load("../examples/checkpoints/lm-dense-pre-rope".as_ref())?;
/// let plan = BitPlan::parse_bits(&loaded.graph, "4.25")?;
/// let model = PreparedModel::new(loaded, plan, Target::find("portable")?, Rounding::Search, None)?;
/// let mut file = std::io::Cursor::new(Vec::new());
/// model.write_weights(&mut file, &mut |_| {})?;
/// assert!(file.into_inner().len() as u64 > model.compiled.layout.body_bytes());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct PreparedModel {
    /// Its name: that of the checkpoint's folder, unless changed.
    pub name: String,
    /// The checkpoint and its typed graph.
    pub loaded: LoadedCheckpoint,
    /// The proved program, and where its weights stand.
    pub compiled: CompiledModel,
    /// Formats of the weights.
    pub plan: BitPlan,
    /// The device that it was compiled for.
    pub target: Target,
    /// How weights are rounded.
    pub rounding: Rounding,
    /// What was made before; without it everything is made anew.
    pub cache: Option<Cache>,
}

impl PreparedModel {
    /// What the target's costs say of this model, with keys and values of 512 positions or as many as there are.
    #[must_use]
    pub fn costs(&self) -> Option<Costs> {
        const POSITIONS: usize = 512;
        let shape = &self.compiled.program.program().shape;
        let positions = POSITIONS.min(self.loaded.graph.facts().max_positions) as u64;
        let kv = u64::from(shape.kv_bytes_per_position) * positions;
        let weights = self.compiled.layout.weight_bytes();
        self.target
            .costs_of(weights + u64::from(shape.ring_bytes) + kv)
    }

    /// Lowers and verifies. The plan is for this checkpoint, see [`BitPlan::check`].
    ///
    /// # Errors
    /// Only for faults of gemc itself.
    pub fn new(
        loaded: LoadedCheckpoint,
        plan: BitPlan,
        target: Target,
        rounding: Rounding,
        cache: Option<Cache>,
    ) -> Result<Self, CompileError> {
        let compiled = pipeline::compile(&loaded.graph, &plan, &target)?;
        Ok(Self {
            name: loaded.checkpoint.name(),
            loaded,
            compiled,
            plan,
            target,
            rounding,
            cache,
        })
    }

    /// What the model needs to read and write text; `None` when the checkpoint has no tokenizer.
    #[cfg(feature = "jit")]
    #[must_use]
    pub fn text(&self) -> Option<std::sync::Arc<gem_runtime::text::Text>> {
        self.loaded.checkpoint.text()
    }
}
