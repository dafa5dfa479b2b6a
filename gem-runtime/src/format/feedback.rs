//! Error feedback: a row's codes one column after the other, each rounding error passed on to the columns after it, so
//! that what changes is the row least in its products with the inputs it will meet.
//!
//! With `H` the mean of `x xᵀ` over inputs and `H = M diag(d) Mᵀ`, `M` unit upper triangular, a row `w` rounded to `q` costs
//! `(w - q) H (w - q)ᵀ = Σ d_k ((w - q) M)_k²`. Column k is rounded when all columns before it are, so its term is only
//! the error of rounding `w_k + Σ_{j<k} (w_j - q_j) M_jk`. This is GPTQ (arXiv 2210.17323) in the form of LDLQ (arXiv
//! 2307.13304). Block scales are fitted to what is left to be rounded, not to the original weights; the row scale is the
//! least-squares one under `H`. Then codes and block scales are moved one at a time to where `H` wants them given all the
//! others (coordinate descent, as in QuantEase, arXiv 2309.01885): a column is no longer rounded blind to those after it.

use alloc::vec::Vec;

use super::grid::Grid;
use super::quantise::{NormalisedRow, QuantisedRow};
use super::search::{self, Sums};
use super::{BLOCK, Codec, with_grid};

/// Times that codes and row scale are fitted in turn.
const PASSES: usize = 2;

/// Times that every block is moved to its best place among the others.
const SWEEPS: usize = 4;

/// In so many of them, the first ones, with its scale.
const RESCALES: usize = 2;

/// Times that the codes of a block are moved one after the other.
const CODE_ROUNDS: usize = 2;

/// What is known of the inputs of a matrix.
#[derive(Clone, Copy, Debug)]
pub struct Factor<'a> {
    /// Diagonal of H: one mean square per column.
    pub importance: &'a [f32],
    /// H within each block of 32 columns, block after block, `[32, 32]` each; zero in the padding.
    pub blocks: &'a [f32],
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
    /// H within a block.
    fn block(&self, block: usize) -> &[[f32; BLOCK]; BLOCK] {
        let rows: &[[f32; BLOCK]] = self.blocks.as_chunks().0;
        &rows.as_chunks().0[block]
    }

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
    /// `(w - q) M diag(d)`.
    pull: Vec<f32>,
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
            && factor.panels.len() == panels_len(cols)
            && factor.blocks.len() == cols.div_ceil(BLOCK) * BLOCK * BLOCK,
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
    descend::<G>(factor, scratch, best_scale, out);
    let (_, best_scale) = of_codes::<G>(out, factor, scratch, best_scale);
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

/// Moves the codes and scale of one block after the other to where they are best given all others.
#[inline(always)]
fn descend<G: Grid>(
    factor: &Factor<'_>,
    scratch: &mut FeedbackScratch,
    row_scale: f32,
    out: &mut QuantisedRow,
) {
    let _ = of_codes::<G>(out, factor, scratch, row_scale);
    let reached = scratch.target.iter().zip(&scratch.reached);
    scratch.pull.clear();
    let pull = reached.zip(factor.diagonal).map(|((t, r), d)| d * (t - row_scale * r));
    scratch.pull.extend(pull);
    for sweep in 0..SWEEPS {
        let mut moved = false;
        for block in 0..out.scales.len() {
            if G::scale(out.scales[block]) != 0 {
                let rescale = sweep < RESCALES;
                moved |= improve::<G>(factor, &mut scratch.pull, row_scale, block, rescale, out);
            }
        }
        if !moved {
            break;
        }
    }
}

/// A block's codes and scale, and what is left to be pulled at.
#[derive(Clone, Copy)]
struct Place {
    byte: u8,
    codes: [i8; BLOCK],
    /// In units of the row scale.
    values: [f32; BLOCK],
    /// Half the fall of the error per step of each weight.
    gradient: [f32; BLOCK],
}

impl Place {
    /// The same values, as nearly as another scale byte can have them, then its best codes one after the other.
    #[inline(always)]
    fn moved<G: Grid>(
        &self,
        byte: u8,
        h: &[[f32; BLOCK]; BLOCK],
        row_scale: f32,
        width: usize,
    ) -> Self {
        let mut place = Self { byte, ..*self };
        let scale = G::scale(byte);
        let shift = (G::SHIFT * i32::from(byte & 1)) as f32;
        let inverse = 1.0 / scale as f32;
        let start = usize::from(byte == self.byte);
        for round in start..=CODE_ROUNDS {
            for (i, row) in h.iter().enumerate().take(width) {
                let step = if round == 0 {
                    0.0
                } else {
                    place.gradient[i] / (row_scale * row[i])
                };
                let code = G::nearest((place.values[i] + step) * inverse - shift);
                let value = (scale * G::value(code, byte)) as f32;
                let change = row_scale * (value - place.values[i]);
                // With another scale, another code can stand for the same value.
                place.codes[i] = code;
                if change != 0.0 {
                    place.values[i] = value;
                    add(&mut place.gradient, -change, row);
                }
            }
        }
        debug_assert!(
            (0..width).all(|i| place.values[i] == (scale * G::value(place.codes[i], byte)) as f32),
            "values are those of the codes"
        );
        place
    }

