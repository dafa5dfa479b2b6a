//! One run: nodes in graph order, each reading the wires before it.
//!
//! A wire lives until its last reader; its buffer then serves later nodes. Guarded nodes hold only the rows on which
//! their module fired, so a module costs what it serves.

mod attend;
mod routing;

use std::sync::Arc;

use super::records::Decisions;
use super::router::Dispatch;
use super::unit::UnitWeights;
use super::weights::NodeWeights;
use super::wire::{Matrix, Wire, Wires};
use super::{
    Activations, Batch, Reference, ReferenceError, RoundRow, RoutingRecords, Run, RunOptions, conv,
    linear, ops, rope,
};
use crate::graph::{Guard, Node, NodeId, Op, WireType};

/// Sees the input of every linear map as it is multiplied, and what was decided before it.
pub(super) type Observer<'o> = &'o mut dyn FnMut(NodeId, &Matrix, &RoutingRecords);

pub(super) struct Exec<'r, 'o> {
    model: &'r Reference,
    batch: &'r Batch,
    options: &'r RunOptions<'r>,
    observer: Option<Observer<'o>>,
    /// Position of every row in its sequence.
    positions: Vec<usize>,
    wires: Vec<Option<Wire>>,
    /// The table of the rope used last: layers share one.
    rope: Option<rope::Table>,
    /// The wire rounded last: several units read one input.
    rounded: Option<(NodeId, RoundRow, Arc<Matrix>)>,
    output_rows: Vec<usize>,
    routing: RoutingRecords,
    captured: Wires,
}

impl<'r, 'o> Exec<'r, 'o> {
    pub fn new(
        model: &'r Reference,
        batch: &'r Batch,
        options: &'r RunOptions<'r>,
        observer: Option<Observer<'o>>,
    ) -> Result<Self, ReferenceError> {
        batch.check(model.graph.facts())?;
        Ok(Self {
            model,
            batch,
            options,
            observer,
            positions: batch.sequences().flat_map(|rows| 0..rows.len()).collect(),
            wires: vec![None; model.weights.len()],
            rope: None,
            rounded: None,
            output_rows: Vec::new(),
            routing: RoutingRecords::default(),
            captured: Wires::default(),
        })
    }

    /// Runs the nodes from `from` on, the wires before it taken from `start`.
    pub fn run(mut self, from: NodeId, start: &Wires) -> Result<Run, ReferenceError> {
        let graph = &self.model.graph;
        self.wires[0] = Some(Wire::Tokens);
        for wire in self.model.cut(from) {
            self.wires[wire.index()] = Some(self.given(from, wire, start)?);
        }
        for (id, node) in graph.topo().skip(from.index()) {
            let wire = self.node(id, node)?;
            if self.options.capture.contains(&id) {
                self.captured.insert(id, wire.clone());
            }
            self.wires[id.index()] = Some(wire);
            self.release_after(id, node);
        }
        let logits = match self.wires[graph.output().index()].take() {
            Some(Wire::Rows(logits)) => Arc::unwrap_or_clone(logits),
            _ => Matrix::default(),
        };
        self.check_logits(&logits)?;
        Ok(Run {
            logits,
            output_rows: self.output_rows,
            routing: self.routing,
            captured: self.captured,
        })
    }

    /// Refuses logits that are not numbers: every figure made of them would be wrong without a word.
    fn check_logits(&self, logits: &Matrix) -> Result<(), ReferenceError> {
        let wrong = logits.values().iter().position(|x| !x.is_finite());
        let Some(at) = wrong else { return Ok(()) };
        let (row, output) = (at / logits.width(), at % logits.width());
        Err(ReferenceError::NotFinite {
            row: self.output_rows.get(row).copied().unwrap_or(row),
            output,
            value: logits.values()[at].to_string(),
        })
    }

