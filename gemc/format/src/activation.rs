//! Activations as int8 codes, one scale per block: the rule that every kernel follows, in plain code.

use super::BLOCK;

/// Blocks with no magnitude above this are zero: its inverse times 127 would not be a finite f32.
pub const TINY: f32 = 1e-30;

/// How the inputs of a matrix product are rounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ActivationFormat {
    /// int8, a scale for the 32 columns of a block of weights.
    #[default]
    Int8,
    /// int8, a scale for 256 columns; the last block of a row may be shorter. A product converts less to float; a large value
    /// coarsens the codes of 255 others.
    Int8Wide,
    /// Two terms of [`ActivationFormat::Int8`]: the second rounds what the first has left. A product takes the time of two.
    Int16,
}

impl ActivationFormat {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Int8, Self::Int8Wide, Self::Int16];

    /// Name in plans and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Int8 => "int8",
            Self::Int8Wide => "int8-256",
            Self::Int16 => "int16",
        }
    }

    /// The format of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    /// Columns that share a scale.
    #[must_use]
    pub const fn columns(self) -> usize {
        match self {
            Self::Int8 | Self::Int16 => BLOCK,
            Self::Int8Wide => 8 * BLOCK,
        }
    }

    /// Blocks of weights that share a scale.
    #[must_use]
    pub const fn weight_blocks(self) -> usize {
        self.columns() / BLOCK
    }

    /// Rows of codes for a row of values.
    #[must_use]
    pub const fn terms(self) -> usize {
        match self {
            Self::Int8 | Self::Int8Wide => 1,
            Self::Int16 => 2,
        }
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
