//! An imported checkpoint: graph, config, the account of what became of every tensor and key, and the weights, which
//! stay in the mapped files and are converted row by row.

use std::fmt::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gem_runtime::text::{GenerationConfig, TemplateSource};
use sha2::{Digest as _, Sha256};

use super::config::{GemConfig, KeyAccount};
use super::error::ImportError;
use super::safetensors::{StoredType, TensorFiles, TensorPlace, to_f32};
use super::texts::{self, Split, TextRecord};
use super::tokenizer::Companions;
use crate::graph::{Graph, TensorId, Untyped};
use crate::tensors::TensorSource;

/// What became of a tensor of the file.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TensorUse {
    /// The graph reads it.
    Used,
    /// Nothing reads it, for this reason.
    Dropped(String),
}

/// What became of everything in the checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Account {
    /// Every tensor of the files, by path.
    pub tensors: Vec<(String, TensorUse)>,
    /// Every key of `config.json`.
    pub keys: KeyAccount,
}

/// One tensor the graph refers to.
#[derive(Clone, Copy, Debug)]
struct PlacedTensor {
    found: TensorPlace,
    stored: StoredType,
    rows: usize,
    width: usize,
}

/// The values of a graph's tensors, in mapped files. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Weights {
    files: Arc<TensorFiles>,
    placed: Arc<[PlacedTensor]>,
}

impl Weights {
    /// Finds the tensors of a graph; `None` when one is missing or of another type, which import has ruled out.
    pub(super) fn of(graph: &Graph<Untyped>, files: TensorFiles) -> Option<Self> {
        let placed: Option<Vec<PlacedTensor>> = graph
            .tensors()
            .map(|(_, tensor)| {
                let found = files.find(&tensor.path)?;
                Some(PlacedTensor {
                    found,
                    stored: StoredType::of(files.entry(found).dtype)?,
                    rows: tensor.shape.first().copied().unwrap_or(1),
                    width: tensor.shape.iter().skip(1).product(),
                })
            })
            .collect();
        Some(Self {
            files: Arc::new(files),
            placed: placed?.into(),
        })
    }

    /// How a tensor is stored.
    #[must_use]
    pub fn stored(&self, id: TensorId) -> StoredType {
        self.placed[id.index()].stored
    }

    /// Its stored bytes, little-endian, row-major.
    #[must_use]
    pub fn bytes(&self, id: TensorId) -> &[u8] {
        self.files.bytes(self.placed[id.index()].found)
    }

    /// The files behind them.
    #[must_use]
    pub fn files(&self) -> &TensorFiles {
        &self.files
    }
}

impl TensorSource for Weights {
    fn read_rows(&self, id: TensorId, rows: Range<usize>, out: &mut [f32]) {
        let p = self.placed[id.index()];
        assert!(rows.end <= p.rows, "rows {rows:?} of {}", p.rows);
        let row = p.width * p.stored.size();
        let bytes = &self.bytes(id)[rows.start * row..rows.end * row];
        to_f32(p.stored, bytes, out);
    }

    fn digest(&self, id: TensorId) -> [u8; 32] {
        let p = self.placed[id.index()];
        let mut hash = Sha256::new();
        hash.update(format!("{:?} {} {}\n", p.stored, p.rows, p.width));
        hash.update(self.bytes(id));
        hash.finalize().into()
    }
}

/// A checkpoint that was read and found right.
#[derive(Debug)]
pub struct Checkpoint {
    pub(super) dir: PathBuf,
    pub(super) config: GemConfig,
    pub(super) config_bytes: Vec<u8>,
    pub(super) graph: Graph<Untyped>,
    pub(super) weights: Weights,
    pub(super) account: Account,
    pub(super) companions: Companions,
}

impl Checkpoint {
    /// The folder it came from.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The model.
    #[must_use]
    pub fn graph(&self) -> &Graph<Untyped> {
        &self.graph
    }

    /// The values of its tensors.
    #[must_use]
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Graph and values, for stages that take the graph.
    #[must_use]
    pub fn into_parts(self) -> (Graph<Untyped>, Weights) {
        (self.graph, self.weights)
    }

    /// The validated config.
    #[must_use]
    pub fn config(&self) -> &GemConfig {
        &self.config
    }

    /// What became of every tensor and every key.
    #[must_use]
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// `tokenizer.json`, when the checkpoint has one.
    #[must_use]
    pub fn tokenizer_path(&self) -> Option<&Path> {
        self.companions.tokenizer.as_deref()
    }

    /// `generation_config.json`, or defaults.
    #[must_use]
    pub fn generation_config(&self) -> &GenerationConfig {
        &self.companions.config.generation
    }

    /// The chat templates, each with what keeps it from being used; that takes nothing but conversations away.
    #[must_use]
    pub fn chat_templates(&self) -> Vec<(&TemplateSource, Option<String>)> {
        self.companions.chat_templates()
    }

    /// What the model needs to read and write text; `None` without a tokenizer.
    #[cfg(feature = "jit")]
    #[must_use]
    pub fn text(&self) -> Option<Arc<gem_runtime::text::Text>> {
        self.companions.text.clone()
    }

    /// The texts of a split, by domain; empty when the checkpoint has none.
    ///
    /// # Errors
    /// With every line that is wrong.
    pub fn texts(&self, split: Split) -> Result<Vec<(String, Vec<TextRecord>)>, ImportError> {
        texts::read(&self.dir.join(split.folder()), &self.config.labels)
    }

    /// SHA-256 of config and used tensors in hexadecimal; the same however the tensors are spread over shards.
    ///
    /// Reads every tensor once, so it costs as much as the disk.
    #[must_use]
    pub fn content_hash(&self) -> String {
        let mut hash = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        part(&self.config_bytes);
        let mut tensors: Vec<_> = self.graph.tensors().collect();
        tensors.sort_by(|a, b| a.1.path.cmp(&b.1.path));
        for (id, tensor) in tensors {
            part(tensor.path.as_bytes());
            part(format!("{:?}{:?}", self.weights.stored(id), tensor.shape).as_bytes());
            part(self.weights.bytes(id));
        }
        let mut hex = String::with_capacity(64);
        for byte in hash.finalize() {
            // Writing to a `String` cannot fail.
            let _ = write!(hex, "{byte:02x}");
        }
        hex
    }
}

impl TensorSource for Checkpoint {
    fn read_rows(&self, id: TensorId, rows: Range<usize>, out: &mut [f32]) {
        self.weights.read_rows(id, rows, out);
    }

    fn digest(&self, id: TensorId) -> [u8; 32] {
        self.weights.digest(id)
    }
}
