//! A compiled program with its weights as an engine in this process: the interpreter.

use std::io::Cursor;

use gem_runtime::format::Rounding;
use gem_runtime::storage::Weights;
use gem_runtime::{Engine, Error, ModelInfo};

use crate::facts;
use crate::kernel::interp::InterpProgram;
use crate::pack::{self, Origin};
use crate::pipeline::{Compiled, Loaded};
use crate::plan::BitPlan;
use crate::target::Target;

/// An engine that interprets the kernels, on weights packed in memory.
///
/// # Errors
/// When memory or the runtime's checks refuse; never for what gemc itself made.
pub fn interpreted(
    name: &str,
    loaded: &Loaded,
    compiled: &Compiled,
    plan: &BitPlan,
    target: &Target,
    rounding: Rounding,
) -> Result<Engine, Error> {
    let origin = Origin {
        target: target.name.clone(),
        plan_hash: plan.hash(),
    };
    let file = pack::write(
        Cursor::new(Vec::new()),
        origin,
        &compiled.layout,
        &loaded.graph,
        loaded.checkpoint.weights(),
        rounding,
        &mut |_| {},
    )?;
    let weights = Weights::copied(&file.into_inner())?;
    let program = InterpProgram::new(&compiled.program);
    let info = facts::model_info(name, loaded, plan, target, &compiled.layout);
    // The interpreter runs every target's kernels on any CPU.
    let info = ModelInfo {
        level: gem_runtime::simd::Level::Portable,
        ..info
    };
    Engine::new(info, Box::new(program), weights)
}
