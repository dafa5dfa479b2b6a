//! A unit's weights, a format, and what is known of the unit's inputs -> the planes of its record in the weight file.
//!
//! What a plan keeps in `plan.codes` are these planes; `pack` copies them, `fake` reads the weights they stand for.

#[cfg(feature = "calibrate")]
pub mod factor;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Mutex;

use gemc_format::{
    Codec, Factor, FeedbackScratch, PackedSize, PackedTile, QuantisedRow, Rounding, TILE_ROWS,
    dequantise_row, quantise_row, quantise_row_with_feedback,
};
use sha2::{Digest as _, Sha256};

use crate::graph::Shape;
use crate::pack::layout::PART_ROWS;
use crate::workers;

impl Shape {
    /// Geometry of the record.
    #[must_use]
    pub fn size(&self, codec: Codec) -> PackedSize {
        let rows = self.parts.iter().map(|n| n.next_multiple_of(PART_ROWS));
        PackedSize::new(codec, rows.sum(), self.cols)
    }

    /// What kernels read of it in a format: codes, block scales and row scales, without padding.
    #[must_use]
    pub fn bytes(&self, codec: Codec) -> u64 {
        let bits = self.weights() * codec.spec().code_bits as usize
            + self.rows() * self.cols.div_ceil(32) * 8;
        bits.div_ceil(8) as u64 + 4 * self.rows() as u64
    }

    /// Where a row is in the record.
    fn packed_row(&self, row: usize) -> usize {
        let (mut row, mut first) = (row, 0);
        for &rows in &self.parts {
            if row < rows {
                break;
            }
            row -= rows;
            first += rows.next_multiple_of(PART_ROWS);
        }
        first + row
    }

    /// First row, among the unit's own, and number of rows of each tile of the record.
    fn tiles(&self) -> Vec<(usize, usize)> {
        let mut tiles = Vec::new();
        let mut first = 0;
        for &rows in &self.parts {
            for start in (0..rows.next_multiple_of(PART_ROWS)).step_by(TILE_ROWS) {
                tiles.push((
                    first + start.min(rows),
                    rows.saturating_sub(start).min(TILE_ROWS),
                ));
            }
            first += rows;
        }
        tiles
    }
}

/// What is known of a unit's inputs, which is also how it is rounded.
#[derive(Clone, Copy, Debug)]
pub enum Inputs<'a> {
    /// Nothing.
    Unknown(Rounding),
    /// The mean square of each column: a search over scales.
    Importance(&'a [f32]),
    /// All second moments: error feedback.
    Factor(&'a Factor<'a>),
}

/// A unit in a format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planes {
    /// The format.
    pub codec: Codec,
    /// Of the unit.
    pub shape: Shape,
    /// The record: see `PackedSize`.
    pub bytes: Vec<u8>,
}

impl Planes {
    /// The weights that the codes stand for, `[rows, cols]`.
    #[must_use]
    pub fn weights(&self) -> Vec<f32> {
        dequantise(&self.bytes, &self.shape, self.codec)
    }

    /// Identifies the content.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(&self.bytes).into()
    }
}

/// The weights that a record's planes stand for, `[rows, cols]`.
///
/// # Panics
/// When the planes are of another size.
#[must_use]
pub fn dequantise(planes: &[u8], shape: &Shape, codec: Codec) -> Vec<f32> {
    let mut weights = vec![0.0; shape.weights()];
    dequantise_rows(planes, shape, codec, 0..shape.rows(), &mut weights);
    weights
}

/// Some rows of them.
///
/// # Panics
/// When there are not as many, or `out` is of another size.
pub fn dequantise_rows(
    planes: &[u8],
    shape: &Shape,
    codec: Codec,
    rows: Range<usize>,
    out: &mut [f32],
) {
    assert!(
        rows.end <= shape.rows() && out.len() == rows.len() * shape.cols,
        "rows {rows:?} of {}",
        shape.rows()
    );
    let size = shape.size(codec);
    let mut scratch = QuantisedRow::default();
    for (row, out) in rows.zip(out.chunks_exact_mut(size.cols.max(1))) {
        let packed = shape.packed_row(row);
        dequantise_row(&size, planes, packed, &mut scratch, out);
    }
}

/// Quantises a unit; `weights` are `[rows, cols]`. On all cores, and the same whatever their number.
///
/// # Panics
/// When `weights` or `inputs` are of another shape.
#[must_use]
pub fn quantise(weights: &[f32], shape: &Shape, codec: Codec, inputs: Inputs<'_>) -> Planes {
    assert_eq!(weights.len(), shape.weights(), "one weight per element");
    let size = shape.size(codec);
    let tiles = shape.tiles();
    let bytes = Mutex::new(vec![0; size.bytes]);
    let share = tiles.len().div_ceil(workers::wanted() * 4).max(1);
    let next = std::sync::atomic::AtomicUsize::new(0);
    let work = || {
        let mut worker = Worker::new(&size);
        loop {
            let begin = next.fetch_add(share, std::sync::atomic::Ordering::Relaxed);
            for (tile, &(first, rows)) in tiles.iter().enumerate().skip(begin).take(share) {
                let weights = &weights[first * size.cols..][..rows * size.cols];
                worker.tile(weights, codec, inputs);
                let mut bytes = bytes.lock().unwrap_or_else(|e| e.into_inner());
                bytes[size.codes(tile)].copy_from_slice(&worker.tile.codes);
                bytes[size.scales(tile)].copy_from_slice(&worker.tile.scales);
                bytes[size.row_scales(tile)].copy_from_slice(&worker.tile.row_scales);
            }
            if begin >= tiles.len() {
                return;
            }
        }
    };
    workers::share(work);
    Planes {
        codec,
        shape: shape.clone(),
        bytes: bytes.into_inner().unwrap_or_else(|e| e.into_inner()),
    }
}

/// One thread's memory.
struct Worker {
    size: PackedSize,
    row: QuantisedRow,
    feedback: FeedbackScratch,
    tile: PackedTile,
}

impl Worker {
    fn new(size: &PackedSize) -> Self {
        Self {
            size: *size,
            row: QuantisedRow::default(),
            feedback: FeedbackScratch::default(),
            tile: PackedTile::new(size),
        }
    }

    /// Fills the tile with up to 16 rows; the rest is padding.
    fn tile(&mut self, weights: &[f32], codec: Codec, inputs: Inputs<'_>) {
        let (row, feedback) = (&mut self.row, &mut self.feedback);
        let mut rows = weights.chunks_exact(self.size.cols.max(1));
        for index in 0..TILE_ROWS {
            let Some(weights) = rows.next() else {
                self.tile.clear_row(&self.size, index);
                continue;
            };
            match inputs {
                Inputs::Unknown(rounding) => quantise_row(codec, weights, None, rounding, row),
                Inputs::Importance(h) => {
                    quantise_row(codec, weights, Some(h), Rounding::Search, row);
                }
                Inputs::Factor(factor) => {
                    quantise_row_with_feedback(codec, weights, factor, feedback, row);
                }
            }
            self.tile.set_row(&self.size, index, row);
        }
    }
}
