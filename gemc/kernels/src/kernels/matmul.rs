//! Matrix products: one item is a tile of outputs (a pair of tiles where the epilogue quantises), for all its rows.

use gemc_format::{ActivationFormat, Codec};

use super::dot::{Planes, TILE};
use super::quantise::{Quantised, quantise_name, reading_name};
use super::vector::{load_pair, store_pair};
use crate::choices::Activation;
use crate::choices::DotStrategy;
use crate::functions::Math;
use crate::ir::build;
use crate::ir::build::old::{KernelBuilder, Ops};
use crate::ir::build::old_pieces::affine;
use crate::ir::{Elem, Extent, Kernel, ParamId, Space, Ty, ValueId};

/// Rows that share one pass over a tile, at most.
pub const MAX_ROW_BLOCK: usize = 8;

/// Which activation rows take part, and where their results go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rows {
    /// All rows of the step; result row = row.
    All,
    /// Wanted outputs; input and result row = index of the output.
    Outputs,
    /// Entries of a list written by the dispatch phase. The input row is `entry / input_div`, the result row the entry.
    List {
        /// 1, or the number of choices per row.
        input_div: u32,
        /// Entries that fit the list.
        entries: usize,
    },
}

/// What happens to the 16 sums before they are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Epilogue {
    /// Stored as f32.
    Store,
    /// Added to a row of another buffer, then stored.
    Residual,
    /// Activated (pairs of gate and up multiplied), then quantised for the next product.
    Quantise {
        /// Elementwise function, when there is one.
        act: Option<Activation>,
        /// Whether the matrix holds gate rows and then as many up rows.
        gated: bool,
        /// How.
        format: ActivationFormat,
    },
}

/// Everything that a product's code depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Matmul {
    /// Weight format.
    pub codec: Codec,
    /// Tiles of the matrix.
    pub tiles: usize,
    /// Real columns.
    pub cols: usize,
    /// Whether biases are added.
    pub bias: bool,
    /// Which rows.
    pub rows: Rows,
    /// How the input was quantised.
    pub input_format: ActivationFormat,
    /// Rows that fit the input buffer.
    pub input_rows: usize,
    /// Rows that fit the output buffer.
    pub output_rows: usize,
    /// What follows.
    pub epilogue: Epilogue,
    /// How codes and activations are multiplied.
    pub dot: DotStrategy,
    /// Rows that share a pass over the weights, where the input has one term.
    pub row_block: u32,
}

impl Matmul {
    /// Outputs per result row: padded columns of the output buffer.
    #[must_use]
    pub fn output_width(&self) -> usize {
        match self.epilogue {
            Epilogue::Quantise { gated: true, .. } => self.tiles * TILE / 2,
            _ => self.tiles * TILE,
        }
    }

    /// Items of the phase.
    #[must_use]
    pub fn items(&self) -> u32 {
        let items = match self.epilogue {
            Epilogue::Quantise { format, .. } => self.output_width().div_ceil(format.columns()),
            _ => self.tiles,
        };
        items as u32
    }

    /// A name for people.
    #[must_use]
    pub fn name(&self) -> String {
        let codec = format!("{:?}", self.codec).to_lowercase();
        let rows = match self.rows {
            Rows::All => String::new(),
            Rows::Outputs => "_outputs".to_owned(),
            Rows::List { input_div, .. } => format!("_list{input_div}"),
        };
        let epilogue = match self.epilogue {
            Epilogue::Store => String::new(),
            Epilogue::Residual => "_residual".to_owned(),
            Epilogue::Quantise { act, gated, format } => {
                format!(
                    "_{}{}{}",
                    act.map_or("", act_prefix),
                    if gated { "gated_" } else { "" },
                    quantise_name(format)
                )
            }
        };
        let by = reading_name(self.input_format);
        let bias = if self.bias { "_bias" } else { "" };
        format!(
            "matmul_{codec}_{}x{}{by}{bias}{rows}{epilogue}",
            self.tiles * TILE,
            self.cols
        )
    }

    /// Writes the kernel. Arguments: codes, scales, row scales; [bias]; input codes, scales, sums; [list, count];
    /// [residual]; output, or output codes, scales, sums.
    #[must_use]
    pub fn kernel(&self) -> Kernel {
        let doc = format!(
            "y [rows, {}] = W x, W [{}, {}] in {:?}",
            self.output_width(),
            self.tiles * TILE,
            self.cols,
            self.codec
        );
        build::KernelBuilder::build(&self.name(), &doc, self.items(), |k| {
            k.old(|b| self.write(k, b));
        })
    }

