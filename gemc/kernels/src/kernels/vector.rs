//! Small pieces that several kernels share: inner products of f32 rows, rows of 16-lane chunks.

use crate::ir::build::{KernelBuilder, Operand, Region, Val};

/// Lanes of a chunk.
pub const LANES: usize = 16;

/// Calls `body` with the first element of each of so many chunks.
pub fn for_chunks<'k>(k: &'k KernelBuilder, chunks: impl Operand<'k>, body: impl FnOnce(Val<'k>)) {
    k.for_n(chunks, |chunk| {
        body((chunk.named("chunk") * LANES).named("at"));
    });
}

/// The two vectors of the `place`-th 32 elements of a row.
pub fn load_pair<'k>(row: Region<'k>, place: Val<'k>) -> [Val<'k>; 2] {
    [0, LANES].map(|half| row.row(place, 2 * LANES).lanes(half))
}

/// Stores what [`load_pair`] loads.
pub fn store_pair<'k>(row: Region<'k>, place: Val<'k>, [low, high]: [Val<'k>; 2]) {
    let pair = row.row(place, 2 * LANES);
    pair.store(0, low);
    pair.store(LANES, high);
}

/// Inner product of two f32 rows of `len` elements (a multiple of 16): 16 partial sums in fused steps, chunks
/// ascending, then added by halves.
pub fn inner_product<'k>(
    k: &'k KernelBuilder,
    x: Region<'k>,
    y: Region<'k>,
    len: usize,
) -> Val<'k> {
    let acc = k.var("acc", k.splat(0.0));
    for_chunks(k, len / LANES, |at| {
        acc.set(x.lanes(at).mul_add(y.lanes(at), acc.get()));
    });
    acc.get().reduce_add()
}
