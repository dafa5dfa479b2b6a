//! L4: 16 evenly spaced values -8..=7 with a signed 8-bit block scale, so that either side may be the longer one.

use super::Scales;
use super::grid::{self, Grid};
use super::planes::{Plane, planes};

/// The grid of [`super::Codec::L4`].
pub(super) struct L4;

impl Grid for L4 {
    const PLANES: &'static [Plane] = planes(4);
    const CODES: (i8, i8) = (0, 15);
    const VALUES: (i32, i32) = (-8, 7);
    const PADDING: i8 = 8;
    const SCALES: Scales = Scales::Integers {
        most: 127,
        signed: true,
    };
    const ENDS: &'static [f32] = &[-8.0, 7.0];
    const TRIES: i32 = 3;
    const STEP: f32 = 0.05;

    fn value(code: i8, _byte: u8) -> i32 {
        i32::from(code) - 8
    }

    #[inline(always)]
    fn nearest_value(v: f32) -> f32 {
        grid::round(grid::clamp(v, -8.0, 7.0))
    }

    #[inline(always)]
    fn nearest(v: f32) -> i8 {
        (grid::round_to_int(grid::clamp(v, -8.0, 7.0)) + 8) as i8
    }
}
