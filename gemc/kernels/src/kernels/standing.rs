//! Products of rows with a tile, many of which pass by weights that stand in registers.
//!
//! A piece of a block, as much as registers hold, is unpacked once; then a loop over the rows multiplies it with each row's
//! activations, whose sums wait in local memory. So unpacking is paid once for all rows of a pass, no number
//! of rows makes registers spill, and sums are those of [`super::dot`], added in the same order. A row alone takes weights as
//! they are unpacked.

mod lanes;
mod rows;

use std::cell::Cell;

use gemc_format::{BLOCK, BlockSums, CodecSpec, GROUPS};

use super::codes::{self, Block, Form};
use super::dot::{Outputs, Product4, SumsOf, TILE, chain, form, is_wide};
use super::planes::PlaneRegions;
use super::quantise::QuantisedRegions;
use super::scales::{BlockScale, in_lanes};
use crate::choices::DotStrategy;
use crate::ir::build::{KernelBuilder, Region, Val};
use crate::ir::{Count, Elem, Ty};
use rows::{Numbers, PassRows, PassingRows, Piece, Row, RowAlone, Side};

/// Rows of codes that pass by, and their sums, in local memory.
#[derive(Clone, Copy, Debug)]
pub struct Passing<'k> {
    /// The rows of codes, by number, where they do not follow one another.
    listed: Option<Region<'k>>,
    /// F32, 16 of each row.
    sums: Region<'k>,
    /// I32, 16 of each row: what the pieces of a block before this one give, where they are of the same rows of the tile.
    before: Option<Region<'k>>,
    /// I32, 16 of each row: of the blocks that share an activation scale.
    totals: Option<Region<'k>>,
    terms: usize,
}

impl<'k> Passing<'k> {
    /// Declares local memory for passes of at most so many rows, which follow one another or not.
    pub fn declare(
        k: &'k KernelBuilder,
        dot: DotStrategy,
        x: &QuantisedRegions<'k>,
        (rows, follow): (usize, bool),
    ) -> Self {
        let terms = x.format.terms();
        let sums = |name, elem| k.local(name, elem, rows * terms * TILE);
        Self {
            listed: (!follow).then(|| k.local("row_numbers", Elem::I32, rows * terms)),
            sums: sums("sums", Elem::F32),
            before: (dot == DotStrategy::Pairs).then(|| sums("before", Elem::I32)),
            totals: is_wide(x).then(|| sums("totals", Elem::I32)),
            terms,
        }
    }

    /// Says which rows of the input some rows are, by index, where they do not follow one another.
    pub fn bind(&self, k: &'k KernelBuilder, size: Val<'k>, row: impl Fn(Val<'k>) -> Val<'k>) {
        let Some(listed) = self.listed else {
            return;
        };
        k.for_n(size, |index| {
            let index = index.named("row");
            let row = row(index);
            for term in 0..self.terms {
                listed.store(index * self.terms + term, row * self.terms + term);
            }
        });
    }

    /// What [`PlaneRegions::dot_passing`] has added up for a tile.
    pub fn outputs(&self, planes: &PlaneRegions<'k>, tile: Val<'k>) -> Outputs<'k> {
        Outputs {
            sums: SumsOf::Memory(self.sums),
            terms: self.terms,
            row_scale: planes.row_scale(tile),
        }
    }
}

/// Whether the inner products of a row alone are written here: multiplication by an element of a vector, whose number is a
/// literal.
pub const fn takes_rows_alone(dot: DotStrategy, x: &QuantisedRegions<'_>) -> bool {
    by_element(dot) && x.format.terms() == 1
}

impl<'k> PlaneRegions<'k> {
    /// Sums of tile `tile` for `size` rows that pass by, from the input's row `first` on where they follow one another.
    pub fn dot_passing(
        &self,
        k: &'k KernelBuilder,
        dot: DotStrategy,
        tile: Val<'k>,
        x: &QuantisedRegions<'k>,
        (first, size, passing): (Val<'k>, Val<'k>, Passing<'k>),
    ) {
        let inputs = [
            ("block_count", k.lit(self.size.blocks)),
            ("first_block", tile * self.size.blocks),
            ("size", size * passing.terms),
            match passing.listed {
                None => ("first_row", first * passing.terms),
                Some(_) => ("input_rows", k.lit(x.code_rows)),
            },
        ];
        let kind = match passing.listed {
            None => "pass",
            Some(_) => "pass_listed",
        };
        k.outline(&self.outline_name(kind, x), &inputs, |inputs| {
            let [count, first, size, input] = *inputs else {
                unreachable!("four inputs")
            };
            let numbers = match passing.listed {
                None => Numbers::From(input),
                Some(list) => Numbers::Listed(list, input),
            };
            let rows = PassingRows {
                passing,
                size,
                numbers,
                by_two: dot == DotStrategy::SignedBytes4,
            };
            self.pass(k, dot, x, rows, (count, first));
        });
    }

    /// Sums of tile `tile` for row `row` of the input.
    pub fn dot_alone(
        &self,
        k: &'k KernelBuilder,
        dot: DotStrategy,
        tile: Val<'k>,
        x: &QuantisedRegions<'k>,
        row: Val<'k>,
    ) -> Outputs<'k> {
        let count = Count::of(1);
        let sums = k.array("sums", &count, k.splat(0.0));
        let inputs = [
            ("block_count", k.lit(self.size.blocks)),
            ("first_block", tile * self.size.blocks),
            ("row", row),
        ];
        k.outline(&self.outline_name("alone", x), &inputs, |inputs| {
            let [count, first, row] = *inputs else {
                unreachable!("three inputs")
            };
            let totals = Cell::new(None);
            let rows = RowAlone { row, sums, totals };
            self.pass(k, dot, x, rows, (count, first));
        });
        Outputs {
            sums: SumsOf::Registers(sums),
            terms: 1,
            row_scale: self.row_scale(tile),
        }
    }

