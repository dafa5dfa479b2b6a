//! One run: nodes in graph order, each reading the wires before it.
//!
//! A wire lives until its last reader; its buffer then serves later nodes. Guarded nodes hold only the rows on which
//! their module fired, so a module costs what it serves.

use std::sync::Arc;

use super::attention::{Attention, Heads};
use super::matmul::{Into, Threads, View, ViewMut, multiply};
use super::records::{ClusterIds, Decisions, RouterRule, SiteRouting};
use super::router::{self, Dispatch};
use super::weights::NodeWeights;
use super::wire::{Matrix, Wire, Wires};
use super::{
    Activations, Batch, Reference, ReferenceError, RoutingRecords, RoutingSource, Run, RunOptions,
    linear, ops, rope,
};
use crate::graph::{Guard, Node, NodeId, Op, ScarMask, Site, WireType};

/// Sees the input of every linear map as it is multiplied.
pub(super) type Observer<'o> = &'o mut dyn FnMut(NodeId, &Matrix);

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
    rounded: Option<(NodeId, Arc<Matrix>)>,
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
        Ok(Run {
            logits,
            output_rows: self.output_rows,
            routing: self.routing,
            captured: self.captured,
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
            if let Some((_, matrix)) = self.rounded.take_if(|(wire, _)| wire == input) {
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
            (Op::Router { .. }, _) => return self.router(node, weights),
            (Op::Clusters { .. }, _) => return self.clusters(node, weights),
            (
                Op::Embed { .. },
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
                    &mut out,
                );
                out
            }
            (Op::Norm { kind, eps, .. }, NodeWeights::Norm { weight, bias }) => {
                self.row_wise(id, node, |x, out| {
                    ops::norm(*kind, *eps, weight, bias.as_deref(), x, out);
                })
            }
            (Op::Linear { .. }, NodeWeights::Linear { weight, bias }) => {
                self.linear(id, node, weight, bias.as_deref())
            }
            (Op::Attention { .. }, _) => self.attention(id, node, weights),
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
            (Op::SelectOutputs { first }, _) => {
                self.output_rows = self.options.outputs.resolve(self.batch, *first)?;
                let mut out = self.take(id, self.output_rows.len());
                ops::gather(&self.floats(node.inputs[0]), &self.output_rows, &mut out);
                out
            }
            (Op::Embed { .. } | Op::Norm { .. } | Op::Linear { .. }, _) => {
                unreachable!("`weights::load` made the weights of {id} for its operation")
            }
        };
        Ok(Wire::Rows(Arc::new(matrix)))
    }

    fn wire(&self, node: &Node, slot: usize) -> &Wire {
        let wire = &self.wires[node.inputs[slot].index()];
        wire.as_ref()
            .expect("inputs come first and live until their last reader")
    }

    /// A float wire.
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

    fn linear(&mut self, id: NodeId, node: &Node, weight: &[f32], bias: Option<&[f32]>) -> Matrix {
        let input = node.inputs[0];
        let x = match self.options.activations {
            Activations::F32 => self.floats(input),
            Activations::Int8 => self.rounded(input),
        };
        let x = self.on_rows_of(node, input, x);
        if let Some(observer) = &mut self.observer {
            observer(id, &x);
        }
        let mut out = self.take(id, x.rows());
        linear::apply(&x, weight, bias, &mut out);
        self.model.pool.recycle(x);
        out
    }

    /// A float wire as the kernels' int8 codes represent it.
    fn rounded(&mut self, id: NodeId) -> Arc<Matrix> {
        if let Some((wire, matrix)) = &self.rounded
            && *wire == id
        {
            return matrix.clone();
        }
        let x = self.floats(id);
        let mut out = self.model.pool.take(x.rows(), x.width());
        ops::round(&x, &mut out);
        let out = Arc::new(out);
        if let Some((_, old)) = self.rounded.replace((id, out.clone())) {
            self.model.pool.recycle(old);
        }
        out
    }

    fn attention(&mut self, id: NodeId, node: &Node, weights: &NodeWeights) -> Matrix {
        let Op::Attention {
            heads,
            kv_heads,
            head_dim,
            causal,
            rope,
            qk_norm,
        } = &node.op
        else {
            unreachable!("called for attention nodes alone")
        };
        let (heads, kv_heads, width) = (*heads as usize, *kv_heads as usize, *head_dim as usize);
        let qkv = self.floats(node.inputs[0]);
        if let Some(rope) = rope
            && !self
                .rope
                .as_ref()
                .is_some_and(|table| table.serves(rope, width))
        {
            self.rope = Some(rope::Table::new(rope, width, self.batch.longest()));
        }
        let norm = match (weights, qk_norm) {
            (NodeWeights::QkNorm { q, k }, Some((_, _, eps))) => Some((&**q, &**k, *eps)),
            _ => None,
        };
        let mut qk = self.model.pool.take(qkv.rows(), (heads + kv_heads) * width);
        let transform = ops::QkTransform {
            norm,
            rope: rope.as_ref().and(self.rope.as_ref()),
            positions: &self.positions,
            heads,
            head_dim: width,
        };
        ops::transform_qk(&qkv, &transform, &mut qk);
        let mut out = self.take(id, qkv.rows());
        Attention {
            batch: self.batch,
            heads,
            kv_heads,
            width,
            causal: *causal,
            q: Heads::of(&qk, 0),
            k: Heads::of(&qk, heads * width),
            v: Heads::of(&qkv, (heads + kv_heads) * width),
        }
        .run(|_, _, _| {}, out.values_mut());
        self.model.pool.give(qk);
        out
    }

    fn scar(&self, id: NodeId, node: &Node, heads: usize, mask: ScarMask, causal: bool) -> Matrix {
        let qkv = self.floats(node.inputs[0]);
        let (decisions, _) = self.routing(node.inputs[1]);
        let clusters = match node
            .inputs
            .get(2)
            .and_then(|id| self.wires[id.index()].as_ref())
        {
            Some(Wire::Clusters(clusters)) => Some(clusters),
            _ => None,
        };
        let groups: Vec<u32> = match mask {
            ScarMask::ClusterOrDomain => decisions.domain.clone(),
            ScarMask::ClusterOrFlag => (0..decisions.rows())
                .map(|row| decisions.flag(row).into())
                .collect(),
        };
        // Without clusters only the groups count.
        let ids = clusters.map_or(&groups, |c| &c.ids);
        let hide = |row: usize, first: usize, scores: &mut [f32]| {
            let (group, id) = (groups[row], ids[row]);
            let others = groups[first..].iter().zip(&ids[first..]);
            for (score, (g, c)) in scores.iter_mut().zip(others) {
                *score = if *g == group || *c == id {
                    *score
                } else {
                    f32::NEG_INFINITY
                };
            }
        };
        let mut out = self.take(id, qkv.rows());
        let d = out.width();
        Attention {
            batch: self.batch,
            heads,
            kv_heads: heads,
            width: d / heads,
            causal,
            q: Heads::of(&qkv, 0),
            k: Heads::of(&qkv, d),
            v: Heads::of(&qkv, 2 * d),
        }
        .run(hide, out.values_mut());
        out
    }

    fn combine(&self, id: NodeId, node: &Node, has_base: bool) -> Matrix {
        let (_, dispatch) = self.routing(node.inputs[0]);
        let inputs: Vec<Arc<Matrix>> = node.inputs[1..].iter().map(|id| self.floats(*id)).collect();
        let inputs: Vec<&Matrix> = inputs.iter().map(Arc::as_ref).collect();
        let (base, modules) = match inputs.split_first() {
            Some((base, modules)) if has_base => {
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

    fn router(&mut self, node: &Node, weights: &NodeWeights) -> Result<Wire, ReferenceError> {
        let (
            Op::Router {
                score,
                top_k,
                threshold,
                renormalize,
                ..
            },
            NodeWeights::Router { weight, bias },
        ) = (&node.op, weights)
        else {
            unreachable!("`weights::load` made these weights for this operation")
        };
        let x = self.floats(node.inputs[0]);
        let modules = weight.len() / x.width();
        let decisions = match self.options.routing {
            RoutingSource::Forced(records) => {
                self.forced(records, node.site, modules)?.decisions.clone()
            }
            RoutingSource::Own => {
                let rule = RouterRule {
                    score: *score,
                    top_k: *top_k as usize,
                    threshold: *threshold,
                    renormalize: *renormalize,
                };
                let mut logits = Matrix::new(vec![0.0; x.rows() * modules], modules);
                linear::apply(&x, weight, bias.as_deref(), &mut logits);
                Arc::new(router::decide(logits.into_values(), modules, rule))
            }
        };
        let dispatch = Arc::new(Dispatch::new(&decisions, *renormalize));
        let record = SiteRouting {
            decisions: decisions.clone(),
            clusters: None,
        };
        self.routing.insert(node.site, record);
        Ok(Wire::Routing(decisions, dispatch))
    }

    fn clusters(&mut self, node: &Node, weights: &NodeWeights) -> Result<Wire, ReferenceError> {
        let NodeWeights::Clusters { centroids, norms } = weights else {
            unreachable!("`weights::load` made these weights for this operation")
        };
        let clusters = match self.options.routing {
            RoutingSource::Forced(records) => {
                self.forced_clusters(records, node.site, norms.len())?
            }
            RoutingSource::Own => {
                let x = self.floats(node.inputs[0]);
                let (rows, width, count) = (x.rows(), x.width(), norms.len());
                let mut products = vec![0.0; rows * count];
                multiply(
                    ViewMut::new(&mut products, rows, count, count),
                    Into::Set,
                    1.0,
                    View::new(x.values(), rows, width, width),
                    View::new(centroids, count, width, width).transposed(),
                    Threads::All,
                );
                Arc::new(router::nearest(&products, norms, &ops::squared_norms(&x)))
            }
        };
        self.routing.insert_clusters(node.site, clusters.clone());
        Ok(Wire::Clusters(clusters))
    }

    fn forced<'a>(
        &self,
        records: &'a RoutingRecords,
        site: Site,
        modules: usize,
    ) -> Result<&'a SiteRouting, ReferenceError> {
        let refuse = |what: String| Err(ReferenceError::Forced { site, what });
        let Some(record) = records.get(site) else {
            return refuse("no record of this site".into());
        };
        let decisions = &record.decisions;
        let rows = self.batch.rows();
        let complete =
            decisions.p.len() == rows * modules && decisions.fired.len() == rows * modules;
        if decisions.rows() != rows || decisions.modules != modules || !complete {
            let (found, of) = (decisions.rows(), decisions.modules);
            return refuse(format!(
                "expected {rows} rows over {modules} modules, found {found} over {of}"
            ));
        }
        Ok(record)
    }

    fn forced_clusters(
        &self,
        records: &RoutingRecords,
        site: Site,
        count: usize,
    ) -> Result<Arc<ClusterIds>, ReferenceError> {
        let rows = self.batch.rows();
        match records
            .get(site)
            .and_then(|record| record.clusters.as_ref())
        {
            Some(clusters) if clusters.ids.len() == rows && clusters.count == count => {
                Ok(clusters.clone())
            }
            _ => Err(ReferenceError::Forced {
                site,
                what: format!("expected clusters of {rows} rows, ids below {count}"),
            }),
        }
    }
}
