//! Matrix products: one item is a tile of outputs (a pair of tiles where the epilogue quantises), for all its rows.

use gemc_format::{ActivationFormat, BLOCK, Codec};

use super::dot::TILE;
use super::planes::PlaneRegions;
use super::quantise::{QuantisedRegions, quantise_name, reading_name};
use super::vector::{load_pair, store_pair};
use crate::choices::{Activation, CLAMPED_LIMIT, DotStrategy};
use crate::functions::Math;
use crate::ir::build::{KernelBuilder, Region, Val};
use crate::ir::{Count, Elem, Kernel};

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
    /// Sums are stored as f32.
    Store,
    /// Added to a row of another buffer, then stored.
    Residual,
    /// Activated (pairs of gate and up multiplied), then quantised for the next product.
    Quantise {
        /// Elementwise function, when there is one.
        act: Option<Activation>,
        /// Whether the matrix holds gate rows and then as many up rows.
        gated: bool,
        /// Format of the codes that are stored.
        format: ActivationFormat,
    },
}

/// Everything that a product's code depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Matmul {
    /// Format of the weights.
    pub codec: Codec,
    /// Tiles of the matrix.
    pub tiles: usize,
    /// Real columns.
    pub cols: usize,
    /// Whether biases are added.
    pub bias: bool,
    /// The rows that it computes: all, or those of a list.
    pub rows: Rows,
    /// How the input was quantised.
    pub input_format: ActivationFormat,
    /// Rows that fit the input buffer.
    pub input_rows: usize,
    /// Rows that fit the output buffer.
    pub output_rows: usize,
    /// What becomes of the sums.
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

    /// Writes the kernel. Arguments: codes, scales, \[row scales\]; \[bias\]; input codes, scales, sums; \[list, count\];
    /// \[residual\]; output, or output codes, scales, sums.
    #[must_use]
    pub fn kernel(&self) -> Kernel {
        let doc = format!(
            "y [rows, {}] = W x, W [{}, {}] in {:?}",
            self.output_width(),
            self.tiles * TILE,
            self.cols,
            self.codec
        );
        KernelBuilder::build(&self.name(), &doc, self.items(), |k| {
            let body = Body::declare(k, self);
            let end = body.row_count();
            let terms = self.input_format.terms();
            let block = (self.row_block as usize / terms).max(1);
            if block > 1 {
                k.comment(&format!(
                    "{block} rows at a time share one pass over the weights"
                ));
            }
            if terms == 1 {
                let count = Count::named(block, "rows");
                return k.strips(end, &count, |first, size| body.rows(first, size, block));
            }
            // Rows of codes are as many as rows, times their terms: no count that strips could take the place of.
            let strips = end / block;
            k.for_n(strips, |at| {
                body.rows((at * block).named("first"), k.lit(block), block)
            });
            k.for_(strips * block, end, |row| {
                body.rows(row.named("row"), k.lit(1), 1)
            });
        })
    }
}

const fn act_prefix(act: Activation) -> &'static str {
    match act {
        Activation::Silu => "silu_",
        Activation::Gelu => "gelu_",
        Activation::GeluTanh => "gelu_tanh_",
        Activation::Relu => "relu_",
        Activation::Tanh => "tanh_",
        Activation::ClampedSilu => "clamped_silu_",
    }
}

/// The kernel under construction: its regions.
struct Body<'a, 'k> {
    k: &'k KernelBuilder,
    spec: &'a Matmul,
    planes: PlaneRegions<'k>,
    bias: Option<Region<'k>>,
    input: QuantisedRegions<'k>,
    /// The list's entries, and how many there are.
    list: Option<[Region<'k>; 2]>,
    residual: Option<Region<'k>>,
    output: Output<'k>,
}

enum Output<'k> {
    Floats(Region<'k>),
    QuantisedRegions {
        rows: QuantisedRegions<'k>,
        /// The item's sums, `[tile][row][16]`, up behind gate.
        tiles: Region<'k>,
        /// Values of a wide activation block.
        group: Option<Region<'k>>,
    },
}

impl<'a, 'k> Body<'a, 'k> {
    fn declare(k: &'k KernelBuilder, spec: &'a Matmul) -> Self {
        let width = spec.output_width();
        let floats = spec.output_rows * width;
        let (cols, by) = (spec.cols.next_multiple_of(BLOCK), spec.input_format);
        Self {
            k,
            spec,
            planes: PlaneRegions::declare(k, spec.codec, spec.tiles, spec.cols),
            bias: spec
                .bias
                .then(|| k.weights("bias", Elem::F32, spec.tiles * TILE)),
            input: QuantisedRegions::declare(k, "x", spec.input_rows, cols, by, false),
            list: match spec.rows {
                Rows::List { entries, .. } => {
                    let sizes = [("list", entries), ("count", 1)];
                    Some(sizes.map(|(name, len)| k.input(name, Elem::I32, len)))
                }
                Rows::All | Rows::Outputs => None,
            },
            residual: (spec.epilogue == Epilogue::Residual)
                .then(|| k.input("residual", Elem::F32, floats)),
            output: match spec.epilogue {
                Epilogue::Quantise { gated, format, .. } => {
                    let wide = format == ActivationFormat::Int8Wide;
                    let each = match wide {
                        false => 4 * TILE,
                        true => (1 + usize::from(gated)) * format.columns(),
                    };
                    Output::QuantisedRegions {
                        rows: QuantisedRegions::declare(
                            k,
                            "y",
                            spec.output_rows,
                            width,
                            format,
                            true,
                        ),
                        tiles: k.local("tiles", Elem::F32, MAX_ROW_BLOCK * each),
                        group: wide.then(|| k.local("group", Elem::F32, format.columns())),
                    }
                }
                Epilogue::Store | Epilogue::Residual => {
                    Output::Floats(k.output("y", Elem::F32, floats))
                }
            },
        }
    }

