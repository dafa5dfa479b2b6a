//! Second moments of a unit's inputs -> what error feedback needs: `H = M diag(d) Mᵀ`, `M` unit upper triangular.
//!
//! In f64, every sum in a fixed order, so that the codes do not depend on the machine.

use gem_runtime::format::{BLOCK, Factor, panels_len};
use rayon::prelude::*;

/// Share of the mean of H's diagonal that is added to it: what the calibration text did not show is not free.
pub const DAMPING: f64 = 0.01;

/// An owned [`Factor`].
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    importance: Vec<f32>,
    blocks: Vec<f32>,
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
        let diagonal = factorise(&mut a, n);
        let mut panels = Vec::with_capacity(panels_len(n));
        for block in 0..n.div_ceil(BLOCK) {
            let start = block * BLOCK;
            for j in 0..start + BLOCK {
                let above = |k: usize| {
                    if j < k && k < n {
                        a[j * n + k] as f32
                    } else {
                        0.0
                    }
                };
                panels.extend((start..start + BLOCK).map(above));
            }
        }
        Self {
            importance,
            blocks,
            panels,
            diagonal,
        }
    }

    /// For the rounding of rows.
    #[must_use]
    pub fn factor(&self) -> Factor<'_> {
        Factor {
            importance: &self.importance,
            blocks: &self.blocks,
            panels: &self.panels,
            diagonal: &self.diagonal,
        }
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

/// Overwrites the upper triangle of `a` by M (its unit diagonal not stored) and gives d. Column n-1 comes first.
fn factorise(a: &mut [f64], n: usize) -> Vec<f32> {
    let mut diagonal = vec![0.0; n];
    let mut scaled = vec![0.0; n];
    for k in (0..n).rev() {
        let (above, from_k) = a.split_at_mut(k * n);
        let row = &from_k[..n];
        for j in k + 1..n {
            scaled[j] = row[j] * diagonal[j];
        }
        let pivot = row[k] - dot(&row[k + 1..], &scaled[k + 1..]);
        // Damping keeps pivots far above the rounding of the sums; were one lost to it all the same, its column is taken
        // for independent.
        let pivot = if pivot > 1e-9 { pivot } else { 1e-9 };
        diagonal[k] = pivot;
        let scaled = &scaled;
        above.par_chunks_mut(n).with_min_len(64).for_each(|row| {
            row[k] = (row[k] - dot(&row[k + 1..], &scaled[k + 1..])) / pivot;
        });
    }
    diagonal.iter().map(|d| *d as f32).collect()
}

/// Eight partial sums and a fixed tree.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (whole_a, rest_a) = a.as_chunks::<8>();
    let (whole_b, rest_b) = b.as_chunks::<8>();
    for (a, b) in whole_a.iter().zip(whole_b) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    for (lane, (a, b)) in rest_a.iter().zip(rest_b).enumerate() {
        sums[lane] += a * b;
    }
    ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]))
}
