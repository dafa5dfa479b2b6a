//! Scale search: per block, candidate scales around the extreme by weighted least squares, then the row's rounding of
//! scales to bytes with their neighbours, and a least-squares row scale. The idea of trying scales around the extreme
//! and both signs is llama.cpp's and ik_llama.cpp's (`iqk_quantize.cpp`).

use super::BLOCK;
use super::grid::Grid;
use super::quantise::{NormalisedRow, QuantisedRow, extreme, refitted, round_block, row_scale_for};

/// Times that scale bytes, codes and the row scale are fitted in turn.
const ROUNDS: usize = 2;

/// Share of the mean importance that every column gets: columns that calibration never saw still count a little.
const DAMPING: f32 = 0.01;

pub(super) type Lanes = [f32; BLOCK];

/// Quantises a row for the least weighted squared error.
#[inline(always)]
pub(super) fn row<G: Grid>(weights: &[f32], importance: Option<&[f32]>, out: &mut QuantisedRow) {
    let Some(row) = NormalisedRow::of::<G>(weights, out) else {
        return;
    };
    let weighing = Weighing::new(&row, importance);
    for (block, fit) in out.fits.iter_mut().enumerate() {
        let x = row.block(block);
        *fit = best_fit::<G>(&x, &weighing.block(block, &x));
    }
    let mut row_scale = row_scale_for::<G>(&row, &out.fits);
    for _ in 0..ROUNDS {
        let mut sums = Sums::default();
        for block in 0..out.fits.len() {
            let x = row.block(block);
            let w = weighing.block(block, &x);
            let codes = &mut out.codes[block * BLOCK..][..BLOCK];
            out.scales[block] = best_byte::<G>(&x, &w, out.fits[block], row_scale, &mut sums);
            if out.fits[block] != 0.0 {
                round_block::<G>(&x, row_scale, out.scales[block], codes);
            }
        }
        row_scale = refitted::<G>(sums.refit(), row_scale);
    }
    row.finish::<G>(row_scale, out);
}

/// Error weight of each column.
struct Weighing<'a> {
    importance: Option<&'a [f32]>,
    /// With importance: its inverse mean. Without: the row's mean square.
    scale: f32,
}

impl<'a> Weighing<'a> {
    fn new(row: &NormalisedRow<'_>, importance: Option<&'a [f32]>) -> Self {
        if let Some(h) = importance {
            let mean = h.iter().fold(0.0f64, |sum, &h| sum + f64::from(h)) / h.len() as f64;
            let scale = (1.0 / mean) as f32;
            if mean > 0.0 && scale > 0.0 && scale.is_finite() {
                return Self { importance, scale };
            }
        }
        Self {
            importance: None,
            scale: row.mean_square(),
        }
    }

    /// Weights of a block; zero in the padding.
    #[inline(always)]
    fn block(&self, block: usize, x: &Lanes) -> Lanes {
        let mut w = [0.0; BLOCK];
        match self.importance {
            Some(h) => {
                let h = &h[block * BLOCK..h.len().min((block + 1) * BLOCK)];
                for (w, h) in w.iter_mut().zip(h) {
                    *w = h * self.scale + DAMPING;
                }
            }
            None => {
                for (w, x) in w.iter_mut().zip(x) {
                    *w = 2.0 * self.scale + x * x;
                }
            }
        }
        w
    }
}

/// The real scale whose nearest codes explain most of the block; 0 for a block of zeros.
#[inline(always)]
pub(super) fn best_fit<G: Grid>(x: &Lanes, w: &Lanes) -> f32 {
    let extreme = extreme(x);
    let extreme = if G::UNSIGNED { extreme.abs() } else { extreme };
    if extreme == 0.0 {
        return 0.0;
    }
    let mut best = Fit::default();
    for &end in G::ENDS {
        for i in -G::TRIES..=G::TRIES {
            let inverse = end * (1.0 + i as f32 * G::STEP) / extreme;
            best.challenge::<G>(x, w, inverse);
        }
    }
    for side in [-0.5, 0.5] {
        let inverse = best.inverse * (1.0 + side * G::STEP);
        best.challenge::<G>(x, w, inverse);
    }
    best.scale
}

