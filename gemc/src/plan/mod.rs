//! Which format each quantised unit gets, and its codes where they were made before. A uniform format is a plan too.

pub mod activations;
pub mod codes;
pub mod file;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gemc_format::{ActivationFormat, Codec};

use activations::Formats;
use sha2::{Digest, Sha256};

use crate::graph::{Graph, units};
use codes::{Codes, CodesError, Digest as CodesDigest};

pub use gemc_kernels::choices::KvFormat;

/// What can be wrong with a bit-width.
#[derive(Debug, thiserror::Error)]
#[error("--bits {asked}: no format of that size; known: {known}")]
pub struct UnknownBits {
    asked: String,
    known: String,
}

/// Names of uniform formats as `--bits` takes them.
const UNIFORM: &[(&str, Codec)] = &[
    ("8.25", Codec::B8),
    ("6.25", Codec::L6),
    ("5.25", Codec::N5),
    ("4.25", Codec::N4),
    ("4.25l", Codec::L4),
    ("3.25", Codec::N3),
    ("2.25", Codec::N2),
];

/// The codec of a uniform format.
fn uniform(bits: &str) -> Option<Codec> {
    let named = UNIFORM.iter().find(|(name, _)| *name == bits);
    named.map(|(_, codec)| *codec)
}

fn known_names() -> String {
    let names: Vec<&str> = UNIFORM.iter().map(|(name, _)| *name).collect();
    names.join(", ")
}

/// The name of a uniform format, for the command line.
///
/// # Errors
/// Naming those that there are.
pub fn uniform_name(bits: &str) -> Result<String, String> {
    match uniform(bits) {
        Some(_) => Ok(bits.to_owned()),
        None => Err(format!(
            "no format of that size; allowed are {}",
            known_names()
        )),
    }
}

/// The uniform format unless another is asked for, as [`BitPlan::parse_bits`] takes it.
pub const DEFAULT_BITS: &str = "4.25";

/// A plan that was made for another graph.
#[derive(Debug, thiserror::Error)]
#[error("the plan is for another checkpoint: it {what} `{unit}`")]
pub struct OtherGraph {
    what: &'static str,
    unit: String,
}

/// Format by unit.
#[derive(Clone, Debug)]
pub struct BitPlan {
    formats: BTreeMap<String, Codec>,
    activations: Formats,
    kv: KvFormat,
    /// Of units that are not rounded when the model is built.
    codes: BTreeMap<String, CodesDigest>,
    /// Where those are.
    store: Option<Arc<Codes>>,
}

impl BitPlan {
    /// The same format for every quantised unit of the graph.
    #[must_use]
    pub fn uniform<S>(graph: &Graph<S>, codec: Codec) -> Self {
        let formats = units(graph).into_iter().map(|u| (u.name, codec)).collect();
        Self {
            activations: activations::usual(graph, &formats),
            formats,
            kv: KvFormat::default(),
            codes: BTreeMap::new(),
            store: None,
        }
    }

    /// The planes of a unit that were made before; `None` when it is to be rounded now.
    ///
    /// # Errors
    /// When the plan has codes of the unit and its file does not.
    pub fn planes(&self, unit: &str) -> Result<Option<&[u8]>, CodesError> {
        match (self.codes.get(unit), &self.store) {
            (Some(digest), Some(store)) => store.planes(unit, digest).map(Some),
            _ => Ok(None),
        }
    }

    /// The uniform plan that `--bits` names.
    ///
    /// # Errors
    /// Naming the known ones.
    pub fn parse_bits<S>(graph: &Graph<S>, bits: &str) -> Result<Self, UnknownBits> {
        let codec = uniform(bits).ok_or_else(|| UnknownBits {
            asked: bits.to_owned(),
            known: known_names(),
        })?;
        Ok(Self::uniform(graph, codec))
    }

    /// Whether the plan has a format for every quantised unit of the graph, and for nothing else.
    ///
    /// # Errors
    /// Naming the first unit that one of them lacks.
    pub fn check<S>(&self, graph: &Graph<S>) -> Result<(), OtherGraph> {
        let units: BTreeSet<String> = units(graph).into_iter().map(|u| u.name).collect();
        let other = |what, unit: &String| {
            let unit = unit.clone();
            Err(OtherGraph { what, unit })
        };
        if let Some(unit) = units.iter().find(|unit| !self.formats.contains_key(*unit)) {
            return other("lacks", unit);
        }
        match self.formats.keys().find(|unit| !units.contains(*unit)) {
            Some(unit) => other("names", unit),
            None => Ok(()),
        }
    }

    /// The format of a unit.
    ///
    /// # Panics
    /// When the unit is not of the graph that the plan was made for; see [`BitPlan::check`].
    #[must_use]
    pub fn codec(&self, unit: &str) -> Codec {
        *self
            .formats
            .get(unit)
            .expect("the plan was made for this graph")
    }

    /// The plan with other formats of activations.
    ///
    /// # Errors
    /// In words, when a rule fits no unit or units that read the same rows would differ.
    pub fn with_activations<S>(
        self,
        graph: &Graph<S>,
        rules: &[activations::Rule],
    ) -> Result<Self, String> {
        let activations = activations::chosen(graph, &self.formats, rules)?;
        Ok(Self {
            activations,
            ..self
        })
    }

    /// How the input of a unit is rounded.
    #[must_use]
    pub fn activations(&self, unit: &str) -> ActivationFormat {
        self.activations.get(unit).copied().unwrap_or_default()
    }

    /// The plan with keys and values kept in another way.
    #[must_use]
    pub fn with_kv(self, kv: KvFormat) -> Self {
        Self { kv, ..self }
    }

    /// How keys and values are kept.
    #[must_use]
    pub const fn kv(&self) -> KvFormat {
        self.kv
    }

    /// Identifies the plan in the weight file and in bench results.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        for (unit, codec) in &self.formats {
            hasher.update(format!("{unit}={codec:?}\n"));
            if let Some(digest) = self.codes.get(unit) {
                hasher.update(digest);
            }
        }
        for (unit, format) in &self.activations {
            hasher.update(format!("{unit}:{}\n", format.name()));
        }
        hasher.update(self.kv.name());
        hasher.finalize().into()
    }
}