    fn row_count(&self) -> Val<'k> {
        match (self.spec.rows, self.list) {
            (Rows::List { entries, .. }, Some([_, count])) => count.get(0).bounded(entries + 1),
            (Rows::Outputs, _) => self.k.output_count(),
            _ => self.k.row_count(),
        }
    }

    /// Input and result row of an index.
    fn resolve(&self, index: Val<'k>) -> [Val<'k>; 2] {
        match (self.spec.rows, self.list) {
            (Rows::List { input_div, .. }, Some([list, _])) => {
                let entry = list
                    .get(index)
                    .bounded(self.spec.output_rows)
                    .named("entry");
                let input = (entry / input_div as usize).bounded(self.spec.input_rows);
                [input, entry]
            }
            _ => [index, index],
        }
    }

    /// All that an item does for `size` rows from index `first` on; `count` is the most that they are, and in a strip
    /// stands for them.
    fn rows(&self, first: Val<'k>, size: Val<'k>, count: usize) {
        let (k, item) = (self.k, self.k.item());
        match &self.output {
            Output::Floats(y) => self.tile(item, first, count, |row, sum| {
                let [_, result] = self.resolve(first + row);
                let at = result * self.spec.output_width() + item * TILE;
                let before = self.residual.map(|residual| residual.lanes(at));
                y.store(at, before.map_or(sum, |before| before + sum));
            }),
            Output::QuantisedRegions { rows, tiles, group } => {
                match group {
                    Some(_) => self.group_tiles(rows, *tiles, first, count),
                    None => self.local_tiles(*tiles, first, count),
                }
                k.for_n(size, |row| {
                    let row = row.named("row");
                    let [_, result] = self.resolve(first + row);
                    // Of a tile: its place among the item's.
                    let value = |gate: Val<'k>, up: Val<'k>| {
                        let [gate, up] = [gate, up].map(|tile| (tile * count + row) * TILE);
                        self.activated(*tiles, gate, up)
                    };
                    match group {
                        Some(group) => {
                            self.activate_group(rows, *group, value);
                            let load = |_, place| load_pair(*group, place);
                            rows.store_group(k, result, item, load);
                        }
                        None => {
                            let halves = [0, 1].map(|half| value(k.lit(half), k.lit(half + 2)));
                            rows.store_block(result, item, halves);
                        }
                    }
                });
            }
        }
    }

    /// Calls `each(row, sums)` for `count` rows from index `first` on with the sums of a tile, bias added.
    fn tile(
        &self,
        tile: Val<'k>,
        first: Val<'k>,
        count: usize,
        each: impl FnOnce(Val<'k>, Val<'k>),
    ) {
        let input = |row: Val<'k>| self.resolve(first + row)[0];
        let (dot, x) = (self.spec.dot, &self.input);
        let outputs = self.planes.dot_tile(self.k, dot, tile, x, (count, input));
        let bias = self.bias.map(|bias| bias.lanes(tile * TILE).named("bias"));
        self.k.repeat(&Count::named(count, "rows"), "row", |row| {
            let sum = outputs.of(row);
            each(row, bias.map_or(sum, |bias| sum + bias));
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
    fn local_tiles(&self, local: Region<'k>, first: Val<'k>, count: usize) {
        // Up begins in the middle of the tiles.
        let to_up = self.spec.tiles as i32 / 2 - 2;
        self.k.for_n(self.tiles_per_item(), |part| {
            let part = part.named("part");
            let tile = (self.k.item() * 2 + part + part / 2 * to_up).named("tile");
            self.tile(tile, first, count, |row, sum| {
                local.store((part * count + row) * TILE, sum);
            });
        });
    }

    /// Tiles of the outputs that are quantised together, or of their gate.
    const GROUP_TILES: usize = ActivationFormat::Int8Wide.columns() / TILE;

    /// As [`Body::local_tiles`] for an item that is a wide activation block, the last one perhaps shorter: gate's tiles, then
    /// up's from place [`Body::GROUP_TILES`] on.
    fn group_tiles(
        &self,
        output: &QuantisedRegions<'k>,
        local: Region<'k>,
        first: Val<'k>,
        count: usize,
    ) {
        let k = self.k;
        let half = output.cols / TILE;
        k.for_n(self.spec.tiles / half, |part| {
            let part = part.named("part");
            output.each_block(k, k.item(), |block, place| {
                let before = part * half + block * 2;
                let stored = part * Self::GROUP_TILES + place * 2;
                k.for_n(2, |side| {
                    let at = stored + side;
                    self.tile((before + side).named("tile"), first, count, |row, sum| {
                        local.store((at * count + row) * TILE, sum);
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
