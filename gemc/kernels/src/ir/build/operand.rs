//! What an operation takes beside a value: another value, or a number of Rust's.

use super::core::Core;
use super::val::Val;
use crate::ir::{Op, Ty, ValueId};

/// A value, or a number that becomes a literal.
pub trait Operand<'k>: Copy {
    /// As an operand by itself: a number is a literal.
    fn on(self, core: &'k Core) -> Val<'k>;

    /// As an operand beside `other`: a number is a literal, in every lane where `other` has lanes.
    #[track_caller]
    fn beside(self, other: Val<'k>) -> Val<'k>;
}

impl<'k> Operand<'k> for Val<'k> {
    fn on(self, _: &'k Core) -> Self {
        self
    }

    fn beside(self, _: Self) -> Self {
        self
    }
}

/// A number, in every lane of what it stands beside.
#[track_caller]
fn spread<'k>(number: Val<'k>, other: Val<'k>) -> Val<'k> {
    match other.ty() {
        Ty::I32x8 | Ty::F32x8 => number.splat().low(),
        ty if ty.is_vector() => number.splat(),
        _ => number,
    }
}

impl<'k> Operand<'k> for i32 {
    #[track_caller]
    fn on(self, core: &'k Core) -> Val<'k> {
        Val::of(core, core.i32(self))
    }

    #[track_caller]
    fn beside(self, other: Val<'k>) -> Val<'k> {
        spread(self.on(other.core()), other)
    }
}

/// Sizes and indices; they fit i32, as every count that kernels know.
impl<'k> Operand<'k> for usize {
    #[track_caller]
    fn on(self, core: &'k Core) -> Val<'k> {
        let n = i32::try_from(self).expect("sizes in kernels fit 32 bits");
        n.on(core)
    }

    #[track_caller]
    fn beside(self, other: Val<'k>) -> Val<'k> {
        spread(self.on(other.core()), other)
    }
}

impl<'k> Operand<'k> for f32 {
    #[track_caller]
    fn on(self, core: &'k Core) -> Val<'k> {
        Val::of(core, core.op(Op::F32(self.to_bits()), Ty::F32))
    }

    #[track_caller]
    fn beside(self, other: Val<'k>) -> Val<'k> {
        spread(self.on(other.core()), other)
    }
}

/// 64 bytes, each this one.
impl<'k> Operand<'k> for u8 {
    #[track_caller]
    fn on(self, core: &'k Core) -> Val<'k> {
        i32::from_le_bytes([self; 4])
            .on(core)
            .splat()
            .bits(Ty::I8x64)
    }

    #[track_caller]
    fn beside(self, other: Val<'k>) -> Val<'k> {
        self.on(other.core())
    }
}

/// Words of 16 bits, each this one: 32, or 16 beside as many.
impl<'k> Operand<'k> for i16 {
    #[track_caller]
    fn on(self, core: &'k Core) -> Val<'k> {
        let [low, high] = self.to_le_bytes();
        i32::from_le_bytes([low, high, low, high])
            .on(core)
            .splat()
            .bits(Ty::I16x32)
    }

    #[track_caller]
    fn beside(self, other: Val<'k>) -> Val<'k> {
        let words = self.on(other.core());
        match other.ty() {
            Ty::I16x16 => words.low(),
            _ => words,
        }
    }
}

/// The ids of some values.
pub(super) fn ids(values: &[Val<'_>]) -> Vec<ValueId> {
    values.iter().map(|v| v.id()).collect()
}
