//! The inner product of a tile of 16 weight rows with int8 activation rows: the hot loop of every matrix product.
//!
//! Whatever the strategy, the integer sum of a block is exact, and floats combine in one order, blocks ascending, as the
//! codec's [`BlockSums`] say: `acc = fma(float(scale * isum), activation_scale, acc)`, at the end `acc * row_scale`, where
//! `scale * isum` of all blocks that share an activation scale are added as integers before; or, of codecs whose scales are
//! floats, `acc = fma(scale * float(isum), activation_scale, acc)` block by block. So all strategies, row blocks and thread
//! counts give the same bits.

use std::cell::Cell;

use gemc_format::{BLOCK, BlockSums, CodecSpec, GROUPS, Scales};

use super::codes::{self, Block, Form};
use super::planes::PlaneRegions;
use super::quantise::QuantisedRegions;
use crate::choices::DotStrategy;
use crate::ir::build::{Array, KernelBuilder, Region, Val};
use crate::ir::{Count, Ty};

/// Weight rows of a tile.
pub const TILE: usize = 16;

/// Whether an activation scale serves several blocks of weights.
pub(super) const fn is_wide(x: &QuantisedRegions) -> bool {
    x.format.weight_blocks() > 1
}

/// The form of codes that a strategy multiplies: products of signed bytes cost AVX2 more than an offset does, but for codes
/// that are signed bytes already.
pub(super) fn form(dot: DotStrategy, spec: &CodecSpec) -> Form {
    match dot {
        DotStrategy::SignedBytes4 => Form::Signed,
        DotStrategy::Lanes16 => Form::Centred,
        DotStrategy::Pairs if spec.codes.0 < 0 => Form::Signed,
        DotStrategy::Pairs | DotStrategy::Bytes4 => Form::Unsigned,
    }
}

impl<'k> PlaneRegions<'k> {
    /// Of an outline that multiplies blocks of this codec with rows of this format.
    pub(super) fn outline_name(&self, kind: &str, x: &QuantisedRegions<'_>) -> String {
        let codec = self.size.codec.name().to_lowercase();
        let suffix = if is_wide(x) { "_by256" } else { "" };
        format!("{kind}_{codec}{suffix}")
    }

    /// 16 outputs of tile `tile` for each of `rows` activation rows, which `row` gives.
    pub fn dot_tile(
        &self,
        k: &'k KernelBuilder,
        dot: DotStrategy,
        tile: Val<'k>,
        x: &QuantisedRegions<'k>,
        (rows, row): (usize, impl Fn(Val<'k>) -> Val<'k>),
    ) -> Outputs<'k> {
        let terms = x.format.terms();
        let product = Product::new(k, self, dot, x, rows * terms);
        k.repeat(&Count::named(rows, "rows"), "row", |index| {
            let row = row(index);
            for term in 0..terms {
                product.bind(index * terms + term, row * terms + term);
            }
        });
        let inputs = [
            ("block_count", k.lit(self.size.blocks)),
            ("first_block", tile * self.size.blocks),
        ];
        k.outline(
            &self.outline_name("dot", x),
            &inputs,
            |inputs| match product.spec.sums {
                BlockSums::Integers if is_wide(x) => product.groups(inputs[0], inputs[1]),
                BlockSums::Integers | BlockSums::Floats => product.blocks(inputs[0], inputs[1]),
            },
        );
        Outputs {
            sums: SumsOf::Registers(product.acc),
            terms,
            row_scale: self.row_scale(tile),
        }
    }

    /// Scales of the rows of a tile, where the codec has them.
    pub(super) fn row_scale(&self, tile: Val<'k>) -> Option<Val<'k>> {
        (self.row_scales).map(|scales| scales.lanes(tile * TILE).named("row_scale"))
    }
}

/// Outputs of a tile for some rows.
#[derive(Clone, Copy, Debug)]
pub struct Outputs<'k> {
    pub(super) sums: SumsOf<'k>,
    pub(super) terms: usize,
    pub(super) row_scale: Option<Val<'k>>,
}

