//! Softmax attention within each sequence, by blocks of queries: the core that both attention operations share.
//!
//! A block is one task of the thread pool; it owns the output rows of its queries and walks over all heads.

use std::ops::Range;

use rayon::prelude::*;

use super::Batch;
use super::math;
use super::matmul::{Store, Threads, View, ViewMut, multiply};
use super::wire::Matrix;

/// Queries per task.
const BLOCK: usize = 64;

/// Query, key and value rows of a whole batch, heads side by side.
#[derive(Clone, Copy)]
pub(super) struct Heads<'a> {
    /// First value; head h of row r starts at `r * stride + h * width`.
    pub values: &'a [f32],
    /// Distance of rows.
    pub stride: usize,
}

impl<'a> Heads<'a> {
    /// The heads that start at a column of the rows.
    pub fn of(rows: &'a Matrix, column: usize) -> Self {
        Self {
            values: &rows.values()[column..],
            stride: rows.width(),
        }
    }
}

/// What is done to scores.
#[derive(Clone, Copy)]
pub(super) struct Scores<'a> {
    /// They are multiplied by it.
    pub scale: f32,
    /// Row i sees only j with |i - j| below it.
    pub window: Option<usize>,
    /// Scores s become `cap tanh(s / cap)`.
    pub softcap: Option<f32>,
    /// A score of each head that takes part in the softmax and has no value.
    pub sinks: Option<&'a [f32]>,
}

impl Scores<'_> {
    /// Scores that are scaled and nothing else.
    pub const fn scaled(scale: f32) -> Self {
        Self {
            scale,
            window: None,
            softcap: None,
            sinks: None,
        }
    }

    /// Of one head and row, scaled: to weights. `own` is the row's own place among them.
    fn finish(&self, head: usize, own: usize, scores: &mut [f32]) {
        if let Some(cap) = self.softcap {
            for score in scores.iter_mut() {
                *score = cap * libm::tanhf(*score / cap);
            }
        }
        if let Some(window) = self.window {
            let end = scores.len().min(own + window);
            scores[..(own + 1).saturating_sub(window)].fill(f32::NEG_INFINITY);
            scores[end..].fill(f32::NEG_INFINITY);
        }
        math::softmax_with(self.sinks.map(|sinks| sinks[head]), scores);
    }
}

/// One attention over a batch.
pub(super) struct Attention<'a> {
    pub batch: &'a Batch,
    /// Number of query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of a head.
    pub width: usize,
    /// Whether row i sees only j <= i of its sequence.
    pub causal: bool,
    pub scores: Scores<'a>,
    pub q: Heads<'a>,
    pub k: Heads<'a>,
    pub v: Heads<'a>,
}

