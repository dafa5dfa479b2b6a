//! Graph to kernel program: one phase after another in the graph's order, with the fusions that save memory traffic
//! (norm + quantise, product + activation + quantise, product + residual).
//!
//! A step takes rows: prefill, decode and encoding are the same program. What is fused never changes a result's bits
//! between decode and prefill, since every sum has one order (see `kernels::dot`).

pub mod arena;
mod attention;
pub mod check;
mod conv;
mod linear;
mod modules;
pub mod phases;
mod routing;
mod sizes;
pub mod steps;

use std::collections::{HashMap, HashSet};

use gemc_format::{ActivationFormat, BLOCK};
use gemc_kernels::ir::Program;
use gemc_kernels::kernels::elementwise::{Elementwise, Function};
use gemc_kernels::kernels::embed::Embed;
use gemc_kernels::kernels::norm::Norm;
use gemc_kernels::kernels::pool::{Normalize, Pool};
use gemc_kernels::kernels::quantise::{self, QuantiseRows, SelectRows};
use gemc_kernels::kernels::spec::Spec;

use arena::Buffer;
use phases::{Arg, ItemCount, Phases};
pub use sizes::Large;
use steps::{LowerableGraph, NormOp, NormStep, SelectStep, Step};

use crate::graph::{Graph, LinearPart, NodeId, Pooling, Rope, TensorId, Typed, WireType};
use crate::pack::floats;
use crate::pack::layout::{Layout, Matrix, MatrixSource, VectorSource};
use crate::plan::{BitPlan, KvFormat, step};
use crate::target::Target;

/// A program with the layout of its weight file.
#[derive(Debug)]
pub struct LoweredModel {
    /// Kernels, tables and phases, not yet proved.
    pub program: Program,
    /// What each kernel is, by its number.
    pub specs: Vec<Spec>,
    /// Where each weight stands in the weight file.
    pub layout: Layout,
}

/// Whether a program can hold a step of a model, with keys and values in the smallest format.
///
/// # Errors
/// When the model is larger than programs can be.
pub fn fits(checked: &LowerableGraph<'_>) -> Result<(), Large> {
    let (rows, outputs) = step::most(checked.graph.facts());
    sizes::steps(checked, KvFormat::Int8, rows, outputs)
}

/// Lowers a graph for one target.
///
/// # Errors
/// When the model is larger than programs can be.
///
/// # Panics
/// When the plan is for another graph; see [`BitPlan::check`].
pub fn program(
    checked: &LowerableGraph<'_>,
    plan: &BitPlan,
    target: &Target,
) -> Result<LoweredModel, Large> {
    let own = plan.check(checked.graph);
    own.expect("a plan for this graph");
    let mut lowering = Lowering::new(checked.graph, plan, target);
    sizes::steps(checked, plan.kv(), lowering.max_rows, lowering.max_outputs)?;
    for (id, step) in &checked.steps {
        if !lowering.done.contains(id) {
            lowering.step(*id, step);
        }
    }
    lowering.finish(checked.result)
}

/// f32 rows in the arena.
#[derive(Clone, Copy, Debug)]
struct RowBuffer {
    buffer: Buffer,
    /// Elements between rows, a multiple of 32.
    stride: usize,
}

/// Quantised rows in the arena.
#[derive(Clone, Copy, Debug)]
struct QuantisedRows {
    codes: Buffer,
    scales: Buffer,
    sums: Buffer,
    format: ActivationFormat,
}

impl QuantisedRows {
    fn args(self) -> [Arg; 3] {
        [self.codes, self.scales, self.sums].map(Arg::of)
    }
}

struct Lowering<'a> {
    graph: &'a Graph<Typed>,
    plan: &'a BitPlan,
    target: &'a Target,
    phases: Phases,
    layout: Layout,
    max_rows: usize,
    max_outputs: usize,
    values: HashMap<NodeId, RowBuffer>,
    quantised: HashMap<NodeId, QuantisedRows>,
    routed: HashMap<NodeId, routing::RoutingBuffers>,
    clusters: HashMap<NodeId, Buffer>,
    rope_tables: Vec<(Rope, [Buffer; 2])>,
    /// Sums that were fused into what they add.
    done: HashSet<NodeId>,
}

