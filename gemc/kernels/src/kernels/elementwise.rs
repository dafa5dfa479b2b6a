//! One function of every value of f32 rows, where no product before them takes it along.

use super::spec::Exact;
use super::vector::LANES;
use crate::choices::Activation;
use crate::functions::Math;
use crate::ir::build::{KernelBuilder, Val};
use crate::ir::{Elem, Kernel};

/// Columns of an item.
const PIECE: usize = 1024;

/// What the kernel depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Elementwise {
    /// The function.
    pub function: Function,
    /// Columns, padded with zeros, which stay zeros.
    pub stride: usize,
    /// Rows of the buffers.
    pub max_rows: usize,
}

/// A function of a value; of 0 it gives 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Function {
    /// `cap tanh(x / cap)`.
    Softcap(Exact),
    /// An activation.
    Activation(Activation),
}

impl Function {
    fn name(self) -> String {
        match self {
            Self::Softcap(cap) => format!("softcap{}", cap.in_words()),
            Self::Activation(act) => format!("{act:?}").to_lowercase(),
        }
    }

    fn of<'k>(self, x: Val<'k>) -> Val<'k> {
        match self {
            Self::Softcap(cap) => {
                let share = Math::Tanh.reference().call(&[x * (1.0 / cap.get())]);
                share * cap.get()
            }
            Self::Activation(act) => Math::of(act).reference().call(&[x]),
        }
    }
}

impl Elementwise {
    /// A name for people.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}_x{}", self.function.name(), self.stride)
    }

    /// Items of a row.
    #[must_use]
    pub fn items_per_row(&self) -> u32 {
        self.stride.div_ceil(PIECE) as u32
    }

    /// Writes the kernel; an item is 1024 columns of a row. Arguments: input; output.
    #[must_use]
    pub fn kernel(&self) -> Kernel {
        let doc = format!("{} of rows of {} f32", self.function.name(), self.stride);
        let pieces = self.items_per_row() as usize;
        let items = (self.max_rows * pieces) as u32;
        KernelBuilder::build(&self.name(), &doc, items, |k| {
            let matrix = self.max_rows * self.stride;
            let (row, piece) = (k.item() / pieces, k.item() % pieces);
            let x = k.input("x", Elem::F32, matrix).row(row, self.stride);
            let y = k.output("y", Elem::F32, matrix).row(row, self.stride);
            let first = piece * (PIECE / LANES);
            let end = (first + PIECE / LANES).min(self.stride / LANES);
            k.for_(first, end, |chunk| {
                let at = chunk * LANES;
                y.store(at, self.function.of(x.lanes(at)));
            });
        })
    }
}
