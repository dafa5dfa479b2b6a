//! Layout Tile16: quantised rows to the three planes of a packed matrix and back.
//!
//! The codes of a (tile, block) are chunks of 64 bytes, as [`super::planes`] says.

use std::ops::Range;

use super::{BLOCK, GROUPS, PackedSize, Plane, QuantisedRow, TILE_ROWS};

/// One tile of each plane, ready to be written at [`PackedSize::codes`], [`PackedSize::scales`] and
/// [`PackedSize::row_scales`].
#[derive(Clone, Debug, PartialEq)]
pub struct PackedTile {
    /// Codes, block by block.
    pub codes: Vec<u8>,
    /// Scale bytes, 16 per block.
    pub scales: Vec<u8>,
    /// 16 little-endian f32; nothing where rows have no scale.
    pub row_scales: Vec<u8>,
}

impl PackedTile {
    /// A tile of padding: row scales are zero, or values are; codes are in range.
    #[must_use]
    pub fn new(size: &PackedSize) -> Self {
        let mut tile = Self {
            codes: vec![0; size.codes(0).len()],
            scales: vec![0; size.scales(0).len()],
            row_scales: vec![0; size.row_scales(0).len()],
        };
        let spec = size.codec.spec();
        let padding = [spec.padding; BLOCK];
        for codes in tile.codes.chunks_exact_mut(size.block_bytes) {
            (0..TILE_ROWS).for_each(|row| put_row(spec.planes, codes, row, &padding));
        }
        tile
    }

    /// Writes row `row` (0..16) of the tile.
    pub fn set_row(&mut self, size: &PackedSize, row: usize, quantised: &QuantisedRow) {
        let planes = size.codec.spec().planes;
        for block in 0..size.blocks {
            let codes = &mut self.codes[block * size.block_bytes..][..size.block_bytes];
            put_row(
                planes,
                codes,
                row,
                &quantised.codes[block * BLOCK..][..BLOCK],
            );
            self.scales[block * TILE_ROWS + row] = quantised.scales[block];
        }
        if let Some(scale) = self.row_scales.as_chunks_mut::<4>().0.get_mut(row) {
            *scale = quantised.row_scale.to_le_bytes();
        }
    }
}

/// Writes a row's 32 codes into the codes of a (tile, block).
fn put_row(planes: &[Plane], block: &mut [u8], row: usize, codes: &[i8]) {
    let mut words = [0; GROUPS];
    for (word, codes) in words.iter_mut().zip(codes.as_chunks::<4>().0) {
        *word = u32::from_le_bytes(codes.map(|code| code as u8));
    }
    for plane in planes {
        let chunks = plane.put(&words);
        for (chunk, word) in chunks.iter().take(plane.stored()).enumerate() {
            block[word_at(plane, chunk, row)].copy_from_slice(&word.to_le_bytes());
        }
    }
}

/// A row's 32 codes out of the codes of a (tile, block), one word of four per group.
fn get_row(planes: &[Plane], block: &[u8], row: usize) -> [u32; GROUPS] {
    let mut words = [0; GROUPS];
    for plane in planes {
        let mut chunks = [0; GROUPS];
        for (chunk, word) in chunks.iter_mut().take(plane.stored()).enumerate() {
            let bytes = block[word_at(plane, chunk, row)].as_chunks::<4>().0[0];
            *word = u32::from_le_bytes(bytes);
        }
        plane.get(&chunks, &mut words);
    }
    words
}

/// Bytes of a row in a stored chunk of a plane.
fn word_at(plane: &Plane, chunk: usize, row: usize) -> Range<usize> {
    let start = (plane.chunk + chunk) * 64 + row * 4;
    start..start + 4
}

/// Reads one row, padding rows included, out of a packed unit.
///
/// # Panics
/// When `unit` is shorter than `size.bytes`, or `row` is not below `16 * tiles`.
pub fn unpack_row(size: &PackedSize, unit: &[u8], row: usize, out: &mut QuantisedRow) {
    let (tile, r) = (row / TILE_ROWS, row % TILE_ROWS);
    let codes = &unit[size.codes(tile)];
    let scales = &unit[size.scales(tile)];
    let planes = size.codec.spec().planes;
    out.codes.clear();
    out.scales.clear();
    for block in 0..size.blocks {
        let codes = &codes[block * size.block_bytes..][..size.block_bytes];
        let words = get_row(planes, codes, r);
        out.codes.extend(
            words
                .iter()
                .flat_map(|word| word.to_le_bytes().map(|code| code as i8)),
        );
        out.scales.push(scales[block * TILE_ROWS + r]);
    }
    let scales = unit[size.row_scales(tile)].as_chunks::<4>().0;
    out.row_scale = scales
        .get(r)
        .map_or(1.0, |bytes| f32::from_le_bytes(*bytes));
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