/// The best scale so far.
#[derive(Default)]
struct Fit {
    /// The part of the block's energy that it explains.
    gain: f32,
    /// What weights were multiplied with to find their codes.
    inverse: f32,
    scale: f32,
}

impl Fit {
    /// Takes over the least-squares scale of the codes that `inverse` gives, if it explains more.
    #[inline(always)]
    fn challenge<G: Grid>(&mut self, x: &Lanes, w: &Lanes, inverse: f32) {
        for shift in shifts::<G>() {
            let (xv, vv) = moments::<G>(x, w, inverse, shift);
            let (gain, scale) = (xv * xv / vv, xv / vv);
            if gain > self.gain && (scale > 0.0 || !G::UNSIGNED) {
                *self = Self {
                    gain,
                    inverse,
                    scale,
                };
            }
        }
    }
}

#[inline(always)]
fn shifts<G: Grid>() -> impl Iterator<Item = f32> {
    [0.0, G::SHIFT as f32]
        .into_iter()
        .take(if G::SHIFT == 0 { 1 } else { 2 })
}

/// The scale byte, among the neighbours of `fit`, with the least weighted error; adds its moments to `sums`.
#[inline(always)]
pub(super) fn best_byte<G: Grid>(
    x: &Lanes,
    w: &Lanes,
    fit: f32,
    row_scale: f32,
    sums: &mut Sums,
) -> u8 {
    if fit == 0.0 {
        return G::zero_byte();
    }
    let ideal = fit / row_scale;
    let mut best = (f32::INFINITY, G::byte(ideal, 0, false), 0.0, 0.0);
    for offset in -1..=1 {
        for shift in shifts::<G>() {
            let byte = G::byte(ideal, offset, shift != 0.0);
            let scale = row_scale * G::scale(byte);
            let (xv, vv) = moments::<G>(x, w, 1.0 / scale, shift);
            // Less the block's energy, which is the same for all.
            let error = scale * (scale * vv - 2.0 * xv);
            if error < best.0 {
                best = (error, byte, xv, vv);
            }
        }
    }
    let (_, byte, xv, vv) = best;
    sums.add(G::scale(byte), xv, vv);
    byte
}

/// `sum(w x v)` and `sum(w v v)` over the values nearest to `x * inverse`; eight partial sums and a fixed tree.
#[inline(always)]
fn moments<G: Grid>(x: &Lanes, w: &Lanes, inverse: f32, shift: f32) -> (f32, f32) {
    let values = G::nearest_values(&x.map(|x| x * inverse - shift));
    let (mut xv, mut vv) = ([0.0f32; 8], [0.0f32; 8]);
    let blocks = x.as_chunks::<8>().0.iter().zip(w.as_chunks::<8>().0);
    for ((x, w), v) in blocks.zip(values.as_chunks::<8>().0) {
        for lane in 0..8 {
            let v = v[lane] + shift;
            let wv = w[lane] * v;
            xv[lane] += wv * x[lane];
            vv[lane] += wv * v;
        }
    }
    (sum(xv), sum(vv))
}

#[inline(always)]
fn sum(a: [f32; 8]) -> f32 {
    ((a[0] + a[4]) + (a[2] + a[6])) + ((a[1] + a[5]) + (a[3] + a[7]))
}

/// Moments of a whole row in units of the row scale.
#[derive(Default)]
pub(super) struct Sums {
    xv: f64,
    vv: f64,
}

impl Sums {
    fn add(&mut self, scale: f32, xv: f32, vv: f32) {
        let scale = f64::from(scale);
        self.xv += scale * f64::from(xv);
        self.vv += scale * scale * f64::from(vv);
    }

    /// The least-squares row scale for these codes; no number when there is none.
    fn refit(&self) -> f32 {
        (self.xv / self.vv) as f32
    }
}
