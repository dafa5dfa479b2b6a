//! A changed model -> KL per token against the original, on texts whose original outputs and wires are kept; of vectors of
//! texts, the cosine error takes the place of the KL.

use std::collections::BTreeMap;

use rayon::prelude::*;

use crate::calibrate::{batch_of, batches};
use crate::graph::{Graph, NodeId, Task, Typed};
use crate::metrics::{at_least_zero, cosine_error};
use crate::progress::Progress;
use crate::reference::{
    Activations, Batch, Matrix, OutputRows, Reference, ReferenceError, RoutingRecords,
    RoutingSource, RunOptions, Wires,
};
use crate::sequences::Sequence;

/// Bytes of the original's outputs that planning keeps: with wires, moments, planes and three models' weights, planning
/// a small model then stays below half a gigabyte.
pub const KEPT_BYTES: usize = 112 << 20;

/// Keeps what the original gives.
#[derive(Debug)]
pub struct Judge {
    texts: Vec<Text>,
    activations: Activations,
    tokens: usize,
}

#[derive(Debug)]
struct Text {
    batch: Batch,
    /// Rows that are judged; all where nothing is said.
    rows: Option<Vec<usize>>,
    /// Domain of each output.
    domains: Vec<usize>,
    original: Outputs,
    routing: RoutingRecords,
    /// Wires at the start of every layer.
    wires: Wires,
}

/// What the original gives.
#[derive(Debug)]
enum Outputs {
    Distributions {
        /// `[outputs, vocab]`: probabilities.
        p: Matrix,
        /// Σ p log p of each output.
        certainty: Vec<f64>,
    },
    /// `[texts, width]`.
    Vectors(Matrix),
}

impl Outputs {
    fn new(task: Task, outputs: Matrix) -> Self {
        match task {
            Task::CausalLm | Task::SequenceClassification | Task::TokenClassification => {
                let (p, certainty) = probabilities(outputs);
                Self::Distributions { p, certainty }
            }
            Task::Embedding => Self::Vectors(outputs),
        }
    }

    /// Bytes of them.
    fn bytes(&self) -> usize {
        let (Self::Distributions { p: values, .. } | Self::Vectors(values)) = self;
        4 * values.values().len()
    }

    /// How far each row of a candidate's outputs is from the original's.
    fn divergences(&self, found: &Matrix) -> Vec<f64> {
        let rows = (0..found.rows()).into_par_iter();
        match self {
            Self::Distributions { p, certainty } => {
                let of = |row| divergence(p.row(row), certainty[row], found.row(row));
                rows.map(of).collect()
            }
            Self::Vectors(vectors) => rows
                .map(|row| cosine_error(vectors.row(row), found.row(row)))
                .collect(),
        }
    }
}

/// KL of each output, and where its text comes from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JudgedOutputs {
    /// KL of each output, in nats.
    pub kl: Vec<f64>,
    /// Index into the sorted names of the domains.
    pub domains: Vec<usize>,
}

impl JudgedOutputs {
    /// Mean KL; 0 of nothing.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.kl.iter().sum::<f64>() / self.kl.len().max(1) as f64
    }

    /// Mean KL by domain.
    #[must_use]
    pub fn by_domain(&self) -> Vec<f64> {
        let count = self.domains.iter().max().map_or(0, |d| d + 1);
        let mut sums = vec![(0.0, 0usize); count];
        for (kl, domain) in self.kl.iter().zip(&self.domains) {
            sums[*domain].0 += kl;
            sums[*domain].1 += 1;
        }
        sums.iter()
            .map(|(sum, n)| sum / (*n).max(1) as f64)
            .collect()
    }
}

