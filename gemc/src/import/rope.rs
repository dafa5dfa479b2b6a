//! The rules by which families make rotary frequencies -> a table of them.
//!
//! The formulas are those of Hugging Face transformers 5.24, `modeling_rope_utils.py`; here in f64.

use std::f64::consts::TAU;

use crate::graph::Rope;

/// How frequencies are made.
#[derive(Clone, Debug, PartialEq)]
pub struct RopeRule {
    /// Base of the frequencies.
    pub theta: f64,
    /// How they change for contexts longer than those trained on.
    pub scaling: RopeScaling,
}

/// What is done to `theta^(-2i/width)`.
#[derive(Clone, Debug, PartialEq)]
pub enum RopeScaling {
    /// Nothing.
    None,
    /// Divided by the factor.
    Linear {
        /// Positions are divided by it.
        factor: f64,
    },
    /// LLaMA 3's: slow pairs are divided, fast ones kept.
    Llama3 {
        /// Divisor of low frequencies.
        factor: f64,
        /// Wavelengths above `original / low` are divided by `factor`.
        low_freq_factor: f64,
        /// Wavelengths below `original / high` are kept.
        high_freq_factor: f64,
        /// Context length of the original training.
        original_max_position: u32,
    },
    /// YaRN: a ramp over the pairs between divided and kept, and scaled cosines and sines.
    Yarn(Yarn),
    /// A divisor for each pair, and scaled cosines and sines.
    Long {
        /// Divisors, one a pair.
        divisors: Vec<f64>,
        /// Cosines and sines are multiplied by it.
        attention_factor: f64,
        /// Positions that they are for.
        positions: usize,
    },
    /// Exponents and pairs over the whole head, whatever is rotated of it: pairs behind the first have frequency 0.
    Proportional {
        /// Frequencies are divided by it.
        factor: f64,
        /// Pairs that are rotated.
        pairs: usize,
    },
}

/// The constants of YaRN.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Yarn {
    /// Divisor of low frequencies.
    pub factor: f64,
    /// Turns over the original context above which pairs are kept.
    pub beta_fast: f64,
    /// Turns below which pairs are divided.
    pub beta_slow: f64,
    /// Context length of the original training.
    pub original_max_position: f64,
    /// Whether the ends of the ramp are whole pairs.
    pub truncate: bool,
    /// Cosines and sines are multiplied by it.
    pub attention_factor: f64,
}

impl Yarn {
    /// `0.1 mscale ln(factor) + 1`, which scales cosines and sines.
    #[must_use]
    pub fn scale(factor: f64, mscale: f64) -> f64 {
        if factor <= 1.0 {
            1.0
        } else {
            0.1 * mscale * factor.ln() + 1.0
        }
    }

    /// How far each pair is divided: 0 is kept, 1 divided by the factor.
    fn ramp(&self, theta: f64, width: usize) -> impl Fn(usize) -> f64 {
        let pair = |turns: f64| {
            let ratio = self.original_max_position / (turns * TAU);
            width as f64 * ratio.ln() / (2.0 * theta.ln())
        };
        let (mut low, mut high) = (pair(self.beta_fast), pair(self.beta_slow));
        if self.truncate {
            (low, high) = (low.floor(), high.ceil());
        }
        let (low, mut high) = (low.max(0.0), high.min(width as f64 - 1.0));
        if low == high {
            high += 0.001;
        }
        move |i| ((i as f64 - low) / (high - low)).clamp(0.0, 1.0)
    }
}

impl RopeRule {
    /// The table for `width` rotated columns of a head.
    #[must_use]
    pub fn rope(&self, width: usize) -> Rope {
        Rope {
            frequencies: self.frequencies(width).into(),
            factor: match &self.scaling {
                RopeScaling::Yarn(yarn) => yarn.attention_factor as f32,
                RopeScaling::Long {
                    attention_factor, ..
                } => *attention_factor as f32,
                RopeScaling::None
                | RopeScaling::Linear { .. }
                | RopeScaling::Llama3 { .. }
                | RopeScaling::Proportional { .. } => 1.0,
            },
            words: self.words(),
        }
    }

