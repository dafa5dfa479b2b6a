//! Sizes: the rows and columns of a matrix and its codec -> where its rows, tiles and planes lie, and how many bytes that is.
//! Nothing else computes the bytes of a matrix; what a code, a block and a row take is asked of the codec's spec.

use std::ops::Range;

use super::{ALIGN, Codec, TILE_ROWS, TileOrder};

/// Rows of each part of a matrix are padded to whole pairs of tiles: one block of 32 outputs, so that a block of the next
/// layer's activations never mixes parts.
const PART_ROWS: usize = 32;

/// Rows that a part of so many rows takes in a record, or values that so many outputs take in a row; padding included.
#[must_use]
pub const fn padded_rows(rows: usize) -> usize {
    rows.next_multiple_of(PART_ROWS)
}

/// Code bits and shares of block scales per weight, of matrices with so many weights each; row scales are not counted.
#[must_use]
pub fn mean_bits(matrices: impl IntoIterator<Item = (usize, Codec)>) -> f64 {
    let (mut weights, mut bits) = (0, 0.0);
    for (each, codec) in matrices {
        weights += each;
        bits += each as f64 * codec.bits_per_weight();
    }
    bits / weights.max(1) as f64
}

/// Rows and columns of a matrix whose parts stand one below the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Rows of each part; in a record each is padded, see [`padded_rows`].
    pub parts: Vec<usize>,
    /// Columns.
    pub cols: usize,
}

impl Shape {
    /// Rows of all parts.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.parts.iter().sum()
    }

    /// Weights.
    #[must_use]
    pub fn weights(&self) -> usize {
        self.rows() * self.cols
    }

    /// Geometry of the record.
    #[must_use]
    pub fn size(&self, codec: Codec) -> PackedSize {
        let rows = self.parts.iter().map(|rows| padded_rows(*rows));
        PackedSize::new(codec, rows.sum(), self.cols)
    }

    /// Bytes that kernels read of it: codes, block scales and row scales, without padding.
    #[must_use]
    pub fn bytes(&self, codec: Codec) -> u64 {
        let code_bits = codec.spec().code_bits as usize;
        (self.weights() * code_bits).div_ceil(8) as u64 + self.scale_bytes(codec)
    }

    /// Bytes of block scales and row scales among them.
    #[must_use]
    pub fn scale_bytes(&self, codec: Codec) -> u64 {
        let spec = codec.spec();
        let row = self.cols.div_ceil(spec.block) * spec.scale_bytes + spec.row_scale_bytes;
        (self.rows() * row) as u64
    }

    /// First row of each part in the record.
    pub fn first_rows(&self) -> impl Iterator<Item = usize> {
        self.parts.iter().scan(0, |next, rows| {
            let first = *next;
            *next += padded_rows(*rows);
            Some(first)
        })
    }

    /// Where a row is in the record.
    #[must_use]
    pub fn packed_row(&self, row: usize) -> usize {
        let (mut row, mut first) = (row, 0);
        for &rows in &self.parts {
            if row < rows {
                break;
            }
            row -= rows;
            first += padded_rows(rows);
        }
        first + row
    }

    /// The rows that each tile of the record holds; none where it is padding.
    #[must_use]
    pub fn tiles(&self) -> Vec<Range<usize>> {
        let mut tiles = Vec::new();
        let mut first = 0;
        for &rows in &self.parts {
            let starts = (0..padded_rows(rows)).step_by(TILE_ROWS);
            let row = |at: usize| first + at.min(rows);
            tiles.extend(starts.map(|start| row(start)..row(start + TILE_ROWS)));
            first += rows;
        }
        tiles
    }
}

/// Geometry of a packed matrix. Planes stand in this order, each at a multiple of 64 bytes:
///
/// - codes: per tile, per block, `64 * code_bits` bytes;
/// - scales: per tile, per block, 16 bytes, byte `r` of row `r`;
/// - row scales, of codecs that have them: per tile, 16 little-endian f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PackedSize {
    /// What a code means.
    pub codec: Codec,
    /// Order of tiles, blocks and codes.
    pub layout: TileOrder,
    /// Rows before padding.
    pub rows: usize,
    /// Columns before padding.
    pub cols: usize,
    /// Tiles of 16 rows.
    pub tiles: usize,
    /// Blocks of 32 columns per row.
    pub blocks: usize,
    /// Bytes of the codes of one block of one tile.
    pub block_bytes: usize,
    /// Bytes of the scales of one block of one tile.
    pub block_scales: usize,
    /// Bytes of the row scales of one tile.
    pub tile_row_scales: usize,
    /// Byte offset of the scales; the codes start at 0.
    pub scales_offset: usize,
    /// Byte offset of the row scales.
    pub row_scales_offset: usize,
    /// Bytes in total, a multiple of 64.
    pub bytes: usize,
}

impl PackedSize {
    /// Geometry of a `[rows, cols]` matrix in layout [`TileOrder::Tile16`].
    #[must_use]
    pub fn new(codec: Codec, rows: usize, cols: usize) -> Self {
        let spec = codec.spec();
        let tiles = rows.div_ceil(TILE_ROWS);
        let blocks = cols.div_ceil(spec.block);
        let block_bytes = TILE_ROWS * spec.block / 8 * spec.code_bits as usize;
        let block_scales = TILE_ROWS * spec.scale_bytes;
        let tile_row_scales = TILE_ROWS * spec.row_scale_bytes;
        let scales_offset = (tiles * blocks * block_bytes).next_multiple_of(ALIGN);
        let row_scales_offset =
            (scales_offset + tiles * blocks * block_scales).next_multiple_of(ALIGN);
        Self {
            codec,
            layout: TileOrder::Tile16,
            rows,
            cols,
            tiles,
            blocks,
            block_bytes,
            block_scales,
            tile_row_scales,
            scales_offset,
            row_scales_offset,
            bytes: row_scales_offset + tiles * tile_row_scales,
        }
    }

    /// Byte offsets of the planes that kernels read, in the order in which they take them.
    pub fn planes(&self) -> impl Iterator<Item = usize> + use<> {
        let row_scales = (self.tile_row_scales > 0).then_some(self.row_scales_offset);
        [0, self.scales_offset].into_iter().chain(row_scales)
    }

    /// Byte range of a tile's codes.
    #[must_use]
    pub fn codes(&self, tile: usize) -> Range<usize> {
        let len = self.blocks * self.block_bytes;
        tile * len..(tile + 1) * len
    }

    /// Byte range of a tile's scale bytes.
    #[must_use]
    pub fn scales(&self, tile: usize) -> Range<usize> {
        let len = self.blocks * self.block_scales;
        let start = self.scales_offset + tile * len;
        start..start + len
    }

    /// Byte range of a tile's row scales.
    #[must_use]
    pub fn row_scales(&self, tile: usize) -> Range<usize> {
        let start = self.row_scales_offset + tile * self.tile_row_scales;
        start..start + self.tile_row_scales
    }
}
