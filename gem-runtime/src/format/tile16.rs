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
            put_row(codes, row, &quantised.codes[block * BLOCK..][..BLOCK]);
            self.scales[block * TILE_ROWS + row] = quantised.scales[block];
        }
        self.row_scales[row * 4..][..4].copy_from_slice(&quantised.row_scale.to_le_bytes());
    }

    /// Makes row `row` (0..16) of the tile padding.
    pub fn clear_row(&mut self, size: &PackedSize, row: usize) {
        let padding = [size.codec.spec().padding; BLOCK];
        for codes in self.codes.chunks_exact_mut(size.block_bytes) {
            put_row(codes, row, &padding);
        }
        for scales in self.scales.chunks_exact_mut(TILE_ROWS) {
            scales[row] = 0;
        }
        self.row_scales[row * 4..][..4].fill(0);
    }
}

/// Writes a row's 32 codes into the codes of a (tile, block).
fn put_row(block: &mut [u8], row: usize, codes: &[i8]) {
    let groups = codes.as_chunks::<4>().0;
    if block.len() == TILE_ROWS * BLOCK {
        for (chunk, codes) in block.chunks_exact_mut(64).zip(groups) {
            chunk[row * 4..][..4].copy_from_slice(&codes.map(|code| code as u8));
        }
    } else {
        let (lower, upper) = groups.split_at(4);
        for (chunk, (low, high)) in block.chunks_exact_mut(64).zip(lower.iter().zip(upper)) {
            for (byte, (low, high)) in chunk[row * 4..][..4].iter_mut().zip(low.iter().zip(high)) {
                *byte = *low as u8 & 15 | (*high as u8) << 4;
            }
        }
    }
}

/// Code `k` of a row in the codes of a (tile, block).
fn get_code(block: &[u8], row: usize, k: usize) -> i8 {
    let (group, lane) = (k / 4, k % 4);
    if block.len() == TILE_ROWS * BLOCK {
        block[group * 64 + row * 4 + lane] as i8
    } else {
        let byte = block[group % 4 * 64 + row * 4 + lane];
        (if group < 4 { byte & 15 } else { byte >> 4 }) as i8
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
