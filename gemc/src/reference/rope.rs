//! Rotary embedding: cos and sin in f32 from frequencies in f64, applied rotate-half as in LLaMA.

use crate::graph::Rope;

/// cos and sin of positions `0..positions`.
pub(super) struct Table {
    rope: Rope,
    /// Per position: the cosines of all pairs, then the sines.
    values: Vec<f32>,
}

impl Table {
    pub fn new(rope: &Rope, positions: usize) -> Self {
        let factor = f64::from(rope.factor);
        let mut values = Vec::with_capacity(positions * rope.width());
        for position in 0..positions {
            let angles = rope.frequencies.iter().map(|f| position as f64 * f);
            values.extend(angles.clone().map(|a| (a.cos() * factor) as f32));
            values.extend(angles.map(|a| (a.sin() * factor) as f32));
        }
        Self {
            rope: rope.clone(),
            values,
        }
    }

    /// Whether it was made for this rope.
    pub fn serves(&self, rope: &Rope) -> bool {
        self.rope == *rope
    }

    /// Rotates the first columns of one head in place: pair i is `(x[i], x[i + half])`.
    pub fn rotate(&self, head: &mut [f32], position: usize) {
        let head = &mut head[..self.rope.width()];
        let half = head.len() / 2;
        let row = &self.values[position * 2 * half..][..2 * half];
        let (cos, sin) = row.split_at(half);
        let (first, second) = head.split_at_mut(half);
        for i in 0..half {
            let (a, b) = (first[i], second[i]);
            first[i] = a * cos[i] - b * sin[i];
            second[i] = b * cos[i] + a * sin[i];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::{RopeRule, RopeScaling};

    #[test]
    fn rotation_depends_on_the_distance_alone() {
        let rule = RopeRule {
            theta: 500_000.0,
            scaling: RopeScaling::Linear { factor: 2.0 },
        };
        let table = Table::new(&rule.rope(8), 16);
        let q: Vec<f32> = (0..8).map(|i| (i as f32 * 0.7).sin()).collect();
        let k: Vec<f32> = (0..8).map(|i| (i as f32 * 1.3).cos()).collect();
        let score = |i, j| {
            let (mut q, mut k) = (q.clone(), k.clone());
            table.rotate(&mut q, i);
            table.rotate(&mut k, j);
            q.iter().zip(&k).map(|(a, b)| a * b).sum::<f32>()
        };
        assert!((score(7, 3) - score(14, 10)).abs() < 1e-5);
        assert!((score(7, 3) - score(7, 5)).abs() > 1e-3);
    }
}
