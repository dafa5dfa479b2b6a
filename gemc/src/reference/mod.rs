//! The f32 reference executor: a typed graph, its weights and token ids in; logits and routing records out.
//!
//! It is the oracle of everything else: goldens from PyTorch hold it to 2e-4, and kernels, plans and sensitivities are
//! held against it. It computes what docs/checkpoint.md says and nothing cleverer: whole sequences at positions
//! 0, 1, ..., one node after the other, several independent sequences at once for throughput.
//!
//! Runs can be resumed from the wires of an earlier one, weights exchanged per unit, routing forced, and the inputs of
//! linear maps rounded as the kernels do.

mod attention;
mod batch;
mod bias;
mod conv;
mod error;
mod exec;
mod linear;
mod logits;
mod math;
mod matmul;
mod moments;
mod ops;
mod options;
mod records;
mod rope;
mod router;
mod unit;
mod weights;
mod wire;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

pub use batch::Batch;
pub use error::ReferenceError;
pub use logits::{Logits, logits};
pub use moments::add_second_moments;
pub use options::{Activations, OutputRows, RoutingSource, RunOptions};
pub use records::{ClusterIds, Decisions, NEAR_TIE, RouterRule, RoutingRecords, SiteRouting};
pub use router::Dispatch;
pub use unit::{RowSource, UnitWeights};
pub use wire::{Matrix, Wire, Wires};

use crate::graph::{Graph, NodeId, Typed};
use crate::tensors::TensorSource;
use exec::Exec;
use weights::NodeWeights;

/// What a run gives.
#[derive(Clone, Debug)]
pub struct Run {
    /// `[outputs, vocab or labels]`.
    pub logits: Matrix,
    /// Row of the batch behind each row of the logits.
    pub output_rows: Vec<usize>,
    /// What every executed routed site decided.
    pub routing: RoutingRecords,
    /// The wires that the options asked for.
    pub captured: Wires,
}

/// Rounds rows that linear maps read: a row, the result of the same length. Equal to its own clones alone.
#[derive(Clone)]
pub struct RoundRow(Arc<RowFunction>);

type RowFunction = dyn Fn(&[f32], &mut [f32]) + Send + Sync;

impl RoundRow {
    /// By this function.
    #[must_use]
    pub fn new(rule: impl Fn(&[f32], &mut [f32]) + Send + Sync + 'static) -> Self {
        Self(Arc::new(rule))
    }
}

impl PartialEq for RoundRow {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for RoundRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RoundRow")
    }
}

/// A model ready to run. Clones share all weights that were not replaced since.
#[derive(Clone, Debug)]
pub struct Reference {
    graph: Arc<Graph<Typed>>,
    /// By node.
    weights: Vec<NodeWeights>,
    /// By node: who reads its wire last.
    last_use: Arc<[Option<NodeId>]>,
    /// By node: how the inputs of linear maps are rounded.
    rounding: Vec<Option<RoundRow>>,
    pool: Arc<wire::Pool>,
}

impl Reference {
    /// Reads all weights of a graph into memory, as f32.
    #[must_use]
    pub fn new(graph: &Graph<Typed>, weights: &dyn TensorSource) -> Self {
        Self::of(graph, weights::load(graph, weights))
    }

    /// Leaves the weights of units where they are, and reads them whenever they are used.
    #[must_use]
    pub fn streamed(graph: &Graph<Typed>, weights: Arc<dyn TensorSource + Send + Sync>) -> Self {
        Self::of(graph, weights::stream(graph, weights))
    }

    fn of(graph: &Graph<Typed>, weights: Vec<NodeWeights>) -> Self {
        let mut last_use = vec![None; graph.topo().count()];
        for (id, node) in graph.topo() {
            for input in &node.inputs {
                last_use[input.index()] = Some(id);
            }
        }
        Self {
            rounding: vec![None; weights.len()],
            weights,
            graph: Arc::new(graph.clone()),
            last_use: last_use.into(),
            pool: Arc::default(),
        }
    }

    /// The graph it runs.
    #[must_use]
    pub fn graph(&self) -> &Graph<Typed> {
        &self.graph
    }