/// Names of the domains of texts, sorted.
fn names(sequences: &[Sequence]) -> Vec<&str> {
    let mut names: Vec<&str> = sequences.iter().map(|s| s.domain.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

impl Judge {
    /// Runs the original over the texts, as many as fit `memory` bytes of probabilities.
    ///
    /// # Errors
    /// When a sequence does not fit the model.
    pub fn new(
        reference: &Reference,
        sequences: &[Sequence],
        activations: Activations,
        memory: usize,
        progress: &dyn Progress,
    ) -> Result<Self, ReferenceError> {
        Self::against(
            reference,
            reference,
            sequences,
            activations,
            memory,
            progress,
        )
    }

    /// As [`Judge::new`], for candidates of a graph that does without branches of the original's.
    ///
    /// # Errors
    /// As [`Judge::new`].
    pub fn against(
        original: &Reference,
        reference: &Reference,
        sequences: &[Sequence],
        activations: Activations,
        memory: usize,
        progress: &dyn Progress,
    ) -> Result<Self, ReferenceError> {
        let names = names(sequences);
        let starts = reference.graph().starts();
        let cuts: Vec<NodeId> = starts.flat_map(|(_, id)| reference.cut(id)).collect();
        let rows: u64 = sequences.iter().map(|s| s.ids.len() as u64).sum();
        progress.start("running the texts set aside", rows);
        let mut judge = Self {
            texts: Vec::new(),
            activations,
            tokens: 0,
        };
        let mut kept = 0;
        for group in batches(sequences) {
            let batch = batch_of(group);
            let rows = judged_rows(reference.graph(), batch.rows(), memory);
            let options = RunOptions {
                capture: &cuts,
                outputs: outputs(rows.as_deref()),
                ..RunOptions::default()
            };
            let run = reference.run(&batch, &options)?;
            let domain = |row: usize| {
                let at = batch.sequences().position(|rows| rows.contains(&row));
                let name = at.map_or("", |at| group[at].domain.as_str());
                names.binary_search(&name).unwrap_or_default()
            };
            let domains: Vec<usize> = run.output_rows.iter().map(|row| domain(*row)).collect();
            let (outputs, routing) = match std::ptr::eq(original, reference) {
                true => (run.logits, run.routing),
                false => {
                    let options = RunOptions {
                        outputs: outputs(rows.as_deref()),
                        ..RunOptions::default()
                    };
                    let whole = original.run(&batch, &options)?;
                    (whole.logits, whole.routing)
                }
            };
            let outputs = Outputs::new(reference.graph().facts().task, outputs);
            kept += outputs.bytes();
            judge.tokens += domains.len();
            progress.advance(batch.rows() as u64);
            judge.texts.push(Text {
                domains,
                original: outputs,
                routing,
                wires: run.captured,
                batch,
                rows,
            });
            if kept >= memory {
                break;
            }
        }
        Ok(judge)
    }

    /// Frees the wires: from now on candidates are judged from the first node on. With many layers they are most of what is
    /// kept.
    pub fn forget_wires(&mut self) {
        for text in &mut self.texts {
            text.wires = Wires::default();
        }
    }

    /// Outputs that are judged.
    #[must_use]
    pub const fn tokens(&self) -> usize {
        self.tokens
    }

    /// What the original decided, text by text.
    pub fn routing(&self) -> impl Iterator<Item = &RoutingRecords> {
        self.texts.iter().map(|text| &text.routing)
    }

    /// KL of a candidate whose weights differ from the original's in nodes from `from` on only, a layer's first one.
    ///
    /// # Errors
    /// Never for a candidate of the same graph.
    pub fn judge(
        &self,
        candidate: &Reference,
        from: NodeId,
        forced: bool,
    ) -> Result<JudgedOutputs, ReferenceError> {
        self.judge_with(candidate, from, forced, self.activations)
    }

    /// As [`Judge::judge`], with the inputs of linear maps in another precision.
    ///
    /// # Errors
    /// Never for a candidate of the same graph.
    pub fn judge_with(
        &self,
        candidate: &Reference,
        from: NodeId,
        forced: bool,
        activations: Activations,
    ) -> Result<JudgedOutputs, ReferenceError> {
        let mut judged = JudgedOutputs::default();
        for text in &self.texts {
            let options = RunOptions {
                routing: if forced {
                    RoutingSource::Forced(&text.routing)
                } else {
                    RoutingSource::Own
                },
                activations,
                outputs: outputs(text.rows.as_deref()),
                ..RunOptions::default()
            };
            let run = match activations {
                Activations::F32 => candidate.run_from(&text.batch, from, &text.wires, &options)?,
                // The wires kept are those of f32 activations.
                Activations::Rounded => candidate.run(&text.batch, &options)?,
            };
            judged.kl.extend(text.original.divergences(&run.logits));
            judged.domains.extend(&text.domains);
        }
        Ok(judged)
    }

    /// Outputs by domain.
    #[must_use]
    pub fn tokens_by_domain(&self) -> BTreeMap<usize, usize> {
        let mut counts = BTreeMap::new();
        for domain in self.texts.iter().flat_map(|text| &text.domains) {
            *counts.entry(*domain).or_default() += 1;
        }
        counts
    }
}

/// Rows of a batch whose logits are judged: every so many, where those of all, and as many of a candidate, would take more than
/// `memory` bytes.
fn judged_rows(graph: &Graph<Typed>, rows: usize, memory: usize) -> Option<Vec<usize>> {
    let facts = graph.facts();
    let bytes = 2 * rows * facts.vocab_size * size_of::<f32>();
    let every = bytes.div_ceil(memory.max(1));
    let some = facts.task == Task::CausalLm && every > 1;
    some.then(|| (every - 1..rows).step_by(every).collect())
}

fn outputs(rows: Option<&[usize]>) -> OutputRows<'_> {
    rows.map_or(OutputRows::All, OutputRows::Rows)
}

/// Rows of logits to rows of probabilities, and Σ p log p of each.
fn probabilities(logits: Matrix) -> (Matrix, Vec<f64>) {
    let width = logits.width();
    let mut values = logits.into_values();
    let certainty = values
        .par_chunks_mut(width.max(1))
        .map(|row| {
            let normaliser = log_sum_exp(row);
            let mut sum = 0.0;
            for x in row.iter_mut() {
                let log = f64::from(*x) - normaliser;
                let p = log.exp();
                sum += p * log;
                *x = p as f32;
            }
            sum
        })
        .collect();
    (Matrix::new(values, width), certainty)
}

/// KL(original || candidate) of an output, from the original's probabilities and Σ p log p.
fn divergence(p: &[f32], certainty: f64, z: &[f32]) -> f64 {
    let products = p.iter().zip(z).map(|(p, z)| f64::from(*p) * f64::from(*z));
    let expected: f64 = products.sum();
    at_least_zero(certainty - expected + log_sum_exp(z))
}

fn log_sum_exp(row: &[f32]) -> f64 {
    let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sums = [0.0f64; 4];
    for (i, x) in row.iter().enumerate() {
        sums[i % 4] += f64::from((x - max).exp());
    }
    f64::from(max) + (sums.iter().sum::<f64>()).ln()
}
