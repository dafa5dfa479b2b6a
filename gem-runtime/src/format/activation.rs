//! Activations as int8 codes, one scale per block of 32: the rule that every kernel follows, in plain code.

use super::BLOCK;

/// Blocks with no magnitude above this are zero: its inverse times 127 would not be a finite f32.
pub const TINY: f32 = 1e-30;

/// A quantised block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ActivationBlock {
    /// -127..=127.
    pub codes: [i8; BLOCK],
    /// What a code unit stands for.
    pub scale: f32,
    /// Sum of the codes.
    pub sum: i32,
}

/// Quantises one block: with `amax` the largest magnitude, codes are `x * (127 / amax)` rounded to nearest even and the
/// scale is `amax * (1 / 127)`; both are zero when `amax` is at most [`TINY`].
#[must_use]
pub fn quantise_block(x: &[f32; BLOCK]) -> ActivationBlock {
    let amax = x
        .iter()
        .fold(0.0f32, |max, v| if max > v.abs() { max } else { v.abs() });
    let mut block = ActivationBlock {
        codes: [0; BLOCK],
        scale: 0.0,
        sum: 0,
    };
    if amax > TINY {
        let inverse = 127.0 / amax;
        for (code, x) in block.codes.iter_mut().zip(x) {
            *code = super::grid::round_to_int(x * inverse) as i8;
        }
        block.scale = amax * (1.0 / 127.0);
        block.sum = block.codes.iter().map(|&c| i32::from(c)).sum();
    }
    block
}
