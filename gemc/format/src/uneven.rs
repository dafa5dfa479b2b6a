//! Grids of unevenly spaced values from a table: what the codecs N5, N4, N3 and N2 have in common.
//!
//! Where a codec has a shift, bit 0 of the scale byte moves the whole table by it, which fits skewed blocks; the rest of the byte
//! with that bit set is the scale, odd and signed. That the values of both tables are `TABLE[c]` plus a constant is what makes
//! the second one free: kernels add the constant times the block's sum of activation codes. The trick is ik_llama.cpp's
//! (`IQ4_KS`); the tables come from `gemc/lab/src/code_values.rs`.

use super::grid::{self, Grid};
use super::planes::{Plane, planes};
use super::{BLOCK, Scales};

/// The border between a code and the next: above `.0` the next is nearer; its value is `.1` larger.
pub(super) type Border = (f32, f32);

/// A codec of as many values as there are borders, and one.
pub(super) trait Uneven {
    /// Values by code, ascending; up to a power of two the last stands in the places left, which no code is.
    const TABLE: &'static [i8];
    /// [`borders`] of the values.
    const BORDERS: &'static [Border];
    /// As in [`Grid`]; integers are odd where there is a shift.
    const SCALES: Scales = Scales::Integers {
        most: 127,
        signed: true,
    };
    /// What bit 0 of the scale byte adds to every value; 0 when there is no such bit.
    const SHIFT: i32;
    /// As in [`Grid`].
    const TRIES: i32;
    /// As in [`Grid`].
    const STEP: f32;
}

/// The borders between the first `BORDERS` values of a table and those after them; what follows repeats the last.
pub(super) const fn borders<const PLACES: usize, const BORDERS: usize>(
    table: &[i8; PLACES],
) -> [Border; BORDERS] {
    assert!(BORDERS < PLACES, "one border between each two values");
    let mut borders = [(0.0, 0.0); BORDERS];
    let mut code = 0;
    while code + 1 < PLACES {
        let (low, high) = (table[code] as f32, table[code + 1] as f32);
        assert!(
            (low < high) == (code < BORDERS),
            "values ascend, then the last is repeated"
        );
        if code < BORDERS {
            borders[code] = ((low + high) * 0.5, high - low);
        }
        code += 1;
    }
    borders
}

/// Code of the value nearest to zero, the upper of two.
const fn padding(table: &[i8]) -> i8 {
    let (mut best, mut code) = (0, 0);
    while code < table.len() {
        if table[code].unsigned_abs() <= table[best].unsigned_abs() {
            best = code;
        }
        code += 1;
    }
    best as i8
}

impl<T: Uneven> Grid for T {
    const PLANES: &'static [Plane] = planes(T::TABLE.len().ilog2());
    const CODES: (i8, i8) = (0, T::BORDERS.len() as i8);
    const VALUES: (i32, i32) = (
        T::TABLE[0] as i32,
        T::TABLE[T::TABLE.len() - 1] as i32 + T::SHIFT,
    );
    const PADDING: i8 = padding(T::TABLE);
    const SCALES: Scales = T::SCALES;
    const TABLE: Option<&'static [i8]> = Some(T::TABLE);
    const SHIFT: i32 = T::SHIFT;
    const ENDS: &'static [f32] = if Self::UNSIGNED {
        &[Self::LARGEST as f32]
    } else {
        &[T::TABLE[0] as f32, T::TABLE[T::TABLE.len() - 1] as f32]
    };
    const TRIES: i32 = T::TRIES;
    const STEP: f32 = T::STEP;

    fn scale(byte: u8) -> f32 {
        T::SCALES.scale(if T::SHIFT == 0 { byte } else { byte | 1 })
    }

    fn value(code: i8, byte: u8) -> i32 {
        let last = T::TABLE.len() - 1;
        i32::from(T::TABLE[code as usize & last]) + T::SHIFT * i32::from(byte & 1)
    }

    #[inline(always)]
    fn nearest_value(v: f32) -> f32 {
        // All are small integers, so the sum is exact.
        T::BORDERS
            .iter()
            .fold(f32::from(T::TABLE[0]), |value, &(from, step)| {
                value + if v >= from { step } else { 0.0 }
            })
    }

    /// Step by step over the whole block, without branches: this compiles to vector code whatever the number of steps.
    #[inline(always)]
    fn nearest_values(v: &[f32; BLOCK]) -> [f32; BLOCK] {
        let mut values = [f32::from(T::TABLE[0]); BLOCK];
        for &(from, step) in T::BORDERS {
            for (value, &v) in values.iter_mut().zip(v) {
                *value += if v >= from { step } else { 0.0 };
            }
        }
        values
    }

    #[inline(always)]
    fn nearest(v: f32) -> i8 {
        T::BORDERS
            .iter()
            .fold(0, |code, &(from, _)| code + i8::from(v >= from))
    }

    fn byte(ideal: f32, offset: i32, shifted: bool) -> u8 {
        if T::SHIFT == 0 {
            return T::SCALES.byte(ideal, offset, Self::LARGEST);
        }
        // Odd magnitude 2 * half + 1.
        let half = grid::round_to_int(grid::clamp((ideal.abs() - 1.0) * 0.5, 0.0, 63.0)) + offset;
        let magnitude = 2 * half.clamp(0, 63) + 1;
        let s = if ideal < 0.0 { -magnitude } else { magnitude };
        (s as i8 as u8 & !1) | u8::from(shifted)
    }
}
