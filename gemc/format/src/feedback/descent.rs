//! Codes and scale of one block after the other, moved to where `H` wants them given all the others: coordinate descent, as in
//! QuantEase (arXiv 2309.01885). A column is no longer rounded blind to those after it.

use super::{Factor, FeedbackScratch, add, total};
use crate::BLOCK;
use crate::grid::Grid;
use crate::quantise::QuantisedRow;

/// Times that the codes of a block are moved one after the other.
const CODE_ROUNDS: usize = 2;

/// Moves every block once. `scratch` holds what the codes reach.
#[inline(always)]
pub(super) fn sweep<G: Grid>(
    factor: &Factor<'_>,
    scratch: &mut FeedbackScratch,
    row_scale: f32,
    out: &mut QuantisedRow,
) {
    let reached = scratch.target.iter().zip(&scratch.reached);
    scratch.pull.clear();
    let pull = reached
        .zip(factor.diagonal)
        .map(|((t, r), d)| d * (t - row_scale * r));
    scratch.pull.extend(pull);
    for block in 0..out.scales.len() {
        if G::scale(out.scales[block]) != 0.0 {
            improve::<G>(factor, &mut scratch.pull, row_scale, block, out);
        }
    }
}

/// A block's codes and scale, and what is left to be pulled at.
#[derive(Clone, Copy)]
struct Candidate {
    byte: u8,
    codes: [i8; BLOCK],
    /// In units of the row scale.
    values: [f32; BLOCK],
    /// Half the fall of the error per step of each weight.
    gradient: [f32; BLOCK],
}

impl Candidate {
    /// The same values, as nearly as another scale byte can have them, then its best codes one after the other.
    #[inline(always)]
    fn moved<G: Grid>(
        &self,
        byte: u8,
        h: &[[f32; BLOCK]; BLOCK],
        row_scale: f32,
        width: usize,
    ) -> Self {
        let mut to = Self { byte, ..*self };
        let shift = (G::SHIFT * i32::from(byte & 1)) as f32;
        let inverse = 1.0 / G::scale(byte);
        let start = usize::from(byte == self.byte);
        for round in start..=CODE_ROUNDS {
            for (i, row) in h.iter().enumerate().take(width) {
                let step = if round == 0 {
                    0.0
                } else {
                    to.gradient[i] / (row_scale * row[i])
                };
                let code = G::nearest((to.values[i] + step) * inverse - shift);
                let value = G::level(code, byte);
                let change = row_scale * (value - to.values[i]);
                // With another scale, another code can stand for the same value.
                to.codes[i] = code;
                to.values[i] = value;
                if change != 0.0 {
                    add(&mut to.gradient, -change, row);
                }
            }
        }
        debug_assert!(
            (0..width).all(|i| to.values[i] == G::level(to.codes[i], byte)),
            "values are those of the codes"
        );
        to
    }

    /// How much lower the error is than with another.
    #[inline(always)]
    fn gain(&self, from: &Self, row_scale: f32) -> f32 {
        let sums = std::array::from_fn(|i| {
            let change = row_scale * (self.values[i] - from.values[i]);
            change * (from.gradient[i] + self.gradient[i])
        });
        total(&sums)
    }
}

/// Moves a block to its best codes, with the scale it has or one near the best scale for its codes.
#[inline(always)]
fn improve<G: Grid>(
    factor: &Factor<'_>,
    pull: &mut [f32],
    row_scale: f32,
    block: usize,
    out: &mut QuantisedRow,
) {
    let start = block * BLOCK;
    let width = BLOCK.min(pull.len() - start);
    let places = &factor.places[start..start + width];
    let h = factor.block(block);
    let byte = out.scales[block];
    let (mut values, mut codes) = ([0.0; BLOCK], [G::PADDING; BLOCK]);
    codes[..width].copy_from_slice(&out.codes[start..start + width]);
    for i in 0..width {
        values[i] = G::level(codes[i], byte);
    }
    let from = Candidate {
        byte,
        codes,
        values,
        gradient: gradient(factor, pull, places),
    };
    let mut best = from.moved::<G>(byte, h, row_scale, width);
    let mut gain = best.gain(&from, row_scale);
    let ideal = G::scale(byte) * (1.0 + stretch(&from, h, row_scale));
    for offset in -1..=1 {
        for shifted in [false, true] {
            let other = G::byte(ideal, offset, shifted);
            let usable = ideal.is_finite() && (ideal > 0.0 || !G::UNSIGNED);
            if other == byte || !usable || (shifted && G::SHIFT == 0) {
                continue;
            }
            let candidate = from.moved::<G>(other, h, row_scale, width);
            let found = candidate.gain(&from, row_scale);
            if found > gain {
                (best, gain) = (candidate, found);
            }
        }
    }
    if gain <= 0.0 {
        return;
    }
    out.scales[block] = best.byte;
    out.codes[start..start + width].copy_from_slice(&best.codes[..width]);
    for (i, place) in places.iter().enumerate() {
        let change = row_scale * (best.values[i] - values[i]);
        if change != 0.0 {
            release(factor, pull, *place as usize, change);
        }
    }
}

/// `H (w - q)` at some places; zero in the padding.
#[inline(always)]
fn gradient(factor: &Factor<'_>, pull: &[f32], places: &[u32]) -> [f32; BLOCK] {
    let mut gradient = [0.0; BLOCK];
    for (gradient, place) in gradient.iter_mut().zip(places) {
        let place = *place as usize;
        let mut sums = [0.0; BLOCK];
        for (panel, pull) in pull.chunks(BLOCK).enumerate().skip(place / BLOCK) {
            let row = &factor.panel(panel)[place];
            for ((sum, pull), m) in sums.iter_mut().zip(pull).zip(row) {
                *sum += pull * m;
            }
        }
        *gradient = pull[place] + total(&sums);
    }
    gradient
}

/// A weight grew by this much: nothing of that is left to be pulled at.
#[inline(always)]
fn release(factor: &Factor<'_>, pull: &mut [f32], place: usize, change: f32) {
    pull[place] -= factor.diagonal[place] * change;
    for (panel, pull) in pull.chunks_mut(BLOCK).enumerate().skip(place / BLOCK) {
        let diagonal = &factor.diagonal[panel * BLOCK..];
        let row = &factor.panel(panel)[place];
        for ((pull, m), d) in pull.iter_mut().zip(row).zip(diagonal) {
            *pull -= d * (change * m);
        }
    }
}

/// By what share a block's values are too small, all of them together.
#[inline(always)]
fn stretch(from: &Candidate, h: &[[f32; BLOCK]; BLOCK], row_scale: f32) -> f32 {
    let mut product = [0.0; BLOCK];
    from.values
        .iter()
        .zip(h)
        .for_each(|(value, row)| add(&mut product, *value, row));
    let along = std::array::from_fn(|i| from.values[i] * from.gradient[i]);
    let square = std::array::from_fn(|i| from.values[i] * product[i]);
    total(&along) / (row_scale * total(&square))
}
