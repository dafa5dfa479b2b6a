//! What every pass asks of operations and types: their names in text, and which values they read.

use super::{Cmp, Elem, Op, Space, Ty, ValueId};
use std::fmt;

/// Every type, in the order of their declaration.
pub const ALL_TYPES: [Ty; 12] = [
    Ty::Bool,
    Ty::I32,
    Ty::F32,
    Ty::I8x16,
    Ty::I8x64,
    Ty::I16x16,
    Ty::I16x32,
    Ty::I32x16,
    Ty::F32x16,
    Ty::I8x32,
    Ty::I32x8,
    Ty::F32x8,
];

impl Ty {
    /// Name in the text form.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::I32 => "i32",
            Self::F32 => "f32",
            Self::I8x16 => "i8x16",
            Self::I8x64 => "i8x64",
            Self::I16x16 => "i16x16",
            Self::I16x32 => "i16x32",
            Self::I32x16 => "i32x16",
            Self::F32x16 => "f32x16",
            Self::I8x32 => "i8x32",
            Self::I32x8 => "i32x8",
            Self::F32x8 => "f32x8",
        }
    }

    /// Whether the lanes are f32.
    #[must_use]
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F32x16 | Self::F32x8)
    }

    /// Whether it is I32 or I32x16.
    #[must_use]
    pub const fn is_integer(self) -> bool {
        matches!(self, Self::I32 | Self::I32x16)
    }

    /// Whether it is I32, F32, I32x16 or F32x16.
    #[must_use]
    pub const fn is_number(self) -> bool {
        self.is_integer() || matches!(self, Self::F32 | Self::F32x16)
    }

    /// What [`Op::Low`] and [`Op::High`] of it give.
    #[must_use]
    pub const fn half(self) -> Option<Self> {
        match self {
            Self::I8x64 => Some(Self::I8x32),
            Self::I16x32 => Some(Self::I16x16),
            Self::I32x16 => Some(Self::I32x8),
            Self::F32x16 => Some(Self::F32x8),
            _ => None,
        }
    }

    /// What [`Op::Join`] of two gives.
    #[must_use]
    pub const fn whole(self) -> Option<Self> {
        match self {
            Self::I8x32 => Some(Self::I8x64),
            Self::I16x16 => Some(Self::I16x32),
            Self::I32x8 => Some(Self::I32x16),
            Self::F32x8 => Some(Self::F32x16),
            _ => None,
        }
    }

    /// Whether the lanes are bytes.
    #[must_use]
    pub const fn is_bytes(self) -> bool {
        matches!(self, Self::I8x16 | Self::I8x64 | Self::I8x32)
    }

    /// Whether it is held in vector registers.
    #[must_use]
    pub const fn is_vector(self) -> bool {
        !matches!(self, Self::Bool | Self::I32 | Self::F32)
    }
}

impl fmt::Display for Ty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Elem {
    /// Every element type.
    pub const ALL: [Self; 4] = [Self::I8, Self::I16, Self::I32, Self::F32];

    /// Name in the text form.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::I8 => "i8",
            Self::I16 => "i16",
            Self::I32 => "i32",
            Self::F32 => "f32",
        }
    }
}

impl Space {
    /// Every space.
    pub const ALL: [Self; 6] = [
        Self::Weights,
        Self::Arena,
        Self::Kv,
        Self::Rows,
        Self::Outputs,
        Self::Local,
    ];

    /// Name in the text form.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Weights => "weights",
            Self::Arena => "arena",
            Self::Kv => "kv",
            Self::Rows => "rows",
            Self::Outputs => "outputs",
            Self::Local => "local",
        }
    }

    /// Whether kernels may store there at all.
    #[must_use]
    pub const fn is_writable(self) -> bool {
        matches!(self, Self::Arena | Self::Kv | Self::Local)
    }
}

impl Cmp {
    /// Every comparison.
    pub const ALL: [Self; 6] = [Self::Eq, Self::Ne, Self::Lt, Self::Le, Self::Gt, Self::Ge];

    /// Suffix in the text form.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Eq => "eq",
            Self::Ne => "ne",
            Self::Lt => "lt",
            Self::Le => "le",
            Self::Gt => "gt",
            Self::Ge => "ge",
        }
    }
}

