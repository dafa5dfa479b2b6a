//! The elementwise functions of the reference in f32, written so that their loops vectorise.
//!
//! `exp` is within 2 ulp of the exact value; sums run in eight lanes, which also keeps their error small.

use crate::graph::{Activation, CLAMPED_FACTOR, CLAMPED_LIMIT};

const LANES: usize = 8;

/// e^x within 2 ulp (Cephes' polynomial); 0 below the normal range, saturating at e^88 above.
#[inline(always)]
#[must_use]
pub fn exp(x: f32) -> f32 {
    const LOWEST: f32 = -87.3;
    const HIGHEST: f32 = 88.0;
    /// Adding this leaves the rounded value in the low bits of the mantissa.
    const ROUND: f32 = 12_582_912.0;
    /// ln 2 in two parts, the first exact in few bits.
    const LN2: (f32, f32) = (0.693_359_4, -2.121_944_4e-4);
    const COEFFICIENTS: [f32; 5] = [
        1.398_199_9e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        1.666_666_5e-1,
        0.5,
    ];
    let c = if x < LOWEST { LOWEST } else { x };
    let c = if c > HIGHEST { HIGHEST } else { c };
    let shifted = c * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (c - n * LN2.0) - n * LN2.1;
    let mut polynomial = 1.987_569_1e-4;
    for coefficient in COEFFICIENTS {
        polynomial = polynomial * r + coefficient;
    }
    let exponent = shifted.to_bits().wrapping_sub(ROUND.to_bits());
    let power = f32::from_bits(exponent.wrapping_add(127) << 23);
    let y = (polynomial * (r * r) + r + 1.0) * power;
    if x < LOWEST { 0.0 } else { y }
}

/// 1 / (1 + e^-x).
#[inline(always)]
#[must_use]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// `c sigmoid(1.702 c)` of `c = min(x, 7)`.
#[inline(always)]
fn clamped_silu(x: f32) -> f32 {
    let x = x.min(CLAMPED_LIMIT);
    x * sigmoid(CLAMPED_FACTOR * x)
}

/// `out = act(gate) * up`, elementwise.
pub fn gated(act: Activation, gate: &[f32], up: &[f32], out: &mut [f32]) {
    match act {
        Activation::Silu => zip3(gate, up, out, |g, u| g * sigmoid(g) * u),
        Activation::Gelu => zip3(gate, up, out, |g, u| gelu(g) * u),
        Activation::GeluTanh => zip3(gate, up, out, |g, u| gelu_tanh(g) * u),
        Activation::Relu => zip3(gate, up, out, |g, u| g.max(0.0) * u),
        Activation::Tanh => zip3(gate, up, out, |g, u| libm::tanhf(g) * u),
        Activation::ClampedSilu => zip3(gate, up, out, |g, u| {
            clamped_silu(g) * (u.clamp(-CLAMPED_LIMIT, CLAMPED_LIMIT) + 1.0)
        }),
    }
}

/// `out = act(x)`, elementwise.
pub fn activate(act: Activation, x: &[f32], out: &mut [f32]) {
    match act {
        Activation::Silu => zip3(x, x, out, |x, _| x * sigmoid(x)),
        Activation::Gelu => zip3(x, x, out, |x, _| gelu(x)),
        Activation::GeluTanh => zip3(x, x, out, |x, _| gelu_tanh(x)),
        Activation::Relu => zip3(x, x, out, |x, _| x.max(0.0)),
        Activation::Tanh => zip3(x, x, out, |x, _| libm::tanhf(x)),
        Activation::ClampedSilu => zip3(x, x, out, |x, _| clamped_silu(x)),
    }
}

#[inline(always)]
fn zip3(a: &[f32], b: &[f32], out: &mut [f32], f: impl Fn(f32, f32) -> f32) {
    for ((y, a), b) in out.iter_mut().zip(a).zip(b) {
        *y = f(*a, *b);
    }
}

/// The erf form.
fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + libm::erff(x * std::f32::consts::FRAC_1_SQRT_2))
}

/// PyTorch's tanh form.
fn gelu_tanh(x: f32) -> f32 {
    const ROOT: f32 = std::f32::consts::FRAC_2_SQRT_PI * std::f32::consts::FRAC_1_SQRT_2;
    0.5 * x * (1.0 + libm::tanhf(ROOT * (x + 0.044_715 * x * x * x)))
}

/// Sum of `f` over a row.
#[inline(always)]
pub fn sum_of(row: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let chunks = row.chunks_exact(LANES);
    let rest: f32 = chunks.remainder().iter().map(|x| f(*x)).sum();
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane += f(*x);
        }
    }
    rest + lanes.iter().sum::<f32>()
}

/// The largest value of a row; minus infinity of an empty one.
pub fn max_of(row: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = row.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane = larger(*lane, *x);
        }
    }
    let most = lanes.into_iter().fold(f32::NEG_INFINITY, larger);
    rest.iter().copied().fold(most, larger)
}

/// Softmax in place; entries of minus infinity become zero. At least one entry must be finite.
pub fn softmax(row: &mut [f32]) {
    softmax_with(None, row);
}

/// Softmax in place beside one more entry that is not in the row.
pub fn softmax_with(other: Option<f32>, row: &mut [f32]) {
    let largest = other.into_iter().fold(max_of(row), f32::max);
    for x in row.iter_mut() {
        *x = exp(*x - largest);
    }
    let other = other.map_or(0.0, |x| exp(x - largest));
    let scale = 1.0 / (sum_of(row, |x| x) + other);
    for x in row.iter_mut() {
        *x *= scale;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_within_three_in_ten_million() {
        let mut worst = 0.0f64;
        for i in -87_000..88_000 {
            let x = i as f32 * 1e-3;
            let exact = f64::from(x).exp();
            worst = worst.max((f64::from(exp(x)) - exact).abs() / exact);
        }
        assert!(worst < 3e-7, "{worst}");
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(-1e4), 0.0);
        assert!(exp(1e4).is_finite());
    }

    #[test]
    fn activations_match_their_formulas_in_f64() {
        let x: Vec<f32> = (-80..=80).map(|i| i as f32 * 0.1).collect();
        for act in Activation::ALL {
            let mut out = vec![0.0; x.len()];
            activate(act, &x, &mut out);
            for (x, y) in x.iter().zip(&out) {
                let x = f64::from(*x);
                let want = match act {
                    Activation::Silu => x / (1.0 + (-x).exp()),
                    Activation::Gelu => 0.5 * x * (1.0 + libm::erf(x / 2f64.sqrt())),
                    Activation::GeluTanh => {
                        let inner =
                            (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
                        0.5 * x * (1.0 + inner.tanh())
                    }
                    Activation::Relu => x.max(0.0),
                    Activation::Tanh => x.tanh(),
                    Activation::ClampedSilu => {
                        let x = x.min(7.0);
                        x / (1.0 + (-1.702 * x).exp())
                    }
                };
                assert!((f64::from(*y) - want).abs() < 1e-6, "{act:?}({x})");
            }
        }
    }

    #[test]
    fn softmax_ignores_masked_entries() {
        let mut row = [1.0, f32::NEG_INFINITY, 2.0];
        softmax(&mut row);
        assert_eq!(row[1], 0.0);
        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert!((row[2] / row[0] - 1f32.exp()).abs() < 1e-5);
    }
}
