//! One operation of the IR to Cranelift instructions, from the segments of its operands.
//!
//! Every form gives the interpreter's bits, floats included: nothing is reassociated, `min` and `max` are comparison and
//! selection, and operands that the verifier excludes are the only ones whose results may differ.

use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Value, types};
use cranelift_frontend::FuncInstBuilder;
use gemc_kernels::ir::{Op, Ty};

use super::emitter::Emitter;
use super::isa::Features;
use super::segments::{Segments, shape};

/// Instructions of one and two operands.
type One = fn(FuncInstBuilder<'_, '_>, Value) -> Value;
type Two = fn(FuncInstBuilder<'_, '_>, Value, Value) -> Value;

impl Emitter<'_> {
    /// An operation of values alone. `ty` is its type, `operand` that of its first operand.
    pub(super) fn operation(&mut self, op: &Op, ty: Ty, operand: Ty, a: &[Segments]) -> Segments {
        let float = operand.is_float();
        match op {
            Op::Add(..) if float => self.two(a, |i, x, y| i.fadd(x, y)),
            Op::Add(..) => self.two(a, |i, x, y| i.iadd(x, y)),
            Op::Sub(..) if float => self.two(a, |i, x, y| i.fsub(x, y)),
            Op::Sub(..) => self.two(a, |i, x, y| i.isub(x, y)),
            Op::Mul(..) if float => self.two(a, |i, x, y| i.fmul(x, y)),
            Op::Mul(..) => self.two(a, |i, x, y| i.imul(x, y)),
            Op::Div(..) if float => self.two(a, |i, x, y| i.fdiv(x, y)),
            // Of a non-negative by a positive number, which the verifier proved.
            Op::Div(..) => self.two(a, |i, x, y| i.udiv(x, y)),
            Op::Rem(..) => self.two(a, |i, x, y| i.urem(x, y)),
            Op::Fma(..) => self.zip([a[0], a[1], a[2]], |e, [x, y, z]| e.ins().fma(x, y, z)),
            Op::Min(..) if float => self.zip([a[0], a[1]], |e, [x, y]| e.float_min(x, y)),
            Op::Min(..) => self.two(a, |i, x, y| i.smin(x, y)),
            Op::Max(..) if float => self.zip([a[0], a[1]], |e, [x, y]| e.float_max(x, y)),
            Op::Max(..) => self.two(a, |i, x, y| i.smax(x, y)),
            Op::Abs(_) => self.one(a, |i, x| i.fabs(x)),
            Op::Neg(_) => self.one(a, |i, x| i.fneg(x)),
            Op::Sqrt(_) => self.one(a, |i, x| i.sqrt(x)),
            Op::And(..) => self.two(a, |i, x, y| i.band(x, y)),
            Op::Or(..) => self.two(a, |i, x, y| i.bor(x, y)),
            Op::Xor(..) => self.two(a, |i, x, y| i.bxor(x, y)),
            Op::Not(_) => {
                let one = self.ins().iconst(types::I8, 1);
                Segments::one(self.ins().bxor(a[0].first(), one))
            }
            Op::Shl(_, by) => self.shift(a, *by, |i, x, y| i.ishl(x, y)),
            Op::ShrS(_, by) => self.shift(a, *by, |i, x, y| i.sshr(x, y)),
            Op::ShrU(_, by) => self.shift(a, *by, |i, x, y| i.ushr(x, y)),
            Op::Cmp(cmp, ..) => self.zip([a[0], a[1]], |e, [x, y]| e.compare(*cmp, x, y)),
            Op::Select(..) if operand == Ty::Bool => {
                let condition = a[0].first();
                self.zip([a[1], a[2]], |e, [x, y]| e.ins().select(condition, x, y))
            }
            Op::Select(..) => self.zip([a[0], a[1], a[2]], |e, [m, x, y]| e.choose(m, x, y)),
            Op::Bounded(..) => Segments::one(self.bounded(a[0].first(), a[1].first())),
            _ => self.conversion(op, ty, operand, a),
        }
    }

    /// Operations that change the type.
    fn conversion(&mut self, op: &Op, ty: Ty, operand: Ty, a: &[Segments]) -> Segments {
        let (segment, count) = shape(ty);
        match op {
            Op::ToFloat(_) => self.zip([a[0]], |e, [x]| e.ins().fcvt_from_sint(segment, x)),
            Op::ToInt(_) => self.zip([a[0]], |e, [x]| e.int_of(x)),
            Op::Bits(..) if !ty.is_vector() => {
                let bits = |e: &mut Self, [x]: [Value; 1]| {
                    e.ins().bitcast(segment, MemFlagsData::new(), x)
                };
                if ty == operand {
                    a[0]
                } else {
                    self.zip([a[0]], bits)
                }
            }
            Op::Bits(..) => self.zip([a[0]], |e, [x]| e.cast(segment, x)),
            Op::Splat(_) => Segments::repeat(self.ins().splat(segment, a[0].first()), count),
            Op::WidenS(_) => self.widen(
                a[0].first(),
                |i, x| i.swiden_low(x),
                |i, x| i.swiden_high(x),
            ),
            Op::WidenU(_) => self.widen(
                a[0].first(),
                |i, x| i.uwiden_low(x),
                |i, x| i.uwiden_high(x),
            ),
            Op::Narrow(_) => self.narrow(a[0]),
            Op::HalfToFloat(_) => self.half_to_float(a[0]),
            Op::FloatToHalf(_) => self.float_to_half(a[0]),
            Op::Low(_) => Segments::of([a[0].at(0), a[0].at(1)]),
            Op::High(_) => Segments::of([a[0].at(2), a[0].at(3)]),
            Op::ReduceAdd(_) if ty == Ty::F32 => self.reduce(a[0], |e, x, y| e.ins().fadd(x, y)),
            Op::ReduceAdd(_) => self.reduce(a[0], |e, x, y| e.ins().iadd(x, y)),
            Op::ReduceMax(_) => self.reduce(a[0], Self::float_max),
            Op::Lookup(..) => self.zip([a[0], a[1]], |e, [table, index]| e.lookup(table, index)),
            Op::Lookup32(..) => self.zip([a[0], a[1], a[2]], |e, [l, h, i]| e.lookup32(l, h, i)),
            Op::Dot4U(..) => self.zip([a[0], a[1], a[2]], |e, [c, x, y]| e.dot4_u(c, x, y)),
            Op::Dot4S(..) => self.zip([a[0], a[1], a[2]], |e, [c, x, y]| e.dot4_s(c, x, y)),
            Op::Dot4SBy(.., n) => {
                let all = Segments::one(self.spread(a[2].first(), *n));
                self.zip([a[0], a[1], all], |e, [c, x, y]| e.dot4_s(c, x, y))
            }
            Op::MulSBy(.., n) => self.products_by(a[0], a[1].first(), *n),
            Op::MacSBy(.., n) => {
                let products = self.products_by(a[1], a[2].first(), *n);
                self.zip([a[0], products], |e, [acc, x]| e.ins().iadd(acc, x))
            }
            Op::AddPairs(..) => self.zip([a[0], a[1]], |e, [acc, x]| e.add_pairs(acc, x)),
            Op::FoldPairs(_) => Segments::of([0, 2].map(|i| {
                let (x, y) = (a[0].at(i), a[0].at(i + 1));
                self.ins().iadd_pairwise(x, y)
            })),
            Op::Join(..) => Segments::of([a[0].at(0), a[0].at(1), a[1].at(0), a[1].at(1)]),
            Op::Dot2U(..) => self.zip([a[0], a[1]], |e, [x, y]| e.dot2_u(x, y)),
            Op::Dot2S(..) => self.zip([a[0], a[1]], |e, [x, y]| e.dot2_s(x, y)),
            Op::DotWords(..) => self.zip([a[0], a[1]], |e, [x, y]| e.dot_words(x, y)),
            _ => unreachable!(
                "`{}` is a literal or translated with its kernel or function",
                op.mnemonic()
            ),
        }
    }

    fn one(&mut self, a: &[Segments], f: One) -> Segments {
        self.zip([a[0]], |e, [x]| f(e.ins(), x))
    }

    fn two(&mut self, a: &[Segments], f: Two) -> Segments {
        self.zip([a[0], a[1]], |e, [x, y]| f(e.ins(), x, y))
    }

    fn shift(&mut self, a: &[Segments], by: u32, f: Two) -> Segments {
        let by = self.int(by as i32);
        self.zip([a[0]], |e, [x]| f(e.ins(), x, by))
    }

    /// `a < b ? a : b`.
    fn float_min(&mut self, a: Value, b: Value) -> Value {
        let less = self.ins().fcmp(FloatCC::LessThan, a, b);
        self.pick(less, a, b)
    }

    /// `a > b ? a : b`, compared as `b < a`, which x86 has as one instruction.
    fn float_max(&mut self, a: Value, b: Value) -> Value {
        let more = self.ins().fcmp(FloatCC::LessThan, b, a);
        self.pick(more, a, b)
    }

    fn pick(&mut self, condition: Value, a: Value, b: Value) -> Value {
        if self.b.func.dfg.value_type(a).is_vector() {
            self.choose(condition, a, b)
        } else {
            self.ins().select(condition, a, b)
        }
    }

    /// `min(index, n - 1)` as unsigned numbers.
    pub(super) fn bounded(&mut self, index: Value, n: Value) -> Value {
        let one = self.int(1);
        let last = self.ins().isub(n, one);
        self.ins().umin(index, last)
    }

    /// To nearest, ties to even; operands beyond ±2^30 are excluded, so how conversions saturate does not matter.
    fn int_of(&mut self, x: Value) -> Value {
        let vector = self.b.func.dfg.value_type(x).is_vector();
        match self.features {
            Features::X86 { .. } if vector => {
                let rounded = self.ins().nearest(x);
                self.ins().x86_cvtt2dq(types::I32X4, rounded)
            }
            // The scalar conversion checks its operand; that of a vector does not.
            Features::X86 { .. } => {
                let lanes = self.ins().scalar_to_vector(types::F32X4, x);
                let lanes = self.int_of(lanes);
                self.ins().extractlane(lanes, 0)
            }
            Features::Arm { .. } => {
                let rounded = self.ins().nearest(x);
                let ty = if vector { types::I32X4 } else { types::I32 };
                self.ins().fcvt_to_sint_sat(ty, rounded)
            }
        }
    }

    fn widen(&mut self, bytes: Value, low: One, high: One) -> Segments {
        let [first, second] = [low(self.ins(), bytes), high(self.ins(), bytes)];
        Segments::of([
            low(self.ins(), first),
            high(self.ins(), first),
            low(self.ins(), second),
            high(self.ins(), second),
        ])
    }

    /// Low bytes: masked first, so that saturation changes nothing.
    fn narrow(&mut self, a: Segments) -> Segments {
        let mask = self.words(0xff);
        let low = self.zip([a], |e, [x]| e.ins().band(x, mask));
        let first = self.ins().unarrow(low.at(0), low.at(1));
        let second = self.ins().unarrow(low.at(2), low.at(3));
        Segments::one(self.ins().unarrow(first, second))
    }

    /// By halves: lanes i and i + 8, then i + 4, i + 2, i + 1, the lower lane first.
    fn reduce(&mut self, a: Segments, f: impl Fn(&mut Self, Value, Value) -> Value) -> Segments {
        let lower = f(self, a.at(0), a.at(2));
        let upper = f(self, a.at(1), a.at(3));
        let four = f(self, lower, upper);
        let [x, y, z, w] = [0, 1, 2, 3].map(|i: u8| self.ins().extractlane(four, i));
        let (even, odd) = (f(self, x, z), f(self, y, w));
        Segments::one(f(self, even, odd))
    }

    /// `table[index]`; indices are below 16, so what either instruction does with others does not matter.
    fn lookup(&mut self, table: Value, index: Value) -> Value {
        match self.features {
            Features::X86 { .. } => self.ins().x86_pshufb(table, index),
            Features::Arm { .. } => self.ins().swizzle(table, index),
        }
    }

    /// The same of two tables; indices are below 32.
    fn lookup32(&mut self, low: Value, high: Value, index: Value) -> Value {
        let sixteen = self.bytes(types::I8X16, [16; 16]);
        match self.features {
            // Of an index its lower four bits count.
            Features::X86 { .. } => {
                let [low, high] = [low, high].map(|table| self.lookup(table, index));
                let first = self.ins().icmp(IntCC::SignedLessThan, index, sixteen);
                self.choose(first, low, high)
            }
            // An index beyond a table gives 0.
            Features::Arm { .. } => {
                let above = self.ins().isub(index, sixteen);
                let low = self.lookup(low, index);
                let high = self.lookup(high, above);
                self.ins().bor(low, high)
            }
        }
    }
}
