//! An imported checkpoint: graph, config, the account of what became of every tensor and key, and the weights, which
//! stay in the mapped files and are converted row by row.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gem_runtime::text::{GenerationConfig, TOKENIZER, TemplateSource, TextFolder};
use sha2::{Digest as _, Sha256};

use super::config::KeyAccount;
use super::error::ImportError;
use super::files::{Scales, StoredType, TensorFiles, TensorPlace, to_f32};
use super::texts::{self, Split, TextRecord};
use super::tokenizer::Companions;
use crate::graph::{Graph, TensorId, Untyped, View};
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
#[derive(Clone, Debug)]
struct PlacedTensor {
    found: TensorPlace,
    stored: StoredType,
    view: View,
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
                let found = files.find(tensor.view.stored())?;
                Some(PlacedTensor {
                    found,
                    stored: files.entry(found).stored.clone().ok()?,
                    view: tensor.view.clone(),
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

    /// The files behind them.
    #[must_use]
    pub fn files(&self) -> &TensorFiles {
        &self.files
    }
}

impl TensorSource for Weights {
    fn read_rows(&self, id: TensorId, rows: Range<usize>, out: &mut [f32]) {
        let placed = &self.placed[id.index()];
        let (view, stored) = (&placed.view, placed.stored);
        assert!(rows.end <= view.rows(), "rows {rows:?} of {}", view.rows());
        assert_eq!(out.len(), rows.len() * view.columns(), "one value each");
        read(
            view,
            stored,
            self.files.bytes(placed.found),
            rows.clone(),
            out,
        );
        if let Some(scales) = self.files.scales(placed.found) {
            scale(view, scales, rows, out);
        }
        view.adjust(out);
    }

    fn digest(&self, id: TensorId) -> [u8; 32] {
        let placed = &self.placed[id.index()];
        let (view, bytes) = (&placed.view, self.files.bytes(placed.found));
        let mut hash = Sha256::new();
        let (rows, columns) = (view.rows(), view.columns());
        hash.update(format!("{} {rows} {columns}\n", placed.stored));
        if view.is_plain() && self.files.scales(placed.found).is_none() {
            hash.update(bytes);
            return hash.finalize().into();
        }
        // What is seen counts, not where it stands.
        let most = (DIGESTED / columns.max(1)).max(1);
        let mut values = vec![0f32; columns * most.min(rows)];
        for start in (0..rows).step_by(most) {
            let rows = start..rows.min(start + most);
            let values = &mut values[..rows.len() * columns];
            self.read_rows(id, rows, values);
            values
                .iter()
                .for_each(|value| hash.update(value.to_le_bytes()));
        }
        hash.finalize().into()
    }
}

/// Values of a view that are digested at a time.
const DIGESTED: usize = 1 << 16;

/// Multiplies rows of a view by the scales of their stored values.
fn scale(view: &View, scales: Scales<'_>, rows: Range<usize>, out: &mut [f32]) {
    for (row, out) in rows.zip(out.chunks_exact_mut(view.columns())) {
        let start = view.row_start(row);
        for (column, value) in out.iter_mut().enumerate() {
            *value *= scales.of(start + column * view.column_step());
        }
    }
}

/// Rows of a view as they are stored.
fn read(view: &View, stored: StoredType, bytes: &[u8], rows: Range<usize>, out: &mut [f32]) {
    let columns = view.columns();
    let part =
        |first: usize, count: usize| &bytes[stored.bytes(first)..stored.bytes(first + count)];
    if view.is_contiguous() {
        let first = view.row_start(rows.start);
        return to_f32(stored, part(first, rows.len() * columns), out);
    }
    if view.has_whole_rows() {
        for (row, out) in rows.zip(out.chunks_exact_mut(columns)) {
            to_f32(stored, part(view.row_start(row), columns), out);
        }
        return;
    }
    // Rows stand across the stored ones: those asked for are side by side. Types of several values a block are never read so.
    for column in 0..columns {
        let at = column * view.column_step();
        for (i, row) in rows.clone().enumerate() {
            let value = &mut out[i * columns + column..][..1];
            to_f32(stored, part(view.row_start(row) + at, 1), value);
        }
    }
}

/// A checkpoint that was read and found right.
#[derive(Debug)]
pub struct Checkpoint {
    pub(super) dir: PathBuf,
    pub(super) gguf: Option<PathBuf>,
    pub(super) family: &'static str,
    pub(super) values_read: bool,
    /// Files of settings that decide what is computed, beside the config.
    pub(super) beside: BTreeMap<String, Vec<u8>>,
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

    /// What it was read from: the folder, or the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.gguf.as_deref().unwrap_or(&self.dir)
    }

    /// The model's graph, its shapes not checked yet.
    #[must_use]
    pub fn graph(&self) -> &Graph<Untyped> {
        &self.graph
    }

    /// The `model_type` by which it was read.
    #[must_use]
    pub fn family(&self) -> &'static str {
        self.family
    }

