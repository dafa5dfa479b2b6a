//! Path and shape of a tensor -> random bf16 values, streamed. The values of a tensor depend on seed, path and position
//! alone, not on the tensors before it.

use std::collections::HashMap;
use std::io::{self, Write};

use crate::graph::{Graph, Op, Site, TensorId, Untyped};
use crate::progress::Progress;

/// SplitMix64 (Steele, Lea and Flood, 2014): one multiplication chain per value, and any seed is a good one.
struct SplitMix(u64);

impl SplitMix {
    /// A stream of its own for each tensor; FNV-1a of the path.
    fn of(seed: u64, path: &str) -> Self {
        let hash = path.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| {
            (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Self(hash ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Nearly normal with deviation 1: the sum of four uniform 16-bit numbers, each of variance 1/12.
    fn normal(&mut self) -> f32 {
        const LANES: u64 = 0x0000_ffff_0000_ffff;
        let bits = self.next();
        let pairs = (bits & LANES) + ((bits >> 16) & LANES);
        let sum = (pairs & 0xffff_ffff) + (pairs >> 32);
        (sum as f32 / 65_536.0 - 2.0) * 3f32.sqrt()
    }
}

/// How the tensors of a model are drawn.
pub struct Draw {
    seed: u64,
    /// Products whose results are added to what a layer was given: of all layers.
    residuals: f32,
    /// What is added to values of a stored tensor that is a norm's weight, by its path.
    norms: HashMap<String, f32>,
}

impl Draw {
    /// For a graph's tensors.
    pub fn of(graph: &Graph<Untyped>, seed: u64) -> Self {
        let layers = graph
            .starts()
            .filter(|(site, _)| matches!(site, Site::Layer(_)));
        let mut norms = HashMap::new();
        for (_, node) in graph.topo() {
            for id in norm_weights(&node.op) {
                let view = &graph.tensor(id).view;
                let mut zero = [0.0];
                view.adjust(&mut zero);
                norms.insert(view.stored().to_owned(), zero[0]);
            }
        }
        Self {
            seed,
            residuals: (2 * layers.count()) as f32,
            norms,
        }
    }

    /// Mean and deviation by what the tensor is; residual outputs are scaled down by depth, as in GPT-2.
    fn distribution(&self, path: &str, shape: &[usize]) -> (f32, f32) {
        let fan_in = shape.last().copied().unwrap_or(1).max(1) as f32;
        if let Some(added) = self.norms.get(path) {
            (1.0 - added, 0.0)
        } else if path.ends_with(".bias") || path.contains("embed") {
            (0.0, 0.02)
        } else if path.ends_with("router.centroids") {
            (0.0, 1.0)
        } else if path.ends_with("o_proj.weight") || path.ends_with("down_proj.weight") {
            (0.0, 1.0 / (fan_in * self.residuals).sqrt())
        } else {
            (0.0, 1.0 / fan_in.sqrt())
        }
    }

    /// Writes one tensor.
    ///
    /// # Errors
    /// When the writer fails.
    pub fn write(
        &self,
        w: &mut dyn Write,
        path: &str,
        shape: &[usize],
        progress: &dyn Progress,
    ) -> io::Result<()> {
        const CHUNK: usize = 1 << 16;
        let (mean, deviation) = self.distribution(path, shape);
        let mut random = SplitMix::of(self.seed, path);
        let mut left: u64 = shape.iter().map(|&d| d as u64).product();
        let mut chunk = vec![0u8; 2 * CHUNK];
        while left > 0 {
            let now = left.min(CHUNK as u64);
            let bytes = &mut chunk[..2 * now as usize];
            for slot in bytes.as_chunks_mut::<2>().0 {
                let value = half::bf16::from_f32(mean + deviation * random.normal());
                *slot = value.to_le_bytes();
            }
            w.write_all(bytes)?;
            progress.advance(now);
            left -= now;
        }
        Ok(())
    }
}

/// Weights of norms, of rows or of heads.
fn norm_weights(op: &Op) -> Vec<TensorId> {
    match op {
        Op::Norm { weight, .. } => vec![*weight],
        Op::Attention { .. } => op.tensors(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_nearly_normal() {
        let mut random = SplitMix::of(7, "model.embed_tokens.weight");
        let n = 100_000;
        let values: Vec<f64> = (0..n).map(|_| f64::from(random.normal())).collect();
        let mean = values.iter().sum::<f64>() / f64::from(n);
        let variance = values.iter().map(|v| v * v).sum::<f64>() / f64::from(n);
        assert!(
            mean.abs() < 0.02 && (variance - 1.0).abs() < 0.02,
            "{mean} {variance}"
        );
    }
}
