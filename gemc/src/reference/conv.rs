//! Short causal convolutions within each sequence, column by column, between two gates.

use super::Batch;
use super::ops::each_row;
use super::wire::Matrix;

/// `out = C * (sum over taps of weight * (B * x) + bias)` from rows `B | C | x`; weights `[taps][width]`, the row's own last.
pub(super) fn apply(
    rows: &Matrix,
    batch: &Batch,
    weights: &[f32],
    bias: Option<&[f32]>,
    out: &mut Matrix,
) {
    let width = out.width();
    let starts: Vec<usize> = batch
        .sequences()
        .flat_map(|s| s.clone().map(move |_| s.start))
        .collect();
    each_row(out, |row, out| {
        let gate = &rows.row(row)[width..2 * width];
        for (column, (y, gate)) in out.iter_mut().zip(gate).enumerate() {
            let taps = weights.chunks_exact(width).rev();
            let positions = (starts[row]..=row).rev();
            let products = taps.zip(positions).map(|(weight, from)| {
                let from = rows.row(from);
                let gated = f64::from(from[column]) * f64::from(from[2 * width + column]);
                f64::from(weight[column]) * gated
            });
            let sum = products.sum::<f64>() + bias.map_or(0.0, |bias| f64::from(bias[column]));
            *y = gate * sum as f32;
        }
    });
}
