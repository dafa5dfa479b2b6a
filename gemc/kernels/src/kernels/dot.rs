//! The inner product of a tile of 16 weight rows with int8 activation rows: the hot loop of every matrix product.
//!
//! Whatever the strategy, the integer sum of a block is exact, and floats combine in one order: blocks ascending,
//! `acc = fma(float(scale * isum), activation_scale, acc)`, at the end `acc * row_scale`. Where an activation scale serves
//! several blocks, their `scale * isum` are added as integers before. So all strategies, row blocks and thread counts give
//! the same bits.

use gemc_format::{Codec, CodecSpec};

use super::codes::{self, Block, Form};
use super::quantise::Quantised;
use crate::choices::DotStrategy;
use crate::ir::build::old::{KernelBuilder, Ops};
use crate::ir::build::old_pieces::affine;
use crate::ir::{Elem, Extent, ParamId, Space, Ty, ValueId, VarId};

/// Weight rows of a tile.
pub const TILE: usize = 16;

/// Bytes of the codes of one block of one tile.
#[must_use]
pub fn block_bytes(codec: Codec) -> usize {
    TILE * 32 / 8 * codec.spec().code_bits as usize
}

/// Whether an activation scale serves several blocks of weights.
const fn is_wide(x: &Quantised) -> bool {
    x.format.weight_blocks() > 1
}

/// The form of codes that a strategy multiplies: products of signed bytes cost AVX2 more than an offset does, but for codes
/// that are signed bytes already.
fn form(dot: DotStrategy, spec: &CodecSpec) -> Form {
    match dot {
        DotStrategy::SignedBytes4 => Form::Signed,
        DotStrategy::Pairs if spec.codes.0 < 0 => Form::Signed,
        DotStrategy::Pairs | DotStrategy::Bytes4 => Form::Unsigned,
    }
}

/// Planes of a packed matrix as kernel parameters.
#[derive(Clone, Copy, Debug)]
pub struct Planes {
    codec: Codec,
    blocks: usize,
    codes: ParamId,
    scales: ParamId,
    row_scales: ParamId,
}

impl Planes {
    /// Declares the regions, in this order of arguments: codes, block scales, row scales.
    pub fn declare(b: &mut KernelBuilder, codec: Codec, tiles: usize, cols: usize) -> Self {
        let blocks = cols.div_ceil(32);
        let block_bytes = block_bytes(codec);
        let mut region = |name: &str, elem, len: usize| {
            b.region(name, Space::Weights, elem, Extent::fixed(len as i64), false)
        };
        let codes = region("codes", Elem::I8, tiles * blocks * block_bytes);
        let scales = region("scales", Elem::I8, tiles * blocks * TILE);
        let row_scales = region("row_scales", Elem::F32, tiles * TILE);
        Self {
            codec,
            blocks,
            codes,
            scales,
            row_scales,
        }
    }

    /// 16 outputs of tile `tile` for each activation row: F32x16 values, row scale applied.
    pub fn dot_tile(
        &self,
        b: &mut KernelBuilder,
        dot: DotStrategy,
        tile: ValueId,
        x: &Quantised,
        rows: &[ValueId],
    ) -> Vec<ValueId> {
        let zero = b.f32(0.0);
        let zero = b.splat(zero);
        let sums: Vec<VarId> = rows.iter().map(|_| b.named_var("acc", zero)).collect();
        let block_count = b.i32(self.blocks as i32);
        let first_block = b.mul(tile, block_count);
        b.name(first_block, "first_block");
        let mut inputs = vec![block_count, first_block];
        for &row in rows {
            let base = RowBase::new(b, x, row);
            inputs.extend(base.inputs(x));
        }
        let codec = self.codec.name().to_lowercase();
        let suffix = if is_wide(x) { "_by256" } else { "" };
        let name = format!("dot_{codec}_{}{suffix}", rows.len());
        b.outline(&name, &inputs, |b, inputs| {
            let (sizes, bases) = inputs.split_at(2);
            b.name(sizes[0], "block_count");
            let bases: Vec<RowBase> = bases.chunks(RowBase::len(x)).map(RowBase::of).collect();
            let product = Product {
                dot,
                x,
                bases: &bases,
                sums: &sums,
            };
            match is_wide(x) {
                false => self.dot_blocks(b, [sizes[0], sizes[1]], &product),
                true => self.dot_groups(b, [sizes[0], sizes[1]], &product),
            }
        });
        let width = b.i32(TILE as i32);
        let index = b.mul(tile, width);
        let row_scale = b.load(Ty::F32x16, self.row_scales, index);
        sums.into_iter()
            .map(|sum| {
                let total = b.get(sum);
                b.mul(total, row_scale)
            })
            .collect()
    }

