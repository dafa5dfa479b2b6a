//! B8: signed bytes with an unsigned 8-bit block scale.

use super::Scales;
use super::grid::{self, Grid};
use super::planes::{Plane, planes};

/// The grid of [`super::Codec::B8`].
pub(super) struct B8;

impl Grid for B8 {
    const PLANES: &'static [Plane] = planes(8);
    const CODES: (i8, i8) = (-127, 127);
    const VALUES: (i32, i32) = (-127, 127);
    const PADDING: i8 = 0;
    const SCALES: Scales = Scales::Integers {
        most: 255,
        signed: false,
    };
    const ENDS: &'static [f32] = &[127.0];
    const TRIES: i32 = 2;
    const STEP: f32 = 0.004;

    fn value(code: i8, _byte: u8) -> i32 {
        i32::from(code)
    }

    #[inline(always)]
    fn nearest_value(v: f32) -> f32 {
        grid::round(grid::clamp(v, -127.0, 127.0))
    }

    #[inline(always)]
    fn nearest(v: f32) -> i8 {
        grid::round_to_int(grid::clamp(v, -127.0, 127.0)) as i8
    }

    /// Rounds up: clipping the largest weight of a block costs more than a slightly wider step.
    fn plain_byte(ideal: f32) -> u8 {
        let nearest = Self::byte(ideal, 0, false);
        if f32::from(nearest) < ideal {
            nearest.saturating_add(1)
        } else {
            nearest
        }
    }
}
