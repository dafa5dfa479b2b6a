//! Kinds of scales: what the scale byte of a block stands for, whether rows have scales, and how blocks are accumulated.

use super::grid::{clamp, round_to_int};

/// What scale bytes stand for. Everything that depends on the kind of a codec's scales asks this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scales {
    /// A weight is `row_scale * (s * v)`: the scale `s` is an integer, and every row has an f32.
    Integers {
        /// Largest magnitude of `s`.
        most: i32,
        /// Whether bytes are read with a sign.
        signed: bool,
    },
    /// A weight is `s * v`: the scale is `2^(byte - bias)`, or 0 for byte 0, and rows have none.
    PowersOfTwo {
        /// The byte of 1; from 1 to 254.
        bias: i32,
    },
}

/// How kernels accumulate the blocks of a row, ascending, in one f32 from 0.0. Of each block they have `isum`, the integer sum
/// of code value times activation code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockSums {
    /// `acc = fma((s * isum) as f32, a_scale, acc)`. Where an activation scale serves several blocks, their `s * isum` are added
    /// as integers before.
    Integers,
    /// `acc = fma(s * isum as f32, a_scale, acc)`, whose product with `s` is exact; every block by itself, also where an activation
    /// scale serves several.
    Floats,
}

impl Scales {
    /// Bytes of a row's scale.
    #[must_use]
    pub const fn row_bytes(self) -> usize {
        match self {
            Self::Integers { .. } => 4,
            Self::PowersOfTwo { .. } => 0,
        }
    }

    /// Whether `s` is never negative.
    #[must_use]
    pub const fn unsigned(self) -> bool {
        match self {
            Self::Integers { signed, .. } => !signed,
            Self::PowersOfTwo { .. } => true,
        }
    }

    /// How blocks are accumulated.
    #[must_use]
    pub const fn sums(self) -> BlockSums {
        match self {
            Self::Integers { .. } => BlockSums::Integers,
            Self::PowersOfTwo { .. } => BlockSums::Floats,
        }
    }

    /// `s` of a scale byte.
    #[inline(always)]
    pub(super) fn scale(self, byte: u8) -> f32 {
        match self {
            Self::Integers { signed: false, .. } => f32::from(byte),
            Self::Integers { signed: true, .. } => f32::from(byte as i8),
            Self::PowersOfTwo { bias } => f32::from_bits(u32::from(byte) << 23) * from_bias(bias),
        }
    }

    /// The byte whose `s` is near to `ideal`, moved by `offset` steps; never that of 0, and never one with which a value of
    /// magnitude `largest` is not finite. Of integers it is the nearest; of powers of two the one with which a magnitude of
    /// `ideal * largest` has the exponent of `largest`, as microscaling formats have it: a block of such a format keeps its scale.
    #[inline(always)]
    pub(super) fn byte(self, ideal: f32, offset: i32, largest: i32) -> u8 {
        match self {
            Self::Integers { most, .. } => integer(ideal, offset, most) as u8,
            Self::PowersOfTwo { bias } => {
                let top = largest.ilog2();
                let exponent = exponent(ideal * (largest as f32 / (1 << top) as f32)) + offset;
                (exponent.min(126 - top as i32) + bias).clamp(1, 254) as u8
            }
        }
    }
}

/// Nearest integer scale to `ideal`, moved by `offset`, with the sign of `ideal` and a magnitude in `1..=max`.
fn integer(ideal: f32, offset: i32, max: i32) -> i32 {
    let magnitude = round_to_int(clamp(ideal.abs(), 1.0, max as f32)) + offset;
    let magnitude = magnitude.clamp(1, max);
    if ideal < 0.0 { -magnitude } else { magnitude }
}

/// `2^(127 - bias)`: bits of a float stand for exponents with a bias of 127.
const fn from_bias(bias: i32) -> f32 {
    f32::from_bits(((254 - bias) as u32) << 23)
}

/// Exponent of a magnitude: of the largest power of two that is not above it. NaN gives some exponent.
fn exponent(x: f32) -> i32 {
    (x.abs().to_bits() >> 23) as i32 - 127
}
