//! A row's block scales -> its codes, one column after the other, each rounding error passed on to the columns after it.
//!
//! To round every column to the nearest code is greedy: an error a little larger here can leave less to do there. So the best
//! beginnings of the row are kept side by side, each column continues all of them by the two codes nearest to what it wants, and
//! the best of those are kept: the K-best search of lattice decoding (Guo and Nilsson, "Algorithm and implementation of the
//! K-best sphere decoding for MIMO detection", 2006).

use std::array::from_fn;

use super::{Factor, add};
use crate::BLOCK;
use crate::grid::Grid;

/// Beginnings that are kept: as many as a vector register of 256 bits has floats.
const BEAM: usize = 8;

/// One number per beginning.
type Lanes = [f32; BEAM];

/// A column as the beginnings have it.
#[derive(Clone, Copy, Debug)]
struct Column {
    codes: [i8; BEAM],
    /// In units of the row scale.
    values: Lanes,
}

impl Column {
    /// As those have it that go on from these.
    #[inline(always)]
    fn of(&self, from: &[usize; BEAM]) -> Self {
        Self {
            codes: from.map(|lane| self.codes[lane]),
            values: from.map(|lane| self.values[lane]),
        }
    }
}

/// A code that a beginning could go on with.
#[derive(Clone, Copy)]
struct Choice {
    code: i8,
    value: f32,
    from: usize,
}

/// Reused from row to row.
#[derive(Clone, Debug, Default)]
pub(super) struct Beam {
    /// Values of the first columns, those in which all beginnings agree.
    agreed: Vec<f32>,
    /// The columns after them.
    open: Vec<Column>,
    /// Error of each beginning, ascending; infinite where there is none yet.
    errors: Lanes,
}

impl Beam {
    /// Fills `codes` with those of the best row found. `target` is `w M`.
    #[inline(always)]
    pub(super) fn round<G: Grid>(
        &mut self,
        factor: &Factor<'_>,
        target: &[f32],
        row_scale: f32,
        scales: &[u8],
        codes: &mut [i8],
    ) {
        self.agreed.clear();
        self.open.clear();
        self.errors = [f32::INFINITY; BEAM];
        self.errors[0] = 0.0;
        for (panel, target) in target.chunks(BLOCK).enumerate() {
            self.panel::<G>(factor, panel, target, row_scale, scales);
            self.agree(factor.order, codes);
        }
        let rest = &factor.order[self.agreed.len()..];
        for (col, column) in rest.iter().zip(&self.open) {
            codes[*col as usize] = column.codes[0];
        }
    }

    /// Error of the row found last.
    #[cfg(test)]
    pub(super) const fn error(&self) -> f32 {
        self.errors[0]
    }

    /// Goes on by the columns of a panel.
    #[inline(always)]
    fn panel<G: Grid>(
        &mut self,
        factor: &Factor<'_>,
        panel: usize,
        target: &[f32],
        row_scale: f32,
        scales: &[u8],
    ) {
        let m = factor.panel(panel);
        let start = panel * BLOCK;
        let mut carried = self.carried(m);
        let mut added = [Column {
            codes: [0; BEAM],
            values: [0.0; BEAM],
        }; BLOCK];
        let mut parents = [[0; BEAM]; BLOCK];
        for (i, target) in target.iter().enumerate() {
            let byte = scales[factor.order[start + i] as usize / BLOCK];
            let wanted = carried[i].map(|carried| target - row_scale * carried);
            let kept = self.best::<G>(&wanted, byte, row_scale, factor.diagonal[start + i]);
            parents[i] = kept.map(|choice| choice.from);
            added[i] = Column {
                codes: kept.map(|choice| choice.code),
                values: kept.map(|choice| choice.value),
            };
            let row = &m[start + i];
            for (carried, m) in carried.iter_mut().zip(row).skip(i + 1) {
                *carried = from_fn(|lane| carried[parents[i][lane]] + added[i].values[lane] * m);
            }
        }
        // Every column as the beginnings that are left have it.
        let mut lanes: [usize; BEAM] = from_fn(|lane| lane);
        for (column, parents) in added.iter_mut().zip(&parents).take(target.len()).rev() {
            *column = column.of(&lanes);
            lanes = lanes.map(|lane| parents[lane]);
        }
        self.open
            .iter_mut()
            .for_each(|column| *column = column.of(&lanes));
        self.open.extend(&added[..target.len()]);
    }

