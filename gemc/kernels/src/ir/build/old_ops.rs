//! One method per pure operation, shared by both builders.

use crate::ir::{Cmp, Op, Ty, ValueId};

/// Methods that add an operation and return its value; the result's type follows from the operands'.
///
/// Every method panics when the operation's typing rule (see [`Op`]) does not hold.
pub trait Ops {
    /// Adds an operation whose type is `declared` where operands do not decide it.
    #[track_caller]
    fn op(&mut self, op: Op, declared: Ty) -> ValueId;

    /// Type of a value of this builder.
    fn ty(&self, v: ValueId) -> Ty;

    /// Names a value for readers, unless it has a name; returns it.
    fn name(&mut self, v: ValueId, hint: &str) -> ValueId;

    /// The number that a value is, if it is a literal.
    fn literal(&self, v: ValueId) -> Option<i32>;

    /// I32 literal.
    fn i32(&mut self, n: i32) -> ValueId {
        self.op(Op::I32(n), Ty::I32)
    }

    /// F32 literal.
    fn f32(&mut self, x: f32) -> ValueId {
        self.op(Op::F32(x.to_bits()), Ty::F32)
    }

    /// 16 I32 literals.
    fn i32_lanes(&mut self, lanes: [i32; 16]) -> ValueId {
        self.op(Op::I32Lanes(lanes), Ty::I32x16)
    }

    /// 16 byte literals.
    fn i8_lanes(&mut self, lanes: [i8; 16]) -> ValueId {
        self.op(Op::I8Lanes(lanes), Ty::I8x16)
    }

    /// An I32 literal in every lane.
    fn splat_i32(&mut self, n: i32) -> ValueId {
        let n = self.i32(n);
        self.splat(n)
    }

    /// An F32 literal in every lane.
    fn splat_f32(&mut self, x: f32) -> ValueId {
        let x = self.f32(x);
        self.splat(x)
    }

    /// `v + n` of I32.
    fn add_const(&mut self, v: ValueId, n: i32) -> ValueId {
        if n == 0 {
            return v;
        }
        let n = self.i32(n);
        self.add(v, n)
    }

    /// `v * n` of I32.
    fn mul_const(&mut self, v: ValueId, n: i32) -> ValueId {
        if n == 1 {
            return v;
        }
        let n = self.i32(n);
        self.mul(v, n)
    }

    /// `v / n` of I32, n positive.
    fn div_const(&mut self, v: ValueId, n: i32) -> ValueId {
        let n = self.i32(n);
        self.div(v, n)
    }

    /// `v % n` of I32, n positive.
    fn rem_const(&mut self, v: ValueId, n: i32) -> ValueId {
        let n = self.i32(n);
        self.rem(v, n)
    }

    /// `row * stride + column` of I32.
    fn at(&mut self, row: ValueId, stride: i32, column: ValueId) -> ValueId {
        let row = self.mul_const(row, stride);
        self.add(row, column)
    }

    /// [`Op::Add`].
    #[track_caller]
    fn add(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.op(Op::Add(a, b), Ty::I32)
    }

    /// [`Op::Sub`].
    #[track_caller]
    fn sub(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.op(Op::Sub(a, b), Ty::I32)
    }

    /// [`Op::Mul`].
    #[track_caller]
    fn mul(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.op(Op::Mul(a, b), Ty::I32)
    }

    /// [`Op::Div`].
    #[track_caller]
    fn div(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.op(Op::Div(a, b), Ty::I32)
    }

    /// [`Op::Rem`].
    #[track_caller]
    fn rem(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.op(Op::Rem(a, b), Ty::I32)
    }

    /// [`Op::Fma`]: `a * b + c`.
    #[track_caller]
    fn fma(&mut self, a: ValueId, b: ValueId, c: ValueId) -> ValueId {
        self.op(Op::Fma(a, b, c), Ty::F32)
    }

    /// [`Op::Min`].
    #[track_caller]
    fn min(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.op(Op::Min(a, b), Ty::I32)
    }

    /// [`Op::Max`].
    #[track_caller]
    fn max(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.op(Op::Max(a, b), Ty::I32)
    }

    /// [`Op::Abs`].
    #[track_caller]
    fn abs(&mut self, a: ValueId) -> ValueId {
        self.op(Op::Abs(a), Ty::F32)
    }

    /// [`Op::Neg`].
    #[track_caller]
    fn neg(&mut self, a: ValueId) -> ValueId {
        self.op(Op::Neg(a), Ty::F32)
    }

    /// [`Op::Sqrt`].
    #[track_caller]
    fn sqrt(&mut self, a: ValueId) -> ValueId {
        self.op(Op::Sqrt(a), Ty::F32)
    }

    /// [`Op::And`].
    #[track_caller]
    fn and(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.op(Op::And(a, b), Ty::I32)
    }

    /// [`Op::Or`].
    #[track_caller]
    fn or(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.op(Op::Or(a, b), Ty::I32)
    }

    /// [`Op::Xor`].
    #[track_caller]
    fn xor(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.op(Op::Xor(a, b), Ty::I32)
    }

    /// [`Op::Not`].
    #[track_caller]
    fn not(&mut self, a: ValueId) -> ValueId {
        self.op(Op::Not(a), Ty::Bool)
    }

    /// [`Op::Shl`].
    #[track_caller]
    fn shl(&mut self, a: ValueId, by: u32) -> ValueId {
        self.op(Op::Shl(a, by), Ty::I32)
    }

    /// [`Op::ShrS`].
    #[track_caller]
    fn shr_s(&mut self, a: ValueId, by: u32) -> ValueId {
        self.op(Op::ShrS(a, by), Ty::I32)
    }

