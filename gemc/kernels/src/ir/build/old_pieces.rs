//! Pieces of kernels by the builder before; they go with it.
#![allow(missing_docs, reason = "removed with the last file that uses it")]

use std::mem::{offset_of, size_of};

use gem_runtime::abi::Row;

use super::old::{KernelBuilder, Ops};
use crate::ir::{Elem, Extent, ParamId, Space, Ty, ValueId};
use crate::kernels::vector::LANES;

/// `a * n + c`, with constants folded by the builder.
pub fn affine(b: &mut KernelBuilder, a: ValueId, n: usize, c: usize) -> ValueId {
    let n = b.i32(n as i32);
    let c = b.i32(c as i32);
    let product = b.mul(a, n);
    b.add(product, c)
}

/// `start + 16 * chunk`.
pub fn chunk_index(b: &mut KernelBuilder, start: ValueId, chunk: ValueId) -> ValueId {
    let column = affine(b, chunk, LANES, 0);
    b.add(start, column)
}

/// The two vectors of the `place`-th 32 elements of a local array.
pub fn load_pair(b: &mut KernelBuilder, local: ParamId, place: ValueId) -> [ValueId; 2] {
    [0, LANES].map(|half| {
        let index = affine(b, place, 2 * LANES, half);
        b.load(Ty::F32x16, local, index)
    })
}

/// Stores what [`load_pair`] loads.
pub fn store_pair(b: &mut KernelBuilder, local: ParamId, place: ValueId, values: [ValueId; 2]) {
    for (half, value) in [0, LANES].into_iter().zip(values) {
        let index = affine(b, place, 2 * LANES, half);
        b.store(local, index, value);
    }
}

/// Inner product of two f32 rows of `len` elements (a multiple of 16): 16 partial sums in fused steps, chunks
/// ascending, then added by halves.
pub fn inner_product(
    b: &mut KernelBuilder,
    (x, x_start): (ParamId, ValueId),
    (y, y_start): (ParamId, ValueId),
    len: usize,
) -> ValueId {
    let zero = b.f32(0.0);
    let zero = b.splat(zero);
    let acc = b.named_var("acc", zero);
    let first = b.i32(0);
    let chunks = b.i32((len / LANES) as i32);
    b.for_(first, chunks, |b, chunk| {
        let xi = chunk_index(b, x_start, chunk);
        let xv = b.load(Ty::F32x16, x, xi);
        let yi = chunk_index(b, y_start, chunk);
        let yv = b.load(Ty::F32x16, y, yi);
        let before = b.get(acc);
        let after = b.fma(xv, yv, before);
        b.set(acc, after);
    });
    let total = b.get(acc);
    b.reduce_add(total)
}

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
