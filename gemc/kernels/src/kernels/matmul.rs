//! Matrix products: one item is a tile of outputs (a pair of tiles where the epilogue quantises), for all its rows.

mod quantised;

use gemc_format::{ActivationFormat, BLOCK, Codec};

use super::dot::TILE;
use super::planes::PlaneRegions;
use super::quantise::{QuantisedRegions, quantise_name, reading_name};
use super::standing::{Passing, takes_rows_alone};
use crate::choices::{Activation, DotStrategy};
use crate::ir::build::{KernelBuilder, Region, Val};
use crate::ir::{Count, Elem, Kernel};
use quantised::{Quantised, tiles_of_a_row};

/// Rows that share one pass over a tile, at most.
pub const MAX_ROW_BLOCK: usize = 32;

/// Of them, those whose sums are in registers.
pub const MAX_BLOCKED_ROWS: usize = 8;

/// Local memory for tiles of outputs, in floats: a part of the first cache.
const TILES_LOCAL: usize = 4096;

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
            match body.passing {
                Some(passing) => body.passes(passing),
                None => body.strips(),
            }
        })
    }

    /// Rows that share a pass over the weights, in this kernel.
    fn rows_of_a_pass(&self) -> usize {
        let rows = (self.row_block as usize / self.input_format.terms()).max(1);
        match self.epilogue {
            _ if self.row_block as usize <= MAX_BLOCKED_ROWS => rows,
            Epilogue::Quantise { gated, format, .. } => rows
                .min(TILES_LOCAL / tiles_of_a_row(gated, format))
                .min(self.most_rows()),
            Epilogue::Store | Epilogue::Residual => rows.min(self.most_rows()),
        }
    }

    /// Rows of a pass where they pass by, and whether they follow one another in the input: as many as divide all rows
    /// that there may be, so that sizes of passes prove that no row is beyond them.
    fn rows_that_pass(&self) -> (usize, bool) {
        let most = self.rows_of_a_pass();
        let all = match self.rows {
            Rows::All | Rows::Outputs if self.input_rows == self.output_rows => self.input_rows,
            _ => return (most, false),
        };
        let even = (most / 2 + 1..=most).rev().find(|n| all % n == 0);
        even.map_or((most, false), |rows| (rows, true))
    }

    /// Rows that a step has at most.
    fn most_rows(&self) -> usize {
        match self.rows {
            Rows::List { entries, .. } => entries,
            Rows::All | Rows::Outputs => self.output_rows,
        }
    }

    /// Rows whose sums are in registers, in this kernel.
    fn rows_in_registers(&self) -> usize {
        match self.passes_by() {
            true => 1,
            false => self.rows_of_a_pass(),
        }
    }

    /// Whether rows pass by weights that stand in registers, rather than weights by the sums of rows.
    fn passes_by(&self) -> bool {
        self.row_block as usize > MAX_BLOCKED_ROWS && self.most_rows() > 1
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
    /// Local memory of rows that pass by.
    passing: Option<Passing<'k>>,
}

/// Rows that share a pass over the weights.
#[derive(Clone, Copy)]
struct Pass<'k> {
    first: Val<'k>,
    size: Val<'k>,
    /// The most that they are, and where their number is known, it.
    count: usize,
    /// Where they pass by: how.
    passing: Option<Passing<'k>>,
    /// The end of all rows, where sizes of passes alone do not say that rows end there.
    end: Option<Val<'k>>,
}

impl<'k> Pass<'k> {
    /// The row of this index among all.
    fn row(&self, index: Val<'k>) -> Val<'k> {
        let row = self.first + index;
        match self.end {
            Some(end) => row.bounded(end),
            None => row,
        }
    }

    /// Calls `each` with the index of every row.
    fn each(&self, k: &'k KernelBuilder, each: impl FnOnce(Val<'k>)) {
        match self.passing {
            Some(_) => k.for_n(self.size, |row| each(row.named("row"))),
            None => k.repeat(&Count::named(self.count, "rows"), "row", each),
        }
    }
}

