//! Sensitivity and a budget -> a format for every unit.
//!
//! First from predictions; then measured: in the plan's own surroundings every group is moved by one format, which gives
//! slopes where they matter, and the problem is solved again. A plan is replaced only by one whose measured KL is lower.

mod predict;
mod refine;
pub mod solve;

pub use predict::{Fixed, Predictor, Speed};
pub use refine::{Refined, measured, refine};

use gemc_format::Codec;

use crate::graph::{UnitMap, Units};

/// Formats a plan chooses from, fewest bits first. L4 has N4's size and more error; it is for targets on which table
/// lookups are dear, where it takes N4's place.
pub const LADDER: [Codec; 6] = [
    Codec::N2,
    Codec::N3,
    Codec::N4,
    Codec::N5,
    Codec::L6,
    Codec::B8,
];

/// A format for each unit.
pub type Formats = UnitMap<Codec>;

/// Bytes that kernels read of all units.
#[must_use]
pub fn bytes(units: &Units, formats: &Formats) -> u64 {
    let each = units.iter().map(|unit| unit.shape.bytes(formats[unit.id]));
    each.sum()
}

/// Bytes of all units at so many bits per weight. Block scales are the quarter of a bit that bits per weight count them
/// as, whatever the columns; every format has the same block and row scales.
#[must_use]
pub fn budget_of_bits(units: &Units, bits: f64) -> u64 {
    let weights: usize = units.iter().map(|unit| unit.shape.weights()).sum();
    let scales: usize = units
        .iter()
        .map(|unit| unit.shape.rows() * (unit.shape.cols.div_ceil(32) + 4))
        .sum();
    (weights as f64 * (bits - 0.25) / 8.0).max(0.0).floor() as u64 + scales as u64
}
