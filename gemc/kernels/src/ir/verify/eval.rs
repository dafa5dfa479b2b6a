//! Range of an operation's result from the ranges of its operands, and the obligations of the operation itself.

use super::error::Problem;
use super::flow::Flow;
use super::lanes::{self, any, low_bytes, products, signed, unsigned};
use super::range::Range;
use crate::ir::expand::EXPANDED;
use crate::ir::{Elem, Op, Param, ParamId, Ty, ValueId};

/// Lanes of a rounded vector: the interpreter checks that floats lie within ±2^30.
const ROUNDED: Range = Range::new(-(1 << 30), 1 << 30);

impl Flow<'_> {
    /// The range of value `v`, which has an integer type, or `None`. Reports what may break `op`.
    pub(super) fn eval(&mut self, v: ValueId) -> Option<Range> {
        let values = self.values;
        let def = &values[v.index()];
        let ty = def.ty;
        let any = any(ty);
        match def.op {
            Op::Item => Some(Range::new(0, i64::from(self.items.max(1)) - 1)),
            Op::I32(n) => Some(Range::exactly(n.into())),
            Op::I32Lanes(n) => lanes::of_lanes(n.iter().map(|&n| n.into())),
            Op::I8Lanes(n) => lanes::of_lanes(n.iter().map(|&n| n.into())),
            Op::Scalar(p) => match self.params[p.index()] {
                Param::Scalar { max, .. } => Some(Range::new(0, max.into())),
                _ => any,
            },
            Op::RowCount => Some(Range::new(1, self.shape.max_rows.into())),
            Op::OutputCount => Some(Range::new(0, self.shape.max_outputs.into())),
            Op::Context => Some(Range::context()),
            Op::Get(m) => self.vars[m.index()],
            Op::Element(..) => unreachable!("{EXPANDED}"),
            Op::Add(a, b) if matches!(ty, Ty::I16x32 | Ty::I16x16) => {
                let sum = self.range(a)?.add(self.range(b)?);
                Some(self.words_that_fit(v, "add", sum))
            }
            Op::Add(a, b) if ty == Ty::I8x64 => {
                let sum = signed(self.range(a)?).add(signed(self.range(b)?));
                Some(if sum.within(-128, 127) { sum } else { lanes::ANY_BYTE })
            }
            Op::Add(a, b) => self.both(a, b, Range::add),
            Op::Sub(a, b) => self.both(a, b, Range::sub),
            Op::Mul(a, b) => self.both(a, b, Range::mul),
            Op::Div(a, b) => self.divide(v, a, b, Range::div),
            Op::Rem(a, b) => self.divide(v, a, b, Range::rem),
            Op::Min(a, b) => self.both(a, b, Range::min),
            Op::Max(a, b) => self.both(a, b, Range::max),
            Op::And(a, b) => self.bitwise(ty, a, b, Range::and),
            Op::Or(a, b) | Op::Xor(a, b) => self.bitwise(ty, a, b, Range::or),
            Op::Shl(a, by) => Some(self.range(a)?.shl(by)),
            Op::ShrS(a, by) => Some(self.range(a)?.shr_s(by)),
            Op::ShrU(a, by) if ty == Ty::I8x64 => Some(unsigned(self.range(a)?).shr_s(by)),
            Op::ShrU(a, by) => Some(self.range(a)?.shr_u(by)),
            Op::Cmp(..) if ty == Ty::I32x16 => Some(Range::new(-1, 0)),
            Op::Select(cond, a, b) => self.select(v, cond, a, b),
            Op::Bounded(a, n) => self.bounded(v, a, n),
            Op::ToInt(_) if ty == Ty::I32x16 => Some(ROUNDED),
            Op::Bits(to, a) => self.declared_bytes(to, a).or_else(|| lanes::bits(to, &values[a.index()], self.range(a))),
            Op::Splat(a) if ty == Ty::I32x16 => self.range(a).map(|r| Range::new(r.lo, r.hi)),
            Op::WidenS(a) => self.range(a).map(signed),
            Op::WidenU(a) => self.range(a).map(unsigned),
            Op::Narrow(a) => self.range(a).map(low_bytes),
            Op::Low(a) | Op::High(a) => self.range(a),
            Op::Lookup(table, index) => {
                self.index(v, index, 15, "0..=15");
                self.range(table)
            }
            Op::Lookup32(low, high, index) => {
                self.index(v, index, 31, "0..=31");
                self.joined(low, high)
            }
            Op::Dot4U(acc, a, b) => {
                let dot = products(4, unsigned(self.range(a)?), signed(self.range(b)?));
                Some(self.range(acc)?.add(dot))
            }
            Op::Dot4S(acc, a, b) | Op::Dot4SBy(acc, a, b, _) => self.dot4_s(v, acc, a, b),
            Op::Dot2U(a, b) => self.dot2_u(v, a, b),
            Op::Dot2S(a, b) => self.dot2_s(v, a, b),
            Op::DotWords(a, b) => {
                let dot = products(2, self.range(a)?, self.range(b)?);
                Some(Range::exactly(0).add(dot))
            }
            Op::MulSBy(a, b, _) => Some(products(1, signed(self.range(a)?), signed(self.range(b)?))),
            Op::MacSBy(acc, a, b, _) => {
                let sum = self.range(acc)?.add(products(1, signed(self.range(a)?), signed(self.range(b)?)));
                Some(self.words_that_fit(v, "mac_s_by", sum))
            }
            Op::AddPairs(acc, a) => {
                let pair = self.range(a)?;
                Some(self.range(acc)?.add(pair.add(pair)))
            }
            Op::FoldPairs(a) => Some(self.range(a)?.add(self.range(a)?)),
            Op::Join(a, b) => self.joined(a, b),
            Op::Load { region, index, range, .. } => {
                self.access(v, region, index, ty);
                self.loaded(v, ty, self.elem(region), range)
            }
            Op::Index
            | Op::Param(_)
            | Op::F32(_)
            | Op::Fma(..)
            | Op::Abs(_)
            | Op::Neg(_)
            | Op::Sqrt(_)
            | Op::Not(_)
            | Op::Cmp(..)
            | Op::ToFloat(_)
            | Op::ToInt(_)
            | Op::Splat(_)
            | Op::HalfToFloat(_)
            | Op::FloatToHalf(_)
            // Lanes rest on declared ranges of loads, which memory may break; an index must not.
            | Op::ReduceAdd(_)
            | Op::ReduceMax(_)
            | Op::Call(..) => any,
        }
    }

    fn both(&self, a: ValueId, b: ValueId, f: impl Fn(Range, Range) -> Range) -> Option<Range> {
        Some(f(self.range(a)?, self.range(b)?))
    }

    fn bitwise(
        &self,
        ty: Ty,
        a: ValueId,
        b: ValueId,
        f: impl Fn(Range, Range) -> Range,
    ) -> Option<Range> {
        let result = self.both(a, b, f)?;
        Some(if ty == Ty::I8x64 {
            low_bytes(result)
        } else {
            result
        })
    }

    fn words_that_fit(&mut self, v: ValueId, op: &'static str, sum: Range) -> Range {
        if sum.within(lanes::ANY_WORD.lo, lanes::ANY_WORD.hi) {
            return sum;
        }
        let expected = "words of 16 bits, so that the sum cannot wrap";
        self.lanes_problem(v, op, v, sum, expected);
        lanes::ANY_WORD
    }

    fn joined(&self, a: ValueId, b: ValueId) -> Option<Range> {
        let (x, y) = (self.range(a)?, self.range(b)?);
        Some(self.both_readings(a, x, y))
    }

    fn divide(
        &mut self,
        v: ValueId,
        a: ValueId,
        b: ValueId,
        f: impl Fn(Range, Range) -> Range,
    ) -> Option<Range> {
        let (dividend, divisor) = (self.range(a)?, self.range(b)?);
        let op = self.values[v.index()].op.mnemonic();
        if dividend.lo < 0 {
            let expected = "at least 0";
            self.problem(
                v,
                Problem::Divide {
                    op,
                    what: "dividend",
                    value: a,
                    range: dividend,
                    expected,
                },
            );
        }
        if divisor.lo < 1 {
            let expected = "at least 1";
            self.problem(
                v,
                Problem::Divide {
                    op,
                    what: "divisor",
                    value: b,
                    range: divisor,
                    expected,
                },
            );
        }
        if dividend.lo < 0 || divisor.lo < 1 {
            return Some(Range::ANY);
        }
        Some(f(dividend, divisor))
    }

    fn bounded(&mut self, v: ValueId, a: ValueId, n: ValueId) -> Option<Range> {
        let (index, bound) = (self.range(a)?, self.range(n)?);
        if bound.lo < 1 {
            let expected = "at least 1";
            self.problem(
                v,
                Problem::Divide {
                    op: "bounded",
                    what: "bound",
                    value: n,
                    range: bound,
                    expected,
                },
            );
            return Some(Range::ANY);
        }
        Some(index.bounded(bound))
    }

    fn select(&mut self, v: ValueId, cond: ValueId, a: ValueId, b: ValueId) -> Option<Range> {
        if self.values[cond.index()].ty == Ty::I32x16 {
            let mask = self.range(cond)?;
            if !mask.is_mask() {
                self.lanes_problem(v, "select", cond, mask, "a mask: -1 or 0");
            }
        }
        let (x, y) = (self.range(a)?, self.range(b)?);
        Some(self.both_readings(v, x, y))
    }

    /// Of lanes like those of `v` of either range; bytes are unsigned where one of them is.
    fn both_readings(&self, v: ValueId, x: Range, y: Range) -> Range {
        match self.values[v.index()].ty {
            ty if ty.is_bytes() && x.hi.max(y.hi) > 127 => unsigned(x).join(unsigned(y)),
            _ => x.join(y),
        }
    }

    /// That indices of a table are at most so large.
    fn index(&mut self, v: ValueId, index: ValueId, most: i64, expected: &'static str) {
        let range = unsigned(self.range(index).unwrap_or(lanes::ANY_BYTE));
        if range.hi > most {
            let op = self.values[v.index()].op.mnemonic();
            self.lanes_problem(v, op, index, range, expected);
        }
    }

    /// NEON adds two products in 16 bits, which holds any but twice -128 times -128.
    fn dot4_s(&mut self, v: ValueId, acc: ValueId, a: ValueId, b: ValueId) -> Option<Range> {
        let (x, y) = (signed(self.range(a)?), signed(self.range(b)?));
        if x.lo < -127 && y.lo < -127 {
            let op = self.values[v.index()].op.mnemonic();
            self.lanes_problem(v, op, b, y, "-127..=127, or the other operand in it");
        }
        Some(self.range(acc)?.add(products(4, x, y)))
    }

    fn dot2_u(&mut self, v: ValueId, a: ValueId, b: ValueId) -> Option<Range> {
        let sums = products(2, unsigned(self.range(a)?), signed(self.range(b)?));
        if sums.within(lanes::ANY_WORD.lo, lanes::ANY_WORD.hi) {
            return Some(sums);
        }
        self.lanes_problem(
            v,
            "dot2_u",
            v,
            sums,
            "words of 16 bits, so that the sum cannot saturate",
        );
        Some(lanes::ANY_WORD)
    }

    fn dot2_s(&mut self, v: ValueId, a: ValueId, b: ValueId) -> Option<Range> {
        let mut ranges = [signed(self.range(a)?), signed(self.range(b)?)];
        for (value, range) in [a, b].into_iter().zip(&mut ranges) {
            if range.lo < -127 {
                self.lanes_problem(v, "dot2_s", value, *range, "-127..=127");
                range.lo = -127;
            }
        }
        Some(products(2, ranges[0], ranges[1]))
    }

    fn byte_rule(&self, lo: i32, hi: i32) -> Option<&'static str> {
        let bytes = (lo >= -128 && hi <= 127) || (lo >= 0 && hi <= 255);
        (!bytes).then_some("bytes are in -128..=127 or in 0..=255")
    }

    /// Bytes of a word that was loaded from a region of bytes with a declared range, then splat.
    fn declared_bytes(&self, to: Ty, source: ValueId) -> Option<Range> {
        let Op::Splat(word) = self.values[source.index()].op else {
            return None;
        };
        let Op::Load {
            region,
            range: Some((lo, hi)),
            ..
        } = self.values[word.index()].op
        else {
            return None;
        };
        (to == Ty::I8x64 && self.elem(region) == Some(Elem::I8))
            .then(|| Range::new(lo.into(), hi.into()))
    }

    fn elem(&self, region: ParamId) -> Option<Elem> {
        match self.params.get(region.index()) {
            Some(Param::Region { elem, .. }) => Some(*elem),
            _ => None,
        }
    }

    /// What a load yields. A declared range of a single I32 is not relied upon: memory may break it, and indices must
    /// hold whatever memory holds.
    fn loaded(
        &mut self,
        v: ValueId,
        ty: Ty,
        elem: Option<Elem>,
        range: Option<(i32, i32)>,
    ) -> Option<Range> {
        let any = any(ty);
        let Some((lo, hi)) = range else { return any };
        let rule = match ty {
            _ if lo > hi => Some("the lower bound comes first"),
            Ty::I8x16 | Ty::I8x64 => self.byte_rule(lo, hi),
            Ty::I32 if elem == Some(Elem::I8) => self.byte_rule(lo, hi),
            Ty::I16x32 => (lo < -32768 || hi > 32767).then_some("words are in -32768..=32767"),
            Ty::I32 | Ty::I32x16 => None,
            _ => Some("only integers have a range"),
        };
        if let Some(rule) = rule {
            self.problem(v, Problem::LoadRange { ty, lo, hi, rule });
            return any;
        }
        match ty {
            Ty::I32 => any,
            _ => Some(Range::new(lo.into(), hi.into())),
        }
    }

    fn lanes_problem(
        &mut self,
        v: ValueId,
        op: &'static str,
        value: ValueId,
        range: Range,
        expected: &'static str,
    ) {
        self.problem(
            v,
            Problem::Lanes {
                op,
                value,
                range,
                expected,
            },
        );
    }
}
