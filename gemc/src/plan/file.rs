//! `plan.toml` <-> a plan: what each unit gets and why; a person may read, edit, commit and compare it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gem_runtime::{hex, regular};
use gemc_format::{ActivationFormat, Codec};
use regex::Regex;
use serde::{Deserialize, Serialize};

use super::activations::{self, Formats};
use super::codes::{Codes, CodesError, Digest};
use super::dead::DeadWeight;
use super::{BitPlan, KvFormat};
use crate::graph::{Graph, Typed, UnitMap};
use crate::output::through_links;

/// Bytes of a plan at most.
const LONGEST: u64 = 64 << 20;

/// Version of the file's form.
pub const VERSION: u32 = 1;

/// How the text of a plan begins.
const HEAD: &str = "# Formats of a model's weights, by `gemc plan`.";

/// What is wrong with a plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// It cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The plan's file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is no plan.
    #[error("{}: {what}", path.display())]
    Form {
        /// The plan's file.
        path: PathBuf,
        /// The place in the file, and what is wrong there.
        what: String,
    },
    /// It was made for another checkpoint.
    #[error("{}: made for another checkpoint ({planned:.12}…, this one is {found:.12}…); make a plan for this one with `gemc plan`", path.display())]
    Checkpoint {
        /// The plan's file.
        path: PathBuf,
        /// Digest of the checkpoint that it was made for.
        planned: String,
        /// The one at hand.
        found: String,
    },
    /// Its file of codes cannot be used.
    #[error(transparent)]
    Codes(#[from] CodesError),
}

/// A plan as its file holds it: what it was made from, figures, and the format of every unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanFile {
    /// Version of the file's form; always [`VERSION`].
    pub version: u32,
    /// SHA-256 of the checkpoint's config and tensors, in hexadecimal.
    pub checkpoint: String,
    /// Identifies the text it was made from; empty when none was needed.
    pub calibration: String,
    /// What that text was, where it is not the checkpoint's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration_text: Option<String>,
    /// The target it was made for.
    pub target: String,
    /// How weights were rounded: plain, search or feedback.
    pub rounding: String,
    /// Code bits and block scales per quantised weight.
    pub bits_per_weight: f64,
    /// What kernels read of quantised units.
    pub unit_bytes: u64,
    /// Predicted milliseconds of a token decoded at position 512, or of the classification of 128 tokens, where the
    /// target's costs are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicted_ms: Option<f64>,
    /// Whether those costs are projections, which nobody measured on the device.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub projected: bool,
    /// Predicted KL in nats per token, the reference's routing forced: the sum over all units; `None` where nothing was measured to
    /// predict from. Cosine error of a model that gives vectors, here and below. What a plan leaves out is not in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicted_kl: Option<f64>,
    /// KL of the whole, measured on the texts set aside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured_kl: Option<f64>,
    /// The same with activations rounded as planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured_kl_rounded: Option<f64>,
    /// What leaving out branches of the model costs, where that was measured; which of them the plan leaves out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead: Option<DeadWeight>,
    /// Exceptions, applied in order on top of the units: their codes are rounded when the model is built.
    #[serde(default, rename = "override", skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<Override>,
    /// All units of the model, in evaluation order.
    #[serde(rename = "unit")]
    pub units: Vec<PlanUnit>,
}

/// A format for units by name, on top of what was planned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Override {
    /// Regular expression, found anywhere in a unit's name.
    pub units: String,
    /// Format of those units.
    pub format: String,
}

/// What a unit gets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanUnit {
    /// Name of the unit, the path of its first node.
    pub name: String,
    /// Name of the format.
    pub format: String,
    /// Name of the format of its inputs, where it is not the usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activations: Option<String>,
    /// What kernels read of it.
    pub bytes: u64,
    /// KL it is predicted to add, nats per token, where anything was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicted_kl: Option<f64>,
    /// Why it has this format, in words.
    pub reason: String,
    /// `FORMAT:SHA-256` of its planes in `plan.codes`; they are used as long as the unit's format is that one. Empty where the
    /// unit is rounded when the model is built.
    pub codes: String,
}

impl PlanFile {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read or is no plan.
    pub fn read(path: &Path) -> Result<Self, PlanError> {
        let bytes = regular::read_text(path, LONGEST).map_err(|source| PlanError::Io {
            path: path.to_owned(),
            source,
        })?;
        let text = str::from_utf8(&bytes).map_err(|e| format!("is not UTF-8: {e}"));
        text.and_then(Self::parse).map_err(|what| PlanError::Form {
            path: path.to_owned(),
            what,
        })
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// In words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let plan: Self = toml::from_str(text).map_err(|e| e.to_string().trim_end().to_owned())?;
        if plan.version != VERSION {
            return Err(format!(
                "version {}; this gemc reads version {VERSION}",
                plan.version
            ));
        }
        Ok(plan)
    }

