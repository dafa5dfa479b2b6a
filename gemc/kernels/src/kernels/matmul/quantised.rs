//! Products whose outputs are activated and quantised for the next product: an item's tiles wait in local memory until a row
//! has all that share a scale.

use gemc_format::ActivationFormat;

use super::{Body, Epilogue, Matmul, Pass};
use crate::choices::{Activation, CLAMPED_LIMIT};
use crate::functions::Math;
use crate::ir::Elem;
use crate::ir::build::{KernelBuilder, Region, Val};
use crate::kernels::dot::TILE;
use crate::kernels::quantise::QuantisedRegions;
use crate::kernels::vector::{load_pair, store_pair};

/// Floats of a row's tiles that an item quantises.
pub(super) const fn tiles_of_a_row(gated: bool, format: ActivationFormat) -> usize {
    match format {
        ActivationFormat::Int8Wide => (1 + gated as usize) * format.columns(),
        ActivationFormat::Int8 | ActivationFormat::Int16 => 4 * TILE,
    }
}

/// Where an item's rows are quantised.
pub(super) struct Quantised<'k> {
    rows: QuantisedRegions<'k>,
    /// The item's sums, `[tile][row][16]`, up behind gate.
    tiles: Region<'k>,
    /// Those of rows that pass by.
    passing: Option<Region<'k>>,
    /// Values of a wide activation block.
    group: Option<Region<'k>>,
}

impl<'k> Quantised<'k> {
    pub(super) fn declare(
        k: &'k KernelBuilder,
        spec: &Matmul,
        gated: bool,
        format: ActivationFormat,
    ) -> Self {
        let wide = format == ActivationFormat::Int8Wide;
        let each = tiles_of_a_row(gated, format);
        let tiles = |name, rows: usize| k.local(name, Elem::F32, rows * each);
        let (rows, width) = (spec.output_rows, spec.output_width());
        Self {
            rows: QuantisedRegions::declare(k, "y", rows, width, format, true),
            tiles: tiles("tiles", spec.rows_in_registers()),
            passing: (spec.passes_by()).then(|| tiles("tiles_passing", spec.rows_of_a_pass())),
            group: wide.then(|| k.local("group", Elem::F32, format.columns())),
        }
    }
}

impl<'k> Body<'_, 'k> {
    /// All that an item does for the rows of a pass.
    pub(super) fn quantised_rows(&self, output: &Quantised<'k>, pass: Pass<'k>) {
        let (k, item) = (self.k, self.k.item());
        let tiles = match (pass.passing, output.passing) {
            (Some(_), Some(passing)) => passing,
            _ => output.tiles,
        };
        match output.group {
            Some(_) => self.group_tiles(&output.rows, tiles, pass),
            None => self.local_tiles(tiles, pass),
        }
        k.for_n(pass.size, |row| {
            let row = row.named("row");
            let [_, result] = self.resolve(pass.row(row));
            // Of a tile: its place among the item's.
            let value = |gate: Val<'k>, up: Val<'k>| {
                let [gate, up] = [gate, up].map(|tile| (tile * pass.count + row) * TILE);
                self.activated(tiles, gate, up)
            };
            match output.group {
                Some(group) => {
                    self.activate_group(&output.rows, group, value);
                    let load = |_, place| load_pair(group, place);
                    output.rows.store_group(k, result, item, load);
                }
                None => {
                    let halves = [0, 1].map(|half| value(k.lit(half), k.lit(half + 2)));
                    output.rows.store_block(result, item, halves);
                }
            }
        });
    }

    /// The tiles whose outputs make one block of 32: two of them, and two more for up.
    fn tiles_per_item(&self) -> usize {
        match self.spec.epilogue {
            Epilogue::Quantise { gated: true, .. } => 4,
            _ => 2,
        }
    }

    /// Computes the item's tiles into local memory, `[tile][row][16]`.
    fn local_tiles(&self, local: Region<'k>, pass: Pass<'k>) {
        // Up begins in the middle of the tiles.
        let to_up = self.spec.tiles as i32 / 2 - 2;
        self.k.for_n(self.tiles_per_item(), |part| {
            let part = part.named("part");
            let tile = (self.k.item() * 2 + part + part / 2 * to_up).named("tile");
            self.tile(tile, pass, |row, sum| {
                local.store((part * pass.count + row) * TILE, sum);
            });
        });
    }

    /// Tiles of the outputs that are quantised together, or of their gate.
    const GROUP_TILES: usize = ActivationFormat::Int8Wide.columns() / TILE;

    /// As [`Body::local_tiles`] for an item that is a wide activation block, the last one perhaps shorter: gate's tiles, then
    /// up's from place [`Body::GROUP_TILES`] on.
    fn group_tiles(&self, output: &QuantisedRegions<'k>, local: Region<'k>, pass: Pass<'k>) {
        let k = self.k;
        let half = output.cols / TILE;
        k.for_n(self.spec.tiles / half, |part| {
            let part = part.named("part");
            output.each_block(k, k.item(), |block, place| {
                let before = part * half + block * 2;
                let stored = part * Self::GROUP_TILES + place * 2;
                k.for_n(2, |side| {
                    let at = stored + side;
                    self.tile((before + side).named("tile"), pass, |row, sum| {
                        local.store((at * pass.count + row) * TILE, sum);
                    });
                });
            });
        });
    }

    /// Activated values of one row of the item's tiles into `group`; `value` gives those of a tile of gate and one of up.
    fn activate_group(
        &self,
        output: &QuantisedRegions<'k>,
        group: Region<'k>,
        value: impl Fn(Val<'k>, Val<'k>) -> Val<'k>,
    ) {
        output.each_block(self.k, self.k.item(), |_, place| {
            let halves = [0, 1].map(|side| {
                let gate = place * 2 + side;
                value(gate, gate + Self::GROUP_TILES)
            });
            store_pair(group, place, halves);
        });
    }

    /// 16 activated values from the item's local tiles, whose gate and up begin at these elements.
    fn activated(&self, local: Region<'k>, gate: Val<'k>, up: Val<'k>) -> Val<'k> {
        let gate = local.lanes(gate);
        let Epilogue::Quantise { act, gated, .. } = self.spec.epilogue else {
            return gate;
        };
        let gate = match act {
            Some(act) => Math::of(act).reference().call(&[gate]),
            None => gate,
        };
        match (gated, act) {
            (true, Some(Activation::ClampedSilu)) => {
                let up = local.lanes(up).min(CLAMPED_LIMIT).max(-CLAMPED_LIMIT);
                gate * (up + 1.0)
            }
            (true, _) => gate * local.lanes(up),
            (false, _) => gate,
        }
    }
}
