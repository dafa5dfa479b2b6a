//! Planes stand for what the row functions give; feedback pays under the moments it was given.

use gemc_format::{BLOCK, Codec, QuantisedRow, Rounding, panels_len, quantise_row};

use super::factor::Moments;
use super::*;

/// Numbers in -1..1 that a linear congruence gives.
fn numbers(n: usize, seed: u64) -> Vec<f32> {
    let mut state = seed
        .wrapping_mul(2_862_933_555_777_941_757)
        .wrapping_add(3_037_000_493);
    (0..n)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            ((state >> 33) as f32 / (1u64 << 30) as f32) - 1.0
        })
        .collect()
}

/// Moments of inputs whose columns depend on each other.
fn moments(n: usize, rows: usize) -> Vec<f32> {
    let mut h = vec![0.0; n * n];
    for row in 0..rows {
        let raw = numbers(n, 7 + row as u64);
        let mut x = raw.clone();
        for i in 1..n {
            x[i] = 0.8 * x[i - 1] + 0.6 * raw[i];
        }
        for i in 0..n {
            for j in 0..n {
                h[i * n + j] += x[i] * x[j];
            }
        }
    }
    h
}

/// `tr(dW H dWᵀ)`.
fn cost(delta: &[f32], h: &[f32], n: usize) -> f64 {
    let mut sum = 0.0;
    for row in delta.chunks_exact(n) {
        for i in 0..n {
            for j in 0..n {
                sum += f64::from(row[i]) * f64::from(h[i * n + j]) * f64::from(row[j]);
            }
        }
    }
    sum
}

fn difference(planes: &Planes, weights: &[f32]) -> Vec<f32> {
    let found = planes.weights();
    found.iter().zip(weights).map(|(a, b)| a - b).collect()
}

#[test]
fn some_rows_are_those_of_all() {
    for parts in [vec![5], vec![32, 16, 40], vec![1, 33]] {
        let shape = Shape { parts, cols: 48 };
        let weights = numbers(shape.weights(), 3);
        let inputs = Inputs::Unknown(Rounding::Plain);
        let planes = quantise(&weights, &shape, Codec::N4, inputs);
        let all = planes.weights();
        let rows = shape.rows();
        for range in [0..rows, 0..0, 0..1, rows - 1..rows, rows / 3..rows / 2] {
            let mut some = vec![9.0; range.len() * shape.cols];
            dequantise_rows(&planes.bytes, &shape, Codec::N4, range.clone(), &mut some);
            assert_eq!(some, all[range.start * 48..range.end * 48], "{range:?}");
        }
        let error = difference(&planes, &weights);
        assert!(
            error.iter().all(|e| e.abs() < 0.2),
            "rows are in their places"
        );
    }
}

#[test]
fn planes_stand_for_the_rows() {
    for cols in [1, 31, 32, 33, 70] {
        let shape = Shape {
            parts: vec![3, 16, 33],
            cols,
        };
        let weights = numbers(shape.weights(), 1);
        for &codec in Codec::ALL {
            let inputs = Inputs::Unknown(Rounding::Search);
            let planes = quantise(&weights, &shape, codec, inputs);
            assert_eq!(planes.bytes.len(), shape.size(codec).bytes);
            let mut row = QuantisedRow::default();
            let found = planes.weights();
            for (weights, found) in weights.chunks_exact(cols).zip(found.chunks_exact(cols)) {
                quantise_row(codec, weights, None, Rounding::Search, &mut row);
                let expected: Vec<f32> = (0..cols).map(|k| row.weight(codec, k)).collect();
                assert_eq!(found, expected, "{codec:?} {cols}");
            }
        }
    }
}

#[test]
fn factors_multiply_to_the_moments() {
    for n in [1, 2, 9, 40] {
        let h = moments(n, 3 * n);
        let moments = Moments::new(&h, n, 0.0);
        let factor = moments.factor();
        let m = |j: usize, k: usize| match j.cmp(&k) {
            std::cmp::Ordering::Less => {
                let panel = panels_len(k / BLOCK * BLOCK);
                f64::from(factor.panels[panel + j * BLOCK + k % BLOCK])
            }
            std::cmp::Ordering::Equal => 1.0,
            std::cmp::Ordering::Greater => 0.0,
        };
        let mean = (0..n).map(|i| h[i * n + i]).sum::<f32>() / n as f32;
        let col = |place: usize| factor.order[place] as usize;
        let places: Vec<usize> = factor.places.iter().map(|p| *p as usize).collect();
        assert!((0..n).all(|place| places[col(place)] == place), "{n}");
        for i in 0..n {
            for j in 0..n {
                let product: f64 = (0..n)
                    .map(|k| m(i, k) * f64::from(factor.diagonal[k]) * m(j, k))
                    .sum();
                let damped = f64::from(h[col(i) * n + col(j)] / mean)
                    + if i == j { factor::DAMPING } else { 0.0 };
                assert!(
                    (product - damped).abs() < 1e-4,
                    "{n} {i} {j}: {product} {damped}"
                );
            }
        }
    }
}

