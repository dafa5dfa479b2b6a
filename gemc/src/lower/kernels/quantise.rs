//! Activations to int8: codes, one scale an activation block, sums of codes of every 32; the form that every dot reads.

use gem_runtime::format::activation::TINY;
use gem_runtime::format::{ActivationBlock, BLOCK};

use super::vector::affine;
use crate::kernel::build::{KernelBuilder, Ops};
use crate::kernel::{Cmp, Elem, Extent, Kernel, ParamId, Space, Ty, ValueId};

/// Three regions that hold quantised rows.
#[derive(Clone, Copy, Debug)]
pub struct Quantised {
    /// i8 `[rows][cols]`, cols a multiple of 32.
    pub codes: ParamId,
    /// f32 `[rows][activation blocks]`.
    pub scales: ParamId,
    /// i32 `[rows][cols / 32]`: sums of codes.
    pub sums: ParamId,
    /// Columns.
    pub cols: usize,
    /// Columns that share a scale.
    pub block: ActivationBlock,
}

/// Activation blocks of a row of `cols` columns.
#[must_use]
pub const fn scales_per_row(cols: usize, block: ActivationBlock) -> usize {
    cols.div_ceil(block.columns())
}

/// Names kernels whose rows are quantised in these blocks: `quantise`, `quantise256`.
#[must_use]
pub fn quantise_name(block: ActivationBlock) -> String {
    match block {
        ActivationBlock::Of32 => "quantise".to_owned(),
        wide @ ActivationBlock::Of256 => format!("quantise{}", wide.columns()),
    }
}

impl Quantised {
    /// Declares the regions, in this order of arguments.
    pub fn declare(
        b: &mut KernelBuilder,
        prefix: &str,
        rows: usize,
        cols: usize,
        block: ActivationBlock,
        mutable: bool,
    ) -> Self {
        debug_assert_eq!(cols % BLOCK, 0);
        let mut region = |name: &str, elem, per_row: usize| {
            let len = Extent::fixed((rows * per_row) as i64);
            b.region(
                &format!("{prefix}_{name}"),
                Space::Arena,
                elem,
                len,
                mutable,
            )
        };
        let codes = region("codes", Elem::I8, cols);
        let scales = region("scales", Elem::F32, scales_per_row(cols, block));
        let sums = region("sums", Elem::I32, cols / BLOCK);
        Self {
            codes,
            scales,
            sums,
            cols,
            block,
        }
    }

    /// Blocks of 32 in a row.
    const fn blocks(&self) -> usize {
        self.cols / BLOCK
    }

    /// Activation blocks in a row.
    pub const fn scale_count(&self) -> usize {
        scales_per_row(self.cols, self.block)
    }

    /// Quantises the 32 values `low`, `high` into block `block` of row `row`.
    ///
    /// `scale = max|x| / 127` (as a product with 1/127), `code = round(x * (127 / max|x|))` to nearest even.
    pub fn store_block(
        &self,
        b: &mut KernelBuilder,
        row: ValueId,
        block: ValueId,
        low: ValueId,
        high: ValueId,
    ) {
        let larger = magnitude(b, low, high);
        let largest = b.reduce_max(larger);
        let (inverse, scale) = factors(b, largest);
        let sum = self.store_codes(b, row, block, [low, high], inverse);
        let blocks = b.i32(self.blocks() as i32);
        let row_start = b.mul(row, blocks);
        let at = b.add(row_start, block);
        b.store(self.scales, at, scale);
        b.store(self.sums, at, sum);
    }

    /// Quantises activation block `group` of row `row`, in two passes over its values. `load(block, place)` gives the 32
    /// values of block `block` of the row, which is the `place`-th of the group.
    pub fn store_group(
        &self,
        b: &mut KernelBuilder,
        row: ValueId,
        group: ValueId,
        load: impl Fn(&mut KernelBuilder, ValueId, ValueId) -> [ValueId; 2],
    ) {
        let zero = b.f32(0.0);
        let zeros = b.splat(zero);
        let most = b.named_var("largest", zeros);
        self.each_block(b, group, |b, block, place| {
            let [low, high] = load(b, block, place);
            let larger = magnitude(b, low, high);
            let before = b.get(most);
            let larger = b.max(before, larger);
            b.set(most, larger);
        });
        let most = b.get(most);
        let largest = b.reduce_max(most);
        let (inverse, scale) = factors(b, largest);
        let at = affine(b, row, self.scale_count(), 0);
        let at = b.add(at, group);
        b.store(self.scales, at, scale);
        self.each_block(b, group, |b, block, place| {
            let values = load(b, block, place);
            let sum = self.store_codes(b, row, block, values, inverse);
            let at = affine(b, row, self.blocks(), 0);
            let at = b.add(at, block);
            b.store(self.sums, at, sum);
        });
    }

    /// Calls `body(block, place)` for the blocks of 32 of an activation block.
    pub fn each_block(
        &self,
        b: &mut KernelBuilder,
        group: ValueId,
        body: impl Fn(&mut KernelBuilder, ValueId, ValueId),
    ) {
        let first = affine(b, group, self.block.weight_blocks(), 0);
        let total = b.i32(self.blocks() as i32);
        let rest = b.sub(total, first);
        let most = b.i32(self.block.weight_blocks() as i32);
        let count = b.min(rest, most);
        let zero = b.i32(0);
        let last = b.i32(self.blocks() as i32 - 1);
        b.for_(zero, count, |b, place| {
            // Never above it; the verifier does not know that `place` depends on `group`.
            let block = b.add(first, place);
            let block = b.min(block, last);
            body(b, block, place);
        });
    }

