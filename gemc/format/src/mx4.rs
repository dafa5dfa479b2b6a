//! MX4: the values of E2M1 (0, 0.5, 1, 1.5, 2, 3, 4 and 6, and their negatives) with a power of two per block, as MXFP4 of OCP's
//! microscaling formats (v1.0) has them. Values are doubled to be integers, and the bias of scales is one more for it: scale bytes
//! are those of MXFP4, but for byte 0, a block of zeros.

use super::Scales;
use super::uneven::{Border, Uneven, borders};

static TABLE: [i8; 16] = [-12, -8, -6, -4, -3, -2, -1, 0, 1, 2, 3, 4, 6, 8, 12, 12];

/// The grid of [`super::Codec::MX4`].
pub(super) struct MX4;

impl Uneven for MX4 {
    const TABLE: &'static [i8] = &TABLE;
    const BORDERS: &'static [Border] = &borders::<16, 14>(&TABLE);
    const SCALES: Scales = Scales::PowersOfTwo { bias: 128 };
    const SHIFT: i32 = 0;
    const TRIES: i32 = 3;
    const STEP: f32 = 0.05;
}
