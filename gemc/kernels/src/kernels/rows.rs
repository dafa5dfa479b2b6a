//! The rows of a step, as kernels read them: `[rows, 4]` i32, in memory what [`Row`] is.

use std::mem::{offset_of, size_of};

use gem_runtime::abi::Row;

use crate::ir::build::{KernelBuilder, Region, Val};
use crate::ir::{Elem, Extent, Space};

/// Numbers of a row.
const FIELDS: usize = size_of::<Row>() / size_of::<i32>();

/// The region of a kernel that holds them; its numbers are as they were given: nothing bounds them.
#[derive(Clone, Copy)]
pub struct RowTable<'k>(Region<'k>);

impl<'k> RowTable<'k> {
    /// Declares the region, for steps of at most so many rows.
    pub fn declare(k: &'k KernelBuilder, max_rows: usize) -> Self {
        let len = Extent::fixed((FIELDS * max_rows) as i64);
        Self(k.region("rows", Space::Rows, Elem::I32, len, false))
    }

    /// Token id.
    pub fn token(self, row: Val<'k>) -> Val<'k> {
        self.field(row, offset_of!(Row, token)).named("token")
    }

    /// Index of the sequence's memory.
    pub fn slot(self, row: Val<'k>) -> Val<'k> {
        self.field(row, offset_of!(Row, slot)).named("slot")
    }

    /// Position in the sequence.
    pub fn position(self, row: Val<'k>) -> Val<'k> {
        self.field(row, offset_of!(Row, position)).named("position")
    }

    /// How many positions the row may see.
    pub fn visible(self, row: Val<'k>) -> Val<'k> {
        self.field(row, offset_of!(Row, visible)).named("visible")
    }

    /// The number at a byte of a row.
    fn field(self, row: Val<'k>, offset: usize) -> Val<'k> {
        self.0.row(row, FIELDS).get(offset / size_of::<i32>())
    }
}