    fn given(&self, from: NodeId, id: NodeId, start: &Wires) -> Result<Wire, ReferenceError> {
        let missing = ReferenceError::MissingWire { from, missing: id };
        let wire = start.get(id).ok_or(missing)?.clone();
        let found = match &wire {
            Wire::Tokens => self.batch.rows(),
            Wire::Rows(matrix) => matrix.rows(),
            Wire::Routing(decisions, _) => decisions.rows(),
            Wire::Clusters(clusters) => clusters.ids.len(),
        };
        let guarded = self.model.graph.node(id).guard != Guard::Always;
        let outputs = matches!(self.model.graph.wire(id), WireType::Outputs { .. });
        if found == self.batch.rows() || guarded || outputs {
            Ok(wire)
        } else {
            Err(ReferenceError::WireRows {
                wire: id,
                expected: self.batch.rows(),
                found,
            })
        }
    }

    /// Returns the buffers of wires that nobody reads after `id`.
    fn release_after(&mut self, id: NodeId, node: &Node) {
        for input in &node.inputs {
            if self.model.last_use[input.index()] != Some(id) {
                continue;
            }
            if let Some(Wire::Rows(matrix)) = self.wires[input.index()].take() {
                self.model.pool.recycle(matrix);
            }
            if let Some((.., matrix)) = self.rounded.take_if(|(wire, ..)| wire == input) {
                self.model.pool.recycle(matrix);
            }
        }
    }

    fn node(&mut self, id: NodeId, node: &Node) -> Result<Wire, ReferenceError> {
        let model = self.model;
        let weights = &model.weights[id.index()];
        let matrix = match (&node.op, weights) {
            (Op::Tokens, _) => return Ok(Wire::Tokens),
            (Op::Output, _) => return Ok(self.wire(node, 0).clone()),
            (
                Op::Router {
                    // Loaded with the node; the rule is read where it is applied.
                    weight: _,
                    bias: _,
                    score: _,
                    top_k: _,
                    threshold: _,
                    select_bias: _,
                    gates: _,
                    base_gate: _,
                },
                _,
            ) => return self.router(node, weights),
            // Loaded with the node.
            (Op::Clusters { centroids: _ }, _) => return self.clusters(node, weights),
            (
                Op::Embed {
                    // Loaded with the node.
                    token: _,
                    position: _,
                    token_type: _,
                    scale,
                },
                NodeWeights::Embed {
                    token,
                    position,
                    token_type,
                },
            ) => {
                let mut out = self.take(id, self.batch.rows());
                let (position, token_type) = (position.as_deref(), token_type.as_deref());
                ops::embed(
                    self.batch,
                    &self.positions,
                    token,
                    position,
                    token_type,
                    (*scale, self.model.graph.facts().vocab_size),
                    &mut out,
                );
                out
            }
            (
                Op::Norm {
                    kind,
                    // Loaded with the node.
                    weight: _,
                    bias: _,
                    eps,
                },
                NodeWeights::Norm { weight, bias },
            ) => self.row_wise(id, node, |x, out| {
                ops::norm(*kind, *eps, weight, bias.as_deref(), x, out);
            }),
            // Loaded with the node.
            (Op::Linear { parts: _ }, NodeWeights::Linear { weight, bias }) => {
                self.linear(id, node, weight, bias.as_deref())
            }
            (
                Op::Attention {
                    // Read where attention is computed.
                    heads: _,
                    kv_heads: _,
                    head_dim: _,
                    causal: _,
                    scale: _,
                    window: _,
                    softcap: _,
                    rope: _,
                    qk_norm: _,
                    sinks: _,
                },
                NodeWeights::Attention { norms, sinks },
            ) => self.attention(id, node, norms.as_ref(), sinks.as_deref()),
            (
                // Loaded with the node.
                Op::ShortConv { weight: _, bias: _ },
                NodeWeights::ShortConv { weight, bias },
            ) => self.row_wise(id, node, |x, out| {
                conv::apply(x, self.batch, weight, bias.as_deref(), out);
            }),
            (
                Op::ScarAttention {
                    heads,
                    mask,
                    causal,
                },
                _,
            ) => self.scar(id, node, *heads as usize, *mask, *causal),
            (Op::Activate { act, gated }, _) => {
                self.row_wise(id, node, |x, out| ops::activate(*act, *gated, x, out))
            }
            (Op::Add, _) => {
                let other = self.operand(node, 1);
                let out = self.row_wise(id, node, |x, out| ops::sum(x, &other, out));
                self.model.pool.recycle(other);
                out
            }
            (Op::Combine { base }, _) => self.combine(id, node, *base),
            (Op::SelectOutputs { pooling }, _) => {
                let one = !pooling.is_empty();
                self.output_rows = self.options.outputs.resolve(self.batch, one)?;
                let mut out = self.take(id, self.output_rows.len());
                let x = self.floats(node.inputs[0]);
                match one && !self.output_rows.is_empty() {
                    true => ops::pool(pooling, &x, self.batch, &mut out),
                    false => ops::gather(&x, &self.output_rows, &mut out),
                }
                out
            }
            (Op::Normalize, _) => self.row_wise(id, node, ops::normalize),
            (Op::Softcap { cap }, _) => {
                self.row_wise(id, node, |x, out| ops::softcap(*cap, x, out))
            }
            (
                Op::Norm {
                    // With weights of another operation.
                    kind: _,
                    weight: _,
                    bias: _,
                    eps: _,
                }
                | Op::Embed {
                    // As before.
                    token: _,
                    position: _,
                    token_type: _,
                    scale: _,
                }
                // As before.
                | Op::ShortConv { weight: _, bias: _ }
                // As before.
                | Op::Linear { parts: _ }
                | Op::Attention {
                    // As before.
                    heads: _,
                    kv_heads: _,
                    head_dim: _,
                    causal: _,
                    scale: _,
                    window: _,
                    softcap: _,
                    rope: _,
                    qk_norm: _,
                    sinks: _,
                },
                _,
            ) => unreachable!("`weights::load` made the weights of {id} for its operation"),
        };
        Ok(Wire::Rows(Arc::new(matrix)))
    }