    fn pass<R: PassRows<'k>>(
        &self,
        k: &'k KernelBuilder,
        dot: DotStrategy,
        x: &QuantisedRegions<'k>,
        rows: R,
        (count, first): (Val<'k>, Val<'k>),
    ) {
        let spec = self.size.codec.spec();
        let pass = Pass {
            k,
            planes: self,
            dot,
            form: if R::MANY {
                standing_form(dot, &spec)
            } else {
                form(dot, &spec)
            },
            spec,
            x,
            rows,
            count,
        };
        match is_wide(x) && pass.spec.sums == BlockSums::Integers {
            true => pass.groups(first),
            false => pass.blocks(first),
        }
    }
}

/// Whether codes are multiplied by elements of vectors, as on Arm.
const fn by_element(dot: DotStrategy) -> bool {
    matches!(dot, DotStrategy::SignedBytes4 | DotStrategy::Lanes16)
}

/// The form of codes that many rows are multiplied with: on Arm values, which cost an addition once for all rows, but where
/// fewer products of them than of centred ones fit 16 bits.
fn standing_form(dot: DotStrategy, spec: &CodecSpec) -> Form {
    match (dot, spec.table) {
        (DotStrategy::SignedBytes4, _) | (DotStrategy::Lanes16, None) => Form::Values,
        _ => form(dot, spec),
    }
}

/// A pass of rows over a tile under construction.
struct Pass<'a, 'k, R> {
    k: &'k KernelBuilder,
    planes: &'a PlaneRegions<'k>,
    dot: DotStrategy,
    spec: CodecSpec,
    form: Form,
    x: &'a QuantisedRegions<'k>,
    rows: R,
    /// Blocks of a row.
    count: Val<'k>,
}

impl<'k, R: PassRows<'k>> Pass<'_, 'k, R> {
    /// Whether a row alone multiplies scales and sums as integers: that saves an instruction of those that cores with dot
    /// products are short of.
    fn multiplies_integers(&self) -> bool {
        self.spec.sums == BlockSums::Integers && !R::MANY && self.dot == DotStrategy::SignedBytes4
    }

    /// All blocks of a tile, whose sums become floats block by block.
    fn blocks(&self, first: Val<'k>) {
        self.rows.begin(self.k);
        let per_scale = self.x.format.weight_blocks();
        self.k.for_n(self.count, |block| {
            let block = block.named("block");
            let at = (first + block).named("at");
            let mut scale = BlockScale::load(self.k, self.planes, (self.dot, self.form), at);
            if self.spec.sums == BlockSums::Integers && !self.multiplies_integers() {
                scale = scale.float_factors();
                if R::MANY {
                    scale = scale.float_offsets(self.dot);
                }
            }
            self.pieces(at, block, &scale, |side, scale, row, sum| {
                // Both factors are exact floats, and so is the product in integers before it is rounded: the same bits.
                let place = row.input * self.count + block;
                let scaled = if self.multiplies_integers() {
                    (sum * scale.factor).to_float()
                } else {
                    scale.to_float(sum, || self.x.sums.get(place).named("x_sum")) * scale.factor
                };
                let x_scale = match per_scale {
                    1 => place,
                    _ => self.group_scale(row.input) + block / per_scale,
                };
                self.accumulate(side, row.index, x_scale, scaled);
            });
        });
    }

    /// All blocks of a tile, where eight of them share an activation scale: their scaled sums are added as integers.
    fn groups(&self, first: Val<'k>) {
        let k = self.k;
        let size = self.x.format.weight_blocks();
        self.rows.begin(k);
        k.for_n((self.count + (size - 1)) / size, |group| {
            let group = group.named("group");
            self.rows.begin_totals(k);
            let start = group * size;
            k.for_(start, (start + size).min(self.count), |block| {
                let block = block.named("block");
                let at = (first + block).named("at");
                let scale = BlockScale::load(k, self.planes, (self.dot, self.form), at);
                self.pieces(at, block, &scale, |side, scale, row, sum| {
                    self.rows.add_total(side, row.index, sum * scale.factor);
                });
            });
            self.rows.each(k, |row, input| {
                let total = self.rows.total(row).to_float();
                let at = self.group_scale(input) + group;
                self.accumulate(Side::Whole, row, at, total);
            });
        });
    }