    /// The text of the file.
    ///
    /// # Errors
    /// Never for a plan that gemc made.
    pub fn text(&self) -> Result<String, toml::ser::Error> {
        let more = " Formats may be edited: a unit whose format is not the\n\
                    # planned one is rounded anew when the model is built. `gemc explain FILE` says more.\n";
        Ok(format!("{HEAD}{more}{}", toml::to_string(self)?))
    }

    /// The plan for a graph without what it leaves out, with its codes; `checkpoint` identifies the one at hand.
    ///
    /// # Errors
    /// When it is of another checkpoint, or names formats or units that do not exist.
    pub fn plan(
        &self,
        path: &Path,
        graph: &Graph<Typed>,
        checkpoint: &str,
    ) -> Result<BitPlan, PlanError> {
        self.is_of(path, checkpoint)?;
        let form = |what| PlanError::Form {
            path: path.to_owned(),
            what,
        };
        let (formats, codes) = self.assigned(graph).map_err(form)?;
        let activations = self.activations(graph, &formats).map_err(form)?;
        let file = codes_path(path);
        let store = match codes.values().any(Option::is_some) {
            true => Some(Arc::new(Codes::open(&file)?)),
            false => None,
        };
        let plan = BitPlan {
            units: graph.units().clone(),
            formats,
            activations,
            kv: KvFormat::default(),
            dropped: self.dropped(),
            codes,
            store,
            anew: Vec::new(),
        };
        for unit in graph.units().iter() {
            let expected = unit.shape.size(plan.codec(unit.id)).bytes;
            if plan
                .planes(unit.id)?
                .is_some_and(|planes| planes.len() != expected)
            {
                return Err(form(format!(
                    "the codes of {} have another shape",
                    unit.name
                )));
            }
        }
        Ok(plan)
    }

    /// Whether the plan was made for a checkpoint.
    ///
    /// # Errors
    /// When it was not.
    pub fn is_of(&self, path: &Path, checkpoint: &str) -> Result<(), PlanError> {
        match self.checkpoint == checkpoint {
            true => Ok(()),
            false => Err(PlanError::Checkpoint {
                path: path.to_owned(),
                planned: self.checkpoint.clone(),
                found: checkpoint.to_owned(),
            }),
        }
    }

    /// Names of the branches that it leaves out of the model: its units are of the graph without them.
    #[must_use]
    pub fn dropped(&self) -> Vec<String> {
        self.dead
            .as_ref()
            .map(DeadWeight::dropped)
            .unwrap_or_default()
    }

    /// Whether these are the codes of this plan: all that it names are in them.
    #[must_use]
    pub fn owns(&self, codes: &Codes) -> bool {
        self.units
            .iter()
            .filter(|unit| !unit.codes.is_empty())
            .all(|unit| {
                let digits = unit.codes.split_once(':').map_or("", |(_, digits)| digits);
                digest(digits).is_ok_and(|digest| codes.has(&digest))
            })
    }

    /// How inputs are rounded: as usual, but for units that say otherwise.
    fn activations(
        &self,
        graph: &Graph<Typed>,
        formats: &UnitMap<Codec>,
    ) -> Result<Formats, String> {
        let mut all = activations::usual(graph, formats);
        for unit in &self.units {
            let (name, Some(asked)) = (&unit.name, &unit.activations) else {
                continue;
            };
            let format = ActivationFormat::from_name(asked).ok_or_else(|| {
                let known = ActivationFormat::ALL.map(ActivationFormat::name).join(", ");
                format!("{name}: unknown activation format {asked:?}; known: {known}")
            })?;
            // Those that the model does not have were refused before.
            let unit = graph.units().named(name);
            let own = unit.and_then(|unit| all[unit.id].as_mut());
            *own.ok_or_else(|| format!("{name} reads no activations"))? = format;
        }
        activations::check(graph, &all)?;
        Ok(all)
    }

