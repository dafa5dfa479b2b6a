//! The rows that take part in a pass, where their sums are, and which weights stand before them at once.

use std::cell::Cell;
use std::ops::Range;

use gemc_format::{CodecSpec, GROUPS};

use super::Passing;
use crate::choices::DotStrategy;
use crate::ir::Ty;
use crate::ir::build::{Array, KernelBuilder, Region, Val, Var};
use crate::kernels::dot::TILE;

/// The rows of a tile whose weights stand at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Whole,
    Low,
    High,
}

impl Side {
    /// Its part of a vector with something of every row.
    pub fn cut(self, whole: Val<'_>) -> Val<'_> {
        match self {
            Self::Whole => whole,
            Self::Low => whole.low(),
            Self::High => whole.high(),
        }
    }

    /// A vector with something of every row, of which its part is changed.
    pub fn change<'k>(self, whole: Val<'k>, f: impl FnOnce(Val<'k>) -> Val<'k>) -> Val<'k> {
        match self {
            Self::Whole => f(whole),
            Self::Low => f(whole.low()).join(whole.high()),
            Self::High => whole.low().join(f(whole.high())),
        }
    }

    /// Its first row's place among the tile's.
    pub const fn first(self) -> usize {
        match self {
            Self::Whole | Self::Low => 0,
            Self::High => TILE / 2,
        }
    }

    /// Type of a vector with a float of each row.
    pub const fn floats(self) -> Ty {
        match self {
            Self::Whole => Ty::F32x16,
            Self::Low | Self::High => Ty::F32x8,
        }
    }

    /// As [`Side::floats`], of integers.
    pub const fn integers(self) -> Ty {
        match self {
            Self::Whole => Ty::I32x16,
            Self::Low | Self::High => Ty::I32x8,
        }
    }
}

/// Weights of a block that stand at once: some of its groups, for a side of the tile.
pub(super) struct Piece {
    pub side: Side,
    pub groups: Range<usize>,
}

impl Piece {
    /// The pieces of a block, in order: each fills eight registers of AVX2 and AVX-512, and sixteen of Arm, which has half as
    /// many rows rather than columns, since it loads those of a row together.
    fn standing(dot: DotStrategy) -> Vec<Self> {
        let piece = |side, groups| Self { side, groups };
        match dot {
            DotStrategy::Pairs => vec![
                piece(Side::Whole, 0..GROUPS / 2),
                piece(Side::Whole, GROUPS / 2..GROUPS),
            ],
            DotStrategy::SignedBytes4 | DotStrategy::Lanes16 => {
                vec![piece(Side::Low, 0..GROUPS), piece(Side::High, 0..GROUPS)]
            }
            DotStrategy::Bytes4 => vec![Self::whole()],
        }
    }

    /// A block of a tile.
    const fn whole() -> Self {
        Self {
            side: Side::Whole,
            groups: 0..GROUPS,
        }
    }
}

/// A row of a pass: its index, and its number among the input's rows of codes.
#[derive(Clone, Copy)]
pub(super) struct Row<'k> {
    pub index: Val<'k>,
    pub input: Val<'k>,
}

