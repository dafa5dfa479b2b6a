//! L6: 64 evenly spaced values -32..=31 with a signed 8-bit block scale, so that either side may be the longer one.

use super::Scales;
use super::grid::{self, Grid};
use super::planes::{Plane, planes};

/// The grid of [`super::Codec::L6`].
pub(super) struct L6;

impl Grid for L6 {
    const PLANES: &'static [Plane] = planes(6);
    const CODES: (i8, i8) = (0, 63);
    const VALUES: (i32, i32) = (-32, 31);
    const PADDING: i8 = 32;
    const SCALES: Scales = Scales::Integers {
        most: 127,
        signed: true,
    };
    const ENDS: &'static [f32] = &[-32.0, 31.0];
    const TRIES: i32 = 3;
    const STEP: f32 = 0.015;

    fn value(code: i8, _byte: u8) -> i32 {
        i32::from(code) - 32
    }

    #[inline(always)]
    fn nearest_value(v: f32) -> f32 {
        grid::round(grid::clamp(v, -32.0, 31.0))
    }

    #[inline(always)]
    fn nearest(v: f32) -> i8 {
        (grid::round_to_int(grid::clamp(v, -32.0, 31.0)) + 32) as i8
    }
}
