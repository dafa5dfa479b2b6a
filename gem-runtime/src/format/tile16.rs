//! Layout Tile16: quantised rows to the three planes of a packed matrix and back.
//!
//! In a (tile, block) the 32 columns are 8 groups of 4. Byte codes: group `g` is 64 bytes, row `r`'s four codes at
//! `4 r`. Nibbles: groups `g` and `g + 4` share the 64 bytes `g`, in the low and the high nibble.

use alloc::vec;
use alloc::vec::Vec;

use super::{BLOCK, PackedSize, QuantisedRow, Rounding, TILE_ROWS, quantise_row};

/// One tile of each plane, ready to be written at [`PackedSize::codes`], [`PackedSize::scales`] and
/// [`PackedSize::row_scales`].
#[derive(Clone, Debug, PartialEq)]
pub struct PackedTile {
    /// Codes, block by block.
    pub codes: Vec<u8>,
    /// Scale bytes, 16 per block.
    pub scales: Vec<u8>,
    /// 16 little-endian f32.
    pub row_scales: [u8; TILE_ROWS * 4],
}

impl PackedTile {
    /// A tile of padding: row scales are zero, codes are in range.
    #[must_use]
    pub fn new(size: &PackedSize) -> Self {
        let mut tile = Self {
            codes: vec![0; size.blocks * size.block_bytes],
            scales: vec![0; size.blocks * TILE_ROWS],
            row_scales: [0; TILE_ROWS * 4],
        };
        for row in 0..TILE_ROWS {
            tile.clear_row(size, row);
        }
        tile
    }

    /// Writes row `row` (0..16) of the tile.
    pub fn set_row(&mut self, size: &PackedSize, row: usize, quantised: &QuantisedRow) {
        for block in 0..size.blocks {
            let codes = &mut self.codes[block * size.block_bytes..][..size.block_bytes];
            for (k, &code) in quantised.codes[block * BLOCK..][..BLOCK].iter().enumerate() {
                put_code(codes, row, k, code);
            }
            self.scales[block * TILE_ROWS + row] = quantised.scales[block];
        }
        self.row_scales[row * 4..][..4].copy_from_slice(&quantised.row_scale.to_le_bytes());
    }

    /// Makes row `row` (0..16) of the tile padding.
    pub fn clear_row(&mut self, size: &PackedSize, row: usize) {
        let padding = size.codec.spec().padding;
        for codes in self.codes.chunks_exact_mut(size.block_bytes) {
            for k in 0..BLOCK {
                put_code(codes, row, k, padding);
            }
        }
        for scales in self.scales.chunks_exact_mut(TILE_ROWS) {
            scales[row] = 0;
        }
        self.row_scales[row * 4..][..4].fill(0);
    }
}

/// Byte and shift of a code in a (tile, block) of `bytes` bytes.
fn place(bytes: usize, row: usize, k: usize) -> (usize, u32) {
    let (group, lane) = (k / 4, k % 4);
    if bytes == TILE_ROWS * BLOCK {
        (group * 64 + row * 4 + lane, 0)
    } else {
        (
            group % 4 * 64 + row * 4 + lane,
            if group < 4 { 0 } else { 4 },
        )
    }
}

fn put_code(codes: &mut [u8], row: usize, k: usize, code: i8) {
    let bytes = codes.len();
    let (byte, shift) = place(bytes, row, k);
    codes[byte] = if bytes == TILE_ROWS * BLOCK {
        code as u8
    } else {
        codes[byte] & (0xf0 >> shift) | (code as u8 & 15) << shift
    };
}

fn get_code(codes: &[u8], row: usize, k: usize) -> i8 {
    let (byte, shift) = place(codes.len(), row, k);
    if codes.len() == TILE_ROWS * BLOCK {
        codes[byte] as i8
    } else {
        (codes[byte] >> shift & 15) as i8
    }
}

/// Quantises up to 16 rows, `weights` being `[n, cols]`, into a tile; the rows that are missing become padding.
///
/// # Panics
/// When `weights` is longer than 16 rows, or not whole rows.
pub fn pack_tile(
    size: &PackedSize,
    weights: &[f32],
    importance: Option<&[f32]>,
    rounding: Rounding,
    scratch: &mut QuantisedRow,
    out: &mut PackedTile,
) {
    assert!(
        weights.len() <= TILE_ROWS * size.cols && weights.len().is_multiple_of(size.cols.max(1)),
        "a tile is at most 16 whole rows"
    );
    let rows = weights.len() / size.cols.max(1);
    for row in 0..TILE_ROWS {
        if row < rows {
            let weights = &weights[row * size.cols..][..size.cols];
            quantise_row(size.codec, weights, importance, rounding, scratch);
            out.set_row(size, row, scratch);
        } else {
            out.clear_row(size, row);
        }
    }
}

/// Packs a whole matrix `[rows, cols]`, row-major. For matrices that fit memory; [`pack_tile`] streams.
///
/// # Panics
/// When `weights` is not `rows * cols` long.
#[must_use]
pub fn pack(
    size: &PackedSize,
    weights: &[f32],
    importance: Option<&[f32]>,
    rounding: Rounding,
) -> Vec<u8> {
    assert_eq!(
        weights.len(),
        size.rows * size.cols,
        "one weight per element"
    );
    let mut unit = vec![0; size.bytes];
    let mut tile = PackedTile::new(size);
    let mut scratch = QuantisedRow::default();
    for (t, rows) in weights.chunks((TILE_ROWS * size.cols).max(1)).enumerate() {
        pack_tile(size, rows, importance, rounding, &mut scratch, &mut tile);
        unit[size.codes(t)].copy_from_slice(&tile.codes);
        unit[size.scales(t)].copy_from_slice(&tile.scales);
        unit[size.row_scales(t)].copy_from_slice(&tile.row_scales);
    }
    unit
}

/// Reads one row, padding rows included, out of a packed unit.
///
/// # Panics
/// When `unit` is shorter than `size.bytes`, or `row` is not below `16 * tiles`.
pub fn unpack_row(size: &PackedSize, unit: &[u8], row: usize, out: &mut QuantisedRow) {
    let (tile, r) = (row / TILE_ROWS, row % TILE_ROWS);
    let codes = &unit[size.codes(tile)];
    let scales = &unit[size.scales(tile)];
    out.codes.clear();
    out.scales.clear();
    for block in 0..size.blocks {
        let codes = &codes[block * size.block_bytes..][..size.block_bytes];
        out.codes.extend((0..BLOCK).map(|k| get_code(codes, r, k)));
        out.scales.push(scales[block * TILE_ROWS + r]);
    }
    let bytes = &unit[size.row_scales(tile)][r * 4..][..4];
    out.row_scale = f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    out.fits.clear();
}

/// The weights a row of a packed unit stands for; `out` is `cols` long.
///
/// # Panics
/// As [`unpack_row`].
pub fn dequantise_row(
    size: &PackedSize,
    unit: &[u8],
    row: usize,
    scratch: &mut QuantisedRow,
    out: &mut [f32],
) {
    unpack_row(size, unit, row, scratch);
    for (col, out) in out.iter_mut().enumerate().take(size.cols) {
        *out = scratch.weight(size.codec, col);
    }
}
