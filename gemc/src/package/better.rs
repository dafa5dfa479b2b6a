//! Targets whose kernels a crate holds besides its own -> their programs, over the same weights.

use gem_runtime::simd::Level;

use super::PackageError;
use super::sources::in_module;
use crate::pack;
use crate::pipeline;
use crate::prepared::PreparedModel;
use crate::target::Target;

/// A program beside the crate's own, for CPUs that have more.
#[derive(Clone, Debug)]
pub struct BetterProgram {
    /// Name of its target.
    pub target: String,
    /// What it needs.
    pub level: Level,
    /// Its folder below `src/`, and its module.
    pub module: String,
    /// `kernels.rs` and `program.rs`: path in the crate, text.
    pub sources: Vec<(String, String)>,
}

impl PreparedModel {
    /// The programs of the targets that this one's file names, the best first.
    pub(super) fn better(&self) -> Result<Vec<BetterProgram>, PackageError> {
        let targets = self.target.better();
        targets.map(|target| self.better_for(&target)).collect()
    }

    fn better_for(&self, target: &Target) -> Result<BetterProgram, PackageError> {
        let graph = &self.loaded.graph;
        let malformed = |reason: String| PackageError::Malformed {
            what: "program for a better level",
            reason,
        };
        let compiled = pipeline::compile(graph, &self.plan, target)
            .map_err(|error| malformed(error.to_string()))?;
        let digest = |layout| pack::layout_digest(layout, graph);
        if digest(&compiled.layout) != digest(&self.compiled.layout) {
            return Err(malformed("its weights lie otherwise".to_owned()));
        }
        let module = target.name.replace('-', "_");
        let sources = gemc_kernels::rust::program(&compiled.program, target.level);
        Ok(BetterProgram {
            target: target.name.clone(),
            level: target.level,
            sources: in_module(&module, sources),
            module,
        })
    }
}