#[test]
fn what_is_left_of_columns_gets_less_to_the_end() {
    let n = 5;
    let mut h = vec![0.0; n * n];
    for (i, square) in [2.0, 0.5, 4.0, 1.0, 3.0].into_iter().enumerate() {
        h[i * n + i] = square;
    }
    let moments = Moments::new(&h, n, 0.0);
    assert_eq!(moments.factor().order, [2, 4, 0, 3, 1]);
    // Column 1 is nearly the sum of the others: least is left of it when they are rounded after it.
    let n = 3;
    let h = [4.0, 5.0, 0.0, 5.0, 6.3, 0.1, 0.0, 0.1, 1.0];
    let moments = Moments::new(&h, n, 0.0);
    let factor = moments.factor();
    assert_eq!(
        factor.order[n - 1],
        2,
        "the least mean square of all is the last"
    );
    assert!(factor.diagonal.iter().all(|d| *d > 0.0));
    let mean: f32 = factor.diagonal.iter().sum::<f32>() / n as f32;
    let own: f32 = factor.importance.iter().sum::<f32>() / n as f32;
    assert!(mean < 0.5 * own, "{mean} of {own}");
}

#[test]
fn a_lost_pivot_carries_nothing() {
    // No moments of any inputs: rounding, exaggerated, left them indefinite.
    let n = 3;
    let h = [1.0, 2.0, 2.0, 2.0, 1.0, 2.0, 2.0, 2.0, 1.0];
    let known = Moments::new(&h, n, 0.0);
    let factor = known.factor();
    assert!(factor.diagonal.iter().all(|d| *d >= factor::DAMPING as f32));
    assert!(
        factor.panels.iter().all(|m| m.abs() < 3.0),
        "{:?}",
        factor.panels
    );
}

#[test]
fn feedback_lowers_the_error_of_the_products() {
    let n = 96;
    let h = moments(n, 400);
    let shape = Shape {
        parts: vec![48],
        cols: n,
    };
    let weights = numbers(shape.weights(), 5);
    let known = Moments::new(&h, n, 0.0);
    for codec in [
        Codec::L6,
        Codec::N5,
        Codec::N4,
        Codec::L4,
        Codec::N3,
        Codec::N2,
    ] {
        let search = quantise(
            &weights,
            &shape,
            codec,
            Inputs::Importance(known.importance()),
        );
        let feedback = quantise(&weights, &shape, codec, Inputs::Factor(&known.factor()));
        let before = cost(&difference(&search, &weights), &h, n);
        let after = cost(&difference(&feedback, &weights), &h, n);
        assert!(after < 0.5 * before, "{codec:?}: {after} of {before}");
    }
}

#[test]
fn no_row_is_worse_than_after_the_search() {
    for n in [1, 2, 31, 32, 33, 70] {
        let mut h = moments(n, 3);
        let known = Moments::new(&h, n, 0.0);
        let mean = (0..n).map(|i| h[i * n + i]).sum::<f32>() / n as f32;
        (0..n).for_each(|i| h[i * n + i] += factor::DAMPING as f32 * mean);
        let shape = Shape {
            parts: vec![8],
            cols: n,
        };
        let weights = numbers(shape.weights(), 11);
        for &codec in Codec::ALL {
            let error = |inputs| difference(&quantise(&weights, &shape, codec, inputs), &weights);
            let search = error(Inputs::Importance(known.importance()));
            let feedback = error(Inputs::Factor(&known.factor()));
            for (search, feedback) in search.chunks(n).zip(feedback.chunks(n)) {
                let (before, after) = (cost(search, &h, n), cost(feedback, &h, n));
                // Sums of single precision decide, and the row's whole energy is in them.
                let slack = 1e-6 * cost(&weights, &h, n);
                assert!(
                    after <= before + slack,
                    "{codec:?} {n}: {after} of {before}"
                );
            }
        }
    }
}

#[test]
fn a_ridge_keeps_rows_closer_to_the_originals() {
    let n = 64;
    let (h, shape) = (
        moments(n, 300),
        Shape {
            parts: vec![20],
            cols: n,
        },
    );
    let weights = numbers(shape.weights(), 9);
    let squares = |ridge| {
        let moments = Moments::new(&h, n, ridge);
        let planes = quantise(
            &weights,
            &shape,
            Codec::N3,
            Inputs::Factor(&moments.factor()),
        );
        let delta = difference(&planes, &weights);
        delta.iter().map(|d| d * d).sum::<f32>()
    };
    assert!(squares(1e6) < 0.8 * squares(0.0));
}

#[test]
fn nothing_is_carried_without_moments() {
    let n = 40;
    let known = Moments::new(&vec![0.0; n * n], n, 0.0);
    assert!(known.factor().panels.iter().all(|m| *m == 0.0));
    let weights = numbers(n * 4, 2);
    let shape = Shape {
        parts: vec![4],
        cols: n,
    };
    let planes = quantise(&weights, &shape, Codec::N3, Inputs::Factor(&known.factor()));
    let error = difference(&planes, &weights)
        .iter()
        .map(|d| d * d)
        .sum::<f32>();
    assert!(error < 0.1 * weights.iter().map(|w| w * w).sum::<f32>());
}

#[test]
fn odd_rows_survive() {
    let n = 33;
    let known = Moments::new(&moments(n, 60), n, 0.0);
    let mut weights = vec![0.0; 4 * n];
    weights[n] = 1.0;
    weights[2 * n..3 * n].fill(1e30);
    weights[3 * n..].fill(1e-39);
    let shape = Shape {
        parts: vec![4],
        cols: n,
    };
    for &codec in Codec::ALL {
        let planes = quantise(&weights, &shape, codec, Inputs::Factor(&known.factor()));
        let found = planes.weights();
        assert!(found.iter().all(|w| w.is_finite()), "{codec:?}");
        assert!(found[..n].iter().all(|w| *w == 0.0), "{codec:?}");
        assert!(
            (found[2 * n] / 1e30 - 1.0).abs() < 0.4,
            "{codec:?}: {}",
            found[2 * n]
        );
    }
}
