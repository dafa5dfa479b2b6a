//! N5: 32 values spaced like the quantiles of a bell curve; no two are more than 127 apart, as in N4.

use super::uneven::{Border, Uneven, borders};

static TABLE: [i8; 32] = [
    -65, -58, -50, -45, -41, -37, -33, -29, -25, -21, -18, -15, -12, -9, -6, -3, 0, 3, 5, 8, 11,
    14, 17, 21, 25, 29, 33, 37, 42, 47, 53, 62,
];

/// The grid of [`super::Codec::N5`].
pub(super) struct N5;

impl Uneven for N5 {
    const TABLE: &'static [i8] = &TABLE;
    const BORDERS: &'static [Border] = &borders::<32, 31>(&TABLE);
    const SHIFT: i32 = 1;
    const TRIES: i32 = 3;
    const STEP: f32 = 0.03;
}