/// Where the sums of rows of codes are.
#[derive(Clone, Copy, Debug)]
pub(super) enum SumsOf<'k> {
    Registers(Array<'k>),
    /// 16 of each row in local memory.
    Memory(Region<'k>),
}

impl<'k> Outputs<'k> {
    /// Those of the row of this index, bias added: F32x16.
    pub fn of(&self, row: Val<'k>, bias: Option<Val<'k>>) -> Val<'k> {
        let sum = |term: usize| {
            let at = row * self.terms + term;
            let sum = match self.sums {
                SumsOf::Registers(sums) => sums.get(at),
                SumsOf::Memory(sums) => sums.lanes(at * TILE),
            };
            self.row_scale.map_or(sum, |scale| sum * scale)
        };
        let sum = (0..self.terms).map(sum).reduce(|a, b| a + b);
        let sum = sum.expect("a row has a term");
        bias.map_or(sum, |bias| sum + bias)
    }
}

/// The product of a tile with some rows of activation codes under construction.
struct Product<'a, 'k> {
    k: &'k KernelBuilder,
    planes: &'a PlaneRegions<'k>,
    dot: DotStrategy,
    spec: CodecSpec,
    x: &'a QuantisedRegions<'k>,
    rows: Count,
    acc: Array<'k>,
    /// First element of each row's codes, of its blocks of 32, and of its scales where one serves several of those.
    code_at: Array<'k>,
    block_at: Array<'k>,
    scale_at: Option<Array<'k>>,
}

impl<'a, 'k> Product<'a, 'k> {
    fn new(
        k: &'k KernelBuilder,
        planes: &'a PlaneRegions<'k>,
        dot: DotStrategy,
        x: &'a QuantisedRegions<'k>,
        rows: usize,
    ) -> Self {
        let rows = Count::named(rows, "rows");
        Self {
            k,
            planes,
            dot,
            spec: planes.size.codec.spec(),
            x,
            acc: k.array("acc", &rows, k.splat(0.0)),
            code_at: k.array("code_at", &rows, 0),
            block_at: k.array("block_at", &rows, 0),
            scale_at: is_wide(x).then(|| k.array("scale_at", &rows, 0)),
            rows,
        }
    }

    /// Says which row of codes an index stands for.
    fn bind(&self, index: Val<'k>, row: Val<'k>) {
        self.code_at.set(index, row * self.x.cols);
        self.block_at.set(index, row * (self.x.cols / BLOCK));
        if let Some(scale_at) = self.scale_at {
            scale_at.set(index, row * self.x.scale_count());
        }
    }

    /// Adds the products of all blocks of a tile to the sums; nothing here depends on a shape.
    fn blocks(&self, count: Val<'k>, first: Val<'k>) {
        self.k.for_n(count, |block| {
            let block = block.named("block");
            self.scaled_sums(first + block, block, |row, scaled| {
                self.accumulate(row, self.scale_index(row, block), scaled);
            });
        });
    }

