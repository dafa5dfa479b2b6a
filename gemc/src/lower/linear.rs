//! Linear maps: the epilogue that their readers allow, and the phase.

use gemc_format::ActivationFormat;
use gemc_kernels::kernels::matmul::{Epilogue, Matmul, Rows};

use super::arena::Buffer;
use super::phases::{Arg, ItemCount};
use super::steps::{On, Product, Residual, Then};
use super::{Lowering, QuantisedRows, planes};
use crate::graph::{LinearPart, Node};
use crate::pack::floats;
use crate::pack::layout::Matrix;

/// Where the rows of a product come from.
struct Source {
    rows: Rows,
    /// A list of rows and their number.
    list: Option<[Buffer; 2]>,
    /// Rows of the result.
    result: usize,
}

impl Lowering<'_> {
    fn source(&self, on: On) -> Source {
        match on {
            On::Rows => Source {
                rows: Rows::All,
                list: None,
                result: self.max_rows,
            },
            On::Outputs => Source {
                rows: Rows::Outputs,
                list: None,
                result: self.max_outputs,
            },
            On::Idle { routing } => Source {
                rows: Rows::List {
                    input_div: 1,
                    entries: self.max_rows,
                },
                list: Some([self.routed[&routing].idle, self.routed[&routing].idle_count]),
                result: self.max_rows,
            },
        }
    }

    /// What follows a product is fused where it can be: a sum only if its other input is there by then.
    fn fused(&self, product: &Product<'_>) -> Then {
        match product.then {
            Then::Residual(residual) if !self.values.contains_key(&residual.other) => Then::Floats,
            then => then,
        }
    }

    /// One product over rows of the step.
    pub(super) fn product(&mut self, product: &Product<'_>, on: On) {
        let Product {
            id, node, parts, ..
        } = *product;
        let Source { rows, list, result } = self.source(on);
        let input = self.quantised(product.input);
        let matrix = self.place(id, parts);
        let then = self.fused(product);
        let spec = self.matmul(&matrix, parts, rows, (result, input.format), result, then);
        let mut args = self.inputs(&matrix, parts, input);
        args.extend(list.into_iter().flatten().map(Arg::of));
        match then {
            Then::Quantise {
                wire,
                act: _,
                gated: _,
            } => {
                let format = self.activations(wire);
                let output = self.quantised_rows(result, spec.output_width(), format);
                args.extend(output.args());
                self.quantised.insert(wire, output);
            }
            Then::Residual(Residual { sum, other }) => {
                args.push(Arg::of(self.values[&other].buffer));
                let output = self.floats(result, spec.output_width());
                args.push(Arg::of(output.buffer));
                self.values.insert(sum, output);
                self.done.insert(sum);
            }
            Then::Floats => {
                let output = self.floats(result, spec.output_width());
                args.push(Arg::of(output.buffer));
                self.values.insert(id, output);
            }
        }
        let doc = self.product_doc(node, parts, &matrix);
        let kernel = self.phases.kernel(spec);
        let items = match list {
            None => ItemCount::Fixed(spec.items()),
            Some([_, counter]) => {
                let items = self.count_items(counter, spec.items(), 1);
                ItemCount::Loaded(items, spec.items())
            }
        };
        self.phases.phase(kernel, args, items, doc);
    }

    pub(super) fn product_doc(&self, node: &Node, parts: &[LinearPart], matrix: &Matrix) -> String {
        let rows: Vec<String> = parts
            .iter()
            .map(|p| self.graph.tensor(p.weight).shape()[0].to_string())
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
        then: Then,
    ) -> Matmul {
        let epilogue = match then {
            Then::Floats => Epilogue::Store,
            Then::Residual(_) => Epilogue::Residual,
            Then::Quantise { wire, act, gated } => Epilogue::Quantise {
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
        let mut args = planes(matrix);
        args.extend(self.vectors(floats::biases(self.graph, parts)));
        args.extend(input.args());
        args
    }
}