    /// Adds the products of all blocks of a tile to the sums; nothing here depends on a shape.
    fn dot_blocks(
        &self,
        b: &mut KernelBuilder,
        [block_count, first_block]: [ValueId; 2],
        product: &Product<'_>,
    ) {
        let start = b.i32(0);
        b.for_(start, block_count, |b, block| {
            let at = b.add(first_block, block);
            self.scaled_sums(b, at, block, product, |b, row, scaled| {
                product.accumulate(b, row, block, scaled);
            });
        });
    }

    /// As [`Planes::dot_blocks`], where eight blocks share an activation scale: their scaled sums are added as integers.
    /// Eight of the largest (32 * 127 * 127 * 255) are below 2^31.
    fn dot_groups(
        &self,
        b: &mut KernelBuilder,
        [block_count, first_block]: [ValueId; 2],
        product: &Product<'_>,
    ) {
        let size = b.i32(product.x.format.weight_blocks() as i32);
        let round = affine(b, block_count, 1, product.x.format.weight_blocks() - 1);
        let groups = b.div(round, size);
        let start = b.i32(0);
        b.for_(start, groups, |b, group| {
            let zero = zero_words(b);
            let bases = product.bases.iter();
            let totals: Vec<VarId> = bases.map(|_| b.named_var("isum", zero)).collect();
            let first = b.mul(group, size);
            let next = b.add(first, size);
            let end = b.min(next, block_count);
            b.for_(first, end, |b, block| {
                let at = b.add(first_block, block);
                self.scaled_sums(b, at, block, product, |b, row, scaled| {
                    let before = b.get(totals[row]);
                    let after = b.add(before, scaled);
                    b.set(totals[row], after);
                });
            });
            for (row, total) in totals.into_iter().enumerate() {
                let total = b.get(total);
                product.accumulate(b, row, group, total);
            }
        });
    }

    /// Calls `each(row, scaled)` with the integer sums of one block, in units of the activation scale and the row scale.
    fn scaled_sums(
        &self,
        b: &mut KernelBuilder,
        at: ValueId,
        block: ValueId,
        product: &Product<'_>,
        mut each: impl FnMut(&mut KernelBuilder, usize, ValueId),
    ) {
        let Product { dot, x, bases, .. } = *product;
        let isums = self.block_sums(b, dot, at, block, x, bases);
        let scale = self.block_scale(b, dot, at);
        for (row, (isum, base)) in isums.into_iter().zip(bases).enumerate() {
            let corrected = scale.corrected(b, isum, base, block, x);
            let scaled = b.mul(corrected, scale.factor);
            each(b, row, scaled);
        }
    }

    /// Integer sums of one block, offsets of unsigned codes not yet taken off.
    fn block_sums(
        &self,
        b: &mut KernelBuilder,
        dot: DotStrategy,
        at: ValueId,
        block: ValueId,
        x: &Quantised,
        bases: &[RowBase],
    ) -> Vec<ValueId> {
        let bytes = b.i32(block_bytes(self.codec) as i32);
        let start = b.mul(at, bytes);
        let width = b.i32(32);
        let column = b.mul(block, width);
        let columns: Vec<ValueId> = bases.iter().map(|base| b.add(base.code, column)).collect();
        let spec = self.codec.spec();
        let form = form(dot, &spec);
        let mut sums = Sums::new(dot, form, &spec, bases.len());
        let codes = Block {
            spec: &spec,
            region: self.codes,
            start,
        };
        codes.unpack(b, form, |b, group, codes| {
            for (row, &column) in columns.iter().enumerate() {
                let activations = broadcast(b, x, column, group);
                sums.add(b, row, codes, activations);
            }
        });
        sums.finish(b)
    }

