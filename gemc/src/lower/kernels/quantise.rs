//! Activations to int8 per block of 32: codes, scale and sum of codes, the form that every dot reads.

use gem_runtime::format::activation::TINY;

use crate::kernel::build::{KernelBuilder, Ops};
use crate::kernel::{Cmp, Elem, Extent, ParamId, Space, Ty, ValueId};

/// Columns of an activation block.
pub const BLOCK: usize = 32;

/// Three regions that hold quantised rows.
#[derive(Clone, Copy, Debug)]
pub struct Quantised {
    /// i8 `[rows][cols]`, cols a multiple of 32.
    pub codes: ParamId,
    /// f32 `[rows][cols / 32]`.
    pub scales: ParamId,
    /// i32 `[rows][cols / 32]`: sums of codes.
    pub sums: ParamId,
    /// Columns.
    pub cols: usize,
}

impl Quantised {
    /// Declares the regions, in this order of arguments.
    pub fn declare(
        b: &mut KernelBuilder,
        prefix: &str,
        rows: usize,
        cols: usize,
        mutable: bool,
    ) -> Self {
        debug_assert_eq!(cols % BLOCK, 0);
        let blocks = cols / BLOCK;
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
        let scales = region("scales", Elem::F32, blocks);
        let sums = region("sums", Elem::I32, blocks);
        Self {
            codes,
            scales,
            sums,
            cols,
        }
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
        let magnitude_low = b.abs(low);
        let magnitude_high = b.abs(high);
        let larger = b.max(magnitude_low, magnitude_high);
        let largest = b.reduce_max(larger);
        let tiny = b.f32(TINY);
        let zero = b.f32(0.0);
        let full = b.f32(127.0);
        let share = b.f32(1.0 / 127.0);
        let is_tiny = b.cmp(Cmp::Le, largest, tiny);
        let quotient = b.div(full, largest);
        let inverse = b.select(is_tiny, zero, quotient);
        let product = b.mul(largest, share);
        let scale = b.select(is_tiny, zero, product);
        let inverse = b.splat(inverse);

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

        let blocks = b.i32((self.cols / BLOCK) as i32);
        let row_start = b.mul(row, blocks);
        let at = b.add(row_start, block);
        b.store(self.scales, at, scale);
        b.store(self.sums, at, sum);
    }
}

/// Quantises f32 rows `[max_rows][stride]`; one unit a row. Arguments: input, codes, scales, sums.
pub fn rows(max_rows: usize, stride: usize) -> crate::kernel::Kernel {
    let name = format!("quantise_{stride}");
    let doc = format!("rows of {stride} f32 to int8 in blocks of {BLOCK}");
    let mut b = KernelBuilder::new(&name, &doc, max_rows as u32);
    let len = Extent::fixed((max_rows * stride) as i64);
    let input = b.region("x", Space::Arena, Elem::F32, len, false);
    let output = Quantised::declare(&mut b, "xq", max_rows, stride, true);
    let row = b.unit();
    let width = b.i32(stride as i32);
    let start = b.mul(row, width);
    let zero = b.i32(0);
    let blocks = b.i32((stride / BLOCK) as i32);
    b.for_(zero, blocks, |b, block| {
        let (low, high) = load_block(b, input, start, block);
        output.store_block(b, row, block, low, high);
    });
    b.finish()
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
pub fn selected(max_rows: usize, max_outputs: usize, stride: usize) -> crate::kernel::Kernel {
    let name = format!("select_and_quantise_{stride}");
    let doc = format!("wanted rows of {stride} f32 to int8 in blocks of {BLOCK}");
    let mut b = KernelBuilder::new(&name, &doc, max_outputs as u32);
    let len = Extent::fixed((max_rows * stride) as i64);
    let input = b.region("x", Space::Arena, Elem::F32, len, false);
    let output = Quantised::declare(&mut b, "xq", max_outputs, stride, true);
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
    let start = super::vector::affine(&mut b, row, stride, 0);
    b.for_n((stride / BLOCK) as i32, |b, block| {
        let (low, high) = load_block(b, input, start, block);
        output.store_block(b, unit, block, low, high);
    });
    b.finish()
}