    fn wire(&self, node: &Node, slot: usize) -> &Wire {
        let wire = &self.wires[node.inputs[slot].index()];
        wire.as_ref()
            .expect("inputs come first and live until their last reader")
    }

    /// The rows of a wire that holds floats.
    fn floats(&self, id: NodeId) -> Arc<Matrix> {
        match &self.wires[id.index()] {
            Some(Wire::Rows(matrix)) => matrix.clone(),
            _ => unreachable!("typing has made sure that {id} is a float wire"),
        }
    }

    fn routing(&self, id: NodeId) -> (Arc<Decisions>, Arc<Dispatch>) {
        match &self.wires[id.index()] {
            Some(Wire::Routing(decisions, dispatch)) => (decisions.clone(), dispatch.clone()),
            _ => unreachable!("typing has made sure that {id} is a routing wire"),
        }
    }

    /// A buffer for `rows` rows of wire `id`.
    fn take(&self, id: NodeId, rows: usize) -> Matrix {
        match self.model.graph.wire(id) {
            WireType::Rows { width } | WireType::Outputs { width } => {
                self.model.pool.take(rows, width)
            }
            other => unreachable!("{id} is no float wire but {other:?}"),
        }
    }

    /// Input `slot` on the node's own rows: a guarded node gathers them from an unguarded wire.
    fn operand(&self, node: &Node, slot: usize) -> Arc<Matrix> {
        let input = node.inputs[slot];
        self.on_rows_of(node, input, self.floats(input))
    }