/// The rows that take part in a pass, and where their sums are.
pub(super) trait PassRows<'k> {
    /// Whether many rows share what is made once for a block.
    const MANY: bool;

    /// Pieces of a block, in order.
    fn pieces(&self, dot: DotStrategy, spec: &CodecSpec) -> Vec<Piece>;

    /// The weights of a piece, made before the rows or when they are asked for.
    fn hold(
        &self,
        weights: impl Iterator<Item = (usize, Val<'k>)> + Clone,
    ) -> impl Iterator<Item = (usize, Val<'k>)> + Clone;

    /// Calls `each` with every row: its index, and its number among the input's rows.
    fn each(&self, k: &'k KernelBuilder, each: impl Fn(Val<'k>, Val<'k>));

    /// Makes all sums zero, where they are not.
    fn begin(&self, k: &'k KernelBuilder);

    /// Makes all totals zero.
    fn begin_totals(&self, k: &'k KernelBuilder);

    /// Changes a row's sums of floats.
    fn update(&self, side: Side, row: Val<'k>, f: impl FnOnce(Val<'k>) -> Val<'k>);

    /// Adds to a row's totals of integers.
    fn add_total(&self, side: Side, row: Val<'k>, sum: Val<'k>);

    /// A row's totals of integers, of the whole tile.
    fn total(&self, row: Val<'k>) -> Val<'k>;

    /// What the pieces of a block before one give for a row, where there are some for the same side.
    fn before(&self) -> Option<Region<'k>>;
}

/// Which rows of codes pass by.
#[derive(Clone, Copy)]
pub(super) enum Numbers<'k> {
    /// Those from this one on.
    From(Val<'k>),
    /// Those of a list, of so many that there are.
    Listed(Region<'k>, Val<'k>),
}

/// Rows that pass by, and wait in local memory.
pub(super) struct PassingRows<'k> {
    pub passing: Passing<'k>,
    pub size: Val<'k>,
    pub numbers: Numbers<'k>,
    /// Whether a turn of a loop over rows takes two, so that counting costs a core with few instructions a cycle half as much.
    pub by_two: bool,
}

impl<'k> PassingRows<'k> {
    fn totals(&self) -> Region<'k> {
        (self.passing.totals).expect("declared where scales serve several blocks")
    }

    fn fill(&self, k: &'k KernelBuilder, sums: Region<'k>, value: Val<'k>) {
        k.for_n(self.size, |row| sums.store(row.named("row") * TILE, value));
    }
}

impl<'k> PassRows<'k> for PassingRows<'k> {
    const MANY: bool = true;

    fn pieces(&self, dot: DotStrategy, _: &CodecSpec) -> Vec<Piece> {
        Piece::standing(dot)
    }

    fn hold(
        &self,
        weights: impl Iterator<Item = (usize, Val<'k>)> + Clone,
    ) -> impl Iterator<Item = (usize, Val<'k>)> + Clone {
        weights.collect::<Vec<_>>().into_iter()
    }

    fn each(&self, k: &'k KernelBuilder, each: impl Fn(Val<'k>, Val<'k>)) {
        let one = |row: Val<'k>| {
            let row = row.named("row");
            let input = match self.numbers {
                Numbers::From(first) => first + row,
                Numbers::Listed(list, rows) => list.get(row).bounded(rows),
            };
            each(row, input.named("input_row"));
        };
        if !self.by_two {
            return k.for_n(self.size, one);
        }
        let pairs = (self.size / 2).named("pairs");
        k.for_n(pairs, |pair| {
            let first = (pair.named("pair") * 2).named("row");
            one(first);
            one(first + 1);
        });
        k.for_(pairs * 2, self.size, one);
    }

    fn begin(&self, k: &'k KernelBuilder) {
        self.fill(k, self.passing.sums, k.splat(0.0));
    }

    fn begin_totals(&self, k: &'k KernelBuilder) {
        self.fill(k, self.totals(), k.splat(0));
    }

    fn update(&self, side: Side, row: Val<'k>, f: impl FnOnce(Val<'k>) -> Val<'k>) {
        let (sums, lanes) = (self.passing.sums, row * TILE + side.first());
        sums.store(lanes, f(sums.load(side.floats(), lanes)));
    }

    fn add_total(&self, side: Side, row: Val<'k>, sum: Val<'k>) {
        let (totals, lanes) = (self.totals(), row * TILE + side.first());
        totals.store(lanes, totals.load(side.integers(), lanes) + sum);
    }

    fn total(&self, row: Val<'k>) -> Val<'k> {
        self.totals().lanes(row * TILE)
    }

    fn before(&self) -> Option<Region<'k>> {
        self.passing.before
    }
}

/// A row alone, whose sums are in registers.
pub(super) struct RowAlone<'k> {
    pub row: Val<'k>,
    pub sums: Array<'k>,
    /// Of the group of blocks at hand, where these share an activation scale.
    pub totals: Cell<Option<Var<'k>>>,
}

impl<'k> RowAlone<'k> {
    fn totals(&self) -> Var<'k> {
        (self.totals.get()).expect("a group has begun")
    }
}

impl<'k> PassRows<'k> for RowAlone<'k> {
    const MANY: bool = false;

    fn pieces(&self, dot: DotStrategy, spec: &CodecSpec) -> Vec<Piece> {
        let plain = matches!(spec.planes, [plane] if plane.stored() == plane.chunks());
        match dot {
            // Tables and the chunks that make one group fit registers for half a tile.
            DotStrategy::SignedBytes4 if spec.table.is_some() && !plain => Piece::standing(dot),
            _ => vec![Piece::whole()],
        }
    }

    fn hold(
        &self,
        weights: impl Iterator<Item = (usize, Val<'k>)> + Clone,
    ) -> impl Iterator<Item = (usize, Val<'k>)> + Clone {
        weights
    }

    fn each(&self, k: &'k KernelBuilder, each: impl Fn(Val<'k>, Val<'k>)) {
        each(k.lit(0), self.row);
    }

    fn begin(&self, _: &'k KernelBuilder) {}

    fn begin_totals(&self, k: &'k KernelBuilder) {
        self.totals.set(Some(k.var("totals", k.splat(0))));
    }

    fn update(&self, side: Side, row: Val<'k>, f: impl FnOnce(Val<'k>) -> Val<'k>) {
        self.sums.update(row, |sums| side.change(sums, f));
    }

    fn add_total(&self, side: Side, _: Val<'k>, sum: Val<'k>) {
        let add = |total: Val<'k>| total + sum;
        self.totals().update(|total| side.change(total, add));
    }

    fn total(&self, _: Val<'k>) -> Val<'k> {
        self.totals().get()
    }

    fn before(&self) -> Option<Region<'k>> {
        None
    }
}
