//! The rows of a text to one row, and that row at length one: what sentence encoders end with.

use super::rows::RowTable;
use super::vector::{LANES, for_chunks, inner_product};
use crate::choices::Pooling;
use crate::ir::build::KernelBuilder;
use crate::ir::{Elem, Kernel};

/// What the kernel that pools depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pool {
    /// How rows become one.
    pub pooling: Pooling,
    /// Columns, padded.
    pub stride: usize,
    /// Rows of the input.
    pub max_rows: usize,
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

    /// Writes the kernel; an item is 16 columns of the only output. All rows of the step are of one text. Arguments: rows;
    /// output.
    #[must_use]
    pub fn kernel(&self) -> Kernel {
        let doc = format!("{:?} of the rows of a text", self.pooling);
        KernelBuilder::build(&self.name(), &doc, self.items(), |k| {
            let x = k.input("x", Elem::F32, self.max_rows * self.stride);
            let y = k.output("y", Elem::F32, self.stride);
            let rows = RowTable::declare(k, self.max_rows);
            let at = (k.item() * LANES).named("at");
            let count = rows
                .visible(k.lit(0))
                .bounded(self.max_rows + 1)
                .named("count");
            let of = |row| x.row(row, self.stride).lanes(at);
            let value = match self.pooling {
                Pooling::First => of(k.lit(0)),
                Pooling::Last => of((count - 1).bounded(self.max_rows)),
                Pooling::Mean | Pooling::Max => {
                    let pooled = k.var("pooled", of(k.lit(0)));
                    k.for_(1, count, |row| {
                        let value = of(row.bounded(self.max_rows));
                        pooled.update(|pooled| match self.pooling {
                            Pooling::Max => pooled.max(value),
                            _ => pooled + value,
                        });
                    });
                    match self.pooling {
                        Pooling::Mean => pooled.get() / count.to_float().splat(),
                        _ => pooled.get(),
                    }
                }
            };
            y.store(at, value);
        })
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
