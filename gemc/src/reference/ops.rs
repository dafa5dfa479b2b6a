//! Row-wise operations of the reference: each fills an output whose rows are independent of each other.

use std::ops::Range;

use rayon::prelude::*;

use super::math;
use super::rope::Table;
use super::router::Dispatch;
use super::unit::UnitWeights;
use super::wire::Matrix;
use super::{Batch, RoundRow};
use crate::graph::{Activation, NormKind, Pooling, QkNormOver};

/// Rows of one task: enough work to be worth handing to another thread.
const TASK: usize = 32;

/// Calls `f(row, out_row)` for every row, on the thread pool.
pub(super) fn each_row(out: &mut Matrix, f: impl Fn(usize, &mut [f32]) + Sync) {
    let width = out.width();
    out.values_mut()
        .par_chunks_mut(TASK * width)
        .enumerate()
        .for_each(|(task, rows)| {
            for (i, row) in rows.chunks_exact_mut(width).enumerate() {
                f(task * TASK + i, row);
            }
        });
}

/// Rows `from[i]` of `input`.
pub(super) fn gather(input: &Matrix, from: &[usize], out: &mut Matrix) {
    each_row(out, |row, out| out.copy_from_slice(input.row(from[row])));
}

/// One row for each text of a batch: its rows, pooled in each way, one behind the other.
pub(super) fn pool(ways: &[Pooling], x: &Matrix, batch: &Batch, out: &mut Matrix) {
    let texts: Vec<_> = batch.sequences().collect();
    each_row(out, |text, out| {
        for (way, out) in ways.iter().zip(out.chunks_exact_mut(x.width())) {
            pooled(*way, x, texts[text].clone(), out);
        }
    });
}

fn pooled(way: Pooling, x: &Matrix, rows: Range<usize>, out: &mut [f32]) {
    let weighted = |weight: &dyn Fn(usize) -> f32, total: f32, out: &mut [f32]| {
        out.fill(0.0);
        for (place, row) in rows.clone().enumerate() {
            for (y, x) in out.iter_mut().zip(x.row(row)) {
                *y += weight(place) * x;
            }
        }
        out.iter_mut().for_each(|y| *y /= total);
    };
    let count = rows.len() as f32;
    match way {
        Pooling::First => out.copy_from_slice(x.row(rows.start)),
        Pooling::Last => out.copy_from_slice(x.row(rows.end - 1)),
        Pooling::Mean => weighted(&|_| 1.0, count, out),
        Pooling::MeanSqrt => weighted(&|_| 1.0, count.sqrt(), out),
        Pooling::Weighted => weighted(
            &|place| (place + 1) as f32,
            count * (count + 1.0) / 2.0,
            out,
        ),
        Pooling::Max => {
            out.fill(f32::NEG_INFINITY);
            for row in rows.clone() {
                for (y, x) in out.iter_mut().zip(x.row(row)) {
                    *y = y.max(*x);
                }
            }
        }
    }
}

/// Every value within a cap.
pub(super) fn softcap(cap: f32, x: &Matrix, out: &mut Matrix) {
    each_row(out, |row, out| {
        for (y, x) in out.iter_mut().zip(x.row(row)) {
            *y = cap * libm::tanhf(x / cap);
        }
    });
}

/// Every row at length one.
pub(super) fn normalize(x: &Matrix, out: &mut Matrix) {
    each_row(out, |row, out| {
        let x = x.row(row);
        let length = math::sum_of(x, |x| x * x).sqrt().max(1e-12);
        for (y, x) in out.iter_mut().zip(x) {
            *y = x / length;
        }
    });
}

/// Token row, plus position row, plus row 0 of the token types.
pub(super) fn embed(
    batch: &Batch,
    positions: &[usize],
    token: &UnitWeights,
    position: Option<&[f32]>,
    token_type: Option<&[f32]>,
    (scale, vocab): (f32, usize),
    out: &mut Matrix,
) {
    let width = out.width();
    each_row(out, |row, out| {
        let id = batch.ids()[row] as usize;
        let (kind, id) = (id / vocab, id % vocab);
        match token {
            UnitWeights::Held(values) => out.copy_from_slice(&values[id * width..][..width]),
            UnitWeights::Read(source) => source.read_rows(id..id + 1, out),
        }
        if scale != 1.0 {
            out.iter_mut().for_each(|x| *x *= scale);
        }
        if let Some(table) = position {
            add(out, &table[positions[row] * width..][..width]);
        }
        if let Some(table) = token_type {
            add(out, &table[kind * width..][..width]);
        }
    });
}

