//! The rows of a text to one row, and that row at length one: what sentence encoders end with.

use super::rows::RowTable;
use super::vector::{LANES, for_chunks, inner_product};
use crate::choices::Pooling;
use crate::ir::build::{KernelBuilder, Val};
use crate::ir::{Elem, Extent, Kernel, Space};

/// What the kernel that pools depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pool {
    /// How rows become one.
    pub pooling: Pooling,
    /// Columns, padded.
    pub stride: usize,
    /// Rows of the input.
    pub max_rows: usize,
    /// Outputs that the head can be asked for.
    pub max_outputs: usize,
}

impl Pool {
    /// A name for people.
    #[must_use]
    pub fn name(&self) -> String {
        let how = format!("{:?}", self.pooling).to_lowercase();
        format!("pool_{how}_x{}", self.stride)
    }

    /// Items of an output: 16 columns each.
    #[must_use]
    pub fn items(&self) -> u32 {
        (self.stride / LANES) as u32
    }

    /// Writes the kernel; an item is 16 columns of the only output. All rows of the step are of one text, of which those count that
    /// stand from the first wanted one on. Arguments: rows; output.
    #[must_use]
    pub fn kernel(&self) -> Kernel {
        let doc = format!("{:?} of the rows of a text", self.pooling);
        KernelBuilder::build(&self.name(), &doc, self.items(), |k| {
            let x = k.input("x", Elem::F32, self.max_rows * self.stride);
            let y = k.output("y", Elem::F32, self.stride);
            let rows = RowTable::declare(k, self.max_rows);
            let len = Extent::fixed(self.max_outputs as i64);
            let outputs = k.region("outputs", Space::Outputs, Elem::I32, len, false);
            let at = (k.item() * LANES).named("at");
            let first = outputs.get(0).bounded(self.max_rows).named("first");
            let count = rows
                .visible(k.lit(0))
                .bounded(self.max_rows + 1)
                .named("count");
            let of = |row| x.row(row, self.stride).lanes(at);
            let value = match self.pooling {
                Pooling::First => of(first),
                Pooling::Last => of((count - 1).bounded(self.max_rows)),
                Pooling::Max => self.fold(k, [first, count], of(first), |_, pooled, row| {
                    pooled.max(of(row))
                }),
                Pooling::Mean => {
                    let number = (count - first).to_float();
                    self.sum(k, [first, count], of) / number.splat()
                }
                Pooling::MeanSqrt => {
                    let number = (count - first).to_float();
                    self.sum(k, [first, count], of) / number.sqrt().splat()
                }
                Pooling::Weighted => {
                    let total = k.var("total", Self::weight(first));
                    let start = of(first) * Self::weight(first).splat();
                    let sum = self.fold(k, [first, count], start, |_, pooled, row| {
                        total.update(|total| total + Self::weight(row));
                        pooled + of(row) * Self::weight(row).splat()
                    });
                    sum / total.get().splat()
                }
            };
            y.store(at, value);
        })
    }

    /// A row's place among all of the text, from 1.
    fn weight(row: Val<'_>) -> Val<'_> {
        (row + 1).to_float()
    }

    /// The sum of the rows of a range that is not empty.
    fn sum<'k>(
        &self,
        k: &'k KernelBuilder,
        range: [Val<'k>; 2],
        of: impl Fn(Val<'k>) -> Val<'k>,
    ) -> Val<'k> {
        self.fold(k, range, of(range[0]), |_, sum, row| sum + of(row))
    }

    /// A value, with each row of a range but the first taken into it.
    fn fold<'k>(
        &self,
        k: &'k KernelBuilder,
        [first, count]: [Val<'k>; 2],
        start: Val<'k>,
        with: impl Fn(&'k KernelBuilder, Val<'k>, Val<'k>) -> Val<'k>,
    ) -> Val<'k> {
        let pooled = k.var("pooled", start);
        k.for_(first + 1, count, |row| {
            let row = row.bounded(self.max_rows);
            pooled.update(|pooled| with(k, pooled, row));
        });
        pooled.get()
    }
}

/// What the kernel that divides outputs by their length depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Normalize {
    /// Columns, padded with zeros.
    pub stride: usize,
    /// Outputs of the buffers.
    pub max_outputs: usize,
}

impl Normalize {
    /// A name for people.
    #[must_use]
    pub fn name(&self) -> String {
        format!("normalize_x{}", self.stride)
    }

    /// Writes the kernel: `x / max(|x|, 1e-12)`; one item an output. Arguments: input; output.
    #[must_use]
    pub fn kernel(&self) -> Kernel {
        let doc = format!("rows of {} f32 at length one", self.stride);
        KernelBuilder::build(&self.name(), &doc, self.max_outputs as u32, |k| {
            let matrix = self.max_outputs * self.stride;
            let x = k.input("x", Elem::F32, matrix).row(k.item(), self.stride);
            let y = k.output("y", Elem::F32, matrix).row(k.item(), self.stride);
            let length = inner_product(k, x, x, self.stride).sqrt();
            let scale = (1.0 / length.max(1e-12)).splat();
            for_chunks(k, self.stride / LANES, |at| {
                y.store(at, x.lanes(at) * scale)
            });
        })
    }
}
