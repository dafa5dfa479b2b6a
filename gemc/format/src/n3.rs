//! N3: 8 values spaced like the quantiles of a bell curve; no two are more than 63 apart, so that four products of an
//! unsigned value and an activation code fit 16 bits.

use super::uneven::{Border, Uneven, borders};

static TABLE: [i8; 8] = [-37, -22, -13, -6, 0, 7, 15, 26];

/// The grid of [`super::Codec::N3`].
pub(super) struct N3;

impl Uneven for N3 {
    const TABLE: &'static [i8] = &TABLE;
    const BORDERS: &'static [Border] = &borders::<8, 7>(&TABLE);
    const SHIFT: i32 = 3;
    const TRIES: i32 = 4;
    const STEP: f32 = 0.07;
}
