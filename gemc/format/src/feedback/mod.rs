//! Error feedback: a row's codes chosen so that what changes least is the row's products with the inputs it will meet.
//!
//! With `H` the mean of `x xᵀ` over inputs, its columns in some order, and `H = M diag(d) Mᵀ`, `M` unit upper triangular, a
//! row `w` rounded to `q` costs `(w - q) H (w - q)ᵀ = Σ d_k ((w - q) M)_k²`. A column rounded when all before it are has only the
//! error of rounding `w_k + Σ_{j<k} (w_j - q_j) M_jk` in its term: GPTQ (arXiv 2210.17323) in the form of LDLQ (arXiv
//! 2307.13304). Block scales start as those of the search. Then [`descent`] moves scales and codes to where `H` wants them given
//! all others, and a [`beam`] rounds all columns anew for the scales found, in turn.

mod beam;
mod descent;
#[cfg(test)]
mod tests;

use beam::Beam;

use super::grid::Grid;
use super::quantise::{NormalisedRow, QuantisedRow, refitted};
use super::search;
use super::{BLOCK, Codec, with_grid};

/// Times that all columns are rounded anew; before each and after the last, every block is moved once.
const ROUNDS: usize = 2;

/// What is known of the inputs of a matrix. Columns stand in their own order in `importance` and `blocks`, in the order of
/// rounding in `panels` and `diagonal`.
#[derive(Clone, Copy, Debug)]
pub struct Factor<'a> {
    /// Diagonal of H: one mean square per column.
    pub importance: &'a [f32],
    /// H within each block of 32 columns, block after block, `[32, 32]` each; zero in the padding.
    pub blocks: &'a [f32],
    /// Which column is rounded at each place.
    pub order: &'a [u32],
    /// At which place each column is rounded.
    pub places: &'a [u32],
    /// M above its diagonal, by panels of 32 places: panel b has `32 (b + 1)` rows of 32, zero on and below the diagonal
    /// and in the padding; see [`panels_len`].
    pub panels: &'a [f32],
    /// d, one per place: positive, of about 1 in the mean.
    pub diagonal: &'a [f32],
}

/// Floats of the panels of so many columns.
#[must_use]
pub const fn panels_len(cols: usize) -> usize {
    let blocks = cols.div_ceil(BLOCK);
    BLOCK * BLOCK * (blocks * (blocks + 1) / 2)
}

impl Factor<'_> {
    /// H within a block.
    fn block(&self, block: usize) -> &[[f32; BLOCK]; BLOCK] {
        let rows: &[[f32; BLOCK]] = self.blocks.as_chunks().0;
        &rows.as_chunks().0[block]
    }

    /// M above the diagonal at the places of a panel, row after row.
    fn panel(&self, panel: usize) -> &[[f32; BLOCK]] {
        let rows = self.panels[panels_len(panel * BLOCK)..].as_chunks().0;
        &rows[..(panel + 1) * BLOCK]
    }
}

/// Reused from row to row.
#[derive(Clone, Debug, Default)]
pub struct FeedbackScratch {
    /// `w M`, of the normalised row.
    target: Vec<f32>,
    /// `q M`, in units of the row scale.
    reached: Vec<f32>,
    /// w or q, the latter in units of the row scale, in the order of rounding.
    values: Vec<f32>,
    /// `(w - q) M diag(d)`.
    pull: Vec<f32>,
    beam: Beam,
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
            && factor.order.len() == cols
            && factor.places.len() == cols
            && factor.diagonal.len() == cols
            && factor.panels.len() == panels_len(cols)
            && factor.blocks.len() == cols.div_ceil(BLOCK) * BLOCK * BLOCK,
        "a factor of the matrix's columns"
    );
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: just asked.
        return unsafe { with_avx2(codec, weights, factor, scratch, out) };
    }
    anywhere(codec, weights, factor, scratch, out);
}