    /// Where a row's activation scale of a block is.
    fn scale_index(&self, row: Val<'k>, block: Val<'k>) -> Val<'k> {
        match self.scale_at {
            None => self.block_at.get(row) + block,
            Some(scale_at) => scale_at.get(row) + block / self.x.format.weight_blocks(),
        }
    }

    /// As [`Product::blocks`], where eight blocks share an activation scale and their scaled sums are added as integers.
    /// Eight of the largest (32 * 127 * 127 * 255) are below 2^31.
    fn groups(&self, count: Val<'k>, first: Val<'k>) {
        let k = self.k;
        let size = self.x.format.weight_blocks();
        let scale_at = self
            .scale_at
            .expect("declared where scales serve several blocks");
        k.for_n((count + (size - 1)) / size, |group| {
            let group = group.named("group");
            let totals = k.array("totals", &self.rows, k.splat(0));
            let start = group * size;
            k.for_(start, (start + size).min(count), |block| {
                let block = block.named("block");
                self.scaled_sums(first + block, block, |row, scaled| {
                    totals.update(row, |total| total + scaled);
                });
            });
            k.repeat(&self.rows, "row", |row| {
                self.accumulate(row, scale_at.get(row) + group, totals.get(row));
            });
        });
    }

    /// Adds a row's [`Product::scaled_sums`] to its sum, in units of the activation scale `at` an index.
    fn accumulate(&self, row: Val<'k>, at: Val<'k>, scaled: Val<'k>) {
        let scale = self.x.scales.get(at).named("x_scale").splat();
        self.acc.update(row, |acc| {
            let scaled = match self.spec.sums {
                BlockSums::Integers => scaled.to_float(),
                BlockSums::Floats => scaled,
            };
            scaled.mul_add(scale, acc)
        });
    }

    /// Calls `each(row, scaled)` with the sums of one block, integers or floats as the codec's [`BlockSums`] say, in units of
    /// the activation scale and the row scale.
    fn scaled_sums(&self, at: Val<'k>, block: Val<'k>, each: impl FnOnce(Val<'k>, Val<'k>)) {
        let k = self.k;
        let sums = self.block_sums(at.named("at"), block);
        let scale = BlockScale::load(k, self.planes, self.dot, at);
        k.repeat(&self.rows, "row", |row| {
            let sum = || {
                self.x
                    .sums
                    .get(self.block_at.get(row) + block)
                    .named("x_sum")
            };
            let sum = scale.corrected(sums.get(row), sum);
            let scaled = match self.spec.sums {
                BlockSums::Integers => sum * scale.factor,
                BlockSums::Floats => sum.to_float() * scale.factor,
            };
            each(row, scaled.named("scaled"));
        });
    }

    /// Integer sums of one block, offsets of unsigned codes not yet taken off.
    fn block_sums(&self, at: Val<'k>, block: Val<'k>) -> Array<'k> {
        let k = self.k;
        let form = form(self.dot, &self.spec);
        let codes = Block {
            spec: &self.spec,
            chunks: self.planes.codes(at),
        };
        let column = (block * BLOCK).named("column");
        let sums = Sums::new(k, self.dot, &self.spec, &self.rows);
        codes.unpack(
            k,
            form,
            |group, weights| {
                let column = column + (group * 4).named("offset");
                sums.add(weights, |row| {
                    let at = self.code_at.get(row) + column;
                    let word = self.x.codes.load_in(Ty::I32, at, -127..=127);
                    word.named("x").splat().bits(Ty::I8x64)
                });
            },
            || sums.end_turn(),
        );
        sums.finish()
    }
}

/// A scalar in every lane of a vector like another one, or like a half of one.
pub(super) fn in_lanes<'k>(scalar: Val<'k>, like: Val<'k>) -> Val<'k> {
    match like.ty() {
        Ty::I32x8 | Ty::F32x8 => scalar.splat().low(),
        _ => scalar.splat(),
    }
}

/// A sum of activation codes, which fits 16 bits, in every word that counts.
fn in_words(sum: Val<'_>) -> Val<'_> {
    sum.splat().bits(Ty::I16x32)
}

/// Block scales of 16 rows, and what unsigned codes are too large by.
pub(super) struct BlockScale<'k> {
    pub factor: Val<'k>,
    offset: Offset<'k>,
}

