//! The two inner loops of attention as outlines, the same text for every kernel with heads of a width: scores of a chunk's
//! positions, and the weighted sum of their values.

use super::super::cache::{CacheRegions, CacheRow};
use super::super::vector::LANES;
use super::Item;
use crate::ir::Ty;
use crate::ir::build::{Array, Region, Val};

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
    /// Positions the memory has room for.
    context: Val<'k>,
    /// Elements of a row.
    width: Val<'k>,
    positions: Positions<'k>,
}

impl<'k> Inputs<'k> {
    /// From what [`Item::inputs`] gives.
    fn inside(values: &[Val<'k>], positions: Positions<'k>) -> Self {
        let [count, first, slot, context, width] = [0, 1, 2, 3, 4].map(|i| values[i]);
        Self {
            count,
            first,
            slot,
            context,
            width,
            positions: match positions {
                Positions::From(_) => Positions::From(values[5]),
                listed @ Positions::Listed(_) => listed,
            },
        }
    }

    /// The row of a head's memory that holds the j-th position.
    fn row(&self, of: &CacheRegions<'k>, j: Val<'k>) -> CacheRow<'k> {
        let position = match self.positions {
            Positions::From(base) => base + j,
            Positions::Listed(list) => list.get(j),
        };
        let row = self.first + position.bounded(self.context);
        of.row(self.slot, row.named("row"), self.width)
    }
}

impl<'k> Item<'k> {
    fn inputs(&self, count: Val<'k>, positions: Positions<'k>) -> Vec<(&'static str, Val<'k>)> {
        let width = self.k.lit(self.spec.padded());
        let mut values = vec![
            ("count", count),
            ("first", self.first),
            ("slot", self.slot),
            ("context", self.spec.cache().positions(self.k)),
            ("width", width),
        ];
        if let Positions::From(base) = positions {
            values.push(("base", base));
        }
        values
    }

    fn outline_name(&self, part: &str) -> String {
        let mask = self.spec.mask.map_or("", |_| "_listed");
        format!("{part}{mask}{}", self.spec.kv.suffix())
    }

    /// Scaled scores into local memory.
    pub(super) fn scores(&self, count: Val<'k>, positions: Positions<'k>) {
        let (k, r, parts) = (self.k, &self.r, self.spec.parts());
        let mut outside = self.inputs(count, positions);
        let scale = k.lit(self.spec.scale.get().to_bits() as i32);
        outside.extend([("query_at", self.query), ("scale_bits", scale)]);
        k.outline(&self.outline_name("score_keys"), &outside, |values| {
            let inputs = Inputs::inside(values, positions);
            let [.., query, scale] = values else {
                unreachable!("the inputs end with them");
            };
            let scale = scale.bits(Ty::F32).named("scale");
            let queries = k.array("queries", &parts, k.splat(0.0));
            k.repeat(&parts, "part", |part| {
                queries.set(part, r.q.skip(*query).lanes(part * LANES));
            });
            k.for_n(inputs.count, |j| {
                let key = inputs.row(&r.k, j.named("j"));
                // What is added to -0 stays what it is, whatever its sign.
                let product = k.var("product", k.splat(-0.0));
                k.repeat(&parts, "part", |part| {
                    let key = key.lanes(part * LANES).named("key");
                    product.update(|product| queries.get(part).mul_add(key, product));
                });
                let score = product.get().reduce_add() * scale;
                r.scores.store(j, key.scaled(score.named("score")));
            });
        });
    }

    /// Sum of weight times value, positions ascending.
    pub(super) fn weighted(&self, count: Val<'k>, positions: Positions<'k>) -> Array<'k> {
        let (k, r, parts) = (self.k, &self.r, self.spec.parts());
        let sums = k.array("sums", &parts, k.splat(0.0));
        let outside = self.inputs(count, positions);
        k.outline(&self.outline_name("sum_values"), &outside, |values| {
            let inputs = Inputs::inside(values, positions);
            k.for_n(inputs.count, |j| {
                let value = inputs.row(&r.v, j.named("j"));
                let weight = value.scaled(r.scores.get(j)).named("weight").splat();
                k.repeat(&parts, "part", |part| {
                    let value = value.lanes(part * LANES).named("value");
                    sums.update(part, |sum| weight.mul_add(value, sum));
                });
            });
        });
        sums
    }
}