    fn block_scale(&self, b: &mut KernelBuilder, dot: DotStrategy, at: ValueId) -> BlockScale {
        let width = b.i32(TILE as i32);
        let index = b.mul(at, width);
        let bytes = b.load(Ty::I8x16, self.scales, index);
        let spec = self.codec.spec();
        let offset = codes::offset(&spec, form(dot, &spec));
        let byte = if spec.unsigned_scale {
            b.widen_u(bytes)
        } else {
            b.widen_s(bytes)
        };
        if spec.shift == 0 {
            return BlockScale {
                factor: byte,
                offset: Offset::Fixed(offset),
            };
        }
        let lanes = |b: &mut KernelBuilder, value: i32| {
            let value = b.i32(value);
            b.splat(value)
        };
        let one = lanes(b, 1);
        let factor = b.or(byte, one);
        let shifted = b.and(byte, one);
        let shift = lanes(b, spec.shift);
        let shift = b.mul(shifted, shift);
        let offset = lanes(b, offset);
        BlockScale {
            factor,
            offset: Offset::PerRow(b.sub(shift, offset)),
        }
    }
}

/// The product of a tile with some rows under construction.
struct Product<'a> {
    dot: DotStrategy,
    x: &'a Quantised<'a>,
    bases: &'a [RowBase],
    sums: &'a [VarId],
}

impl Product<'_> {
    /// Adds a row's integers to its sum, by the scale `at` of the row.
    fn accumulate(&self, b: &mut KernelBuilder, row: usize, at: ValueId, scaled: ValueId) {
        let float = b.to_float(scaled);
        let index = b.add(self.bases[row].scale, at);
        let activation = b.load(Ty::F32, self.x.scales.id(), index);
        let activation = b.splat(activation);
        let before = b.get(self.sums[row]);
        let after = b.fma(float, activation, before);
        b.set(self.sums[row], after);
    }
}

/// Block scales of 16 rows, and what unsigned codes are too large by.
struct BlockScale {
    factor: ValueId,
    offset: Offset,
}

enum Offset {
    /// Codes are this much too large.
    Fixed(i32),
    /// This vector times the sum of activation codes is to be added.
    PerRow(ValueId),
}

impl BlockScale {
    /// `isum` with the offset of the codes taken off through the block's sum of activation codes.
    fn corrected(
        &self,
        b: &mut KernelBuilder,
        isum: ValueId,
        base: &RowBase,
        block: ValueId,
        x: &Quantised,
    ) -> ValueId {
        if matches!(self.offset, Offset::Fixed(0)) {
            return isum;
        }
        let index = b.add(base.block, block);
        let sum = b.load(Ty::I32, x.sums.id(), index);
        match self.offset {
            Offset::Fixed(offset) => {
                let offset = b.i32(-offset);
                let product = b.mul(sum, offset);
                let product = b.splat(product);
                b.add(isum, product)
            }
            Offset::PerRow(factor) => {
                let sum = b.splat(sum);
                let product = b.mul(factor, sum);
                b.add(isum, product)
            }
        }
    }
}

/// Element offsets of an activation row.
struct RowBase {
    code: ValueId,
    /// Of its blocks of 32.
    block: ValueId,
    /// Of its scales; the same where a scale serves one block.
    scale: ValueId,
}

impl RowBase {
    fn new(b: &mut KernelBuilder, x: &Quantised, row: ValueId) -> Self {
        let width = b.i32(x.cols as i32);
        let blocks = b.i32((x.cols / 32) as i32);
        let code = b.mul(row, width);
        let block = b.mul(row, blocks);
        let scale = match is_wide(x) {
            false => block,
            true => affine(b, row, x.scale_count(), 0),
        };
        Self { code, block, scale }
    }

