//! The inner product of a tile of 16 weight rows with int8 activation rows: the hot loop of every matrix product.
//!
//! Whatever the strategy, the integer sum of a block is exact, and floats combine in one order, blocks ascending, as the
//! codec's [`BlockSums`] say: `acc = fma(float(scale * isum), activation_scale, acc)`, at the end `acc * row_scale`, where
//! `scale * isum` of all blocks that share an activation scale are added as integers before; or, of codecs whose scales are
//! floats, `acc = fma(scale * float(isum), activation_scale, acc)` block by block. So all strategies, row blocks and thread
//! counts give the same bits.

use std::cell::Cell;

use gemc_format::{BLOCK, BlockSums, CodecSpec, GROUPS};

use super::codes::{self, Block, Form};
use super::planes::PlaneRegions;
use super::quantise::QuantisedRegions;
use super::scales::BlockScale;
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
        let form = form(self.dot, &self.spec);
        let scale = BlockScale::load(k, self.planes, (self.dot, form), at);
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
            (DotStrategy::Pairs, Form::Signed | Form::Centred | Form::Values) => {
                Self::Pairs(|w, x| w.dot2_s(x))
            }
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
