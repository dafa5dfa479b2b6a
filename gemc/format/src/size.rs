//! Where the three planes of a packed matrix lie: codec and dimensions to byte offsets.

use std::ops::Range;

use super::{ALIGN, BLOCK, Codec, Layout, TILE_ROWS};

/// Geometry of a packed matrix. Planes stand in this order, each at a multiple of 64 bytes:
///
/// - codes: per tile, per block, `64 * code_bits` bytes;
/// - scales: per tile, per block, 16 bytes, byte `r` of row `r`;
/// - row scales: per tile, 16 little-endian f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PackedSize {
    /// What a code means.
    pub codec: Codec,
    /// Order of tiles, blocks and codes.
    pub layout: Layout,
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
    /// Byte offset of the scales; the codes start at 0.
    pub scales_offset: usize,
    /// Byte offset of the row scales.
    pub row_scales_offset: usize,
    /// Bytes in total, a multiple of 64.
    pub bytes: usize,
}

impl PackedSize {
    /// Geometry of a `[rows, cols]` matrix in layout [`Layout::Tile16`].
    #[must_use]
    pub fn new(codec: Codec, rows: usize, cols: usize) -> Self {
        let tiles = rows.div_ceil(TILE_ROWS);
        let blocks = cols.div_ceil(BLOCK);
        let block_bytes = TILE_ROWS * BLOCK / 8 * codec.spec().code_bits as usize;
        let scales_offset = (tiles * blocks * block_bytes).next_multiple_of(ALIGN);
        let row_scales_offset =
            (scales_offset + tiles * blocks * TILE_ROWS).next_multiple_of(ALIGN);
        Self {
            codec,
            layout: Layout::Tile16,
            rows,
            cols,
            tiles,
            blocks,
            block_bytes,
            scales_offset,
            row_scales_offset,
            bytes: row_scales_offset + tiles * TILE_ROWS * 4,
        }
    }

    /// Bytes of what kernels read: no padding between planes.
    #[must_use]
    pub fn payload_bytes(&self) -> usize {
        self.tiles * (self.blocks * (self.block_bytes + TILE_ROWS) + TILE_ROWS * 4)
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
        let len = self.blocks * TILE_ROWS;
        let start = self.scales_offset + tile * len;
        start..start + len
    }

    /// Byte range of a tile's row scales.
    #[must_use]
    pub fn row_scales(&self, tile: usize) -> Range<usize> {
        let start = self.row_scales_offset + tile * TILE_ROWS * 4;
        start..start + TILE_ROWS * 4
    }
}
