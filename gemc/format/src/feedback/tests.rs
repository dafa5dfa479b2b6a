//! The beam finds what trying all ways finds, and counts its errors right.

use super::*;
use crate::n3::N3;

/// A factor of so many columns, each depending on the others a little.
struct Owned {
    order: Vec<u32>,
    places: Vec<u32>,
    panels: Vec<f32>,
    diagonal: Vec<f32>,
    /// M, `[cols, cols]`.
    m: Vec<f32>,
}

impl Owned {
    fn new(cols: usize, numbers: &mut impl FnMut() -> f32) -> Self {
        // Any order will do: seven and the number of columns have no common divisor in these tests.
        let order: Vec<u32> = (0..cols).map(|place| (place * 7 % cols) as u32).collect();
        let mut places = vec![0; cols];
        for (place, col) in order.iter().enumerate() {
            places[*col as usize] = place as u32;
        }
        let mut m = vec![0.0; cols * cols];
        let mut panels = vec![0.0; panels_len(cols)];
        for k in 0..cols {
            m[k * cols + k] = 1.0;
            for j in 0..k {
                m[j * cols + k] = 0.7 * numbers();
                panels[panels_len(k / BLOCK * BLOCK) + j * BLOCK + k % BLOCK] = m[j * cols + k];
            }
        }
        let diagonal = (0..cols).map(|_| 0.2 + numbers().abs()).collect();
        Self {
            order,
            places,
            panels,
            diagonal,
            m,
        }
    }

    fn factor(&self) -> Factor<'_> {
        Factor {
            importance: &[],
            blocks: &[],
            order: &self.order,
            places: &self.places,
            panels: &self.panels,
            diagonal: &self.diagonal,
        }
    }

    /// `Σ d_k (target - q M)_k²` of the first places, whose values are these.
    fn error(&self, target: &[f32], row_scale: f32, values: &[f32]) -> f32 {
        let cols = target.len();
        let of = |k: usize| -> f32 {
            let reached = (0..=k)
                .map(|j| values[j] * self.m[j * cols + k])
                .sum::<f32>();
            self.diagonal[k] * (target[k] - row_scale * reached).powi(2)
        };
        (0..values.len()).map(of).sum()
    }
}

fn numbers(mut state: u64) -> impl FnMut() -> f32 {
    move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
}

/// The codes of the next column, the one with the least error first.
fn next(of: &Owned, target: &[f32], row_scale: f32, byte: u8, before: &[f32]) -> Vec<f32> {
    let codes = N3::CODES.0..=N3::CODES.1;
    let mut next: Vec<f32> = codes.map(|code| N3::level(code, byte)).collect();
    let error = |value: &f32| of.error(target, row_scale, &[before, &[*value]].concat());
    next.sort_by(|a, b| error(a).total_cmp(&error(b)));
    next
}

/// The least error of all rows in which every column has one of the two codes that are best for it.
fn least(of: &Owned, target: &[f32], row_scale: f32, byte: u8, before: &[f32]) -> f32 {
    if before.len() == target.len() {
        return of.error(target, row_scale, before);
    }
    let next = next(of, target, row_scale, byte, before);
    let go_on = |value: &f32| least(of, target, row_scale, byte, &[before, &[*value]].concat());
    go_on(&next[0]).min(go_on(&next[1]))
}

/// Values in the order of rounding.
fn values(of: &Owned, codes: &[i8], scales: &[u8]) -> Vec<f32> {
    let value = |col: &u32| N3::level(codes[*col as usize], scales[*col as usize / BLOCK]);
    of.order.iter().map(value).collect()
}

#[test]
fn the_beam_finds_the_best_of_four_columns() {
    let mut numbers = numbers(5);
    let (row_scale, mut greedy_misses) = (0.001, 0);
    for trial in 0..40 {
        let of = Owned::new(4, &mut numbers);
        let target: Vec<f32> = (0..4).map(|_| 2.0 * numbers()).collect();
        let mut codes = [0; BLOCK];
        let scales = [41];
        Beam::default().round::<N3>(&of.factor(), &target, row_scale, &scales, &mut codes);
        let found = of.error(&target, row_scale, &values(&of, &codes, &scales));
        let best = least(&of, &target, row_scale, scales[0], &[]);
        assert!(
            (found - best).abs() <= 1e-4 * best,
            "{trial}: {found}, {best}"
        );
        let mut greedy = Vec::new();
        for _ in 0..4 {
            greedy.push(next(&of, &target, row_scale, scales[0], &greedy)[0]);
        }
        greedy_misses += usize::from(of.error(&target, row_scale, &greedy) > 1.01 * found);
    }
    assert!(
        greedy_misses > 5,
        "{greedy_misses} of 40 are hard enough to show anything"
    );
}

/// The least error that the eight best beginnings lead to, each remembered whole.
fn eight_best(of: &Owned, target: &[f32], row_scale: f32, scales: &[u8]) -> f32 {
    let mut beginnings = vec![(0.0, Vec::new())];
    for col in &of.order {
        let byte = scales[*col as usize / BLOCK];
        let mut longer = Vec::new();
        for (_, before) in &beginnings {
            for value in &next(of, target, row_scale, byte, before)[..2] {
                let values = [&before[..], &[*value]].concat();
                longer.push((of.error(target, row_scale, &values), values));
            }
        }
        longer.sort_by(|a, b| a.0.total_cmp(&b.0));
        longer.truncate(8);
        beginnings = longer;
    }
    beginnings[0].0
}

#[test]
fn the_beam_keeps_the_eight_best() {
    let mut numbers = numbers(3);
    for cols in [5, 31, 32, 33, 40, 66] {
        let of = Owned::new(cols, &mut numbers);
        let target: Vec<f32> = (0..cols).map(|_| 2.0 * numbers()).collect();
        let scales: Vec<u8> = (0..cols.div_ceil(BLOCK))
            .map(|block| 30 + 7 * block as u8)
            .collect();
        let mut beam = Beam::default();
        let mut codes = vec![N3::PADDING; scales.len() * BLOCK];
        beam.round::<N3>(&of.factor(), &target, 0.001, &scales, &mut codes);
        let expected = eight_best(&of, &target, 0.001, &scales);
        assert!(
            (beam.error() - expected).abs() <= 1e-3 * expected,
            "{cols}: {expected}"
        );
    }
}

#[test]
fn the_beam_knows_the_error_of_its_best() {
    let mut numbers = numbers(9);
    for cols in [1, 2, 31, 32, 33, 64, 96, 129] {
        let of = Owned::new(cols, &mut numbers);
        let blocks = cols.div_ceil(BLOCK);
        let target: Vec<f32> = (0..cols).map(|_| 2.0 * numbers()).collect();
        let scales: Vec<u8> = (0..blocks).map(|block| 30 + 7 * block as u8).collect();
        let mut beam = Beam::default();
        // The second row finds the memory of the first.
        for row_scale in [0.001, 0.0015] {
            let mut codes = vec![N3::PADDING; blocks * BLOCK];
            beam.round::<N3>(&of.factor(), &target, row_scale, &scales, &mut codes);
            let found = of.error(&target, row_scale, &values(&of, &codes, &scales));
            let known = beam.error();
            assert!(
                (found - known).abs() <= 1e-3 * found,
                "{cols}: {found}, {known}"
            );
            assert!(codes[cols..].iter().all(|code| *code == N3::PADDING));
        }
    }
}