    fn write(&self, k: &build::KernelBuilder, b: &mut KernelBuilder) {
        let body = Body::declare(k, b, self);
        let count = body.row_count(b);
        let item = b.item();
        let zero = b.i32(0);
        let row_block = (self.row_block / self.input_format.terms() as u32).max(1);
        let block = b.i32(row_block as i32);
        if row_block > 1 {
            let blocks = b.div(count, block);
            b.comment(&format!(
                "{row_block} rows at a time share one pass over the weights"
            ));
            b.for_(zero, blocks, |b, index| {
                let first = b.mul(index, block);
                let rows: Vec<ValueId> = (0..row_block)
                    .map(|j| {
                        let j = b.i32(j as i32);
                        b.add(first, j)
                    })
                    .collect();
                body.rows(b, item, &rows);
            });
            let done = b.mul(blocks, block);
            b.for_(done, count, |b, row| body.rows(b, item, &[row]));
        } else {
            b.for_(zero, count, |b, row| body.rows(b, item, &[row]));
        }
    }
}

const fn act_prefix(act: Activation) -> &'static str {
    match act {
        Activation::Silu => "silu_",
        Activation::Gelu => "gelu_",
        Activation::GeluTanh => "gelu_tanh_",
        Activation::Relu => "relu_",
    }
}

/// The kernel under construction: its regions.
struct Body<'a> {
    k: &'a build::KernelBuilder,
    spec: &'a Matmul,
    planes: Planes,
    bias: Option<ParamId>,
    input: Quantised<'a>,
    list: Option<(ParamId, ParamId)>,
    residual: Option<ParamId>,
    output: Output<'a>,
}

enum Output<'a> {
    Floats(ParamId),
    Quantised {
        rows: Quantised<'a>,
        /// The item's sums, `[tile][row][16]`, up behind gate.
        tiles: ParamId,
        /// Values of a wide activation block.
        group: Option<ParamId>,
    },
}

/// One of the rows whose tiles are in local memory together.
struct GroupRow {
    of: usize,
    index: usize,
}

impl<'a> Body<'a> {
    fn declare(k: &'a build::KernelBuilder, b: &mut KernelBuilder, spec: &'a Matmul) -> Self {
        let planes = Planes::declare(b, spec.codec, spec.tiles, spec.cols);
        let outputs = Extent::fixed((spec.tiles * TILE) as i64);
        let bias = spec
            .bias
            .then(|| b.region("bias", Space::Weights, Elem::F32, outputs, false));
        let input = Quantised::declare(
            k,
            "x",
            spec.input_rows,
            spec.cols.next_multiple_of(32),
            spec.input_format,
            false,
        );
        let list = match spec.rows {
            Rows::List { entries, .. } => {
                let len = Extent::fixed(entries as i64);
                let list = b.region("list", Space::Arena, Elem::I32, len, false);
                Some((
                    list,
                    b.region("count", Space::Arena, Elem::I32, Extent::fixed(1), false),
                ))
            }
            _ => None,
        };
        let floats = Extent::fixed((spec.output_rows * spec.output_width()) as i64);
        let residual = (spec.epilogue == Epilogue::Residual)
            .then(|| b.region("residual", Space::Arena, Elem::F32, floats, false));
        let output = match spec.epilogue {
            Epilogue::Quantise { gated, format, .. } => {
                let width = spec.output_width();
                let rows = Quantised::declare(k, "y", spec.output_rows, width, format, true);
                let floats = match format {
                    ActivationFormat::Int8 | ActivationFormat::Int16 => 4 * MAX_ROW_BLOCK * TILE,
                    wide @ ActivationFormat::Int8Wide => {
                        (1 + usize::from(gated)) * MAX_ROW_BLOCK * wide.columns()
                    }
                };
                let tiles = b.local("tiles", Elem::F32, floats as i64);
                let group = (format == ActivationFormat::Int8Wide)
                    .then(|| b.local("group", Elem::F32, format.columns() as i64));
                Output::Quantised { rows, tiles, group }
            }
            _ => Output::Floats(b.region("y", Space::Arena, Elem::F32, floats, true)),
        };
        Self {
            k,
            spec,
            planes,
            bias,
            input,
            list,
            residual,
            output,
        }
    }

