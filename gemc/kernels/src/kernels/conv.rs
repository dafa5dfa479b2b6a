//! Short causal convolutions over positions, column by column, between two gates: what a layer keeps of a sequence is the
//! last few of its gated inputs, in a ring.

use super::rows::RowTable;
use super::vector::{LANES, for_chunks};
use crate::ir::build::{KernelBuilder, Region, Val};
use crate::ir::{Elem, Kernel};

/// What both kernels of a convolution depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ShortConv {
    /// Columns, a multiple of 16.
    pub width: usize,
    /// First columns of input gate, output gate and values in the projection's rows.
    pub columns: [usize; 3],
    /// Elements between the projection's rows.
    pub stride: usize,
    /// Positions that are summed, the row's own included.
    pub taps: usize,
    /// Whether something is added to the sum.
    pub bias: bool,
    /// Positions that the ring has room for.
    pub ring: usize,
    /// Rows of the buffers.
    pub max_rows: usize,
}

/// The kernel that writes gated inputs to the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvInputs(pub ShortConv);

/// The kernel that sums them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvSums(pub ShortConv);

impl ShortConv {
    fn name(&self, what: &str) -> String {
        let bias = if self.bias { "_bias" } else { "" };
        format!(
            "{what}_{}x{}_ring{}{bias}",
            self.width, self.taps, self.ring
        )
    }

    /// Elements between rows of the result.
    #[must_use]
    pub const fn result_stride(&self) -> usize {
        self.width.next_multiple_of(32)
    }

    fn state<'k>(&self, k: &'k KernelBuilder, mutable: bool) -> Region<'k> {
        k.ring("state", Elem::F32, self.ring * self.width, mutable)
    }

    fn part<'k>(&self, x: Region<'k>, row: Val<'k>, part: usize) -> Region<'k> {
        x.row(row, self.stride).skip(self.columns[part])
    }
}

impl ConvInputs {
    /// A name for people.
    #[must_use]
    pub fn name(&self) -> String {
        self.0.name("conv_inputs")
    }

    /// Writes the kernel: input gate times values, to the row's place in the ring; one item a row. Arguments: projection;
    /// ring `[position][width]`.
    #[must_use]
    pub fn kernel(&self) -> Kernel {
        let spec = self.0;
        let doc = format!("gated inputs of {} columns to a ring", spec.width);
        KernelBuilder::build(&self.name(), &doc, spec.max_rows as u32, |k| {
            let x = k.input("x", Elem::F32, spec.max_rows * spec.stride);
            let state = spec.state(k, true);
            let rows = RowTable::declare(k, spec.max_rows);
            let row = k.item();
            let position = rows.position(row).bounded(k.context());
            let to = state
                .of(rows.slot(row))
                .row(position % spec.ring, spec.width);
            let [gate, values] = [0, 2].map(|part| spec.part(x, row, part));
            for_chunks(k, spec.width / LANES, |at| {
                to.store(at, gate.lanes(at) * values.lanes(at));
            });
        })
    }
}

impl ConvSums {
    /// A name for people.
    #[must_use]
    pub fn name(&self) -> String {
        self.0.name("conv")
    }

    /// Writes the kernel: output gate times the sum of weight times gated input, oldest first, and the bias; one item a row.
    /// Positions before the first are zero. Arguments: projection; ring; weights `[taps][width]`; \[biases\]; output.
    #[must_use]
    pub fn kernel(&self) -> Kernel {
        let spec = self.0;
        let doc = format!(
            "sums over {} positions of {} columns, gated",
            spec.taps, spec.width
        );
        KernelBuilder::build(&self.name(), &doc, spec.max_rows as u32, |k| {
            let x = k.input("x", Elem::F32, spec.max_rows * spec.stride);
            let state = spec.state(k, false);
            let stride = spec.result_stride();
            let weights = k.weights("weights", Elem::F32, spec.taps * stride);
            let bias = spec.bias.then(|| k.weights("bias", Elem::F32, stride));
            let y = k.output("y", Elem::F32, spec.max_rows * stride);
            let rows = RowTable::declare(k, spec.max_rows);
            let row = k.item();
            let position = rows.position(row).bounded(k.context());
            let state = state.of(rows.slot(row));
            let taps: Vec<_> = (0..spec.taps)
                .map(|tap| {
                    let at = position - (spec.taps - 1 - tap) as i32;
                    let from = state.row(at.max(0) % spec.ring, spec.width);
                    (at.ge(0), from, weights.skip(tap * stride))
                })
                .collect();
            let gate = spec.part(x, row, 1);
            let to = y.row(row, stride);
            for_chunks(k, spec.width / LANES, |at| {
                let sum = k.var("sum", k.splat(0.0));
                for (is_there, from, weight) in &taps {
                    k.when(*is_there, || {
                        let (value, weight) = (from.lanes(at), weight.lanes(at));
                        sum.update(|sum| value.mul_add(weight, sum));
                    });
                }
                let sum = bias.map_or(sum.get(), |bias| sum.get() + bias.lanes(at));
                to.store(at, gate.lanes(at) * sum);
            });
            if spec.width < stride {
                for_chunks(k, (stride - spec.width) / LANES, |at| {
                    to.store(at + spec.width, k.splat(0.0));
                });
            }
        })
    }
}