enum Offset<'k> {
    /// Codes are this much too large.
    Fixed(i32),
    /// This vector times the sum of activation codes is to be added.
    PerRow(Val<'k>),
    /// As [`Offset::PerRow`], as words of 16 bits of which every other one is 0.
    PerRowInWords(Val<'k>),
    /// As [`Offset::PerRow`], as floats, to be added to sums that are floats already.
    PerRowInFloats(Val<'k>),
}

impl<'k> BlockScale<'k> {
    /// Those of the block with this number.
    pub fn load(
        k: &'k KernelBuilder,
        planes: &PlaneRegions<'k>,
        dot: DotStrategy,
        at: Val<'k>,
    ) -> Self {
        let spec = planes.size.codec.spec();
        let offset = codes::offset(&spec, form(dot, &spec));
        let bytes = planes.scales(at).lanes(0).named("scale_bytes");
        let byte = if spec.unsigned_scale {
            bytes.widen_u()
        } else {
            bytes.widen_s()
        };
        let byte = byte.named("scale");
        if spec.shift == 0 {
            return Self {
                factor: match spec.scales {
                    Scales::Integers { .. } => byte,
                    Scales::PowersOfTwo { bias } => codes::powers_of_two(byte, bias).named("power"),
                },
                offset: Offset::Fixed(offset),
            };
        }
        let shift = ((byte & 1) * spec.shift - k.splat(offset)).named("shift");
        Self {
            factor: (byte | 1).named("factor"),
            offset: match dot {
                // Both it and sums fit 16 bits, whose products cost less; the upper words are 0.
                DotStrategy::Pairs => {
                    let words = (shift & 0xffff).bits(Ty::I16x32);
                    Offset::PerRowInWords(words.named("shift_words"))
                }
                DotStrategy::Bytes4 | DotStrategy::SignedBytes4 | DotStrategy::Lanes16 => {
                    Offset::PerRow(shift)
                }
            },
        }
    }

    /// Those of some of the rows, which `cut` takes out of vectors of all.
    pub fn of_rows(&self, cut: impl Fn(Val<'k>) -> Val<'k>) -> Self {
        Self {
            factor: cut(self.factor),
            offset: match self.offset {
                Offset::Fixed(offset) => Offset::Fixed(offset),
                Offset::PerRow(factor) => Offset::PerRow(cut(factor)),
                Offset::PerRowInWords(words) => Offset::PerRowInWords(cut(words)),
                Offset::PerRowInFloats(floats) => Offset::PerRowInFloats(cut(floats)),
            },
        }
    }

    /// The same with factors as floats, for sums of one block that become floats.
    pub fn float_factors(self) -> Self {
        Self {
            factor: self.factor.to_float().named("float_factor"),
            ..self
        }
    }

    /// The same with offsets as floats, where they are vectors: many rows add them by a fused multiplication, which costs Arm
    /// less than one of integers. All of these integers are below 2^24, so bits are the same.
    pub fn float_offsets(self, dot: DotStrategy) -> Self {
        let by_element = matches!(dot, DotStrategy::SignedBytes4 | DotStrategy::Lanes16);
        let offset = match self.offset {
            Offset::PerRow(shift) if by_element => {
                Offset::PerRowInFloats(shift.to_float().named("float_shift"))
            }
            offset => offset,
        };
        Self { offset, ..self }
    }

    /// A block's sum as floats, with what [`BlockScale::correction`] has not added to it.
    pub fn to_float(&self, sum: Val<'k>, activations: impl FnOnce() -> Val<'k>) -> Val<'k> {
        match self.offset {
            Offset::PerRowInFloats(shift) => {
                let activations = in_lanes(activations().to_float(), shift);
                shift.mul_add(activations, sum.to_float())
            }
            _ => sum.to_float(),
        }
    }

    /// Sums with the offset of the codes taken off through the block's sum of activation codes.
    pub fn corrected(&self, sums: Val<'k>, activations: impl FnOnce() -> Val<'k>) -> Val<'k> {
        match self.offset {
            Offset::Fixed(0) => sums,
            Offset::Fixed(offset) => sums + (activations() * -offset).splat(),
            Offset::PerRow(factor) => sums + factor * activations().splat(),
            Offset::PerRowInWords(words) => sums + words.dot_words(in_words(activations())),
            Offset::PerRowInFloats(_) => unreachable!("sums are integers here"),
        }
    }

    /// What sums with the offset taken off begin with, where there is one, through the block's sum of activation codes.
    pub fn correction(&self, activations: impl FnOnce() -> Val<'k>) -> Option<Val<'k>> {
        match self.offset {
            Offset::Fixed(0) | Offset::PerRowInFloats(_) => None,
            Offset::Fixed(offset) => Some(in_lanes(activations() * -offset, self.factor)),
            Offset::PerRow(factor) => Some(factor * in_lanes(activations(), factor)),
            Offset::PerRowInWords(words) => {
                let sums = in_words(activations());
                let sums = match words.ty() {
                    Ty::I16x16 => sums.low(),
                    _ => sums,
                };
                Some(words.dot_words(sums))
            }
        }
    }
}

/// How the bytes of 4 columns are multiplied.
#[derive(Clone, Copy)]
pub(super) enum Product4 {
    /// Sums of four in 32 bits, and products that are added to them.
    Words(for<'k> fn(Val<'k>, Val<'k>, Val<'k>) -> Val<'k>),
    /// Sums of two in 16 bits.
    Pairs(for<'k> fn(Val<'k>, Val<'k>) -> Val<'k>),
}

impl Product4 {
    pub fn of(dot: DotStrategy, spec: &CodecSpec) -> Self {
        match (dot, form(dot, spec)) {
            (DotStrategy::Bytes4, _) => Self::Words(|sum, w, x| sum.dot4_u(w, x)),
            (DotStrategy::SignedBytes4 | DotStrategy::Lanes16, _) => {
                Self::Words(|sum, w, x| sum.dot4_s(w, x))
            }
            (DotStrategy::Pairs, Form::Unsigned) => Self::Pairs(|w, x| w.dot2_u(x)),
            (DotStrategy::Pairs, Form::Signed | Form::Centred) => Self::Pairs(|w, x| w.dot2_s(x)),
        }
    }
}

/// How many sums of two can be added in 16 bits.
pub(super) fn chain(dot: DotStrategy, spec: &CodecSpec) -> usize {
    match (dot, form(dot, spec)) {
        (DotStrategy::Pairs, Form::Unsigned) => {
            let pairs = i32::from(i16::MAX) / (2 * codes::largest(spec) * 127);
            (pairs as usize).clamp(1, GROUPS)
        }
        _ => 1,
    }
}

/// Accumulators of a block by strategy and row.
struct Sums<'a, 'k> {
    k: &'k KernelBuilder,
    product: Product4,
    rows: &'a Count,
    words: Array<'k>,
    /// Sums of pairs in 16 bits, where more than one fits.
    pairs: Option<Array<'k>>,
    /// How many pairs fit.
    chain: usize,
    /// How many were added since they were last widened.
    added: Cell<usize>,
}

impl<'a, 'k> Sums<'a, 'k> {
    fn new(k: &'k KernelBuilder, dot: DotStrategy, spec: &CodecSpec, rows: &'a Count) -> Self {
        let (product, chain) = (Product4::of(dot, spec), chain(dot, spec));
        let zero = || k.splat(0);
        Self {
            k,
            product,
            rows,
            words: k.array("words", rows, zero()),
            pairs: (chain > 1).then(|| k.array("pairs", rows, zero().bits(Ty::I16x32))),
            chain,
            added: Cell::new(0),
        }
    }

    /// Adds the products of a group's weights with the activations of every row.
    fn add(&self, weights: Val<'k>, activations: impl Fn(Val<'k>) -> Val<'k>) {
        let (first, full) = (self.added.get() == 0, self.added.get() + 1 == self.chain);
        self.k.repeat(self.rows, "row", |row| {
            let x = activations(row);
            let pairs = match self.product {
                Product4::Words(add) => {
                    return self.words.update(row, |words| add(words, weights, x));
                }
                Product4::Pairs(multiply) => multiply(weights, x).named("pair"),
            };
            match self.pairs {
                None => self.widen(row, pairs),
                Some(sums) => {
                    // A chain as long as a block begins with zeros and goes through all turns.
                    let sum = match first && self.chain < GROUPS {
                        true => pairs,
                        false => sums.get(row) + pairs,
                    };
                    match full && self.chain < GROUPS {
                        true => self.widen(row, sum),
                        false => sums.set(row, sum),
                    }
                }
            }
        });
        self.added.set((self.added.get() + 1) % self.chain);
    }

    /// Widens what a turn has left, so that every turn is alike.
    fn end_turn(&self) {
        if self.chain < GROUPS {
            self.widen_rest();
        }
        self.added.set(0);
    }

    fn finish(self) -> Array<'k> {
        if self.chain == GROUPS {
            self.widen_rest();
        }
        self.words
    }

    fn widen_rest(&self) {
        if let Some(pairs) = self
            .pairs
            .filter(|_| self.added.get() > 0 || self.chain == GROUPS)
        {
            self.k
                .repeat(self.rows, "row", |row| self.widen(row, pairs.get(row)));
        }
    }

    /// Adds sums of neighbouring words: 16-bit pairs to 32 bits.
    fn widen(&self, row: Val<'k>, pairs: Val<'k>) {
        self.words
            .update(row, |words| words + pairs.dot_words(1i16));
    }
}
