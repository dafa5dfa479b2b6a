//! One row of weights to codes, scale bytes and a row scale: plain rounding, and the frame of the search.
//!
//! Rows are first multiplied by a power of two that brings their largest magnitude to [1, 4), which is exact, so that
//! no intermediate sum can overflow or vanish, whatever the weights.

use super::grid::Grid;
use super::{BLOCK, Codec, Scales, search, with_grid};

/// How block scales are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Rounding {
    /// From the largest magnitude of each block.
    #[default]
    Plain,
    /// By trying scales around it, for the least weighted squared error.
    Search,
}

/// A quantised row, padded to whole blocks. Reused from row to row, it also owns the scratch memory.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QuantisedRow {
    /// Codes, 32 per block.
    pub codes: Vec<i8>,
    /// Scale byte of each block.
    pub scales: Vec<u8>,
    /// Factor of the whole row; 0 for a row of zeros, 1 of codecs without row scales.
    pub row_scale: f32,
    /// Real block scales before rounding.
    pub(super) fits: Vec<f32>,
}

impl QuantisedRow {
    /// The weight of a column: `row_scale * (s * v)`.
    #[must_use]
    pub fn weight(&self, codec: Codec, col: usize) -> f32 {
        let byte = self.scales[col / BLOCK];
        self.row_scale * codec.level(self.codes[col], byte)
    }

    fn reset<G: Grid>(&mut self, blocks: usize) {
        self.codes.clear();
        self.codes.resize(blocks * BLOCK, G::PADDING);
        self.scales.clear();
        self.scales.resize(blocks, G::zero_byte());
        self.row_scale = match G::SCALES {
            Scales::Integers { .. } => 0.0,
            Scales::PowersOfTwo { .. } => 1.0,
        };
        self.fits.clear();
        self.fits.resize(blocks, 0.0);
    }
}

/// Quantises one row.
///
/// `importance` is a weight per column for the squared error the search minimises (the mean square of the column's
/// activation, say); without it large weights count for more. Plain rounding does not read it. Weights must be finite.
/// A row whose row scale would be below the smallest normal f32 becomes zeros.
///
/// # Panics
/// When `importance` has another length than `weights`.
pub fn quantise_row(
    codec: Codec,
    weights: &[f32],
    importance: Option<&[f32]>,
    rounding: Rounding,
    out: &mut QuantisedRow,
) {
    if let Some(importance) = importance {
        assert_eq!(importance.len(), weights.len(), "one importance per column");
    }
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: just asked.
        return unsafe { with_avx2(codec, weights, importance, rounding, out) };
    }
    anywhere(codec, weights, importance, rounding, out);
}

/// The same operations in wider registers. Nothing is contracted or reassociated, so the bits are the same.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn with_avx2(
    codec: Codec,
    weights: &[f32],
    importance: Option<&[f32]>,
    rounding: Rounding,
    out: &mut QuantisedRow,
) {
    anywhere(codec, weights, importance, rounding, out);
}

#[inline(always)]
pub(super) fn anywhere(
    codec: Codec,
    weights: &[f32],
    importance: Option<&[f32]>,
    rounding: Rounding,
    out: &mut QuantisedRow,
) {
    with_grid!(codec, G => match rounding {
        Rounding::Plain => plain::<G>(weights, out),
        Rounding::Search => search::row::<G>(weights, importance, out),
    });
}

#[inline(always)]
pub(super) fn plain<G: Grid>(weights: &[f32], out: &mut QuantisedRow) {
    let Some(row) = NormalisedRow::of::<G>(weights, out) else {
        return;
    };
    for (block, fit) in out.fits.iter_mut().enumerate() {
        *fit = end_scale::<G>(extreme(&row.block(block)));
    }
    let row_scale = row_scale_for::<G>(&row, &out.fits);
    for block in 0..out.fits.len() {
        let fit = out.fits[block];
        if fit != 0.0 {
            let byte = G::plain_byte(fit / row_scale);
            out.scales[block] = byte;
            let codes = &mut out.codes[block * BLOCK..][..BLOCK];
            round_block::<G>(&row.block(block), row_scale, byte, codes);
        }
    }
    row.finish::<G>(row_scale, out);
}

