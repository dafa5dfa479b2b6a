//! What a codec file provides: its set of values, its kind of scales, and the way between reals, codes and scale bytes.

use super::planes::Plane;
use super::{BLOCK, Scales};

/// A codec's values and scales. Rounding, search and feedback know a block by `s`, whatever its kind: a real scale in units of
/// the row scale is rounded to the byte of an `s` near to it.
pub(super) trait Grid {
    /// Where the bits of a code are stored.
    const PLANES: &'static [Plane];
    /// Smallest and largest code; values ascend with codes.
    const CODES: (i8, i8);
    /// Smallest and largest value, shifts included.
    const VALUES: (i32, i32);
    /// Code whose value is nearest to zero; without row scales it must be zero.
    const PADDING: i8;
    /// What scale bytes stand for, and whether rows have scales.
    const SCALES: Scales;
    /// Values by code before any shift, for codecs that look them up.
    const TABLE: Option<&'static [i8]> = None;
    /// What bit 0 of the scale byte adds to every value; 0 when there is no such bit.
    const SHIFT: i32 = 0;
    /// Values that the largest magnitude of a block may stand at; the first serves plain rounding.
    const ENDS: &'static [f32];
    /// Whether `s` is never negative: then ends stand for magnitudes.
    const UNSIGNED: bool = Self::SCALES.unsigned();
    /// Largest magnitude of a value.
    const LARGEST: i32 = if Self::VALUES.1 > -Self::VALUES.0 {
        Self::VALUES.1
    } else {
        -Self::VALUES.0
    };
    /// The search tries ends times `1 + i * STEP` for `i` in `-TRIES..=TRIES`, then both sides of the best by half a step.
    const TRIES: i32;
    /// See `TRIES`.
    const STEP: f32;

    /// The scale `s` of a scale byte.
    #[inline(always)]
    fn scale(byte: u8) -> f32 {
        Self::SCALES.scale(byte)
    }

    /// Value of a code in a block with this scale byte.
    fn value(code: i8, byte: u8) -> i32;

    /// `s * v` of a code: its weight in units of the row scale. Zero has no sign, as in integers.
    #[inline(always)]
    fn level(code: i8, byte: u8) -> f32 {
        Self::scale(byte) * Self::value(code, byte) as f32 + 0.0
    }

    /// Nearest value to `v` before any shift. NaN gives some value.
    fn nearest_value(v: f32) -> f32;

    /// [`nearest_value`](Self::nearest_value) of a block: the inner loop of the search.
    #[inline(always)]
    fn nearest_values(v: &[f32; BLOCK]) -> [f32; BLOCK] {
        v.map(|v| Self::nearest_value(v))
    }

    /// Code of the nearest value to `v` before any shift. NaN gives some code.
    fn nearest(v: f32) -> i8;

    /// The scale byte whose `s` is nearest to `ideal`, moved by `offset` steps, and with the shift bit. Not zero.
    #[inline(always)]
    fn byte(ideal: f32, offset: i32, _shifted: bool) -> u8 {
        Self::SCALES.byte(ideal, offset, Self::LARGEST)
    }

    /// As `byte`, for plain rounding.
    fn plain_byte(ideal: f32) -> u8 {
        Self::byte(ideal, 0, false)
    }

    /// Scale byte of an all-zero block.
    fn zero_byte() -> u8 {
        0
    }
}

/// 1.5 * 2^23: adding it rounds a float of magnitude below 2^22 to an integer, to nearest even.
const ROUNDER: f32 = 12_582_912.0;

/// Nearest integer, ties to even, as an integer; `|v|` below 2^22.
#[inline(always)]
pub(super) fn round_to_int(v: f32) -> i32 {
    ((v + ROUNDER).to_bits() as i32).wrapping_sub(ROUNDER.to_bits() as i32)
}

/// Nearest integer, ties to even; `|v|` below 2^22.
#[inline(always)]
pub(super) fn round(v: f32) -> f32 {
    (v + ROUNDER) - ROUNDER
}

/// `v` within bounds; NaN gives `lo`. Compiles to two vector instructions, unlike `f32::clamp`.
#[inline(always)]
pub(super) fn clamp(v: f32, lo: f32, hi: f32) -> f32 {
    let v = if v > lo { v } else { lo };
    if v < hi { v } else { hi }
}
