//! `y = x W^T + b` for many rows: how a product is spread over the thread pool.

use super::matmul::{Into, Threads, View, ViewMut, multiply};
use super::wire::Matrix;

/// Writes `x [rows, in]` times the transpose of `weight [out, in]`, plus `bias [out]`, to `out [rows, out]`.
pub(super) fn apply(x: &Matrix, weight: &[f32], bias: Option<&[f32]>, out: &mut Matrix) {
    let (rows, inputs, outputs) = (x.rows(), x.width(), out.width());
    let mode = match bias {
        Some(bias) => {
            for row in out.values_mut().chunks_exact_mut(outputs) {
                row.copy_from_slice(bias);
            }
            Into::Add
        }
        None => Into::Set,
    };
    let a = View::new(x.values(), rows, inputs, inputs);
    let b = View::new(weight, outputs, inputs, inputs).transposed();
    let target = ViewMut::new(out.values_mut(), rows, outputs, outputs);
    multiply(target, mode, 1.0, a, b, Threads::All);
}
