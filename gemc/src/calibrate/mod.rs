//! The f32 model over calibration text -> what the inputs of every quantised unit look like.
//!
//! A module's inputs count by the square of their gate: so much of their error reaches the output. Memory is bounded:
//! moments that do not fit together are gathered in several passes over the text.

mod inputs;

use std::collections::BTreeMap;

pub use inputs::{Inputs, PRIOR};

use crate::graph::{Graph, Guard, NodeId, Op, Typed, Unit, units};
use crate::progress::Progress;
use crate::reference::{
    Batch, Decisions, Matrix, Reference, ReferenceError, RoutingRecords, RunOptions,
};
use crate::sequences::Sequence;

/// Rows run together, about.
const BATCH_ROWS: usize = 1024;

/// Second moments held at a time.
pub const MOMENTS_BYTES: usize = 256 << 20;

/// Inputs of every unit with inputs: all but an embedding without a tied head.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    units: BTreeMap<String, Inputs>,
    /// Tokens seen.
    pub tokens: u64,
    /// How often each token was seen; ids after the last one seen are left out.
    counts: Vec<u64>,
}

/// What is gathered beside mean squares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gather {
    /// Nothing.
    Squares,
    /// All second moments, for error feedback.
    Moments,
}

impl Stats {
    /// Inputs of a unit; `None` where there are none.
    #[must_use]
    pub fn unit(&self, name: &str) -> Option<&Inputs> {
        self.units.get(name)
    }

    /// Share of a token id in the text; what was never seen counts as half a token.
    #[must_use]
    pub fn frequency(&self, id: usize) -> f64 {
        let count = self.counts.get(id).copied().unwrap_or_default();
        (count as f64).max(0.5) / self.tokens.max(1) as f64
    }

    /// Units with their inputs, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Inputs)> {
        self.units
            .iter()
            .map(|(name, inputs)| (name.as_str(), inputs))
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
    let readers = readers(graph);
    let passes = passes(graph, gather);
    let tokens: u64 = sequences.iter().map(|s| s.ids.len() as u64).sum();
    progress.start("running the calibration text", tokens * passes.len() as u64);
    let mut stats = Stats {
        units: BTreeMap::new(),
        tokens,
        counts: counts(sequences),
    };
    for (index, pass) in passes.iter().enumerate() {
        for group in batches(sequences) {
            let batch = batch_of(group);
            // Inputs of modules wait for the gates, which are known when all has run.
            let mut held: Vec<(NodeId, Matrix)> = Vec::new();
            let units = &mut stats.units;
            let mut add = |node: NodeId, x: Matrix, gates: Option<&[f32]>| {
                let unit = &readers[&node];
                let inputs = units
                    .entry(unit.clone())
                    .or_insert_with(|| Inputs::new(x.width(), pass[unit] == Gather::Moments));
                inputs.add(x, gates);
            };
            let run = reference.run_observed(&batch, &RunOptions::default(), &mut |node, x| {
                let unit = readers.get(&node);
                if !unit.is_some_and(|unit| pass.contains_key(unit)) {
                    return;
                }
                match graph.node(node).guard {
                    Guard::Module { .. } => held.push((node, x.clone())),
                    Guard::Always | Guard::Fallback { .. } => add(node, x.clone(), None),
                }
            })?;
            for (node, x) in held {
                add(node, x, gates(graph, node, &run.routing).as_deref());
            }
            if index == 0 {
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

/// The unit of every `Linear` node.
fn readers(graph: &Graph<Typed>) -> BTreeMap<NodeId, String> {
    let linear = |id: &NodeId| matches!(graph.node(*id).op, Op::Linear { .. });
    let of = |unit: Unit| {
        let nodes: Vec<NodeId> = unit.nodes.into_iter().filter(linear).collect();
        nodes.into_iter().map(move |node| (node, unit.name.clone()))
    };
    units(graph).into_iter().flat_map(of).collect()
}

/// Which units are gathered together, and what of them.
fn passes(graph: &Graph<Typed>, gather: Gather) -> Vec<BTreeMap<String, Gather>> {
    let mut passes = vec![BTreeMap::new()];
    let mut bytes = 0;
    for (node, unit) in readers(graph) {
        let Op::Linear { parts } = &graph.node(node).op else {
            continue;
        };
        let width = graph.tensor(parts[0].weight).shape[1];
        let needed = match gather {
            Gather::Squares => 4 * width,
            Gather::Moments => 4 * width * width,
        };
        if bytes > 0 && bytes + needed > MOMENTS_BYTES {
            passes.push(BTreeMap::new());
            bytes = 0;
        }
        bytes += needed;
        if let Some(pass) = passes.last_mut() {
            pass.insert(unit, gather);
        }
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
    if !decisions.rule.renormalize {
        return p[module];
    }
    let fired = decisions.fired_row(row).iter().zip(p);
    p[module]
        / fired
            .filter(|(fired, _)| **fired)
            .map(|(_, p)| p)
            .sum::<f32>()
}
