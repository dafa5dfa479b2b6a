//! Which format each quantised unit gets, and its codes where they were made before. A uniform format is a plan too.

pub mod activations;
pub mod codes;
pub mod dead;
pub mod file;
pub mod kv;
pub mod step;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use gemc_format::{ActivationFormat, Codec};

use activations::Formats;
use sha2::{Digest, Sha256};

use crate::graph::{Graph, Typed, Unit, UnitId, UnitMap, Units};
use crate::quantise::Planes;
use codes::{Codes, CodesError, Digest as CodesDigest};

pub use gemc_kernels::choices::KvFormat;

/// What can be wrong with a bit-width.
#[derive(Debug, thiserror::Error)]
#[error("--bits {asked}: no format of that size; known: {known}")]
pub struct UnknownBits {
    asked: String,
    known: String,
}

/// What `--bits` calls a format: its bits per weight, or by its name where plans choose another of that size.
fn bits_name(codec: Codec) -> String {
    match Codec::LADDER.contains(&codec) {
        true => codec.bits_per_weight().to_string(),
        false => codec.name().to_lowercase(),
    }
}

/// All formats, most bits first.
fn uniforms() -> Vec<Codec> {
    let mut codecs = Codec::ALL.to_vec();
    codecs.sort_by(|a, b| b.bits_per_weight().total_cmp(&a.bits_per_weight()));
    codecs
}

/// The codec of a uniform format.
fn uniform(bits: &str) -> Option<Codec> {
    let named = |codec: &Codec| bits_name(*codec).eq_ignore_ascii_case(bits);
    uniforms().into_iter().find(named)
}

fn known_names() -> String {
    let names: Vec<String> = uniforms().into_iter().map(bits_name).collect();
    names.join(", ")
}

/// What `--bits` takes, for help: every name, with its format where it does not say it.
#[must_use]
pub fn uniform_names() -> String {
    let of = |codec: Codec| match Codec::LADDER.contains(&codec) {
        true => format!("{} ({})", bits_name(codec), codec.name()),
        false => bits_name(codec),
    };
    let names: Vec<String> = uniforms().into_iter().map(of).collect();
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

/// A format for every unit of a graph, and codes where a plan has them.
///
/// ```
/// use gemc::plan::BitPlan;
/// use gemc::{Codec, pipeline};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let loaded = pipeline::load("../examples/checkpoints/lm-dense-pre-rope".as_ref())?;
/// let named = BitPlan::parse_bits(&loaded.graph, "4.25")?;
/// assert_eq!(named.hash(), BitPlan::uniform(&loaded.graph, Codec::N4).hash());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct BitPlan {
    /// Those it was made for.
    units: Arc<Units>,
    formats: UnitMap<Codec>,
    activations: Formats,
    kv: KvFormat,
    /// Branches of the model that are left out, by name; its units are of the graph without them.
    dropped: Vec<String>,
    /// Of units that are not rounded when the model is built.
    codes: UnitMap<Option<CodesDigest>>,
    /// The open file that the codes are read from.
    store: Option<Arc<Codes>>,
    /// Of units that a patch replaces, in place of the codes above.
    anew: Vec<(UnitId, Arc<Planes>)>,
}

impl BitPlan {
    /// The same format for every quantised unit of the graph.
    #[must_use]
    pub fn uniform(graph: &Graph<Typed>, codec: Codec) -> Self {
        let units = graph.units().clone();
        let formats = UnitMap::all(&units, codec);
        Self {
            activations: activations::usual(graph, &formats),
            formats,
            kv: KvFormat::default(),
            dropped: Vec::new(),
            codes: UnitMap::all(&units, None),
            store: None,
            anew: Vec::new(),
            units,
        }
    }