    /// Codes of 32 values of block `block` of row `row`; gives their sum.
    fn store_codes(
        &self,
        b: &mut KernelBuilder,
        row: ValueId,
        block: ValueId,
        [low, high]: [ValueId; 2],
        inverse: ValueId,
    ) -> ValueId {
        let scaled_low = b.mul(low, inverse);
        let code_low = b.to_int(scaled_low);
        let scaled_high = b.mul(high, inverse);
        let code_high = b.to_int(scaled_high);
        let both = b.add(code_low, code_high);
        let sum = b.reduce_add(both);

        let width = b.i32(self.cols as i32);
        let start = b.mul(row, width);
        let block_width = b.i32(BLOCK as i32);
        let column = b.mul(block, block_width);
        let index = b.add(start, column);
        let narrow_low = b.narrow(code_low);
        b.store(self.codes, index, narrow_low);
        let half = b.i32(16);
        let upper = b.add(index, half);
        let narrow_high = b.narrow(code_high);
        b.store(self.codes, upper, narrow_high);
        sum
    }

    /// Quantises row `row` from the f32 row that starts at element `start`.
    fn store_row(&self, b: &mut KernelBuilder, row: ValueId, input: ParamId, start: ValueId) {
        let zero = b.i32(0);
        let count = b.i32(self.scale_count() as i32);
        b.for_(zero, count, |b, at| match self.block {
            ActivationBlock::Of32 => {
                let (low, high) = load_block(b, input, start, at);
                self.store_block(b, row, at, low, high);
            }
            ActivationBlock::Of256 => self.store_group(b, row, at, |b, block, _| {
                load_block(b, input, start, block).into()
            }),
        });
    }
}

/// The larger magnitudes of two vectors.
fn magnitude(b: &mut KernelBuilder, low: ValueId, high: ValueId) -> ValueId {
    let low = b.abs(low);
    let high = b.abs(high);
    b.max(low, high)
}

/// What values of a block are multiplied with, in all lanes, and the block's scale.
fn factors(b: &mut KernelBuilder, largest: ValueId) -> (ValueId, ValueId) {
    let tiny = b.f32(TINY);
    let zero = b.f32(0.0);
    let full = b.f32(127.0);
    let share = b.f32(1.0 / 127.0);
    let is_tiny = b.cmp(Cmp::Le, largest, tiny);
    let quotient = b.div(full, largest);
    let inverse = b.select(is_tiny, zero, quotient);
    let product = b.mul(largest, share);
    let scale = b.select(is_tiny, zero, product);
    (b.splat(inverse), scale)
}

/// Quantises f32 rows `[max_rows][stride]`; one unit a row. Arguments: input, codes, scales, sums.
pub fn rows(max_rows: usize, stride: usize, block: ActivationBlock) -> Kernel {
    let doc = format!(
        "rows of {stride} f32 to int8 in blocks of {}",
        block.columns()
    );
    let mut b = KernelBuilder::new(&rows_name(stride, block), &doc, max_rows as u32);
    let len = Extent::fixed((max_rows * stride) as i64);
    let input = b.region("x", Space::Arena, Elem::F32, len, false);
    let output = Quantised::declare(&mut b, "xq", max_rows, stride, block, true);
    let row = b.unit();
    let width = b.i32(stride as i32);
    let start = b.mul(row, width);
    output.store_row(&mut b, row, input, start);
    b.finish()
}

/// Key and identifier of [`rows`].
#[must_use]
pub fn rows_name(stride: usize, block: ActivationBlock) -> String {
    format!("{}_{stride}", quantise_name(block))
}

/// The 32 floats of block `block` of the row that starts at element `start`.
pub fn load_block(
    b: &mut KernelBuilder,
    region: ParamId,
    start: ValueId,
    block: ValueId,
) -> (ValueId, ValueId) {
    let width = b.i32(BLOCK as i32);
    let column = b.mul(block, width);
    let index = b.add(start, column);
    let low = b.load(Ty::F32x16, region, index);
    let half = b.i32(16);
    let upper = b.add(index, half);
    let high = b.load(Ty::F32x16, region, upper);
    (low, high)
}

/// Quantises the rows whose logits are wanted; one unit an output. Arguments: input, codes, scales, sums.
pub fn selected(
    max_rows: usize,
    max_outputs: usize,
    stride: usize,
    block: ActivationBlock,
) -> Kernel {
    let doc = format!(
        "wanted rows of {stride} f32 to int8 in blocks of {}",
        block.columns()
    );
    let mut b = KernelBuilder::new(&selected_name(stride, block), &doc, max_outputs as u32);
    let len = Extent::fixed((max_rows * stride) as i64);
    let input = b.region("x", Space::Arena, Elem::F32, len, false);
    let output = Quantised::declare(&mut b, "xq", max_outputs, stride, block, true);
    let outputs = b.region(
        "outputs",
        Space::Outputs,
        Elem::I32,
        Extent::fixed(max_outputs as i64),
        false,
    );
    let unit = b.unit();
    let row = b.load(Ty::I32, outputs, unit);
    let limit = b.i32(max_rows as i32);
    let row = b.bounded(row, limit);
    let start = affine(&mut b, row, stride, 0);
    output.store_row(&mut b, unit, input, start);
    b.finish()
}

/// Key and identifier of [`selected`].
#[must_use]
pub fn selected_name(stride: usize, block: ActivationBlock) -> String {
    format!("select_and_{}_{stride}", quantise_name(block))
}
