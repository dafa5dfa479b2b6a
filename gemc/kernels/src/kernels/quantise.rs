//! Activations to int8: codes, one scale an activation block, sums of codes of every 32; the form that every dot reads. A row
//! of two terms is two such rows, one after the other.

use gemc_format::activation::TINY;
use gemc_format::{ActivationFormat, BLOCK};

use super::vector::{LANES, load_pair};
use crate::ir::build::{KernelBuilder, Region, Val};
use crate::ir::{Elem, Extent, Kernel, Space};

/// Three regions that hold quantised rows.
#[derive(Clone, Copy, Debug)]
pub struct QuantisedRegions<'k> {
    /// i8 `[rows * terms][cols]`, cols a multiple of 32.
    pub codes: Region<'k>,
    /// f32 `[rows * terms][activation blocks]`.
    pub scales: Region<'k>,
    /// i32 `[rows * terms][cols / 32]`: sums of codes.
    pub sums: Region<'k>,
    /// Number of columns.
    pub cols: usize,
    /// Rows of codes: as many as rows, times their terms.
    pub code_rows: usize,
    /// How many columns share a scale, and terms a row has.
    pub format: ActivationFormat,
}

/// Activation blocks of a row of `cols` columns.
#[must_use]
pub const fn scales_per_row(cols: usize, format: ActivationFormat) -> usize {
    cols.div_ceil(format.columns())
}

/// Part of the names of kernels that write this format.
#[must_use]
pub const fn quantise_name(format: ActivationFormat) -> &'static str {
    match format {
        ActivationFormat::Int8 => "quantise",
        ActivationFormat::Int8Wide => "quantise256",
        ActivationFormat::Int16 => "quantise16",
    }
}

/// Behind the names of kernels and outlines that read this format.
#[must_use]
pub const fn reading_name(format: ActivationFormat) -> &'static str {
    match format {
        ActivationFormat::Int8 => "",
        ActivationFormat::Int8Wide => "_by256",
        ActivationFormat::Int16 => "_int16",
    }
}

impl<'k> QuantisedRegions<'k> {
    /// Declares the regions, in this order of arguments.
    pub fn declare(
        k: &'k KernelBuilder,
        prefix: &str,
        rows: usize,
        cols: usize,
        format: ActivationFormat,
        mutable: bool,
    ) -> Self {
        debug_assert_eq!(cols % BLOCK, 0);
        let region = |name: &str, elem, per_row: usize| {
            let name = format!("{prefix}_{name}");
            let len = Extent::fixed((rows * format.terms() * per_row) as i64);
            k.region(&name, Space::Arena, elem, len, mutable)
        };
        Self {
            codes: region("codes", Elem::I8, cols),
            scales: region("scales", Elem::F32, scales_per_row(cols, format)),
            sums: region("sums", Elem::I32, cols / BLOCK),
            cols,
            code_rows: rows * format.terms(),
            format,
        }
    }

    /// Blocks of 32 in a row.
    const fn blocks(&self) -> usize {
        self.cols / BLOCK
    }

    /// Activation blocks in a row.
    pub const fn scale_count(&self) -> usize {
        scales_per_row(self.cols, self.format)
    }