    /// The planes of a unit that were made before; `None` when it is to be rounded now.
    ///
    /// # Errors
    /// When the plan has codes of the unit and its file does not.
    pub fn planes(&self, unit: UnitId) -> Result<Option<&[u8]>, CodesError> {
        if let Some((_, planes)) = self.anew.iter().find(|(of, _)| *of == unit) {
            return Ok(Some(&planes.bytes));
        }
        match (&self.codes[unit], &self.store) {
            (Some(digest), Some(store)) => store.planes(&self.units[unit].name, digest).map(Some),
            _ => Ok(None),
        }
    }

    /// The plan with other planes for some units, of the formats that it has. It stays the plan that it is, with its hash: a
    /// program compiled for it runs the weights.
    #[must_use]
    pub fn with_planes(self, planes: Vec<(UnitId, Planes)>) -> Self {
        debug_assert!(
            planes
                .iter()
                .all(|(unit, planes)| planes.codec == self.formats[*unit])
        );
        let anew = planes
            .into_iter()
            .map(|(unit, planes)| (unit, Arc::new(planes)));
        Self {
            anew: anew.collect(),
            ..self
        }
    }

    /// Digests of planes that are not those that the plan was made with.
    pub(crate) fn digests_anew(&self) -> impl Iterator<Item = CodesDigest> {
        self.anew.iter().map(|(_, planes)| planes.digest())
    }

    /// The uniform plan that `--bits` names.
    ///
    /// # Errors
    /// Naming the known ones.
    pub fn parse_bits(graph: &Graph<Typed>, bits: &str) -> Result<Self, UnknownBits> {
        let codec = uniform(bits).ok_or_else(|| UnknownBits {
            asked: bits.to_owned(),
            known: known_names(),
        })?;
        Ok(Self::uniform(graph, codec))
    }

    /// Whether the plan has a format for every quantised unit of the graph, and for nothing else, in the same order.
    ///
    /// # Errors
    /// Naming the first unit that one of them lacks, or has elsewhere.
    pub fn check(&self, graph: &Graph<Typed>) -> Result<(), OtherGraph> {
        let (own, units) = (&self.units, graph.units());
        if Arc::ptr_eq(own, units) {
            return Ok(());
        }
        let lacking = |of: &Units, unit: &Unit| of.named(&unit.name).is_none();
        let mut pairs = units.iter().zip(own.iter());
        let (what, unit) = if let Some(unit) = units.iter().find(|unit| lacking(own, unit)) {
            ("lacks", unit)
        } else if let Some(unit) = own.iter().find(|unit| lacking(units, unit)) {
            ("names", unit)
        } else if let Some((unit, _)) = pairs.find(|(unit, other)| unit.name != other.name) {
            ("has another place for", unit)
        } else {
            return Ok(());
        };
        let unit = unit.name.clone();
        Err(OtherGraph { what, unit })
    }

    /// The format of a unit.
    ///
    /// # Panics
    /// When the unit is not of the graph that the plan was made for; see [`BitPlan::check`].
    #[must_use]
    pub fn codec(&self, unit: UnitId) -> Codec {
        self.formats[unit]
    }

    /// The plan with other formats of activations.
    ///
    /// # Errors
    /// In words, when a rule fits no unit or units that read the same rows would differ.
    pub fn with_activations(
        self,
        graph: &Graph<Typed>,
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
    pub fn activations(&self, unit: UnitId) -> ActivationFormat {
        self.activations[unit].unwrap_or_default()
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

    /// Names of the branches that are left out.
    #[must_use]
    pub fn dropped(&self) -> &[String] {
        &self.dropped
    }

    /// Identifies the plan in the weight file and in bench results.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        let mut units: Vec<&Unit> = self.units.iter().collect();
        units.sort_by_key(|unit| &unit.name);
        let mut hasher = Sha256::new();
        for Unit { id, name, .. } in &units {
            hasher.update(format!("{name}={:?}\n", self.formats[*id]));
            if let Some(digest) = &self.codes[*id] {
                hasher.update(digest);
            }
        }
        for Unit { id, name, .. } in &units {
            if let Some(format) = self.activations[*id] {
                hasher.update(format!("{name}:{}\n", format.name()));
            }
        }
        hasher.update(self.kv.name());
        hasher.finalize().into()
    }
}