    /// How many values an outline takes of it.
    const fn len(x: &Quantised) -> usize {
        match is_wide(x) {
            false => 2,
            true => 3,
        }
    }

    /// Those values.
    fn inputs(&self, x: &Quantised) -> impl Iterator<Item = ValueId> {
        let values = [self.code, self.block, self.scale];
        values.into_iter().take(Self::len(x))
    }

    /// From those values.
    fn of(values: &[ValueId]) -> Self {
        Self {
            code: values[0],
            block: values[1],
            scale: values[values.len() - 1],
        }
    }
}

/// Four activation codes of k-group `group`, once per weight row.
fn broadcast(b: &mut KernelBuilder, x: &Quantised, column: ValueId, group: usize) -> ValueId {
    let offset = b.i32(4 * group as i32);
    let index = b.add(column, offset);
    let word = b.load_range(Ty::I32, x.codes.id(), index, -127, 127);
    let words = b.splat(word);
    b.bits(Ty::I8x64, words)
}

/// Accumulators of a block by strategy and row.
struct Sums {
    dot: DotStrategy,
    form: Form,
    /// Sums of pairs that are added in 16 bits before they are widened.
    chain: usize,
    words: Vec<Option<ValueId>>,
    /// Of each row: a sum of pairs, and of how many.
    pairs: Vec<Option<(ValueId, usize)>>,
}

impl Sums {
    fn new(dot: DotStrategy, form: Form, spec: &CodecSpec, rows: usize) -> Self {
        let chain = match form {
            Form::Unsigned => i32::from(i16::MAX) / (2 * codes::largest(spec) * 127),
            Form::Signed => 1,
        };
        Self {
            dot,
            form,
            chain: chain.max(1) as usize,
            words: vec![None; rows],
            pairs: vec![None; rows],
        }
    }

    fn add(&mut self, b: &mut KernelBuilder, row: usize, codes: ValueId, activations: ValueId) {
        let pair = match (self.dot, self.form) {
            (DotStrategy::Bytes4, _) => {
                let before = self.words[row].unwrap_or_else(|| zero_words(b));
                self.words[row] = Some(b.dot4_u(before, codes, activations));
                return;
            }
            (DotStrategy::SignedBytes4, _) => {
                let before = self.words[row].unwrap_or_else(|| zero_words(b));
                self.words[row] = Some(b.dot4_s(before, codes, activations));
                return;
            }
            (DotStrategy::Pairs, Form::Unsigned) => b.dot2_u(codes, activations),
            (DotStrategy::Pairs, Form::Signed) => b.dot2_s(codes, activations),
        };
        let (sum, pairs) = match self.pairs[row].take() {
            Some((before, pairs)) => (b.add(before, pair), pairs + 1),
            None => (pair, 1),
        };
        if pairs == self.chain {
            self.add_words(b, row, sum);
        } else {
            self.pairs[row] = Some((sum, pairs));
        }
    }

    fn add_words(&mut self, b: &mut KernelBuilder, row: usize, pair: ValueId) {
        let word = widen_pairs(b, pair);
        self.words[row] = Some(match self.words[row] {
            Some(before) => b.add(before, word),
            None => word,
        });
    }

    fn finish(mut self, b: &mut KernelBuilder) -> Vec<ValueId> {
        for row in 0..self.pairs.len() {
            if let Some((rest, _)) = self.pairs[row].take() {
                self.add_words(b, row, rest);
            }
        }
        let words = self.words.into_iter();
        words
            .map(|word| word.unwrap_or_else(|| zero_words(b)))
            .collect()
    }
}

fn zero_words(b: &mut KernelBuilder) -> ValueId {
    let zero = b.i32(0);
    b.splat(zero)
}

/// Sums of neighbouring words: 16-bit pairs to 32 bits.
fn widen_pairs(b: &mut KernelBuilder, pair: ValueId) -> ValueId {
    let ones = b.i32(0x0001_0001);
    let ones = b.splat(ones);
    let ones = b.bits(Ty::I16x32, ones);
    b.dot_words(pair, ones)
}
