//! Sensitivity and a budget -> a format for every unit.
//!
//! First from predictions; then measured: in the plan's own surroundings every group is moved by one format, which gives
//! slopes where they matter, and the problem is solved again. A plan is replaced only by one whose measured KL is lower.

mod hull;
mod predict;
mod refine;
pub mod solve;

pub use predict::{FixedFormats, Predictor, Speed};
pub use refine::{RefinedPlan, measured, refine};

use gemc_format::Codec;

use crate::graph::{UnitMap, Units};

/// A format for each unit.
pub type Formats = UnitMap<Codec>;

/// Bytes that kernels read of all units.
#[must_use]
pub fn bytes(units: &Units, formats: &Formats) -> u64 {
    let each = units.iter().map(|unit| unit.shape.bytes(formats[unit.id]));
    each.sum()
}

/// Bytes of all units at so many bits per weight. A part of the bits goes to block scales, as in [`Codec::bits_per_weight`],
/// the others to codes; scales are counted as they are stored, those of the format that has most.
#[must_use]
pub fn budget_of_bits(units: &Units, bits: f64) -> u64 {
    let of = |codec: Codec| {
        let codes = weights(units) as f64 * (bits - codec.spec().scale_bits()) / 8.0;
        codes.max(0.0).floor() as u64 + scale_bytes(units, codec)
    };
    Codec::LADDER.into_iter().map(of).max().unwrap_or(0)
}

/// The fewest bits per weight whose [`budget_of_bits`] has room for so many bytes.
#[must_use]
pub fn bits_of_budget(units: &Units, bytes: u64) -> f64 {
    let of = |codec: Codec| {
        let codes = bytes.saturating_sub(scale_bytes(units, codec));
        codes as f64 * 8.0 / weights(units).max(1) as f64 + codec.spec().scale_bits()
    };
    Codec::LADDER
        .into_iter()
        .map(of)
        .fold(f64::INFINITY, f64::min)
}

fn weights(units: &Units) -> usize {
    units.iter().map(|unit| unit.shape.weights()).sum()
}

fn scale_bytes(units: &Units, codec: Codec) -> u64 {
    let each = units.iter().map(|unit| unit.shape.scale_bytes(codec));
    each.sum()
}