    /// The nodes whose weights can be replaced, in evaluation order: `Linear` and `Embed`.
    pub fn units(&self) -> impl Iterator<Item = NodeId> + '_ {
        let ids = (0..self.weights.len()).map(NodeId::from_index);
        ids.filter(|id| self.unit(*id).is_some())
    }

    /// Current weights of a unit, `[out, in]` (the rows of all parts) or `[vocab, d]`.
    #[must_use]
    pub fn unit(&self, id: NodeId) -> Option<&UnitWeights> {
        self.weights.get(id.index())?.unit()
    }

    /// Exchanges the weights of one unit and returns the old ones; giving those back undoes it at no cost.
    ///
    /// Units that share a tensor (tied embeddings) are replaced one by one.
    ///
    /// # Errors
    /// When the node is no unit or the number of values differs.
    pub fn replace(
        &mut self,
        unit: NodeId,
        values: impl Into<UnitWeights>,
    ) -> Result<UnitWeights, ReferenceError> {
        let origin = || self.graph.node(unit).origin.clone();
        let values = values.into();
        let Some(current) = self
            .weights
            .get_mut(unit.index())
            .and_then(NodeWeights::unit_mut)
        else {
            let origin = origin();
            return Err(ReferenceError::NotAUnit { node: unit, origin });
        };
        if current.len() != values.len() {
            return Err(ReferenceError::WeightCount {
                node: unit,
                origin: origin(),
                expected: current.len(),
                found: values.len(),
            });
        }
        Ok(std::mem::replace(current, values))
    }

    /// How the inputs of a unit are rounded in runs with rounded activations; until it is said, they are not.
    ///
    /// # Errors
    /// When the node is no unit.
    pub fn set_rounding(&mut self, unit: NodeId, rule: RoundRow) -> Result<(), ReferenceError> {
        if self.unit(unit).is_none() {
            let origin = self.graph.node(unit).origin.clone();
            return Err(ReferenceError::NotAUnit { node: unit, origin });
        }
        self.rounding[unit.index()] = Some(rule);
        Ok(())
    }

    /// Runs a batch.
    ///
    /// # Errors
    /// When batch, options or forced routing do not fit the model.
    pub fn run(&self, batch: &Batch, options: &RunOptions<'_>) -> Result<Run, ReferenceError> {
        Exec::new(self, batch, options, None)?.run(NodeId(0), &Wires::default())
    }

    /// Runs a batch and shows `observer` the input of every `Linear` node as it is multiplied: `[rows, in]`, for a
    /// module only the rows that it serves, rounded when the options say so; with what routers decided so far.
    ///
    /// # Errors
    /// As [`Reference::run`].
    pub fn run_observed(
        &self,
        batch: &Batch,
        options: &RunOptions<'_>,
        observer: &mut dyn FnMut(NodeId, &Matrix, &RoutingRecords),
    ) -> Result<Run, ReferenceError> {
        Exec::new(self, batch, options, Some(observer))?.run(NodeId(0), &Wires::default())
    }

    /// Runs only the nodes from `from` on. `start` holds the wires of [`Reference::cut`] as an earlier run over the
    /// same batch captured them.
    ///
    /// # Errors
    /// As [`Reference::run`], and when a wire is missing or belongs to another batch.
    pub fn run_from(
        &self,
        batch: &Batch,
        from: NodeId,
        start: &Wires,
        options: &RunOptions<'_>,
    ) -> Result<Run, ReferenceError> {
        Exec::new(self, batch, options, None)?.run(from, start)
    }

    /// Runs a batch, and keeps what runs from any of these nodes need ([`Reference::run_from`]).
    ///
    /// # Errors
    /// As [`Reference::run`].
    pub fn run_to_resume(
        &self,
        batch: &Batch,
        starts: impl IntoIterator<Item = NodeId>,
    ) -> Result<Run, ReferenceError> {
        let starts = starts.into_iter();
        let mut capture: Vec<NodeId> = starts.flat_map(|start| self.cut(start)).collect();
        capture.sort_unstable();
        capture.dedup();
        let options = RunOptions {
            capture: &capture,
            ..RunOptions::default()
        };
        self.run(batch, &options)
    }

    /// The wires that a run from `from` needs: made before it, read by it or later. At the start of a layer this is
    /// the residual stream alone.
    #[must_use]
    pub fn cut(&self, from: NodeId) -> Vec<NodeId> {
        // Node 0 gives the tokens, which the batch holds.
        (1..from.index())
            .filter(|i| self.last_use[*i].is_some_and(|user| user >= from))
            .map(NodeId::from_index)
            .collect()
    }
}