    fn row_count(&self, b: &mut KernelBuilder) -> ValueId {
        match self.spec.rows {
            Rows::All => b.row_count(),
            Rows::Outputs => b.output_count(),
            Rows::List { entries, .. } => {
                let (_, count) = self.list.expect("declared for lists");
                let zero = b.i32(0);
                let count = b.load(Ty::I32, count, zero);
                let limit = b.i32(entries as i32 + 1);
                b.bounded(count, limit)
            }
        }
    }

    /// Input and result row of each index.
    fn resolve(&self, b: &mut KernelBuilder, rows: &[ValueId]) -> Vec<(ValueId, ValueId)> {
        let Rows::List { input_div, .. } = self.spec.rows else {
            return rows.iter().map(|&r| (r, r)).collect();
        };
        let (list, _) = self.list.expect("declared for lists");
        rows.iter()
            .map(|&index| {
                let entry = b.load(Ty::I32, list, index);
                let most = b.i32(self.spec.output_rows as i32);
                let entry = b.bounded(entry, most);
                b.name(entry, "entry");
                let div = b.i32(input_div as i32);
                let row = b.div(entry, div);
                let limit = b.i32(self.spec.input_rows as i32);
                (b.bounded(row, limit), entry)
            })
            .collect()
    }

    fn rows(&self, b: &mut KernelBuilder, item: ValueId, rows: &[ValueId]) {
        let resolved = self.resolve(b, rows);
        let inputs: Vec<ValueId> = resolved.iter().map(|r| r.0).collect();
        match &self.output {
            Output::Floats(y) => {
                let sums = self.tile(b, item, &inputs);
                for (sum, (_, result)) in sums.into_iter().zip(resolved) {
                    self.store(b, *y, item, result, sum);
                }
            }
            Output::Quantised {
                rows,
                tiles,
                group: Some(group),
            } => {
                self.group_tiles(b, item, rows, *tiles, &inputs);
                for (j, (_, result)) in resolved.iter().enumerate() {
                    let row = GroupRow {
                        of: resolved.len(),
                        index: j,
                    };
                    self.activate_group(item, rows, (*tiles, *group), row);
                    let k = self.k;
                    let load = |_, place| load_pair(k.region_of(*group), place);
                    rows.store_group(k, k.val(*result), k.val(item), load);
                }
            }
            Output::Quantised { rows, tiles, .. } => {
                self.local_tiles(b, item, *tiles, &inputs);
                let in_flight = resolved.len();
                for (j, (_, result)) in resolved.into_iter().enumerate() {
                    let halves = [0, 1].map(|half| {
                        let places = [0, 2]
                            .map(|part| b.i32((((part + half) * in_flight + j) * TILE) as i32));
                        self.activated(b, places, *tiles)
                    });
                    let k = self.k;
                    rows.store_block(k.val(result), k.val(item), halves.map(|v| k.val(v)));
                }
            }
        }
    }

    /// Sums of one tile for each row, bias added.
    fn tile(&self, b: &mut KernelBuilder, tile: ValueId, inputs: &[ValueId]) -> Vec<ValueId> {
        let terms = self.input.format.terms();
        let rows: Vec<ValueId> = match terms {
            1 => inputs.to_vec(),
            _ => inputs
                .iter()
                .flat_map(|row| (0..terms).map(move |term| (*row, term)))
                .map(|(row, term)| affine(b, row, terms, term))
                .collect(),
        };
        let sums = self
            .planes
            .dot_tile(b, self.spec.dot, tile, &self.input, &rows);
        let sums: Vec<ValueId> = sums
            .chunks(terms)
            .map(|terms| match *terms {
                [first, second] => b.add(first, second),
                _ => terms[0],
            })
            .collect();
        let Some(bias) = self.bias else { return sums };
        let width = b.i32(TILE as i32);
        let index = b.mul(tile, width);
        let bias = b.load(Ty::F32x16, bias, index);
        sums.into_iter().map(|sum| b.add(sum, bias)).collect()
    }

    fn store(&self, b: &mut KernelBuilder, y: ParamId, tile: ValueId, row: ValueId, sum: ValueId) {
        let width = b.i32(self.spec.output_width() as i32);
        let start = b.mul(row, width);
        let tile_width = b.i32(TILE as i32);
        let column = b.mul(tile, tile_width);
        let index = b.add(start, column);
        let value = match self.residual {
            Some(residual) => {
                let before = b.load(Ty::F32x16, residual, index);
                b.add(before, sum)
            }
            None => sum,
        };
        b.store(y, index, value);
    }

