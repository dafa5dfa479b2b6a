//! Strided f32 views and their product: the only door to the `gemm` crates, with their pointer rules checked once.

use gemm_common::Parallelism;
use gemm_f32::gemm::f32::get_gemm_fn;

/// A read-only matrix inside a slice.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a> View<'a> {
    /// `rows x cols`, rows `stride` apart.
    ///
    /// # Panics
    /// When it does not fit into `data`.
    pub fn new(data: &'a [f32], rows: usize, cols: usize, stride: usize) -> Self {
        assert!(fits(data.len(), rows, cols, stride));
        Self {
            data,
            rows,
            cols,
            row_stride: stride,
            col_stride: 1,
        }
    }

    /// The transpose, without moving anything.
    pub fn transposed(self) -> Self {
        Self {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            ..self
        }
    }
}

/// A writable matrix inside a slice; its rows do not overlap.
pub(super) struct ViewMut<'a> {
    data: &'a mut [f32],
    rows: usize,
    cols: usize,
    stride: usize,
}

impl<'a> ViewMut<'a> {
    /// `rows x cols`, rows `stride` apart.
    ///
    /// # Panics
    /// When it does not fit into `data` or rows overlap.
    pub fn new(data: &'a mut [f32], rows: usize, cols: usize, stride: usize) -> Self {
        assert!(stride >= cols && fits(data.len(), rows, cols, stride));
        Self {
            data,
            rows,
            cols,
            stride,
        }
    }
}

fn fits(len: usize, rows: usize, cols: usize, stride: usize) -> bool {
    rows == 0 || cols == 0 || (rows - 1) * stride + cols <= len
}

/// What happens to the old contents of the destination.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Store {
    /// Overwritten.
    Set,
    /// Added to.
    Add,
}

/// Who computes a product.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Threads {
    /// The calling thread.
    One,
    /// The rayon pool.
    All,
}

/// `dst = factor * a b`, or `dst += factor * a b`.
///
/// # Panics
/// When the dimensions disagree.
pub(super) fn multiply(
    dst: ViewMut<'_>,
    mode: Store,
    factor: f32,
    a: View<'_>,
    b: View<'_>,
    threads: Threads,
) {
    assert!(dst.rows == a.rows && dst.cols == b.cols && a.cols == b.rows);
    if dst.rows == 0 || dst.cols == 0 {
        return;
    }
    let parallelism = match threads {
        Threads::One => Parallelism::None,
        Threads::All => Parallelism::Rayon(0),
    };
    // Microkernels prefer columns that lie together; our rows do. So the transpose is computed, `dst^T = b^T a^T`, except
    // where rows have one element each and both are the same.
    let (rows, cols, stride) = (dst.rows, dst.cols, dst.stride as isize);
    let (lhs, rhs, [m, n], [dst_cs, dst_rs]) = match 1 < stride {
        true => (b.transposed(), a.transposed(), [cols, rows], [stride, 1]),
        false => (a, b, [rows, cols], [1, stride]),
    };
    // SAFETY: the constructors checked that every (row, col) of each view lies inside its slice (for a transpose the
    // same elements are visited), the dimensions agree, and `dst` is borrowed mutably, so it overlaps neither input
    // and its rows do not overlap each other. Strides are below `isize::MAX` because they index slices.
    unsafe {
        get_gemm_fn()(
            m,
            n,
            lhs.cols,
            dst.data.as_mut_ptr(),
            dst_cs,
            dst_rs,
            mode == Store::Add,
            lhs.data.as_ptr(),
            lhs.col_stride as isize,
            lhs.row_stride as isize,
            rhs.data.as_ptr(),
            rhs.col_stride as isize,
            rhs.row_stride as isize,
            1.0,
            factor,
            false,
            false,
            false,
            parallelism,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strided_transposed_and_accumulating_products() {
        // a [2, 3] inside rows of 4; b^T stored as [2, 3].
        let a = [1.0, 2.0, 3.0, 9.0, 4.0, 5.0, 6.0, 9.0];
        let b = [1.0, 0.0, 2.0, 0.5, 1.0, -1.0];
        let mut dst = [10.0, 10.0, 7.0, 10.0, 10.0, 7.0];
        let a = View::new(&a, 2, 3, 4);
        let b = View::new(&b, 2, 3, 3).transposed();
        multiply(
            ViewMut::new(&mut dst, 2, 2, 3),
            Store::Add,
            2.0,
            a,
            b,
            Threads::One,
        );
        assert_eq!(dst, [24.0, 9.0, 7.0, 42.0, 12.0, 7.0]);
        multiply(
            ViewMut::new(&mut dst, 2, 2, 3),
            Store::Set,
            1.0,
            a,
            b,
            Threads::All,
        );
        assert_eq!(dst, [7.0, -0.5, 7.0, 16.0, 1.0, 7.0]);
    }

    #[test]
    #[should_panic(expected = "fits")]
    fn a_view_outside_its_slice_is_refused() {
        let _ = View::new(&[0.0; 5], 2, 3, 3);
    }
}
