//! Error feedback: a row's codes one column after the other, each rounding error passed on to the columns after it, so
//! that what changes is the row least in its products with the inputs it will meet.
//!
//! With `H` the mean of `x xᵀ` over inputs and `H = M diag(d) Mᵀ`, `M` unit upper triangular, a row `w` rounded to `q` costs
//! `(w - q) H (w - q)ᵀ = Σ d_k ((w - q) M)_k²`. Column k is rounded when all columns before it are, so its term is only
//! the error of rounding `w_k + Σ_{j<k} (w_j - q_j) M_jk`. This is GPTQ (arXiv 2210.17323) in the form of LDLQ (arXiv
//! 2307.13304). Block scales are fitted to what is left to be rounded, not to the original weights; the row scale is the
//! least-squares one under `H`.

use alloc::vec::Vec;

use super::grid::Grid;
use super::quantise::{NormalisedRow, QuantisedRow};
use super::search::{self, Sums};
use super::{BLOCK, Codec, with_grid};

/// Times that codes and row scale are fitted in turn.
const PASSES: usize = 2;

/// What is known of the inputs of a matrix.
#[derive(Clone, Copy, Debug)]
pub struct Factor<'a> {
    /// Diagonal of H: one mean square per column.
    pub importance: &'a [f32],
    /// M above its diagonal, by blocks of 32 columns: block b has `32 (b + 1)` rows of 32, zero on and below the diagonal
    /// and in the padding; see [`panels_len`].
    pub panels: &'a [f32],
    /// d, one per column: positive, of about 1 in the mean.
    pub diagonal: &'a [f32],
}

/// Floats of the panels of so many columns.
#[must_use]
pub const fn panels_len(cols: usize) -> usize {
    let blocks = cols.div_ceil(BLOCK);
    BLOCK * BLOCK * (blocks * (blocks + 1) / 2)
}

impl Factor<'_> {
    /// M above the diagonal in the columns of a block, row after row.
    fn panel(&self, block: usize) -> &[[f32; BLOCK]] {
        let rows = self.panels[panels_len(block * BLOCK)..].as_chunks().0;
        &rows[..(block + 1) * BLOCK]
    }
}

/// Reused from row to row.
#[derive(Clone, Debug, Default)]
pub struct FeedbackScratch {
    /// `w M`, of the normalised row.
    target: Vec<f32>,
    /// `q M`, in units of the row scale.
    reached: Vec<f32>,
    /// q in units of the row scale.
    values: Vec<f32>,
    candidate: QuantisedRow,
}

/// Quantises one row with error feedback; never worse under `factor` than a search over scales with the row scale
/// refitted. Weights must be finite.
///
/// # Panics
/// When `factor` is of another number of columns.
pub fn quantise_row_with_feedback(
    codec: Codec,
    weights: &[f32],
    factor: &Factor<'_>,
    scratch: &mut FeedbackScratch,
    out: &mut QuantisedRow,
) {
    let cols = weights.len();
    assert!(
        factor.importance.len() == cols
            && factor.diagonal.len() == cols
            && factor.panels.len() == panels_len(cols),
        "a factor of the matrix's columns"
    );
    #[cfg(all(target_arch = "x86_64", feature = "std"))]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: just asked.
        return unsafe { with_avx2(codec, weights, factor, scratch, out) };
    }
    anywhere(codec, weights, factor, scratch, out);
}

/// The same operations in wider registers. Nothing is contracted or reassociated, so the bits are the same.
#[cfg(all(target_arch = "x86_64", feature = "std"))]
#[target_feature(enable = "avx2")]
fn with_avx2(
    codec: Codec,
    weights: &[f32],
    factor: &Factor<'_>,
    scratch: &mut FeedbackScratch,
    out: &mut QuantisedRow,
) {
    anywhere(codec, weights, factor, scratch, out);
}

#[inline(always)]
fn anywhere(
    codec: Codec,
    weights: &[f32],
    factor: &Factor<'_>,
    scratch: &mut FeedbackScratch,
    out: &mut QuantisedRow,
) {
    with_grid!(codec, G => row::<G>(weights, factor, scratch, out));
}

#[inline(always)]
fn row<G: Grid>(
    weights: &[f32],
    factor: &Factor<'_>,
    scratch: &mut FeedbackScratch,
    out: &mut QuantisedRow,
) {
    search::row::<G>(weights, Some(factor.importance), out);
    let Some(row) = NormalisedRow::of::<G>(weights, &mut scratch.candidate) else {
        return;
    };
    let blocks = scratch.candidate.fits.len();
    scratch.values.clear();
    for block in 0..blocks {
        let cols = BLOCK.min(weights.len() - block * BLOCK);
        scratch.values.extend_from_slice(&row.block(block)[..cols]);
    }
    multiply(&scratch.values, factor, &mut scratch.target);
    let start = row.normalised(out.row_scale);
    if start == 0.0 {
        return;
    }
    let (mut best, mut row_scale) = of_codes::<G>(out, factor, scratch, start);
    let mut best_scale = row_scale;
    for _ in 0..PASSES {
        pass::<G>(factor, scratch, row_scale);
        let (error, refitted) = fit(factor, scratch, row_scale);
        if error < best {
            (best, best_scale) = (error, refitted);
            core::mem::swap(&mut out.codes, &mut scratch.candidate.codes);
            core::mem::swap(&mut out.scales, &mut scratch.candidate.scales);
            scratch.candidate.codes.resize(blocks * BLOCK, G::PADDING);
        }
        row_scale = refitted;
    }
    row.finish::<G>(best_scale, out);
}

