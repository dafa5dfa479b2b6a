//! Activations as int8 codes, one scale per block: the rule that every kernel follows, in plain code.

use super::BLOCK;

/// Blocks with no magnitude above this are zero: its inverse times 127 would not be a finite f32.
pub const TINY: f32 = 1e-30;

/// Columns of an activation block. Wide blocks cost a product fewer conversions to float; a large value then coarsens the
/// codes of 255 others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ActivationBlock {
    /// 32: those of a block of weights.
    #[default]
    Of32,
    /// 256; the last of a row may be shorter.
    Of256,
}

impl ActivationBlock {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Of32, Self::Of256];

    /// Columns.
    #[must_use]
    pub const fn columns(self) -> usize {
        match self {
            Self::Of32 => BLOCK,
            Self::Of256 => 8 * BLOCK,
        }
    }

    /// Blocks of weights that share its scale.
    #[must_use]
    pub const fn weight_blocks(self) -> usize {
        self.columns() / BLOCK
    }

    /// The block of so many columns.
    #[must_use]
    pub fn of_columns(columns: usize) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|block| block.columns() == columns)
    }
}

/// Quantises one block into `codes`, and gives its scale: with `amax` the largest magnitude, codes are `x * (127 / amax)`
/// rounded to nearest even and the scale is `amax * (1 / 127)`; all are zero when `amax` is at most [`TINY`].
///
/// # Panics
/// When there are not as many codes as values.
pub fn quantise_block(x: &[f32], codes: &mut [i8]) -> f32 {
    assert_eq!(x.len(), codes.len(), "one code a value");
    let amax = x
        .iter()
        .fold(0.0f32, |max, v| if max > v.abs() { max } else { v.abs() });
    if amax <= TINY {
        codes.fill(0);
        return 0.0;
    }
    let inverse = 127.0 / amax;
    for (code, x) in codes.iter_mut().zip(x) {
        *code = super::grid::round_to_int(x * inverse) as i8;
    }
    amax * (1.0 / 127.0)
}
