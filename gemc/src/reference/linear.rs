//! `y = x W^T + b` for many rows: how a product is spread over the thread pool.

use std::ops::Range;

use rayon::prelude::*;

use super::matmul::{Store, Threads, View, ViewMut, multiply};
use super::unit::UnitWeights;
use super::wire::Matrix;

/// Rows of one task: enough to pay for packing the weights, few enough to stay in the second-level cache.
const TASK: usize = 256;
/// Below this many rows per thread the columns are divided instead.
const FEW: usize = 32;

/// Values of a matrix that are read at a time, where it is not in memory.
const PIECE: usize = 2 << 20;

/// Writes `x [rows, in]` times the transpose of `weight [out, in]`, plus `bias [out]`, to `out [rows, out]`.
pub(super) fn apply_unit(x: &Matrix, weight: &UnitWeights, bias: Option<&[f32]>, out: &mut Matrix) {
    let piece = match weight {
        UnitWeights::Held(_) => out.width(),
        UnitWeights::Read(_) => (PIECE / x.width()).max(1),
    };
    apply_in_pieces(x, weight, bias, out, piece);
}

/// So many columns of `out` at a time.
fn apply_in_pieces(
    x: &Matrix,
    weight: &UnitWeights,
    bias: Option<&[f32]>,
    out: &mut Matrix,
    piece: usize,
) {
    if x.rows() == 0 {
        return;
    }
    let (inputs, outputs) = (x.width(), out.width());
    for start in (0..outputs).step_by(piece) {
        let columns = start..outputs.min(start + piece);
        let weight = weight.rows(columns.clone(), inputs);
        let bias = bias.map(|bias| &bias[columns.clone()]);
        apply_columns(x, &weight, bias, out, columns);
    }
}

/// Writes `x [rows, in]` times the transpose of `weight [out, in]`, plus `bias [out]`, to `out [rows, out]`.
pub(super) fn apply(x: &Matrix, weight: &[f32], bias: Option<&[f32]>, out: &mut Matrix) {
    let columns = 0..out.width();
    apply_columns(x, weight, bias, out, columns);
}

/// The same for some columns of `out`, of which `weight` and `bias` are.
fn apply_columns(
    x: &Matrix,
    weight: &[f32],
    bias: Option<&[f32]>,
    out: &mut Matrix,
    columns: Range<usize>,
) {
    let (inputs, outputs) = (x.width(), out.width());
    let share = x.rows().div_ceil(rayon::current_num_threads());
    let (rows, threads) = if share < FEW {
        (x.rows().max(1), Threads::All)
    } else {
        (share.min(TASK), Threads::One)
    };
    let job = |(x, out): (&[f32], &mut [f32])| {
        block(x, inputs, weight, bias, out, outputs, &columns, threads);
    };
    if threads == Threads::All {
        // The product itself is shared out.
        return job((x.values(), out.values_mut()));
    }
    let blocks = x.values().par_chunks(rows * inputs);
    blocks
        .zip(out.values_mut().par_chunks_mut(rows * outputs))
        .for_each(job);
}

#[expect(
    clippy::too_many_arguments,
    reason = "one call site; what a product is"
)]
fn block(
    x: &[f32],
    inputs: usize,
    weight: &[f32],
    bias: Option<&[f32]>,
    out: &mut [f32],
    outputs: usize,
    columns: &Range<usize>,
    threads: Threads,
) {
    let rows = x.len() / inputs;
    let mut store = Store::Set;
    if let Some(bias) = bias {
        out.chunks_exact_mut(outputs)
            .for_each(|row| row[columns.clone()].copy_from_slice(bias));
        store = Store::Add;
    }
    let x = View::new(x, rows, inputs, inputs);
    let weight = View::new(weight, columns.len(), inputs, inputs).transposed();
    multiply(
        ViewMut::new(&mut out[columns.start..], rows, columns.len(), outputs),
        store,
        1.0,
        x,
        weight,
        threads,
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_count_gives_what_the_definition_says() {
        let (inputs, outputs) = (5, 7);
        let value = |i: usize| (i * 31 % 23) as f32 * 0.125 - 1.0;
        let weight: Vec<f32> = (0..inputs * outputs).map(value).collect();
        let bias: Vec<f32> = (0..outputs).map(value).collect();
        for rows in [0, 1, 31, 33, 64, 257, 700] {
            let x = Matrix::new((0..rows * inputs).map(value).collect(), inputs);
            let unit = UnitWeights::from(weight.clone());
            for (bias, piece) in [
                (None, 7),
                (Some(&bias[..]), 7),
                (None, 1),
                (Some(&bias[..]), 3),
                (Some(&bias[..]), 6),
            ] {
                let mut out = Matrix::new(vec![9.0; rows * outputs], outputs);
                apply_in_pieces(&x, &unit, bias, &mut out, piece);
                for row in 0..rows {
                    for o in 0..outputs {
                        let dot: f32 = (0..inputs)
                            .map(|i| x.row(row)[i] * weight[o * inputs + i])
                            .sum();
                        let want = dot + bias.map_or(0.0, |b| b[o]);
                        assert!(
                            (out.row(row)[o] - want).abs() < 1e-5,
                            "{rows} rows: {row}, {o}"
                        );
                    }
                }
            }
        }
    }
}
