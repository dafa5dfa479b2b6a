//! A target file as it is written, and what it becomes with the target that it inherits from.

use std::collections::BTreeMap;

use gem_runtime::simd::Level;
use gemc_kernels::choices::DotStrategy;
use serde::{Deserialize, Deserializer, Serializer, de::Error};

use super::{Cores, Costs, Memory, Target};
use crate::import::shown;

/// The keys of a file. Those of [`Target`] that have no default must be here or in the target that it inherits from.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TargetFile {
    name: String,
    description: String,
    /// Name of a target that is built in, for what this file does not say.
    inherits: Option<String>,
    triple: Option<String>,
    #[serde(default, deserialize_with = "level")]
    level: Option<Level>,
    features: Option<Vec<String>>,
    also: Option<Vec<String>>,
    dot: Option<DotStrategy>,
    row_block: Option<u32>,
    cores: Option<Vec<Cores>>,
    memory: Option<Memory>,
    costs: Option<Costs>,
    provenance: Option<BTreeMap<String, String>>,
}

impl TargetFile {
    /// The target. Costs of other cores or kernels are not inherited, since they would be wrong.
    ///
    /// # Errors
    /// In words, for what neither the file nor the inherited target says.
    pub(super) fn resolved(self) -> Result<Target, String> {
        let base = self.inherits.as_deref().map(inherited).transpose()?;
        let other_kernels = self.level.is_some()
            || self.dot.is_some()
            || self.row_block.is_some()
            || self.features.is_some();
        let base = base.map(|mut base| {
            if other_kernels || self.cores.is_some() || self.costs.is_some() {
                base.costs = None;
                for what in ["costs", "bandwidth"] {
                    base.provenance.remove(what);
                }
            }
            // What was better than the inherited kernels may not be better than these.
            if self.level.is_some() || self.triple.is_some() {
                base.also.clear();
            }
            base
        });
        let base = base.as_ref();
        let triple = said("triple", self.triple, base.map(|b| &b.triple))?;
        let mut provenance = said(
            "provenance",
            base.map(|b| b.provenance.clone()),
            self.provenance.as_ref(),
        )?;
        provenance.extend(self.provenance.into_iter().flatten());
        Ok(Target {
            name: self.name,
            description: self.description,
            triple,
            level: said("level", self.level, base.map(|b| &b.level))?,
            features: optional(self.features, base.map(|b| &b.features)),
            also: optional(self.also, base.map(|b| &b.also)),
            dot: said("dot", self.dot, base.map(|b| &b.dot))?,
            row_block: said("row_block", self.row_block, base.map(|b| &b.row_block))?,
            cores: optional(self.cores, base.map(|b| &b.cores)),
            memory: self.memory.or_else(|| base?.memory.clone()),
            costs: self.costs.or_else(|| base?.costs.clone()),
            provenance,
        })
    }
}

fn inherited(name: &str) -> Result<Target, String> {
    Target::embedded(name).ok_or_else(|| {
        let known: Vec<&str> = gemc_targets::ALL.iter().map(|(known, _)| *known).collect();
        let (name, known) = (shown(name), known.join(", "));
        format!("inherits: `{name}` is no target that is built in; those are {known}")
    })
}

fn said<T: Clone>(key: &str, own: Option<T>, base: Option<&T>) -> Result<T, String> {
    own.or_else(|| base.cloned())
        .ok_or_else(|| format!("{key} is missing; a file without it inherits it: inherits = \"…\""))
}

fn optional<T: Clone + Default>(own: Option<T>, base: Option<&T>) -> T {
    own.or_else(|| base.cloned()).unwrap_or_default()
}

pub(super) fn level_name<S: Serializer>(level: &Level, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(level.name())
}

fn level<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Level>, D::Error> {
    let name = String::deserialize(deserializer)?;
    let level = Level::from_name(&name).ok_or_else(|| {
        let known = Level::ALL.map(Level::name).join(", ");
        D::Error::custom(format!("unknown level `{name}`; known: {known}"))
    });
    level.map(Some)
}