    /// The first activation scale of an input's row, where one serves several blocks.
    fn group_scale(&self, input: Val<'k>) -> Val<'k> {
        let size = self.x.format.weight_blocks();
        input * ((self.count + (size - 1)) / size)
    }

    /// Adds a block's part to a row's sum, in units of the activation scale `at` an index.
    fn accumulate(&self, side: Side, row: Val<'k>, at: Val<'k>, scaled: Val<'k>) {
        let scale = in_lanes(self.x.scales.get(at).named("x_scale"), scaled);
        self.rows
            .update(side, row, |sum| scaled.mul_add(scale, sum));
    }

    /// Lets all rows pass by each piece of a block; calls `each(side, scale, row, sum)` with the side's scales and the sum of a
    /// row's block, in units of the scales.
    fn pieces(
        &self,
        at: Val<'k>,
        block: Val<'k>,
        scale: &BlockScale<'k>,
        each: impl Fn(Side, &BlockScale<'k>, Row<'k>, Val<'k>),
    ) {
        let k = self.k;
        let codes = Block {
            spec: &self.spec,
            chunks: self.planes.codes(at),
        };
        for Piece { side, groups } in self.rows.pieces(self.dot, &self.spec) {
            let (is_first, is_last) = (groups.start == 0, groups.end == GROUPS);
            let weights = codes.groups(k, self.form, groups);
            let weights = self
                .rows
                .hold(weights.map(|(g, codes)| (g, side.cut(scale.values(codes)))));
            let scale = scale.of_rows(|whole| side.cut(whole));
            self.rows.each(k, |index, input| {
                let place = (input * self.count + block).named("place");
                let start = match self.rows.before().filter(|_| !is_first) {
                    None => scale.correction(|| self.x.sums.get(place).named("x_sum")),
                    Some(before) => Some(before.lanes(index * TILE)),
                };
                let x_at = (place * BLOCK).named("x_at");
                let sum = self.products(side, start, weights.clone(), x_at);
                match self.rows.before().filter(|_| !is_last) {
                    None => each(side, &scale, Row { index, input }, sum.named("sum")),
                    Some(before) => before.store(index * TILE, sum),
                }
            });
        }
    }

    /// Adds the products of groups of weights with a row's codes, which begin at an element, to what sums start with.
    fn products(
        &self,
        side: Side,
        start: Option<Val<'k>>,
        weights: impl Iterator<Item = (usize, Val<'k>)>,
        at: Val<'k>,
    ) -> Val<'k> {
        let zero = || side.cut(self.k.splat(0));
        // Arm multiplies by an element of a vector.
        let elements = || {
            [0, 16].map(|from| {
                let x = self.x.codes.load_in(Ty::I8x16, at + from, -127..=127);
                x.named("x")
            })
        };
        let x = |group: usize| {
            let word = self.x.codes.load_in(Ty::I32, at + group * 4, -127..=127);
            side.cut(word.named("x").splat().bits(Ty::I8x64))
        };
        match Product4::of(self.dot, &self.spec) {
            _ if self.dot == DotStrategy::Lanes16 => {
                let chain = codes::products_in_16_bits(&self.spec, self.form);
                let sums = lanes::sums(self.k, side, chain, weights, elements());
                start.into_iter().fold(sums, |sums, start| sums + start)
            }
            Product4::Words(_) if self.dot == DotStrategy::SignedBytes4 => {
                let x = elements();
                let step = |sum: Val<'k>, (group, weights): (usize, Val<'k>)| {
                    sum.dot4_s_by(weights, x[group / 4], group % 4)
                };
                weights.fold(start.unwrap_or_else(zero), step)
            }
            Product4::Words(add) => {
                let step = |sum, (group, weights): (usize, Val<'k>)| add(sum, weights, x(group));
                weights.fold(start.unwrap_or_else(zero), step)
            }
            Product4::Pairs(multiply) => {
                let weights: Vec<_> = weights.collect();
                let chains = weights.chunks(chain(self.dot, &self.spec)).map(|chain| {
                    let pairs = chain.iter().map(|(group, w)| multiply(*w, x(*group)));
                    let pairs = pairs.reduce(|a, b| a + b).expect("a chain has a link");
                    pairs.named("pairs").dot_words(1i16)
                });
                let sums = start.into_iter().chain(chains);
                sums.reduce(|a, b| a + b).expect("a block has groups")
            }
        }
    }
}