impl Attention<'_> {
    /// Writes `softmax(scale q k^T) v` to `out` `[rows, heads * width]`.
    ///
    /// `hide(i, first, scores)` sets the scores of rows `first..` that row i may not see to minus infinity, besides
    /// what `causal` hides; it must leave row i itself.
    pub fn run(&self, hide: impl Fn(usize, usize, &mut [f32]) + Sync, out: &mut [f32]) {
        let width = self.heads * self.width;
        let mut tasks = Vec::new();
        let mut rest = out;
        for rows in self.batch.sequences() {
            for start in rows.clone().step_by(BLOCK) {
                let queries = start..(start + BLOCK).min(rows.end);
                let seen = if self.causal { queries.end } else { rows.end };
                let (block, tail) = rest.split_at_mut(queries.len() * width);
                rest = tail;
                tasks.push((queries, rows.start..seen, block));
            }
        }
        tasks
            .into_par_iter()
            .for_each_init(Vec::new, |scores, (queries, keys, block)| {
                self.block(queries, keys, &hide, scores, block);
            });
    }

    fn block(
        &self,
        queries: Range<usize>,
        keys: Range<usize>,
        hide: &impl Fn(usize, usize, &mut [f32]),
        scores: &mut Vec<f32>,
        out: &mut [f32],
    ) {
        let (m, n) = (queries.len(), keys.len());
        scores.resize(m * n, 0.0);
        for head in 0..self.heads {
            let kv_head = head * self.kv_heads / self.heads;
            let q = self.view(self.q, queries.clone(), head);
            let k = self.view(self.k, keys.clone(), kv_head).transposed();
            let target = ViewMut::new(scores, m, n, n);
            multiply(target, Store::Set, self.scores.scale, q, k, Threads::One);
            for (row, scores) in queries.clone().zip(scores.chunks_exact_mut(n)) {
                let visible = if self.causal { row + 1 - keys.start } else { n };
                let (scores, hidden) = scores.split_at_mut(visible);
                hide(row, keys.start, scores);
                self.scores.finish(head, row - keys.start, scores);
                hidden.fill(0.0);
            }
            let v = self.view(self.v, keys.clone(), kv_head);
            let stride = self.heads * self.width;
            let target = ViewMut::new(&mut out[head * self.width..], m, self.width, stride);
            multiply(
                target,
                Store::Set,
                1.0,
                View::new(scores, m, n, n),
                v,
                Threads::One,
            );
        }
    }

    fn view<'a>(&self, of: Heads<'a>, rows: Range<usize>, head: usize) -> View<'a> {
        let start = rows.start * of.stride + head * self.width;
        View::new(&of.values[start..], rows.len(), self.width, of.stride)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, one row and head at a time.
    fn plain(a: &Attention<'_>, see: impl Fn(usize, usize) -> bool) -> Vec<f32> {
        let mut out = Vec::new();
        for rows in a.batch.sequences() {
            for i in rows.clone() {
                for head in 0..a.heads {
                    let kv = head / (a.heads / a.kv_heads) * a.width;
                    let at =
                        |h: Heads<'_>, r: usize, c: usize| f64::from(h.values[r * h.stride + c]);
                    let weight = |j: usize| {
                        let dot: f64 = (0..a.width)
                            .map(|c| at(a.q, i, head * a.width + c) * at(a.k, j, kv + c))
                            .sum();
                        (dot / (a.width as f64).sqrt()).exp()
                    };
                    let seen: Vec<usize> = rows
                        .clone()
                        .filter(|&j| (j <= i || !a.causal) && (i == j || see(i, j)))
                        .collect();
                    let total: f64 = seen.iter().map(|&j| weight(j)).sum();
                    for c in 0..a.width {
                        let sum: f64 = seen.iter().map(|&j| weight(j) * at(a.v, j, kv + c)).sum();
                        out.push((sum / total) as f32);
                    }
                }
            }
        }
        out
    }

    #[test]
    fn matches_the_definition_across_block_and_sequence_boundaries() {
        let sequences = [vec![0; 3], vec![0; 65], vec![0; 1], vec![0; 64]];
        let batch = Batch::of(&sequences);
        let (heads, kv_heads, width) = (4, 2, 6);
        let stride = (heads + 2 * kv_heads) * width;
        let qkv: Vec<f32> = (0..batch.rows() * stride)
            .map(|i| ((i * 7919 % 2003) as f32 / 1001.0 - 1.0) * 1.5)
            .collect();
        for causal in [true, false] {
            let part = |start: usize| Heads {
                values: &qkv[start..],
                stride,
            };
            let attention = Attention {
                batch: &batch,
                heads,
                kv_heads,
                width,
                causal,
                scores: Scores::scaled(1.0 / (width as f32).sqrt()),
                q: part(0),
                k: part(heads * width),
                v: part((heads + kv_heads) * width),
            };
            let see = |i: usize, j: usize| !(i + j).is_multiple_of(3);
            let mut out = vec![0.0; batch.rows() * heads * width];
            let hide = |i: usize, first: usize, scores: &mut [f32]| {
                for (j, score) in scores.iter_mut().enumerate() {
                    if first + j != i && !see(i, first + j) {
                        *score = f32::NEG_INFINITY;
                    }
                }
            };
            attention.run(hide, &mut out);
            for (i, (a, b)) in out.iter().zip(plain(&attention, see)).enumerate() {
                assert!((a - b).abs() < 2e-5, "causal {causal}, value {i}: {a} {b}");
            }
        }
    }
}
