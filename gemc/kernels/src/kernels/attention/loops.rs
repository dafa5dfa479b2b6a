//! The two inner loops of attention as outlines, the same text for every kernel with heads of a width: scores of a chunk's
//! positions, and the weighted sum of their values.

use super::super::vector::LANES;
use super::{Attention, Item, Regions};
use crate::ir::build::old::{KernelBuilder, Ops};
use crate::ir::build::old_pieces::affine;
use crate::ir::{ParamId, Ty, ValueId, VarId};

/// The positions of a chunk that are attended to.
#[derive(Clone, Copy)]
pub(super) enum Positions {
    /// From this one on.
    From(ValueId),
    /// Those that an array holds.
    Listed(ParamId),
}

/// What the inner loops depend on, by names outside or inside their outlines.
#[derive(Clone, Copy)]
struct Inputs {
    count: ValueId,
    /// The first of the head's rows in a slot.
    first: ValueId,
    slot: ValueId,
    context: ValueId,
    positions: Positions,
}

impl Inputs {
    fn new(b: &mut KernelBuilder, u: &Item, count: ValueId, positions: Positions) -> Self {
        Self {
            count,
            first: u.first,
            slot: u.slot,
            context: b.context(),
            positions,
        }
    }

    fn values(&self) -> Vec<ValueId> {
        let mut values = vec![self.count, self.first, self.slot, self.context];
        if let Positions::From(base) = self.positions {
            values.push(base);
        }
        values
    }

    /// Those of an outline, in the order of `values`.
    fn inside(&self, b: &mut KernelBuilder, values: &[ValueId]) -> Self {
        let [count, first, slot, context] = [0, 1, 2, 3].map(|i| values[i]);
        b.name(count, "count");
        b.name(context, "context");
        let positions = match self.positions {
            Positions::From(_) => Positions::From(values[4]),
            listed @ Positions::Listed(_) => listed,
        };
        Self {
            count,
            first,
            slot,
            context,
            positions,
        }
    }
}

impl Attention {
    /// Scaled scores into local memory.
    pub(super) fn scores(
        &self,
        b: &mut KernelBuilder,
        r: &Regions,
        u: &Item,
        count: ValueId,
        positions: Positions,
    ) {
        let name = self.outline_name("scores");
        let outside = Inputs::new(b, u, count, positions);
        let mut values = outside.values();
        values.push(u.query);
        b.outline(&name, &values, |b, values| {
            let inputs = outside.inside(b, values);
            let query = values[values.len() - 1];
            let scale = b.f32((1.0 / (self.head_dim as f64).sqrt()) as f32);
            let queries: Vec<ValueId> = (0..self.padded() / LANES)
                .map(|chunk| {
                    let index = affine(b, query, 1, chunk * LANES);
                    b.load(Ty::F32x16, r.q, index)
                })
                .collect();
            let zero = b.i32(0);
            b.for_(zero, inputs.count, |b, j| {
                let row = cache_row(b, &inputs, j);
                let start = affine(b, row, self.padded(), 0);
                let mut acc = None;
                for (chunk, &q) in queries.iter().enumerate() {
                    let index = affine(b, start, 1, chunk * LANES);
                    let k = r.k.load(b, inputs.slot, index);
                    acc = Some(match acc {
                        None => b.mul(q, k),
                        Some(before) => b.fma(q, k, before),
                    });
                }
                let acc = acc.expect("a head has at least one chunk");
                let score = b.reduce_add(acc);
                let score = b.mul(score, scale);
                let score = r.k.scaled(b, inputs.slot, row, score);
                b.store(r.scores, j, score);
            });
        });
    }

    fn outline_name(&self, part: &str) -> String {
        let mask = if self.mask.is_some() { "_listed" } else { "" };
        format!("{part}{mask}_{}{}", self.padded(), self.kv.suffix())
    }

    /// Sum of weight times value, positions ascending.
    pub(super) fn weighted(
        &self,
        b: &mut KernelBuilder,
        r: &Regions,
        u: &Item,
        count: ValueId,
        positions: Positions,
    ) -> Vec<ValueId> {
        let zero = b.f32(0.0);
        let zeros = b.splat(zero);
        let sums: Vec<VarId> = (0..self.padded() / LANES)
            .map(|_| b.named_var("part", zeros))
            .collect();
        let name = self.outline_name("weighted");
        let outside = Inputs::new(b, u, count, positions);
        b.outline(&name, &outside.values(), |b, values| {
            let inputs = outside.inside(b, values);
            let start = b.i32(0);
            b.for_(start, inputs.count, |b, j| {
                let row = cache_row(b, &inputs, j);
                let start = affine(b, row, self.padded(), 0);
                let weight = b.load(Ty::F32, r.scores, j);
                let weight = r.v.scaled(b, inputs.slot, row, weight);
                let weight = b.splat(weight);
                for (chunk, &sum) in sums.iter().enumerate() {
                    let index = affine(b, start, 1, chunk * LANES);
                    let v = r.v.load(b, inputs.slot, index);
                    let before = b.get(sum);
                    let after = b.fma(weight, v, before);
                    b.set(sum, after);
                }
            });
        });
        sums.into_iter().map(|sum| b.get(sum)).collect()
    }
}

/// Row of the head's memory that holds the j-th position.
fn cache_row(b: &mut KernelBuilder, inputs: &Inputs, j: ValueId) -> ValueId {
    let position = match inputs.positions {
        Positions::From(base) => b.add(base, j),
        Positions::Listed(list) => b.load(Ty::I32, list, j),
    };
    let position = b.bounded(position, inputs.context);
    b.add(inputs.first, position)
}