/// A row scale for these real scales of its blocks: the one that lets the largest stand at the largest integer, or 1 where rows
/// have none.
pub(super) fn row_scale_for<G: Grid>(row: &NormalisedRow<'_>, fits: &[f32]) -> f32 {
    match G::SCALES {
        Scales::Integers { most, .. } => {
            fits.iter().fold(0.0f32, |max, fit| max.max(fit.abs())) / most as f32
        }
        Scales::PowersOfTwo { .. } => row.normalised(1.0),
    }
}

/// The row scale that was found to be better, where rows have one.
pub(super) const fn refitted<G: Grid>(refit: f32, row_scale: f32) -> f32 {
    match G::SCALES {
        Scales::Integers { .. } if refit > 0.0 && refit.is_finite() => refit,
        Scales::Integers { .. } | Scales::PowersOfTwo { .. } => row_scale,
    }
}

/// Real block scale that puts the block's extreme at the first end of the grid.
fn end_scale<G: Grid>(extreme: f32) -> f32 {
    let extreme = if G::UNSIGNED { extreme.abs() } else { extreme };
    extreme / G::ENDS[0]
}

/// The value of largest magnitude, the first of equals.
#[inline(always)]
pub(super) fn extreme(x: &[f32; BLOCK]) -> f32 {
    x.iter().fold(
        0.0f32,
        |best, &v| if v.abs() > best.abs() { v } else { best },
    )
}

/// Codes of a block for a given row scale and scale byte.
#[inline(always)]
pub(super) fn round_block<G: Grid>(x: &[f32; BLOCK], row_scale: f32, byte: u8, codes: &mut [i8]) {
    let inverse = 1.0 / (row_scale * G::scale(byte));
    let shift = (G::SHIFT * i32::from(byte & 1)) as f32;
    for (code, x) in codes.iter_mut().zip(x) {
        *code = G::nearest(x * inverse - shift);
    }
}

/// A row times a power of two, read block by block.
pub(super) struct NormalisedRow<'a> {
    weights: &'a [f32],
    factor: f32,
    inverse_factor: f32,
}

impl<'a> NormalisedRow<'a> {
    /// Resets `out` to a row of zeros; `None` when that is already the answer.
    pub(super) fn of<G: Grid>(weights: &'a [f32], out: &mut QuantisedRow) -> Option<Self> {
        out.reset::<G>(weights.len().div_ceil(BLOCK));
        let max = weights.iter().fold(0.0f32, |max, w| max.max(w.abs()));
        if max < f32::MIN_POSITIVE {
            return None;
        }
        // Biased exponent 1..=254, held at 253 so that the factor's own is at least 1; an infinity stays in range too.
        let exponent = (max.to_bits() >> 23).min(253);
        Some(Self {
            weights,
            factor: f32::from_bits((254 - exponent) << 23),
            inverse_factor: f32::from_bits(exponent << 23),
        })
    }

    /// A block, normalised and padded with zeros.
    #[inline(always)]
    pub(super) fn block(&self, index: usize) -> [f32; BLOCK] {
        let mut x = [0.0; BLOCK];
        let start = index * BLOCK;
        let end = self.weights.len().min(start + BLOCK);
        for (x, w) in x.iter_mut().zip(&self.weights[start..end]) {
            *x = w * self.factor;
        }
        x
    }

    /// A weight, normalised.
    #[inline(always)]
    pub(super) fn weight(&self, col: usize) -> f32 {
        self.weights[col] * self.factor
    }

    /// A row scale as it is for the normalised row.
    pub(super) fn normalised(&self, row_scale: f32) -> f32 {
        row_scale * self.factor
    }

    /// Mean square of the normalised row.
    pub(super) fn mean_square(&self) -> f32 {
        let sum = self.weights.iter().fold(0.0f64, |sum, w| {
            let x = f64::from(w * self.factor);
            sum + x * x
        });
        (sum / self.weights.len() as f64) as f32
    }

    /// Undoes the normalisation: writes the row scale, if there is one, or zeros the row when it would be subnormal.
    pub(super) fn finish<G: Grid>(&self, row_scale: f32, out: &mut QuantisedRow) {
        let Scales::Integers { most, .. } = G::SCALES else {
            return;
        };
        let blocks = out.scales.len();
        // No weight of the row may become infinite by rounding.
        let largest = f32::MAX / 2.0 / (most * G::LARGEST) as f32;
        let row_scale = (row_scale * self.inverse_factor).min(largest);
        if row_scale < f32::MIN_POSITIVE {
            out.reset::<G>(blocks);
        } else {
            out.row_scale = row_scale;
        }
    }
}
