//! `plan.moments`: what is needed to round a module anew as the plan rounded it, and what of a checkpoint may not change.
//!
//! A safetensors file. Of every unit of a module `NAME` it holds `NAME moments` (f32, `[width, width]`, where rounding takes them),
//! `NAME squares` (f64, `[width]`) and `NAME weight` (f64, one), all with the prior of its site mixed in. Its metadata are one value,
//! `gemc`: JSON with the checkpoint, the method of rounding, digests of config.json and of every tensor, of routers' tensors row by row,
//! and of the file's own tensors.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use gem_runtime::{hex, regular};
use gemc_format::Codec;
use memmap2::Mmap;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::PatchError;
use super::owned::{self, Owned};
use crate::calibrate::Inputs;
use crate::graph::{TensorId, Unit};
use crate::pipeline::LoadedCheckpoint;
use crate::plan::file::PlanFile;
use crate::quantise::{Planes, quantise};
use crate::reference::{Reference, UnitWeights};
use crate::sensitivity::{Method, with_inputs};
use crate::tensors::TensorSource;

/// The one key of the metadata.
const KEY: &str = "gemc";
/// Version of what is below it.
const VERSION: u32 = 1;
const CONFIG: &str = "config.json";

/// What calibration saw of the inputs of a module's unit.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Name of the unit.
    pub unit: String,
    /// With the prior of its site.
    pub inputs: Inputs,
}

/// All but tensors.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Facts {
    version: u32,
    checkpoint: String,
    /// Of the plan's units: names, formats, digests of codes.
    plan: String,
    rounding: String,
    config: String,
    /// By path.
    tensors: BTreeMap<String, String>,
    /// Of routers' tensors, by path and row.
    rows: BTreeMap<String, Vec<String>>,
    /// Of the file's own tensors, by name.
    digest: String,
}

/// An open file.
#[derive(Debug)]
pub struct Moments {
    path: PathBuf,
    map: Mmap,
    facts: Facts,
    method: Method,
}

/// Whether bytes are those of such a file.
#[must_use]
pub fn is_moments(bytes: &[u8]) -> bool {
    let Some(length) = bytes
        .first_chunk()
        .map(|length| u64::from_le_bytes(*length))
    else {
        return false;
    };
    let end = usize::try_from(length)
        .ok()
        .and_then(|length| length.checked_add(8));
    let head = end.map(|end| &bytes[8..end.min(bytes.len())]);
    head.is_some_and(|head| {
        let start = format!("{{\"__metadata__\":{{\"{KEY}\":");
        head.starts_with(start.as_bytes())
    })
}

/// The bytes of the file of a plan.
///
/// # Errors
/// When the checkpoint's config cannot be read.
pub fn bytes(
    loaded: &LoadedCheckpoint,
    plan: &PlanFile,
    method: Method,
    seen: &[Seen],
) -> Result<Vec<u8>, PatchError> {
    let mut stored: Vec<Stored> = seen.iter().flat_map(tensors).collect();
    stored.sort_by(|a, b| a.name.cmp(&b.name));
    let mut facts = Facts {
        version: VERSION,
        checkpoint: loaded.checkpoint.content_hash(),
        plan: identity(plan),
        rounding: method.name().to_owned(),
        config: config(loaded)?,
        tensors: BTreeMap::new(),
        rows: BTreeMap::new(),
        digest: String::new(),
    };
    for (id, tensor) in loaded.graph.tensors() {
        let digest = hex(&loaded.checkpoint.digest(id));
        facts.tensors.insert(tensor.path.clone(), digest);
    }
    for tensor in owned::shared(&loaded.graph) {
        let path = loaded.graph.tensor(tensor).path.clone();
        facts.rows.insert(path, rows(loaded, tensor));
    }
    let mut views = Vec::new();
    for Stored {
        name,
        dtype,
        shape,
        bytes,
    } in &stored
    {
        let view = TensorView::new(*dtype, shape.clone(), bytes).map_err(|e| broken(loaded, e))?;
        views.push((name, view));
    }
    facts.digest = digest(stored.iter().map(|of| (&of.name[..], &of.bytes[..])));
    let json = serde_json::to_string(&facts).map_err(|e| broken(loaded, e))?;
    let metadata = HashMap::from([(KEY.to_owned(), json)]);
    safetensors::serialize(views, Some(metadata)).map_err(|e| broken(loaded, e))
}

