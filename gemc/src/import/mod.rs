//! A checkpoint folder -> a [`Checkpoint`]: model graph, validated config, weights in mapped files.
//!
//! Everything that can be wrong with the input is found here, located, and reported together; later stages trust what
//! they get. Each model family is one line in [`FRONT_ENDS`].

mod checkpoint;
pub mod config;
mod error;
mod families;
mod folder;
pub mod gem;
pub(crate) mod json;
mod licenses;
pub mod safetensors;
mod texts;
mod tokenizer;

use std::collections::BTreeMap;
use std::path::Path;

use gem_runtime::regular;
use gem_runtime::text::{GENERATION_CONFIG, GenerationConfig};
use serde_json::{Map, Value};

use crate::graph::{Graph, Untyped};
use config::{GemConfig, KeyAccount};
use safetensors::{StoredType, TensorFiles, first_not_finite};

pub use checkpoint::{Account, Checkpoint, TensorUse, Weights};
pub use error::{Finding, Findings, ImportError, Place, counted, nearest, printable, shown};
pub use licenses::{license_files, licenses};
pub use texts::{
    Split, TextRecord, files as text_files, for_each as for_each_record, parse_record,
};
pub use tokenizer::highest_id;

const CONFIG: &str = "config.json";
const LONGEST_CONFIG: u64 = 4 << 20;

/// A model family.
pub struct FrontEnd {
    /// The `model_type` that it reads.
    pub model_type: &'static str,
    /// Turns config and tensors into a graph; `None` when it noted findings.
    pub build: fn(&mut Source<'_>, &mut Findings) -> Option<ImportedModel>,
}

/// The families this compiler reads.
pub const FRONT_ENDS: &[FrontEnd] = &[FrontEnd {
    model_type: "gem",
    build: gem::front,
}];

/// What a front end reads, and its notes on what becomes of each tensor.
#[derive(Debug)]
pub struct Source<'a> {
    /// The object of `config.json`.
    pub config: &'a Map<String, Value>,
    /// The tensors of the file.
    pub tensors: &'a TensorFiles,
    uses: BTreeMap<String, TensorUse>,
}

/// What a front end makes.
#[derive(Debug)]
pub struct ImportedModel {
    /// The config, or its equivalent.
    pub config: GemConfig,
    /// The model's graph, its shapes not checked yet.
    pub graph: Graph<Untyped>,
    /// What became of every config key.
    pub keys: KeyAccount,
}

impl Source<'_> {
    /// Notes that a tensor of the file is left out.
    pub fn drop(&mut self, path: &str, why: &str) {
        self.uses
            .insert(path.to_owned(), TensorUse::Dropped(why.to_owned()));
    }

    /// Notes a finding unless the tensor is there with this shape and a type that can be read.
    pub fn expect(&mut self, path: &str, shape: &[usize], findings: &mut Findings) {
        let Some(found) = self.tensors.find(path) else {
            let what = format!("is missing; expected shape {shape:?}");
            findings.push(Finding::tensor(path, what));
            return;
        };
        self.uses.insert(path.to_owned(), TensorUse::Used);
        let entry = self.tensors.entry(found);
        if entry.shape != shape {
            let what = format!("has shape {:?}", entry.shape);
            findings.push(Finding::tensor(path, what).allowed(format!("{shape:?}")));
        }
        if StoredType::of(entry.dtype).is_none() {
            let what = format!("has type {:?}", entry.dtype);
            findings.push(Finding::tensor(path, what).allowed(StoredType::ALLOWED));
        }
    }

    /// Whether both tensors are there and hold the same bytes.
    #[must_use]
    pub fn same(&self, a: &str, b: &str) -> bool {
        match (self.tensors.find(a), self.tensors.find(b)) {
            (Some(a), Some(b)) => {
                let (x, y) = (self.tensors.entry(a), self.tensors.entry(b));
                x.dtype == y.dtype
                    && x.shape == y.shape
                    && self.tensors.bytes(a) == self.tensors.bytes(b)
            }
            _ => false,
        }
    }
}