    /// Bits per weight of the tensors that are stored in blocks of codes; none where there are none of these.
    #[must_use]
    pub fn source_bits(&self) -> Option<f64> {
        let files = self.weights.files();
        let (mut bits, mut count) = (0.0, 0.0);
        for (path, _) in &self.account.tensors {
            let Some(found) = files.find(path) else {
                continue;
            };
            let entry = files.entry(found);
            let packed =
                |stored: &&StoredType| stored.block().0 > 1 || **stored == StoredType::F8E4M3;
            let Some(stored) = entry.stored.as_ref().ok().filter(packed) else {
                continue;
            };
            let (values, bytes) = stored.block();
            let scales = files.scales(found).map_or(0, |scales| scales.bytes.len());
            let own: f64 = entry.shape.iter().map(|&d| d as f64).product();
            bits += own * 8.0 * bytes as f64 / values as f64 + 8.0 * scales as f64;
            count += own;
        }
        (count > 0.0).then(|| bits / count)
    }

    /// Whether all values were looked at, and are finite.
    #[must_use]
    pub fn values_read(&self) -> bool {
        self.values_read
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

    /// What became of every tensor and every key.
    #[must_use]
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Whether it has a `tokenizer.json`.
    #[must_use]
    pub fn has_tokenizer(&self) -> bool {
        self.companions.has(TOKENIZER)
    }

    /// The files about text, as a folder would hold them.
    #[must_use]
    pub fn text_files(&self) -> &TextFolder {
        &self.companions.files
    }

    /// Every file that the checkpoint was read from: its name in the folder.
    #[must_use]
    pub fn input_files(&self) -> Vec<String> {
        let tensors = self.weights.files().files();
        let mut names: Vec<String> = tensors.map(|(name, _)| name.to_owned()).collect();
        names.extend(self.companions.in_folder.clone());
        names.extend(self.own_settings().map(|(name, _)| name.clone()));
        if self.gguf.is_none() {
            names.push(super::CONFIG.to_owned());
        }
        names
    }

    /// Files of settings that are no files about text.
    fn own_settings(&self) -> impl Iterator<Item = (&String, &Vec<u8>)> {
        let texts = &self.companions.in_folder;
        self.beside.iter().filter(|(name, _)| !texts.contains(name))
    }

    /// What it is called: as the folder, as the model that the folder is a snapshot of, or as the file without its extension.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.gguf {
            Some(file) => file
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            None => super::folder::name(&self.dir),
        }
    }

    /// Ids that end a text, ascending: those of `generation_config.json`, `config.json` and the tokenizer. A compiler without
    /// text in it does not know the tokenizer's.
    #[must_use]
    pub fn eos_token_ids(&self) -> Vec<u32> {
        let mut ids = self.generation_config().eos_token_ids.clone();
        #[cfg(feature = "jit")]
        if let Some(text) = self.text() {
            ids.extend(text.eos());
        }
        ids.sort_unstable();
        ids.dedup();
        ids
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
        texts::read(&self.dir.join(split.folder()), &self.graph.facts().labels)
    }

    /// SHA-256 of config, settings and used tensors in hexadecimal; the same however the tensors are spread over shards.
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
        for (name, bytes) in self.own_settings() {
            part(name.as_bytes());
            part(bytes);
        }
        for (path, use_) in &self.account.tensors {
            let files = self.weights.files();
            let found = files.find(path).filter(|_| *use_ == TensorUse::Used);
            let Some(found) = found else { continue };
            let entry = files.entry(found);
            part(path.as_bytes());
            if let Ok(stored) = &entry.stored {
                part(format!("{stored}{:?}", entry.shape).as_bytes());
            }
            part(files.bytes(found));
            if let Some(scales) = files.scales(found) {
                part(format!("{:?} {:?}", scales.blocks, scales.stored).as_bytes());
                part(scales.bytes);
            }
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
