//! Activations to int8: codes, one scale an activation block, sums of codes of every 32; the form that every dot reads. A row
//! of two terms is two such rows, one after the other.

use gemc_format::activation::TINY;
use gemc_format::{ActivationFormat, BLOCK};

use crate::ir::build::old::{KernelBuilder, Ops};
use crate::ir::build::old_pieces::affine;
use crate::ir::{Cmp, Elem, Extent, Kernel, ParamId, Space, Ty, ValueId};

/// Three regions that hold quantised rows.
#[derive(Clone, Copy, Debug)]
pub struct Quantised {
    /// i8 `[rows * terms][cols]`, cols a multiple of 32.
    pub codes: ParamId,
    /// f32 `[rows * terms][activation blocks]`.
    pub scales: ParamId,
    /// i32 `[rows * terms][cols / 32]`: sums of codes.
    pub sums: ParamId,
    /// Columns.
    pub cols: usize,
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

impl Quantised {
    /// Declares the regions, in this order of arguments.
    pub fn declare(
        b: &mut KernelBuilder,
        prefix: &str,
        rows: usize,
        cols: usize,
        format: ActivationFormat,
        mutable: bool,
    ) -> Self {
        debug_assert_eq!(cols % BLOCK, 0);
        let mut region = |name: &str, elem, per_row: usize| {
            let len = Extent::fixed((rows * format.terms() * per_row) as i64);
            b.region(
                &format!("{prefix}_{name}"),
                Space::Arena,
                elem,
                len,
                mutable,
            )
        };
        let codes = region("codes", Elem::I8, cols);
        let scales = region("scales", Elem::F32, scales_per_row(cols, format));
        let sums = region("sums", Elem::I32, cols / BLOCK);
        Self {
            codes,
            scales,
            sums,
            cols,
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
        if self.format.terms() == 1 {
            self.store_term(b, row, block, [low, high]);
            return;
        }
        let first = affine(b, row, 2, 0);
        let (codes, scale) = self.store_term(b, first, block, [low, high]);
        let scale = b.splat(scale);
        let mut left = [low, high];
        for (x, code) in left.iter_mut().zip(codes) {
            let code = b.to_float(code);
            let stands_for = b.mul(code, scale);
            *x = b.sub(*x, stands_for);
        }
        let second = affine(b, row, 2, 1);
        self.store_term(b, second, block, left);
    }

    /// Quantises 32 values into block `block` of a row of codes; gives the codes and what one stands for.
    fn store_term(
        &self,
        b: &mut KernelBuilder,
        row: ValueId,
        block: ValueId,
        [low, high]: [ValueId; 2],
    ) -> ([ValueId; 2], ValueId) {
        let larger = magnitude(b, low, high);
        let largest = b.reduce_max(larger);
        let (inverse, scale) = factors(b, largest);
        let (codes, sum) = self.store_codes(b, row, block, [low, high], inverse);
        let blocks = b.i32(self.blocks() as i32);
        let row_start = b.mul(row, blocks);
        let at = b.add(row_start, block);
        b.store(self.scales, at, scale);
        b.store(self.sums, at, sum);
        (codes, scale)
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
            let (_, sum) = self.store_codes(b, row, block, values, inverse);
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
        let first = affine(b, group, self.format.weight_blocks(), 0);
        let total = b.i32(self.blocks() as i32);
        let rest = b.sub(total, first);
        let most = b.i32(self.format.weight_blocks() as i32);
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

    /// Codes of 32 values of block `block` of row `row`; gives them and their sum.
    fn store_codes(
        &self,
        b: &mut KernelBuilder,
        row: ValueId,
        block: ValueId,
        [low, high]: [ValueId; 2],
        inverse: ValueId,
    ) -> ([ValueId; 2], ValueId) {
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
        ([code_low, code_high], sum)
    }

    /// Quantises row `row` from the f32 row that starts at element `start`.
    fn store_row(&self, b: &mut KernelBuilder, row: ValueId, input: ParamId, start: ValueId) {
        let zero = b.i32(0);
        let count = b.i32(self.scale_count() as i32);
        b.for_(zero, count, |b, at| match self.format {
            ActivationFormat::Int8 | ActivationFormat::Int16 => {
                let (low, high) = load_block(b, input, start, at);
                self.store_block(b, row, at, low, high);
            }
            ActivationFormat::Int8Wide => self.store_group(b, row, at, |b, block, _| {
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
pub(super) fn factors(b: &mut KernelBuilder, largest: ValueId) -> (ValueId, ValueId) {
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

/// What the kernel that quantises rows depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct QuantiseRows {
    /// Rows of the buffers.
    pub max_rows: usize,
    /// Columns, padded.
    pub stride: usize,
    /// How.
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
        let mut b = KernelBuilder::new(&self.name(), &doc, max_rows as u32);
        let len = Extent::fixed((max_rows * stride) as i64);
        let input = b.region("x", Space::Arena, Elem::F32, len, false);
        let output = Quantised::declare(&mut b, "xq", max_rows, stride, format, true);
        let row = b.item();
        let width = b.i32(stride as i32);
        let start = b.mul(row, width);
        output.store_row(&mut b, row, input, start);
        b.finish()
    }
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

/// What the kernel that quantises wanted rows depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SelectRows {
    /// Rows of the input.
    pub max_rows: usize,
    /// Rows of the result.
    pub max_outputs: usize,
    /// Columns, padded.
    pub stride: usize,
    /// How.
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
        let mut b = KernelBuilder::new(&self.name(), &doc, max_outputs as u32);
        let len = Extent::fixed((max_rows * stride) as i64);
        let input = b.region("x", Space::Arena, Elem::F32, len, false);
        let output = Quantised::declare(&mut b, "xq", max_outputs, stride, format, true);
        let outputs = b.region(
            "outputs",
            Space::Outputs,
            Elem::I32,
            Extent::fixed(max_outputs as i64),
            false,
        );
        let item = b.item();
        let row = b.load(Ty::I32, outputs, item);
        let limit = b.i32(max_rows as i32);
        let row = b.bounded(row, limit);
        let start = affine(&mut b, row, stride, 0);
        output.store_row(&mut b, item, input, start);
        b.finish()
    }
}
