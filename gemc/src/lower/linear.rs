//! Linear maps: which epilogue their consumers allow, and the phase.

use gem_runtime::format::ActivationFormat;

use super::kernels::matmul::{Epilogue, Matmul, Rows};
use super::phases::{Arg, UnitCount};
use super::{Lowering, QuantisedRows, planes};
use crate::graph::{Activation, Guard, LinearPart, Node, NodeId, Op, TensorId, WireType};
use crate::pack::layout::Matrix;

/// What is fused into a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fusion {
    /// Nothing: f32 rows.
    None,
    /// The sum node, and the wire that is added.
    Residual {
        /// `Add`.
        sum: NodeId,
        /// Its other input.
        other: NodeId,
    },
    /// Activation and quantisation for the next product: the wire that the next product reads.
    Quantise {
        /// `Activate`, or the product itself.
        wire: NodeId,
        /// The function.
        act: Option<Activation>,
        /// Gate and up halves.
        gated: bool,
    },
}

impl Lowering<'_> {
    /// What follows a product, from who reads it.
    pub(super) fn fusion(&self, id: NodeId) -> Fusion {
        let consumers = self.graph.consumers(id);
        let [consumer] = consumers.as_slice() else {
            return Fusion::None;
        };
        let node = self.graph.node(*consumer);
        match &node.op {
            Op::Activate { act, gated } => Fusion::Quantise {
                wire: *consumer,
                act: Some(*act),
                gated: *gated,
            },
            Op::Linear { .. } => Fusion::Quantise {
                wire: id,
                act: None,
                gated: false,
            },
            Op::Add => {
                let other = if node.inputs[0] == id {
                    node.inputs[1]
                } else {
                    node.inputs[0]
                };
                if other != id
                    && self.values.contains_key(&other)
                    && self.graph.node(id).guard == Guard::Always
                {
                    Fusion::Residual {
                        sum: *consumer,
                        other,
                    }
                } else {
                    Fusion::None
                }
            }
            _ => Fusion::None,
        }
    }

    pub(super) fn linear(&mut self, id: NodeId, node: &Node) {
        match node.guard {
            Guard::Module { routing, .. } => self.modules(routing),
            Guard::Always => {
                let rows = match self.graph.wire(id) {
                    WireType::Outputs { .. } => Rows::Outputs,
                    _ => Rows::All,
                };
                self.product(id, node, rows, &[], None);
            }
            Guard::Fallback { routing } => {
                let routed = &self.routed[&routing];
                let list = [Arg::of(routed.idle), Arg::of(routed.idle_count)];
                let counter = routed.idle_count;
                let rows = Rows::List {
                    input_div: 1,
                    entries: self.max_rows,
                };
                self.product(id, node, rows, &list, Some(counter));
            }
        }
    }

    /// One product over rows of the step. `counter` counts the entries of `list`, when there is one.
    fn product(
        &mut self,
        id: NodeId,
        node: &Node,
        rows: Rows,
        list: &[Arg],
        counter: Option<super::Buffer>,
    ) {
        let Op::Linear { parts } = &node.op else {
            return;
        };
        let input = self.quantised(node.inputs[0]);
        let matrix = self.place(id, parts.iter().map(|p| p.weight).collect());
        let fusion = self.fusion(id);
        let result_rows = if rows == Rows::Outputs {
            self.max_outputs
        } else {
            self.max_rows
        };
        let spec = self.matmul(
            &matrix,
            parts,
            rows,
            (result_rows, input.format),
            result_rows,
            fusion,
        );
        let mut args = self.inputs(&matrix, parts, input);
        args.extend(list);
        match fusion {
            Fusion::Quantise { wire, .. } => {
                let format = self.activations(wire);
                let output = self.quantised_rows(result_rows, spec.output_width(), format);
                args.extend(output.args());
                self.quantised.insert(wire, output);
                self.done.insert(wire);
            }
            Fusion::Residual { sum, other } => {
                args.push(Arg::of(self.values[&other].buffer));
                let output = self.floats(result_rows, spec.output_width());
                args.push(Arg::of(output.buffer));
                self.values.insert(sum, output);
                self.done.insert(sum);
            }
            Fusion::None => {
                let output = self.floats(result_rows, spec.output_width());
                args.push(Arg::of(output.buffer));
                self.values.insert(id, output);
            }
        }
        let doc = self.product_doc(node, parts, &matrix);
        let kernel = self.phases.kernel(spec);
        let units = match counter {
            None => UnitCount::Fixed(spec.units()),
            Some(counter) => {
                let units = self.count_units(counter, spec.units(), 1);
                UnitCount::Loaded(units, spec.units())
            }
        };
        self.phases.phase(kernel, args, units, doc);
    }

    pub(super) fn product_doc(&self, node: &Node, parts: &[LinearPart], matrix: &Matrix) -> String {
        let rows: Vec<String> = parts
            .iter()
            .map(|p| self.graph.tensor(p.weight).shape[0].to_string())
            .collect();
        format!(
            "{} [{}, {}] {:?}",
            node.origin,
            rows.join("+"),
            matrix.cols,
            matrix.codec
        )
    }

    /// The kernel's description.
    pub(super) fn matmul(
        &self,
        matrix: &Matrix,
        parts: &[LinearPart],
        rows: Rows,
        (input_rows, input_format): (usize, ActivationFormat),
        output_rows: usize,
        fusion: Fusion,
    ) -> Matmul {
        let epilogue = match fusion {
            Fusion::None => Epilogue::Store,
            Fusion::Residual { sum: _, other: _ } => Epilogue::Residual,
            Fusion::Quantise { wire, act, gated } => Epilogue::Quantise {
                act,
                gated,
                format: self.activations(wire),
            },
        };
        Matmul {
            codec: matrix.codec,
            tiles: matrix.tiles(),
            cols: matrix.cols,
            bias: parts.iter().any(|p| p.bias.is_some()),
            rows,
            input_rows,
            input_format,
            output_rows,
            epilogue,
            dot: self.target.dot,
            row_block: self.target.row_block,
        }
    }

    /// Planes, biases and input: the arguments that every product begins with.
    pub(super) fn inputs(
        &mut self,
        matrix: &Matrix,
        parts: &[LinearPart],
        input: QuantisedRows,
    ) -> Vec<Arg> {
        let mut args = planes(matrix).to_vec();
        args.extend(self.layout.biases(self.graph, parts).map(Arg::Weights));
        args.extend(input.args());
        args
    }

    /// Tensors of a product's parts.
    pub(super) fn part_tensors(parts: &[LinearPart]) -> Vec<TensorId> {
        parts.iter().map(|p| p.weight).collect()
    }
}
