//! The f32 model over calibration text -> what the inputs of every quantised unit look like.
//!
//! A module's inputs count by the square of their gate: so much of their error reaches the output. Memory is bounded:
//! moments that do not fit together are gathered in several passes over the text.

mod inputs;

pub use inputs::{Inputs, PRIOR};

use crate::graph::{Graph, Guard, NodeId, Op, Typed, UnitId, UnitMap};
use crate::progress::Progress;
use crate::reference::{Batch, Decisions, Reference, ReferenceError, RoutingRecords, RunOptions};
use crate::sequences::Sequence;

/// Rows run together, about.
const BATCH_ROWS: usize = 1024;

/// Second moments held at a time.
pub const MOMENTS_BYTES: usize = 256 << 20;

/// Inputs of every unit with inputs: all but an embedding without a tied head.
#[derive(Clone, Debug)]
pub struct Stats {
    units: UnitMap<Option<Inputs>>,
    /// Tokens seen.
    pub tokens: u64,
    /// How often each token was seen; ids after the last one seen are left out.
    counts: Vec<u64>,
}

/// What is gathered beside mean squares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gather {
    /// Mean squares of the inputs alone.
    Squares,
    /// All second moments, for error feedback.
    Moments,
}

impl Stats {
    /// Inputs of a unit; `None` where there are none.
    #[must_use]
    pub fn unit(&self, unit: UnitId) -> Option<&Inputs> {
        self.units[unit].as_ref()
    }

    /// Share of a token id in the text; what was never seen counts as half a token.
    #[must_use]
    pub fn frequency(&self, id: usize) -> f64 {
        let count = self.counts.get(id).copied().unwrap_or_default();
        (count as f64).max(0.5) / self.tokens.max(1) as f64
    }
}

/// Sequences in groups that are run together.
#[must_use]
pub fn batches(sequences: &[Sequence]) -> Vec<&[Sequence]> {
    let mut batches = Vec::new();
    let (mut begin, mut rows) = (0, 0);
    for (end, sequence) in sequences.iter().enumerate() {
        if rows > 0 && rows + sequence.ids.len() > BATCH_ROWS {
            batches.push(&sequences[begin..end]);
            (begin, rows) = (end, 0);
        }
        rows += sequence.ids.len();
    }
    if begin < sequences.len() {
        batches.push(&sequences[begin..]);
    }
    batches
}

/// The batch of a group of sequences.
#[must_use]
pub fn batch_of(sequences: &[Sequence]) -> Batch {
    let ids: Vec<&[u32]> = sequences.iter().map(|s| s.ids.as_slice()).collect();
    Batch::of(&ids)
}

/// Gathers the inputs of all units; `seen` hears each batch's routing once.
///
/// # Errors
/// When a sequence does not fit the model.
pub fn run(
    reference: &Reference,
    sequences: &[Sequence],
    gather: Gather,
    seen: &mut dyn FnMut(&[Sequence], &RoutingRecords),
    progress: &dyn Progress,
) -> Result<Stats, ReferenceError> {
    let graph = reference.graph();
    let pass_of = passes(graph, gather);
    let passes = pass_of.values().max().map_or(1, |last| last + 1);
    let tokens: u64 = sequences.iter().map(|s| s.ids.len() as u64).sum();
    progress.start("running the calibration text", tokens * passes as u64);
    let mut stats = Stats {
        units: UnitMap::all(graph.units(), None),
        tokens,
        counts: counts(sequences),
    };
    for pass in 0..passes {
        for group in batches(sequences) {
            let batch = batch_of(group);
            let units = &mut stats.units;
            let options = RunOptions {
                without_logits: true,
                ..RunOptions::default()
            };
            let run = reference.run_observed(&batch, &options, &mut |node, x, routing| {
                let unit = graph.units().of_node(node);
                let Some(unit) = unit.filter(|unit| pass_of[unit.id] == pass) else {
                    return;
                };
                units[unit.id]
                    .get_or_insert_with(|| Inputs::new(x.width(), gather == Gather::Moments))
                    .add(x.clone(), gates(graph, node, routing).as_deref());
            })?;
            if pass == 0 {
                seen(group, &run.routing);
            }
            progress.advance(batch.rows() as u64);
        }
    }
    Ok(stats)
}

fn counts(sequences: &[Sequence]) -> Vec<u64> {
    let mut counts = Vec::new();
    for id in sequences.iter().flat_map(|s| &s.ids) {
        let id = *id as usize;
        if counts.len() <= id {
            counts.resize(id + 1, 0);
        }
        counts[id] += 1;
    }
    counts
}

/// The pass over the text in which each unit's inputs are gathered: in the order of the linear maps that read them, as many
/// as fit together.
fn passes(graph: &Graph<Typed>, gather: Gather) -> UnitMap<usize> {
    let mut passes = UnitMap::all(graph.units(), 0);
    let (mut pass, mut bytes) = (0, 0);
    for (id, node) in graph.topo() {
        let Some(unit) = graph.units().of_node(id) else {
            continue;
        };
        if !matches!(node.op, Op::Linear { .. }) {
            continue;
        }
        let width = unit.shape.cols;
        let needed = match gather {
            Gather::Squares => 4 * width,
            Gather::Moments => 4 * width * width,
        };
        if bytes > 0 && bytes + needed > MOMENTS_BYTES {
            pass += 1;
            bytes = 0;
        }
        bytes += needed;
        passes[unit.id] = pass;
    }
    passes
}

/// Gate of each row that a module serves; `None` for what every row passes.
fn gates(graph: &Graph<Typed>, node: NodeId, routing: &RoutingRecords) -> Option<Vec<f32>> {
    let node = graph.node(node);
    let Guard::Module { module, .. } = node.guard else {
        return None;
    };
    let decisions = &routing.get(node.site)?.decisions;
    let rows = (0..decisions.rows()).filter(|row| decisions.fired_row(*row)[module as usize]);
    Some(
        rows.map(|row| gate(decisions, row, module as usize))
            .collect(),
    )
}

/// What a fired module's output is multiplied with.
fn gate(decisions: &Decisions, row: usize, module: usize) -> f32 {
    let p = decisions.p_row(row);
    let fired = decisions.fired_row(row).iter().zip(p);
    let sum = fired.filter(|(fired, _)| **fired).map(|(_, p)| p).sum();
    decisions.rule.gates.gate(p[module], sum)
}
