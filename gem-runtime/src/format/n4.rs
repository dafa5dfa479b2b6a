//! N4: 16 values spaced like the quantiles of a bell curve, |v| <= 63 so that four products of a value and an
//! activation code fit 16 bits; bit 0 of the scale byte moves the whole table by 2, which fits skewed blocks.

use super::grid::{self, Grid};

/// Values by code, ascending.
static TABLE: [i8; 16] = [
    -63, -52, -42, -33, -25, -18, -11, -5, 1, 7, 13, 19, 27, 35, 45, 57,
];

/// Code of the nearest value, by `round(2v - 0.5) + HALF_STEPS`: the midpoints between values are multiples of one half.
static NEAREST: [i8; 256] = nearest_codes();

/// As `NEAREST`, but the value itself.
static NEAREST_VALUE: [f32; 256] = nearest_values();

const HALF_STEPS: i32 = 128;

const fn nearest_codes() -> [i8; 256] {
    let mut codes = [0; 256];
    let mut index = 0;
    let mut code = 0;
    while index < 256 {
        // The interval starts at v = (index - 128) / 2; a midpoint is (low + high) / 2.
        let start = index as i32 - HALF_STEPS;
        while code < 15 && start >= TABLE[code] as i32 + TABLE[code + 1] as i32 {
            code += 1;
        }
        codes[index] = code as i8;
        index += 1;
    }
    codes
}

const fn nearest_values() -> [f32; 256] {
    let mut values = [0.0; 256];
    let codes = nearest_codes();
    let mut index = 0;
    while index < 256 {
        values[index] = TABLE[codes[index] as usize] as f32;
        index += 1;
    }
    values
}

#[inline(always)]
fn interval(v: f32) -> usize {
    let v = grid::clamp(v, -63.5, 63.5);
    // In -128..=127 after rounding, so the index is below 256; the mask tells the compiler.
    (grid::round_to_int(2.0 * v - 0.5) + HALF_STEPS) as usize & 255
}

/// The grid of [`super::Codec::N4`].
pub(super) struct N4;

impl Grid for N4 {
    const CODE_BITS: u32 = 4;
    const CODES: (i8, i8) = (0, 15);
    const VALUES: (i32, i32) = (-63, 59);
    const PADDING: i8 = 8;
    const SCALE_MAX: i32 = 127;
    const TABLE: Option<&'static [i8; 16]> = Some(&TABLE);
    const SHIFT: i32 = 2;
    const ENDS: &'static [f32] = &[-63.0, 57.0];
    const TRIES: i32 = 7;
    const STEP: f32 = 0.025;

    fn scale(byte: u8) -> i32 {
        i32::from((byte | 1) as i8)
    }

    fn value(code: i8, byte: u8) -> i32 {
        i32::from(TABLE[(code & 15) as usize]) + Self::SHIFT * i32::from(byte & 1)
    }

    #[inline(always)]
    fn nearest_value(v: f32) -> f32 {
        NEAREST_VALUE[interval(v)]
    }

    #[inline(always)]
    fn nearest(v: f32) -> i8 {
        NEAREST[interval(v)]
    }

    fn byte(ideal: f32, offset: i32, shifted: bool) -> u8 {
        // Odd magnitude 2 * half + 1.
        let half = grid::round_to_int(grid::clamp((ideal.abs() - 1.0) * 0.5, 0.0, 63.0)) + offset;
        let magnitude = 2 * half.clamp(0, 63) + 1;
        let s = if ideal < 0.0 { -magnitude } else { magnitude };
        (s as i8 as u8 & !1) | u8::from(shifted)
    }
}