#[inline(always)]
fn add(out: &mut [f32], x: &[f32]) {
    for (y, x) in out.iter_mut().zip(x) {
        *y += x;
    }
}

/// RMS or layer norm of every row.
pub(super) fn norm(
    kind: NormKind,
    eps: f32,
    weight: &[f32],
    bias: Option<&[f32]>,
    x: &Matrix,
    out: &mut Matrix,
) {
    each_row(out, |row, out| {
        out.copy_from_slice(x.row(row));
        match kind {
            NormKind::Rms => rms_norm(out, weight, eps),
            NormKind::Layer => layer_norm(out, weight, bias, eps),
        }
    });
}

/// `x / sqrt(mean(x^2) + eps) * w`, in place.
fn rms_norm(row: &mut [f32], weight: &[f32], eps: f32) {
    let mean = math::sum_of(row, |x| x * x) / row.len() as f32;
    let scale = 1.0 / (mean + eps).sqrt();
    for (x, w) in row.iter_mut().zip(weight) {
        *x = *x * scale * w;
    }
}

/// `(x - mean) / sqrt(var + eps) * w + b`, in place.
fn layer_norm(row: &mut [f32], weight: &[f32], bias: Option<&[f32]>, eps: f32) {
    let count = row.len() as f32;
    let mean = math::sum_of(row, |x| x) / count;
    let variance = math::sum_of(row, |x| (x - mean) * (x - mean)) / count;
    let scale = 1.0 / (variance + eps).sqrt();
    for (x, w) in row.iter_mut().zip(weight) {
        *x = (*x - mean) * scale * w;
    }
    if let Some(bias) = bias {
        add(row, bias);
    }
}

/// Every row, rounded.
pub(super) fn round(x: &Matrix, rule: &RoundRow, out: &mut Matrix) {
    each_row(out, |row, out| (rule.0)(x.row(row), out));
}

/// MLP activation; a gated input holds gate | up.
pub(super) fn activate(act: Activation, gated: bool, x: &Matrix, out: &mut Matrix) {
    each_row(out, |row, out| {
        let x = x.row(row);
        if gated {
            let (gate, up) = x.split_at(out.len());
            math::gated(act, gate, up, out);
        } else {
            math::activate(act, x, out);
        }
    });
}

/// `a + b`.
pub(super) fn sum(a: &Matrix, b: &Matrix, out: &mut Matrix) {
    each_row(out, |row, out| {
        for ((y, a), b) in out.iter_mut().zip(a.row(row)).zip(b.row(row)) {
            *y = a + b;
        }
    });
}

/// RMS norms of queries and keys.
#[derive(Clone, Copy)]
pub(super) struct HeadNorms<'a> {
    /// Of queries and of keys, of a head or of all.
    pub weights: [&'a [f32]; 2],
    /// Added to the mean square.
    pub eps: f32,
    /// What is normed, and when.
    pub over: QkNormOver,
}

/// How q and k rows are changed before attention.
pub(super) struct QkTransform<'a> {
    pub norm: Option<HeadNorms<'a>>,
    /// Rotation by position.
    pub rope: Option<&'a Table>,
    /// Position of every row.
    pub positions: &'a [usize],
    /// Query heads, key heads.
    pub heads: [usize; 2],
    /// Width of a head.
    pub head_dim: usize,
}

