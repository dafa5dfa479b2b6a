//! N4: 16 values spaced like the quantiles of a bell curve; no two are more than 127 apart, so that two products of an
//! unsigned value and an activation code fit 16 bits.

use super::uneven::{Border, Uneven, borders};

static TABLE: [i8; 16] = [
    -63, -52, -42, -33, -25, -18, -11, -5, 1, 7, 13, 19, 27, 35, 45, 57,
];

/// The grid of [`super::Codec::N4`].
pub(super) struct N4;

impl Uneven for N4 {
    const TABLE: &'static [i8] = &TABLE;
    const BORDERS: &'static [Border] = &borders::<16, 15>(&TABLE);
    const SHIFT: i32 = 2;
    const TRIES: i32 = 3;
    const STEP: f32 = 0.05;
}
