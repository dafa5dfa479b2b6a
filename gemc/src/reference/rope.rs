//! Rotary embedding: cos and sin in f32 from frequencies in f64, applied rotate-half as in LLaMA.

use crate::graph::Rope;

/// cos and sin of positions `0..positions`.
pub(super) struct Table {
    key: (Rope, usize),
    /// Per position: the cosines of all pairs, then the sines.
    values: Vec<f32>,
}

impl Table {
    pub fn new(rope: &Rope, head_dim: usize, positions: usize) -> Self {
        let frequencies = rope.frequencies(head_dim);
        let mut values = Vec::with_capacity(positions * head_dim);
        for position in 0..positions {
            let angles = frequencies.iter().map(|f| position as f64 * f);
            values.extend(angles.clone().map(|a| a.cos() as f32));
            values.extend(angles.map(|a| a.sin() as f32));
        }
        Self {
            key: (*rope, head_dim),
            values,
        }
    }

    /// Whether it was made for this rope and width.
    pub fn serves(&self, rope: &Rope, head_dim: usize) -> bool {
        self.key == (*rope, head_dim)
    }

    /// Rotates one head in place: pair i is `(x[i], x[i + head_dim / 2])`.
    pub fn rotate(&self, head: &mut [f32], position: usize) {
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
    use crate::graph::RopeScaling;

    #[test]
    fn rotation_depends_on_the_distance_alone() {
        let rope = Rope {
            theta: 500_000.0,
            scaling: RopeScaling::Linear { factor: 2.0 },
        };
        let table = Table::new(&rope, 8, 16);
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
