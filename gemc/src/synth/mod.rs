//! `config.json` -> a random checkpoint of that shape: for benchmarks and tests, where weights do not change speed.
//!
//! Tensors are streamed row by row, so memory does not grow with the model; the same config and seed give the same
//! bytes.

mod tokenizer;
mod values;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use serde_json::{Map, Value, json};
use values::Draw;

use crate::graph::{Graph, Untyped};
use crate::import::{self, Finding, Findings, ImportError, Source, Wanted};
use crate::output::{OutputError, OutputFolder};
use crate::progress::Progress;

/// Where a shard ends; a single tensor may be larger.
const SHARD_BYTES: u64 = 4 << 30;
const BYTES_PER_VALUE: u64 = 2;

/// Why no checkpoint was written.
#[derive(Debug, thiserror::Error)]
pub enum SynthError {
    /// The config is at fault.
    #[error(transparent)]
    Config(#[from] ImportError),
    /// The output folder cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
}

/// What a synthetic checkpoint holds.
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
    let (graph, tensors) = plan(&map)?;
    let vocab_size = graph.facts().vocab_size;
    let draw = Draw::of(&graph, seed);
    let shards = shards(tensors, SHARD_BYTES);
    let folder = OutputFolder::create(out)?;
    let parameters = shards.iter().flatten().map(|t| t.values).sum();
    progress.start("writing tensors", parameters);
    let files = write_shards(&folder, &draw, &shards, progress)?;
    write(&folder, "config.json", |w| w.write_all(&bytes))?;
    let tokenizer = vocab_size >= tokenizer::BYTES;
    if tokenizer {
        write(&folder, "tokenizer.json", |w| {
            tokenizer::write(w, vocab_size)
        })?;
        let settings = tokenizer::settings(vocab_size);
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

/// The graph of a config, and the tensors that it asks for.
fn plan(map: &Map<String, Value>) -> Result<(Graph<Untyped>, Vec<PlannedTensor>), ImportError> {
    let front = import::front_end(map)?;
    let mut findings = Findings::default();
    let mut source = Source::of_config(map);
    let built = (front.build)(&mut source, &mut findings);
    let (_, wanted) = source.finish();
    let Some(model) = findings.into_result(built)? else {
        return Err(Finding::file("config.json", "does not describe a model").into());
    };
    let tensors = wanted
        .into_iter()
        .map(|Wanted { path, shape }| PlannedTensor {
            values: shape.iter().map(|&d| d as u64).product(),
            path,
            shape,
        });
    Ok((model.graph, tensors.collect()))
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
    draw: &Draw,
    shards: &[Vec<PlannedTensor>],
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
        write(folder, name, |w| write_shard(w, draw, shard, progress))?;
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
    draw: &Draw,
    shard: &[PlannedTensor],
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
        draw.write(w, &t.path, &t.shape, progress)?;
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
