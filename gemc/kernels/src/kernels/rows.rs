//! The rows of a step, as kernels read them: `[rows, 4]` i32, in memory what [`Row`] is.

use std::mem::{offset_of, size_of};

use gem_runtime::abi::Row;

use super::vector::affine;
use crate::ir::build::old::KernelBuilder;
use crate::ir::{Elem, Extent, ParamId, Space, Ty, ValueId};

/// Fields of a row.
const FIELDS: usize = size_of::<Row>() / size_of::<i32>();

/// A number that a row holds.
#[derive(Clone, Copy)]
pub enum Field {
    /// Token id.
    Token,
    /// Index of the sequence's memory.
    Slot,
    /// Position in the sequence.
    Position,
    /// How many positions the row may see.
    Visible,
}

impl Field {
    /// Its place in the row.
    fn index(self) -> usize {
        let offset = match self {
            Self::Token => offset_of!(Row, token),
            Self::Slot => offset_of!(Row, slot),
            Self::Position => offset_of!(Row, position),
            Self::Visible => offset_of!(Row, visible),
        };
        offset / size_of::<i32>()
    }
}

/// The region of a kernel that holds them.
#[derive(Clone, Copy)]
pub struct RowTable(ParamId);

impl RowTable {
    /// Declares the region, for steps of at most so many rows.
    pub fn declare(b: &mut KernelBuilder, max_rows: usize) -> Self {
        let len = Extent::fixed((FIELDS * max_rows) as i64);
        Self(b.region("rows", Space::Rows, Elem::I32, len, false))
    }

    /// A number of a row, as it was given: nothing bounds it.
    pub fn load(self, b: &mut KernelBuilder, row: ValueId, field: Field) -> ValueId {
        let index = affine(b, row, FIELDS, field.index());
        b.load(Ty::I32, self.0, index)
    }
}
