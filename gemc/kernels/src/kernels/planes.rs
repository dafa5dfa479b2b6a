//! A packed matrix as parameters of a kernel: what products and embeddings read, block by block.

use gemc_format::{Codec, PackedSize};

use super::dot::TILE;
use crate::ir::Elem;
use crate::ir::build::{KernelBuilder, Region, Val};

/// Planes of a packed matrix. Blocks are numbered through its tiles: those of a tile stand side by side.
#[derive(Clone, Copy, Debug)]
pub struct PlaneRegions<'k> {
    /// Where everything lies.
    pub size: PackedSize,
    codes: Region<'k>,
    scales: Region<'k>,
    /// A scale for each row, where the codec has them.
    pub row_scales: Option<Region<'k>>,
}

impl<'k> PlaneRegions<'k> {
    /// Declares the regions, in this order of arguments: codes, block scales, row scales where the codec has them.
    pub fn declare(k: &'k KernelBuilder, codec: Codec, tiles: usize, cols: usize) -> Self {
        let size = PackedSize::new(codec, tiles * TILE, cols);
        let blocks = tiles * size.blocks;
        let has_row_scales = size.tile_row_scales > 0;
        Self {
            size,
            codes: k.weights("codes", Elem::I8, blocks * size.block_bytes),
            scales: k.weights("scales", Elem::I8, blocks * size.block_scales),
            row_scales: has_row_scales.then(|| k.weights("row_scales", Elem::F32, tiles * TILE)),
        }
    }

    /// Codes from those of a block on.
    pub fn codes(&self, block: Val<'k>) -> Region<'k> {
        self.codes.row(block, self.size.block_bytes)
    }

    /// Scale bytes from those of a block on, one for each row of the tile.
    pub fn scales(&self, block: Val<'k>) -> Region<'k> {
        self.scales.row(block, self.size.block_scales)
    }
}
