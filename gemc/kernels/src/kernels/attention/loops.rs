//! The two inner loops of attention as outlines, the same text for every kernel with heads of a width: scores of a chunk's
//! positions, and the weighted sum of their values.

use super::Item;
use crate::ir::build::{Region, Val, Var};

/// The positions of a chunk that are attended to.
#[derive(Clone, Copy)]
pub(super) enum Positions<'k> {
    /// From this one on.
    From(Val<'k>),
    /// Those that an array holds.
    Listed(Region<'k>),
}

/// What the inner loops depend on, by names inside their outlines.
struct Inputs<'k> {
    count: Val<'k>,
    /// The first of the head's rows in a slot.
    first: Val<'k>,
    slot: Val<'k>,
    context: Val<'k>,
    positions: Positions<'k>,
}

impl<'k> Inputs<'k> {
    /// From what [`Item::inputs`] gives.
    fn inside(values: &[Val<'k>], positions: Positions<'k>) -> Self {
        let [count, first, slot, context] = [0, 1, 2, 3].map(|i| values[i]);
        Self {
            count: count.named("count"),
            first,
            slot,
            context: context.named("context"),
            positions: match positions {
                Positions::From(_) => Positions::From(values[4]),
                listed @ Positions::Listed(_) => listed,
            },
        }
    }

    /// Row of the head's memory that holds the j-th position.
    fn cache_row(&self, j: Val<'k>) -> Val<'k> {
        let position = match self.positions {
            Positions::From(base) => base + j,
            Positions::Listed(list) => list.get(j),
        };
        self.first + position.bounded(self.context)
    }
}

impl<'k> Item<'k> {
    fn inputs(&self, count: Val<'k>, positions: Positions<'k>) -> Vec<Val<'k>> {
        let mut values = vec![count, self.first, self.slot, self.k.context()];
        if let Positions::From(base) = positions {
            values.push(base);
        }
        values
    }

    fn outline_name(&self, part: &str) -> String {
        let mask = self.spec.mask.map_or("", |_| "_listed");
        let (padded, kv) = (self.spec.padded(), self.spec.kv.suffix());
        format!("{part}{mask}_{padded}{kv}")
    }

    /// Scaled scores into local memory.
    pub(super) fn scores(&self, count: Val<'k>, positions: Positions<'k>) {
        let (k, r, spec) = (self.k, &self.r, &self.spec);
        let mut outside = self.inputs(count, positions);
        outside.push(self.query);
        k.outline(&self.outline_name("scores"), &outside, |values| {
            let inputs = Inputs::inside(values, positions);
            let query = r.q.skip(values[values.len() - 1]);
            let query: Vec<_> = spec.vectors().map(|at| (at, query.lanes(at))).collect();
            let (&(_, first), rest) = query.split_first().expect("a head has a vector");
            let scale = (1.0 / (spec.head_dim as f64).sqrt()) as f32;
            k.for_n(inputs.count, |j| {
                let key = r.k.row(inputs.slot, inputs.cache_row(j));
                let first = first * key.lanes(0);
                let product = rest
                    .iter()
                    .fold(first, |sum, &(at, q)| q.mul_add(key.lanes(at), sum));
                let score = product.reduce_add() * scale;
                r.scores.store(j, key.scaled(score));
            });
        });
    }

    /// Sum of weight times value, positions ascending.
    pub(super) fn weighted(&self, count: Val<'k>, positions: Positions<'k>) -> Vec<Val<'k>> {
        let (k, r, spec) = (self.k, &self.r, &self.spec);
        let zeros = k.splat(0.0);
        let sums = spec.vectors().map(|at| (at, k.var("part", zeros)));
        let sums: Vec<(usize, Var<'k>)> = sums.collect();
        let outside = self.inputs(count, positions);
        k.outline(&self.outline_name("weighted"), &outside, |values| {
            let inputs = Inputs::inside(values, positions);
            k.for_n(inputs.count, |j| {
                let value = r.v.row(inputs.slot, inputs.cache_row(j));
                let weight = value.scaled(r.scores.get(j)).splat();
                for &(at, sum) in &sums {
                    let value = value.lanes(at);
                    sum.update(|sum| weight.mul_add(value, sum));
                }
            });
        });
        sums.into_iter().map(|(_, sum)| sum.get()).collect()
    }
}
