//! A dense checkpoint and what llama.cpp made of it -> plans of no more bytes beside it, in one f32 executor: Markdown.
//!
//! `cargo run --release -p gemc-lab --bin peers -- examples/models/gem-lm-dense OUT/Q5_K_M OUT/Q4_K_M OUT/IQ3_M`; the folders are
//! written by `tests/peers/llama_cpp.py`. Both sides are weights read back in f32, with f32 activations, on evaluation text
//! that neither the importance matrix nor a plan was made from; both calibrate with the same text.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gemc::graph::{NodeId, Role, Unit, Units};
use gemc::pipeline::{self, LoadedCheckpoint};
use gemc::plan::file::Override;
use gemc::planner::{self, Ablation, Budget, Effort, FinishedPlan, Settings, Texts};
use gemc::progress::Silent;
use gemc::reference::{Activations, Reference};
use gemc::sensitivity::{Judge, Method};
use gemc::target::Target;
use gemc_format::Codec;
use gemc_lab::{MEMORY, Material};
use serde::Deserialize;

/// The plan's share of the peer's bytes when bodies are compared.
const SHARE: f64 = 0.9;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// `gguf.json` beside a checkpoint that was read back.
#[derive(Deserialize)]
struct Gguf {
    file: String,
    file_bytes: u64,
    tensors: BTreeMap<String, Tensor>,
}

#[derive(Deserialize)]
struct Tensor {
    #[serde(rename = "type")]
    kind: String,
    bytes: u64,
}

/// What everything is measured with.
struct Bench {
    loaded: LoadedCheckpoint,
    reference: Reference,
    units: Arc<Units>,
    texts: Texts,
    judge: Judge,
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).map(PathBuf::from);
    let checkpoint = arguments.next().ok_or("needs the folder of a checkpoint")?;
    let bench = Bench::new(&checkpoint)?;
    println!("| peer | bytes | KL | plan's bytes | KL | KL ratio |\n|---|---|---|---|---|---|");
    for folder in arguments {
        bench.against(&folder)?;
    }
    Ok(())
}

impl Bench {
    fn new(checkpoint: &Path) -> Result<Self> {
        let Material {
            loaded,
            texts,
            judged,
            ..
        } = Material::open(checkpoint, None)?;
        let reference = loaded.reference();
        Ok(Self {
            texts,
            judge: Judge::new(
                &reference,
                &judged.windows,
                Activations::F32,
                MEMORY,
                &Silent,
            )?,
            units: loaded.graph.units().clone(),
            reference,
            loaded,
        })
    }

    /// Two lines: without the embedding, which both keep in f32, and whole.
    fn against(&self, folder: &Path) -> Result<()> {
        let gguf: Gguf = serde_json::from_slice(&std::fs::read(folder.join("gguf.json"))?)?;
        let theirs = pipeline::load(folder)?;
        let theirs = theirs.reference();
        let quantised = || gguf.tensors.iter().filter(|(_, t)| t.kind != "F32");
        let embedding = self.embedding()?;
        let is_embedding = |name: &str| name.starts_with(&embedding.name);
        for whole in [false, true] {
            let of_size = quantised().filter(|(name, _)| whole || !is_embedding(name));
            let bytes: u64 = of_size.map(|(_, tensor)| tensor.bytes).sum();
            let counted = |unit: &Unit| whole || unit.id != embedding.id;
            let made = self.plan(
                if whole {
                    bytes
                } else {
                    (bytes as f64 * SHARE) as u64
                },
                whole,
            )?;
            let (mut peer, mut ours, mut size) =
                (self.reference.clone(), self.reference.clone(), 0);
            for (unit, planes) in self.units.iter().zip(&made.codes) {
                if !counted(unit) {
                    continue;
                }
                size += unit.shape.bytes(planes.codec);
                let weights: Arc<[f32]> = planes.weights().into();
                for node in &unit.nodes {
                    ours.replace(*node, weights.clone())?;
                    let weights = theirs.unit(*node).ok_or("a checkpoint of the same shape")?;
                    peer.replace(*node, weights.clone())?;
                }
            }
            let kl = |model: &Reference| {
                Ok::<_, Box<dyn Error>>(self.judge.judge(model, NodeId(0), true)?.mean())
            };
            let (peer, ours) = (kl(&peer)?, kl(&ours)?);
            let part = if whole {
                format!("{} whole ({} bytes as a file)", gguf.file, gguf.file_bytes)
            } else {
                format!(
                    "{} body ({})",
                    gguf.file,
                    kinds(quantised().filter(|(n, _)| !is_embedding(n)))
                )
            };
            println!(
                "| {part} | {bytes} | {peer:.6} | {size} | {ours:.6} | {:.2} |",
                ours / peer
            );
        }
        Ok(())
    }

    fn embedding(&self) -> Result<&Unit> {
        let mut units = self.units.iter();
        let unit = units.find(|unit| unit.role == Role::Embedding);
        unit.ok_or_else(|| "a model without an embedding".into())
    }

    /// A plan of at most so many bytes, of all units or of all but the embedding.
    fn plan(&self, bytes: u64, whole: bool) -> Result<FinishedPlan> {
        let embedding = self.embedding()?;
        let pinned = embedding.shape.bytes(Codec::B8);
        let overrides = vec![Override {
            units: format!("^{}$", embedding.name),
            format: Codec::B8.name().to_owned(),
        }];
        let settings = Settings {
            target: Target::host(),
            budget: Budget::Units(if whole { bytes } else { bytes + pinned }),
            latency: None,
            method: Method::Feedback,
            effort: Effort::Default,
            overrides: if whole { Vec::new() } else { overrides },
            activations: Vec::new(),
            uniform_body: false,
            without: Ablation::default(),
            workplace: None,
            keep_moments: false,
        };
        Ok(planner::make(
            &self.loaded,
            &settings,
            &self.texts,
            &mut |_, _| {},
            &Silent,
        )?)
    }
}

/// How many tensors have which type.
fn kinds<'a>(tensors: impl Iterator<Item = (&'a String, &'a Tensor)>) -> String {
    let mut counts = BTreeMap::<&str, usize>::new();
    tensors.for_each(|(_, tensor)| *counts.entry(&tensor.kind).or_default() += 1);
    let each = counts.iter().map(|(kind, count)| format!("{count} {kind}"));
    each.collect::<Vec<_>>().join(", ")
}
