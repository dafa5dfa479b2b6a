//! Second moments of a unit's inputs -> what error feedback needs: `H = M diag(d) Mᵀ`, `M` unit upper triangular.
//!
//! In f64, every sum in a fixed order, so that the codes do not depend on the machine.

use gemc_format::{BLOCK, Factor, panels_len};
use rayon::prelude::*;

/// Share of the mean of H's diagonal that is added to it: what the calibration text did not show is not free.
pub const DAMPING: f64 = 0.01;

/// A pivot below is lost to rounding: with damping none is in exact arithmetic.
const LEAST_PIVOT: f64 = 1e-9;

/// An owned [`Factor`].
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    importance: Vec<f32>,
    blocks: Vec<f32>,
    order: Vec<u32>,
    places: Vec<u32>,
    panels: Vec<f32>,
    diagonal: Vec<f32>,
}

impl Moments {
    /// Factorises `h`, `[n, n]`, symmetric and positive semidefinite, up to a factor, with `ridge` times the mean of its
    /// diagonal added to it beside [`DAMPING`]. Zero moments give the identity, so that nothing is carried.
    ///
    /// # Panics
    /// When `h` is not `n * n` long.
    #[must_use]
    pub fn new(h: &[f32], n: usize, ridge: f64) -> Self {
        assert_eq!(h.len(), n * n, "a square matrix");
        let trace: f64 = (0..n).map(|i| f64::from(h[i * n + i])).sum();
        let mean = trace / n.max(1) as f64;
        let scale = if mean > 0.0 && mean.is_finite() {
            1.0 / mean
        } else {
            0.0
        };
        let mut a: Vec<f64> = h.par_iter().map(|v| f64::from(*v) * scale).collect();
        for i in 0..n {
            a[i * n + i] += if scale == 0.0 { 1.0 } else { DAMPING + ridge };
        }
        let importance = (0..n).map(|i| a[i * n + i] as f32).collect();
        let blocks = diagonal_blocks(&a, n);
        let (order, diagonal) = factorise(&mut a, n);
        let mut places = vec![0; n];
        for (place, col) in order.iter().enumerate() {
            places[*col as usize] = place as u32;
        }
        Self {
            importance,
            blocks,
            panels: panels(&a, &order, &diagonal),
            order,
            places,
            diagonal: diagonal.iter().map(|d| *d as f32).collect(),
        }
    }

    /// For the rounding of rows.
    #[must_use]
    pub fn factor(&self) -> Factor<'_> {
        Factor {
            importance: &self.importance,
            blocks: &self.blocks,
            order: &self.order,
            places: &self.places,
            panels: &self.panels,
            diagonal: &self.diagonal,
        }
    }

    /// `Σ d` over the trace of H: about what feedback leaves of the error of columns rounded each by itself.
    #[must_use]
    pub fn left(&self) -> f64 {
        let sum = |values: &[f32]| values.iter().map(|v| f64::from(*v)).sum::<f64>();
        sum(&self.diagonal) / sum(&self.importance)
    }

    /// Diagonal of H.
    #[must_use]
    pub fn importance(&self) -> &[f32] {
        &self.importance
    }
}

/// The blocks of 32 on the diagonal, padded with zeros.
fn diagonal_blocks(a: &[f64], n: usize) -> Vec<f32> {
    let mut blocks = vec![0.0; n.div_ceil(BLOCK) * BLOCK * BLOCK];
    for i in 0..n {
        let start = i / BLOCK * BLOCK;
        let row = &mut blocks[i * BLOCK..][..BLOCK];
        for (value, h) in row
            .iter_mut()
            .zip(&a[i * n + start..][..BLOCK.min(n - start)])
        {
            *value = *h as f32;
        }
    }
    blocks
}

/// The order in which columns are best rounded, and d in that order. The lower triangle of `a` is overwritten: where columns j
/// and k meet, k rounded later, it is `d_k M_jk`.
///
/// Rounding column by column, later columns are adjusted to make up for the errors of earlier ones. `d_j` is the share of the
/// squared error of column j that this cannot remove; nothing follows the last column, so its d is its whole mean square. The
/// product of all d does not depend on the order (it is the determinant), so their sum is least where they are most equal.
/// Greedily, the column with the least d of those left is rounded last, then the one before it, and so on (the order of V-BLAST,
/// Wolniansky et al. 1998).
fn factorise(a: &mut [f64], n: usize) -> (Vec<u32>, Vec<f64>) {
    let (mut order, mut diagonal) = (vec![0; n], vec![0.0; n]);
    let mut left: Vec<bool> = vec![true; n];
    let mut row = vec![0.0; n];
    for place in (0..n).rev() {
        let of = |k: &usize| a[k * n + k];
        let least = (0..n)
            .filter(|k| left[*k])
            .min_by(|j, k| of(j).total_cmp(&of(k)));
        // As many columns are left as places.
        let k = least.unwrap_or_default();
        left[k] = false;
        // Damping keeps pivots above the rounding of f32 moments; where one is lost to it all the same (a few very long rows over
        // many columns), damping is all that is known of its column: it is taken for independent.
        let own = a[k * n + k];
        let lost = own.is_nan() || own < LEAST_PIVOT;
        let pivot = if lost { DAMPING } else { own };
        (order[place], diagonal[place]) = (k as u32, pivot);
        for (j, value) in row.iter_mut().enumerate() {
            let meet = &mut a[j.max(k) * n + j.min(k)];
            *value = if left[j] && !lost { *meet } else { 0.0 };
            if left[j] {
                *meet = *value;
            }
        }
        let (row, left) = (&row, &left);
        let rows = a.par_chunks_mut(n).enumerate().with_min_len(64);
        rows.filter(|(j, _)| left[*j]).for_each(|(j, values)| {
            let share = row[j] / pivot;
            for (value, x) in values[..=j].iter_mut().zip(row) {
                *value -= share * x;
            }
        });
    }
    (order, diagonal)
}

/// M as [`Factor`] has it, of what [`factorise`] leaves.
fn panels(a: &[f64], order: &[u32], diagonal: &[f64]) -> Vec<f32> {
    let n = order.len();
    let mut panels = Vec::with_capacity(panels_len(n));
    for start in (0..n).step_by(BLOCK) {
        for j in 0..start + BLOCK {
            let above = |k: usize| {
                if j < k && k < n {
                    let (row, col) = (order[j] as usize, order[k] as usize);
                    (a[row.max(col) * n + row.min(col)] / diagonal[k]) as f32
                } else {
                    0.0
                }
            };
            panels.extend((start..start + BLOCK).map(above));
        }
    }
    panels
}
