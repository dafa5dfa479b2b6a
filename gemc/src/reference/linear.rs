//! `y = x W^T + b` for many rows: how a product is spread over the thread pool.

use rayon::prelude::*;

use super::matmul::{Store, Threads, View, ViewMut, multiply};
use super::wire::Matrix;

/// Rows of one task: enough to pay for packing the weights, few enough to stay in the second-level cache.
const TASK: usize = 256;
/// Below this many rows per thread the columns are divided instead.
const FEW: usize = 32;

/// Writes `x [rows, in]` times the transpose of `weight [out, in]`, plus `bias [out]`, to `out [rows, out]`.
pub(super) fn apply(x: &Matrix, weight: &[f32], bias: Option<&[f32]>, out: &mut Matrix) {
    let (inputs, outputs) = (x.width(), out.width());
    let share = x.rows().div_ceil(rayon::current_num_threads());
    if share < FEW {
        return block(
            x.values(),
            inputs,
            weight,
            bias,
            out.values_mut(),
            outputs,
            Threads::All,
        );
    }
    let rows = share.min(TASK);
    let blocks = x.values().par_chunks(rows * inputs);
    blocks
        .zip(out.values_mut().par_chunks_mut(rows * outputs))
        .for_each(|(x, out)| {
            block(x, inputs, weight, bias, out, outputs, Threads::One);
        });
}

fn block(
    x: &[f32],
    inputs: usize,
    weight: &[f32],
    bias: Option<&[f32]>,
    out: &mut [f32],
    outputs: usize,
    threads: Threads,
) {
    let rows = x.len() / inputs;
    let mut store = Store::Set;
    if let Some(bias) = bias {
        out.chunks_exact_mut(outputs)
            .for_each(|row| row.copy_from_slice(bias));
        store = Store::Add;
    }
    let x = View::new(x, rows, inputs, inputs);
    let weight = View::new(weight, outputs, inputs, inputs).transposed();
    multiply(
        ViewMut::new(out, rows, outputs, outputs),
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
            let mut out = Matrix::new(vec![9.0; rows * outputs], outputs);
            for bias in [None, Some(&bias[..])] {
                apply(&x, &weight, bias, &mut out);
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