enum Output<'k> {
    Floats(Region<'k>),
    Quantised(Box<Quantised<'k>>),
}

impl<'a, 'k> Body<'a, 'k> {
    fn declare(k: &'k KernelBuilder, spec: &'a Matmul) -> Self {
        let width = spec.output_width();
        let floats = spec.output_rows * width;
        let (cols, by) = (spec.cols.next_multiple_of(BLOCK), spec.input_format);
        let planes = PlaneRegions::declare(k, spec.codec, spec.tiles, spec.cols);
        let bias = (spec.bias).then(|| k.weights("bias", Elem::F32, spec.tiles * TILE));
        let input = QuantisedRegions::declare(k, "x", spec.input_rows, cols, by, false);
        Self {
            k,
            spec,
            planes,
            bias,
            input,
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
                    Output::Quantised(Box::new(Quantised::declare(k, spec, gated, format)))
                }
                Epilogue::Store | Epilogue::Residual => {
                    Output::Floats(k.output("y", Elem::F32, floats))
                }
            },
            passing: (spec.passes_by())
                .then(|| Passing::declare(k, spec.dot, &input, spec.rows_that_pass())),
        }
    }

    /// One row by itself, several pass by in turns.
    fn passes(&self, passing: Passing<'k>) {
        let (k, end) = (self.k, self.row_count());
        let (count, follow) = self.spec.rows_that_pass();
        k.comment(&format!("up to {count} rows pass by weights in registers"));
        let alone = |row: Val<'k>| self.one(row.named("row"));
        let several = || {
            k.for_n((end + (count - 1)) / count, |turn| {
                let first = (turn * count).named("first");
                // Never 0: what a turn begins with is before the end.
                let size = (end - first).min(count).max(1).named("size");
                let pass = Pass {
                    first,
                    size,
                    count,
                    passing: Some(passing),
                    end: (!follow).then_some(end),
                };
                passing.bind(k, size, |row| self.resolve(pass.row(row))[0]);
                self.rows(pass);
            });
        };
        k.if_(end.gt(1), several, || k.for_n(end, alone));
    }

    /// As many rows at a time as sums fit into registers.
    fn strips(&self) {
        let (k, end, count) = (self.k, self.row_count(), self.spec.rows_of_a_pass());
        let strip = |first, size| {
            self.rows(Pass {
                first,
                size,
                count,
                passing: None,
                end: None,
            });
        };
        if count > 1 {
            k.comment(&format!(
                "{count} rows at a time share one pass over the weights"
            ));
        }
        if self.spec.input_format.terms() == 1 {
            return k.strips(end, &Count::named(count, "rows"), strip);
        }
        // Rows of codes are as many as rows, times their terms: no count that strips could take the place of.
        let strips = end / count;
        k.for_n(strips, |at| {
            strip((at * count).named("first"), k.lit(count));
        });
        k.for_(strips * count, end, |row| self.one(row.named("row")));
    }

    fn one(&self, row: Val<'k>) {
        self.rows(Pass {
            first: row,
            size: self.k.lit(1),
            count: 1,
            passing: None,
            end: None,
        });
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

    /// All that an item does for the rows of a pass.
    fn rows(&self, pass: Pass<'k>) {
        let item = self.k.item();
        match &self.output {
            Output::Floats(y) => self.tile(item, pass, |row, sum| {
                let [_, result] = self.resolve(pass.row(row));
                let at = result * self.spec.output_width() + item * TILE;
                let before = self.residual.map(|residual| residual.lanes(at));
                y.store(at, before.map_or(sum, |before| before + sum));
            }),
            Output::Quantised(output) => self.quantised_rows(output, pass),
        }
    }

    /// Calls `each(row, sums)` for the rows of a pass with the sums of a tile, bias added.
    fn tile(&self, tile: Val<'k>, pass: Pass<'k>, each: impl FnOnce(Val<'k>, Val<'k>)) {
        let (k, dot, x) = (self.k, self.spec.dot, &self.input);
        let bias = || self.bias.map(|bias| bias.lanes(tile * TILE).named("bias"));
        match pass.passing {
            None => {
                let input = |row: Val<'k>| self.resolve(pass.row(row))[0];
                let outputs = match takes_rows_alone(dot, x) && pass.count == 1 {
                    true => self.planes.dot_alone(k, dot, tile, x, input(k.lit(0))),
                    false => self.planes.dot_tile(k, dot, tile, x, (pass.count, input)),
                };
                let bias = bias();
                pass.each(k, |row| each(row, outputs.of(row, bias)));
            }
            Some(passing) => {
                let rows = (pass.first, pass.size, passing);
                self.planes.dot_passing(k, dot, tile, x, rows);
                let outputs = passing.outputs(&self.planes, tile);
                let bias = bias();
                pass.each(k, |row| each(row, outputs.of(row, bias)));
            }
        }
    }
}
