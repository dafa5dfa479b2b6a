//! Rotary embedding's frequencies: one rule for the reference executor and for packed tables.

use super::{Rope, RopeScaling};

impl Rope {
    /// Angle per position of each pair, `head_dim / 2` of them, in f64, with scaling applied.
    ///
    /// The llama3 rule is Hugging Face transformers' `_compute_llama3_parameters`, restated in turns of the pair over
    /// the original context.
    #[must_use]
    pub fn frequencies(&self, head_dim: usize) -> Vec<f64> {
        let plain = (0..head_dim / 2).map(|i| self.theta.powf(-((2 * i) as f64) / head_dim as f64));
        match self.scaling {
            RopeScaling::None => plain.collect(),
            RopeScaling::Linear { factor } => plain.map(|f| f / factor).collect(),
            RopeScaling::Llama3 {
                factor,
                low_freq_factor: low,
                high_freq_factor: high,
                original_max_position,
            } => plain
                .map(|f| {
                    let turns = f64::from(original_max_position) * f / std::f64::consts::TAU;
                    if turns < low {
                        f / factor
                    } else if turns > high {
                        f
                    } else {
                        let smooth = (turns - low) / (high - low);
                        (1.0 - smooth) * f / factor + smooth * f
                    }
                })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rope(scaling: RopeScaling) -> Rope {
        Rope {
            theta: 500_000.0,
            scaling,
        }
    }

    #[test]
    fn llama3_keeps_fast_pairs_divides_slow_ones_and_is_continuous() {
        let scaling = RopeScaling::Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position: 8192,
        };
        let plain = rope(RopeScaling::None).frequencies(128);
        let scaled = rope(scaling).frequencies(128);
        assert_eq!(plain[0], scaled[0]);
        assert!((plain[63] / scaled[63] - 8.0).abs() < 1e-12);
        let ratios: Vec<f64> = plain.iter().zip(&scaled).map(|(a, b)| a / b).collect();
        assert!(ratios.is_sorted());
        assert!(ratios.iter().any(|r| (1.5..7.0).contains(r)));
    }
}
