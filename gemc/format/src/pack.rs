//! Rows of weights -> tiles -> the planes of a record. Everything that packs a matrix does it here; who reads the rows, and on
//! how many threads, is left to the caller.

use std::convert::Infallible;
use std::ops::Range;

use super::{
    Codec, Factor, FeedbackScratch, PackedSize, PackedTile, QuantisedRow, Rounding, Shape,
    TILE_ROWS, quantise_row, quantise_row_with_feedback,
};

/// What is known of a matrix's inputs, which is also how it is rounded.
#[derive(Clone, Copy, Debug)]
pub enum Inputs<'a> {
    /// No moments of the inputs: all columns count the same.
    Unknown(Rounding),
    /// The mean square of each column: a search over scales.
    Importance(&'a [f32]),
    /// All second moments: error feedback.
    Factor(&'a Factor<'a>),
}

/// Packs tiles of one matrix, one after the other; a thread's memory.
#[derive(Debug)]
pub struct Packer<'a> {
    size: PackedSize,
    inputs: Inputs<'a>,
    weights: Vec<f32>,
    row: QuantisedRow,
    feedback: FeedbackScratch,
}

impl<'a> Packer<'a> {
    /// For tiles of a matrix.
    #[must_use]
    pub fn new(size: &PackedSize, inputs: Inputs<'a>) -> Self {
        Self {
            size: *size,
            inputs,
            weights: Vec::new(),
            row: QuantisedRow::default(),
            feedback: FeedbackScratch::default(),
        }
    }

    /// The tile of at most 16 rows, padding behind them. `read` is asked for them once, unless there are none, and writes
    /// them to its second argument, `[rows, cols]`.
    ///
    /// # Panics
    /// For more than 16 rows, or `inputs` of another number of columns.
    pub fn tile(
        &mut self,
        rows: Range<usize>,
        read: impl FnOnce(Range<usize>, &mut [f32]),
    ) -> PackedTile {
        assert!(rows.len() <= TILE_ROWS, "a tile has at most 16 rows");
        let mut tile = PackedTile::new(&self.size);
        if rows.is_empty() {
            return tile;
        }
        self.weights.resize(rows.len() * self.size.cols, 0.0);
        read(rows, &mut self.weights);
        for (index, weights) in self.weights.chunks_exact(self.size.cols.max(1)).enumerate() {
            quantise(
                self.size.codec,
                weights,
                self.inputs,
                &mut self.feedback,
                &mut self.row,
            );
            tile.set_row(&self.size, index, &self.row);
        }
        tile
    }
}

/// One row, by what is known of its inputs.
fn quantise(
    codec: Codec,
    weights: &[f32],
    inputs: Inputs<'_>,
    feedback: &mut FeedbackScratch,
    out: &mut QuantisedRow,
) {
    match inputs {
        Inputs::Unknown(rounding) => quantise_row(codec, weights, None, rounding, out),
        Inputs::Importance(h) => quantise_row(codec, weights, Some(h), Rounding::Search, out),
        Inputs::Factor(factor) => {
            quantise_row_with_feedback(codec, weights, factor, feedback, out);
        }
    }
}

/// Hands the planes of a matrix to `write`, piece by piece in their order. Codes are handed on tile by tile; the small planes
/// wait until all tiles have come.
///
/// # Errors
/// Those of `write`.
///
/// # Panics
/// When `tiles` are not as many as the matrix has.
pub fn write_planes<E>(
    size: &PackedSize,
    tiles: impl IntoIterator<Item = PackedTile>,
    mut write: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut scales = Vec::with_capacity(size.row_scales_offset - size.scales_offset);
    let mut row_scales = Vec::with_capacity(size.bytes - size.row_scales_offset);
    let mut count = 0;
    for tile in tiles {
        write(&tile.codes)?;
        scales.extend_from_slice(&tile.scales);
        row_scales.extend_from_slice(&tile.row_scales);
        count += 1;
    }
    assert_eq!(count, size.tiles, "all tiles of the matrix");
    let codes = size.tiles * size.blocks * size.block_bytes;
    write(&vec![0; size.scales_offset - codes])?;
    scales.resize(size.row_scales_offset - size.scales_offset, 0);
    write(&scales)?;
    write(&row_scales)
}

/// The planes of a matrix in memory, of its tiles in order.
///
/// # Panics
/// As [`write_planes`].
#[must_use]
pub fn planes_of(size: &PackedSize, tiles: impl IntoIterator<Item = PackedTile>) -> Vec<u8> {
    let mut planes = Vec::with_capacity(size.bytes);
    let Ok(()) = write_planes(size, tiles, |bytes| {
        planes.extend_from_slice(bytes);
        Ok::<(), Infallible>(())
    });
    planes
}

/// Packs a whole matrix, `weights` being `[rows, cols]`, on the calling thread.
///
/// # Panics
/// When `weights` or `inputs` are of another shape.
#[must_use]
pub fn pack(shape: &Shape, codec: Codec, weights: &[f32], inputs: Inputs<'_>) -> Vec<u8> {
    let size = shape.size(codec);
    let mut packer = Packer::new(&size, inputs);
    let tiles = shape.tiles().into_iter();
    planes_of(
        &size,
        tiles.map(|rows| packer.tile(rows, rows_of(weights, shape))),
    )
}

/// Reads rows of a matrix in memory, `[rows, cols]`, for [`Packer::tile`].
///
/// # Panics
/// When `weights` is of another shape.
pub fn rows_of<'a>(
    weights: &'a [f32],
    shape: &Shape,
) -> impl Fn(Range<usize>, &mut [f32]) + use<'a> {
    assert_eq!(weights.len(), shape.weights(), "one weight per element");
    let cols = shape.cols;
    move |rows, out| out.copy_from_slice(&weights[rows.start * cols..rows.end * cols])
}
