//! A checkpoint in which one module was trained further, and what the old one's plan was made from -> the old plan with that
//! module's weights rounded anew, and the patch between two weight files.
//!
//! Nothing but the module may have changed: its tensors, and its row in routers. Everything else keeps the codes that it has, so
//! that the patch is small and what the rest computes stays the same to the bit.

mod moments;
mod owned;
#[cfg(feature = "jit")]
mod routes;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use gem_runtime::file::WeightFile;
use gem_runtime::patch::Patch;
use gem_runtime::storage::Weights;

use crate::graph::{Graph, Typed};
use crate::pack::layout::Layout;
use crate::pipeline::{CompileError, LoadedCheckpoint};
use crate::plan::BitPlan;
use crate::plan::file::{PlanError, PlanFile, moments_path};

pub use moments::{Moments, Seen, bytes, is_moments};
use owned::Owned;
#[cfg(feature = "jit")]
pub use routes::{DomainRoutes, compare};

/// Why there is no patch.
#[derive(Debug, thiserror::Error)]
pub enum PatchError {
    /// The plan cannot be read.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The plan leaves out what this model does not have, or needs.
    #[error("the plan leaves out branches: {0}")]
    Dropped(#[from] Box<CompileError>),
    /// There is no such module.
    #[error("no module `{asked}`; {known}")]
    Module {
        /// What was asked for.
        asked: String,
        /// What there is, in words.
        known: String,
    },
    /// What the plan was made from cannot be read.
    #[error("{}: {what}", path.display())]
    Moments {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, in words.
        what: String,
    },
    /// Something else than the module changed.
    #[error(
        "{what} is not what it was when the plan was made; a patch of module `{module}` may change tensors of that module and its \
         rows in routers, nothing else"
    )]
    Changed {
        /// What changed.
        what: String,
        /// The module.
        module: String,
    },
    /// A record of the weight file belongs to the module and to something else.
    #[error("record {record} of the weight file is only partly of module `{module}`")]
    Shared {
        /// Its place in the file.
        record: usize,
        /// The module.
        module: String,
    },
    /// The module is as it was.
    #[error("module `{0}` is what the weight file has: there is nothing to patch")]
    Same(String),
    /// The weight files do not fit each other.
    #[error(transparent)]
    Runtime(#[from] gem_runtime::Error),
}

/// The number of a module by its name.
///
/// # Errors
/// Naming those that there are.
pub fn module(graph: &Graph<Typed>, asked: &str) -> Result<u32, PatchError> {
    let domains = &graph.facts().domains;
    let found = domains.iter().position(|domain| domain == asked);
    found.map(|found| found as u32).ok_or_else(|| {
        let known = match domains.is_empty() {
            true => "this model has no modules".to_owned(),
            false => format!("allowed are {}", domains.join(", ")),
        };
        let asked = asked.to_owned();
        PatchError::Module { asked, known }
    })
}

/// The plan in a file, made for another checkpoint, for one in which a module was trained further: the module's units are rounded
/// now, by the moments that were kept, into the formats that they have. With the checkpoint without what the plan leaves out.
///
/// # Errors
/// When anything else than the module changed, and where plan or moments cannot be read.
pub fn planned(
    loaded: LoadedCheckpoint,
    path: &Path,
    name: &str,
) -> Result<(LoadedCheckpoint, BitPlan), PatchError> {
    let file = PlanFile::read(path)?;
    let moments = Moments::open(&moments_path(path), &file)?;
    let loaded = loaded.without(&file.dropped()).map_err(Box::new)?;
    let plan = plan(&loaded, path, &file, &moments, name)?;
    Ok((loaded, plan))
}

fn plan(
    loaded: &LoadedCheckpoint,
    path: &Path,
    file: &PlanFile,
    moments: &Moments,
    name: &str,
) -> Result<BitPlan, PatchError> {
    let graph = &loaded.graph;
    let module = module(graph, name)?;
    let owned = Owned::of(graph, module);
    moments.compare(loaded, &owned, name)?;
    let plan = file.plan(path, graph, &file.checkpoint)?;
    let (units, reference) = (graph.units().iter(), loaded.reference());
    let mut planes = Vec::new();
    for unit in units.filter(|unit| unit.module == Some(module)) {
        // What a build rounds by itself it rounds here, too.
        let planned = plan.planes(unit.id).map_err(PlanError::from)?;
        if planned.is_some() {
            let rounded = moments.round(&reference, unit, plan.codec(unit.id))?;
            planes.push((unit.id, rounded));
        }
    }
    Ok(plan.with_planes(planes))
}

/// The patch that makes a module of `before` what it is in `after`, weight files of one plan and layout.
///
/// # Errors
/// When anything else differs.
pub fn between(
    graph: &Graph<Typed>,
    layout: &Layout,
    name: &str,
    before: &Weights,
    after: &[u8],
) -> Result<Patch, PatchError> {
    let module = module(graph, name)?;
    let modules = 0..graph.facts().domains.len() as u32;
    let pieces = owned::pieces(graph, layout, module)?;
    let mut parts = Vec::new();
    for module in modules {
        parts.extend(owned::pieces(graph, layout, module)?);
    }
    parts.sort_by_key(|part| part.start);
    let (before, after) = (before.as_file()?, WeightFile::parse(after)?);
    Ok(Patch::between(name, &before, &after, &pieces, &parts)?)
}