impl<'a> Lowering<'a> {
    fn new(graph: &'a Graph<Typed>, plan: &'a BitPlan, target: &'a Target) -> Self {
        let (max_rows, max_outputs) = step::most(graph.facts());
        Self {
            graph,
            plan,
            target,
            phases: Phases::default(),
            layout: Layout::default(),
            max_rows,
            max_outputs,
            values: HashMap::new(),
            quantised: HashMap::new(),
            routed: HashMap::new(),
            clusters: HashMap::new(),
            rope_tables: Vec::new(),
            done: HashSet::new(),
        }
    }

    fn step(&mut self, id: NodeId, step: &Step<'_>) {
        match step {
            Step::Embed {
                token,
                position,
                token_type,
                scale,
            } => self.embed(id, (*token, *scale), *position, *token_type),
            Step::Norm(norm) => self.norm(id, norm),
            Step::Product(product, on) => self.product(product, *on),
            Step::Modules { routing, stages } => self.modules(*routing, stages),
            Step::Attention(op, projection) => self.attention(id, op, projection),
            Step::ScarAttention(scar) => self.scar_attention(id, scar),
            Step::Router(router) => self.router(id, router),
            Step::Add(inputs) => self.add(id, *inputs),
            Step::Combine(combine) => self.combine(id, combine),
            Step::Select(select) => self.select(id, *select),
            Step::ShortConv(op, projection) => self.short_conv(id, *op, *projection),
            Step::Normalize(input) => self.normalize(id, *input),
            Step::Elementwise(input, function) => self.elementwise(id, *input, *function),
        }
    }

    fn finish(self, result: NodeId) -> Result<LoweredModel, Large> {
        sizes::weights(self.graph, &self.layout)?;
        let logits = self.values[&result];
        let weight_bytes = self.layout.body_bytes();
        let specs = self.phases.specs();
        let program = self.phases.finish(
            (logits.buffer, logits.stride),
            self.max_rows,
            self.max_outputs,
            weight_bytes,
        )?;
        Ok(LoweredModel {
            program,
            specs,
            layout: self.layout,
        })
    }

