//! Values as formulas: `+ - * /`, and a method for every other operation.
//!
//! The type of a result follows from its operands. A number of Rust's beside a value is a literal, in every lane where
//! the value has lanes. Every operation panics, where it is written, when its typing rule (see [`Op`]) does not hold.

use std::fmt;
use std::ops::{Add, BitAnd, BitOr, BitXor, Div, Mul, Neg, Not, Rem, Shl, Sub};

use super::core::Core;
use super::operand::Operand;
use crate::ir::{Cmp, Op, Ty, ValueId};

/// A value of the kernel or function in the making.
#[derive(Clone, Copy)]
pub struct Val<'k> {
    core: &'k Core,
    id: ValueId,
}

impl fmt::Debug for Val<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id.fmt(f)
    }
}

impl<'k> Val<'k> {
    pub(super) const fn of(core: &'k Core, id: ValueId) -> Self {
        Self { core, id }
    }

    pub(super) const fn core(self) -> &'k Core {
        self.core
    }

    /// Its number in the kernel.
    #[must_use]
    pub const fn id(self) -> ValueId {
        self.id
    }

    /// Type of the value, as the typing rules give it.
    #[must_use]
    pub fn ty(self) -> Ty {
        self.core.draft().ty(self.id)
    }

    /// The number that it is, if it is a literal.
    #[must_use]
    pub fn literal(self) -> Option<i32> {
        self.core.draft().values.literal(self.id)
    }

    /// Named for readers, unless it has a name.
    #[must_use]
    pub fn named(self, hint: &str) -> Self {
        self.core.draft_mut().values.name(self.id, hint);
        self
    }

    /// Any operation that this value takes part in; `declared` is its type where operands do not decide it.
    #[track_caller]
    fn op(self, op: Op, declared: Ty) -> Self {
        Self::of(self.core, self.core.op(op, declared))
    }

    #[track_caller]
    fn unary(self, op: fn(ValueId) -> Op) -> Self {
        self.op(op(self.id), Ty::I32)
    }

    #[track_caller]
    fn binary(self, op: fn(ValueId, ValueId) -> Op, other: impl Operand<'k>) -> Self {
        self.op(op(self.id, other.beside(self).id), Ty::I32)
    }

    /// [`Op::Fma`]: `self * b + c` with one rounding.
    #[track_caller]
    pub fn mul_add(self, b: impl Operand<'k>, c: impl Operand<'k>) -> Self {
        let (b, c) = (b.beside(self), c.beside(self));
        self.op(Op::Fma(self.id, b.id, c.id), Ty::F32)
    }

    /// [`Op::Min`].
    #[track_caller]
    pub fn min(self, other: impl Operand<'k>) -> Self {
        self.binary(Op::Min, other)
    }

    /// [`Op::Max`].
    #[track_caller]
    pub fn max(self, other: impl Operand<'k>) -> Self {
        self.binary(Op::Max, other)
    }

    /// [`Op::Abs`].
    #[track_caller]
    pub fn abs(self) -> Self {
        self.unary(Op::Abs)
    }

    /// [`Op::Sqrt`].
    #[track_caller]
    pub fn sqrt(self) -> Self {
        self.unary(Op::Sqrt)
    }

    /// [`Op::ShrS`]: the sign is shifted in.
    #[track_caller]
    pub fn shr_s(self, by: u32) -> Self {
        self.op(Op::ShrS(self.id, by), Ty::I32)
    }

    /// [`Op::ShrU`]: zeros are shifted in.
    #[track_caller]
    pub fn shr_u(self, by: u32) -> Self {
        self.op(Op::ShrU(self.id, by), Ty::I32)
    }

    /// [`Op::Cmp`].
    #[track_caller]
    pub fn cmp(self, cmp: Cmp, other: impl Operand<'k>) -> Self {
        let other = other.beside(self);
        self.op(Op::Cmp(cmp, self.id, other.id), Ty::Bool)
    }

    /// `self == other`.
    #[track_caller]
    pub fn eq(self, other: impl Operand<'k>) -> Self {
        self.cmp(Cmp::Eq, other)
    }

    /// `self != other`.
    #[track_caller]
    pub fn ne(self, other: impl Operand<'k>) -> Self {
        self.cmp(Cmp::Ne, other)
    }

    /// `self < other`.
    #[track_caller]
    pub fn lt(self, other: impl Operand<'k>) -> Self {
        self.cmp(Cmp::Lt, other)
    }

    /// `self <= other`.
    #[track_caller]
    pub fn le(self, other: impl Operand<'k>) -> Self {
        self.cmp(Cmp::Le, other)
    }

    /// `self > other`.
    #[track_caller]
    pub fn gt(self, other: impl Operand<'k>) -> Self {
        self.cmp(Cmp::Gt, other)
    }

    /// `self >= other`.
    #[track_caller]
    pub fn ge(self, other: impl Operand<'k>) -> Self {
        self.cmp(Cmp::Ge, other)
    }

    /// [`Op::Select`]: of a condition, `a` where it holds, else `b`.
    #[track_caller]
    pub fn select(self, a: impl Operand<'k>, b: impl Operand<'k>) -> Self {
        let (a, b) = (a.beside(self), b.beside(self));
        self.op(Op::Select(self.id, a.id, b.id), Ty::I32)
    }

    /// [`Op::Bounded`]: a loaded number as an index below `n`.
    #[track_caller]
    pub fn bounded(self, n: impl Operand<'k>) -> Self {
        self.binary(Op::Bounded, n)
    }

    /// [`Op::ToFloat`].
    #[track_caller]
    pub fn to_float(self) -> Self {
        self.unary(Op::ToFloat)
    }

    /// [`Op::ToInt`].
    #[track_caller]
    pub fn to_int(self) -> Self {
        self.unary(Op::ToInt)
    }

    /// [`Op::Bits`].
    #[track_caller]
    pub fn bits(self, to: Ty) -> Self {
        self.op(Op::Bits(to, self.id), to)
    }

    /// [`Op::Splat`].
    #[track_caller]
    pub fn splat(self) -> Self {
        self.unary(Op::Splat)
    }

    /// [`Op::WidenS`].
    #[track_caller]
    pub fn widen_s(self) -> Self {
        self.unary(Op::WidenS)
    }

    /// [`Op::WidenU`].
    #[track_caller]
    pub fn widen_u(self) -> Self {
        self.unary(Op::WidenU)
    }

    /// [`Op::Narrow`].
    #[track_caller]
    pub fn narrow(self) -> Self {
        self.unary(Op::Narrow)
    }

    /// [`Op::HalfToFloat`].
    #[track_caller]
    pub fn half_to_float(self) -> Self {
        self.unary(Op::HalfToFloat)
    }

    /// [`Op::FloatToHalf`].
    #[track_caller]
    pub fn float_to_half(self) -> Self {
        self.unary(Op::FloatToHalf)
    }

    /// [`Op::Low`].
    #[track_caller]
    pub fn low(self) -> Self {
        self.unary(Op::Low)
    }

    /// [`Op::High`].
    #[track_caller]
    pub fn high(self) -> Self {
        self.unary(Op::High)
    }

    /// [`Op::ReduceAdd`].
    #[track_caller]
    pub fn reduce_add(self) -> Self {
        self.unary(Op::ReduceAdd)
    }

    /// [`Op::ReduceMax`].
    #[track_caller]
    pub fn reduce_max(self) -> Self {
        self.unary(Op::ReduceMax)
    }

    /// [`Op::Lookup`]: of a table of 16 bytes, those at 64 indices.
    #[track_caller]
    pub fn lookup(self, index: Self) -> Self {
        self.op(Op::Lookup(self.id, index.id), Ty::I8x64)
    }

    /// [`Op::Lookup32`]: of two tables of 16 bytes, those at 64 indices.
    #[track_caller]
    pub fn lookup32(self, high: Self, index: Self) -> Self {
        self.op(Op::Lookup32(self.id, high.id, index.id), Ty::I8x64)
    }

    /// [`Op::Dot4U`]: sums plus products of four unsigned by four signed bytes.
    #[track_caller]
    pub fn dot4_u(self, unsigned: Self, signed: Self) -> Self {
        self.op(Op::Dot4U(self.id, unsigned.id, signed.id), Ty::I32x16)
    }

    /// [`Op::Dot4S`]: sums plus products of four by four signed bytes, of which one operand has no -128.
    #[track_caller]
    pub fn dot4_s(self, a: Self, b: Self) -> Self {
        self.op(Op::Dot4S(self.id, a.id, b.id), Ty::I32x16)
    }

    /// [`Op::Dot4SBy`]: sums plus products of four signed bytes by bytes `4 n ..` of `b`.
    #[track_caller]
    pub fn dot4_s_by(self, a: Self, b: Self, n: usize) -> Self {
        self.op(Op::Dot4SBy(self.id, a.id, b.id, n as u32), Ty::I32x16)
    }

    /// [`Op::MulSBy`]: products of signed bytes by bytes `4 n ..` of `b`.
    #[track_caller]
    pub fn mul_s_by(self, b: Self, n: usize) -> Self {
        self.op(Op::MulSBy(self.id, b.id, n as u32), Ty::I16x32)
    }

    /// [`Op::MacSBy`]: words plus products of signed bytes by bytes `4 n ..` of `b`.
    #[track_caller]
    pub fn mac_s_by(self, a: Self, b: Self, n: usize) -> Self {
        self.op(Op::MacSBy(self.id, a.id, b.id, n as u32), Ty::I16x32)
    }

    /// [`Op::AddPairs`]: sums plus those of neighbouring words.
    #[track_caller]
    pub fn add_pairs(self, words: Self) -> Self {
        self.op(Op::AddPairs(self.id, words.id), Ty::I32x16)
    }

    /// [`Op::FoldPairs`].
    #[track_caller]
    pub fn fold_pairs(self) -> Self {
        self.unary(Op::FoldPairs)
    }

    /// [`Op::Join`] of this half and the upper one.
    #[track_caller]
    pub fn join(self, high: Self) -> Self {
        self.binary(Op::Join, high)
    }

    /// [`Op::Dot2U`]: products of two unsigned by two signed bytes.
    #[track_caller]
    pub fn dot2_u(self, signed: Self) -> Self {
        self.op(Op::Dot2U(self.id, signed.id), Ty::I16x32)
    }

    /// [`Op::Dot2S`]: products of two by two signed bytes.
    #[track_caller]
    pub fn dot2_s(self, other: Self) -> Self {
        self.op(Op::Dot2S(self.id, other.id), Ty::I16x32)
    }

    /// [`Op::DotWords`]: products of two by two words.
    #[track_caller]
    pub fn dot_words(self, other: impl Operand<'k>) -> Self {
        self.binary(Op::DotWords, other)
    }
}

