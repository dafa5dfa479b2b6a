//! Checkpoint to running program, one line a stage. No logic here: each stage is a module.

use std::path::Path;
#[cfg(feature = "calibrate")]
use std::sync::Arc;

use gemc_kernels::ir::verify::{Verified, verify};
use gemc_kernels::kernels::spec::Spec;

use crate::graph::{Graph, Typed};
use crate::import::{self, Checkpoint, ImportError};
use crate::lower::check::{Finding, check};
use crate::lower::{self, Large};
use crate::pack::layout::Layout;
use crate::plan::BitPlan;
#[cfg(feature = "calibrate")]
use crate::reference::Reference;
use crate::target::Target;
use crate::typing::{self, DropError, TypingError};

/// What can go wrong between a checkpoint and a program.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The checkpoint cannot be read.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// Shapes that do not fit.
    #[error(transparent)]
    Typing(#[from] TypingError),
    /// A branch cannot be left out.
    #[error(transparent)]
    Dropped(#[from] DropError),
    /// Operations in an order that no kernel computes.
    #[error("{}", listed(.0))]
    Unsupported(Vec<Finding>),
    /// Larger than programs can be.
    #[error(transparent)]
    Large(#[from] Large),
    /// A fault of gemc: it made a kernel that cannot be proved safe.
    #[error("internal fault, please report: a kernel failed verification\n{0}")]
    Kernel(String),
}

/// A checkpoint with its typed graph.
///
/// ```
/// use gemc::pipeline;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let loaded = pipeline::load("../examples/checkpoints/lm-dense-pre-rope".as_ref())?;
/// assert!(loaded.graph.units().iter().count() > 0);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct LoadedCheckpoint {
    /// Weights, texts, tokenizer.
    pub checkpoint: Checkpoint,
    /// The model's graph, every wire with its shape.
    pub graph: Graph<Typed>,
    /// Branches of the checkpoint's own graph that this one does without, by name.
    pub dropped: Vec<String>,
}

impl LoadedCheckpoint {
    /// The checkpoint with a graph that does without some branches (`Graph::branches`).
    ///
    /// # Errors
    /// When there is no branch of a name, or something needs it.
    pub fn without(self, branches: &[String]) -> Result<Self, CompileError> {
        if branches.is_empty() {
            return Ok(self);
        }
        let graph = typing::without(self.checkpoint.graph(), branches)?;
        let checked = check(&graph).map_err(CompileError::Unsupported)?;
        lower::fits(&checked)?;
        Ok(Self {
            graph,
            dropped: branches.to_vec(),
            ..self
        })
    }
}

#[cfg(feature = "calibrate")]
impl LoadedCheckpoint {
    /// The f32 model. A large one reads its weights when it uses them, since it would not fit beside what is made of it.
    #[must_use]
    pub fn reference(&self) -> Reference {
        self.reference_of(&self.graph)
    }

    /// The f32 model as the checkpoint has it, with all branches.
    ///
    /// # Errors
    /// Never for a checkpoint that was loaded.
    pub fn original(&self) -> Result<Reference, TypingError> {
        match self.dropped.is_empty() {
            true => Ok(self.reference()),
            false => Ok(self.reference_of(&typing::infer(self.checkpoint.graph().clone())?)),
        }
    }

    fn reference_of(&self, graph: &Graph<Typed>) -> Reference {
        const HELD_BYTES: usize = 1 << 30;
        let weights = self.checkpoint.weights();
        let tensors = graph.tensors();
        let values: usize = tensors
            .map(|(_, t)| t.shape().iter().product::<usize>())
            .sum();
        if 4 * values <= HELD_BYTES {
            Reference::new(graph, weights)
        } else {
            Reference::streamed(graph, Arc::new(weights.clone()))
        }
    }
}

/// A verified program with the layout of its weights.
#[derive(Debug)]
pub struct CompiledModel {
    /// The proved program, which every backend takes.
    pub program: Verified,
    /// What each kernel is, by its number.
    pub specs: Vec<Spec>,
    /// Where each weight stands in the weight file.
    pub layout: Layout,
}

/// Reads and checks a checkpoint.
///
/// # Errors
/// With every finding, located.
pub fn load(dir: &Path) -> Result<LoadedCheckpoint, CompileError> {
    load_with(dir, u64::MAX)
}

/// The same, but values of files of more than `most` bytes are not looked at, for stages that read none.
///
/// # Errors
/// As of [`load`].
pub fn load_with(dir: &Path, most: u64) -> Result<LoadedCheckpoint, CompileError> {
    let checkpoint = import::checkpoint_with(dir, most)?;
    let graph = typing::infer(checkpoint.graph().clone())?;
    // Asked again by `compile`; here so that nobody plans for hours what cannot be compiled.
    let checked = check(&graph).map_err(CompileError::Unsupported)?;
    lower::fits(&checked)?;
    Ok(LoadedCheckpoint {
        checkpoint,
        graph,
        dropped: Vec::new(),
    })
}

/// Lowers and verifies.
///
/// # Errors
/// When the graph cannot be lowered, and for faults of gemc itself.
///
/// # Panics
/// When the plan is for another graph; see [`BitPlan::check`].
pub fn compile(
    graph: &Graph<Typed>,
    plan: &BitPlan,
    target: &Target,
) -> Result<CompiledModel, CompileError> {
    let checked = check(graph).map_err(CompileError::Unsupported)?;
    let lowered = lower::program(&checked, plan, target)?;
    let program =
        verify(lowered.program).map_err(|errors| CompileError::Kernel(listed(&errors)))?;
    Ok(CompiledModel {
        program,
        specs: lowered.specs,
        layout: lowered.layout,
    })
}

fn listed(errors: &[impl ToString]) -> String {
    errors
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}