/// The same operations in wider registers. Nothing is contracted or reassociated, so the bits are the same.
#[cfg(target_arch = "x86_64")]
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
pub(super) fn row<G: Grid>(
    weights: &[f32],
    factor: &Factor<'_>,
    scratch: &mut FeedbackScratch,
    out: &mut QuantisedRow,
) {
    search::row::<G>(weights, Some(factor.importance), out);
    let Some(row) = NormalisedRow::of::<G>(weights, &mut scratch.candidate) else {
        return;
    };
    let mut row_scale = row.normalised(out.row_scale);
    if row_scale == 0.0 {
        return;
    }
    scratch.values.clear();
    scratch
        .values
        .extend(factor.order.iter().map(|col| row.weight(*col as usize)));
    multiply(&scratch.values, factor, &mut scratch.target);
    (_, row_scale) = of_codes::<G>(out, factor, scratch, row_scale);
    for _ in 0..ROUNDS {
        descent::sweep::<G>(factor, scratch, row_scale, out);
        let (moved, scale) = of_codes::<G>(out, factor, scratch, row_scale);
        row_scale = scale;
        // Only the codes are another's.
        std::mem::swap(&mut out.codes, &mut scratch.candidate.codes);
        let (beam, target) = (&mut scratch.beam, &scratch.target);
        beam.round::<G>(factor, target, row_scale, &out.scales, &mut out.codes);
        let (anew, scale) = of_codes::<G>(out, factor, scratch, row_scale);
        if anew < moved {
            row_scale = scale;
        } else {
            std::mem::swap(&mut out.codes, &mut scratch.candidate.codes);
            let _ = of_codes::<G>(out, factor, scratch, row_scale);
        }
    }
    descent::sweep::<G>(factor, scratch, row_scale, out);
    let (_, row_scale) = of_codes::<G>(out, factor, scratch, row_scale);
    row.finish::<G>(row_scale, out);
}

/// Error and least-squares row scale of a row's codes; leaves what they reach.
#[inline(always)]
fn of_codes<G: Grid>(
    row: &QuantisedRow,
    factor: &Factor<'_>,
    scratch: &mut FeedbackScratch,
    row_scale: f32,
) -> (f32, f32) {
    scratch.values.clear();
    scratch.values.extend(factor.order.iter().map(|col| {
        let col = *col as usize;
        G::level(row.codes[col], row.scales[col / BLOCK])
    }));
    multiply(&scratch.values, factor, &mut scratch.reached);
    fit::<G>(factor, scratch, row_scale)
}

/// Error of what was reached with the best row scale, and that scale; the old one where there is no better.
#[inline(always)]
fn fit<G: Grid>(factor: &Factor<'_>, scratch: &FeedbackScratch, row_scale: f32) -> (f32, f32) {
    let (mut both, mut square, mut whole) = (0.0f64, 0.0f64, 0.0f64);
    let columns = scratch.target.iter().zip(&scratch.reached);
    for ((a, b), d) in columns.zip(factor.diagonal) {
        let (a, b, d) = (f64::from(*a), f64::from(*b), f64::from(*d));
        both += d * a * b;
        square += d * b * b;
        whole += d * a * a;
    }
    let scale = refitted::<G>((both / square) as f32, row_scale);
    let s = f64::from(scale);
    ((whole - 2.0 * s * both + s * s * square) as f32, scale)
}

/// `values M`.
#[inline(always)]
fn multiply(values: &[f32], factor: &Factor<'_>, out: &mut Vec<f32>) {
    out.clear();
    for panel in 0..values.len().div_ceil(BLOCK) {
        let start = panel * BLOCK;
        let width = BLOCK.min(values.len() - start);
        let mut sums = [0.0; BLOCK];
        for (value, row) in values.iter().zip(factor.panel(panel)) {
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

/// Sum of a block in a fixed tree.
#[inline(always)]
fn total(sums: &[f32; BLOCK]) -> f32 {
    let mut sums = *sums;
    let mut width = BLOCK / 2;
    while width > 0 {
        for i in 0..width {
            sums[i] += sums[i + width];
        }
        width /= 2;
    }
    sums[0]
}