/// The q and k columns of `qkv`, normalised and rotated.
pub(super) fn transform_qk(qkv: &Matrix, by: &QkTransform<'_>, out: &mut Matrix) {
    each_row(out, |row, out| {
        out.copy_from_slice(&qkv.row(row)[..out.len()]);
        let (q, k) = out.split_at_mut(by.heads[0] * by.head_dim);
        for (role, heads) in [q, k].into_iter().enumerate() {
            let norm = |over: QkNormOver, values: &mut [f32]| {
                if let Some(norm) = by.norm.filter(|norm| norm.over == over) {
                    rms_norm(values, norm.weights[role], norm.eps);
                }
            };
            norm(QkNormOver::AllHeads, heads);
            for head in heads.chunks_exact_mut(by.head_dim) {
                norm(QkNormOver::HeadBeforeRope, head);
                if let Some(table) = by.rope {
                    table.rotate(head, by.positions[row]);
                }
                norm(QkNormOver::HeadAfterRope, head);
            }
        }
    });
}

/// The base of a combination: every row of it, or those that nothing else serves.
pub(super) enum Base<'a> {
    /// No general path: the modules' outputs alone.
    Zero,
    /// Output of the general path on all rows.
    All(&'a Matrix),
    /// Rows of [`Dispatch::unrouted`], in order.
    Unrouted(&'a Matrix),
}

/// `base + sum of gate_m module_m` over the fired m in ascending order.
pub(super) fn combine(
    base: &Base<'_>,
    dispatch: &Dispatch,
    modules: &[(usize, &Matrix)],
    out: &mut Matrix,
) {
    let width = out.width();
    let all = out.values_mut();
    match base {
        Base::All(base) => {
            all.copy_from_slice(base.values());
            for (row, gate) in all.chunks_exact_mut(width).zip(&dispatch.base) {
                row.iter_mut().for_each(|y| *y *= gate);
            }
        }
        Base::Zero => all.fill(0.0),
        Base::Unrouted(base) => {
            all.fill(0.0);
            for (i, row) in dispatch.unrouted.iter().enumerate() {
                all[row * width..][..width].copy_from_slice(base.row(i));
            }
        }
    }
    for (module, output) in modules {
        let rows = dispatch.rows[*module].iter().zip(&dispatch.gates[*module]);
        for (i, (row, gate)) in rows.enumerate() {
            for (y, x) in all[row * width..][..width].iter_mut().zip(output.row(i)) {
                *y += gate * x;
            }
        }
    }
}

/// Sum of squares of every row.
pub(super) fn squared_norms(x: &Matrix) -> Vec<f32> {
    (0..x.rows())
        .map(|row| math::sum_of(x.row(row), |x| x * x))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn norms_match_their_formulas() {
        let x = Matrix::new(vec![3.0, -4.0, 1.0, 1.0], 2);
        let mut out = Matrix::new(vec![0.0; 4], 2);
        norm(NormKind::Rms, 0.5, &[1.0, 2.0], None, &x, &mut out);
        let scale = 1.0 / 13f32.sqrt();
        assert!((out.row(0)[0] - 3.0 * scale).abs() < 1e-6);
        assert!((out.row(0)[1] + 8.0 * scale).abs() < 1e-6);
        norm(
            NormKind::Layer,
            0.0,
            &[1.0, 2.0],
            Some(&[0.5, 0.25]),
            &x,
            &mut out,
        );
        assert!((out.row(0)[0] - 1.5).abs() < 1e-6);
        assert!((out.row(0)[1] + 1.75).abs() < 1e-6);
    }

    #[test]
    fn combine_adds_gated_modules_to_each_kind_of_base() {
        let dispatch = Dispatch {
            rows: vec![vec![1], vec![1, 2]],
            gates: vec![vec![0.5], vec![0.25, 2.0]],
            unrouted: vec![0],
            base: Vec::new(),
        };
        let first = Matrix::new(vec![8.0], 1);
        let second = Matrix::new(vec![4.0, 3.0], 1);
        let base = Matrix::new(vec![1.0, 2.0, 3.0], 1);
        let only = Matrix::new(vec![7.0], 1);
        let mut out = Matrix::new(vec![9.0; 3], 1);
        for (base, want) in [
            (Base::All(&base), [1.0, 7.0, 9.0]),
            (Base::Unrouted(&only), [7.0, 5.0, 6.0]),
            (Base::Zero, [0.0, 5.0, 6.0]),
        ] {
            combine(&base, &dispatch, &[(0, &first), (1, &second)], &mut out);
            assert_eq!(out.values(), want);
        }
    }
}