    fn on_rows_of(&self, node: &Node, input: NodeId, matrix: Arc<Matrix>) -> Arc<Matrix> {
        if self.model.graph.node(input).guard == node.guard {
            return matrix;
        }
        let gather = |rows: &[usize]| {
            let mut out = self.model.pool.take(rows.len(), matrix.width());
            ops::gather(&matrix, rows, &mut out);
            Arc::new(out)
        };
        match node.guard {
            Guard::Always => matrix,
            Guard::Module { routing, module } => {
                gather(&self.routing(routing).1.rows[module as usize])
            }
            Guard::Fallback { routing } => gather(&self.routing(routing).1.unrouted),
        }
    }

    fn row_wise(&self, id: NodeId, node: &Node, f: impl FnOnce(&Matrix, &mut Matrix)) -> Matrix {
        let x = self.operand(node, 0);
        let mut out = self.take(id, x.rows());
        f(&x, &mut out);
        self.model.pool.recycle(x);
        out
    }

    fn linear(
        &mut self,
        id: NodeId,
        node: &Node,
        weight: &UnitWeights,
        bias: Option<&[f32]>,
    ) -> Matrix {
        let input = node.inputs[0];
        let x = match self.options.activations {
            Activations::F32 => self.floats(input),
            Activations::Rounded => match &self.model.rounding[id.index()] {
                Some(rule) => self.rounded(input, rule),
                None => self.floats(input),
            },
        };
        let x = self.on_rows_of(node, input, x);
        if let Some(observer) = &mut self.observer {
            observer(id, &x, &self.routing);
        }
        let x = match self.options.without_logits && self.model.graph.head() == Some(id) {
            true => self.last_row(x),
            false => x,
        };
        let mut out = self.take(id, x.rows());
        linear::apply_unit(&x, weight, bias, &mut out);
        self.model.pool.recycle(x);
        out
    }

    /// The last row alone: what is no number in any row, or in the logits themselves, is seen there as a rule.
    fn last_row(&mut self, x: Arc<Matrix>) -> Arc<Matrix> {
        let Some(last) = x.rows().checked_sub(1) else {
            return x;
        };
        let mut row = self.model.pool.take(1, x.width());
        row.values_mut().copy_from_slice(x.row(last));
        self.model.pool.recycle(x);
        self.output_rows.drain(..last.min(self.output_rows.len()));
        Arc::new(row)
    }

    /// A float wire, rounded.
    fn rounded(&mut self, id: NodeId, rule: &RoundRow) -> Arc<Matrix> {
        if let Some((wire, of, matrix)) = &self.rounded
            && (*wire, of) == (id, rule)
        {
            return matrix.clone();
        }
        let x = self.floats(id);
        let mut out = self.model.pool.take(x.rows(), x.width());
        ops::round(&x, rule, &mut out);
        let out = Arc::new(out);
        if let Some((.., old)) = self.rounded.replace((id, rule.clone(), out.clone())) {
            self.model.pool.recycle(old);
        }
        out
    }

    fn combine(&self, id: NodeId, node: &Node, has_base: bool) -> Matrix {
        let (_, dispatch) = self.routing(node.inputs[0]);
        let inputs: Vec<Arc<Matrix>> = node.inputs[1..].iter().map(|id| self.floats(*id)).collect();
        let module = |id: &NodeId| match self.model.graph.node(*id).guard {
            Guard::Module { module, .. } => module as usize,
            Guard::Always | Guard::Fallback { .. } => usize::MAX,
        };
        let inputs: Vec<(usize, &Matrix)> = node.inputs[1..]
            .iter()
            .map(module)
            .zip(inputs.iter().map(Arc::as_ref))
            .collect();
        let (base, modules) = match inputs.split_first() {
            Some(((_, base), modules)) if has_base => {
                match self.model.graph.node(node.inputs[1]).guard {
                    Guard::Always => (ops::Base::All(base), modules),
                    _ => (ops::Base::Unrouted(base), modules),
                }
            }
            _ => (ops::Base::Zero, &inputs[..]),
        };
        let mut out = self.take(id, self.batch.rows());
        ops::combine(&base, &dispatch, modules, &mut out);
        out
    }
}
