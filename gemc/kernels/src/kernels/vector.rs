//! Small pieces that several kernels share: inner products of f32 rows, rows of 16-lane chunks.

use crate::ir::build::old::{KernelBuilder, Ops};
use crate::ir::{ParamId, Ty, ValueId};

/// Lanes of a chunk.
pub const LANES: usize = 16;

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
