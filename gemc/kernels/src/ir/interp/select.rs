//! The instruction of an operation, for the types it has.

use super::code::{Reduce, S1, S2, V1, V2};
use crate::ir::{Op, Ty};

pub(super) fn reduction(op: &Op, ty: Ty) -> Reduce {
    match (op, ty) {
        (Op::ReduceAdd(_), Ty::I32) => Reduce::Add,
        (Op::ReduceAdd(_), _) => Reduce::AddF,
        _ => Reduce::MaxF,
    }
}

/// The typing rules leave these; anything else is a bug of this file.
fn unexpected(op: &Op) -> ! {
    unreachable!("`{}` has a case of its own", op.mnemonic())
}

pub(super) fn scalar_one(op: &Op) -> S1 {
    match op {
        Op::Abs(_) => S1::Abs,
        Op::Neg(_) => S1::Neg,
        Op::Sqrt(_) => S1::Sqrt,
        Op::Not(_) => S1::Not,
        Op::Shl(_, by) => S1::Shl(*by as u8),
        Op::ShrS(_, by) => S1::ShrS(*by as u8),
        Op::ShrU(_, by) => S1::ShrU(*by as u8),
        Op::ToFloat(_) => S1::ToFloat,
        Op::ToInt(_) => S1::ToInt,
        op => unexpected(op),
    }
}

pub(super) fn scalar_two(op: &Op, float: bool) -> S2 {
    match (op, float) {
        (Op::Add(..), false) => S2::Add,
        (Op::Sub(..), false) => S2::Sub,
        (Op::Mul(..), false) => S2::Mul,
        (Op::Div(..), false) => S2::Div,
        (Op::Rem(..), _) => S2::Rem,
        (Op::Min(..), false) => S2::Min,
        (Op::Max(..), false) => S2::Max,
        (Op::And(..), _) => S2::And,
        (Op::Or(..), _) => S2::Or,
        (Op::Xor(..), _) => S2::Xor,
        (Op::Bounded(..), _) => S2::Bounded,
        (Op::Add(..), true) => S2::AddF,
        (Op::Sub(..), true) => S2::SubF,
        (Op::Mul(..), true) => S2::MulF,
        (Op::Div(..), true) => S2::DivF,
        (Op::Min(..), true) => S2::MinF,
        (Op::Max(..), true) => S2::MaxF,
        (Op::Cmp(cmp, ..), false) => S2::Cmp(*cmp),
        (Op::Cmp(cmp, ..), true) => S2::CmpF(*cmp),
        (op, _) => unexpected(op),
    }
}

pub(super) fn vector_one(op: &Op, ty: Ty) -> V1 {
    match op {
        Op::Abs(_) => V1::Abs,
        Op::Neg(_) => V1::Neg,
        Op::Sqrt(_) => V1::Sqrt,
        Op::Shl(_, by) => V1::Shl(*by as u8),
        Op::ShrS(_, by) => V1::ShrS(*by as u8),
        Op::ShrU(_, by) if ty == Ty::I8x64 => V1::ShrBytes(*by as u8),
        Op::ShrU(_, by) => V1::ShrU(*by as u8),
        Op::ToFloat(_) => V1::ToFloat,
        Op::ToInt(_) => V1::ToInt,
        Op::WidenS(_) => V1::WidenS,
        Op::WidenU(_) => V1::WidenU,
        Op::Narrow(_) => V1::Narrow,
        Op::HalfToFloat(_) => V1::HalfToFloat,
        Op::FloatToHalf(_) => V1::FloatToHalf,
        Op::Low(_) => V1::Low,
        Op::High(_) => V1::High,
        Op::FoldPairs(_) => V1::FoldPairs,
        op => unexpected(op),
    }
}

pub(super) fn vector_two(op: &Op, ty: Ty) -> V2 {
    match (op, ty.is_float()) {
        (Op::Add(..), _) if matches!(ty, Ty::I16x32 | Ty::I16x16) => V2::AddWords,
        (Op::Add(..), _) if ty == Ty::I8x64 => V2::AddBytes,
        (Op::Add(..), false) => V2::Add,
        (Op::Sub(..), false) => V2::Sub,
        (Op::Mul(..), false) => V2::Mul,
        (Op::Min(..), false) => V2::Min,
        (Op::Max(..), false) => V2::Max,
        (Op::And(..), _) => V2::And,
        (Op::Or(..), _) => V2::Or,
        (Op::Xor(..), _) => V2::Xor,
        (Op::Add(..), true) => V2::AddF,
        (Op::Sub(..), true) => V2::SubF,
        (Op::Mul(..), true) => V2::MulF,
        (Op::Div(..), true) => V2::DivF,
        (Op::Min(..), true) => V2::MinF,
        (Op::Max(..), true) => V2::MaxF,
        (Op::Cmp(cmp, ..), false) => V2::Cmp(*cmp),
        (Op::Cmp(cmp, ..), true) => V2::CmpF(*cmp),
        (Op::Lookup(..), _) => V2::Lookup,
        (Op::Dot2U(..), _) => V2::Dot2U,
        (Op::Dot2S(..), _) => V2::Dot2S,
        (Op::DotWords(..), _) => V2::DotWords,
        (Op::MulSBy(.., n), _) => V2::MulSBy(*n as u8),
        (Op::AddPairs(..), _) => V2::AddPairs,
        (Op::Join(..), _) => V2::Join,
        (op, _) => unexpected(op),
    }
}