fn broken(loaded: &LoadedCheckpoint, what: impl ToString) -> PatchError {
    PatchError::Moments {
        path: loaded.checkpoint.dir().to_owned(),
        what: what.to_string(),
    }
}

/// A tensor of the file.
struct Stored {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// What is stored of a unit's inputs.
fn tensors(seen: &Seen) -> Vec<Stored> {
    let Seen { unit, inputs } = seen;
    let width = inputs.width();
    let stored = |what: &str, dtype, shape, bytes| Stored {
        name: format!("{unit} {what}"),
        dtype,
        shape,
        bytes,
    };
    let doubles = |values: &[f64]| values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let moments = inputs.moments().map(|moments| {
        let bytes = moments.iter().flat_map(|v| v.to_le_bytes()).collect();
        stored("moments", Dtype::F32, vec![width, width], bytes)
    });
    let squares = doubles(inputs.squares());
    let weight = doubles(&[inputs.weight()]);
    let others = [
        stored("squares", Dtype::F64, vec![width], squares),
        stored("weight", Dtype::F64, vec![1], weight),
    ];
    moments.into_iter().chain(others).collect()
}

/// SHA-256 of names and bytes.
fn digest<'a>(tensors: impl Iterator<Item = (&'a str, &'a [u8])>) -> String {
    let mut hash = Sha256::new();
    for (name, bytes) in tensors {
        hash.update(format!("{name} {}\n", bytes.len()));
        hash.update(bytes);
    }
    hex(&hash.finalize())
}

/// What identifies the units of a plan.
fn identity(plan: &PlanFile) -> String {
    let mut hash = Sha256::new();
    for unit in &plan.units {
        hash.update(format!("{} {} {}\n", unit.name, unit.format, unit.codes));
    }
    hex(&hash.finalize())
}

fn config(loaded: &LoadedCheckpoint) -> Result<String, PatchError> {
    const LONGEST: u64 = 1 << 20;
    let path = loaded.checkpoint.dir().join(CONFIG);
    let text = regular::read_text(&path, LONGEST).map_err(|e| PatchError::Moments {
        path: path.clone(),
        what: e.to_string(),
    })?;
    Ok(hex(&Sha256::digest(text)))
}

/// Digests of a tensor's rows.
fn rows(loaded: &LoadedCheckpoint, id: TensorId) -> Vec<String> {
    let shape = loaded.graph.tensor(id).shape();
    let columns: usize = shape[1..].iter().product();
    let mut row = vec![0.0f32; columns];
    let mut digest = |index: usize| {
        loaded.checkpoint.read_rows(id, index..index + 1, &mut row);
        let bytes: Vec<u8> = row.iter().flat_map(|v| v.to_le_bytes()).collect();
        hex(&Sha256::digest(bytes))
    };
    (0..shape[0]).map(&mut digest).collect()
}

impl Moments {
    /// Opens the file of a plan, and compares it with its digest.
    ///
    /// # Errors
    /// When it is not there, damaged, or of another plan.
    pub fn open(path: &Path, plan: &PlanFile) -> Result<Self, PatchError> {
        let wrong = |what: String| PatchError::Moments {
            path: path.to_owned(),
            what,
        };
        let file = regular::open(path).map_err(|e| {
            wrong(format!(
                "{e}; a plan's moments stand beside it and are kept by `gemc plan --keep-moments`"
            ))
        })?;
        // SAFETY: the file is read-only here. Were it changed by another process meanwhile, codes would be made from other
        // moments than those that were compared; no reference is to anything but bytes.
        let map = unsafe { Mmap::map(&file) }.map_err(|e| wrong(e.to_string()))?;
        let again = "make it again with `gemc plan --keep-moments`";
        let damaged = |what: String| wrong(format!("{what}; {again}"));
        let (_, head) = SafeTensors::read_metadata(&map).map_err(|e| damaged(e.to_string()))?;
        let json = head
            .metadata()
            .as_ref()
            .and_then(|metadata| metadata.get(KEY));
        let json = json.ok_or_else(|| damaged("is no file of moments".to_owned()))?;
        let facts: Facts = serde_json::from_str(json).map_err(|e| damaged(e.to_string()))?;
        if facts.version != VERSION {
            return Err(damaged(format!(
                "has version {}, this gemc reads version {VERSION}",
                facts.version
            )));
        }
        if facts.checkpoint != plan.checkpoint || facts.plan != identity(plan) {
            return Err(damaged("is of another plan".to_owned()));
        }
        let method = [Method::Plain, Method::Search, Method::Feedback]
            .into_iter()
            .find(|method| method.name() == facts.rounding)
            .ok_or_else(|| damaged(format!("rounds by {}", facts.rounding)))?;
        let moments = Self {
            path: path.to_owned(),
            map,
            facts,
            method,
        };
        let found = moments.digest().map_err(damaged)?;
        match found == moments.facts.digest {
            true => Ok(moments),
            false => Err(damaged("is damaged: its digest differs".to_owned())),
        }
    }

