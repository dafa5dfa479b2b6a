//! `config.json` -> a random checkpoint of that shape: for benchmarks and tests, where weights do not change speed.
//!
//! Tensors are streamed row by row, so memory does not grow with the model; the same config and seed give the same
//! bytes.

mod tokenizer;
mod values;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::ControlFlow;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::import::config::{self, GemConfig};
use crate::import::{Finding, Findings, ImportError, gem};
use crate::output::{OutputError, OutputFolder};
use crate::progress::Progress;

/// Where a shard ends; a single tensor may be larger.
const SHARD_BYTES: u64 = 4 << 30;
const MOST_TENSORS: usize = 1 << 20;
const BYTES_PER_VALUE: u64 = 2;

/// Why no checkpoint was written.
#[derive(Debug, thiserror::Error)]
pub enum SynthError {
    /// The config is at fault.
    #[error(transparent)]
    Config(#[from] ImportError),
    /// The folder is.
    #[error(transparent)]
    Output(#[from] OutputError),
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct SyntheticCheckpoint {
    /// Number of tensors.
    pub tensors: usize,
    /// Number of values in them.
    pub parameters: u64,
    /// Names of the safetensors files.
    pub files: Vec<String>,
    /// Whether there is a tokenizer: not below 256 ids, since every byte needs one.
    pub tokenizer: bool,
}

/// A tensor to be written.
#[derive(Debug)]
struct PlannedTensor {
    path: String,
    shape: Vec<usize>,
    values: u64,
}

/// Writes a random bf16 checkpoint for the config at `config` to the new folder `out`.
///
/// # Errors
/// When the config is refused or the folder cannot be written; then there is no folder.
pub fn synth(
    config: &Path,
    out: &Path,
    seed: u64,
    progress: &dyn Progress,
) -> Result<SyntheticCheckpoint, SynthError> {
    let name = config.display().to_string();
    let bytes =
        crate::import::json::read_bounded(config, &name, 4 << 20).map_err(ImportError::from)?;
    let text = crate::import::json::parse_object(&bytes);
    let map = text.map_err(|e| ImportError::from(Finding::file(&name, e)))?;
    let config = validated(&map)?;
    let shards = shards(plan(&config)?, SHARD_BYTES);
    let folder = OutputFolder::create(out)?;
    let parameters = shards.iter().flatten().map(|t| t.values).sum();
    progress.start("writing tensors", parameters);
    let files = write_shards(&folder, &config, &shards, seed, progress)?;
    write(&folder, "config.json", |w| w.write_all(&bytes))?;
    let tokenizer = config.vocab_size >= tokenizer::BYTES;
    if tokenizer {
        write(&folder, "tokenizer.json", |w| {
            tokenizer::write(w, config.vocab_size)
        })?;
        let settings = tokenizer::settings(config.vocab_size);
        write(&folder, "tokenizer_config.json", |w| pretty(w, &settings))?;
    }
    folder.commit()?;
    Ok(SyntheticCheckpoint {
        tensors: shards.iter().map(Vec::len).sum(),
        parameters,
        files,
        tokenizer,
    })
}

fn validated(map: &Map<String, Value>) -> Result<GemConfig, ImportError> {
    let mut findings = Findings::default();
    let (config, _) = config::read(map, &mut findings);
    let config = findings.into_result(config)?;
    config.ok_or_else(|| Finding::file("config.json", "describes no model").into())
}

fn plan(config: &GemConfig) -> Result<Vec<PlannedTensor>, ImportError> {
    let mut list = Vec::new();
    let flow = gem::for_each(config, &mut |path, shape| {
        list.push(PlannedTensor {
            path: path.to_owned(),
            shape: shape.to_vec(),
            values: shape.iter().map(|&d| d as u64).product(),
        });
        match list.len() {
            MOST_TENSORS => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    });
    match flow {
        ControlFlow::Continue(()) => Ok(list),
        ControlFlow::Break(()) => {
            let finding = Finding::file("config.json", "asks for too many tensors");
            Err(finding.allowed(format!("fewer than {MOST_TENSORS}")).into())
        }
    }
}

/// Closes a shard when the next tensor would not fit.
fn shards(tensors: Vec<PlannedTensor>, most: u64) -> Vec<Vec<PlannedTensor>> {
    let mut shards: Vec<Vec<PlannedTensor>> = vec![Vec::new()];
    let mut size = 0;
    for tensor in tensors {
        let bytes = tensor.values * BYTES_PER_VALUE;
        if size + bytes > most && shards.last().is_some_and(|s| !s.is_empty()) {
            shards.push(Vec::new());
            size = 0;
        }
        size += bytes;
        if let Some(last) = shards.last_mut() {
            last.push(tensor);
        }
    }
    shards
}

fn write_shards(
    folder: &OutputFolder,
    config: &GemConfig,
    shards: &[Vec<PlannedTensor>],
    seed: u64,
    progress: &dyn Progress,
) -> Result<Vec<String>, OutputError> {
    let count = shards.len();
    let names: Vec<String> = match count {
        1 => vec!["model.safetensors".to_owned()],
        _ => (1..=count)
            .map(|i| format!("model-{i:05}-of-{count:05}.safetensors"))
            .collect(),
    };
    for (name, shard) in names.iter().zip(shards) {
        write(folder, name, |w| {
            write_shard(w, config, shard, seed, progress)
        })?;
    }
    if count > 1 {
        let mut map = Map::new();
        for (name, shard) in names.iter().zip(shards) {
            map.extend(shard.iter().map(|t| (t.path.clone(), json!(name))));
        }
        let total: u64 = shards
            .iter()
            .flatten()
            .map(|t| t.values * BYTES_PER_VALUE)
            .sum();
        let index = json!({"metadata": {"total_size": total}, "weight_map": map});
        write(folder, "model.safetensors.index.json", |w| {
            pretty(w, &index)
        })?;
    }
    Ok(names)
}

/// The header, padded to 8 bytes as the format wants it, then the values.
fn write_shard(
    w: &mut dyn Write,
    config: &GemConfig,
    shard: &[PlannedTensor],
    seed: u64,
    progress: &dyn Progress,
) -> std::io::Result<()> {
    let mut header = Map::new();
    header.insert("__metadata__".to_owned(), json!({"format": "pt"}));
    let mut end = 0;
    for t in shard {
        let start = end;
        end += t.values * BYTES_PER_VALUE;
        let info = json!({"dtype": "BF16", "shape": t.shape, "data_offsets": [start, end]});
        header.insert(t.path.clone(), info);
    }
    let mut header = Value::Object(header).to_string();
    let padded = header.len().next_multiple_of(8);
    header.extend(std::iter::repeat_n(' ', padded - header.len()));
    w.write_all(&(padded as u64).to_le_bytes())?;
    w.write_all(header.as_bytes())?;
    for t in shard {
        values::write(w, config, &t.path, &t.shape, seed, progress)?;
    }
    Ok(())
}

fn pretty(w: &mut dyn Write, value: &Value) -> std::io::Result<()> {
    serde_json::to_writer_pretty(&mut *w, value)?;
    w.write_all(b"\n")
}

fn write(
    folder: &OutputFolder,
    name: &str,
    fill: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<(), OutputError> {
    let go = || {
        let mut w = BufWriter::with_capacity(1 << 20, File::create(folder.path().join(name))?);
        fill(&mut w)?;
        w.flush()
    };
    go().map_err(|e| folder.error(name, e))
}

#[cfg(test)]
mod tests;