    /// Format of every unit, and digest of the codes of those that have the planned one.
    fn assigned(
        &self,
        graph: &Graph<Typed>,
    ) -> Result<(UnitMap<Codec>, UnitMap<Option<Digest>>), String> {
        let mut planned: BTreeMap<&str, &PlanUnit> = BTreeMap::new();
        for unit in &self.units {
            if planned.insert(&unit.name, unit).is_some() {
                return Err(format!("unit {} appears twice", unit.name));
            }
        }
        let overrides = overrides(&self.overrides)?;
        let (mut formats, mut codes) = (Vec::new(), Vec::new());
        for unit in graph.units().iter() {
            let Some(entry) = planned.remove(unit.name.as_str()) else {
                return Err(format!("unit {} is missing", unit.name));
            };
            let own = codec(&entry.format)?;
            let last = overrides
                .iter()
                .rfind(|(units, _)| units.is_match(&unit.name));
            let format = last.map_or(own, |(_, codec)| *codec);
            codes.push(match entry.codes.as_str() {
                "" => None,
                entry => {
                    let (made, digits) = entry.split_once(':').unwrap_or((entry, ""));
                    let (made, digest) = (codec(made)?, digest(digits)?);
                    (format == made).then_some(digest)
                }
            });
            formats.push(format);
        }
        match planned.keys().next() {
            Some(unit) => Err(format!("unit {unit} is not in the model")),
            None => Ok((formats.into_iter().collect(), codes.into_iter().collect())),
        }
    }
}

/// The file of codes that belongs to a plan: `X.codes` of `X.toml`, `N.codes` of any other name N. Of a link, the one
/// beside it, or else the one beside what it leads to.
#[must_use]
pub fn codes_path(plan: &Path) -> PathBuf {
    beside(plan, "codes")
}

/// The file of moments that belongs to a plan: as [`codes_path`], `X.moments` or `N.moments`.
#[must_use]
pub fn moments_path(plan: &Path) -> PathBuf {
    beside(plan, "moments")
}

fn beside(plan: &Path, ending: &str) -> PathBuf {
    let beside = named(plan, ending);
    if !plan.is_symlink() || beside.symlink_metadata().is_ok() {
        return beside;
    }
    match through_links(plan) {
        Ok(real) => named(&real, ending),
        Err(_) => beside,
    }
}

fn named(plan: &Path, ending: &str) -> PathBuf {
    match plan.extension() {
        Some(extension) if extension == "toml" => plan.with_extension(ending),
        _ => {
            let mut name = plan.as_os_str().to_owned();
            name.push(".");
            name.push(ending);
            name.into()
        }
    }
}

/// The other plan that would have the same codes: `X` of `X.toml`, and `N.toml` of any other name N.
#[must_use]
pub fn rival(plan: &Path) -> PathBuf {
    match plan.extension() {
        Some(extension) if extension == "toml" => plan.with_extension(""),
        _ => {
            let mut name = plan.as_os_str().to_owned();
            name.push(".toml");
            name.into()
        }
    }
}

/// Whether the text of a file is a plan's, if only by its first line.
#[must_use]
pub fn is_plan(bytes: &[u8]) -> bool {
    bytes.starts_with(HEAD.as_bytes())
        || std::str::from_utf8(bytes).is_ok_and(|text| PlanFile::parse(text).is_ok())
}

/// Whether there is a plan in a file; not for one that cannot be read, or is longer than plans are.
#[must_use]
pub fn is_plan_file(path: &Path) -> bool {
    regular::read_text(path, LONGEST).is_ok_and(|text| is_plan(&text))
}

/// Compiled exceptions.
///
/// # Errors
/// In words.
pub fn overrides(list: &[Override]) -> Result<Vec<(Regex, Codec)>, String> {
    list.iter()
        .map(|entry| {
            let regex = Regex::new(&entry.units).map_err(|e| format!("override: {e}"))?;
            Ok((regex, codec(&entry.format)?))
        })
        .collect()
}

/// A format by name.
fn codec(name: &str) -> Result<Codec, String> {
    Codec::from_name(name).ok_or_else(|| {
        let known: Vec<&str> = Codec::ALL.iter().map(|codec| codec.name()).collect();
        format!("unknown format {name:?}; known: {}", known.join(", "))
    })
}

/// 64 hexadecimal digits.
fn digest(digits: &str) -> Result<Digest, String> {
    let mut bytes = [0; 32];
    let valid = digits.len() == 64 && digits.is_ascii();
    for (index, byte) in bytes.iter_mut().enumerate() {
        let pair = if valid {
            &digits[2 * index..2 * index + 2]
        } else {
            ""
        };
        *byte = u8::from_str_radix(pair, 16)
            .map_err(|_| format!("{digits:?} is not a digest of codes: 64 hexadecimal digits"))?;
    }
    debug_assert_eq!(hex(&bytes), digits.to_ascii_lowercase());
    Ok(bytes)
}