    /// How much lower the error is than at another place.
    #[inline(always)]
    fn gain(&self, from: &Self, row_scale: f32) -> f32 {
        let sums = core::array::from_fn(|i| {
            let change = row_scale * (self.values[i] - from.values[i]);
            change * (from.gradient[i] + self.gradient[i])
        });
        total(&sums)
    }
}

/// Moves a block to its best codes, with the scale it has or one near the best scale for its codes; says whether it moved.
#[inline(always)]
fn improve<G: Grid>(
    factor: &Factor<'_>,
    pull: &mut [f32],
    row_scale: f32,
    block: usize,
    rescale: bool,
    out: &mut QuantisedRow,
) -> bool {
    let start = block * BLOCK;
    let width = BLOCK.min(pull.len() - start);
    let h = factor.block(block);
    let byte = out.scales[block];
    let (mut values, mut codes) = ([0.0; BLOCK], [G::PADDING; BLOCK]);
    codes[..width].copy_from_slice(&out.codes[start..start + width]);
    for i in 0..width {
        values[i] = (G::scale(byte) * G::value(codes[i], byte)) as f32;
    }
    let gradient = gradient(factor, pull, block);
    let from = Place { byte, codes, values, gradient };
    let mut best = from.moved::<G>(byte, h, row_scale, width);
    let mut gain = best.gain(&from, row_scale);
    if rescale {
        let ideal = G::scale(byte) as f32 * (1.0 + stretch(&from, h, row_scale));
        for offset in -1..=1 {
            for shifted in [false, true] {
                let other = G::byte(ideal, offset, shifted);
                let usable = ideal.is_finite() && (ideal > 0.0 || !G::UNSIGNED);
                if other == byte || !usable || (shifted && G::SHIFT == 0) {
                    continue;
                }
                let place = from.moved::<G>(other, h, row_scale, width);
                let found = place.gain(&from, row_scale);
                if found > gain {
                    (best, gain) = (place, found);
                }
            }
        }
    }
    if gain <= 0.0 {
        return false;
    }
    out.scales[block] = best.byte;
    out.codes[start..start + width].copy_from_slice(&best.codes[..width]);
    let changes = core::array::from_fn(|i| row_scale * (best.values[i] - values[i]));
    for (at, pull) in pull.chunks_mut(BLOCK).enumerate().skip(block) {
        let mut sums = if at == block { changes } else { [0.0; BLOCK] };
        let rows = &factor.panel(at)[start..start + width];
        changes.iter().zip(rows).for_each(|(change, row)| add(&mut sums, *change, row));
        let diagonal = &factor.diagonal[at * BLOCK..];
        for ((pull, sum), d) in pull.iter_mut().zip(&sums).zip(diagonal) {
            *pull -= d * sum;
        }
    }
    true
}

/// `H (w - q)` in a block; zero in the padding.
#[inline(always)]
fn gradient(factor: &Factor<'_>, pull: &[f32], block: usize) -> [f32; BLOCK] {
    let start = block * BLOCK;
    let mut gradient = [0.0; BLOCK];
    let own = &pull[start..pull.len().min(start + BLOCK)];
    for (i, (gradient, own)) in gradient.iter_mut().zip(own).enumerate() {
        let mut sums = [0.0; BLOCK];
        for (at, pull) in pull.chunks(BLOCK).enumerate().skip(block) {
            let row = &factor.panel(at)[start + i];
            for ((sum, pull), m) in sums.iter_mut().zip(pull).zip(row) {
                *sum += pull * m;
            }
        }
        *gradient = own + total(&sums);
    }
    gradient
}

/// By what share a block's values are too small, all of them together.
#[inline(always)]
fn stretch(place: &Place, h: &[[f32; BLOCK]; BLOCK], row_scale: f32) -> f32 {
    let mut product = [0.0; BLOCK];
    place.values.iter().zip(h).for_each(|(value, row)| add(&mut product, *value, row));
    let along = core::array::from_fn(|i| place.values[i] * place.gradient[i]);
    let square = core::array::from_fn(|i| place.values[i] * product[i]);
    total(&along) / (row_scale * total(&square))
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