/// Imports a checkpoint folder. Reads every tensor once, to rule out NaN and infinity.
///
/// # Errors
/// With everything that is wrong; a file that cannot be parsed at all stops at once.
pub fn checkpoint(dir: &Path) -> Result<Checkpoint, ImportError> {
    folder::check(dir)?;
    let config_bytes = json::read_bounded(&dir.join(CONFIG), CONFIG, LONGEST_CONFIG)?;
    let map = json::parse_object(&config_bytes).map_err(|e| Finding::file(CONFIG, e))?;
    let front = families::front_end(&map)?;
    let files = TensorFiles::open(dir)?;
    let mut findings = Findings::default();
    let mut source = Source {
        config: &map,
        tensors: &files,
        uses: BTreeMap::new(),
    };
    let built = (front.build)(&mut source, &mut findings);
    let uses = source.uses;
    check_surplus(&files, &uses, &mut findings);
    check_values(&files, &uses, &mut findings);
    let vocab = built.as_ref().map(|b| b.config.vocab_size);
    let mut companions = tokenizer::read(dir, vocab, &mut findings);
    let Some(mut built) = built else {
        return findings.into_result(()).and_then(|()| Err(unexplained()));
    };
    special_tokens(dir, &mut built, &mut companions.config.generation);
    findings.into_result(())?;
    let weights = Weights::of(&built.graph, files).ok_or_else(unexplained)?;
    Ok(Checkpoint {
        dir: dir.to_owned(),
        config: built.config,
        config_bytes,
        graph: built.graph,
        weights,
        account: Account {
            tensors: uses.into_iter().collect(),
            keys: built.keys,
        },
        companions,
    })
}

/// Takes the tokens that begin and end a text from `config.json` where there is no `generation_config.json`, as Hugging
/// Face's library does; notes whether they have an effect. An id beyond the vocabulary is never generated.
fn special_tokens(dir: &Path, built: &mut ImportedModel, generation: &mut GenerationConfig) {
    let config = &built.config;
    let why = if !config.causal() {
        "a classifier generates no text"
    } else if regular::is_there(&dir.join(GENERATION_CONFIG)) {
        "generation_config.json says it"
    } else {
        let known = |id: &u64| {
            u32::try_from(*id)
                .ok()
                .filter(|_| *id < config.vocab_size as u64)
        };
        generation.bos_token_id = config.special.bos.as_ref().and_then(known);
        generation.eos_token_ids = config.special.eos.iter().filter_map(known).collect();
        return;
    };
    for (key, becomes) in &mut built.keys {
        if ["bos_token_id", "eos_token_id"].contains(&key.as_str()) {
            *becomes = config::KeyUse::Ignored(why.to_owned());
        }
    }
}

/// A front end that fails without saying why is at fault itself; the input is refused all the same.
fn unexplained() -> ImportError {
    Finding::file(CONFIG, "describes a model that this compiler cannot build").into()
}

/// Every tensor of the file is used or dropped; any other is a finding. When the front end noted none, the config was
/// not readable and nothing can be said.
fn check_surplus(files: &TensorFiles, uses: &BTreeMap<String, TensorUse>, findings: &mut Findings) {
    if uses.is_empty() {
        return;
    }
    for name in files.names().filter(|n| !uses.contains_key(*n)) {
        let what = "is surplus: this config has no such tensor";
        findings.push(Finding::tensor(name, what));
    }
}

/// Looks for NaN and infinity in everything that is not dropped.
fn check_values(files: &TensorFiles, uses: &BTreeMap<String, TensorUse>, findings: &mut Findings) {
    for name in files.names() {
        if matches!(uses.get(name), Some(TensorUse::Dropped(_))) {
            continue;
        }
        let Some(found) = files.find(name) else {
            continue;
        };
        let entry = files.entry(found);
        let Some(stored) = StoredType::of(entry.dtype) else {
            continue;
        };
        if let Some(flat) = first_not_finite(stored, files.bytes(found)) {
            let size = stored.size();
            let mut value = [0f32];
            let bytes = &files.bytes(found)[flat * size..(flat + 1) * size];
            safetensors::to_f32(stored, bytes, &mut value);
            let at = index(&entry.shape, flat);
            let what = format!("holds {} at {at:?}", value[0]);
            findings.push(Finding::tensor(name, what).allowed("finite values"));
        }
    }
}

/// A flat index as one per dimension.
fn index(shape: &[usize], flat: usize) -> Vec<usize> {
    let mut rest = flat;
    let mut at: Vec<usize> = shape
        .iter()
        .rev()
        .map(|&d| {
            let i = rest % d.max(1);
            rest /= d.max(1);
            i
        })
        .collect();
    at.reverse();
    at
}

#[cfg(test)]
pub(crate) mod tests;
