//! Where tensor values come from: the one door through which the executor, calibration and packing read weights.

use std::ops::Range;

use crate::graph::TensorId;

/// Gives tensor values as f32, by rows of the first dimension, so that nothing ever holds a whole checkpoint.
pub trait TensorSource: Sync {
    /// Writes rows `rows` of tensor `id` to `out`, row-major; a 1-D tensor is one row per element.
    ///
    /// The shape was checked at import, so reading cannot fail.
    ///
    /// # Panics
    /// When `out` is not `rows.len()` times the product of the other dimensions long, or `rows` is out of range.
    fn read_rows(&self, id: TensorId, rows: Range<usize>, out: &mut [f32]);

    /// Identifies the values of a tensor: two tensors of one digest give the same rows. Reads all of it.
    fn digest(&self, id: TensorId) -> [u8; 32];
}