/// An operator, with a value or a number on its right.
macro_rules! operators {
    ($($trait:ident $method:ident),*) => {
        $(
            /// The operation of the same name.
            impl<'k, R: Operand<'k>> $trait<R> for Val<'k> {
                type Output = Self;

                #[track_caller]
                fn $method(self, other: R) -> Self {
                    self.binary(Op::$trait, other)
                }
            }
        )*
    };
}

operators!(Add add, Sub sub, Mul mul, Div div, Rem rem);

macro_rules! bit_operators {
    ($($trait:ident $method:ident $op:ident),*) => {
        $(
            /// The operation on bits.
            impl<'k, R: Operand<'k>> $trait<R> for Val<'k> {
                type Output = Self;

                #[track_caller]
                fn $method(self, other: R) -> Self {
                    self.binary(Op::$op, other)
                }
            }
        )*
    };
}

bit_operators!(BitAnd bitand And, BitOr bitor Or, BitXor bitxor Xor);

/// An operator with a number on its left.
macro_rules! numbers {
    ($($number:ty: $($trait:ident $method:ident),*;)*) => {
        $($(
            impl<'k> $trait<Val<'k>> for $number {
                type Output = Val<'k>;

                #[track_caller]
                fn $method(self, other: Val<'k>) -> Val<'k> {
                    self.beside(other).binary(Op::$trait, other)
                }
            }
        )*)*
    };
}

numbers! {
    f32: Add add, Sub sub, Mul mul, Div div;
    i32: Add add, Sub sub, Mul mul;
    usize: Add add, Sub sub, Mul mul;
}

/// [`Op::Neg`].
impl Neg for Val<'_> {
    type Output = Self;

    #[track_caller]
    fn neg(self) -> Self {
        self.unary(Op::Neg)
    }
}

/// [`Op::Not`].
impl Not for Val<'_> {
    type Output = Self;

    #[track_caller]
    fn not(self) -> Self {
        self.unary(Op::Not)
    }
}

/// [`Op::Shl`].
impl Shl<u32> for Val<'_> {
    type Output = Self;

    #[track_caller]
    fn shl(self, by: u32) -> Self {
        self.op(Op::Shl(self.id, by), Ty::I32)
    }
}
