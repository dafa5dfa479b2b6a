//! N4: 16 values spaced like the quantiles of a bell curve, |v| <= 63 so that four products of a value and an
//! activation code fit 16 bits; bit 0 of the scale byte moves the whole table by 2, which fits skewed blocks.

use super::grid::{self, Grid};

/// Values by code, ascending.
static TABLE: [i8; 16] = [
    -63, -52, -42, -33, -25, -18, -11, -5, 1, 7, 13, 19, 27, 35, 45, 57,
];

/// `STEPS[c]`: from here on, code `c + 1` is nearer than code `c`; and what it adds to the value.
const STEPS: [(f32, f32); 15] = steps();

const fn steps() -> [(f32, f32); 15] {
    let mut steps = [(0.0, 0.0); 15];
    let mut code = 0;
    while code < 15 {
        let (low, high) = (TABLE[code] as f32, TABLE[code + 1] as f32);
        steps[code] = ((low + high) * 0.5, high - low);
        code += 1;
    }
    steps
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
    const TRIES: i32 = 3;
    const STEP: f32 = 0.05;

    fn scale(byte: u8) -> i32 {
        i32::from((byte | 1) as i8)
    }

    fn value(code: i8, byte: u8) -> i32 {
        i32::from(TABLE[(code & 15) as usize]) + Self::SHIFT * i32::from(byte & 1)
    }

    #[inline(always)]
    fn nearest_value(v: f32) -> f32 {
        // All are small integers, so the sum is exact; without branches it compiles to vector code.
        STEPS.iter().fold(f32::from(TABLE[0]), |value, &(from, step)| {
            value + if v >= from { step } else { 0.0 }
        })
    }

    #[inline(always)]
    fn nearest(v: f32) -> i8 {
        STEPS.iter().fold(0, |code, &(from, _)| code + i8::from(v >= from))
    }

    fn byte(ideal: f32, offset: i32, shifted: bool) -> u8 {
        // Odd magnitude 2 * half + 1.
        let half = grid::round_to_int(grid::clamp((ideal.abs() - 1.0) * 0.5, 0.0, 63.0)) + offset;
        let magnitude = 2 * half.clamp(0, 63) + 1;
        let s = if ideal < 0.0 { -magnitude } else { magnitude };
        (s as i8 as u8 & !1) | u8::from(shifted)
    }
}