/// Calls `$f` with a reference to every operand of `$op`, in order.
macro_rules! each_operand {
    ($op:expr, $f:ident, $iter:ident) => {
        match $op {
            Op::Item
            | Op::Index
            | Op::Param(_)
            | Op::I32(_)
            | Op::F32(_)
            | Op::I32Lanes(_)
            | Op::I8Lanes(_)
            | Op::Scalar(_)
            | Op::RowCount
            | Op::OutputCount
            | Op::Context
            | Op::Get(_) => {}
            Op::Element(_, a)
            | Op::Abs(a)
            | Op::Neg(a)
            | Op::Sqrt(a)
            | Op::Not(a)
            | Op::Shl(a, _)
            | Op::ShrS(a, _)
            | Op::ShrU(a, _)
            | Op::ToFloat(a)
            | Op::ToInt(a)
            | Op::Bits(_, a)
            | Op::Splat(a)
            | Op::WidenS(a)
            | Op::WidenU(a)
            | Op::Narrow(a)
            | Op::HalfToFloat(a)
            | Op::FloatToHalf(a)
            | Op::Low(a)
            | Op::High(a)
            | Op::FoldPairs(a)
            | Op::ReduceAdd(a)
            | Op::ReduceMax(a) => $f(a),
            Op::Add(a, b)
            | Op::Sub(a, b)
            | Op::Mul(a, b)
            | Op::Div(a, b)
            | Op::Rem(a, b)
            | Op::Min(a, b)
            | Op::Max(a, b)
            | Op::And(a, b)
            | Op::Or(a, b)
            | Op::Xor(a, b)
            | Op::Cmp(_, a, b)
            | Op::Bounded(a, b)
            | Op::Lookup(a, b)
            | Op::Dot2U(a, b)
            | Op::Dot2S(a, b)
            | Op::DotWords(a, b)
            | Op::MulSBy(a, b, _)
            | Op::AddPairs(a, b)
            | Op::Join(a, b) => {
                $f(a);
                $f(b);
            }
            Op::Fma(a, b, c)
            | Op::Select(a, b, c)
            | Op::Lookup32(a, b, c)
            | Op::Dot4U(a, b, c)
            | Op::Dot4S(a, b, c)
            | Op::Dot4SBy(a, b, c, _)
            | Op::MacSBy(a, b, c, _) => {
                $f(a);
                $f(b);
                $f(c);
            }
            Op::Load { slot, index, .. } => {
                if let Some(slot) = slot {
                    $f(slot);
                }
                $f(index);
            }
            Op::Call(_, args) => args.$iter().for_each($f),
        }
    };
}

impl Op {
    /// Name in the text form and in errors.
    #[must_use]
    pub const fn mnemonic(&self) -> &'static str {
        match self {
            Self::Item => "item",
            Self::Index => "index",
            Self::Param(_) => "param",
            Self::I32(_) => "i32",
            Self::F32(_) => "f32",
            Self::I32Lanes(_) => "i32_lanes",
            Self::I8Lanes(_) => "i8_lanes",
            Self::Scalar(_) => "scalar",
            Self::RowCount => "row_count",
            Self::OutputCount => "output_count",
            Self::Context => "context",
            Self::Get(_) => "get",
            Self::Element(..) => "element",
            Self::Add(..) => "add",
            Self::Sub(..) => "sub",
            Self::Mul(..) => "mul",
            Self::Div(..) => "div",
            Self::Rem(..) => "rem",
            Self::Fma(..) => "fma",
            Self::Min(..) => "min",
            Self::Max(..) => "max",
            Self::Abs(_) => "abs",
            Self::Neg(_) => "neg",
            Self::Sqrt(_) => "sqrt",
            Self::And(..) => "and",
            Self::Or(..) => "or",
            Self::Xor(..) => "xor",
            Self::Not(_) => "not",
            Self::Shl(..) => "shl",
            Self::ShrS(..) => "shr_s",
            Self::ShrU(..) => "shr_u",
            Self::Cmp(..) => "cmp",
            Self::Select(..) => "select",
            Self::Bounded(..) => "bounded",
            Self::ToFloat(_) => "to_float",
            Self::ToInt(_) => "to_int",
            Self::Bits(..) => "bits",
            Self::Splat(_) => "splat",
            Self::WidenS(_) => "widen_s",
            Self::WidenU(_) => "widen_u",
            Self::Narrow(_) => "narrow",
            Self::HalfToFloat(_) => "half_to_float",
            Self::FloatToHalf(_) => "float_to_half",
            Self::Low(_) => "low",
            Self::High(_) => "high",
            Self::Join(..) => "join",
            Self::ReduceAdd(_) => "reduce_add",
            Self::ReduceMax(_) => "reduce_max",
            Self::Lookup(..) => "lookup",
            Self::Lookup32(..) => "lookup32",
            Self::Dot4U(..) => "dot4_u",
            Self::Dot4S(..) => "dot4_s",
            Self::Dot4SBy(..) => "dot4_s_by",
            Self::Dot2U(..) => "dot2_u",
            Self::Dot2S(..) => "dot2_s",
            Self::DotWords(..) => "dot_words",
            Self::MulSBy(..) => "mul_s_by",
            Self::MacSBy(..) => "mac_s_by",
            Self::AddPairs(..) => "add_pairs",
            Self::FoldPairs(_) => "fold_pairs",
            Self::Load { .. } => "load",
            Self::Call(..) => "call",
        }
    }

    /// Calls `f` with every value the operation reads, in the order of its operands.
    pub fn for_each_operand(&self, mut f: impl FnMut(ValueId)) {
        let mut f = |v: &ValueId| f(*v);
        each_operand!(self, f, iter);
    }

    /// Calls `f` with every operand, to be exchanged.
    pub fn for_each_operand_mut(&mut self, mut f: impl FnMut(&mut ValueId)) {
        each_operand!(self, f, iter_mut);
    }

    /// Whether two evaluations in one scope give the same value: everything but reads of memory and mutable locals,
    /// and the values that their position defines.
    #[must_use]
    pub const fn is_pure(&self) -> bool {
        !matches!(
            self,
            Self::Get(_)
                | Self::Element(..)
                | Self::Load { .. }
                | Self::Item
                | Self::Index
                | Self::Param(_)
        )
    }
}