    /// [`Op::ShrU`].
    #[track_caller]
    fn shr_u(&mut self, a: ValueId, by: u32) -> ValueId {
        self.op(Op::ShrU(a, by), Ty::I32)
    }

    /// [`Op::Cmp`].
    #[track_caller]
    fn cmp(&mut self, cmp: Cmp, a: ValueId, b: ValueId) -> ValueId {
        self.op(Op::Cmp(cmp, a, b), Ty::Bool)
    }

    /// `a == b`.
    #[track_caller]
    fn eq(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.cmp(Cmp::Eq, a, b)
    }

    /// `a != b`.
    #[track_caller]
    fn ne(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.cmp(Cmp::Ne, a, b)
    }

    /// `a < b`.
    #[track_caller]
    fn lt(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.cmp(Cmp::Lt, a, b)
    }

    /// `a <= b`.
    #[track_caller]
    fn le(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.cmp(Cmp::Le, a, b)
    }

    /// `a > b`.
    #[track_caller]
    fn gt(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.cmp(Cmp::Gt, a, b)
    }

    /// `a >= b`.
    #[track_caller]
    fn ge(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.cmp(Cmp::Ge, a, b)
    }

    /// [`Op::Select`]: `cond ? a : b`.
    #[track_caller]
    fn select(&mut self, cond: ValueId, a: ValueId, b: ValueId) -> ValueId {
        self.op(Op::Select(cond, a, b), Ty::I32)
    }

    /// [`Op::Bounded`]: a loaded number as an index below `n`.
    #[track_caller]
    fn bounded(&mut self, index: ValueId, n: ValueId) -> ValueId {
        self.op(Op::Bounded(index, n), Ty::I32)
    }

    /// [`Op::Bounded`] by a literal.
    #[track_caller]
    fn bounded_const(&mut self, index: ValueId, n: i32) -> ValueId {
        let n = self.i32(n);
        self.bounded(index, n)
    }

    /// [`Op::ToFloat`].
    #[track_caller]
    fn to_float(&mut self, a: ValueId) -> ValueId {
        self.op(Op::ToFloat(a), Ty::F32)
    }

    /// [`Op::ToInt`].
    #[track_caller]
    fn to_int(&mut self, a: ValueId) -> ValueId {
        self.op(Op::ToInt(a), Ty::I32)
    }

    /// [`Op::Bits`].
    #[track_caller]
    fn bits(&mut self, to: Ty, a: ValueId) -> ValueId {
        self.op(Op::Bits(to, a), to)
    }

    /// [`Op::Splat`].
    #[track_caller]
    fn splat(&mut self, a: ValueId) -> ValueId {
        self.op(Op::Splat(a), Ty::I32x16)
    }

    /// [`Op::WidenS`].
    #[track_caller]
    fn widen_s(&mut self, a: ValueId) -> ValueId {
        self.op(Op::WidenS(a), Ty::I32x16)
    }

    /// [`Op::WidenU`].
    #[track_caller]
    fn widen_u(&mut self, a: ValueId) -> ValueId {
        self.op(Op::WidenU(a), Ty::I32x16)
    }

    /// [`Op::Narrow`].
    #[track_caller]
    fn narrow(&mut self, a: ValueId) -> ValueId {
        self.op(Op::Narrow(a), Ty::I8x16)
    }

    /// [`Op::HalfToFloat`].
    #[track_caller]
    fn half_to_float(&mut self, a: ValueId) -> ValueId {
        self.op(Op::HalfToFloat(a), Ty::F32x16)
    }

    /// [`Op::FloatToHalf`].
    #[track_caller]
    fn float_to_half(&mut self, a: ValueId) -> ValueId {
        self.op(Op::FloatToHalf(a), Ty::I16x16)
    }

    /// [`Op::ReduceAdd`].
    #[track_caller]
    fn reduce_add(&mut self, a: ValueId) -> ValueId {
        self.op(Op::ReduceAdd(a), Ty::F32)
    }

    /// [`Op::ReduceMax`].
    #[track_caller]
    fn reduce_max(&mut self, a: ValueId) -> ValueId {
        self.op(Op::ReduceMax(a), Ty::F32)
    }

    /// [`Op::Lookup`].
    #[track_caller]
    fn lookup(&mut self, table: ValueId, index: ValueId) -> ValueId {
        self.op(Op::Lookup(table, index), Ty::I8x64)
    }

    /// [`Op::Dot4U`].
    #[track_caller]
    fn dot4_u(&mut self, acc: ValueId, unsigned: ValueId, signed: ValueId) -> ValueId {
        self.op(Op::Dot4U(acc, unsigned, signed), Ty::I32x16)
    }

    /// [`Op::Dot4S`].
    #[track_caller]
    fn dot4_s(&mut self, acc: ValueId, a: ValueId, b: ValueId) -> ValueId {
        self.op(Op::Dot4S(acc, a, b), Ty::I32x16)
    }

    /// [`Op::Dot2U`].
    #[track_caller]
    fn dot2_u(&mut self, unsigned: ValueId, signed: ValueId) -> ValueId {
        self.op(Op::Dot2U(unsigned, signed), Ty::I16x32)
    }

    /// [`Op::Dot2S`].
    #[track_caller]
    fn dot2_s(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.op(Op::Dot2S(a, b), Ty::I16x32)
    }

    /// [`Op::DotWords`].
    #[track_caller]
    fn dot_words(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.op(Op::DotWords(a, b), Ty::I32x16)
    }
}