    fn digest(&self) -> Result<String, String> {
        let tensors = SafeTensors::deserialize(&self.map).map_err(|e| e.to_string())?;
        let mut all: Vec<_> = tensors.iter().collect();
        all.sort_by_key(|(name, _)| *name);
        Ok(digest(all.iter().map(|(name, view)| (*name, view.data()))))
    }

    fn wrong(&self, what: impl ToString) -> PatchError {
        PatchError::Moments {
            path: self.path.clone(),
            what: what.to_string(),
        }
    }

    /// That nothing but a module changed since the plan was made.
    pub(super) fn compare(
        &self,
        loaded: &LoadedCheckpoint,
        owned: &Owned,
        module: &str,
    ) -> Result<(), PatchError> {
        let changed = |what: String| {
            Err(PatchError::Changed {
                what,
                module: module.to_owned(),
            })
        };
        if config(loaded)? != self.facts.config {
            return changed(CONFIG.to_owned());
        }
        for (id, tensor) in loaded.graph.tensors() {
            let path = &tensor.path;
            let before = self.facts.tensors.get(path);
            if owned.has(id) || before == Some(&hex(&loaded.checkpoint.digest(id))) {
                continue;
            }
            let Some((own, before)) = owned.row(id).zip(self.facts.rows.get(path)) else {
                return changed(format!("tensor {path}"));
            };
            let now = rows(loaded, id);
            let other = (0..now.len().max(before.len()))
                .find(|row| *row != own && now.get(*row) != before.get(*row));
            if let Some(row) = other {
                return changed(format!("row {row} of tensor {path}"));
            }
        }
        Ok(())
    }

    /// A unit's weights in a format, rounded as the plan rounded it.
    pub(super) fn round(
        &self,
        reference: &Reference,
        unit: &Unit,
        codec: Codec,
    ) -> Result<Planes, PatchError> {
        let inputs = self.inputs(&unit.name)?;
        let factorised = match self.method {
            Method::Feedback => inputs.factorised(0.0),
            Method::Plain | Method::Search => None,
        };
        let weights = reference.unit(unit.nodes[0]);
        let weights = weights.map_or_else(Cow::default, UnitWeights::all);
        let known = Some((&inputs, factorised.as_ref()));
        let round =
            |inputs: gemc_format::Inputs<'_>| quantise(&weights, &unit.shape, codec, inputs);
        Ok(with_inputs(self.method, known, round))
    }

    /// What was seen of a unit's inputs.
    fn inputs(&self, unit: &str) -> Result<Inputs, PatchError> {
        let tensors = SafeTensors::deserialize(&self.map).map_err(|e| self.wrong(e))?;
        let doubles = |what: &str| -> Result<Vec<f64>, PatchError> {
            let view = tensors.tensor(&format!("{unit} {what}"));
            let view = view.map_err(|e| self.wrong(format!("{unit}: {e}")))?;
            let words = view.data().as_chunks::<8>().0.iter();
            Ok(words.map(|word| f64::from_le_bytes(*word)).collect())
        };
        let moments = match tensors.tensor(&format!("{unit} moments")) {
            Ok(view) => {
                let words = view.data().as_chunks::<4>().0.iter();
                words.map(|word| f32::from_le_bytes(*word)).collect()
            }
            Err(_) => Vec::new(),
        };
        let (squares, weight) = (doubles("squares")?, doubles("weight")?);
        let weight = weight.first().copied().unwrap_or_default();
        Inputs::kept(moments, squares, weight)
            .ok_or_else(|| self.wrong(format!("{unit}: moments of another width")))
    }
}
