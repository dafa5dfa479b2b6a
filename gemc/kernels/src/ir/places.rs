//! What indices of accesses are made of, so that accesses beside each other share an address, and a loop counts addresses up.

use super::verify::Range;
use super::{Op, ValueDef, ValueId};

/// An index as another value times a literal, plus a literal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// What varies.
    pub base: ValueId,
    /// At least 1.
    pub times: u32,
    /// Added to the product.
    pub more: u32,
}

/// The indices of a body as places, where what is known of values excludes that sums and products wrap.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// By value.
    known: Vec<Option<Place>>,
}

impl Places {
    /// Of the values of a body, with what the verifier knows of each where it looked.
    pub fn of(values: &[ValueDef], ranges: &[Option<Range>]) -> Self {
        let literal = |v: ValueId| match values[v.index()].op {
            Op::I32(n) => u32::try_from(n).ok(),
            _ => None,
        };
        let range = |v: ValueId| ranges.get(v.index()).copied().flatten();
        // An index in range has lost nothing where it is a sum of parts that are not negative.
        let is_positive =
            |v: ValueId| literal(v).is_none() && range(v).is_some_and(|range| range.lo >= 0);
        let is_counter = |v: ValueId| matches!(values[v.index()].op, Op::Index) && is_positive(v);
        let of_sum = |known: &[Option<Place>], base: ValueId, more: ValueId| {
            let more = literal(more).filter(|_| is_positive(base))?;
            let place = known.get(base.index()).copied().flatten();
            let place = place.unwrap_or(Place::of(base));
            let more = place.more.checked_add(more)?;
            Some(Place { more, ..place })
        };
        // Of products as little may be lost, which their own range says.
        let of_product = |known: &[Option<Place>], base: ValueId, times: ValueId| {
            let n = literal(times).filter(|times| *times > 0)?;
            let place = known.get(base.index()).copied().flatten();
            let place = place.unwrap_or(Place::of(base));
            let range = range(ValueId::from_index(known.len()))?;
            let fits = is_counter(place.base) && range.lo >= 0;
            fits.then_some(Place {
                times: place.times.checked_mul(n)?,
                more: place.more.checked_mul(n)?,
                ..place
            })
        };
        let mut known: Vec<Option<Place>> = Vec::with_capacity(values.len());
        for value in values {
            let place = match value.op {
                Op::Add(a, b) => of_sum(&known, a, b).or_else(|| of_sum(&known, b, a)),
                Op::Mul(a, b) => of_product(&known, a, b).or_else(|| of_product(&known, b, a)),
                _ => None,
            };
            known.push(place);
        }
        Self { known }
    }

    /// What an index is made of.
    #[must_use]
    pub fn of_index(&self, index: ValueId) -> Place {
        let known = self.known.get(index.index()).copied().flatten();
        known.unwrap_or(Place::of(index))
    }
}

impl Place {
    const fn of(base: ValueId) -> Self {
        Self {
            base,
            times: 1,
            more: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::Ty;

    fn values(ops: &[Op]) -> Vec<ValueDef> {
        let value = |op: &Op| ValueDef {
            op: op.clone(),
            ty: Ty::I32,
            name: None,
        };
        ops.iter().map(value).collect()
    }

    /// `(index * 2 + 1) * 16 + 8` where the index is in `range`, and how its last value is written.
    fn place(range: Range) -> Place {
        let [v0, v1, v2, v3] = [0, 1, 2, 3].map(ValueId);
        let ops = [
            Op::Index,
            Op::I32(2),
            Op::I32(16),
            Op::I32(8),
            Op::Mul(v0, v1),
            Op::I32(1),
            Op::Add(ValueId(4), ValueId(5)),
            Op::Mul(v2, ValueId(6)),
            Op::Add(v3, ValueId(7)),
        ];
        // As the verifier has it: any number where a result may wrap.
        let of = |times: i64, more: i64| {
            let ends = [range.lo, range.hi].map(|end| end * times + more);
            match ends.iter().all(|end| i32::try_from(*end).is_ok()) {
                true => Range::new(ends[0], ends[1]),
                false => Range::ANY,
            }
        };
        let literal = Range::exactly;
        let known = [
            range,
            literal(2),
            literal(16),
            literal(8),
            of(2, 0),
            literal(1),
            of(2, 1),
            of(32, 16),
        ];
        let ranges: Vec<_> = known.into_iter().map(Some).collect();
        Places::of(&values(&ops), &ranges).of_index(ValueId(8))
    }

    #[test]
    fn sums_and_products_of_a_counter_are_one_place() {
        let found = place(Range::new(0, 15));
        let expected = Place {
            base: ValueId(0),
            times: 32,
            more: 24,
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn what_may_be_negative_or_wrap_stays_as_it_is() {
        for range in [
            Range::new(-1, 15),
            Range::new(0, i32::MAX.into()),
            Range::ANY,
        ] {
            let found = place(range);
            assert_ne!(found.base, ValueId(0), "{range:?}");
            assert_eq!(found.times, 1, "{range:?}");
        }
    }
}
