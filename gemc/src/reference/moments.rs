//! Rows of inputs -> their second moments, for error feedback.

use super::matmul::{Store, Threads, View, ViewMut, multiply};
use super::wire::Matrix;

/// Adds `Σ x xᵀ` over the rows of `x` to `sum`, `[width, width]`.
///
/// # Panics
/// When `sum` has another size.
pub fn add_second_moments(x: &Matrix, sum: &mut [f32]) {
    let width = x.width();
    assert_eq!(sum.len(), width * width, "a square matrix");
    let rows = View::new(x.values(), x.rows(), width, width);
    multiply(
        ViewMut::new(sum, width, width, width),
        Store::Add,
        1.0,
        rows.transposed(),
        rows,
        Threads::All,
    );
}