    /// Quantises 32 values into block `block` of row `row`.
    ///
    /// `scale = max|x| / 127` (as a product with 1/127), `code = round(x * (127 / max|x|))` to nearest even.
    pub fn store_block(&self, row: Val<'k>, block: Val<'k>, values: [Val<'k>; 2]) {
        if self.format.terms() == 1 {
            self.store_term(row, block, values);
            return;
        }
        let (codes, scale) = self.store_term(row * 2, block, values);
        let scale = scale.splat();
        let left = [0, 1].map(|half| values[half] - codes[half].to_float() * scale);
        self.store_term(row * 2 + 1, block, left);
    }

    /// Quantises 32 values into block `block` of a row of codes; gives the codes and what one stands for.
    fn store_term(
        &self,
        row: Val<'k>,
        block: Val<'k>,
        values: [Val<'k>; 2],
    ) -> ([Val<'k>; 2], Val<'k>) {
        let (inverse, scale) = factors(magnitude(values).reduce_max());
        let (codes, sum) = self.store_codes(row, block, values, inverse);
        let at = row * self.blocks() + block;
        self.scales.store(at, scale);
        self.sums.store(at, sum);
        (codes, scale)
    }

    /// Quantises activation block `group` of row `row`, in two passes over its values. `load(block, place)` gives the 32
    /// values of block `block` of the row, which is the `place`-th of the group.
    pub fn store_group(
        &self,
        k: &'k KernelBuilder,
        row: Val<'k>,
        group: Val<'k>,
        load: impl Fn(Val<'k>, Val<'k>) -> [Val<'k>; 2],
    ) {
        let largest = k.var("largest", k.splat(0.0));
        self.each_block(k, group, |block, place| {
            let here = magnitude(load(block, place));
            largest.update(|largest| largest.max(here));
        });
        let (inverse, scale) = factors(largest.get().reduce_max());
        self.scales.store(row * self.scale_count() + group, scale);
        self.each_block(k, group, |block, place| {
            let (_, sum) = self.store_codes(row, block, load(block, place), inverse);
            self.sums.store(row * self.blocks() + block, sum);
        });
    }

    /// Calls `body(block, place)` for the blocks of 32 of an activation block.
    pub fn each_block(
        &self,
        k: &'k KernelBuilder,
        group: Val<'k>,
        body: impl Fn(Val<'k>, Val<'k>),
    ) {
        let most = self.format.weight_blocks();
        let first = group * most;
        let count = (self.blocks() - first).min(most);
        k.for_n(count, |place| {
            // Never above it; the verifier does not know that `place` depends on `group`.
            let block = (first + place).min(self.blocks() - 1);
            body(block, place);
        });
    }

    /// Codes of 32 values of block `block` of row `row`; gives them and their sum.
    fn store_codes(
        &self,
        row: Val<'k>,
        block: Val<'k>,
        values: [Val<'k>; 2],
        inverse: Val<'k>,
    ) -> ([Val<'k>; 2], Val<'k>) {
        let codes = values.map(|x| (x * inverse).to_int().named("codes"));
        let [low, high] = codes;
        let sum = (low + high).reduce_add().named("sum");
        let at = row * self.cols + block * BLOCK;
        self.codes.store(at, low.narrow());
        self.codes.store(at + LANES, high.narrow());
        (codes, sum)
    }

    /// Quantises row `row` from a row of f32.
    fn store_row(&self, k: &'k KernelBuilder, row: Val<'k>, input: Region<'k>) {
        k.for_n(self.scale_count(), |at| match self.format {
            ActivationFormat::Int8 | ActivationFormat::Int16 => {
                self.store_block(row, at, load_pair(input, at));
            }
            ActivationFormat::Int8Wide => {
                self.store_group(k, row, at, |block, _| load_pair(input, block));
            }
        });
    }
}

/// The larger magnitudes of two vectors.
fn magnitude([low, high]: [Val<'_>; 2]) -> Val<'_> {
    low.abs().max(high.abs())
}

/// What values of a block are multiplied with, in all lanes, and the block's scale.
pub(super) fn factors(largest: Val<'_>) -> (Val<'_>, Val<'_>) {
    let is_tiny = largest.le(TINY);
    let inverse = is_tiny.select(0.0, 127.0 / largest);
    let scale = is_tiny.select(0.0, largest * (1.0 / 127.0));
    (inverse.named("inverse").splat(), scale.named("scale"))
}

/// What the kernel that quantises rows depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct QuantiseRows {
    /// Rows of the buffers.
    pub max_rows: usize,
    /// Columns, padded.
    pub stride: usize,
    /// Activation format of the result.
    pub format: ActivationFormat,
}

impl QuantiseRows {
    /// A name for people.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}_{}", quantise_name(self.format), self.stride)
    }

    /// Quantises f32 rows `[max_rows][stride]`; one item a row. Arguments: input, codes, scales, sums.
    #[must_use]
    pub fn kernel(&self) -> Kernel {
        let Self {
            max_rows,
            stride,
            format,
        } = *self;
        let doc = format!(
            "rows of {stride} f32 to {} in blocks of {}",
            format.name(),
            format.columns()
        );
        KernelBuilder::build(&self.name(), &doc, max_rows as u32, |k| {
            let input = k.input("x", Elem::F32, max_rows * stride);
            let output = QuantisedRegions::declare(k, "xq", max_rows, stride, format, true);
            let row = k.item();
            output.store_row(k, row, input.row(row, stride));
        })
    }
}

/// What the kernel that quantises wanted rows depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SelectRows {
    /// Rows of the input.
    pub max_rows: usize,
    /// Rows of the result.
    pub max_outputs: usize,
    /// Columns, padded.
    pub stride: usize,
    /// Activation format of the result.
    pub format: ActivationFormat,
}

impl SelectRows {
    /// A name for people.
    #[must_use]
    pub fn name(&self) -> String {
        format!("select_and_{}_{}", quantise_name(self.format), self.stride)
    }

    /// Quantises the rows whose logits are wanted; one item an output. Arguments: input, codes, scales, sums.
    #[must_use]
    pub fn kernel(&self) -> Kernel {
        let Self {
            max_rows,
            max_outputs,
            stride,
            format,
        } = *self;
        let doc = format!(
            "wanted rows of {stride} f32 to {} in blocks of {}",
            format.name(),
            format.columns()
        );
        KernelBuilder::build(&self.name(), &doc, max_outputs as u32, |k| {
            let input = k.input("x", Elem::F32, max_rows * stride);
            let output = QuantisedRegions::declare(k, "xq", max_outputs, stride, format, true);
            let len = Extent::fixed(max_outputs as i64);
            let outputs = k.region("outputs", Space::Outputs, Elem::I32, len, false);
            let item = k.item();
            let row = outputs.get(item).bounded(max_rows);
            output.store_row(k, item, input.row(row, stride));
        })
    }
}