/// Error and least-squares row scale of codes that stand already.
#[inline(always)]
fn of_codes<G: Grid>(
    codes: &QuantisedRow,
    factor: &Factor<'_>,
    scratch: &mut FeedbackScratch,
    row_scale: f32,
) -> (f32, f32) {
    let cols = scratch.target.len();
    scratch.values.clear();
    scratch.values.extend((0..cols).map(|col| {
        let byte = codes.scales[col / BLOCK];
        (G::scale(byte) * G::value(codes.codes[col], byte)) as f32
    }));
    multiply(&scratch.values, factor, &mut scratch.reached);
    fit(factor, scratch, row_scale)
}

/// Rounds the row once, column after column, into the candidate; leaves `reached`.
#[inline(always)]
fn pass<G: Grid>(factor: &Factor<'_>, scratch: &mut FeedbackScratch, row_scale: f32) {
    let cols = scratch.target.len();
    scratch.values.clear();
    scratch.reached.clear();
    for block in 0..cols.div_ceil(BLOCK) {
        let start = block * BLOCK;
        let width = BLOCK.min(cols - start);
        // What the columns before the block leave to be rounded here.
        let panel = factor.panel(block);
        let mut carried = [0.0; BLOCK];
        for (value, row) in scratch.values.iter().zip(panel) {
            add(&mut carried, *value, row);
        }
        let (mut left, mut weight) = ([0.0; BLOCK], [0.0; BLOCK]);
        for i in 0..width {
            left[i] = scratch.target[start + i] - row_scale * carried[i];
            weight[i] = factor.diagonal[start + i];
        }
        let fit = search::best_fit::<G>(&left, &weight);
        let byte = search::best_byte::<G>(&left, &weight, fit, row_scale, &mut Sums::default());
        scratch.candidate.scales[block] = byte;
        let scale = G::scale(byte);
        let inverse = if fit == 0.0 { 0.0 } else { 1.0 / (row_scale * scale as f32) };
        let shift = (G::SHIFT * i32::from(byte & 1)) as f32;
        for i in 0..width {
            let before = carried[i];
            let code = if fit == 0.0 {
                G::PADDING
            } else {
                let wanted = scratch.target[start + i] - row_scale * before;
                G::nearest(wanted * inverse - shift)
            };
            let value = (scale * G::value(code, byte)) as f32;
            scratch.candidate.codes[start + i] = code;
            add(&mut carried, value, &panel[start + i]);
            scratch.values.push(value);
            scratch.reached.push(value + before);
        }
        for code in &mut scratch.candidate.codes[start + width..(block + 1) * BLOCK] {
            *code = G::PADDING;
        }
    }
}

/// Error of what was reached with the best row scale, and that scale; the old one where there is no better.
#[inline(always)]
fn fit(factor: &Factor<'_>, scratch: &FeedbackScratch, row_scale: f32) -> (f32, f32) {
    let (mut both, mut square, mut whole) = (0.0f64, 0.0f64, 0.0f64);
    let columns = scratch.target.iter().zip(&scratch.reached);
    for ((a, b), d) in columns.zip(factor.diagonal) {
        let (a, b, d) = (f64::from(*a), f64::from(*b), f64::from(*d));
        both += d * a * b;
        square += d * b * b;
        whole += d * a * a;
    }
    let refitted = (both / square) as f32;
    let usable = refitted > 0.0 && refitted.is_finite();
    let scale = if usable { refitted } else { row_scale };
    let s = f64::from(scale);
    ((whole - 2.0 * s * both + s * s * square) as f32, scale)
}

/// `values M`.
#[inline(always)]
fn multiply(values: &[f32], factor: &Factor<'_>, out: &mut Vec<f32>) {
    out.clear();
    for block in 0..values.len().div_ceil(BLOCK) {
        let start = block * BLOCK;
        let width = BLOCK.min(values.len() - start);
        let mut sums = [0.0; BLOCK];
        for (value, row) in values.iter().zip(factor.panel(block)) {
            add(&mut sums, *value, row);
        }
        let own = &values[start..start + width];
        out.extend(own.iter().zip(sums).map(|(value, carried)| value + carried));
    }
}

/// Adds a multiple of a row to sums.
#[inline(always)]
fn add(sums: &mut [f32; BLOCK], factor: f32, row: &[f32; BLOCK]) {
    for (sum, x) in sums.iter_mut().zip(row) {
        *sum += factor * x;
    }
}