    /// The rule for people.
    fn words(&self) -> String {
        let theta = self.theta;
        match &self.scaling {
            RopeScaling::None => format!("theta {theta}"),
            RopeScaling::Linear { factor } => format!("theta {theta} over {factor}"),
            RopeScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_max_position,
            } => format!(
                "theta {theta} over {factor} of {original_max_position}, {low_freq_factor} to {high_freq_factor}"
            ),
            RopeScaling::Yarn(yarn) => format!(
                "theta {theta}, yarn over {} of {}, {} to {}",
                yarn.factor, yarn.original_max_position, yarn.beta_slow, yarn.beta_fast
            ),
            RopeScaling::Long { .. } => format!("theta {theta}, a divisor for each pair"),
            RopeScaling::Proportional { factor, .. } => {
                format!("theta {theta} over {factor}, proportional")
            }
        }
    }

    fn frequencies(&self, width: usize) -> Vec<f64> {
        let plain = (0..width / 2).map(|i| self.theta.powf(-((2 * i) as f64) / width as f64));
        match &self.scaling {
            RopeScaling::None => plain.collect(),
            RopeScaling::Linear { factor } => plain.map(|f| f / factor).collect(),
            RopeScaling::Proportional { factor, pairs } => {
                let rotated = |(i, f)| if i < *pairs { f / factor } else { 0.0 };
                plain.enumerate().map(rotated).collect()
            }
            RopeScaling::Llama3 {
                factor,
                low_freq_factor: low,
                high_freq_factor: high,
                original_max_position,
            } => plain
                .map(|f| {
                    let turns = f64::from(*original_max_position) * f / TAU;
                    if turns < *low {
                        f / factor
                    } else if turns > *high {
                        f
                    } else {
                        let smooth = (turns - low) / (high - low);
                        (1.0 - smooth) * f / factor + smooth * f
                    }
                })
                .collect(),
            RopeScaling::Yarn(yarn) => {
                let ramp = yarn.ramp(self.theta, width);
                let mixed = |(i, f): (usize, f64)| {
                    let divided = ramp(i);
                    f / yarn.factor * divided + f * (1.0 - divided)
                };
                plain.enumerate().map(mixed).collect()
            }
            RopeScaling::Long { divisors, .. } => plain
                .zip(divisors)
                .map(|(f, divisor)| f / divisor)
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(theta: f64, scaling: RopeScaling, width: usize) -> Vec<f64> {
        RopeRule { theta, scaling }.rope(width).frequencies.to_vec()
    }

    #[test]
    fn llama3_keeps_fast_pairs_divides_slow_ones_and_is_continuous() {
        let scaling = RopeScaling::Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position: 8192,
        };
        let plain = table(500_000.0, RopeScaling::None, 128);
        let scaled = table(500_000.0, scaling, 128);
        assert_eq!(plain[0], scaled[0]);
        assert!((plain[63] / scaled[63] - 8.0).abs() < 1e-12);
        let ratios: Vec<f64> = plain.iter().zip(&scaled).map(|(a, b)| a / b).collect();
        assert!(ratios.is_sorted());
        assert!(ratios.iter().any(|r| (1.5..7.0).contains(r)));
    }

    #[test]
    fn yarn_divides_slow_pairs_alone_and_scales_cosines() {
        let yarn = Yarn {
            factor: 32.0,
            beta_fast: 32.0,
            beta_slow: 1.0,
            original_max_position: 4096.0,
            truncate: false,
            attention_factor: Yarn::scale(32.0, 1.0),
        };
        let plain = table(150_000.0, RopeScaling::None, 64);
        let scaled = table(150_000.0, RopeScaling::Yarn(yarn), 64);
        assert_eq!(plain[0], scaled[0]);
        assert!((plain[31] / scaled[31] - 32.0).abs() < 1e-12);
        assert!((yarn.attention_factor - 1.346_573_59).abs() < 1e-8);
        assert_eq!(Yarn::scale(1.0, 1.0), 1.0);
    }

    #[test]
    fn proportional_exponents_are_over_the_whole_head() {
        let scaling = RopeScaling::Proportional {
            factor: 1.0,
            pairs: 2,
        };
        let part = table(10_000.0, scaling, 8);
        assert_eq!(part[..2], table(10_000.0, RopeScaling::None, 8)[..2]);
        assert_eq!(part[2..], [0.0, 0.0]);
    }
}