    /// Where a node came from. Not borrowed from the lowering.
    fn origin(&self, id: NodeId) -> &'a str {
        &self.graph.node(id).origin
    }

    fn floats(&mut self, rows: usize, stride: usize) -> RowBuffer {
        RowBuffer {
            buffer: self.phases.arena.buffer(4 * rows * stride),
            stride,
        }
    }

    fn words(&mut self, n: usize) -> Buffer {
        self.phases.arena.buffer(4 * n)
    }

    fn quantised_rows(
        &mut self,
        rows: usize,
        cols: usize,
        format: ActivationFormat,
    ) -> QuantisedRows {
        let (rows, scales) = (
            rows * format.terms(),
            quantise::scales_per_row(cols, format),
        );
        QuantisedRows {
            codes: self.phases.arena.buffer(rows * cols),
            scales: self.phases.arena.buffer(4 * rows * scales),
            sums: self.phases.arena.buffer(4 * rows * (cols / BLOCK)),
            format,
        }
    }

    /// How a wire is quantised for the linear maps that read it; the plan has them agree.
    fn activations(&self, wire: NodeId) -> ActivationFormat {
        let readers = self.graph.consumers(wire).iter();
        let mut formats = readers
            .filter_map(|reader| self.graph.units().of_node(*reader))
            .map(|unit| self.plan.activations(unit.id));
        let format = formats.next().unwrap_or_default();
        debug_assert!(
            formats.all(|other| other == format),
            "see plan::activations"
        );
        format
    }

    /// The quantised form of a wire, by a phase of its own where no kernel wrote it along the way.
    fn quantised(&mut self, id: NodeId) -> QuantisedRows {
        if let Some(&rows) = self.quantised.get(&id) {
            return rows;
        }
        let input = self.values[&id];
        let format = self.activations(id);
        let outputs = matches!(self.graph.wire(id), WireType::Outputs { width: _ });
        let (max_rows, items) = self.rows_of(outputs);
        let output = self.quantised_rows(max_rows, input.stride, format);
        let kernel = self.phases.kernel(QuantiseRows {
            max_rows,
            stride: input.stride,
            format,
        });
        let mut args = vec![Arg::of(input.buffer)];
        args.extend(output.args());
        let doc = format!("int8 of {}", self.graph.node(id).origin);
        self.phases.phase(kernel, args, items, doc);
        self.quantised.insert(id, output);
        output
    }

    /// Most rows of a wire, of outputs or of the step, and an item for each.
    fn rows_of(&self, outputs: bool) -> (usize, ItemCount) {
        match outputs {
            true => (self.max_outputs, ItemCount::PerOutput(1)),
            false => (self.max_rows, ItemCount::PerRow(1)),
        }
    }

    /// A linear map's matrix in the file.
    fn place(&mut self, id: NodeId, parts: &[LinearPart]) -> Matrix {
        self.place_tensors(id, parts.iter().map(|p| p.weight).collect())
    }

    fn place_tensors(&mut self, id: NodeId, parts: Vec<TensorId>) -> Matrix {
        let unit = self.graph.units().of_node(id);
        let unit = unit.expect("products and embeddings have one").id;
        let codec = self.plan.codec(unit);
        self.layout
            .matrix(self.graph.units(), MatrixSource { unit, parts, codec })
    }

    /// f32 records, in this order.
    fn vectors(&mut self, sources: impl IntoIterator<Item = VectorSource>) -> Vec<Arg> {
        let placed = sources.into_iter().map(|source| self.layout.vector(source));
        placed.map(Arg::Weights).collect()
    }

    fn embed(
        &mut self,
        id: NodeId,
        (token, scale): (TensorId, f32),
        position: Option<TensorId>,
        token_type: Option<TensorId>,
    ) {
        let vocab = self.graph.tensor(token).shape()[0];
        let matrix = self.place_tensors(id, vec![token]);
        let output = self.floats(self.max_rows, 32 * matrix.blocks());
        let spec = Embed {
            codec: matrix.codec,
            vocab,
            tiles: matrix.tiles(),
            cols: matrix.cols,
            positions: position.map_or(0, |p| self.graph.tensor(p).shape()[0]),
            token_types: token_type
                .map_or(0, |_| self.graph.facts().conventions.token_types as usize),
            scale: scale.into(),
            max_rows: self.max_rows,
        };
        let kernel = self.phases.kernel(spec);
        let mut args = planes(&matrix);
        args.extend(self.vectors(floats::embedding(self.graph, position, token_type)));
        args.push(Arg::of(output.buffer));
        let doc = format!(
            "h [rows, {0}] = {1} [{vocab}, {0}]",
            matrix.cols,
            self.origin(id)
        );
        self.phases.phase(kernel, args, ItemCount::PerRow(1), doc);
        self.values.insert(id, output);
    }

    fn norm(&mut self, id: NodeId, step: &NormStep) {
        let input = self.values[&step.input];
        let NormOp {
            kind,
            weight,
            bias,
            eps,
        } = step.norm;
        let (max_rows, items) = self.rows_of(step.outputs);
        let spec = Norm {
            kind,
            cols: self.graph.tensor(weight).shape()[0],
            eps: eps.into(),
            max_rows,
            floats: step.floats,
            quantised: step.quantised.then(|| self.activations(id)),
            bias: bias.is_some(),
        };
        let kernel = self.phases.kernel(spec);
        let mut args = self.vectors(floats::norm(self.graph, weight, bias));
        args.push(Arg::of(input.buffer));
        if spec.floats {
            let output = self.floats(max_rows, spec.stride());
            args.push(Arg::of(output.buffer));
            self.values.insert(id, output);
        }
        if let Some(format) = spec.quantised {
            let output = self.quantised_rows(max_rows, spec.stride(), format);
            args.extend(output.args());
            self.quantised.insert(id, output);
        }
        let doc = format!("{} [rows, {}]", self.origin(id), spec.cols);
        self.phases.phase(kernel, args, items, doc);
    }

    /// A sum that nothing fused: both inputs as rows.
    fn add(&mut self, id: NodeId, inputs: [NodeId; 2]) {
        let [a, b] = inputs.map(|n| self.values[&n]);
        let spec = gemc_kernels::kernels::combine::Combine {
            stride: a.stride,
            top_k: 1,
            modules: false,
            base: gemc_kernels::kernels::combine::Base::Always,
            base_gate: false,
            residual: true,
            max_rows: self.max_rows,
            sparse: false,
        };
        let output = self.floats(self.max_rows, a.stride);
        let kernel = self.phases.kernel(spec);
        let args = [b, a, output].map(|rows| Arg::of(rows.buffer)).to_vec();
        self.phases
            .phase(kernel, args, ItemCount::PerRow(1), self.origin(id));
        self.values.insert(id, output);
    }

    /// One row of a text's rows; the head's phases have begun.
    fn pool(&mut self, id: NodeId, input: RowBuffer, ways: &[Pooling]) {
        let stride = input.stride;
        let output = self.floats(self.max_outputs, ways.len() * stride);
        for (i, &pooling) in ways.iter().enumerate() {
            let spec = Pool {
                pooling,
                stride,
                max_rows: self.max_rows,
                max_outputs: self.max_outputs,
            };
            let kernel = self.phases.kernel(spec);
            let behind = Arg::Arena(output.buffer, (4 * i * stride) as u32);
            let doc = format!("{pooling:?} of the text's rows").to_lowercase();
            let items = ItemCount::PerOutput(spec.items());
            let args = vec![Arg::of(input.buffer), behind];
            self.phases.phase(kernel, args, items, doc);
        }
        self.values.insert(id, output);
    }

    fn normalize(&mut self, id: NodeId, input: NodeId) {
        let input = self.values[&input];
        let output = self.floats(self.max_outputs, input.stride);
        let kernel = self.phases.kernel(Normalize {
            stride: input.stride,
            max_outputs: self.max_outputs,
        });
        let args = [input, output].map(|rows| Arg::of(rows.buffer)).to_vec();
        self.phases
            .phase(kernel, args, ItemCount::PerOutput(1), self.origin(id));
        self.values.insert(id, output);
    }

    fn elementwise(&mut self, id: NodeId, input: NodeId, function: Function) {
        let outputs = matches!(self.graph.wire(id), WireType::Outputs { width: _ });
        let (max_rows, _) = self.rows_of(outputs);
        let input = self.values[&input];
        let output = self.floats(max_rows, input.stride);
        let spec = Elementwise {
            function,
            stride: input.stride,
            max_rows,
        };
        let kernel = self.phases.kernel(spec);
        let args = [input, output].map(|rows| Arg::of(rows.buffer)).to_vec();
        let items = match outputs {
            true => ItemCount::PerOutput(spec.items_per_row()),
            false => ItemCount::PerRow(spec.items_per_row()),
        };
        self.phases.phase(kernel, args, items, self.origin(id));
        self.values.insert(id, output);
    }

    /// Rows whose logits are wanted, quantised for the head; the head's phases begin here.
    fn select(&mut self, id: NodeId, step: SelectStep<'_>) {
        let input = self.values[&step.input];
        self.phases.begin_head();
        if !step.pooling.is_empty() {
            return self.pool(id, input, step.pooling);
        }
        let format = self.activations(id);
        let output = self.quantised_rows(self.max_outputs, input.stride, format);
        let kernel = self.phases.kernel(SelectRows {
            max_rows: self.max_rows,
            max_outputs: self.max_outputs,
            stride: input.stride,
            format,
        });
        let mut args = vec![Arg::of(input.buffer)];
        args.extend(output.args());
        self.phases.phase(
            kernel,
            args,
            ItemCount::PerOutput(1),
            "rows whose logits are wanted",
        );
        self.quantised.insert(id, output);
    }
}

/// Arguments of a matrix's planes.
fn planes(matrix: &Matrix) -> Vec<Arg> {
    matrix.planes.iter().copied().map(Arg::Weights).collect()
}
