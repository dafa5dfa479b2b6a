//! N2: 4 values; no two are more than 31 apart, so that eight products of an unsigned value and an activation code fit 16
//! bits.

use super::uneven::{Border, Uneven, borders};

static TABLE: [i8; 4] = [-21, -8, 0, 10];

/// The grid of [`super::Codec::N2`].
pub(super) struct N2;

impl Uneven for N2 {
    const TABLE: &'static [i8] = &TABLE;
    const BORDERS: &'static [Border] = &borders::<4, 3>(&TABLE);
    const SHIFT: i32 = 3;
    const TRIES: i32 = 5;
    const STEP: f32 = 0.1;
}
