//! Rotary position embedding as a table of frequencies: front ends make it, whatever rule their family has.

use std::sync::Arc;

/// Rotary position embedding, rotate-half as in LLaMA: column i of the first half of the rotated columns is turned with
/// column i of the second half.
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    /// Angle per position of each pair; twice as many columns of a head are rotated, the first ones.
    pub frequencies: Arc<[f64]>,
    /// Cosines and sines are multiplied by it.
    pub factor: f32,
    /// How the frequencies were made, for people.
    pub words: String,
}

impl Rope {
    /// Columns of a head that are rotated.
    #[must_use]
    pub fn width(&self) -> usize {
        2 * self.frequencies.len()
    }
}