    /// What the columns before a panel, with these rows of M, carry to each of its columns.
    #[inline(always)]
    fn carried(&self, m: &[[f32; BLOCK]]) -> [Lanes; BLOCK] {
        let (agreed, open) = m.split_at(self.agreed.len());
        let mut common = [0.0; BLOCK];
        for (value, row) in self.agreed.iter().zip(agreed) {
            add(&mut common, *value, row);
        }
        let mut carried = common.map(|sum| [sum; BEAM]);
        for (column, row) in self.open.iter().zip(open) {
            for (carried, m) in carried.iter_mut().zip(row) {
                *carried = from_fn(|lane| carried[lane] + column.values[lane] * m);
            }
        }
        carried
    }

    /// The best ways to go on, ascending by error.
    #[inline(always)]
    fn best<G: Grid>(
        &mut self,
        wanted: &Lanes,
        byte: u8,
        row_scale: f32,
        weight: f32,
    ) -> [Choice; BEAM] {
        let scale = G::scale(byte);
        let shift = (G::SHIFT * i32::from(byte & 1)) as f32;
        let inverse = 1.0 / (row_scale * scale);
        let error = |lane: usize, value: f32| {
            let left = wanted[lane] - row_scale * value;
            self.errors[lane] + weight * (left * left)
        };
        let mut choices = [Choice {
            code: G::PADDING,
            value: 0.0,
            from: 0,
        }; 2 * BEAM];
        let mut errors = [f32::INFINITY; 2 * BEAM];
        for lane in 0..BEAM {
            let ideal = wanted[lane] * inverse - shift;
            let nearest = if scale == 0.0 {
                G::PADDING
            } else {
                G::nearest(ideal)
            };
            let gap = |code: i8| (ideal - (G::value(code, byte) as f32 - shift)).abs();
            let (least, most) = G::CODES;
            let below = nearest > least && (nearest == most || gap(nearest - 1) < gap(nearest + 1));
            let second = if below { nearest - 1 } else { nearest + 1 };
            for (at, code) in [(lane, nearest), (BEAM + lane, second)] {
                let value = G::level(code, byte);
                choices[at] = Choice {
                    code,
                    value,
                    from: lane,
                };
                errors[at] = error(lane, value);
            }
            if scale == 0.0 {
                errors[BEAM + lane] = f32::INFINITY;
            }
        }
        let ranked = ranked(&errors);
        self.errors = from_fn(|rank| errors[ranked[rank]]);
        from_fn(|rank| choices[ranked[rank]])
    }

    /// Settles the first columns, as far as all beginnings agree in them.
    #[inline(always)]
    fn agree(&mut self, order: &[u32], codes: &mut [i8]) {
        let errors = self.errors;
        let same = |column: &&Column| {
            let lanes = column.codes.iter().zip(&errors);
            lanes.fold(true, |same, (code, error)| {
                same && (*code == column.codes[0] || *error == f32::INFINITY)
            })
        };
        let settled = self.open.iter().take_while(same).count();
        let places = &order[self.agreed.len()..];
        for (column, col) in self.open.drain(..settled).zip(places) {
            codes[*col as usize] = column.codes[0];
            self.agreed.push(column.values[0]);
        }
    }
}

/// The lowest half, ascending, the first of equals first. Errors are not negative, so that their bits stand in their order.
#[inline(always)]
fn ranked(errors: &[f32; 2 * BEAM]) -> [usize; BEAM] {
    let mut keys: [u64; 2 * BEAM] = from_fn(|at| u64::from(errors[at].to_bits()) << 8 | at as u64);
    keys.sort_unstable();
    from_fn(|rank| (keys[rank] & 0xff) as usize)
}