    /// The tiles whose outputs make one block of 32: two of them, and two more for up.
    fn tiles_per_item(&self) -> usize {
        if matches!(self.spec.epilogue, Epilogue::Quantise { gated: true, .. }) {
            4
        } else {
            2
        }
    }

    /// Computes the item's tiles into local memory, `[tile][row][16]`.
    fn local_tiles(
        &self,
        b: &mut KernelBuilder,
        item: ValueId,
        local: ParamId,
        inputs: &[ValueId],
    ) {
        let two = b.i32(2);
        let first = b.mul(item, two);
        let up = b.i32((self.spec.tiles / 2) as i32 - 2);
        let zero = b.i32(0);
        let parts = b.i32(self.tiles_per_item() as i32);
        b.for_(zero, parts, |b, part| {
            let in_up = b.div(part, two);
            let shift = b.mul(in_up, up);
            let tile = b.add(first, part);
            let tile = b.add(tile, shift);
            let sums = self.tile(b, tile, inputs);
            let width = b.i32((inputs.len() * TILE) as i32);
            let start = b.mul(part, width);
            for (j, sum) in sums.into_iter().enumerate() {
                let offset = b.i32((j * TILE) as i32);
                let index = b.add(start, offset);
                b.store(local, index, sum);
            }
        });
    }

    /// Tiles of the outputs that are quantised together, or of their gate.
    const GROUP_TILES: usize = ActivationFormat::Int8Wide.columns() / TILE;

    /// As [`Body::local_tiles`] for an item that is a wide activation block, the last one perhaps shorter: gate's tiles, then
    /// up's from place [`Body::GROUP_TILES`] on.
    fn group_tiles(
        &self,
        b: &mut KernelBuilder,
        item: ValueId,
        output: &Quantised<'a>,
        local: ParamId,
        inputs: &[ValueId],
    ) {
        let half = output.cols / TILE;
        let parts = b.i32((self.spec.tiles / half) as i32);
        let zero = b.i32(0);
        b.for_(zero, parts, |b, part| {
            let first = affine(b, part, half, 0);
            let k = self.k;
            output.each_block(k, k.val(item), |block, place| {
                k.old(|b| {
                    let before = affine(b, block.id(), 2, 0);
                    let before = b.add(first, before);
                    let stored = affine(b, part, Self::GROUP_TILES, 0);
                    let more = affine(b, place.id(), 2, 0);
                    let stored = b.add(stored, more);
                    b.for_n(2, |b, side| {
                        let tile = b.add(before, side);
                        let sums = self.tile(b, tile, inputs);
                        let at = b.add(stored, side);
                        for (j, sum) in sums.into_iter().enumerate() {
                            let index = affine(b, at, inputs.len() * TILE, j * TILE);
                            b.store(local, index, sum);
                        }
                    });
                });
            });
        });
    }

    /// Activated values of one row of the item's tiles into `group`.
    fn activate_group(
        &self,
        item: ValueId,
        output: &Quantised<'a>,
        (local, group): (ParamId, ParamId),
        row: GroupRow,
    ) {
        let k = self.k;
        output.each_block(k, k.val(item), |_, place| {
            k.old(|b| {
                let halves = [0, 1].map(|side| {
                    let places = [0, Self::GROUP_TILES].map(|first| {
                        let tile = affine(b, place.id(), 2, first + side);
                        affine(b, tile, row.of * TILE, row.index * TILE)
                    });
                    k.val(self.activated(b, places, local))
                });
                store_pair(k.region_of(group), place, halves);
            });
        });
    }

    /// 16 activated values from the item's local tiles, whose gate and up begin at these elements.
    fn activated(
        &self,
        b: &mut KernelBuilder,
        [gate, up]: [ValueId; 2],
        local: ParamId,
    ) -> ValueId {
        let gate = b.load(Ty::F32x16, local, gate);
        let Epilogue::Quantise { act, gated, .. } = &self.spec.epilogue else {
            return gate;
        };
        let gate = match act {
            Some(act) => b.call_fn(&Math::of(*act).reference(), &[gate]),
            None => gate,
        };
        if *gated {
            let up = b.load(Ty::F32x16, local, up);
            b.mul(gate, up)
        } else {
            gate
        }
    }
}
